"""The mistakes of a first hour, and the projects that are correct although they look unusual.

A row has wrong settings, the key of ``CHECK_IDS`` that reports the mistake, and the texts that its
message must contain: the name of the setting, the value that was found, and the allowed values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings as django_settings
from django.urls import include, path, reverse_lazy
from django.utils.functional import SimpleLazyObject
from joserfc.jwk import ECKey

from ciam_django.checks.messages import CHECK_IDS
from tests.checks.test_settings import CLIENT, NoUrls, PrefixedUrls, client

SECRET: Final = "s3cret-of-the-shop"
METADATA: Final = "https://login.shop.cn/.well-known/openid-configuration"
REDIRECT: Final = "https://shop.cn/ciam/callback/"
LOCMEM: Final = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}


class SiteUrls:
    """Like the URLs of the tests, with a page of the project."""

    urlpatterns = [
        *__import__("tests.urls", fromlist=["urlpatterns"]).urlpatterns,
        path("", lambda request: None, name="home"),  # type: ignore[arg-type, return-value]
    ]


class UrlsWithoutAccounts:
    """Like the URLs of a project without ciam_django.accounts: the include has no patterns."""

    urlpatterns = [path("ciam/", include(([], "ciam")))]


@dataclass(frozen=True, slots=True)
class Mistake:
    """A row. ``is_deploy`` is True if ``manage.py check --deploy`` reports the mistake."""

    settings: Mapping[str, Any]
    check: str
    setting: str
    found: str
    allowed: str
    is_deploy: bool = False

    @property
    def check_id(self) -> str:
        """The id of the message."""
        return CHECK_IDS[self.check]


def own(**replaced: Any) -> dict[str, Any]:
    """The setting of the client of CIAM's own mode, with replaced keys; None removes a key."""
    return {"AUTHLIB_OAUTH_CLIENTS": client(**{"client_secret": SECRET, **replaced})}


def oidc(**replaced: Any) -> dict[str, Any]:
    """The setting of a client of OpenID Connect, with replaced keys; None removes a key."""
    removed = {"authorize_url": None, "access_token_url": None}
    return own(**{**removed, "server_metadata_url": METADATA, **replaced})


def templates(**texts: str) -> list[dict[str, Any]]:
    """The setting ``TEMPLATES`` with these templates."""
    loaders = [
        ("django.template.loaders.locmem.Loader", texts),
        "django.template.loaders.app_directories.Loader",
    ]
    backend = "django.template.backends.django.DjangoTemplates"
    return [{"BACKEND": backend, "OPTIONS": {"loaders": loaders}}]


def without(setting: str, part: str) -> dict[str, Any]:
    """The setting without the entries that contain the part."""
    return {setting: [name for name in getattr(django_settings, setting) if part not in name]}


def replaced_in(setting: str, old: str, new: str) -> dict[str, Any]:
    """The setting with a misspelt path."""
    return {setting: [name.replace(old, new) for name in getattr(django_settings, setting)]}


_ID: Final = '"client_id"'
_KEY: Final = 'AUTHLIB_OAUTH_CLIENTS["ciam"]'

