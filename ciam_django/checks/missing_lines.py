"""Find the lines that a project is missing, with the file and the place of each line.

The module must run in a project that is only half set up: without ``ciam_django.accounts``, and
with a URLconf that cannot be imported. The module does not change the project.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, router
from django.db.migrations.executor import MigrationExecutor
from django.http import Http404
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, get_resolver, resolve
from django.utils.connection import ConnectionDoesNotExist

from ciam_django.accounts.users import unrequested_claims
from ciam_django.checks.caches import is_subclass_path
from ciam_django.checks.languages import (
    AFTER_LOCALE,
    BEFORE_LOCALE,
    COMMON_MIDDLEWARE,
    DJANGO_SESSION_MIDDLEWARE,
    LOCALE_MIDDLEWARE,
    can_languages_differ,
    middleware_index,
    needs_translations,
)
from ciam_django.checks.settings import (
    AUTHENTICATION_MIDDLEWARE,
    CIAM_BACKEND,
    DRF_HANDLER,
    ERROR_MIDDLEWARE,
    SESSION_MIDDLEWARE,
    drf_handler,
    is_drf_handler_set,
    oauth_client,
    url_inclusions,
)
from ciam_django.checks.settings_source import (
    Assignment,
    assignment_of,
    first_import_line,
    place_of_entry,
    source_path,
)
from ciam_django.client.oauth import clients_without_fix_in
from ciam_django.conf import is_set_by_project

END_OF_FILE: Final = "at the end of the file"
LOGGER: Final = "ciam_django"
ACCOUNTS_APP: Final = "ciam_django.accounts"
LOGIN_URL: Final = "ciam:login"

# An app that a sign-in needs -> the session engines that need it; without engines, all need it.
_APPS: Final[Mapping[str, Sequence[str]]] = {
    "django.contrib.auth": (),
    "django.contrib.contenttypes": (),
    "django.contrib.sessions": (
        "django.contrib.sessions.backends.db",
        "django.contrib.sessions.backends.cached_db",
    ),
    ACCOUNTS_APP: (),
}
# Language code without texts of this package -> the code of the language, and its name.
_LANGUAGE_CODES: Final = {
    "zh": ("zh-hans", "简体中文"),
    "zh-cn": ("zh-hans", "简体中文"),
    "zh-my": ("zh-hans", "简体中文"),
    "zh-sg": ("zh-hans", "简体中文"),
    "zh-hk": ("zh-hant", "繁體中文"),
    "zh-mo": ("zh-hant", "繁體中文"),
    "zh-tw": ("zh-hant", "繁體中文"),
}
# The client of the fake CIAM, which ``python -m ciam_django.testing`` runs.
CLIENT_LINES: Final = """\
AUTHLIB_OAUTH_CLIENTS = {
    "ciam": {
        # The values of the fake CIAM. Replace them with the values of your tenant.
        "client_id": "fake_app_0001",
        "client_secret": "fake-client-secret",
        "api_base_url": "http://127.0.0.1:8400",
        "server_metadata_url": "http://127.0.0.1:8400/api/bff/v1.2/developer/ciam/oidc/fake_app_0001/.well-known/openid-configuration",
    },
}"""
_END_OF_CLIENT: Final = "    },\n}"
LOGGING_LINES: Final = """\
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"ciam_django": {"handlers": ["console"], "level": "INFO"}},
}"""
# The handler that mails each line to ADMINS.
_MAIL_HANDLER: Final = "AdminEmailHandler"
INCLUDE: Final = 'path("ciam/", include("ciam_django.urls"))'


@dataclass(frozen=True, slots=True)
class MissingLine:
    """One line or a few lines of code, or a command, and the place in the project.

    ``path`` is None if the line is a command, or if the project's settings have no file.
    """

    text: str
    place: str
    path: Path | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class _Middleware:
    """A middleware, and the middleware that must stand before it and after it."""

    path: str
    before: Sequence[str] = ()
    after: Sequence[str] = ()
    is_for_sign_in: bool = True


# In the order of MIDDLEWARE.
_MIDDLEWARE: Final = (
    _Middleware(DJANGO_SESSION_MIDDLEWARE, after=(COMMON_MIDDLEWARE,)),
    _Middleware(LOCALE_MIDDLEWARE, BEFORE_LOCALE, AFTER_LOCALE, is_for_sign_in=False),
    _Middleware(AUTHENTICATION_MIDDLEWARE, before=(DJANGO_SESSION_MIDDLEWARE,)),
    _Middleware(SESSION_MIDDLEWARE, before=(AUTHENTICATION_MIDDLEWARE,)),
    _Middleware(ERROR_MIDDLEWARE, is_for_sign_in=False),
)


def can_sign_users_in() -> bool:
    """Return True if the project has users: without users, it can only use the answers."""
    return apps.is_installed("django.contrib.auth")


def missing_lines(*, answers_only: bool) -> Iterator[MissingLine]:
    """Yield the missing lines, in the order in which a developer adds them.

    ``answers_only`` leaves out the lines for the views of ``ciam_django.urls``.
    """
    if not answers_only:
        yield from _missing_apps()
    yield from _missing_middleware(answers_only=answers_only)
    yield from _missing_languages()
    yield from _missing_handler()
    if not answers_only:
        yield from _missing_backend()
        yield from _missing_client()
        yield from _missing_include()
        yield from _missing_login_urls()
    yield from _missing_logger()
    if not answers_only:
        yield from _missing_migrations()


# --- Places -----------------------------------------------------------------------------------


def _settings_module() -> str:
    """The name of the project's settings module; empty if the settings have no module."""
    return getattr(settings, "SETTINGS_MODULE", None) or ""


