"""``manage.py check`` says what was given, what is allowed, and what was meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.conf.urls.i18n import i18n_patterns
from django.core.checks import CheckMessage, Error, Warning, run_checks  # noqa: A004
from django.core.checks.registry import registry
from django.test import override_settings
from django.urls import include, path
from django.utils.functional import lazystr
from pytest_django.fixtures import Settings

from ciam_django.checks import accounts, login
from ciam_django.checks.messages import CHECK_IDS
from ciam_django.checks.settings import CHECKS
from ciam_django.codes import CODES
from ciam_django.conf import SETTINGS
from ciam_django.kinds import Action
from ciam_django.middleware import CiamErrorMiddleware
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
    """A project's own, which is as good."""


def function_middleware(get_response: Any) -> Any:
    """As Django allows."""
    return get_response


def handler(exc: Exception, context: object) -> None:
    """Some other handler of REST framework's exceptions."""


def found_with(**settings: Any) -> list[CheckMessage]:
    with override_settings(**settings):
        return run_checks(tags=["ciam_django"])


def the_one_of(what: str, **settings: Any) -> CheckMessage:
    """The one message that these settings give, whose id is that."""
    found = found_with(**settings)
    assert [message.id for message in found] == [CHECK_IDS[what]], found
    return found[0]


def client(**replaced: Any) -> dict[str, Any]:
    given = {**CLIENT, **replaced}
    return {"ciam": {name: value for name, value in given.items() if value is not None}}


# --- All of them ------------------------------------------------------------------------------


def test_a_right_project_has_no_messages() -> None:
    assert found_with() == []


def test_an_id_is_given_once_and_says_how_bad_it_is() -> None:
    assert len(set(CHECK_IDS.values())) == len(CHECK_IDS)
    assert [int(each[-3:]) for each in CHECK_IDS.values()] == list(range(1, len(CHECK_IDS) + 1))


# For each id, settings that are wrong in that way, what is said of them, and what is advised.
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
        "It tells them that an account exists.",
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
        "Use https.",
    ),
    "accounts": (
        {"INSTALLED_APPS": [a for a in django_settings.INSTALLED_APPS if "accounts" not in a]},
        "'ciam_django.accounts' is not in INSTALLED_APPS.",
        "Add it",
    ),
    "backend": (
        {"AUTHENTICATION_BACKENDS": ["django.contrib.auth.backends.ModelBackend"]},
        "'ciam_django.accounts.backends.CiamBackend' is not in AUTHENTICATION_BACKENDS.",
        "Add it",
    ),
    "language prefix": (
        {"ROOT_URLCONF": PrefixedUrls},
        "ciam_django.urls is included under i18n_patterns.",
        "Move it out",
    ),
    "middleware": (
        {
            "MIDDLEWARE": [
                "no.such.middleware",
                f"{__name__}.function_middleware",
                "ciam_django.accounts.middleware.CiamSessionMiddleware",
            ]
        },
        "'ciam_django.middleware.CiamErrorMiddleware' is not in MIDDLEWARE.",
        "Add it as the last one",
    ),
    "handler": (
        {"REST_FRAMEWORK": {"EXCEPTION_HANDLER": f"{__name__}.handler"}},
        f"REST_FRAMEWORK['EXCEPTION_HANDLER'] is '{__name__}.handler'.",
        "Set it to 'ciam_django.drf.exception_handler'",
    ),
    "form action": (
        {"SECURE_CSP": {"form-action": ["'self'"]}},
        "The form-action of SECURE_CSP lacks https://ciam.invalid.",
        "Add it",
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
        {"CIAM_LOGIN_METHODS": ["sms"]},
        "The default cache is 'django.core.cache.backends.locmem.LocMemCache'",
        "use Redis or Memcached",
    ),
    "endpoint": (
        {"CIAM_ENDPOINTS": {"change_pasword": {"path": "x"}}},
        "CIAM_ENDPOINTS['change_pasword'] is no call of CIAM's API.",
        "Did you mean 'change_password'?",
    ),
    "user field": (
        {"CIAM_USER_FIELDS": {"frist_name": ["name"]}},
        "CIAM_USER_FIELDS has 'frist_name', which is no field of User.",
        "Did you mean 'first_name'?",
    ),
    "session store": (
        {"SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies"},
        "SESSION_ENGINE is 'django.contrib.sessions.backends.signed_cookies'",
        "use the database or a cache",
    ),
    "session middleware": (
        {"MIDDLEWARE": [m for m in django_settings.MIDDLEWARE if "CiamSession" not in m]},
        "'ciam_django.accounts.middleware.CiamSessionMiddleware' is not in MIDDLEWARE, after",
        "Put it there",
    ),
    "bearer": ({"CIAM_BEARER": "chek"}, "CIAM_BEARER is 'chek'.", "Did you mean 'check'?"),
    "bearer mode": (
        {"CIAM_BEARER": "jwt"},
        "CIAM_BEARER is 'jwt', and AUTHLIB_OAUTH_CLIENTS[\"ciam\"] has no server_metadata_url.",
        "use 'check', or OpenID Connect",
    ),
}
# The checks of databases: tests/checks/test_accounts.py.
OF_DATABASES = ["identities"]
# The checks of what only the views of ``ciam_django.urls`` need.
NEED_URLS = {
    "client",
    "accounts",
    "backend",
    "language prefix",
    "form action",
    "cache",
    "session store",
    "session middleware",
}


