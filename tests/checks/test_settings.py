"""Test the checks of the settings: each mistake has one message with a hint."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.conf.urls.i18n import i18n_patterns
from django.core.checks import CheckMessage, Error, Warning, run_checks  # noqa: A004
from django.test import override_settings
from django.urls import include, path
from django.utils.functional import lazystr
from pytest_django.fixtures import Settings

from ciam_django.checks.messages import CHECK_IDS
from ciam_django.codes import CODES
from ciam_django.conf import SETTINGS
from ciam_django.kinds import Action
from ciam_django.middleware import CiamErrorMiddleware
from tests.metrics.conftest import forget_adapter_of_prometheus
from tests.rows import for_each_row

LOCKED = "Operation.Failure.User.Locked"
CLIENT = {
    "api_base_url": "https://ciam.invalid/",
    "client_id": "tests",
    "client_secret": "not-a-secret",
    "authorize_url": "https://ciam.invalid/oauth/authorize",
    "access_token_url": "https://ciam.invalid/oauth/token",
}

# URL confs of other projects.
prefixed_urls = i18n_patterns(path("deep/", include([path("ciam/", include("ciam_django.urls"))])))


class PrefixedUrls:
    urlpatterns = prefixed_urls


class NoUrls:
    urlpatterns = [path("elsewhere/", include([]))]


class SubclassedMiddleware(CiamErrorMiddleware):
    """A subclass in a project."""


def function_middleware(get_response: Any) -> Any:
    """A middleware that is a function, which Django allows."""
    return get_response


def handler(exc: Exception, context: object) -> None:
    """A handler of the project for the exceptions of REST framework."""


# The checks do not call the server.
SHARED_CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": "redis://cache.invalid",
    }
}


def found_with(**settings: Any) -> list[CheckMessage]:
    with override_settings(**{"CACHES": SHARED_CACHES, **settings}):
        return run_checks(tags=["ciam_django"])


def only_message(check: str, **settings: Any) -> CheckMessage:
    """The only message for these settings, which must have the id of ``check``."""
    messages = found_with(**settings)
    assert [message.id for message in messages] == [CHECK_IDS[check]], messages
    return messages[0]


def client(**replaced: Any) -> dict[str, Any]:
    arguments = {**CLIENT, **replaced}
    return {"ciam": {name: value for name, value in arguments.items() if value is not None}}


# --- All checks -------------------------------------------------------------------------------


def test_a_valid_project_has_no_messages() -> None:
    assert found_with() == []


def test_check_ids_are_unique() -> None:
    numbers = [check_id[-3:] for check_id in CHECK_IDS.values()]

    assert len(set(numbers)) == len(numbers)


class UsersRouter:
    """Write the users to a database of their own."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "users" if model._meta.app_label == "auth" else None


