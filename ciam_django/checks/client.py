"""Check ``AUTHLIB_OAUTH_CLIENTS["ciam"]``: its keys, addresses and secrets.

These checks call no server, and need neither ``ciam_django.urls`` nor Authlib. No message contains
the value of ``client_secret``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage

from ciam_django.checks.messages import check_message, close_name, hint_for, scheme_and_host
from ciam_django.checks.settings import are_urls_included, oauth_client
from ciam_django.conf import conf
from ciam_django.network import is_loopback_url
from ciam_django.privacy import shown_file_name

_CLIENT: Final = 'AUTHLIB_OAUTH_CLIENTS["ciam"]'
# The keys with an address.
ADDRESS_KEYS: Final = ("server_metadata_url", "authorize_url", "access_token_url", "api_base_url")
# The arguments of Authlib's app, and the member of the metadata that this package reads. Authlib
# takes any other key for a member of the metadata.
CLIENT_KEYS: Final = (
    "client_id",
    "client_secret",
    *ADDRESS_KEYS,
    "client_kwargs",
    "issuer",
    "access_token_params",
    "authorize_params",
    "client_auth_methods",
    "compliance_fix",
    "fetch_token",
    "update_token",
    "user_agent",
)
# The arguments of Authlib's session, and the attributes of the session of requests that Authlib
# sets.
SESSION_KEYS: Final = (
    "scope",
    "token_endpoint_auth_method",
    "code_challenge_method",
    "revocation_endpoint_auth_method",
    "redirect_uri",
    "token",
    "token_placement",
    "leeway",
    "verify",
    "cert",
    "proxies",
    "hooks",
    "stream",
    "max_redirects",
    "trust_env",
    "default_timeout",
)
# The keys of client_kwargs that have no effect in the client itself, where people write them.
_MISPLACED_KEYS: Final = (
    "scope",
    "token_endpoint_auth_method",
    "verify",
    "cert",
    "proxies",
)
AUTH_METHODS: Final = (
    "client_secret_basic",
    "client_secret_post",
    "client_secret_json",
    "client_secret_jwt",
    "private_key_jwt",
    "none",
)
_WELL_KNOWN: Final = "openid-configuration"
# Similarity of a misspelt key and the intended key. Two different keys are less similar.
_MIN_SIMILARITY: Final = 0.8
# The parts that documentation writes for a value: "…", "<id>", "{id}", "your-tenant".
_PLACEHOLDER_PART: Final = (
    r"…|\.\.\.|<[\w -]*>|\{[\w -]*\}|\byour[-_ ](tenant|domain|instance|client|app|secret|company)"
)
# A whole value. A secret may contain any of the parts, and a private key is a JSON object.
_PLACEHOLDER: Final = re.compile(
    rf"\s*({_PLACEHOLDER_PART}|x{{3,}}|todo|change[-_ ]?me|placeholder|insert[-_ ][\w -]*"
    r"|your[-_ ][\w -]*)\s*",
    re.IGNORECASE,
)
_PLACEHOLDER_IN_URL: Final = re.compile(_PLACEHOLDER_PART, re.IGNORECASE)
# The hosts that RFC 2606 reserves for documentation, and a first label that stands for a tenant.
_PLACEHOLDER_HOST: Final = re.compile(
    r"(.*\.)?example(\.(com|net|org))?"
    r"|(example|x{3,}|your[-_]\w+|your(company|domain|tenant))\..+",
    re.IGNORECASE,
)


def is_placeholder(value: object) -> bool:
    """Return True if the value is a text that documentation writes in the place of a value."""
    # ``str``: the value may be lazy, and regular expressions take no lazy text.
    return isinstance(value, str) and _PLACEHOLDER.fullmatch(str(value)) is not None


def has_placeholder(url: object) -> bool:
    """Return True if the URL has a part that documentation writes in the place of a part."""
    return isinstance(url, str) and _PLACEHOLDER_IN_URL.search(str(url)) is not None


def is_placeholder_url(url: object) -> bool:
    """Return True if the URL has a placeholder, or a host that is reserved for documentation."""
    host = scheme_and_host(url)[1].partition(":")[0]
    return has_placeholder(url) or _PLACEHOLDER_HOST.fullmatch(host) is not None


def _client_to_check() -> Mapping[str, Any]:
    """The client if this package signs users in or reads tokens with it; otherwise empty."""
    is_needed = apps.is_installed("ciam_django.accounts") or are_urls_included()
    return (oauth_client() or {}) if is_needed else {}


def check_client_keys(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Find misspelt and misplaced keys of the client and of its ``client_kwargs``."""
    client = _client_to_check()
    for key in client:
        if key in _MISPLACED_KEYS:
            yield check_message(
                "client key",
                f"{_CLIENT} has the key {key!r}, which has no effect there.",
                f'Move {key!r} to "client_kwargs": {{{key!r}: ...}}. Allowed in {_CLIENT}: '
                f"{', '.join(CLIENT_KEYS)}.",
            )
        elif key not in CLIENT_KEYS and (intended := _intended_key(key, CLIENT_KEYS)):
            yield _misspelt_key(_CLIENT, key, intended, CLIENT_KEYS)
    options = client.get("client_kwargs")
    if options is not None and not isinstance(options, Mapping):
        yield check_message(
            "client key",
            f'{_CLIENT}["client_kwargs"] is {options!r}, of the type {type(options).__name__}.',
            'It must be a dict, for example {"scope": "openid profile"}.',
        )
        return
    place = f'{_CLIENT}["client_kwargs"]'
    for key in options or ():
        if key not in SESSION_KEYS and (intended := _intended_key(key, SESSION_KEYS)):
            yield _misspelt_key(place, key, intended, SESSION_KEYS)