def test_every_id_is_tried() -> None:
    assert [*WRONG, *OF_DATABASES] == list(CHECK_IDS)


@for_each_row("what", WRONG)
def test_a_wrong_setting_is_told_of_with_what_is_allowed(what: str) -> None:
    settings, text, hint = WRONG[what]

    message = the_one_of(what, **settings)

    assert text in message.msg
    assert hint in (message.hint or "")
    assert type(message) is (Warning if ".W" in CHECK_IDS[what] else Error)


@pytest.mark.parametrize("what", WRONG)
def test_only_checks_of_the_sign_in_views_need_the_urls(what: str) -> None:
    settings, _, _ = WRONG[what]

    found = found_with(**{**settings, "ROOT_URLCONF": NoUrls})

    assert [message.id for message in found] == ([] if what in NEED_URLS else [CHECK_IDS[what]])


def test_a_project_with_bearer_tokens_alone_learns_of_each_wrong_setting() -> None:
    wrong = ("login method", "step", "phone region", "provider", "limit", "endpoint", "user field")
    settings = {name: value for what in wrong for name, value in WRONG[what][0].items()}

    found = found_with(**settings, ROOT_URLCONF=NoUrls)

    assert sorted(str(message.id) for message in found) == [CHECK_IDS[what] for what in wrong]


def test_a_message_can_be_silenced() -> None:
    message = the_one_of("range", CIAM_RETRY_AFTER=-1)

    with override_settings(SILENCED_SYSTEM_CHECKS=[CHECK_IDS["range"]]):
        assert message.is_silenced()


def test_a_project_without_sign_in_views_needs_no_client() -> None:
    assert (
        found_with(ROOT_URLCONF=NoUrls, AUTHLIB_OAUTH_CLIENTS={}, AUTHENTICATION_BACKENDS=[]) == []
    )


def test_a_project_without_urls_has_no_names_of_them(settings: Settings) -> None:
    del settings.ROOT_URLCONF

    the_one_of("address", CIAM_SUPPORT_URL="admin:index")
    assert found_with(CIAM_SUPPORT_URL="/help/") == []


# --- Names, types and ranges ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["CIAM_SHOP_NAME", "CIAM_X", "CIAM_FOOTER_TEXT"])
def test_a_setting_of_the_projects_own_is_its_own(name: str) -> None:
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
def test_a_setting_of_another_type_is_told_of(name: str, value: object) -> None:
    found = [message for message in found_with(**{name: value}) if message.id == CHECK_IDS["type"]]

    assert len(found) == 1
    assert name in found[0].msg


