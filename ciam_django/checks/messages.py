"""Define the ids of the checks, and make the messages about the value of a setting."""

from __future__ import annotations

import difflib
import functools
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004  (Django's name)
from django.template import TemplateDoesNotExist, TemplateSyntaxError
from django.template.loader import get_template
from django.template.loader_tags import BlockNode, ExtendsNode
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string

from ciam_django.conf import (
    SETTINGS,
    AbsoluteUrl,
    Allowed,
    Choice,
    DictOf,
    DottedPath,
    Fields,
    Flag,
    Integer,
    ListOf,
    Number,
    PhoneRegion,
    Rate,
    Target,
    Template,
    Text,
    UserText,
    conf,
    rate_format,
)
from ciam_django.lookup import OVERRIDABLE_FIELDS

# Mistake -> the id of its check.
CHECK_IDS: Final = {
    "name": "ciam_django.W001",
    "type": "ciam_django.E002",
    "range": "ciam_django.E003",
    "override key": "ciam_django.E004",
    "override field": "ciam_django.E005",
    "override value": "ciam_django.E006",
    "override uncollapsed": "ciam_django.W007",
    "override language": "ciam_django.W076",
    "action": "ciam_django.E008",
    "address": "ciam_django.E009",
    "dotted path": "ciam_django.E010",
    "template": "ciam_django.E011",
    "client": "ciam_django.E012",
    "insecure callback": "ciam_django.W013",
    "accounts": "ciam_django.E014",
    "backend": "ciam_django.E015",
    "language prefix": "ciam_django.E016",
    "middleware": "ciam_django.W017",
    "handler": "ciam_django.W018",
    "form action": "ciam_django.W019",
    "login method": "ciam_django.E020",
    "step": "ciam_django.E021",
    "phone region": "ciam_django.E022",
    "provider": "ciam_django.E023",
    "limit": "ciam_django.E024",
    "cache": "ciam_django.W025",
    "endpoint": "ciam_django.E026",
    "user field": "ciam_django.E027",
    "session store": "ciam_django.E028",
    "session middleware": "ciam_django.W029",
    "bearer": "ciam_django.E030",
    "bearer mode": "ciam_django.E031",
    "identities": "ciam_django.E032",
    "databases": "ciam_django.E045",
    "user model": "ciam_django.W046",
    "issuer": "ciam_django.W047",
    "client address": "ciam_django.W060",
    "site budget": "ciam_django.W061",
    "phone regions": "ciam_django.W062",
    "home region": "ciam_django.E063",
    "open stage": "ciam_django.W065",
    "front end": "ciam_django.W075",
    "verified claim": "ciam_django.E050",
    "private key": "ciam_django.E051",
    "no locale middleware": "ciam_django.W080",
    "locale middleware order": "ciam_django.W081",
    "no translations": "ciam_django.W082",
    "client key": "ciam_django.E085",
    "placeholder": "ciam_django.W086",
    "client url": "ciam_django.E087",
    "insecure client": "ciam_django.W088",
    "client secret": "ciam_django.W089",
    "callback path": "ciam_django.W090",
    "link": "ciam_django.E091",
    "support": "ciam_django.W092",
    "cookie": "ciam_django.W094",
    "django part": "ciam_django.E095",
    "proxy header": "ciam_django.W096",
    "app": "ciam_django.W097",
    "urls": "ciam_django.E098",
    "metrics": "ciam_django.E100",
    "metrics package": "ciam_django.E101",
    "client file": "ciam_django.W102",
}


def check_message(check: str, message: str, hint: str | None = None) -> CheckMessage:
    """A message with the id of a check: a warning if the id has a W, an error if it has an E."""
    severity = Warning if ".W" in CHECK_IDS[check] else Error
    return severity(message, hint=hint, id=CHECK_IDS[check])


def hint_for(
    name: object, allowed: Iterable[str], *, cutoff: float = 0.6, long_list: str = ""
) -> str:
    """``Did you mean 'x'?``, or the list of the allowed names; ``long_list`` if there are many."""
    allowed = list(allowed)
    if close := close_name(name, allowed, cutoff=cutoff):
        return f"Did you mean {close!r}?"
    return f"Allowed: {', '.join(allowed)}." if len(allowed) < 20 else long_list


def close_name(name: object, allowed: Iterable[str], *, cutoff: float) -> str:
    """The allowed name that is most similar to the name; empty if none is similar."""
    close = difflib.get_close_matches(str(name), list(allowed), n=1, cutoff=cutoff)
    return close[0] if close else ""


def setting_messages(name: str) -> list[CheckMessage]:
    """The messages about the value of a setting that its row can give."""
    allowed: Allowed[Any] = SETTINGS[name].allowed
    return list(_value_messages(allowed, name, getattr(conf, name), type_check="type"))


def scheme_and_host(url: object) -> tuple[str, str]:
    """The scheme of a URL, and its host with port; an empty text for a missing part.

    The host has no user name and no password, which no message may contain.
    """
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
    except ValueError:
        # The host has brackets without an IPv6 address.
        return "", ""
    return parts.scheme, parts.netloc.rpartition("@")[2]


def import_problem(path: str) -> str:
    """The reason why the import of a dotted path fails; empty if the import succeeds."""
    try:
        import_string(path)
    except (ImportError, TypeError, ValueError) as error:
        # A path with leading dots raises TypeError or ValueError.
        module_name, _, name = path.rpartition(".")
        similar = close_name(name, dir(sys.modules.get(module_name)), cutoff=0.7)
        return f"{error}. Did you mean {similar!r}?" if similar else f"{error}."
    return ""


# --- One value --------------------------------------------------------------------------------


def _value_messages(
    allowed: Allowed[Any], place: str, value: Any, type_check: str
) -> Iterator[CheckMessage]:
    """The messages about one value; ``place`` is the Python expression of the value."""
    if allowed.is_of_type(value):
        yield from _content_messages(allowed, place, value)
        return
    type_name = allowed.type_name
    hint = f"It must be {_with_article(type_name)}"
    hint += f": [{value!r}]." if type_name == "list" and isinstance(value, str) else "."
    text = f"{place} is {value!r}, {_with_article(type(value).__name__)}."
    yield check_message(type_check, text, hint)


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


@functools.singledispatch
def _content_messages(allowed: Allowed[Any], place: str, value: Any) -> Iterator[CheckMessage]:
    """The messages about a value of the right type."""
    # A type of rows in conf.py without a function here. tests/checks/test_messages.py would fail.
    raise NotImplementedError(type(allowed).__name__)


@_content_messages.register(Flag)
@_content_messages.register(Text)
@_content_messages.register(Fields)
def _(allowed: Allowed[Any], place: str, value: Any) -> Iterator[CheckMessage]:
    # Each value of the type is allowed, or a function of TABLE_CHECKS judges the value.
    return iter(())


@_content_messages.register(Integer)
@_content_messages.register(Number)
def _(allowed: Integer | Number, place: str, value: Any) -> Iterator[CheckMessage]:
    if not allowed.low <= value <= allowed.high:
        yield _not_allowed(allowed, place, value, f"Allowed: {allowed.words}.")


@_content_messages.register
def _(allowed: Choice, place: str, value: Any) -> Iterator[CheckMessage]:
    if value not in allowed.names:
        yield _not_allowed(allowed, place, value, hint_for(value, allowed.names))


@_content_messages.register
def _(allowed: Target, place: str, value: Any) -> Iterator[CheckMessage]:
    if not _is_valid_target(value):
        yield _not_allowed(allowed, place, value)


@_content_messages.register
def _(allowed: AbsoluteUrl, place: str, value: Any) -> Iterator[CheckMessage]:
    scheme, host = scheme_and_host(value)
    if value and (scheme not in ("http", "https") or not host):
        yield _not_allowed(allowed, place, value)


@_content_messages.register
def _(allowed: DottedPath, place: str, value: Any) -> Iterator[CheckMessage]:
    if not value or not apps.is_installed(allowed.app):
        return
    if problem := import_problem(value):
        yield _not_allowed(allowed, place, value, problem)
    elif not callable(import_string(value)):
        yield _not_allowed(allowed, place, value)


@_content_messages.register
def _(allowed: Template, place: str, value: Any) -> Iterator[CheckMessage]:
    if not value:
        return
    try:
        has_block = _may_have_block(value, "content")
    except (TemplateDoesNotExist, TemplateSyntaxError) as error:
        text = f"{place} is {value!r}: {type(error).__name__}: {error}."
        yield check_message(allowed.check, text, f"It must be {allowed.words}.")
    else:
        if not has_block:
            text = f"{place} is {value!r}, which has no block 'content': the pages would be empty."
            line = "{% block content %}{% endblock %}"
            hint = (
                f"It must be {allowed.words}. Add this line to the template: {line}. If the "
                "template has another block for the content, put the line into this block."
            )
            yield check_message(allowed.check, text, hint)


def _may_have_block(name: str, block: str) -> bool:
    """Return False if neither the template nor a parent of the template has the block.

    The parent is unknown if ``extends`` has a variable, or the name of the template itself: this
    template is another template with the same name.
    """
    seen: set[str] = set()
    while name not in seen:
        seen.add(name)
        # Only templates of Django's engine have nodes.
        nodes = getattr(getattr(get_template(name), "template", None), "nodelist", None)
        if nodes is None or any(each.name == block for each in nodes.get_nodes_by_type(BlockNode)):
            return True
        parents = [each.parent_name.var for each in nodes.get_nodes_by_type(ExtendsNode)]
        if not parents:
            return False
        if not isinstance(parents[0], str):
            return True
        name = parents[0]
    return True


@_content_messages.register
def _(allowed: UserText, place: str, value: Any) -> Iterator[CheckMessage]:
    if value and not OVERRIDABLE_FIELDS["message"].is_allowed(value):
        yield _not_allowed(allowed, place, value)


@_content_messages.register
def _(allowed: PhoneRegion, place: str, value: Any) -> Iterator[CheckMessage]:
    if not (len(value) == 2 and value.isascii() and value.isupper()):
        yield _not_allowed(allowed, place, value)


@_content_messages.register
def _(allowed: Rate, place: str, value: Any) -> Iterator[CheckMessage]:
    if not rate_format().fullmatch(value):
        yield _not_allowed(allowed, place, value)


@_content_messages.register(ListOf)
def _(allowed: ListOf[Any], place: str, value: Sequence[Any]) -> Iterator[CheckMessage]:
    for index, item in enumerate(value):
        yield from _value_messages(allowed.items, f"{place}[{index}]", item, allowed.items.check)


@_content_messages.register(DictOf)
def _(allowed: DictOf[Any], place: str, value: Mapping[Any, Any]) -> Iterator[CheckMessage]:
    keys, values = allowed.keys, allowed.values
    for key, item in value.items():
        if any(_value_messages(keys, place, key, keys.check)):
            hint = hint_for(key, keys.names) if isinstance(keys, Choice) else "It must be a str."
            yield check_message(keys.check, f"{place} has the key {key!r}.", hint)
        yield from _value_messages(values, f"{place}[{key!r}]", item, values.check)


def _not_allowed(
    allowed: Allowed[Any], place: str, value: object, hint: str | None = None
) -> CheckMessage:
    text = f"{place} is {value!r}."
    return check_message(allowed.check, text, hint or f"It must be {allowed.words}.")


def _is_valid_target(url: str) -> bool:
    if not url or url.startswith(("/", "https://", "http://", "mailto:", "tel:")):
        return True
    if not hasattr(settings, "ROOT_URLCONF"):
        return False
    try:
        reverse(url)
    except NoReverseMatch:
        return False
    return True
