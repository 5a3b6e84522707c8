"""What the tenant has set up for its login page, as CIAM says, and what the project switched on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from ciam_django.answers import answer_to
from ciam_django.client.api import CiamClient
from ciam_django.client.cache import is_first, shared
from ciam_django.client.cached_documents import Fetched
from ciam_django.client.results import Consent, LoginPage, consents_of, login_page_of
from ciam_django.conf import conf
from ciam_django.errors import CiamError

logger = logging.getLogger("ciam_django")

T = TypeVar("T")

HOSTED: Final = "hosted"
# The ways that are a form of ours, in the order of their tabs unless the project has its own.
FORMS: Final = ("password", "sms", "email")
BESIDE: Final = ("recover", "sign_up")
WAYS: Final = (*FORMS, *BESIDE)
# Seconds for which what CIAM says is as good as new; and after a failure, until it is asked again.
_FRESH: Final = 300
_PAUSE: Final = 30


def methods() -> Sequence[str]:
    """The ways to sign in: ``CIAM_LOGIN_METHODS``, or what CIAM says where that is empty."""
    if conf.CIAM_LOGIN_METHODS:
        return conf.CIAM_LOGIN_METHODS
    found = login_page().methods
    return [name for name in WAYS if name in found] or [HOSTED]


def login_page() -> LoginPage:
    """How the tenant has set up its login page; as good as nothing while CIAM can't say."""
    return _said("login_page", lambda: CiamClient().login_page().data, login_page_of, {})


def consents() -> Sequence[Consent]:
    """The terms that people agree to before anything is sent; none while CIAM can't say."""
    return _said(
        "consents",
        lambda: {"data": [dict(consent.data) for consent in CiamClient().consents()]},
        consents_of,
        {},
    )


def _said(name: str, asked: Callable[[], Any], read: Callable[[Any], T], otherwise: Any) -> T:
    client = CiamClient()
    key = f"{client.app.api_base_url} {client.app.client_id} {name}"
    kept = client.app.kept(
        key,
        lambda: Fetched(dict(asked()), fresh_for=_FRESH, good_for=conf.CIAM_STALE_LIMIT),
        read,
    )
    pause = f"ciam_django.configured.{name}"
    if shared(pause):
        return read(otherwise)
    try:
        return kept.current().content
    except CiamError as error:
        answer_to(error)
        # A page that can be shown without it need not wait for it each time.
        is_first(pause, seconds=_PAUSE)
        return read(otherwise)
