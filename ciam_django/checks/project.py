"""Check the settings of Django and of other packages that a sign-in depends on.

These checks need neither Authlib nor the models of accounts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage
from django.http.request import validate_host
from django.urls import NoReverseMatch, get_script_prefix, reverse
from django.utils.functional import Promise

from ciam_django.checks.caches import is_subclass_path
from ciam_django.checks.messages import (
    check_message,
    close_name,
    import_problem,
    setting_messages,
)
from ciam_django.checks.settings import (
    CIAM_BACKEND,
    DRF_HANDLER,
    ERROR_MIDDLEWARE,
    STANDARDIZED_HANDLER_CLASS,
    are_urls_included,
)
from ciam_django.conf import conf
from ciam_django.network import is_loopback_url

# The settings that name a URL.
_LINKS: Final = ("LOGIN_URL", "LOGIN_REDIRECT_URL", "LOGOUT_REDIRECT_URL")
# The values that are useful in most projects.
_USUAL_LINKS: Final = {
    "LOGIN_URL": "'ciam:login'",
    "LOGIN_REDIRECT_URL": "the name of your first page, such as 'home'",
    "LOGOUT_REDIRECT_URL": "the name of your first page, such as 'home'",
}
_OUR_LINKS: Final = ("ciam:login", "ciam:logout", "ciam:done")
_INCLUDE: Final = 'path("ciam/", include("ciam_django.urls"))'
_ACCOUNTS: Final = "ciam_django.accounts"
_SESSIONS: Final = "django.contrib.sessions"
# The middleware of Django that a sign-in needs, in its order.
_MIDDLEWARE: Final = (
    f"{_SESSIONS}.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
)
_DATABASE_ENGINES: Final = (f"{_SESSIONS}.backends.db", f"{_SESSIONS}.backends.cached_db")
_HOST_PREFIX: Final = "__Host-"
_SECURE_PREFIX: Final = "__Secure-"
# The classes and functions of this package whose paths stand in settings of other packages.
OUR_PATHS: Final = (
    ERROR_MIDDLEWARE,
    "ciam_django.accounts.middleware.CiamSessionMiddleware",
    CIAM_BACKEND,
    DRF_HANDLER,
    STANDARDIZED_HANDLER_CLASS,
    "ciam_django.drf.authentication.CiamBearerAuthentication",
    "ciam_django.drf.permissions.HasScope",
    "ciam_django.drf.renderers.ProblemJSONRenderer",
    "ciam_django.drf.schema.CiamAutoSchema",
    "ciam_django.axes.lockout_response",
    "ciam_django.network.forwarded_for",
    "ciam_django.network.remote_addr",
)


# --- Addresses of the project -------------------------------------------------------------------


def check_links(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that the settings of a sign-in's links name URLs that exist."""
    are_included, has_views = are_urls_included(), apps.is_installed(_ACCOUNTS)
    for name in _LINKS:
        value = getattr(settings, name, None)
        is_ours = isinstance(value, str) and value.startswith("ciam:")
        if is_ours and are_included and not has_views:
            # check_login_setup reports the missing app.
            continue
        if is_ours and not are_included:
            yield check_message(
                "urls",
                f"{name} is {value!r}, and ciam_django.urls is not included in "
                f"{getattr(settings, 'ROOT_URLCONF', None)!r}.",
                f"Add this line to urlpatterns, outside of i18n_patterns: {_INCLUDE}.",
            )
        elif are_included and (reason := _broken_link(value)):
            similar = close_name(_shown(value).strip("'"), _OUR_LINKS, cutoff=0.7)
            question = f"Did you mean {similar!r}? " if similar else ""
            yield check_message(
                "link",
                f"{name} is {_shown(value)}: {reason}.",
                f"{question}Allowed: the name of a URL pattern, a path that begins with /, or a "
                f"URL. The line: {name} = {_USUAL_LINKS[name]}.",
            )
        elif (
            are_included
            and name == "LOGIN_REDIRECT_URL"
            and is_ours
            and value != "ciam:done"  # the last page of a sign-in in a popup
        ):
            yield check_message(
                "link",
                f"{name} is {value!r}, a page of the sign-in itself.",
                f"Users must reach a page of yours. Allowed: {_USUAL_LINKS[name]}, or 'ciam:done' "
                "if you sign users in only in a popup.",
            )