def _intended_key(key: object, allowed: tuple[str, ...]) -> str:
    return close_name(str(key).casefold(), allowed, cutoff=_MIN_SIMILARITY)


def _misspelt_key(place: str, key: object, intended: str, allowed: tuple[str, ...]) -> CheckMessage:
    return check_message(
        "client key",
        f"{place} has the unknown key {key!r}.",
        f"Did you mean {intended!r}? Allowed: {', '.join(allowed)}.",
    )


def check_client_addresses(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that the addresses of the client are absolute, and that the metadata has its path."""
    client = _client_to_check()
    for key in (*ADDRESS_KEYS, "issuer"):
        url = client.get(key)
        if not url or has_placeholder(url):
            continue
        place = f'{_CLIENT}["{key}"]'
        scheme, host = scheme_and_host(url)
        if scheme not in ("http", "https") or not host or url != str(url).strip():
            yield check_message(
                "client url",
                f"{place} is {_shown(url)}.",
                f"It must be an absolute URL with the scheme https, without spaces around it, for "
                f"example {_absolute_url(url)!r}.{_reason_of_none(url)}",
            )
        elif key == "server_metadata_url" and not (
            client.get("issuer") or urlsplit(url).path.endswith(_WELL_KNOWN)
        ):
            issuer = url.partition("/.well-known")[0].rstrip("/")
            yield check_message(
                "client url",
                f"{place} is {_shown(url)}, which is not the address of metadata.",
                f"It must end with /.well-known/{_WELL_KNOWN}, for example "
                f"'{_without_secrets(issuer)}/.well-known/{_WELL_KNOWN}'. If CIAM publishes its "
                f'metadata elsewhere, also set {_CLIENT}["issuer"].',
            )


def _absolute_url(url: object) -> str:
    """The URL that the project probably means, or an example."""
    # Without a scheme, "login.shop.cn:8443/token" has the scheme "login.shop.cn".
    text = _without_secrets(url).strip().rpartition("://")[2] if isinstance(url, str) else ""
    has_host = "." in text.partition("/")[0]
    return f"https://{text}" if has_host else "https://login.shop.cn/..."


def _reason_of_none(url: object) -> str:
    is_missing = isinstance(url, str) and url.startswith("None")
    return " Is a variable of the environment not set?" if is_missing else ""


def _shown(url: object) -> str:
    """The value for a message, without the secrets of a URL."""
    if isinstance(url, str):
        return repr(_without_secrets(url))
    # A list of URLs.
    return re.sub(r"//[^'\"]*@", "//", repr(url))


def _without_secrets(url: str) -> str:
    """The URL without user name and password, query and fragment, also if it is malformed."""
    # ``(?s)``: a pasted password may have a newline.
    shown = re.split(r"[?#]", str(url), maxsplit=1)[0]
    return re.sub(r"(?s)^(\s*\w*:?/+)?.*@", r"\1", shown, count=1)


def check_client_security(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that nobody on the network can read or change what the client sends to CIAM."""
    client = _client_to_check()
    if settings.DEBUG:
        return
    for key in ADDRESS_KEYS:
        url = client.get(key)
        if scheme_and_host(url)[0] == "http" and not is_loopback_url(str(url)):
            yield check_message(
                "insecure client",
                f'{_CLIENT}["{key}"] is {_shown(url)}, and DEBUG is off.',
                "Others on the network can read the secrets and change the answers. It must begin "
                f"with https://, for example {_absolute_url(url)!r}.",
            )
    options = client.get("client_kwargs")
    if isinstance(options, Mapping) and options.get("verify") is False:
        yield check_message(
            "insecure client",
            f'{_CLIENT}["client_kwargs"]["verify"] is False, and DEBUG is off.',
            'Any server can then play CIAM. Remove "verify", or set "verify" to the path of the '
            "file with the certificates of your proxy.",
        )


def check_client_files(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that the files of certificates exist: without them, each call to CIAM fails.

    The messages are warnings, because ``manage.py check`` may run where the files are not needed.
    """
    options = _client_to_check().get("client_kwargs")
    if not isinstance(options, Mapping):
        return
    for name in ("verify", "cert"):
        value = options.get(name)
        for path in value if isinstance(value, list | tuple) else [value]:
            # ``Path.exists`` raises an exception in a folder that this user can't read.
            if isinstance(path, str) and path and not os.access(path, os.F_OK):
                yield check_message(
                    "client file",
                    f'{_CLIENT}["client_kwargs"]["{name}"] is {shown_file_name(value)}, and the '
                    f"file {shown_file_name(path)} does not exist on this machine.",
                    "It must be the absolute path of a file in the format PEM. Each call to CIAM "
                    "fails without this file.",
                )


def check_client_secret(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that the client has credentials, and that nothing was pasted with the credentials."""
    client = _client_to_check()
    line = '"client_secret": os.environ["CIAM_CLIENT_SECRET"]'
    if not client.get("client_id"):
        # The check of the OAuth client reports a missing client id.
        return
    for key in ("client_id", "client_secret"):
        value = client.get(key)
        is_key = key == "client_secret" and _is_private_key(value)
        if value and not is_key and not isinstance(value, str):
            yield check_message(
                "client secret",
                f'{_CLIENT}["{key}"] has the type {type(value).__name__}.',
                f'It must be a str: put the value of "{key}" between quotation marks.',
            )
        elif isinstance(value, str) and not is_key and value != value.strip():
            yield check_message(
                "client secret",
                f'{_CLIENT}["{key}"] begins or ends with a space or a newline.',
                f'It must be exactly the value that CIAM shows: remove the spaces of "{key}", or '
                "add .strip() after the file or variable that has the value.",
            )
    options = client.get("client_kwargs")
    method = options.get("token_endpoint_auth_method") if isinstance(options, Mapping) else None
    if not client.get("client_secret"):
        is_public = method == "none" and client.get("server_metadata_url")
        # A method of the project may have a secret of its own.
        if not is_public and not client.get("client_auth_methods"):
            fault = "empty" if "client_secret" in client else "missing"
            yield check_message(
                "client secret",
                f'{_CLIENT}["client_secret"] is {fault}.',
                "CIAM refuses the sign-ins of a client without its secret. Copy the secret from "
                f"the application at CIAM: {line}. Only a public client of OpenID Connect has no "
                'secret: "client_kwargs": {"token_endpoint_auth_method": "none"}.',
            )
    elif client["client_secret"] == client["client_id"] and not is_placeholder(client["client_id"]):
        yield check_message(
            "client secret",
            f'{_CLIENT}["client_secret"] is the same text as {_CLIENT}["client_id"].',
            f"It must be the secret of the application at CIAM: {line}.",
        )


def _is_private_key(value: object) -> bool:
    """Return True for a PEM or a JWK, which may end with a newline, or a key object of joserfc."""
    is_json = isinstance(value, str) and value.lstrip().startswith("{")
    is_object = isinstance(value, Mapping) or type(value).__module__.startswith("joserfc.")
    return is_json or is_object or "-----BEGIN" in str(value)


def check_client_methods(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check the scope, and the method that authenticates the client."""
    client = _client_to_check()
    options = client.get("client_kwargs")
    if not isinstance(options, Mapping):
        return
    place, scope = f'{_CLIENT}["client_kwargs"]', options.get("scope")
    scopes = scope.split() if isinstance(scope, str) else scope
    if not isinstance(scopes, list | tuple | set | frozenset):
        scopes = []
    if client.get("server_metadata_url") and scopes and "openid" not in scopes:
        yield check_message(
            "client",
            f'{place}["scope"] is {scope!r}, without openid.',
            "Without openid, CIAM sends no id_token, and nobody can sign in. The scope must "
            f'contain openid, for example "scope": {" ".join(["openid", *map(str, scopes)])!r}.',
        )
    method = options.get("token_endpoint_auth_method")
    # Authlib also takes a function, and methods of the project.
    has_own_methods = bool(client.get("client_auth_methods"))
    if isinstance(method, str) and method not in AUTH_METHODS and not has_own_methods:
        yield check_message(
            "client",
            f'{place}["token_endpoint_auth_method"] is {method!r}.',
            f"{hint_for(method, AUTH_METHODS)} Allowed: {', '.join(AUTH_METHODS)}.",
        )


def check_placeholders(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Find the placeholders of documentation that nobody has replaced."""
    client = _client_to_check()
    for key in ("client_id", "client_secret"):
        if is_placeholder(client.get(key)):
            value = "a placeholder" if key == "client_secret" else repr(client[key])
            yield _placeholder(f'{_CLIENT}["{key}"]', value, f'"{key}": "..."')
    for key in (*ADDRESS_KEYS, "issuer"):
        if is_placeholder_url(client.get(key)):
            value = _shown(client[key])
            yield _placeholder(f'{_CLIENT}["{key}"]', value, f'"{key}": "https://..."')
    yield from _remaining_fake_addresses(client)
    # Our own tests and documentation use example.com for sites, so that only the path matters.
    if has_placeholder(conf.CIAM_CALLBACK_URL):
        yield _placeholder(
            "CIAM_CALLBACK_URL",
            repr(conf.CIAM_CALLBACK_URL),
            'CIAM_CALLBACK_URL = "https://.../ciam/callback/"',
        )


def _remaining_fake_addresses(client: Mapping[str, Any]) -> Iterator[CheckMessage]:
    """Yield a message for each address of this machine beside an address of a tenant."""
    urls = {key: str(client[key]) for key in ADDRESS_KEYS if client.get(key)}
    other = next((key for key, url in urls.items() if not is_loopback_url(url)), None)
    # ``check_fake_client`` reports these addresses at a deployment.
    if other is None or not settings.DEBUG:
        return
    for key, url in urls.items():
        if is_loopback_url(url):
            yield check_message(
                "placeholder",
                f'{_CLIENT}["{key}"] is {_shown(url)}, an address of this machine, and '
                f'"{other}" is not.',
                "All addresses must belong to the same tenant. CIAM's console shows the addresses "
                "under the application's settings.",
            )


def _placeholder(place: str, value: str, line: str) -> CheckMessage:
    return check_message(
        "placeholder",
        f"{place} is {value}, which stands for a value in documentation.",
        f"It must be the value of your application in CIAM's console. The line: {line}",
    )


def check_fake_client(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that a deployed site does not sign users in at a fake CIAM on its own machine."""
    client = _client_to_check()
    for key in ADDRESS_KEYS:
        if is_loopback_url(str(client.get(key))):
            yield check_message(
                "placeholder",
                f'{_CLIENT}["{key}"] is {_shown(client[key])}, an address of this machine.',
                "A fake CIAM lets everybody sign in as anybody. It must be the address of your "
                "tenant. CIAM's console shows the address.",
            )


CHECKS: Final = (
    check_client_keys,
    check_client_addresses,
    check_client_security,
    check_client_files,
    check_client_secret,
    check_client_methods,
    check_placeholders,
)
DEPLOY_CHECKS: Final = (check_fake_client,)
