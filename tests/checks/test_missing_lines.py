"""Test the lines that ``ciam_setup`` finds missing, in projects whose settings are real files."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import logging
import logging.config
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import Settings as FileSettings
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.signals import setting_changed
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings

from ciam_django.checks import missing_lines as missing_lines_module
from ciam_django.checks.missing_lines import (
    CLIENT_LINES,
    INCLUDE,
    LOGGING_LINES,
    MissingLine,
    can_sign_users_in,
    missing_lines,
    typed_command,
)
from ciam_django.testing import FakeCiam
from tests.accounts.shop import models as shop

pytestmark = pytest.mark.django_db

SETTINGS = """\
SECRET_KEY = "for tests only"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "rest_framework",
    "ciam_django",
    "ciam_django.accounts",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "ciam_django.accounts.middleware.CiamSessionMiddleware",
    "ciam_django.middleware.CiamErrorMiddleware",
]
ROOT_URLCONF = "{name}.urls"
LANGUAGES = [
    ("en", "English"),
    ("zh-hans", "简体中文"),
]
REST_FRAMEWORK = {
    "EXCEPTION_HANDLER": "ciam_django.drf.exception_handler",
}
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "ciam_django.accounts.backends.CiamBackend",
]
AUTHLIB_OAUTH_CLIENTS = {
    "ciam": {},
}
LOGIN_URL = "ciam:login"
LOGIN_REDIRECT_URL = "/"
LOGGING = {
    "version": 1,
    "handlers": {"mail": {"class": "logging.StreamHandler"}},
    "loggers": {
        "ciam_django": {"handlers": ["mail"], "level": "INFO"},
    },
}
"""
URLS = """\
from django.http import HttpResponse
from django.urls import include, path

urlpatterns = [
    path("ciam/", include("ciam_django.urls")),
    path("account/", HttpResponse, name="account"),
]
"""

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def restore_loggers() -> Iterator[None]:
    """Remove the handlers and the level that a project gives the package's logger."""
    logger = logging.getLogger("ciam_django")
    level, handlers, propagate = logger.level, logger.handlers[:], logger.propagate
    yield
    logger.setLevel(level)
    logger.handlers[:], logger.propagate = handlers, propagate


@contextlib.contextmanager
def project(folder: Path, settings: str = SETTINGS, urls: str = URLS) -> Iterator[Path]:
    """Run a block with the settings of a new project, and yield the folder of its files."""
    name = f"project_{next(_numbers)}"
    place = folder / name
    place.mkdir()
    (place / "__init__.py").write_text("")
    (place / "settings.py").write_text(settings.replace("{name}", name), encoding="utf-8")
    (place / "urls.py").write_text(urls, encoding="utf-8")
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    lazy_settings: Any = django_settings
    wrapped = lazy_settings._wrapped
    overrides: dict[str, object] = {}
    try:
        file_settings: Any = FileSettings(f"{name}.settings")
        lazy_settings._wrapped = file_settings
        if "LOGGING" in vars(file_settings):
            # Django 6.1 applies an overridden LOGGING, also at the end of the override.
            file_settings.LOGGING = {"disable_existing_loggers": False, **file_settings.LOGGING}
        own = {each: value for each, value in vars(file_settings).items() if each.isupper()}
        overrides |= {each: own[each] for each in own if file_settings.is_overridden(each)}
        overrides["SETTINGS_MODULE"] = f"{name}.settings"
        with override_settings(**overrides):
            yield place
    finally:
        lazy_settings._wrapped = wrapped
        for setting in overrides:
            # Django's receivers have read the settings of the project again.
            value = getattr(django_settings, setting, None)
            setting_changed.send(type(wrapped), setting=setting, value=value, enter=False)
        sys.path.remove(str(folder))
        for module in [each for each in sys.modules if each.partition(".")[0] == name]:
            del sys.modules[module]


def described(line: MissingLine, folder: Path) -> str:
    """The place and the text of a missing line, as ``file:line: place: text``."""
    file = line.path.relative_to(folder).name if line.path else "-"
    text = line.text.replace(folder.name, "{name}")
    return f"{file}:{line.line or '-'}: {line.place}: {text}"


def found(folder: Path, *changes: tuple[str, str], answers_only: bool = False) -> list[str]:
    """The missing lines of a complete project after these replacements in its files."""
    settings, urls = SETTINGS, URLS
    for old, new in changes:
        assert (old in settings) != (old in urls), old
        settings, urls = settings.replace(old, new), urls.replace(old, new)
    with project(folder, settings, urls) as place:
        if "LOGGING" in settings:
            logging.config.dictConfig(django_settings.LOGGING)
        return [described(line, place) for line in missing_lines(answers_only=answers_only)]


