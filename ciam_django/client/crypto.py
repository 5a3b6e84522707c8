"""Derive the keys of the package's encrypted texts, and read the content of such texts."""

from __future__ import annotations

import base64
import dataclasses
import functools
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.utils.crypto import salted_hmac

from ciam_django.conf import cached_until_settings_change

D = TypeVar("D")


@cached_until_settings_change("SECRET_KEY", "SECRET_KEY_FALLBACKS")
def fernet_for(purpose: str) -> MultiFernet:
    """Return the Fernet for a purpose: ``SECRET_KEY`` encrypts, and its fallbacks decrypt, too.

    The purpose is part of the key. It is a constant text, not the name of a module, so that a
    renamed module can still read what it has stored.
    """
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet(
        Fernet(
            base64.urlsafe_b64encode(
                salted_hmac(purpose, b"", secret=key, algorithm="sha256").digest()
            )
        )
        for key in keys
    )


def from_stored(cls: type[D], content: object) -> D | None:
    """Return an instance of a dataclass with the stored members, or None if they do not fit.

    During a deploy, each version of this package reads what the other version has stored. So a
    member that the class does not have is ignored, and a missing member gets its default. The
    content does not fit if it is not a dict, if a member without a default is missing, or if a
    member has another type.
    """
    if not isinstance(content, Mapping):
        return None
    # The type checker takes the hash of an instance for the hash of the class.
    hashable: Any = cls
    types = _member_types(hashable)
    members = {name: value for name, value in content.items() if name in types}
    if not all(isinstance(value, types[name]) for name, value in members.items()):
        return None
    try:
        return cls(**members)
    except TypeError:
        return None


@functools.cache
def _member_types(cls: Any) -> Mapping[str, Any]:
    """Return the name of each member with the types that ``isinstance`` accepts for its value.

    A derived member, which the class computes itself, is left out.
    """
    hints = typing.get_type_hints(cls)
    names = [member.name for member in dataclasses.fields(cls) if member.init]
    types = {name: typing.get_origin(hints[name]) or hints[name] for name in names}
    # In JSON, a number without a fraction is an integer.
    wider = {float: (int, float), Any: object}
    return {name: wider.get(hint, hint) for name, hint in types.items()}
