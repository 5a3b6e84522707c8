"""The tenant's login methods, login page and terms, loaded from CIAM and cached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from ciam_django.client.api import CiamClient
from ciam_django.client.app import ciam_app
from ciam_django.client.cache import acquire_once, is_acquired
from ciam_django.client.cached_documents import FetchedDocument
from ciam_django.client.circuit_breaker import sharing_one_deadline
from ciam_django.client.endpoints import EndpointGroup
from ciam_django.client.results import Consent, LoginPage, consents_of, login_page_of
from ciam_django.conf import conf
from ciam_django.errors import CiamError
from ciam_django.reporting import report

T = TypeVar("T")

HOSTED: Final = "hosted"
# The login methods that have a form, in the order of their tabs; CIAM_LOGIN_METHODS can change the
# order.
FORM_METHODS: Final = ("password", "sms", "email")
ACCOUNT_METHODS: Final = ("recover", "sign_up")
OWN_METHODS: Final = (*FORM_METHODS, *ACCOUNT_METHODS)
# Seconds until a cached document is loaded again.
_FRESH_SECONDS: Final = 300
# Seconds until a failed request is repeated.
_RETRY_INTERVAL: Final = 30


def load_login_methods() -> Sequence[str]:
    """Return ``CIAM_LOGIN_METHODS`` or, if the setting is empty, the methods that CIAM offers.

    May call CIAM. Return only ``hosted`` if CIAM fails, or offers no method of ``OWN_METHODS``.
    """
    if conf.CIAM_LOGIN_METHODS:
        return conf.CIAM_LOGIN_METHODS
    available = load_login_page().methods
    return [name for name in OWN_METHODS if name in available] or [HOSTED]


def load_login_page() -> LoginPage:
    """Return the cached login page of the tenant; an empty ``LoginPage`` if CIAM fails."""
    return _load_document("login_page", lambda: CiamClient().login_page().data, login_page_of, {})


def load_consents() -> Sequence[Consent]:
    """Return the cached terms that users accept before a form is sent; empty if CIAM fails."""
    return _load_document(
        "consents",
        lambda: {"data": [dict(consent.data) for consent in CiamClient().consents()]},
        consents_of,
        {},
    )


def _load_document(
    name: str, fetch: Callable[[], Any], parse: Callable[[Any], T], fallback: Any
) -> T:
    """Return the parsed document from the cache or from CIAM.

    If CIAM fails, report the error, do not call CIAM again for ``_RETRY_INTERVAL``, and return the
    parsed fallback.
    """
    app = ciam_app()
    document_name = f"{app.api_base_url} {app.client_id} {name}"
    if copy := app.fresh_copy(document_name):
        content: T = copy.content
        return content
    cached = app.cached_document(
        document_name,
        EndpointGroup.LOGIN,
        lambda: FetchedDocument(
            dict(fetch()), fresh_for=_FRESH_SECONDS, good_for=conf.CIAM_STALE_LIMIT
        ),
        parse,
    )
    pause_key = f"ciam_django.configured.{name}"
    if is_acquired(pause_key):
        return parse(fallback)
    try:
        # A page of the project, whose template asks for the methods, has no deadline of its own.
        return sharing_one_deadline(cached.get_copy)().content
    except CiamError as error:
        report(error)
        # Pages can do without the document, so they do not wait for CIAM each time.
        acquire_once(pause_key, seconds=_RETRY_INTERVAL)
        return parse(fallback)