# Key of CHECK_IDS -> wrong settings, a part of the message, and a part of the hint.
WRONG: Mapping[str, tuple[dict[str, Any], str, str]] = {
    "name": (
        {"CIAM_TIMEUOT": 5.0},
        "CIAM_TIMEUOT is no setting of ciam_django.",
        "Did you mean 'CIAM_TIMEOUT'?",
    ),
    "type": ({"CIAM_TIMEOUT": "5"}, "CIAM_TIMEOUT is '5', a str.", "It must be a float."),
    "range": ({"CIAM_RETRY_AFTER": -1}, "CIAM_RETRY_AFTER is -1.", "Allowed: 0 to 3600."),
    "override key": (
        {"CIAM_ERROR_OVERRIDES": {"Operation.Failure.User.Lokced": "M."}},
        "CIAM_ERROR_OVERRIDES has the key 'Operation.Failure.User.Lokced', which fits no code",
        "Did you mean 'Operation.Failure.User.Locked'?",
    ),
    "override field": (
        {"CIAM_ERROR_OVERRIDES": {"invalid_grant": {"mesage": "M."}}},
        "CIAM_ERROR_OVERRIDES['invalid_grant'] has no field 'mesage'.",
        "Did you mean 'message'?",
    ),
    "override value": (
        {"CIAM_ERROR_OVERRIDES": {"invalid_grant": {"status": 200}}},
        "CIAM_ERROR_OVERRIDES['invalid_grant']: the status is 200.",
        "It must be an HTTP status from 400 to 599.",
    ),
    "override uncollapsed": (
        {"CIAM_ERROR_OVERRIDES": {LOCKED: "Call us."}},
        f"CIAM_ERROR_OVERRIDES['{LOCKED}'] has a message",
        "The message tells them that an account exists.",
    ),
    "action": (
        {"CIAM_ACTION_URLS": {"reset_pasword": "/reset/"}},
        "CIAM_ACTION_URLS has the key 'reset_pasword'.",
        "Did you mean 'reset_password'?",
    ),
    "address": (
        {"CIAM_SUPPORT_URL": "no-such-name"},
        "CIAM_SUPPORT_URL is 'no-such-name'.",
        "a path that begins with /",
    ),
    "dotted path": (
        {"CIAM_DRF_FALLBACK_HANDLER": "tests.checks.test_settings.nothing"},
        "CIAM_DRF_FALLBACK_HANDLER is 'tests.checks.test_settings.nothing'.",
        'Module "tests.checks.test_settings" does not define a "nothing"',
    ),
    "template": (
        {"CIAM_BASE_TEMPLATE": "no-such.html"},
        "CIAM_BASE_TEMPLATE is 'no-such.html': TemplateDoesNotExist",
        "a template that has a block 'content'",
    ),
    "client": (
        {"AUTHLIB_OAUTH_CLIENTS": client(client_id="")},
        'AUTHLIB_OAUTH_CLIENTS["ciam"] has no client_id.',
        "",
    ),
    "insecure callback": (
        {"CIAM_CALLBACK_URL": "http://example.com/ciam/callback/"},
        "CIAM_CALLBACK_URL is 'http://example.com/ciam/callback/', and DEBUG is off.",
        "The line: CIAM_CALLBACK_URL = 'https://",
    ),
    "override language": (
        {"CIAM_ERROR_OVERRIDES": {"My.Code": {"message": {"de": "M.", "zh-tw": "甲。"}}}},
        "in languages that ciam_django has no other texts in: de.",
        "LOCALE_PATHS",
    ),
    "accounts": (
        {"INSTALLED_APPS": [a for a in django_settings.INSTALLED_APPS if "accounts" not in a]},
        "'ciam_django.accounts' is not in INSTALLED_APPS.",
        "Add 'ciam_django.accounts' to INSTALLED_APPS",
    ),
    "backend": (
        {"AUTHENTICATION_BACKENDS": ["django.contrib.auth.backends.ModelBackend"]},
        "'ciam_django.accounts.backends.CiamBackend' is not in AUTHENTICATION_BACKENDS.",
        "as the last entry of AUTHENTICATION_BACKENDS",
    ),
    "language prefix": (
        {"ROOT_URLCONF": PrefixedUrls},
        "ciam_django.urls is included under i18n_patterns.",
        "Move the include out of i18n_patterns",
    ),
    "metrics": (
        {"CIAM_METRICS": ["otel", "prometeus"]},
        "CIAM_METRICS[1] is 'prometeus'.",
        "Did you mean 'prometheus'?",
    ),
    "middleware": (
        {
            "MIDDLEWARE": [
                "no.such.middleware",
                f"{__name__}.function_middleware",
                "django.contrib.sessions.middleware.SessionMiddleware",
                "django.middleware.locale.LocaleMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware",
                "ciam_django.accounts.middleware.CiamSessionMiddleware",
            ]
        },
        "'ciam_django.middleware.CiamErrorMiddleware' is not in MIDDLEWARE.",
        "as the last entry of MIDDLEWARE",
    ),
    "handler": (
        {"REST_FRAMEWORK": {"EXCEPTION_HANDLER": f"{__name__}.handler"}},
        f"REST_FRAMEWORK['EXCEPTION_HANDLER'] is '{__name__}.handler'.",
        "REST_FRAMEWORK = {'EXCEPTION_HANDLER': 'ciam_django.drf.exception_handler'}",
    ),
    "form action": (
        {"SECURE_CSP": {"form-action": ["'self'"]}},
        "The form-action of SECURE_CSP lacks https://ciam.invalid.",
        "Add the origin",
    ),
    "login method": (
        {"CIAM_LOGIN_METHODS": ["hosted", "pasword"]},
        "CIAM_LOGIN_METHODS[1] is 'pasword'.",
        "Did you mean 'password'?",
    ),
    "step": (
        {"CIAM_FLOW_TYPES": {"NEED_MAGIC": "magic"}},
        "CIAM_FLOW_TYPES['NEED_MAGIC'] is 'magic'.",
        "Allowed: second_factor, new_password, consent, profile, link.",
    ),
    "phone region": (
        {"CIAM_PHONE_REGION": "China"},
        "CIAM_PHONE_REGION is 'China'.",
        "such as 'CN'",
    ),
    "provider": (
        {"CIAM_SOCIAL_PROVIDERS": {"wechat": {"web": {"app_id": "1", "source": "s"}}}},
        "CIAM_SOCIAL_PROVIDERS: 'wechat.web' is no provider.",
        "Did you mean 'wechat.website'?",
    ),
    "limit": (
        {"CIAM_TRY_LIMITS": {"receiver": ["5 a minute"]}},
        "CIAM_TRY_LIMITS['receiver'][0] is '5 a minute'.",
        "'1/min'",
    ),
    "cache": (
        {"CACHES": django_settings.CACHES},
        "The default cache is 'django.core.cache.backends.locmem.LocMemCache', which each process",
        "Use Redis or Memcached",
    ),
    "endpoint": (
        {"CIAM_ENDPOINTS": {"change_pasword": {"path": "x"}}},
        "CIAM_ENDPOINTS['change_pasword'] is no call of CIAM's API.",
        "Did you mean 'change_password'?",
    ),
    "open stage": (
        {"CIAM_ENDPOINTS": {"password_login": {"stage": "api"}}},
        "CIAM_ENDPOINTS['password_login']: at the stage 'api', users learn which accounts exist.",
        "At the stage 'password', the errors are generic.",
    ),
    "private key": (
        {
            "AUTHLIB_OAUTH_CLIENTS": {
                "ciam": {
                    **CLIENT,
                    "client_secret": "no key",
                    "client_kwargs": {"token_endpoint_auth_method": "private_key_jwt"},
                }
            }
        },
        'The client_secret of AUTHLIB_OAUTH_CLIENTS["ciam"] is no private key.',
        "as PEM or JWK",
    ),
    "verified claim": (
        {"CIAM_VERIFIED_CLAIMS": ["emial"]},
        "CIAM_VERIFIED_CLAIMS[0] is 'emial'.",
        "Did you mean 'email'?",
    ),
    "user field": (
        {"CIAM_USER_FIELDS": {"frist_name": ["name"]}},
        "CIAM_USER_FIELDS has 'frist_name', which is no field of User.",
        "Did you mean 'first_name'?",
    ),
    "session store": (
        {"SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies"},
        "SESSION_ENGINE is 'django.contrib.sessions.backends.signed_cookies'",
        "Use the database or a cache",
    ),
    "session middleware": (
        {"MIDDLEWARE": [m for m in django_settings.MIDDLEWARE if "CiamSession" not in m]},
        "'ciam_django.accounts.middleware.CiamSessionMiddleware' is not in MIDDLEWARE, after",
        "after 'django.contrib.auth.middleware.AuthenticationMiddleware'",
    ),
    "bearer": ({"CIAM_BEARER": "chek"}, "CIAM_BEARER is 'chek'.", "Did you mean 'check'?"),
    "bearer mode": (
        {"CIAM_BEARER": "jwt"},
        "CIAM_BEARER is 'jwt', and AUTHLIB_OAUTH_CLIENTS[\"ciam\"] has no server_metadata_url.",
        "The line: CIAM_BEARER = 'check'. Or use OpenID Connect",
    ),
    "databases": (
        {"DATABASE_ROUTERS": [f"{__name__}.UsersRouter"]},
        "The router writes users to 'users', and identities to 'default'.",
        "route the app 'ciam_accounts' to the database 'users'",
    ),
    "front end": (
        {
            "INSTALLED_APPS": [*django_settings.INSTALLED_APPS, "corsheaders"],
            "CORS_ALLOWED_ORIGINS": ["https://app.example.com"],
        },
        "CORS_ALLOWED_ORIGINS has 'https://app.example.com', but CSRF_TRUSTED_ORIGINS lacks it.",
        "add 'https://app.example.com' to CSRF_TRUSTED_ORIGINS",
    ),
    "home region": (
        {"CIAM_PHONE_REGIONS": ["HK", "TW"]},
        "CIAM_PHONE_REGION is 'CN', which is not in CIAM_PHONE_REGIONS.",
        "Add 'CN' to CIAM_PHONE_REGIONS",
    ),
    "no locale middleware": (
        {"MIDDLEWARE": [m for m in django_settings.MIDDLEWARE if "Locale" not in m]},
        (
            "'django.middleware.locale.LocaleMiddleware' is not in MIDDLEWARE: all users read the "
            "texts in LANGUAGE_CODE, 'en'."
        ),
        "Add LocaleMiddleware after SessionMiddleware and before CommonMiddleware.",
    ),
    "locale middleware order": (
        {
            "MIDDLEWARE": [
                "django.middleware.locale.LocaleMiddleware",
                *(m for m in django_settings.MIDDLEWARE if "Locale" not in m),
            ]
        },
        (
            "In MIDDLEWARE, 'django.middleware.locale.LocaleMiddleware' is before "
            "'django.contrib.sessions.middleware.SessionMiddleware'."
        ),
        "Move LocaleMiddleware after SessionMiddleware",
    ),
    "no translations": (
        {"USE_I18N": False},
        "USE_I18N is False: all users read the texts in English.",
        "Set USE_I18N to True.",
    ),
    "client key": (
        {"AUTHLIB_OAUTH_CLIENTS": client(scope="USER_API")},
        "AUTHLIB_OAUTH_CLIENTS[\"ciam\"] has the key 'scope', which has no effect there.",
        "Move 'scope' to \"client_kwargs\"",
    ),
    "placeholder": (
        {"AUTHLIB_OAUTH_CLIENTS": client(client_id="…")},
        'AUTHLIB_OAUTH_CLIENTS["ciam"]["client_id"] is \'…\'',
        "the value of your application in CIAM's console",
    ),
    "client url": (
        {"AUTHLIB_OAUTH_CLIENTS": client(api_base_url="api.shop.cn")},
        'AUTHLIB_OAUTH_CLIENTS["ciam"]["api_base_url"] is \'api.shop.cn\'.',
        "for example 'https://api.shop.cn'",
    ),
    "insecure client": (
        {"AUTHLIB_OAUTH_CLIENTS": client(api_base_url="http://api.shop.cn")},
        "is 'http://api.shop.cn', and DEBUG is off.",
        "for example 'https://api.shop.cn'",
    ),
    "client file": (
        {"AUTHLIB_OAUTH_CLIENTS": client(client_kwargs={"verify": "/missing/ca.pem"})},
        "the file '/missing/ca.pem' does not exist on this machine.",
        "It must be the absolute path of a file in the format PEM.",
    ),
    "client secret": (
        {"AUTHLIB_OAUTH_CLIENTS": client(client_secret=None)},
        'AUTHLIB_OAUTH_CLIENTS["ciam"]["client_secret"] is missing.',
        'os.environ["CIAM_CLIENT_SECRET"]',
    ),
    "callback path": (
        {"CIAM_CALLBACK_URL": "https://shop.cn/callback"},
        "CIAM_CALLBACK_URL is 'https://shop.cn/callback', and the path of ciam:callback is",
        'CIAM_CALLBACK_URL = "https://shop.cn/ciam/callback/"',
    ),
    "link": (
        {"LOGOUT_REDIRECT_URL": "hme"},
        "LOGOUT_REDIRECT_URL is 'hme': Reverse for 'hme' not found.",
        "Allowed: the name of a URL pattern",
    ),
    "cookie": (
        {"SESSION_COOKIE_SAMESITE": "Strict"},
        "SESSION_COOKIE_SAMESITE is 'Strict'.",
        "SESSION_COOKIE_SAMESITE = 'Lax'",
    ),
    "django part": (
        {"INSTALLED_APPS": [a for a in django_settings.INSTALLED_APPS if "sessions" not in a]},
        "'django.contrib.sessions' is not in INSTALLED_APPS",
        "manage.py migrate",
    ),
    "proxy header": (
        {"SECURE_PROXY_SSL_HEADER": ("X-Forwarded-Proto", "https")},
        "SECURE_PROXY_SSL_HEADER is ('X-Forwarded-Proto', 'https').",
        "SECURE_PROXY_SSL_HEADER = ('HTTP_X_FORWARDED_PROTO', 'https')",
    ),
    "app": (
        {"INSTALLED_APPS": [a for a in django_settings.INSTALLED_APPS if a != "ciam_django"]},
        "INSTALLED_APPS has 'ciam_django.accounts', and lacks 'ciam_django'.",
        "'ciam_django' and 'ciam_django.accounts'",
    ),
    "urls": (
        {"ROOT_URLCONF": NoUrls, "LOGIN_URL": "ciam:login"},
        "LOGIN_URL is 'ciam:login', and ciam_django.urls is not included",
        'path("ciam/", include("ciam_django.urls"))',
    ),
}
# tests/checks/test_accounts.py tests the checks of the database and of the user model.
DATABASE_CHECKS = ["identities", "issuer", "user model"]
# tests/checks/test_login.py tests the checks of ``manage.py check --deploy``.
DEPLOY_CHECKS = ["client address", "site budget", "phone regions", "support"]
# The checks of settings that only the views of ``ciam_django.urls`` need.
NEED_URLS = {
    "client",
    "accounts",
    "backend",
    "language prefix",
    "form action",
    "cache",
    "session store",
    "session middleware",
    "front end",
    "callback path",
    "link",
    "cookie",
    "django part",
}