def _shown(value: object) -> str:
    try:
        return repr(str(value) if isinstance(value, Promise) else value)
    except NoReverseMatch:
        return "a reverse_lazy()"


def _broken_link(value: object) -> str:
    """The reason why Django can't resolve the link; empty for a good link, or for no link."""
    try:
        # ``reverse_lazy`` raises if its text is read.
        text = str(value) if isinstance(value, str | Promise) else ""
    except NoReverseMatch as error:
        return str(error).rstrip(".")
    # Django takes any other text for a URL.
    if text and not set("/.") & set(text):
        try:
            reverse(text)
        except NoReverseMatch as error:
            return str(error).partition(". ")[0].rstrip(".")
    return ""


def _callback_path() -> str:
    """The path of ``ciam:callback`` below the prefix of the WSGI script."""
    return "/" + reverse("ciam:callback").removeprefix(get_script_prefix())


def check_callback_path(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that ``CIAM_CALLBACK_URL`` has the path of ``ciam:callback``."""
    url = conf.CIAM_CALLBACK_URL
    has_view = are_urls_included() and apps.is_installed(_ACCOUNTS)
    if not url or not has_view or any(setting_messages("CIAM_CALLBACK_URL")):
        return
    parts, path = urlsplit(url), _callback_path()
    # A proxy may add a prefix to the path.
    if not parts.path.endswith(path) or parts.query or parts.fragment:
        yield check_message(
            "callback path",
            f"CIAM_CALLBACK_URL is {url!r}, and the path of ciam:callback is {path!r}.",
            "CIAM would send users to a page that does not exist. It must end with this path. The "
            f'line: CIAM_CALLBACK_URL = "{parts.scheme}://{parts.netloc}{path}". Register exactly '
            "this address at CIAM.",
        )


def check_callback_host(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check, for a deployment, that the host of the callback is a host of the site."""
    url = conf.CIAM_CALLBACK_URL
    if not url or any(setting_messages("CIAM_CALLBACK_URL")):
        return
    host = urlsplit(url).hostname or ""
    if is_loopback_url(url):
        yield check_message(
            "callback path",
            f"CIAM_CALLBACK_URL is {url!r}, an address of the user's own machine.",
            "It must have the host of your site. The line: "
            'CIAM_CALLBACK_URL = "https://shop.example.com/ciam/callback/".',
        )
    elif settings.ALLOWED_HOSTS and not validate_host(host, settings.ALLOWED_HOSTS):
        yield check_message(
            "callback path",
            f"CIAM_CALLBACK_URL is {url!r}, and ALLOWED_HOSTS is {list(settings.ALLOWED_HOSTS)!r}.",
            f"Django would answer each callback with the status 400. Add {host!r} to "
            "ALLOWED_HOSTS, or correct the host in CIAM_CALLBACK_URL.",
        )


def check_problem_type(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check the placeholders of ``CIAM_PROBLEM_TYPE_URL``."""
    # The value of the project may have another type than the declared type.
    url: Any = conf.CIAM_PROBLEM_TYPE_URL
    rest = url.replace("{kind}", "").replace("{code}", "") if isinstance(url, str) else ""
    if "{" in rest or "}" in rest:
        yield check_message(
            "address",
            f"CIAM_PROBLEM_TYPE_URL is {url!r}.",
            "Allowed between braces: {kind} and {code}, for example "
            'CIAM_PROBLEM_TYPE_URL = "https://shop.example.com/errors/{kind}/".',
        )


def check_support(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check, for a deployment, that users who read "contact support" find the support."""
    urls: Any = conf.CIAM_ACTION_URLS
    has_own = isinstance(urls, Mapping) and urls.get("contact_support")
    if are_urls_included() and not conf.CIAM_SUPPORT_URL and not has_own:
        yield check_message(
            "support",
            "CIAM_SUPPORT_URL is ''.",
            "Some pages ask the user to contact support, and have no link to it. Set "
            'CIAM_SUPPORT_URL = "mailto:support@shop.example.com". Allowed: an http, https, '
            "mailto or tel URL, a path that begins with /, or the name of a URL pattern.",
        )


# --- Cookies and proxies ------------------------------------------------------------------------


def check_cookies(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Find the cookie settings with which a browser forgets a sign-in."""
    if not are_urls_included():
        return
    if str(settings.SESSION_COOKIE_SAMESITE).lower() == "strict":
        yield check_message(
            "cookie",
            f"SESSION_COOKIE_SAMESITE is {settings.SESSION_COOKIE_SAMESITE!r}.",
            "After CIAM's page, the browser does not send this cookie, and the user is not signed "
            "in on the first page. Set SESSION_COOKIE_SAMESITE = 'Lax'. Allowed: 'Lax', and 'None' "
            "with https.",
        )
    if str(settings.SESSION_COOKIE_SAMESITE).lower() == "none" and (
        settings.SESSION_COOKIE_SAMESITE and not settings.SESSION_COOKIE_SECURE
    ):
        yield check_message(
            "cookie",
            f"SESSION_COOKIE_SAMESITE is {settings.SESSION_COOKIE_SAMESITE!r}, and "
            "SESSION_COOKIE_SECURE is False.",
            "Browsers refuse this cookie, and nobody stays signed in. Allowed: "
            "SESSION_COOKIE_SECURE = True, or SESSION_COOKIE_SAMESITE = 'Lax'.",
        )
    for kind in ("SESSION", "CSRF"):
        yield from _prefix_messages(kind)
    domain = str(settings.SESSION_COOKIE_DOMAIN or "").lstrip(".").lower()
    host = (urlsplit(conf.CIAM_CALLBACK_URL).hostname or "") if _has_callback_url() else ""
    if domain and host and host != domain and not host.endswith(f".{domain}"):
        yield check_message(
            "cookie",
            f"SESSION_COOKIE_DOMAIN is {settings.SESSION_COOKIE_DOMAIN!r}, and the host of "
            f"CIAM_CALLBACK_URL is {host!r}.",
            "Browsers refuse the cookie of another domain, and nobody stays signed in. Allowed: "
            f"SESSION_COOKIE_DOMAIN = None, or a domain that {host!r} ends with.",
        )


def _has_callback_url() -> bool:
    return bool(conf.CIAM_CALLBACK_URL) and not any(setting_messages("CIAM_CALLBACK_URL"))


def _prefix_messages(kind: str) -> Iterator[CheckMessage]:
    """The messages about a cookie whose name promises browsers more than its settings say."""
    name = getattr(settings, f"{kind}_COOKIE_NAME")
    needed: dict[str, object] = {}
    if name.startswith((_HOST_PREFIX, _SECURE_PREFIX)):
        needed[f"{kind}_COOKIE_SECURE"] = True
    if name.startswith(_HOST_PREFIX):
        needed |= {f"{kind}_COOKIE_DOMAIN": None, f"{kind}_COOKIE_PATH": "/"}
    for setting, value in needed.items():
        if getattr(settings, setting) != value:
            yield check_message(
                "cookie",
                f"{kind}_COOKIE_NAME is {name!r}, and {setting} is {getattr(settings, setting)!r}.",
                f"Browsers refuse such a cookie. Allowed with this name: {setting} = {value!r}.",
            )


def check_proxy_header(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that ``SECURE_PROXY_SSL_HEADER`` names a header as Django's ``META`` does."""
    header: Any = settings.SECURE_PROXY_SSL_HEADER
    if not header:
        return
    name = header[0] if isinstance(header, tuple | list) and header else header
    expected = f"HTTP_{str(name).upper().replace('-', '_').removeprefix('HTTP_')}"
    # Servers put variables into META that are no headers, such as HTTPS and wsgi.url_scheme.
    is_header = isinstance(name, str) and (
        "-" in name or name.upper().startswith(("X_", "HTTP_")) or name.istitle()
    )
    if is_header and name != expected:
        yield check_message(
            "proxy header",
            f"SECURE_PROXY_SSL_HEADER is {header!r}.",
            "Django finds no such header, takes each request for http, and sends http addresses "
            "to CIAM. Allowed: the name of the header in upper case, with HTTP_ and underscores. "
            f"The line: SECURE_PROXY_SSL_HEADER = ({expected!r}, 'https').",
        )


# --- Apps, middleware and paths -------------------------------------------------------------------


def check_django_parts(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that the parts of Django are there that the views of a sign-in need."""
    if not are_urls_included():
        return
    for path in _MIDDLEWARE:
        # Other packages have classes of the same name, which need not be subclasses.
        class_name = path.rpartition(".")[2]
        names = [name for name in settings.MIDDLEWARE if not str(name).startswith("ciam_django.")]
        is_there = any(str(name).endswith(class_name) for name in names)
        if not is_there and not any(is_subclass_path(path, str(name)) for name in names):
            yield check_message(
                "django part",
                f"{path!r} is not in MIDDLEWARE.",
                "Nobody can sign in without it. Allowed: MIDDLEWARE with the lines "
                f"{', '.join(map(repr, _MIDDLEWARE))}, in this order.",
            )
    if settings.SESSION_ENGINE in _DATABASE_ENGINES and not apps.is_installed(_SESSIONS):
        yield check_message(
            "django part",
            f"SESSION_ENGINE is {settings.SESSION_ENGINE!r}, and {_SESSIONS!r} is not in "
            "INSTALLED_APPS.",
            f"The database has no table for sessions. Allowed: the line {_SESSIONS!r} in "
            "INSTALLED_APPS and manage.py migrate, or a SESSION_ENGINE with a cache.",
        )


def check_our_paths(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Find misspelt paths of this package in the settings of Django and of other packages."""
    for place, path in _paths_in_settings():
        if path.startswith("ciam_django.") and (problem := import_problem(path)):
            similar = close_name(path, OUR_PATHS, cutoff=0.7)
            yield check_message(
                "dotted path",
                f"{place} has {path!r}: {problem}",
                f"Did you mean {similar!r}?" if similar else f"Allowed: {', '.join(OUR_PATHS)}.",
            )


def _paths_in_settings() -> Iterator[tuple[str, str]]:
    """Setting and path for each path in the settings that name classes of this package."""
    for name in ("MIDDLEWARE", "AUTHENTICATION_BACKENDS"):
        yield from ((name, path) for path in getattr(settings, name) if isinstance(path, str))
    for name in ("REST_FRAMEWORK", "DRF_STANDARDIZED_ERRORS"):
        options = getattr(settings, name, None)
        for key, value in options.items() if isinstance(options, Mapping) else ():
            paths = value if isinstance(value, list | tuple) else [value]
            yield from ((f"{name}[{key!r}]", path) for path in paths if isinstance(path, str))
    for name in ("AXES_LOCKOUT_CALLABLE", "AXES_CLIENT_IP_CALLABLE"):
        path = getattr(settings, name, None)
        if isinstance(path, str):
            yield name, path


CHECKS: Final = (
    check_links,
    check_callback_path,
    check_problem_type,
    check_cookies,
    check_proxy_header,
    check_django_parts,
    check_our_paths,
)
DEPLOY_CHECKS: Final = (check_callback_host, check_support)
