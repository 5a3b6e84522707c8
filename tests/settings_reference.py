"""``python -m tests.settings_reference``: write ``docs/settings.md`` from ``conf.py``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ciam_django.conf import SETTINGS, Setting

PATH: Final = Path(__file__).parents[1] / "docs" / "settings.md"
_HEADING: Final = """# Settings

This page is for you if you look for a setting, its default or its allowed values. All settings of
this page are optional. The OAuth client is not a setting of this page: it is
`AUTHLIB_OAUTH_CLIENTS["ciam"]`, Authlib's own setting (see
[Getting started](getting-started.md#2-change-the-settings)).

`manage.py check` reports values that are not allowed, and misspelt names. A setting is read at each
use. `python -m tests.settings_reference` writes this page from `ciam_django/conf.py`.
"""


def declaration(name: str) -> str:
    """``CIAM_X: type = default``, as the documentation writes it."""
    row = SETTINGS[name]
    return f"{name}: {row.allowed.type_name} = {_literal(row.default)}"


def reference() -> str:
    """The text of ``docs/settings.md``."""
    return "\n".join([_HEADING, *(_section(name, row) for name, row in SETTINGS.items())])


def _section(name: str, row: Setting[Any]) -> str:
    return (
        f"## `{name}`\n\n"
        f"{row.description}\n\n"
        f"- Default: `{declaration(name)}`\n"
        f"- Allowed: {row.allowed.words}\n"
    )


def _literal(value: object) -> str:
    """A default as Python, with lists for tuples and double quotes."""
    match value:
        case str():
            return f'"{value}"'
        case tuple():
            return f"[{', '.join(map(_literal, value))}]"
        case Mapping():
            return f"{{{', '.join(f'{_literal(k)}: {_literal(v)}' for k, v in value.items())}}}"
    return repr(value)


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(reference(), encoding="utf-8")