MISTAKES: Final[Mapping[str, Mistake]] = {
    # The client: missing, misspelt and misplaced keys.
    "no client": Mistake(
        {"AUTHLIB_OAUTH_CLIENTS": {}}, "client", _KEY, "is missing", "client_id, client_secret"
    ),
    "a misspelt setting of the client": Mistake(
        {"AUTHLIB_OAUTH_CLIENTS": None, "AUTHLIB_OAUTH_CLIENT": {"ciam": CLIENT}},
        "client",
        _KEY,
        "AUTHLIB_OAUTH_CLIENT:",
        "did you mean AUTHLIB_OAUTH_CLIENTS?",
    ),
    "a client of another name": Mistake(
        {"AUTHLIB_OAUTH_CLIENTS": {"CIAM": CLIENT}},
        "client",
        _KEY,
        "'CIAM'",
        "did you mean 'ciam'?",
    ),
    "a list of clients": Mistake(
        {"AUTHLIB_OAUTH_CLIENTS": [CLIENT]}, "client", _KEY, "the type list", "must be a dict"
    ),
    "no value of the client": Mistake(
        {"AUTHLIB_OAUTH_CLIENTS": {"ciam": None}}, "client", _KEY, "NoneType", "must be a dict"
    ),
    "a client without a dict": Mistake(
        {"AUTHLIB_OAUTH_CLIENTS": {"ciam": "x"}}, "client", _KEY, "the type str", "must be a dict"
    ),
    "a password in an address without a scheme": Mistake(
        own(authorize_url=f"user:{SECRET}\n@login.shop.cn/a"),
        "client url",
        "authorize_url",
        "'login.shop.cn/a'",
        "'https://login.shop.cn/a'",
    ),
    "a password with reserved characters in an address": Mistake(
        own(access_token_url=f"ftp://user:/@{SECRET}@login.shop.cn/t"),
        "client url",
        "access_token_url",
        "'ftp://login.shop.cn/t'",
        "'https://login.shop.cn/t'",
    ),
    "a lazy address without a scheme": Mistake(
        own(authorize_url=SimpleLazyObject(lambda: "login.shop.cn/a")),
        "client url",
        "authorize_url",
        "'login.shop.cn/a'",
        "'https://login.shop.cn/a'",
    ),
    "a key in the query of an address": Mistake(
        own(api_base_url=f"login.shop.cn/?key={SECRET}"),
        "client url",
        "api_base_url",
        "'login.shop.cn/'",
        "'https://login.shop.cn/'",
    ),
    "a password in an address that is not that of metadata": Mistake(
        oidc(server_metadata_url=f"https://user:{SECRET}@login.shop.cn/app"),
        "client url",
        "server_metadata_url",
        "'https://login.shop.cn/app'",
        "'https://login.shop.cn/app/.well-known/openid-configuration'",
    ),
    "an address in a list": Mistake(
        own(api_base_url=[f"https://user:{SECRET}@login.shop.cn/"]),
        "client url",
        "api_base_url",
        "['https://login.shop.cn/']",
        "an absolute URL",
    ),
    "a policy without an address with a password": Mistake(
        {
            **own(authorize_url=f"https://user:{SECRET}@ciam.invalid/a"),
            "SECURE_CSP": {"form-action": ["'self'"]},
        },
        "form action",
        "SECURE_CSP",
        "lacks https://ciam.invalid.",
        '"https://ciam.invalid"',
    ),
    "no client id": Mistake(own(client_id=None), "client", _KEY, "no client_id", _ID),
    "no mode": Mistake(
        own(authorize_url=None, access_token_url=None),
        "client",
        _KEY,
        "one of the two modes",
        "server_metadata_url",
    ),
    "both modes": Mistake(
        own(server_metadata_url=METADATA), "client", _KEY, "one of the two modes", "and not both"
    ),
    "half of a mode": Mistake(
        own(access_token_url=None), "client", _KEY, "one of the two modes", "access_token_url"
    ),
    "client_secert": Mistake(
        own(client_secret=None, client_secert=SECRET),
        "client key",
        _KEY,
        "'client_secert'",
        "'client_secret'",
    ),
    "client_Id": Mistake(
        own(client_id=None, Client_ID="a"), "client key", _KEY, "'Client_ID'", "'client_id'"
    ),
    "server_metdata_url": Mistake(
        oidc(server_metadata_url=None, server_metdata_url=METADATA),
        "client key",
        _KEY,
        "'server_metdata_url'",
        "'server_metadata_url'",
    ),
    "authorise_url": Mistake(
        own(authorize_url=None, authorise_url="https://a.cn/"),
        "client key",
        _KEY,
        "'authorise_url'",
        "'authorize_url'",
    ),
    "acces_token_url": Mistake(
        own(access_token_url=None, acces_token_url="https://a.cn/"),
        "client key",
        _KEY,
        "'acces_token_url'",
        "'access_token_url'",
    ),
    "api_base_uri": Mistake(
        own(api_base_url=None, api_base_uri="https://a.cn/"),
        "client key",
        _KEY,
        "'api_base_uri'",
        "'api_base_url'",
    ),
    "isuer": Mistake(oidc(isuer="https://a.cn"), "client key", _KEY, "'isuer'", "'issuer'"),
    "client_kwarg": Mistake(
        own(client_kwarg={}), "client key", _KEY, "'client_kwarg'", "'client_kwargs'"
    ),
    "client_kwargs without a dict": Mistake(
        own(client_kwargs="openid"), "client key", "client_kwargs", "'openid'", "a dict"
    ),
    "a scope outside of client_kwargs": Mistake(
        oidc(scope="openid profile"), "client key", _KEY, "'scope'", "client_kwargs"
    ),
    "a method outside of client_kwargs": Mistake(
        own(token_endpoint_auth_method="none"),
        "client key",
        _KEY,
        "'token_endpoint_auth_method'",
        "client_kwargs",
    ),
    "scpoe": Mistake(
        oidc(client_kwargs={"scpoe": "openid"}), "client key", "client_kwargs", "'scpoe'", "'scope'"
    ),
    "tokn_endpoint_auth_method": Mistake(
        own(client_kwargs={"tokn_endpoint_auth_method": "none"}),
        "client key",
        "client_kwargs",
        "'tokn_endpoint_auth_method'",
        "'token_endpoint_auth_method'",
    ),
    "client_secret_pots": Mistake(
        oidc(client_kwargs={"token_endpoint_auth_method": "client_secret_pots"}),
        "client",
        "token_endpoint_auth_method",
        "'client_secret_pots'",
        "client_secret_post",
    ),
    "a scope without openid": Mistake(
        oidc(client_kwargs={"scope": "profile email"}),
        "client",
        "scope",
        "'profile email'",
        "openid profile email",
    ),
    "no private key": Mistake(
        own(
            client_secret="no key", client_kwargs={"token_endpoint_auth_method": "private_key_jwt"}
        ),
        "private key",
        "client_secret",
        "no private key",
        "PEM or JWK",
    ),
    # The client: placeholders.
    "… as client id": Mistake(
        own(client_id="…"), "placeholder", _ID, "'…'", "the value of your application"
    ),
    "an angle bracket": Mistake(
        own(client_id="<client id>"),
        "placeholder",
        _ID,
        "'<client id>'",
        "the value of your application",
    ),
    "your-client-id": Mistake(
        own(client_id="your-client-id"),
        "placeholder",
        _ID,
        "'your-client-id'",
        "the value of your application",
    ),
    "xxxx as client id": Mistake(
        own(client_id="xxxx"), "placeholder", _ID, "'xxxx'", "the value of your application"
    ),
    "… as secret": Mistake(
        own(client_secret="…"),
        "placeholder",
        '"client_secret"',
        "a placeholder",
        "the value of your application",
    ),
    "change-me as secret": Mistake(
        own(client_secret="change-me"),
        "placeholder",
        '"client_secret"',
        "a placeholder",
        "the value of your application",
    ),
    "the README's API": Mistake(
        own(api_base_url="https://example.api.aliyunidaas.com"),
        "placeholder",
        "api_base_url",
        "'https://example.api.aliyunidaas.com'",
        "the value of your application",
    ),
    "the README's metadata": Mistake(
        oidc(server_metadata_url="https://example.login.aliyunidaas.com/…/openid-configuration"),
        "placeholder",
        "server_metadata_url",
        "/…/",
        "the value of your application",
    ),
    "the vendor's API": Mistake(
        own(api_base_url="https://xxxx.api.aliyunidaas.com"),
        "placeholder",
        "api_base_url",
        "'https://xxxx.api.aliyunidaas.com'",
        "the value of your application",
    ),
    "example.com": Mistake(
        oidc(server_metadata_url="https://login.example.com/.well-known/openid-configuration"),
        "placeholder",
        "server_metadata_url",
        "login.example.com",
        "the value of your application",
    ),
    "a name in braces": Mistake(
        own(access_token_url="https://{tenant}.login.aliyunidaas.com/token"),
        "placeholder",
        "access_token_url",
        "{tenant}",
        "the value of your application",
    ),
    "a placeholder in the callback": Mistake(
        {"CIAM_CALLBACK_URL": "https://<host>/ciam/callback/"},
        "placeholder",
        "CIAM_CALLBACK_URL",
        "<host>",
        "the value of your application",
    ),
    # The client: addresses and secrets.
    "no scheme": Mistake(
        oidc(server_metadata_url="login.shop.cn/.well-known/openid-configuration"),
        "client url",
        "server_metadata_url",
        "'login.shop.cn/",
        "'https://login.shop.cn/",
    ),
    "a port without a scheme": Mistake(
        own(api_base_url="api.shop.cn:8443"),
        "client url",
        "api_base_url",
        "'api.shop.cn:8443'",
        "'https://api.shop.cn:8443'",
    ),
    "a path only": Mistake(
        own(authorize_url="/oauth/authorize"),
        "client url",
        "authorize_url",
        "'/oauth/authorize'",
        "scheme https",
    ),
    "a space before an address": Mistake(
        own(api_base_url=" https://api.shop.cn"),
        "client url",
        "api_base_url",
        "' https://api.shop.cn'",
        "'https://api.shop.cn'",
    ),
    "an environment variable that is not set": Mistake(
        own(api_base_url="None/api"), "client url", "api_base_url", "'None/api'", "absolute URL"
    ),
    "a list as an address": Mistake(
        own(api_base_url=["https://api.shop.cn"]),
        "client url",
        "api_base_url",
        "['https://api.shop.cn']",
        "absolute URL",
    ),
    "the issuer as metadata": Mistake(
        oidc(server_metadata_url="https://login.shop.cn/app"),
        "client url",
        "server_metadata_url",
        "'https://login.shop.cn/app'",
        "'https://login.shop.cn/app/.well-known/openid-configuration'",
    ),
    "the keys as metadata": Mistake(
        oidc(server_metadata_url="https://login.shop.cn/app/.well-known/jwks.json"),
        "client url",
        "server_metadata_url",
        "/.well-known/jwks.json'",
        "'https://login.shop.cn/app/.well-known/openid-configuration'",
    ),
    "an issuer without a scheme": Mistake(
        oidc(issuer="login.shop.cn"),
        "client url",
        "issuer",
        "'login.shop.cn'",
        "'https://login.shop.cn'",
    ),
    "http": Mistake(
        own(access_token_url="http://login.shop.cn/token"),
        "insecure client",
        "access_token_url",
        "'http://login.shop.cn/token'",
        "'https://login.shop.cn/token'",
    ),
    "http for the metadata": Mistake(
        oidc(server_metadata_url=METADATA.replace("https", "http")),
        "insecure client",
        "server_metadata_url",
        "'http://login.shop.cn",
        "https://",
    ),
    "no verification of certificates": Mistake(
        own(client_kwargs={"verify": False}),
        "insecure client",
        '"verify"',
        "False",
        "the path of the file",
    ),
    "a missing file of certificates": Mistake(
        own(client_kwargs={"verify": "certs/proxy.pem"}),
        "client file",
        '"verify"',
        "'certs/proxy.pem' does not exist",
        "the absolute path",
    ),
    "a key in place of a file": Mistake(
        own(client_kwargs={"cert": "-----BEGIN PRIVATE KEY-----\n" + SECRET * 300}),
        "client file",
        '"cert"',
        "characters> does not exist",
        "the absolute path",
    ),
    "a missing file of the client's key": Mistake(
        own(client_kwargs={"cert": (__file__, "/run/secrets/ciam.key")}),
        "client file",
        '"cert"',
        "'/run/secrets/ciam.key' does not exist",
        "the absolute path",
    ),
    "no secret": Mistake(
        own(client_secret=None), "client secret", '"client_secret"', "is missing", "os.environ"
    ),
    "an empty secret": Mistake(
        own(client_secret=""), "client secret", '"client_secret"', "is empty", "os.environ"
    ),
    "a secret of None": Mistake(
        {"AUTHLIB_OAUTH_CLIENTS": {"ciam": {**CLIENT, "client_secret": None}}},
        "client secret",
        '"client_secret"',
        "is empty",
        "os.environ",
    ),
    "a secret with a newline": Mistake(
        own(client_secret=f"{SECRET}\n"),
        "client secret",
        '"client_secret"',
        "a newline",
        ".strip()",
    ),
    "a client id with a space": Mistake(
        own(client_id="a "), "client secret", _ID, "a space", ".strip()"
    ),
    "a number as client id": Mistake(own(client_id=4711), "client secret", _ID, "int", "a str"),
    "the client id as secret": Mistake(
        own(client_secret="tests"),
        "client secret",
        '"client_secret"',
        "the same text",
        "os.environ",
    ),
    "the API of the fake beside a tenant": Mistake(
        {**oidc(api_base_url="http://127.0.0.1:8400"), "DEBUG": True},
        "placeholder",
        "api_base_url",
        "'http://127.0.0.1:8400', an address of this machine",
        "the same tenant",
    ),
    "the fake in a deployment": Mistake(
        oidc(
            server_metadata_url="http://127.0.0.1:9000/fake_app_0001/.well-known/openid-configuration"
        ),
        "placeholder",
        "server_metadata_url",
        "'http://127.0.0.1:9000/",
        "the address of your tenant",
        is_deploy=True,
    ),
    # The callback and the links.
    "a callback with another path": Mistake(
        {"CIAM_CALLBACK_URL": "https://shop.cn/callback/"},
        "callback path",
        "CIAM_CALLBACK_URL",
        "'https://shop.cn/callback/'",
        REDIRECT,
    ),
    "a callback without its slash": Mistake(
        {"CIAM_CALLBACK_URL": "https://shop.cn/ciam/callback"},
        "callback path",
        "CIAM_CALLBACK_URL",
        "'https://shop.cn/ciam/callback'",
        REDIRECT,
    ),
    "a callback without a path": Mistake(
        {"CIAM_CALLBACK_URL": "https://shop.cn"},
        "callback path",
        "CIAM_CALLBACK_URL",
        "'https://shop.cn'",
        REDIRECT,
    ),
    "a callback with a fragment": Mistake(
        {"CIAM_CALLBACK_URL": f"{REDIRECT}#x"},
        "callback path",
        "CIAM_CALLBACK_URL",
        f"'{REDIRECT}#x'",
        REDIRECT,
    ),
    "a callback without a scheme": Mistake(
        {"CIAM_CALLBACK_URL": "shop.cn/ciam/callback/"},
        "address",
        "CIAM_CALLBACK_URL",
        "'shop.cn/ciam/callback/'",
        "an absolute URL",
    ),
    "a callback with http": Mistake(
        {"CIAM_CALLBACK_URL": "http://shop.cn/ciam/callback/"},
        "insecure callback",
        "CIAM_CALLBACK_URL",
        "'http://shop.cn/ciam/callback/'",
        "https",
    ),
    "a callback of another host": Mistake(
        {"CIAM_CALLBACK_URL": REDIRECT, "ALLOWED_HOSTS": ["www.shop.cn"]},
        "callback path",
        "CIAM_CALLBACK_URL",
        "['www.shop.cn']",
        "'shop.cn'",
        is_deploy=True,
    ),
    "a callback of localhost": Mistake(
        {"CIAM_CALLBACK_URL": "https://localhost:8000/ciam/callback/"},
        "callback path",
        "CIAM_CALLBACK_URL",
        "'https://localhost:8000/ciam/callback/'",
        "the host of your site",
        is_deploy=True,
    ),
    "ciam:logn": Mistake(
        {"LOGIN_URL": "ciam:logn"}, "link", "LOGIN_URL", "'ciam:logn'", "'ciam:login'"
    ),
    "a LOGIN_REDIRECT_URL that names nothing": Mistake(
        {"LOGIN_REDIRECT_URL": "hoem"},
        "link",
        "LOGIN_REDIRECT_URL",
        "'hoem'",
        "the name of a URL pattern",
    ),
    "a reverse_lazy that names nothing": Mistake(
        {"LOGIN_REDIRECT_URL": reverse_lazy("hoem")},
        "link",
        "LOGIN_REDIRECT_URL",
        "'hoem'",
        "the name of a URL pattern",
    ),
    "a LOGOUT_REDIRECT_URL that names nothing": Mistake(
        {"LOGOUT_REDIRECT_URL": "goodbye"},
        "link",
        "LOGOUT_REDIRECT_URL",
        "'goodbye'",
        "the name of a URL pattern",
    ),
    "the login page after a sign-in": Mistake(
        {"LOGIN_REDIRECT_URL": "ciam:login"},
        "link",
        "LOGIN_REDIRECT_URL",
        "'ciam:login'",
        "'ciam:done'",
    ),
    "URLs that are not included": Mistake(
        {"LOGIN_URL": "ciam:login", "ROOT_URLCONF": NoUrls},
        "urls",
        "LOGIN_URL",
        "not included",
        'include("ciam_django.urls")',
    ),
    "URLs with a language prefix": Mistake(
        {"ROOT_URLCONF": PrefixedUrls},
        "language prefix",
        "ciam_django.urls",
        "i18n_patterns",
        "Move the include out of i18n_patterns",
    ),
    "no support": Mistake(
        {"CIAM_SUPPORT_URL": ""},
        "support",
        "CIAM_SUPPORT_URL",
        "''",
        "mailto or tel URL",
        is_deploy=True,
    ),
    "a support address without mailto": Mistake(
        {"CIAM_SUPPORT_URL": "help@shop.cn"},
        "address",
        "CIAM_SUPPORT_URL",
        "'help@shop.cn'",
        "mailto",
    ),
    "a link of an action that names nothing": Mistake(
        {"CIAM_ACTION_URLS": {"login": "sign-in"}},
        "address",
        "CIAM_ACTION_URLS",
        "'sign-in'",
        "the name of a URL pattern",
    ),
    "a misspelt placeholder of the problem type": Mistake(
        {"CIAM_PROBLEM_TYPE_URL": "https://shop.cn/{knd}/"},
        "address",
        "CIAM_PROBLEM_TYPE_URL",
        "{knd}",
        "{kind}",
    ),
    "a package of metrics that does not exist": Mistake(
        {"CIAM_METRICS": ["prometeus"]},
        "metrics",
        "CIAM_METRICS",
        "'prometeus'",
        "'prometheus'",
    ),
    "one package of metrics without a list": Mistake(
        {"CIAM_METRICS": "otel"}, "type", "CIAM_METRICS", "'otel'", "['otel']"
    ),
    # Apps, middleware and paths.
    "no ciam_django": Mistake(
        {"INSTALLED_APPS": [a for a in django_settings.INSTALLED_APPS if a != "ciam_django"]},
        "app",
        "INSTALLED_APPS",
        "lacks 'ciam_django'",
        "'ciam_django.accounts'",
    ),
    "no accounts, with settings that name URLs": Mistake(
        {
            **without("INSTALLED_APPS", "ciam_django.accounts"),
            "ROOT_URLCONF": UrlsWithoutAccounts,
            "CIAM_CALLBACK_URL": "https://shop.cn/ciam/callback/",
            "LOGIN_URL": "ciam:login",
        },
        "accounts",
        "INSTALLED_APPS",
        "'ciam_django.accounts'",
        "manage.py migrate",
    ),
    "no accounts": Mistake(
        without("INSTALLED_APPS", "ciam_django.accounts"),
        "accounts",
        "INSTALLED_APPS",
        "'ciam_django.accounts'",
        "Add 'ciam_django.accounts' to INSTALLED_APPS",
    ),
    "no sessions": Mistake(
        without("INSTALLED_APPS", "sessions"),
        "django part",
        "INSTALLED_APPS",
        "'django.contrib.sessions'",
        "manage.py migrate",
    ),
    "no backend": Mistake(
        without("AUTHENTICATION_BACKENDS", "ciam"),
        "backend",
        "AUTHENTICATION_BACKENDS",
        "CiamBackend",
        "as the last entry of AUTHENTICATION_BACKENDS",
    ),
    "a misspelt backend": Mistake(
        replaced_in("AUTHENTICATION_BACKENDS", "CiamBackend", "CiamBackends"),
        "dotted path",
        "AUTHENTICATION_BACKENDS",
        "CiamBackends",
        "'ciam_django.accounts.backends.CiamBackend'",
    ),
    "no error middleware": Mistake(
        without("MIDDLEWARE", "CiamError"),
        "middleware",
        "MIDDLEWARE",
        "CiamErrorMiddleware",
        "as the last entry of MIDDLEWARE",
    ),
    "a misspelt error middleware": Mistake(
        replaced_in("MIDDLEWARE", "CiamErrorMiddleware", "CiamErrorsMiddleware"),
        "dotted path",
        "MIDDLEWARE",
        "CiamErrorsMiddleware",
        "'ciam_django.middleware.CiamErrorMiddleware'",
    ),
    "no session middleware": Mistake(
        without("MIDDLEWARE", "CiamSession"),
        "session middleware",
        "MIDDLEWARE",
        "CiamSessionMiddleware",
        "after Django's AuthenticationMiddleware",
    ),
    "no sessions of Django": Mistake(
        without("MIDDLEWARE", "sessions.middleware"),
        "django part",
        "MIDDLEWARE",
        "SessionMiddleware",
        "in this order",
    ),
    "no authentication of Django": Mistake(
        without("MIDDLEWARE", "AuthenticationMiddleware"),
        "django part",
        "MIDDLEWARE",
        "AuthenticationMiddleware",
        "in this order",
    ),
    "no handler": Mistake(
        {"REST_FRAMEWORK": {}},
        "handler",
        "REST_FRAMEWORK['EXCEPTION_HANDLER']",
        "not set",
        "'ciam_django.drf.exception_handler'",
    ),
    "a misspelt handler": Mistake(
        {"REST_FRAMEWORK": {"EXCEPTION_HANDLER": "ciam_django.drf.exception_handlr"}},
        "dotted path",
        "REST_FRAMEWORK['EXCEPTION_HANDLER']",
        "'ciam_django.drf.exception_handlr'",
        "'ciam_django.drf.exception_handler'",
    ),
    "a misspelt authentication": Mistake(
        {
            "REST_FRAMEWORK": {
                **django_settings.REST_FRAMEWORK,
                "DEFAULT_AUTHENTICATION_CLASSES": ["ciam_django.drf.CiamBearerAuthentication"],
            }
        },
        "dotted path",
        "REST_FRAMEWORK['DEFAULT_AUTHENTICATION_CLASSES']",
        "'ciam_django.drf.CiamBearerAuthentication'",
        "'ciam_django.drf.authentication.CiamBearerAuthentication'",
    ),
    "a misspelt function": Mistake(
        {"CIAM_CLIENT_IP": "ciam_django.network.forwardedfor"},
        "dotted path",
        "CIAM_CLIENT_IP",
        "'ciam_django.network.forwardedfor'",
        "does not define",
    ),
    "a path of a value": Mistake(
        {"CIAM_NEW_USER": "tests.checks.mistakes.SECRET"},
        "dotted path",
        "CIAM_NEW_USER",
        "'tests.checks.mistakes.SECRET'",
        "the dotted path of a function",
    ),
    "a base template that is missing": Mistake(
        {"CIAM_BASE_TEMPLATE": "bse.html"},
        "template",
        "CIAM_BASE_TEMPLATE",
        "'bse.html'",
        "block 'content'",
    ),
    "a base template without a block": Mistake(
        {"CIAM_BASE_TEMPLATE": "ciam_django/reference.html"},
        "template",
        "CIAM_BASE_TEMPLATE",
        "'ciam_django/reference.html'",
        "{% block content %}",
    ),
    # The settings of this package, which need no ciam_django.urls.
    "a base template whose parents have no block": Mistake(
        {
            "CIAM_BASE_TEMPLATE": "base.html",
            "TEMPLATES": templates(
                **{
                    "base.html": "{% extends 'site.html' %}",
                    "site.html": "{% block body %}{% endblock %}",
                }
            ),
        },
        "template",
        "CIAM_BASE_TEMPLATE",
        "'base.html'",
        "put the line into this block",
    ),
    "a misspelt setting": Mistake(
        {"CIAM_LOGIN_METHOD": ["sms"], "ROOT_URLCONF": NoUrls},
        "name",
        "CIAM_LOGIN_METHOD",
        "CIAM_LOGIN_METHOD",
        "'CIAM_LOGIN_METHODS'",
    ),
    "a misspelt login method": Mistake(
        {"CIAM_LOGIN_METHODS": ["sns"], "ROOT_URLCONF": NoUrls},
        "login method",
        "CIAM_LOGIN_METHODS",
        "'sns'",
        "'sms'",
    ),
    "a text as a list": Mistake(
        {"CIAM_LOGIN_METHODS": "sms", "ROOT_URLCONF": NoUrls},
        "type",
        "CIAM_LOGIN_METHODS",
        "'sms'",
        "a list",
    ),
    "a misspelt provider": Mistake(
        {
            "CIAM_SOCIAL_PROVIDERS": {"weibo2": {"app_id": "1", "source": "s"}},
            "ROOT_URLCONF": NoUrls,
        },
        "provider",
        "CIAM_SOCIAL_PROVIDERS",
        "'weibo2'",
        "'weibo'",
    ),
    "a placeholder of a provider": Mistake(
        {"CIAM_SOCIAL_PROVIDERS": {"qq": {"app_id": "…", "source": "s"}}, "ROOT_URLCONF": NoUrls},
        "placeholder",
        "CIAM_SOCIAL_PROVIDERS",
        "the app_id is '…'",
        "your id at the provider",
    ),
    "an address with a password and without https": Mistake(
        own(api_base_url=f"http://shop:{SECRET}@api.shop.cn/"),
        "insecure client",
        "api_base_url",
        "'http://api.shop.cn/'",
        "'https://api.shop.cn/'",
    ),
    "a limit in words": Mistake(
        {"CIAM_SEND_LIMITS": {"receiver": ["1 per minute"]}, "ROOT_URLCONF": NoUrls},
        "limit",
        "CIAM_SEND_LIMITS",
        "'1 per minute'",
        "'1/min'",
    ),
    "a country in words": Mistake(
        {"CIAM_PHONE_REGION": "China", "ROOT_URLCONF": NoUrls},
        "phone region",
        "CIAM_PHONE_REGION",
        "'China'",
        "'CN'",
    ),
    "a misspelt step": Mistake(
        {"CIAM_FLOW_TYPES": {"A": "consnt"}, "ROOT_URLCONF": NoUrls},
        "step",
        "CIAM_FLOW_TYPES",
        "'consnt'",
        "'consent'",
    ),
    "a misspelt call": Mistake(
        {"CIAM_ENDPOINTS": {"capcha": {}}, "ROOT_URLCONF": NoUrls},
        "endpoint",
        "CIAM_ENDPOINTS",
        "'capcha'",
        "'captcha'",
    ),
    "a misspelt field of the user": Mistake(
        {"CIAM_USER_FIELDS": {"emial": ["email"]}, "ROOT_URLCONF": NoUrls},
        "user field",
        "CIAM_USER_FIELDS",
        "'emial'",
        "'email'",
    ),
    "milliseconds as timeout": Mistake(
        {"CIAM_TIMEOUT": 5000}, "range", "CIAM_TIMEOUT", "5000", "0.1 to 120"
    ),
    "a text as timeout": Mistake({"CIAM_TIMEOUT": "5"}, "type", "CIAM_TIMEOUT", "'5'", "a float"),
    "a status of a success": Mistake(
        {"CIAM_UPSTREAM_STATUS": 200}, "range", "CIAM_UPSTREAM_STATUS", "200", "500 to 599"
    ),
    "a misspelt code": Mistake(
        {"CIAM_ERROR_OVERRIDES": {"invalid_grnt": "M."}},
        "override key",
        "CIAM_ERROR_OVERRIDES",
        "'invalid_grnt'",
        "'invalid_grant'",
    ),
    "a misspelt member": Mistake(
        {"CIAM_ERROR_OVERRIDES": {"invalid_grant": {"mesage": "M."}}},
        "override field",
        "CIAM_ERROR_OVERRIDES",
        "'mesage'",
        "'message'",
    ),
    "signed tokens without OpenID Connect": Mistake(
        {"CIAM_BEARER": "jwt"}, "bearer mode", "CIAM_BEARER", "'jwt'", "'check'"
    ),
    "an API without its address": Mistake(
        {**own(api_base_url=None), "CIAM_LOGIN_METHODS": ["sms"]},
        "client",
        "api_base_url",
        "no api_base_url",
        '"api_base_url": "https://',
    ),
    # Django's settings and those of other packages.
    "a strict cookie": Mistake(
        {"SESSION_COOKIE_SAMESITE": "Strict"},
        "cookie",
        "SESSION_COOKIE_SAMESITE",
        "'Strict'",
        "'Lax'",
    ),
    "a cookie for other sites without https": Mistake(
        {"SESSION_COOKIE_SAMESITE": "None"},
        "cookie",
        "SESSION_COOKIE_SAMESITE",
        "'None'",
        "SESSION_COOKIE_SECURE = True",
    ),
    "a host-bound cookie without https": Mistake(
        {"SESSION_COOKIE_NAME": "__Host-sessionid"},
        "cookie",
        "SESSION_COOKIE_NAME",
        "'__Host-sessionid'",
        "SESSION_COOKIE_SECURE = True",
    ),
    "a host-bound cookie of a domain": Mistake(
        {
            "CSRF_COOKIE_NAME": "__Host-csrf",
            "CSRF_COOKIE_SECURE": True,
            "CSRF_COOKIE_DOMAIN": "shop.cn",
        },
        "cookie",
        "CSRF_COOKIE_NAME",
        "'shop.cn'",
        "CSRF_COOKIE_DOMAIN = None",
    ),
    "a cookie of another domain": Mistake(
        {"SESSION_COOKIE_DOMAIN": "shop.com", "CIAM_CALLBACK_URL": REDIRECT},
        "cookie",
        "SESSION_COOKIE_DOMAIN",
        "'shop.com'",
        "'shop.cn'",
    ),
    "a header as clients write it": Mistake(
        {"SECURE_PROXY_SSL_HEADER": ("X-Forwarded-Proto", "https")},
        "proxy header",
        "SECURE_PROXY_SSL_HEADER",
        "'X-Forwarded-Proto'",
        "'HTTP_X_FORWARDED_PROTO'",
    ),
    "a header in lower case": Mistake(
        {"SECURE_PROXY_SSL_HEADER": ("http_x_forwarded_proto", "https")},
        "proxy header",
        "SECURE_PROXY_SSL_HEADER",
        "'http_x_forwarded_proto'",
        "'HTTP_X_FORWARDED_PROTO'",
    ),
    "a header without HTTP_": Mistake(
        {"SECURE_PROXY_SSL_HEADER": ("X_FORWARDED_PROTO", "https")},
        "proxy header",
        "SECURE_PROXY_SSL_HEADER",
        "'X_FORWARDED_PROTO'",
        "'HTTP_X_FORWARDED_PROTO'",
    ),
    "a cache of one process": Mistake(
        {"CACHES": LOCMEM}, "cache", "cache", "LocMemCache", "Redis or Memcached"
    ),
    "sessions in cookies": Mistake(
        {"SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies"},
        "session store",
        "SESSION_ENGINE",
        "signed_cookies",
        "the database or a cache",
    ),
    "Django's policy": Mistake(
        {"SECURE_CSP": {"form-action": ["'self'"]}},
        "form action",
        "SECURE_CSP",
        "form-action",
        "https://ciam.invalid",
    ),
    "the policy of django-csp": Mistake(
        {"CONTENT_SECURITY_POLICY": {"DIRECTIVES": {"form-action": ["'self'"]}}},
        "form action",
        "CONTENT_SECURITY_POLICY",
        "form-action",
        "https://ciam.invalid",
    ),
    "the policy of django-csp 3": Mistake(
        {"CSP_FORM_ACTION": ("'self'",)},
        "form action",
        "CSP_FORM_ACTION",
        "form-action",
        "https://ciam.invalid",
    ),
    "no source of the client's address": Mistake(
        {"CIAM_CLIENT_IP": ""},
        "client address",
        "CIAM_CLIENT_IP",
        "not set",
        "'ciam_django.network.forwarded_for'",
        is_deploy=True,
    ),
}

