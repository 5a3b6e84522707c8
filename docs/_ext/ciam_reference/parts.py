"""The parts of the reference that a page can insert."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ciam_reference.checks import checks_reference
from ciam_reference.codes import headings_index, kinds_index, overridable_fields
from ciam_reference.commands import commands_reference
from ciam_reference.endpoints import endpoints_reference, urls_reference
from ciam_reference.headers import headers_reference
from ciam_reference.logs import logs_reference
from ciam_reference.signals import signals_reference

# The name in ``{ciam-reference} NAME`` -> the function that makes the part, as Markdown.
PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "checks": checks_reference,
    "codes-by-heading": headings_index,
    "codes-by-kind": kinds_index,
    "commands": commands_reference,
    "endpoints": endpoints_reference,
    "headers": headers_reference,
    "logs": logs_reference,
    "overrides": overridable_fields,
    "signals": signals_reference,
    "urls": urls_reference,
}