def test_a_complete_project_misses_no_line(tmp_path: Path) -> None:
    assert found(tmp_path) == []


OWN_LOGGER = '"ciam_django": {"handlers": ["mail"], "level": "INFO"}'
MAIL = '"mail": {"class": "django.utils.log.AdminEmailHandler"}'
# Name -> replacements in the files of the complete project, and the missing lines.
MISSING: dict[str, tuple[list[tuple[str, str]], list[str]]] = {
    "app": (
        [('    "ciam_django.accounts",\n', "")],
        [
            "settings.py:7: in INSTALLED_APPS, after 'ciam_django': \"ciam_django.accounts\",",
            "-:-: in a shell: python manage.py migrate",
        ],
    ),
    "sessions": (
        [('    "django.contrib.sessions",\n', "")],
        ['settings.py:8: in INSTALLED_APPS, at the end: "django.contrib.sessions",'],
    ),
    "sessions in the cache": (
        [
            ('    "django.contrib.sessions",\n', ""),
            (
                "LANGUAGES",
                'SESSION_ENGINE = "django.contrib.sessions.backends.cache"\nLANGUAGES',
            ),
        ],
        [],
    ),
    "locale middleware": (
        [('    "django.middleware.locale.LocaleMiddleware",\n', "")],
        [
            (
                "settings.py:11: in MIDDLEWARE, after SessionMiddleware and before "
                'CommonMiddleware: "django.middleware.locale.LocaleMiddleware",'
            )
        ],
    ),
    "locale middleware in the wrong place": (
        [
            ('    "django.middleware.locale.LocaleMiddleware",\n', ""),
            (
                "MIDDLEWARE = [\n",
                'MIDDLEWARE = [\n    "django.middleware.locale.LocaleMiddleware",\n',
            ),
        ],
        [
            (
                "settings.py:12: in MIDDLEWARE: move it after SessionMiddleware and before "
                'CommonMiddleware: "django.middleware.locale.LocaleMiddleware",'
            )
        ],
    ),
    "one language": (
        [
            ('    "django.middleware.locale.LocaleMiddleware",\n', ""),
            ('    ("en", "English"),\n', ""),
        ],
        [],
    ),
    "session middleware": (
        [('    "ciam_django.accounts.middleware.CiamSessionMiddleware",\n', "")],
        [
            (
                "settings.py:14: in MIDDLEWARE, after AuthenticationMiddleware: "
                '"ciam_django.accounts.middleware.CiamSessionMiddleware",'
            )
        ],
    ),
    "both session middleware": (
        [
            ('    "ciam_django.accounts.middleware.CiamSessionMiddleware",\n', ""),
            ('    "django.contrib.sessions.middleware.SessionMiddleware",\n', ""),
            ('    "django.middleware.locale.LocaleMiddleware",\n', ""),
        ],
        [
            (
                "settings.py:11: in MIDDLEWARE, before CommonMiddleware: "
                '"django.contrib.sessions.middleware.SessionMiddleware",'
            ),
            (
                "settings.py:11: in MIDDLEWARE, after SessionMiddleware and before "
                'CommonMiddleware: "django.middleware.locale.LocaleMiddleware",'
            ),
            (
                "settings.py:12: in MIDDLEWARE, after AuthenticationMiddleware: "
                '"ciam_django.accounts.middleware.CiamSessionMiddleware",'
            ),
        ],
    ),
    "error middleware": (
        [('    "ciam_django.middleware.CiamErrorMiddleware",\n', "")],
        [
            (
                "settings.py:16: in MIDDLEWARE, at the end: "
                '"ciam_django.middleware.CiamErrorMiddleware",'
            )
        ],
    ),
    "translations": (
        [("LANGUAGES =", "USE_I18N = False\nLANGUAGES =")],
        ["settings.py:19: in place of USE_I18N: USE_I18N = True"],
    ),
    "old language codes": (
        [('"zh-hans"', '"zh-CN"'), ("LANGUAGES =", 'LANGUAGE_CODE = "zh-tw"\nLANGUAGES =')],
        [
            'settings.py:22: in LANGUAGES, in place of \'zh-CN\': ("zh-hans", "简体中文"),',
            'settings.py:19: in place of LANGUAGE_CODE: LANGUAGE_CODE = "zh-hant"',
        ],
    ),
    "handler": (
        [('    "EXCEPTION_HANDLER": "ciam_django.drf.exception_handler",\n', '    "X": 1,\n')],
        [
            (
                "settings.py:25: in REST_FRAMEWORK, at the end: "
                '"EXCEPTION_HANDLER": "ciam_django.drf.exception_handler",'
            )
        ],
    ),
    "handler of the project": (
        [("ciam_django.drf.exception_handler", "shop.handler")],
        [
            (
                "settings.py:24: in REST_FRAMEWORK, in place of 'EXCEPTION_HANDLER': "
                '"EXCEPTION_HANDLER": "ciam_django.drf.exception_handler",'
            ),
            'settings.py:-: at the end of the file: CIAM_DRF_FALLBACK_HANDLER = "shop.handler"',
        ],
    ),
    "settings of REST framework": (
        [
            (
                (
                    'REST_FRAMEWORK = {\n    "EXCEPTION_HANDLER": '
                    '"ciam_django.drf.exception_handler",\n}\n'
                ),
                "",
            )
        ],
        [
            (
                "settings.py:-: at the end of the file: "
                'REST_FRAMEWORK = {"EXCEPTION_HANDLER": "ciam_django.drf.exception_handler"}'
            )
        ],
    ),
    "no REST framework": (
        [
            ('    "rest_framework",\n', ""),
            ('    "EXCEPTION_HANDLER": "ciam_django.drf.exception_handler",\n', ""),
        ],
        [],
    ),
    "backend": (
        [('    "ciam_django.accounts.backends.CiamBackend",\n', "")],
        [
            (
                "settings.py:28: in AUTHENTICATION_BACKENDS, at the end: "
                '"ciam_django.accounts.backends.CiamBackend",'
            )
        ],
    ),
    "backends": (
        [("AUTHENTICATION_BACKENDS =", "OTHERS =")],
        [
            (
                "settings.py:-: at the end of the file: AUTHENTICATION_BACKENDS = [\n"
                '    "django.contrib.auth.backends.ModelBackend",\n'
                '    "ciam_django.accounts.backends.CiamBackend",\n]'
            )
        ],
    ),
    "clients": (
        [("AUTHLIB_OAUTH_CLIENTS =", "OTHERS =")],
        [f"settings.py:-: at the end of the file: {CLIENT_LINES}"],
    ),
    "client": (
        [('    "ciam": {},\n', '    "github": {},\n')],
        [
            "settings.py:32: in AUTHLIB_OAUTH_CLIENTS, at the end: "
            + "\n".join(CLIENT_LINES.splitlines()[1:-1])
        ],
    ),
    "include": (
        [
            ('    path("ciam/", include("ciam_django.urls")),\n', ""),
            ("import include, path", "import path"),
            ('"ciam:login"', '"account"'),
        ],
        [
            "urls.py:1: at the imports: from django.urls import include",
            f"urls.py:4: in urlpatterns, as the first entry: {INCLUDE},",
        ],
    ),
    "include in i18n_patterns": (
        [
            ("urlpatterns = [\n", "urlpatterns = i18n_patterns(\n"),
            ('name="account"),\n]', 'name="account"),\n)'),
            (
                "from django.http",
                "from django.conf.urls.i18n import i18n_patterns\nfrom django.http",
            ),
        ],
        [
            (
                "urls.py:-: at the end of the file, outside of i18n_patterns: "
                f"urlpatterns = [{INCLUDE}, *urlpatterns]"
            )
        ],
    ),
    "include in i18n_patterns behind a list": (
        [
            (
                "urlpatterns = [\n",
                'urlpatterns = [\n    path("", HttpResponse),\n] + i18n_patterns(\n',
            ),
            ('name="account"),\n]', 'name="account"),\n)'),
            (
                "from django.http",
                "from django.conf.urls.i18n import i18n_patterns\nfrom django.http",
            ),
        ],
        [(f"urls.py:5: in urlpatterns, as the first entry, outside of i18n_patterns: {INCLUDE},")],
    ),
    "broken URLconf": (
        [
            (
                '    path("ciam/", include("ciam_django.urls")),',
                '    path("x/", include("no.urls")),',
            ),
            ('"ciam:login"', '"account"'),
        ],
        [
            (
                "urls.py:5: the URLconf cannot be imported. Correct it, and run this command "
                "again: # ModuleNotFoundError: No module named 'no'"
            )
        ],
    ),
    "missing URLconf": (
        [('"{name}.urls"', '"{name}.no"')],
        [
            (
                "settings.py:-: the URLconf cannot be imported. Correct it, and run this command "
                "again: # ModuleNotFoundError: No module named '{name}.no'"
            )
        ],
    ),
    "missing package of the URLconf": (
        [('"{name}.urls"', '"no.urls"')],
        [
            (
                "settings.py:-: the URLconf cannot be imported. Correct it, and run this command "
                "again: # ModuleNotFoundError: No module named 'no'"
            )
        ],
    ),
    "no URLconf": (
        [('ROOT_URLCONF = "{name}.urls"\n', "")],
        [
            (
                'settings.py:-: at the end of the file: ROOT_URLCONF = "urls"  '
                "# the module with your urlpatterns"
            )
        ],
    ),
    "LOGIN_URL": (
        [('LOGIN_URL = "ciam:login"\n', "")],
        ['settings.py:-: at the end of the file: LOGIN_URL = "ciam:login"'],
    ),
    "LOGIN_URL without a page": (
        [('"ciam:login"', '"ciam:log_in"')],
        ['settings.py:33: in place of LOGIN_URL: LOGIN_URL = "ciam:login"'],
    ),
    "LOGIN_URL with a path that has no page": (
        [('"ciam:login"', '"/accounts/login/"')],
        ['settings.py:33: in place of LOGIN_URL: LOGIN_URL = "ciam:login"'],
    ),
    "LOGIN_URL of the project": ([('"ciam:login"', '"account"')], []),
    "LOGIN_URL of another site": ([('"ciam:login"', '"https://id.example.com/"')], []),
    "LOGIN_REDIRECT_URL": (
        [('LOGIN_REDIRECT_URL = "/"\n', "")],
        [
            (
                'settings.py:-: at the end of the file: LOGIN_REDIRECT_URL = "/"  '
                "# the URL or the name of a page of yours"
            )
        ],
    ),
    "logger": (
        [('        "ciam_django": {"handlers": ["mail"], "level": "INFO"},\n', "")],
        [
            (
                'settings.py:38: in LOGGING["loggers"], as the first entry: '
                '"ciam_django": {"level": "INFO"},'
            )
        ],
    ),
    "loggers": (
        [
            ('"loggers": {\n', ""),
            ('        "ciam_django": {"handlers": ["mail"], "level": "INFO"},\n    },\n', ""),
        ],
        [
            (
                "settings.py:38: in LOGGING, at the end: "
                '"loggers": {"ciam_django": {"level": "INFO"}},'
            )
        ],
    ),
    "logger without handlers": (
        [
            ('"level": "INFO"}', '"level": "INFO", "propagate": False}'),
            ('"handlers": ["mail"], ', ""),
        ],
        [
            (
                "settings.py:39: in LOGGING[\"loggers\"], in place of 'ciam_django': "
                '"ciam_django": {"handlers": ["mail"], "level": "INFO"},'
            )
        ],
    ),
    "logger that would mail each line": (
        [
            ('"mail": {"class": "logging.StreamHandler"}', f"{MAIL}"),
            (OWN_LOGGER, '"ciam_django": {"propagate": False}'),
        ],
        [
            (
                'settings.py:37: in LOGGING["handlers"], as the first entry: '
                '"console": {"class": "logging.StreamHandler"},'
            ),
            (
                "settings.py:39: in LOGGING[\"loggers\"], in place of 'ciam_django': "
                '"ciam_django": {"handlers": ["console"], "level": "INFO"},'
            ),
        ],
    ),
    "logger beside the handler of the console": (
        [
            (
                '"mail": {"class": "logging.StreamHandler"}',
                f'{MAIL}, "console": {{"class": "logging.StreamHandler"}}',
            ),
            (OWN_LOGGER, '"ciam_django": {"propagate": False}'),
        ],
        [
            (
                "settings.py:39: in LOGGING[\"loggers\"], in place of 'ciam_django': "
                '"ciam_django": {"handlers": ["console"], "level": "INFO"},'
            ),
        ],
    ),
    "handlers": (
        [
            ('    "handlers": {"mail": {"class": "logging.StreamHandler"}},\n', ""),
            (OWN_LOGGER, '"ciam_django": {"propagate": False}'),
        ],
        [
            (
                "settings.py:40: in LOGGING, at the end: "
                '"handlers": {"console": {"class": "logging.StreamHandler"}},'
            ),
            (
                "settings.py:38: in LOGGING[\"loggers\"], in place of 'ciam_django': "
                '"ciam_django": {"handlers": ["console"], "level": "INFO"},'
            ),
        ],
    ),
}


