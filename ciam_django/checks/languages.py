"""Check that the users of a project can read the answers in their languages.

A project without a root URLconf serves no users: it is a script or a worker.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage

from ciam_django.checks.caches import is_subclass_path
from ciam_django.checks.messages import check_message

LOCALE_MIDDLEWARE: Final = "django.middleware.locale.LocaleMiddleware"
DJANGO_SESSION_MIDDLEWARE: Final = "django.contrib.sessions.middleware.SessionMiddleware"
COMMON_MIDDLEWARE: Final = "django.middleware.common.CommonMiddleware"
# The middleware that Django's documentation puts before LocaleMiddleware, and after it.
BEFORE_LOCALE: Final = (DJANGO_SESSION_MIDDLEWARE,)
AFTER_LOCALE: Final = (COMMON_MIDDLEWARE,)

_SOURCE_LANGUAGE: Final = "en"


def middleware_index(class_path: str) -> int | None:
    """The index of a middleware or of its subclass in MIDDLEWARE; None if it is missing."""
    indexes = (
        i for i, name in enumerate(settings.MIDDLEWARE) if is_subclass_path(class_path, name)
    )
    return next(indexes, None)


def can_languages_differ() -> bool:
    """Return True if LANGUAGES has more than one language."""
    return len(settings.LANGUAGES) > 1


def needs_translations() -> bool:
    """Return True if LANGUAGES has a language that is not the language of the source code."""
    languages = {code.lower().partition("-")[0] for code, _ in settings.LANGUAGES}
    return languages != {_SOURCE_LANGUAGE}


def check_language_choice(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that Django translates, and that the language of a request is chosen early enough."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return
    if not settings.USE_I18N:
        if needs_translations():
            yield check_message(
                "no translations",
                "USE_I18N is False: all users read the texts in English.",
                "Set USE_I18N to True. If all users read English, set LANGUAGES to "
                '[("en", "English")].',
            )
        return
    if not can_languages_differ():
        return
    place = middleware_index(LOCALE_MIDDLEWARE)
    if place is None:
        yield check_message(
            "no locale middleware",
            f"{LOCALE_MIDDLEWARE!r} is not in MIDDLEWARE: all users read the texts in LANGUAGE_CODE"
            f", {settings.LANGUAGE_CODE!r}.",
            "Add LocaleMiddleware after SessionMiddleware and before CommonMiddleware. If all "
            "users read one language, set LANGUAGES to this language. If your own middleware "
            "activates the language, silence this check.",
        )
        return
    for name in (*BEFORE_LOCALE, *AFTER_LOCALE):
        other = middleware_index(name)
        if other is not None and (other < place) != (name in BEFORE_LOCALE):
            side = "after" if other < place else "before"
            yield check_message(
                "locale middleware order",
                f"In MIDDLEWARE, {LOCALE_MIDDLEWARE!r} is {side} {name!r}.",
                "Move LocaleMiddleware after SessionMiddleware and before CommonMiddleware.",
            )


CHECKS: Final = (check_language_choice,)