@for_each_row("name", SETTINGS)
def test_no_setting_makes_the_checks_fail(name: str) -> None:
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
def test_a_number_out_of_range_is_told_of(name: str, value: float) -> None:
    assert f"{name} is {value!r}." in the_one_of("range", **{name: value}).msg


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
def test_a_right_value_is_right(name: str, value: object) -> None:
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
def test_right_overrides_are_right(overrides: dict[str, Any]) -> None:
    assert found_with(CIAM_ERROR_OVERRIDES=overrides) == []


@for_each_row("code", CODES)
def test_a_slip_in_any_code_is_told_of(code: str) -> None:
    # Two letters in the wrong order, before a family's end.
    low = code.casefold()
    place = max(index for index in range(len(code) - 3) if low[index] != low[index + 1])
    slip = code[:place] + code[place + 1] + code[place] + code[place + 2 :]

    message = the_one_of("override key", CIAM_ERROR_OVERRIDES={slip: {"status": 400}})

    assert "Did you mean" in (message.hint or "")


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("Params.Blnk.*", "Params.Blank.*"),
        ("Parms.Illegal.*", "Params.Illegal.*"),
        ("Operation.Failure.Usr.*", "Operation.Failure.User.*"),
        ("*.Too.Frequancy", "*.Too.Frequency"),
        ("Operation.Failure.User.NotFond", "Operation.Failure.User.NotFound"),
    ],
)
def test_a_slip_in_a_family_or_an_alias_is_told_of(key: str, meant: str) -> None:
    message = the_one_of("override key", CIAM_ERROR_OVERRIDES={key: {"status": 400}})

    assert f"Did you mean {meant!r}?" in (message.hint or "")
    assert CHECK_IDS["override key"] in (message.hint or "")


@pytest.mark.parametrize(
    "key", ["", "*", "a b", "Params.*.Blank", "Params.", ".Params", "a\n", "中文", "2fa", 5, None]
)
def test_what_can_be_no_code_is_told_of(key: object) -> None:
    message = the_one_of("override key", CIAM_ERROR_OVERRIDES={key: {"status": 400}})

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
def test_a_wrong_value_is_told_of(value: object) -> None:
    message = the_one_of("override value", CIAM_ERROR_OVERRIDES={"invalid_grant": value})

    assert "CIAM_ERROR_OVERRIDES['invalid_grant']: the " in message.msg
    assert (message.hint or "").startswith("It must be ")


def test_a_language_that_was_taken_for_a_field_is_told_of() -> None:
    message = the_one_of("override field", CIAM_ERROR_OVERRIDES={"invalid_grant": {"en": "M."}})

    assert "Allowed: message, status, kind, action, field, audience" in (message.hint or "")


@pytest.mark.parametrize("key", [LOCKED, LOCKED.lower(), "Operation.Failure.User.NotFound"])
@pytest.mark.parametrize("value", ["M.", {"message": "M."}], ids=["text", "field"])
def test_an_own_text_for_what_collapses_is_a_warning(key: str, value: object) -> None:
    the_one_of("override uncollapsed", CIAM_ERROR_OVERRIDES={key: value})


# --- Addresses, paths and templates -----------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["/help/", "https://example.com", "mailto:a@example.com", "tel:1", "admin:index", ""]
)
def test_an_address_leads_somewhere(url: str) -> None:
    assert found_with(CIAM_SUPPORT_URL=url, CIAM_ACTION_URLS={"wait": url}) == []


@pytest.mark.parametrize("url", ["ftp://x/", "javascript:alert(1)", "no:name", None, 5])
def test_an_address_that_leads_nowhere_is_told_of(url: object) -> None:
    message = the_one_of("address", CIAM_ACTION_URLS={"wait": url})

    assert f"CIAM_ACTION_URLS['wait'] is {url!r}" in message.msg


def test_an_action_far_from_any_is_told_of_with_all_that_there_are() -> None:
    message = the_one_of("action", CIAM_ACTION_URLS={"xyz": "/"})

    assert message.hint == f"Allowed: {', '.join(Action)}."


@pytest.mark.parametrize(
    "url", ["/ciam/callback/", "example.com/", "https://", "ftp://example.com/", "http://[::1/"]
)
def test_a_callback_that_is_not_absolute_is_told_of(url: str) -> None:
    message = the_one_of("address", CIAM_CALLBACK_URL=url)

    assert "https://example.com/ciam/callback/" in (message.hint or "")