def test_every_check_id_has_a_test() -> None:
    # A test of its own takes the package away.
    others = [*DATABASE_CHECKS, *DEPLOY_CHECKS, "metrics package"]
    assert sorted([*WRONG, *others]) == sorted(CHECK_IDS)


@for_each_row("check", WRONG)
def test_a_wrong_setting_is_reported_with_a_hint(check: str) -> None:
    settings, text, hint = WRONG[check]

    message = only_message(check, **settings)

    assert text in message.msg
    assert hint in (message.hint or "")
    assert type(message) is (Warning if ".W" in CHECK_IDS[check] else Error)


@pytest.mark.parametrize("check", WRONG)
def test_only_checks_of_the_sign_in_views_need_the_urls(check: str) -> None:
    settings, _, _ = WRONG[check]

    messages = found_with(**{**settings, "ROOT_URLCONF": NoUrls})

    assert [message.id for message in messages] == (
        [] if check in NEED_URLS else [CHECK_IDS[check]]
    )


def test_a_project_without_the_urls_gets_a_message_for_each_wrong_setting() -> None:
    checks = ("login method", "step", "phone region", "provider", "limit", "endpoint", "user field")
    settings = {name: value for check in checks for name, value in WRONG[check][0].items()}

    messages = found_with(**settings, ROOT_URLCONF=NoUrls)

    assert sorted(str(message.id) for message in messages) == [CHECK_IDS[check] for check in checks]