def _assignment(name: str) -> Assignment | None:
    """The assignment to a setting in the project's settings."""
    return assignment_of(_settings_module(), name)


def _settings_path() -> Path | None:
    """The file with INSTALLED_APPS: other settings files of the project usually import it."""
    assignment = _assignment("INSTALLED_APPS")
    if assignment:
        return assignment.path
    return source_path(_settings_module())


def _new_setting(text: str) -> MissingLine:
    return MissingLine(text, END_OF_FILE, _settings_path())


def _replacement(name: str, text: str) -> MissingLine:
    """A setting in place of the project's setting, or a new setting."""
    assignment = _assignment(name)
    if assignment is None:
        return _new_setting(text)
    return MissingLine(text, f"in place of {name}", assignment.path, assignment.line)


def _list_entry(name: str, text: str, after: str = "") -> MissingLine:
    """An entry of a list or a dict: after another entry, or at the end."""
    place = f"in {name}, after {after!r}" if after else f"in {name}, at the end"
    entry = place_of_entry(_settings_module(), name, after) if after else None
    if entry:
        return MissingLine(text, place, entry.path, entry.line)
    assignment = _assignment(name)
    if assignment is None:
        return MissingLine(text, place, _settings_path())
    return MissingLine(text, place, assignment.path, assignment.end_line)


# --- Apps and middleware ----------------------------------------------------------------------


def _missing_apps() -> Iterator[MissingLine]:
    for name, engines in _APPS.items():
        is_needed = not engines or settings.SESSION_ENGINE in engines
        if is_needed and not apps.is_installed(name):
            after = "ciam_django" if name == ACCOUNTS_APP else ""
            yield _list_entry("INSTALLED_APPS", f'"{name}",', after)


def _missing_middleware(*, answers_only: bool) -> Iterator[MissingLine]:
    for row in _MIDDLEWARE:
        if row.is_for_sign_in and answers_only:
            continue
        if row.path == LOCALE_MIDDLEWARE and not can_languages_differ():
            continue
        index = middleware_index(row.path)
        indexes = {name: middleware_index(name) for name in (*row.before, *row.after)}
        if index is not None and all(
            other is None or (other < index) == (name in row.before)
            for name, other in indexes.items()
        ):
            continue
        # If a neighbour is missing, it has a line of its own, unless only the answers are used.
        neighbours = [
            (f"{'after' if name in row.before else 'before'} {name.rpartition('.')[2]}", other)
            for name, other in indexes.items()
            if other is not None or (name in row.before and not answers_only)
        ]
        words = " and ".join(word for word, _ in neighbours) or "at the end"
        anchors = [other for _, other in neighbours if other is not None]
        anchor = settings.MIDDLEWARE[anchors[0]] if anchors else ""
        place = f"in MIDDLEWARE, {words}" if index is None else f"in MIDDLEWARE: move it {words}"
        yield replace(_list_entry("MIDDLEWARE", f'"{row.path}",', anchor), place=place)


# --- Languages, REST framework and logging ----------------------------------------------------


def _missing_languages() -> Iterator[MissingLine]:
    if not settings.USE_I18N and needs_translations():
        yield _replacement("USE_I18N", "USE_I18N = True")
    for code, _ in settings.LANGUAGES:
        # Django's default has no such code.
        if code.lower() in _LANGUAGE_CODES:
            new_code, name = _LANGUAGE_CODES[code.lower()]
            entry = _list_entry("LANGUAGES", f'("{new_code}", "{name}"),', after=code)
            yield replace(entry, place=f"in LANGUAGES, in place of {code!r}")
    if settings.LANGUAGE_CODE.lower() in _LANGUAGE_CODES:
        code, _ = _LANGUAGE_CODES[settings.LANGUAGE_CODE.lower()]
        yield _replacement("LANGUAGE_CODE", f'LANGUAGE_CODE = "{code}"')


