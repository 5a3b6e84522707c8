"""Who has answered: the ``iss`` of a callback (RFC 9207), where the provider names itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ciam_django.errors import CiamError


def refuse_other_issuer(metadata: Mapping[str, Any], came: Sequence[str]) -> None:
    """A ``CiamError`` unless the callback is from the provider that the metadata are of.

    ``came`` holds each ``iss`` of the callback. One that differs is refused even where none is
    promised: it is of a provider that our code would be sent to by mistake (RFC 9207, 2.4).
    Without metadata (CIAM's own mode) there is no issuer to compare with.
    """
    issuer = metadata.get("issuer")
    if not issuer:
        return
    is_promised = metadata.get("authorization_response_iss_parameter_supported") is True
    if any(iss != issuer for iss in came) or (is_promised and not came):
        raise CiamError("mismatching_issuer", stage="callback")