def test_a_message_can_be_silenced() -> None:
    message = only_message("range", CIAM_RETRY_AFTER=-1)

    with override_settings(SILENCED_SYSTEM_CHECKS=[CHECK_IDS["range"]]):
        assert message.is_silenced()


def test_a_project_without_sign_in_views_needs_no_client() -> None:
    assert (
        found_with(ROOT_URLCONF=NoUrls, AUTHLIB_OAUTH_CLIENTS={}, AUTHENTICATION_BACKENDS=[]) == []
    )


def test_a_url_name_is_reported_without_a_root_urlconf(settings: Settings) -> None:
    del settings.ROOT_URLCONF

    only_message("address", CIAM_SUPPORT_URL="admin:index")
    assert found_with(CIAM_SUPPORT_URL="/help/") == []


# --- Names, types and ranges ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["CIAM_SHOP_NAME", "CIAM_X", "CIAM_FOOTER_TEXT"])
def test_a_setting_of_the_project_with_our_prefix_is_allowed(name: str) -> None:
    assert found_with(**{name: 1}) == []


@for_each_row(
    "name, value",
    [
        ("CIAM_ERROR_OVERRIDES", []),
        ("CIAM_ERROR_OVERRIDES", None),
        ("CIAM_GENERIC_ERRORS", "yes"),
        ("CIAM_GENERIC_ERRORS", 1),
        ("CIAM_UPSTREAM_STATUS", "502"),
        ("CIAM_UPSTREAM_STATUS", True),
        ("CIAM_ACTION_URLS", "/"),
        ("CIAM_SUPPORT_URL", lazystr("/help/")),
        ("CIAM_RETRY_AFTER", 1.5),
        ("CIAM_RETRY_AFTER", None),
        ("CIAM_TIMEOUT", None),
        ("CIAM_TIMEOUT", False),
        ("CIAM_HANDLE_AUTHLIB_ERRORS", None),
        ("CIAM_DRF_FALLBACK_HANDLER", handler),
        ("CIAM_CALLBACK_URL", b"https://example.com/"),
        ("CIAM_PROBLEM_TYPE_URL", None),
        ("CIAM_BASE_TEMPLATE", ["base.html"]),
    ],
)
def test_a_setting_of_a_wrong_type_is_reported(name: str, value: object) -> None:
    messages = [
        message for message in found_with(**{name: value}) if message.id == CHECK_IDS["type"]
    ]

    assert len(messages) == 1
    assert name in messages[0].msg