# Correct settings, which must have no message.
CORRECT: Final[Mapping[str, Mapping[str, Any]]] = {
    "the settings of the tests": {},
    "OpenID Connect": oidc(),
    "an issuer of its own": oidc(
        server_metadata_url="https://login.shop.cn/metadata", issuer="https://login.shop.cn"
    ),
    "a public client": oidc(
        client_secret=None, client_kwargs={"token_endpoint_auth_method": "none"}
    ),
    "a private key": oidc(
        client_secret="-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n"
    ),
    "a private key as JWK": oidc(client_secret={"kty": "RSA"}),
    "a private key as JSON of a file": oidc(client_secret='\n{"kty": "RSA"}\n'),
    "a private key as bytes": oidc(client_secret=b"-----BEGIN PRIVATE KEY-----\n"),
    "a private key as an object": oidc(client_secret=ECKey.generate_key("P-256")),
    "lazy values": oidc(
        client_secret=SimpleLazyObject(lambda: SECRET),
        server_metadata_url=SimpleLazyObject(lambda: METADATA),
    ),
    "scopes as a list": oidc(client_kwargs={"scope": ["openid", "profile"]}),
    "a member of the metadata": oidc(
        userinfo_endpoint="https://login.shop.cn/userinfo", display_name="Shop"
    ),
    "options of the session": own(
        client_kwargs={
            "verify": __file__,
            "proxies": {},
            "timeout": 5,
            "scope": "USER_API",
        }
    ),
    "a method of the project": own(
        client_kwargs={"token_endpoint_auth_method": "shop"}, client_auth_methods=[("shop", print)]
    ),
    "a method of the project without a secret": own(
        client_secret=None,
        client_kwargs={"token_endpoint_auth_method": "shop"},
        client_auth_methods=[("shop", print)],
    ),
    "http on this machine": own(
        authorize_url="http://127.0.0.1:9000/a",
        access_token_url="http://[::1]:9000/t",
        api_base_url="http://localhost:9000/",
    ),
    "http in development": {**own(api_base_url="http://ciam:9000/"), "DEBUG": True},
    "a client id that the project has chosen": own(client_id="my-shop"),
    "a secret with brackets": own(client_secret="a<b>c{d}e...f"),
    "a private key as JSON": oidc(client_secret='{"kty": "RSA"}'),
    "a method that is a function": own(client_kwargs={"token_endpoint_auth_method": print}),
    "the session middleware of another package": {
        "MIDDLEWARE": [
            name.replace("django.contrib.sessions", "user_sessions")
            for name in django_settings.MIDDLEWARE
        ]
    },
    "a policy with a text": {
        "CONTENT_SECURITY_POLICY": {"DIRECTIVES": {"form-action": "'self' https://ciam.invalid"}}
    },
    "a short client id": own(client_id="a1"),
    "a tenant with the word example": own(api_base_url="https://examples.api.aliyunidaas.com"),
    "a callback behind a prefix of a proxy": {
        "CIAM_CALLBACK_URL": "https://shop.cn/shop/ciam/callback/"
    },
    "a callback in development": {
        "CIAM_CALLBACK_URL": "http://localhost:8000/ciam/callback/",
        "DEBUG": True,
    },
    "links by name": {
        "LOGIN_URL": "ciam:login",
        "LOGIN_REDIRECT_URL": "home",
        "LOGOUT_REDIRECT_URL": "home",
        "ROOT_URLCONF": SiteUrls,
    },
    "lazy links": {
        "LOGIN_URL": reverse_lazy("ciam:login"),
        "LOGIN_REDIRECT_URL": reverse_lazy("home"),
        "ROOT_URLCONF": SiteUrls,
    },
    "links of a front end": {
        "LOGIN_URL": "https://app.shop.cn/login",
        "LOGIN_REDIRECT_URL": "/app/",
        "LOGOUT_REDIRECT_URL": None,
    },
    "a sign-in in a pop-up": {"LOGIN_REDIRECT_URL": "ciam:done"},
    "links without the URLs": {"LOGIN_URL": "login", "ROOT_URLCONF": NoUrls},
    "languages": {
        "LANGUAGES": [("en", "E"), ("zh-hans", "S"), ("zh-hant", "T"), ("de", "D")],
        "LANGUAGE_CODE": "zh-hans",
    },
    "language codes that have the texts of zh-hans and zh-hant": {
        "LANGUAGES": [("en", "E"), ("zh-cn", "S"), ("zh-tw", "T")],
        "LANGUAGE_CODE": "zh-cn",
    },
    "a language of Hong Kong": {"LANGUAGES": [("en", "E"), ("zh-hant-hk", "H")]},
    "a host-bound cookie": {
        "SESSION_COOKIE_NAME": "__Host-sessionid",
        "SESSION_COOKIE_SECURE": True,
    },
    "a secure cookie of a domain": {
        "SESSION_COOKIE_NAME": "__Secure-s",
        "SESSION_COOKIE_SECURE": True,
        "SESSION_COOKIE_DOMAIN": ".shop.cn",
        "CIAM_CALLBACK_URL": "https://www.shop.cn/ciam/callback/",
    },
    "a cookie for other sites": {"SESSION_COOKIE_SAMESITE": "None", "SESSION_COOKIE_SECURE": True},
    "no SameSite": {"SESSION_COOKIE_SAMESITE": False},
    "a header of a proxy": {"SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https")},
    "a variable of another server": {"SECURE_PROXY_SSL_HEADER": ("HTTPS", "on")},
    "a variable of the server": {"SECURE_PROXY_SSL_HEADER": ("wsgi.url_scheme", "https")},
    "a policy that allows CIAM": {
        "SECURE_CSP": {"form-action": ["'self'", "https://ciam.invalid"]},
        "CONTENT_SECURITY_POLICY": {"DIRECTIVES": {"form-action": ["https:"]}},
        "CSP_FORM_ACTION": ["https://ciam.invalid"],
    },
    "a policy of django-csp without form-action": {
        "CONTENT_SECURITY_POLICY": {"DIRECTIVES": {"default-src": ["'self'"]}},
        "CSP_FORM_ACTION": None,
    },
    "a policy of another type": {"CONTENT_SECURITY_POLICY": None},
    "a base template that extends": {"CIAM_BASE_TEMPLATE": "admin/base_site.html"},
    "a base template that extends a template of the same name": {
        "CIAM_BASE_TEMPLATE": "admin/base.html",
        "TEMPLATES": templates(**{"admin/base.html": "{% extends 'admin/base.html' %}"}),
    },
    "a base template with a variable parent": {
        "CIAM_BASE_TEMPLATE": "base.html",
        "TEMPLATES": templates(**{"base.html": "{% extends site.base %}"}),
    },
    "sessions in a cache": {
        "SESSION_ENGINE": "django.contrib.sessions.backends.cache",
        **without("INSTALLED_APPS", "contrib.sessions"),
    },
    "a problem type": {"CIAM_PROBLEM_TYPE_URL": "https://shop.cn/errors/{kind}#{code}"},
    "no links": {"LOGIN_REDIRECT_URL": "", "LOGIN_URL": None},
}