def test_a_callback_over_http_is_for_development() -> None:
    assert found_with(CIAM_CALLBACK_URL="http://localhost:8000/ciam/callback/", DEBUG=True) == []


def test_our_own_handler_is_no_fallback_of_itself() -> None:
    path = "ciam_django.drf.exception_handler"

    assert "calls itself" in the_one_of("dotted path", CIAM_DRF_FALLBACK_HANDLER=path).msg


def test_without_rest_framework_no_handler_is_looked_at() -> None:
    apps = [app for app in django_settings.INSTALLED_APPS if app != "rest_framework"]

    assert found_with(INSTALLED_APPS=apps, CIAM_DRF_FALLBACK_HANDLER="x.y", REST_FRAMEWORK={}) == []


def test_a_base_template_that_cannot_be_read_is_told_of(settings: Settings) -> None:
    settings.TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [("django.template.loaders.locmem.Loader", {"x.html": "{% if %}"})]
            },
        }
    ]

    assert "TemplateSyntaxError" in the_one_of("template", CIAM_BASE_TEMPLATE="x.html").msg


# --- How the parts are put together -----------------------------------------------------------


@pytest.mark.parametrize(
    "clients", [None, {}, {"other": CLIENT}, {"ciam": None}, [CLIENT]], ids=str
)
def test_a_client_that_is_missing_is_told_of(clients: object) -> None:
    message = the_one_of("client", AUTHLIB_OAUTH_CLIENTS=clients)

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
def test_a_client_that_does_not_choose_its_mode_is_told_of(replaced: dict[str, Any]) -> None:
    message = the_one_of("client", AUTHLIB_OAUTH_CLIENTS=client(**replaced))

    assert "does not choose one of the two modes" in message.msg
    assert "server_metadata_url" in (message.hint or "")


def test_a_client_of_the_other_mode_is_right() -> None:
    of_oidc = client(authorize_url=None, access_token_url=None, **METADATA)

    assert found_with(AUTHLIB_OAUTH_CLIENTS=of_oidc) == []


@pytest.mark.parametrize(
    ("sources", "is_right"),
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
    ],
    ids=str,
)
def test_a_form_action_lets_people_leave_for_ciam(sources: object, is_right: bool) -> None:
    found = found_with(SECURE_CSP={"form-action": sources})

    assert [message.id for message in found] == ([] if is_right else [CHECK_IDS["form action"]])


@pytest.mark.parametrize("policy", [None, {}, {"default-src": ["'self'"]}], ids=str)
def test_a_policy_without_a_form_action_is_right(policy: object) -> None:
    assert found_with(SECURE_CSP=policy) == []


def test_a_client_without_a_host_has_no_origin_to_miss() -> None:
    given = client(authorize_url="http://[")

    assert found_with(AUTHLIB_OAUTH_CLIENTS=given, SECURE_CSP={"form-action": ["'self'"]}) == []


def test_a_subclass_of_our_middleware_is_as_good() -> None:
    others = [name for name in django_settings.MIDDLEWARE if "CiamError" not in name]
    assert found_with(MIDDLEWARE=[*others, f"{__name__}.SubclassedMiddleware"]) == []


@pytest.mark.parametrize("given", [None, {}, {"EXCEPTION_HANDLER": ""}], ids=str)
def test_a_handler_that_is_not_set_is_told_of(given: object) -> None:
    assert "is 'not set'" in the_one_of("handler", REST_FRAMEWORK=given).msg


def test_a_handler_of_ours_is_as_good() -> None:
    given = {"EXCEPTION_HANDLER": "ciam_django.drf.standardized.ExceptionHandler"}

    assert found_with(REST_FRAMEWORK=given) == []


def test_the_checks_are_registered() -> None:
    checks = {*CHECKS, *login.CHECKS, *accounts.CHECKS, *accounts.DATABASE_CHECKS}

    assert checks <= set(registry.registered_checks)