@for_each_row("name", SETTINGS)
@pytest.mark.slow("all values of settings")
def test_no_value_of_a_setting_makes_the_checks_raise(name: str) -> None:
    values: list[object] = [None, 0, -1, "", "x", "http://[", [], {}, [1], {1: 2}, object, "a.b"]
    values += [{"x": [1]}, {"x": {}}, {"x": {"action": ["retry"]}}, {None: None}, b"", 1.5]
    for value in values:
        assert isinstance(found_with(**{name: value}), list)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CIAM_UPSTREAM_STATUS", 499),
        ("CIAM_UPSTREAM_STATUS", 600),
        ("CIAM_RETRY_AFTER", 3601),
        ("CIAM_TIMEOUT", 0),
        ("CIAM_TIMEOUT", 121),
        ("CIAM_TIMEOUT", float("nan")),
    ],
)
def test_a_number_out_of_range_is_reported(name: str, value: float) -> None:
    assert f"{name} is {value!r}." in only_message("range", **{name: value}).msg


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CIAM_UPSTREAM_STATUS", 502),
        ("CIAM_RETRY_AFTER", 0),
        ("CIAM_TIMEOUT", 5),
        ("CIAM_TIMEOUT", 0.5),
        ("CIAM_GENERIC_ERRORS", False),
        ("CIAM_PROBLEM_TYPE_URL", "https://example.com/{kind}"),
        ("CIAM_BASE_TEMPLATE", "admin/base.html"),
        ("CIAM_CALLBACK_URL", "https://example.com/ciam/callback/"),
    ],
)
def test_an_allowed_value_has_no_messages(name: str, value: object) -> None:
    assert found_with(**{name: value}) == []


# --- CIAM_ERROR_OVERRIDES ---------------------------------------------------------------------