@pytest.mark.parametrize("name", MISSING)
def test_each_missing_line_is_found_with_its_place(name: str, tmp_path: Path) -> None:
    changes, expected = MISSING[name]

    assert found(tmp_path, *changes) == expected


def test_a_project_without_logging_misses_the_whole_setting(tmp_path: Path) -> None:
    settings = SETTINGS[: SETTINGS.index("LOGGING")]
    with project(tmp_path, settings):
        lines = list(missing_lines(answers_only=False))

    assert [line.text for line in lines] == [LOGGING_LINES]


def test_the_answers_alone_need_neither_accounts_nor_urls(tmp_path: Path) -> None:
    settings = """\
SECRET_KEY = "for tests only"
INSTALLED_APPS = ["ciam_django"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
"""
    with project(tmp_path, settings) as place:
        assert not can_sign_users_in()
        lines = [described(line, place) for line in missing_lines(answers_only=True)]

    assert lines == [
        (
            "settings.py:3: in MIDDLEWARE, before CommonMiddleware: "
            '"django.middleware.locale.LocaleMiddleware",'
        ),
        'settings.py:3: in MIDDLEWARE, at the end: "ciam_django.middleware.CiamErrorMiddleware",',
        f"settings.py:-: at the end of the file: {LOGGING_LINES}",
    ]


