"""The reference of the log lines and of the events."""

from __future__ import annotations

import logging
import re
from typing import Final

from ciam_django.events import COMMON_FACTS, EVENTS, FACTS, PREFIX, Event
from ciam_reference.markdown import literal, page, table
from ciam_reference.sources import PLACEHOLDER

# A placeholder of the operator %, such as %(code)s or %s.
_PLACEHOLDER: Final = re.compile(r"%(?:\((\w+)\))?[a-z]")


def logs_reference() -> str:
    """Return the events with their lines and facts, and the facts with their meanings."""
    return page(
        "## The fields of each line",
        table(
            ["field", "meaning"],
            [
                [literal(f"{PREFIX}event"), "The name of the event."],
                *([literal(f"{PREFIX}{name}"), FACTS[name].meaning] for name in COMMON_FACTS),
            ],
        ),
        "## Events",
        *(_section_of(event) for event in EVENTS.values()),
        "## Facts",
        "A fact is None if it is missing. A line then has `-` in its place.",
        table(
            ["fact", "type", "meaning"],
            (
                [literal(name), literal(fact.type.__name__), fact.meaning]
                for name, fact in FACTS.items()
            ),
        ),
    )


def _section_of(event: Event) -> str:
    levels = [logging.getLevelName(level) for level in event.levels]
    facts = ", ".join(literal(name) for name in event.facts)
    text_facts = ", ".join(literal(name) for name in event.text_facts)
    return page(
        f"### {literal(event.name)}",
        f"```text\n{line_of(event)}\n```" if levels else "This event has no line.",
        f"{_one_of(levels)}. {event.meaning}" if levels else event.meaning,
        f"Facts: {facts}." if facts else "This event has no facts of its own.",
        f"Only in the text: {text_facts}." if text_facts else "",
    )


def _one_of(levels: list[str]) -> str:
    return " or ".join([", ".join(levels[:-1]), levels[-1]] if levels[1:] else levels)


def line_of(event: Event) -> str:
    """Return the line of an event, with all its optional parts and a mark for each fact."""

    def replacement(match: re.Match[str]) -> str:
        optional = event.optional.get(str(match[1]).removeprefix("_"))
        return _PLACEHOLDER.sub(PLACEHOLDER, optional) if optional else PLACEHOLDER

    return _PLACEHOLDER.sub(replacement, event.text)