@for_each_row(
    "overrides",
    [
        {"invalid_grant": "M."},
        {"INVALID_GRANT": lazystr("M.")},
        {
            "invalid_grant": {
                "message": {"en": "M.", "zh-hans": "甲。", "zh-Hant-HK": lazystr("乙。")}
            }
        },
        {
            "timeout": {
                "status": 504,
                "kind": "rate_limit",
                "action": "wait",
                "field": "code",
                "audience": "user",
                "retry": True,
                "collapse": None,
            }
        },
        {"timeout": {"action": Action.WAIT, "field": None, "collapse": "sign_in"}},
        {"Params.Blank.*": "M.", "*.Too.Frequency": "M.", "Params.Blank.User.*": "M."},
        {"operation.failure.unsupported.*": "M."},
        {"Shop.Closed": "M.", "Shop.*": "M.", "shop_closed": "M."},
        {LOCKED: {"status": 423}},
        {"Operation.Failure.User.*": "M."},
        {"Operation.Failure.ServerInternal.Error": "M."},
        {},
    ],
)
def test_valid_overrides_have_no_messages(overrides: dict[str, Any]) -> None:
    assert found_with(CIAM_ERROR_OVERRIDES=overrides) == []


@pytest.mark.slow("a misspelling of each code")
@for_each_row("code", CODES)
def test_a_misspelt_code_is_reported_with_the_correct_spelling(code: str) -> None:
    # Swap two different letters before the end of a family.
    low = code.casefold()
    place = max(index for index in range(len(code) - 3) if low[index] != low[index + 1])
    misspelt = code[:place] + code[place + 1] + code[place] + code[place + 2 :]

    message = only_message("override key", CIAM_ERROR_OVERRIDES={misspelt: {"status": 400}})

    assert "Did you mean" in (message.hint or "")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("Params.Blnk.*", "Params.Blank.*"),
        ("Parms.Illegal.*", "Params.Illegal.*"),
        ("Operation.Failure.Usr.*", "Operation.Failure.User.*"),
        ("*.Too.Frequancy", "*.Too.Frequency"),
        ("Operation.Failure.User.NotFond", "Operation.Failure.User.NotFound"),
    ],
)
def test_a_misspelt_family_or_alias_is_reported_with_the_correct_spelling(
    key: str, expected: str
) -> None:
    message = only_message("override key", CIAM_ERROR_OVERRIDES={key: {"status": 400}})

    assert f"Did you mean {expected!r}?" in (message.hint or "")
    assert CHECK_IDS["override key"] in (message.hint or "")


@pytest.mark.parametrize(
    "key", ["", "*", "a b", "Params.*.Blank", "Params.", ".Params", "a\n", "中文", "2fa", 5, None]
)
def test_an_override_key_that_is_no_code_is_reported(key: object) -> None:
    message = only_message("override key", CIAM_ERROR_OVERRIDES={key: {"status": 400}})

    assert repr(key) in message.msg
    assert "'Params.Blank.*'" in (message.hint or "")


@pytest.mark.parametrize(
    "value",
    [
        "",
        None,
        5,
        [],
        ["M."],
        {"message": ""},
        {"message": {}},
        {"message": {"en": ""}},
        {"message": {"zh_Hans": "甲。"}},
        {"message": {5: "M."}},
        {"message": {"en": 5}},
        {"status": "400"},
        {"status": 399},
        {"status": 600},
        {"kind": "no_kind"},
        {"kind": "success"},
        {"kind": None},
        {"action": "no_action"},
        {"action": ["retry"]},
        {"field": "Nick Name"},
        {"field": 5},
        {"field": ""},
        {"audience": "everyone"},
        {"retry": "yes"},
        {"retry": 1},
        {"collapse": "sign_out"},
        {"collapse": {}},
    ],
    ids=str,
)
def test_a_wrong_value_of_an_override_is_reported(value: object) -> None:
    message = only_message("override value", CIAM_ERROR_OVERRIDES={"invalid_grant": value})

    assert "CIAM_ERROR_OVERRIDES['invalid_grant']: the " in message.msg
    assert (message.hint or "").startswith("It must be ")


def test_messages_in_other_languages_than_the_texts_of_the_package_are_reported_once() -> None:
    overrides = {"A.B": {"message": {"fr": "M.", "en": "M."}}, "C.D": {"message": {"de": "M."}}}
    message = only_message("override language", CIAM_ERROR_OVERRIDES=overrides)

    assert message.msg.endswith(": de, fr.")


def test_an_unusable_language_code_does_not_break_the_check_of_overrides() -> None:
    # Django itself raises OSError at each translated text.
    assert not found_with(
        CIAM_ERROR_OVERRIDES={"A.B": {"message": {"de": "M."}}},
        LANGUAGE_CODE="tlh",
        LOCALE_PATHS=[],
    )


def test_a_language_in_the_place_of_a_field_is_reported() -> None:
    message = only_message("override field", CIAM_ERROR_OVERRIDES={"invalid_grant": {"en": "M."}})

    assert "Allowed: message, status, kind, action, field, audience" in (message.hint or "")