def _missing_handler() -> Iterator[MissingLine]:
    if not apps.is_installed("rest_framework") or is_drf_handler_set():
        return
    if not getattr(settings, "REST_FRAMEWORK", None):
        yield _new_setting(f'REST_FRAMEWORK = {{"EXCEPTION_HANDLER": "{DRF_HANDLER}"}}')
        return
    handler = drf_handler()
    entry = _list_entry("REST_FRAMEWORK", f'"EXCEPTION_HANDLER": "{DRF_HANDLER}",')
    if not handler:
        yield entry
        return
    line = _list_entry("REST_FRAMEWORK", "", after="EXCEPTION_HANDLER").line
    yield replace(entry, place="in REST_FRAMEWORK, in place of 'EXCEPTION_HANDLER'", line=line)
    yield _new_setting(f'CIAM_DRF_FALLBACK_HANDLER = "{handler}"')


def _missing_logger() -> Iterator[MissingLine]:
    """The setting of the logger, if the log lines of successful sign-ins go nowhere."""
    logger: logging.Logger | None = logging.getLogger(LOGGER)
    is_enabled, has_handler = logging.getLogger(LOGGER).isEnabledFor(logging.INFO), False
    while logger:
        has_handler |= any(
            each.level <= logging.INFO and not isinstance(each, logging.NullHandler)
            for each in logger.handlers
        )
        logger = logger.parent if logger.propagate else None
    if is_enabled and has_handler:
        return
    if not is_set_by_project("LOGGING"):
        yield _new_setting(LOGGING_LINES)
        return
    configured = (settings.LOGGING or {}).get("handlers", {})
    names = [name for name in configured if _MAIL_HANDLER not in str(configured[name])]
    if not has_handler and not names:
        yield _logging_entry("handlers", "console", '{"class": "logging.StreamHandler"}')
    handler = names[0] if names and "console" not in names else "console"
    handlers = "" if has_handler else f'"handlers": ["{handler}"], '
    yield _logging_entry("loggers", LOGGER, f'{{{handlers}"level": "INFO"}}')


def _logging_entry(group: str, name: str, value: str) -> MissingLine:
    """An entry of a group of LOGGING, in place of the entry with this name if there is one."""
    text, entries = f'"{name}": {value}', (settings.LOGGING or {}).get(group)
    if entries is None:
        return _list_entry("LOGGING", f'"{group}": {{{text}}},')
    place = f'in LOGGING["{group}"], ' + (
        f"in place of {name!r}" if name in entries else "as the first entry"
    )
    line = _list_entry("LOGGING", f"{text},", after=name if name in entries else group)
    return replace(line, place=place)


# --- The sign-in ------------------------------------------------------------------------------


def _missing_backend() -> Iterator[MissingLine]:
    backends = settings.AUTHENTICATION_BACKENDS
    if any(is_subclass_path(CIAM_BACKEND, path) for path in backends):
        return
    if is_set_by_project("AUTHENTICATION_BACKENDS"):
        yield _list_entry("AUTHENTICATION_BACKENDS", f'"{CIAM_BACKEND}",')
        return
    entries = "".join(f'    "{path}",\n' for path in (*backends, CIAM_BACKEND))
    yield _new_setting(f"AUTHENTICATION_BACKENDS = [\n{entries}]")


def _missing_client() -> Iterator[MissingLine]:
    if oauth_client() is not None:
        return
    if not getattr(settings, "AUTHLIB_OAUTH_CLIENTS", None):
        yield _new_setting(_client_lines())
        return
    # The other clients of the project stay.
    yield _list_entry("AUTHLIB_OAUTH_CLIENTS", "\n".join(_client_lines().splitlines()[1:-1]))


def _client_lines() -> str:
    """``CLIENT_LINES``, with the scopes of the claims that the user model needs."""
    claims = unrequested_claims(get_user_model(), ["openid"])
    scopes = dict.fromkeys(scope for _, _, scope in claims)
    if not scopes:
        return CLIENT_LINES
    option = f'        "client_kwargs": {{"scope": "{" ".join(["openid", *scopes])}"}},\n'
    return CLIENT_LINES.removesuffix(_END_OF_CLIENT) + option + _END_OF_CLIENT


