"""What the tenant has set up for its login page, as CIAM says, and what the project switched on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from ciam_django.client.api import CiamClient
from ciam_django.client.cache import acquire_once, get_cached
from ciam_django.client.cached_documents import FetchedDocument
from ciam_django.client.oauth import ciam_app
from ciam_django.client.results import Consent, LoginPage, consents_of, login_page_of
from ciam_django.conf import conf
from ciam_django.errors import CiamError
from ciam_django.reporting import report

logger = logging.getLogger("ciam_django")

T = TypeVar("T")

HOSTED: Final = "hosted"
# The ways that are a form of ours, in the order of their tabs unless the project has its own.
FORM_METHODS: Final = ("password", "sms", "email")
ACCOUNT_METHODS: Final = ("recover", "sign_up")
OWN_METHODS: Final = (*FORM_METHODS, *ACCOUNT_METHODS)
# Seconds for which what CIAM says is as good as new; and after a failure, until it is asked again.
_FRESH_SECONDS: Final = 300
_RETRY_INTERVAL: Final = 30


def load_login_methods() -> Sequence[str]:
    """The ways to sign in: ``CIAM_LOGIN_METHODS``, or what CIAM says where that is empty."""
    if conf.CIAM_LOGIN_METHODS:
        return conf.CIAM_LOGIN_METHODS
    available = load_login_page().methods
    return [name for name in OWN_METHODS if name in available] or [HOSTED]


def load_login_page() -> LoginPage:
    """How the tenant has set up its login page; as good as nothing while CIAM can't say."""
    return _load_document("login_page", lambda: CiamClient().login_page().data, login_page_of, {})


def load_consents() -> Sequence[Consent]:
    """The terms that people agree to before anything is sent; none while CIAM can't say."""
    return _load_document(
        "consents",
        lambda: {"data": [dict(consent.data) for consent in CiamClient().consents()]},
        consents_of,
        {},
    )


def _load_document(
    name: str, fetch: Callable[[], Any], parse: Callable[[Any], T], fallback: Any
) -> T:
    app = ciam_app()
    cached = app.cached_document(
        f"{app.api_base_url} {app.client_id} {name}",
        lambda: FetchedDocument(
            dict(fetch()), fresh_for=_FRESH_SECONDS, good_for=conf.CIAM_STALE_LIMIT
        ),
        parse,
    )
    pause_key = f"ciam_django.configured.{name}"
    if get_cached(pause_key):
        return parse(fallback)
    try:
        return cached.get_copy().content
    except CiamError as error:
        report(error)
        # A page that can be shown without it need not wait for it each time.
        acquire_once(pause_key, seconds=_RETRY_INTERVAL)
        return parse(fallback)
