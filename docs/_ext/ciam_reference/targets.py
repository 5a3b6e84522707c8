"""The names that the search finds as a whole, and that the documentation links by itself."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple

from ciam_django.checks.messages import CHECK_IDS
from ciam_django.codes import ALIASES, CODES
from ciam_django.conf import SETTINGS
from ciam_reference.checks import anchor_of
from ciam_reference.codes import file_name
from ciam_reference.commands import commands


class Target(NamedTuple):
    """The place of a name: a page without its suffix, and an anchor or an empty text."""

    page: str
    anchor: str = ""


@functools.cache
def targets() -> Mapping[str, Target]:
    """Return name -> place, for codes, aliases, settings, checks and commands."""
    codes = {code: Target(f"codes/{file_name(code)}") for code in CODES}
    return {
        **codes,
        **{alias: codes[code] for alias, code in ALIASES.items()},
        **{name: Target("settings", name.lower().replace("_", "-")) for name in SETTINGS},
        **{each: Target("reference/checks", anchor_of(each)) for each in CHECK_IDS.values()},
        **{f"manage.py {name}": _command_target(name) for name in commands()},
        **{name: _command_target(name) for name in commands()},
    }


def _command_target(name: str) -> Target:
    return Target("reference/commands", name.replace("_", "-"))