def test_a_project_without_a_settings_file_gets_lines_without_files(tmp_path: Path) -> None:
    # If a test overrides LOGGING, Django 6.1 configures the loggers, and Django 5.2 does not.
    logging_off = {
        "version": 1,
        "disable_existing_loggers": False,
        "loggers": {"ciam_django": {"level": "WARNING"}},
    }
    changes: dict[str, object] = {"SETTINGS_MODULE": None, "MIDDLEWARE": [], "LOGGING": logging_off}
    with project(tmp_path), override_settings(**changes):
        lines = [described(line, tmp_path) for line in missing_lines(answers_only=True)]

    assert lines == [
        '-:-: in MIDDLEWARE, at the end: "django.middleware.locale.LocaleMiddleware",',
        '-:-: in MIDDLEWARE, at the end: "ciam_django.middleware.CiamErrorMiddleware",',
        (
            "-:-: in LOGGING[\"loggers\"], in place of 'ciam_django': "
            '"ciam_django": {"level": "INFO"},'
        ),
    ]


def test_migrations_that_are_not_applied_are_found(tmp_path: Path) -> None:
    MigrationRecorder(connection).record_unapplied("ciam_accounts", "0005_indexes")

    assert found(tmp_path) == ["-:-: in a shell: python manage.py migrate"]