def _missing_include() -> Iterator[MissingLine]:
    name = getattr(settings, "ROOT_URLCONF", None)
    if not name:
        yield _new_setting('ROOT_URLCONF = "urls"  # the module with your urlpatterns')
        return
    try:
        inclusions = url_inclusions()
    except Exception as error:  # noqa: BLE001  (the module of a project can raise anything)
        path, line = _place_of_import_error(name, error)
        place = "the URLconf cannot be imported. Correct it, and run this command again"
        yield MissingLine(f"# {_text_of(error)}", place, path, line)
        return
    if inclusions and not any(inclusions):
        return
    path, patterns = source_path(name), assignment_of(name, "urlpatterns")
    module = importlib.import_module(name)
    names = [each for each in ("include", "path") if not hasattr(module, each)]
    if names:
        text = f"from django.urls import {', '.join(names)}"
        line = first_import_line(path) if path else None
        yield MissingLine(text, "at the imports", path, line)
    place = "outside of i18n_patterns" if inclusions else ""
    first = patterns.value if patterns else None
    while isinstance(first, ast.BinOp):
        first = first.left
    if patterns and isinstance(first, ast.List):
        place = f"in urlpatterns, as the first entry{place and ', '}{place}"
        yield MissingLine(f"{INCLUDE},", place, patterns.path, first.lineno)
    else:
        place = f"{END_OF_FILE}{place and ', '}{place}"
        yield MissingLine(f"urlpatterns = [{INCLUDE}, *urlpatterns]", place, path)


def _place_of_import_error(module: str, error: Exception) -> tuple[Path | None, int | None]:
    """The file of a module, and the line at which its import has failed."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return _settings_path(), None
    path = Path(spec.origin) if spec and spec.origin else _settings_path()
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return path, lines[-1] if lines else None


def _missing_login_urls() -> Iterator[MissingLine]:
    """The URLs of ``login_required``; a URL of the project itself is not replaced."""
    if settings.LOGIN_URL != LOGIN_URL and not (
        is_set_by_project("LOGIN_URL") and _leads_to_a_page(settings.LOGIN_URL)
    ):
        yield _replacement("LOGIN_URL", f'LOGIN_URL = "{LOGIN_URL}"')
    if not is_set_by_project("LOGIN_REDIRECT_URL") and not _leads_to_a_page(
        settings.LOGIN_REDIRECT_URL
    ):
        yield _new_setting('LOGIN_REDIRECT_URL = "/"  # the URL or the name of a page of yours')


def _leads_to_a_page(url: Any) -> bool:
    """Return True if the URL or the name of a URL pattern leads to a view or to another site."""
    try:
        parts = urlsplit(str(resolve_url(url)))
        return bool(parts.netloc) or bool(resolve(parts.path))
    except (NoReverseMatch, Http404):
        return False
    except Exception:  # noqa: BLE001  (the module of a project can raise anything)
        # The line of the include has the reason.
        return True


def clients_without_fix() -> Sequence[str]:
    """The names of the project's own Authlib clients that have no ``compliance_fix``."""
    # Projects register their clients in modules that the URLconf imports. ciam_setup without
    # --answers-only prints the reason why a URLconf can't be imported.
    with contextlib.suppress(Exception):
        # The property imports the URLconf.
        list(get_resolver().url_patterns)
    return clients_without_fix_in(list(sys.modules.values()))


def _missing_migrations() -> Iterator[MissingLine]:
    command, place = "migrate", "in a shell"
    if apps.is_installed(ACCOUNTS_APP):
        alias = router.db_for_write(apps.get_model("ciam_accounts", "CiamIdentity"))
        if alias != DEFAULT_DB_ALIAS:
            command += f" --database {alias}"
        try:
            executor = MigrationExecutor(connections[alias])
            targets = executor.loader.graph.leaf_nodes("ciam_accounts")
            if not executor.migration_plan(targets):
                return
        except (DatabaseError, ConnectionDoesNotExist, ImproperlyConfigured) as error:
            place += f", when the database {alias!r} can be opened. {_text_of(error)}"
    yield MissingLine(typed_command(command), place)


def _text_of(error: Exception) -> str:
    """The class and the text of an exception, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def typed_command(command: str) -> str:
    """A command of Django as the developer has to type it."""
    program = Path(sys.argv[0])
    prefixes = {"django/__main__.py": "python -m django", "bin/django-admin": "django-admin"}
    prefix = prefixes.get("/".join(program.parts[-2:]), "python manage.py")
    return f"{prefix} {command}"