@pytest.mark.parametrize("key", [LOCKED, LOCKED.lower(), "Operation.Failure.User.NotFound"])
@pytest.mark.parametrize("value", ["M.", {"message": "M."}], ids=["text", "field"])
def test_a_message_for_a_collapsing_code_is_reported(key: str, value: object) -> None:
    only_message("override uncollapsed", CIAM_ERROR_OVERRIDES={key: value})


def test_a_message_for_a_code_of_the_project_in_a_collapsing_family_is_reported() -> None:
    message = only_message(
        "override uncollapsed", CIAM_ERROR_OVERRIDES={"Operation.Failure.User.Frozen": "M."}
    )

    assert "anonymous users will read it" in message.msg


@pytest.mark.parametrize(
    "overrides",
    [
        {LOCKED: {"message": "M.", "collapse": "sign_in"}},
        {LOCKED: {"message": "M.", "collapse": None}},
        {"My.Code": {"message": "M.", "collapse": "sign_in"}},
        {"My.Code": "M."},
        {"Operation.Failure.User.*": "M."},
    ],
    ids=str,
)
def test_a_message_that_is_hidden_or_of_an_open_code_is_not_reported(overrides: object) -> None:
    assert found_with(CIAM_ERROR_OVERRIDES=overrides) == []


def test_a_call_that_stays_generic_or_open_is_not_reported() -> None:
    endpoints = {"password_login": {"stage": "verify_code"}, "captcha": {"stage": "profile"}}

    assert found_with(CIAM_ENDPOINTS=endpoints) == []
    only_message("endpoint", CIAM_ENDPOINTS={"pasword_login": {"stage": "api"}})


# --- URLs, paths and templates ----------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["/help/", "https://example.com", "mailto:a@example.com", "tel:1", "admin:index", ""]
)
def test_a_valid_link_has_no_messages(url: str) -> None:
    assert found_with(CIAM_SUPPORT_URL=url, CIAM_ACTION_URLS={"wait": url}) == []


@pytest.mark.parametrize("url", ["ftp://x/", "javascript:alert(1)", "no:name", None, 5])
def test_an_invalid_link_is_reported(url: object) -> None:
    message = only_message("address", CIAM_ACTION_URLS={"wait": url})

    assert f"CIAM_ACTION_URLS['wait'] is {url!r}" in message.msg


def test_an_unknown_action_is_reported_with_all_actions() -> None:
    message = only_message("action", CIAM_ACTION_URLS={"xyz": "/"})

    assert message.hint == f"Allowed: {', '.join(Action)}."


@pytest.mark.parametrize(
    "url", ["/ciam/callback/", "example.com/", "https://", "ftp://example.com/", "http://[::1/"]
)
def test_a_callback_url_that_is_not_absolute_is_reported(url: str) -> None:
    message = only_message("address", CIAM_CALLBACK_URL=url)

    assert "https://example.com/ciam/callback/" in (message.hint or "")


def test_a_callback_url_with_http_is_allowed_under_debug() -> None:
    assert found_with(CIAM_CALLBACK_URL="http://localhost:8000/ciam/callback/", DEBUG=True) == []


def test_a_fallback_handler_that_calls_itself_is_reported() -> None:
    path = "ciam_django.drf.exception_handler"

    assert "calls itself" in only_message("dotted path", CIAM_DRF_FALLBACK_HANDLER=path).msg


def test_handlers_are_not_checked_without_rest_framework() -> None:
    apps = [app for app in django_settings.INSTALLED_APPS if app != "rest_framework"]

    assert found_with(INSTALLED_APPS=apps, CIAM_DRF_FALLBACK_HANDLER="x.y", REST_FRAMEWORK={}) == []


def test_a_base_template_with_a_syntax_error_is_reported(settings: Settings) -> None:
    settings.TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [("django.template.loaders.locmem.Loader", {"x.html": "{% if %}"})]
            },
        }
    ]

    assert "TemplateSyntaxError" in only_message("template", CIAM_BASE_TEMPLATE="x.html").msg


# --- Apps, URLs, client and entry points ------------------------------------------------------


@pytest.mark.parametrize(
    "clients", [None, {}, {"other": CLIENT}, {"ciam": None}, [CLIENT]], ids=str
)
def test_a_missing_client_is_reported(clients: object) -> None:
    message = only_message("client", AUTHLIB_OAUTH_CLIENTS=clients)

    assert "is missing" in message.msg
    assert "client_id" in (message.hint or "")


METADATA = {"server_metadata_url": "https://ciam.invalid/.well-known/openid-configuration"}


@pytest.mark.parametrize(
    "replaced",
    [
        {"authorize_url": None},
        {"access_token_url": None},
        {"authorize_url": None, "access_token_url": None},
        METADATA,
        {**METADATA, "authorize_url": None},
    ],
    ids=str,
)
def test_a_client_without_a_clear_mode_is_reported(replaced: dict[str, Any]) -> None:
    message = only_message("client", AUTHLIB_OAUTH_CLIENTS=client(**replaced))

    assert "does not choose one of the two modes" in message.msg
    assert "server_metadata_url" in (message.hint or "")