class IdentitiesRouter:
    """Write the identities to a database that the project does not have."""

    def db_for_write(self, model: object, **hints: object) -> str:
        return "identities"


def test_a_database_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    router = f'DATABASE_ROUTERS = ["{__name__}.IdentitiesRouter"]\nLANGUAGES ='

    (line,) = found(tmp_path, ("LANGUAGES =", router))
    assert (
        "in a shell, when the database 'identities' can be opened. ConnectionDoesNotExist" in line
    )
    assert line.endswith(": python manage.py migrate --database identities")


def test_the_printed_client_is_the_client_of_the_fake_ciam(fake_ciam: FakeCiam) -> None:
    names: dict[str, dict[str, dict[str, str]]] = {}
    exec(CLIENT_LINES.replace("http://127.0.0.1:8400", fake_ciam.url), names)  # noqa: S102  (our own text)

    assert names["AUTHLIB_OAUTH_CLIENTS"]["ciam"] == fake_ciam.client("oidc")


@pytest.mark.parametrize(
    ("program", "typed"),
    [
        ("manage.py", "python manage.py check"),
        ("/srv/shop/manage.py", "python manage.py check"),
        ("/usr/lib/django/__main__.py", "python -m django check"),
        ("/usr/lib/pytest/__main__.py", "python manage.py check"),
        ("/usr/bin/django-admin", "django-admin check"),
        ("gunicorn", "python manage.py check"),
    ],
)
def test_a_command_is_named_as_it_is_typed(
    program: str, typed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [program])

    assert typed_command("check") == typed


# --- The scope of the client --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "option"),
    [
        (shop.EmailUser, '        "client_kwargs": {"scope": "openid email"},\n    },\n}'),
        (User, '/.well-known/openid-configuration",\n    },\n}'),
    ],
)
def test_the_client_has_the_scope_of_the_claim_that_the_user_model_needs(
    model: Any, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missing_lines_module, "get_user_model", lambda: model)
    with override_settings(AUTHLIB_OAUTH_CLIENTS={}):
        (line,) = missing_lines_module._missing_client()

    assert line.text.endswith(option)
    compile(line.text, "settings.py", "exec")