def test_a_client_of_oidc_mode_has_no_messages() -> None:
    oidc_client = client(authorize_url=None, access_token_url=None, **METADATA)

    assert found_with(AUTHLIB_OAUTH_CLIENTS=oidc_client) == []


@pytest.mark.parametrize(
    ("sources", "is_allowed"),
    [
        (["'self'", "https://ciam.invalid"], True),
        (("https://ciam.invalid",), True),
        ({"https://ciam.invalid"}, True),
        ("https://ciam.invalid", True),
        (["https:"], True),
        (["*"], True),
        (None, True),
        (False, True),
        ("'self'", False),
        (True, False),
        ([], False),
        (["https://ciam.invalid.example.com"], False),
        (["http:"], False),
        (["https://*.invalid"], True),
        (["https://CIAM.invalid:443"], True),
        (["https://ciam.invalid:*"], True),
        (["https://*"], True),
        (["*.invalid", "'self'"], True),
        (["ciam.invalid/authorize"], True),
        (["https://*.ciam.invalid"], False),
        (["https://*.example.com"], False),
        (["http://*.invalid"], False),
        (["https://ciam.invalid:8443"], False),
        (["'nonce-ciam.invalid'"], False),
    ],
    ids=str,
)
def test_a_form_action_without_the_origin_of_ciam_is_reported(
    sources: object, is_allowed: bool
) -> None:
    messages = found_with(SECURE_CSP={"form-action": sources})

    assert [message.id for message in messages] == (
        [] if is_allowed else [CHECK_IDS["form action"]]
    )


@pytest.mark.parametrize("policy", [None, {}, {"default-src": ["'self'"]}], ids=str)
def test_a_policy_without_a_form_action_has_no_messages(policy: object) -> None:
    assert found_with(SECURE_CSP=policy) == []


def test_a_form_action_is_not_checked_for_a_client_without_a_host() -> None:
    clients = client(authorize_url="http://[")

    only_message(
        "client url", AUTHLIB_OAUTH_CLIENTS=clients, SECURE_CSP={"form-action": ["'self'"]}
    )


def test_a_subclass_of_the_middleware_has_no_messages() -> None:
    others = [name for name in django_settings.MIDDLEWARE if "CiamError" not in name]
    assert found_with(MIDDLEWARE=[*others, f"{__name__}.SubclassedMiddleware"]) == []


def test_an_unknown_name_that_is_like_no_other_name_gets_the_list_of_the_allowed_names() -> None:
    endpoint = only_message("endpoint", CIAM_ENDPOINTS={"zzz": {"path": "x"}})
    field = only_message("user field", CIAM_USER_FIELDS={"zzz": ["name"]})

    assert str(endpoint.hint).startswith("Allowed: application_token, login_page, consents, ")
    assert str(field.hint).startswith("Allowed: ")
    assert "first_name" in str(field.hint)


@pytest.mark.parametrize("setting", [None, {}, {"EXCEPTION_HANDLER": ""}], ids=str)
def test_a_missing_handler_is_reported(setting: object) -> None:
    assert "EXCEPTION_HANDLER'] is not set." in only_message("handler", REST_FRAMEWORK=setting).msg


def test_another_handler_of_the_package_has_no_messages() -> None:
    setting = {"EXCEPTION_HANDLER": "ciam_django.drf.standardized.ExceptionHandler"}

    assert found_with(REST_FRAMEWORK=setting) == []


def test_a_package_of_metrics_that_is_not_installed_is_reported_with_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "ciam_django.metrics.prometheus", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    forget_adapter_of_prometheus(monkeypatch)
    message = only_message("metrics package", CIAM_METRICS=["otel", "prometheus"])

    assert "'prometheus'" in message.msg
    assert message.hint == 'Install the extra: pip install "ciam_django[prometheus]".'


def test_a_package_of_metrics_that_cannot_start_is_reported_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found_with(CIAM_METRICS=["prometheus"])
    # Prometheus refuses a second instrument of the same name.
    forget_adapter_of_prometheus(monkeypatch)
    problems: dict[str, str] = {}
    for module in ("ciam_django.checks.settings", "ciam_django.metrics.recording"):
        monkeypatch.setattr(f"{module}.start_problems", problems)
    message = only_message("metrics package", CIAM_METRICS=["otel", "prometheus"])

    assert message.msg.startswith("CIAM_METRICS has 'prometheus', which can't start: ")
    assert "ciam_sign_ins" in message.msg


def test_installed_packages_of_metrics_are_no_mistake() -> None:
    assert found_with(CIAM_METRICS=["otel", "prometheus"]) == []
