"""Sign a person of CIAM in, and send Django's signal for wrong credentials."""

from __future__ import annotations

import copy
import functools
import re
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    SESSION_KEY,
    get_backends,
    get_user,
    get_user_model,
    load_backend,
    login,
)
from django.contrib.auth.signals import user_login_failed
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest
from django.middleware.csrf import rotate_token

from ciam_django.accounts.backends import (
    CiamBackend,
    accounts_transaction,
    authenticate_person,
    find_identity,
    find_visible_user,
    is_ciam_backend,
    typed_name_of,
)
from ciam_django.accounts.linking import link_identity, refuse_other_user
from ciam_django.accounts.session_store import (
    announce_sign_in,
    ciam_session_of,
    create_ciam_session,
    discard_ciam_session,
    end_ciam_session,
)
from ciam_django.accounts.token_refresh import is_access_refused
from ciam_django.answers import Answer
from ciam_django.client.app import ciam_app
from ciam_django.client.person import Person, identify_person, identify_token_holder
from ciam_django.errors import CiamError, Stage
from ciam_django.privacy import own_text, redacted_text
from ciam_django.reporting import report

if TYPE_CHECKING:
    # The stubs know only the one user model of the tests.
    from django.contrib.auth.models import User

P = ParamSpec("P")
T = TypeVar("T")

# The stages at which CIAM checks credentials that a person typed on a page of this site.
_CREDENTIAL_STAGES: Final = frozenset({Stage.PASSWORD, Stage.VERIFY_CODE})
# The backend of django-axes, which only refuses clients and names that are locked out.
_AXES_BACKEND: Final = "axes.backends.AxesStandaloneBackend"
# A failure of any library that stores sessions passes through one of these packages of Django.
_STORAGE_PACKAGES: Final = ("django.contrib.sessions.", "django.core.cache.")
# The texts of SQLite, PostgreSQL, and MySQL.
_NO_TABLE: Final = re.compile(
    r"no such table|relation \S+ does not exist|Table \S+ doesn't exist", re.IGNORECASE
)


def _raise_storage_failures(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function: raise ``storage_unavailable`` if the database or session store fails.

    Other exceptions of the project's own code pass unchanged.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except CiamError:
            raise
        except Exception as error:
            failure = storage_failure_of(error)
            if failure is None:
                raise
            failure.stage = Stage.CALLBACK
            raise failure from error

    return wrapper


def storage_failure_of(error: Exception) -> CiamError | None:
    """Return ``storage_unavailable`` for a database or session store that is away, else None."""
    frames = traceback.walk_tb(error.__traceback__)
    modules = [str(frame.f_globals.get("__name__")) for frame, _line in frames]
    is_in_session = any(module.startswith(_STORAGE_PACKAGES) for module in modules)
    if not (is_in_session or isinstance(error, OperationalError | InterfaceError)):
        return None
    advice = ". Run manage.py migrate" if _NO_TABLE.search(str(error)) else ""
    return CiamError(
        "storage_unavailable",
        upstream_text=own_text(f"{type(error).__name__}: {redacted_text(str(error))}{advice}"),
    )


def sign_in(request: HttpRequest, person: Person, token_response: Mapping[str, Any]) -> None:
    """Sign the person in, or raise a ``CiamError`` and change nothing in the database.

    The first sign-in creates the identity and the user. ``token_response`` is the token response
    that identified the person. Its tokens are stored with the session. Sends ``signed_in``.
    """
    # One transaction, so that a failure stores neither a user nor a session.
    with accounts_transaction():
        user, identity = authenticate_person(request, person)
        discard_ciam_session(request)
        # ``login`` changes the session key, and flushes a session of another user.
        login(request, user)
        create_ciam_session(request, identity, person, token_response)
        announce_sign_in(request, identity, person, session="django")


@_raise_storage_failures
def sign_in_without_session(request: HttpRequest, person: Person) -> None:
    """Sign in a person whose app stores CIAM's tokens and sends them as bearer tokens.

    Sends ``signed_in``. Raises ``CiamError`` like ``authenticate_person``, or
    ``storage_unavailable`` if the database fails.
    """
    with accounts_transaction():
        _, identity = authenticate_person(request, person)
        announce_sign_in(request, identity, person, session="token")


@_raise_storage_failures
def sign_in_or_link(
    request: HttpRequest, person: Person, token_response: Mapping[str, Any], link_to_user: str
) -> None:
    """Sign the person in, or link the person to the user who started the flow.

    ``link_to_user`` is the primary key of the user who started the flow; it is empty for a plain
    sign-in. Raises ``CiamError``: ``mismatching_state`` if this user is no longer signed in,
    ``storage_unavailable`` if the database or the session store fails, or the error of ``sign_in``
    or ``link_identity``.
    """
    if not link_to_user:
        sign_in(request, person, token_response)
    else:
        refuse_other_user(request, link_to_user)
        link_identity(request, person)


def authenticate_token_holder(request: HttpRequest, person: Person) -> User:
    """Return the user of a person who sends a bearer token.

    A person without an identity signs in for the first time, with ``authenticate_person``. A person
    with an identity does not sign in again. Raises ``CiamError``: ``account_inactive`` if the user
    is inactive, or the error of ``authenticate_person``.
    """
    user = find_active_user(person)
    if user is None:
        with accounts_transaction():
            user, _ = authenticate_person(request, person)
    return user


def find_active_user(person: Person) -> User | None:
    """Return the user of a person who has signed in before; None before the first sign-in.

    Also return None if ``AUTHENTICATION_BACKENDS`` has no ``CiamBackend``. Raises ``CiamError``:
    ``account_inactive`` if the user may no longer sign in.
    """
    backends = map(load_backend, settings.AUTHENTICATION_BACKENDS)
    # The backend of a project may accept users that Django's backend refuses.
    backend = next((each for each in backends if isinstance(each, CiamBackend)), None)
    if backend is None:
        return None
    user = find_visible_user(person)
    if user and backend.user_can_authenticate(user):
        return user
    if user or find_identity(person):
        raise CiamError("account_inactive", stage=Stage.API)
    return None


def refuse_inactive_holder(token_response: Mapping[str, Any]) -> None:
    """Raise ``account_inactive`` if the user of refreshed tokens may no longer sign in here.

    Also raises the ``CiamError`` of an account that CIAM refuses. CIAM has replaced the refresh
    token, so that the app must get the new tokens after any other failure. Each use of the access
    token checks the user again.
    """
    app = ciam_app()
    try:
        person = (
            # Refreshed tokens may lack an id_token (OpenID Connect Core 1.0, section 12.2).
            identify_token_holder(app, token_response["access_token"])
            if app.is_oidc
            else identify_person(app, token_response, None)
        )
    except CiamError as error:
        if is_access_refused(error):
            raise
        report(error)
        return
    find_active_user(person)


def is_signed_in_by_ciam(request: HttpRequest) -> bool:
    """Return True if the session started with a sign-in at CIAM."""
    path = request.session.get(BACKEND_SESSION_KEY)
    return path in settings.AUTHENTICATION_BACKENDS and is_ciam_backend(path)


def resume_session(request: HttpRequest, session_key: str) -> bool:
    """Continue the session that another request of the same browser has started with a sign-in.

    A session of another user in this browser ends, and the browser gets a new CSRF token, as with
    a sign-in. Return False, and change nothing, if the session to continue has ended, also if CIAM
    has ended it.
    """
    previous = request.session
    # A copy, because the stores of some packages have more arguments than the key, such as the
    # client address, and write them.
    request.session = copy.copy(previous)
    vars(request.session).pop("_session_cache", None)
    request.session._session_key = session_key
    user = get_user(request)
    if user.is_anonymous or ciam_session_of(request) is None:
        request.session = previous
        return False
    if previous.session_key != session_key and SESSION_KEY in previous:
        resumed, request.session = request.session, previous
        discard_ciam_session(request)
        previous.flush()
        request.session = resumed
    request.user = user
    # Django sends the session cookie only with a changed session.
    request.session.modified = True
    if not settings.CSRF_USE_SESSIONS:
        # As with Django's ``login``. A token in the session has been replaced there.
        rotate_token(request)
    return True


def end_session_on_logout(sender: object, *, request: HttpRequest, **kwargs: Any) -> None:
    """Receive Django's ``user_logged_out``, delete the tokens, and send ``signed_out``."""
    end_ciam_session(request, "left")


# --- Wrong passwords --------------------------------------------------------------------------


def send_user_login_failed(
    sender: object, *, request: HttpRequest | None, error: CiamError, answer: Answer, **kwargs: Any
) -> None:
    """Receive ``login_failed`` and send Django's ``user_login_failed`` for wrong credentials.

    The kind of the answer decides, not the code. A lockout that counts wrong passwords but ignores
    unknown names would reveal the names that exist.
    """
    if request and error.stage in _CREDENTIAL_STAGES and answer.kind == "credentials":
        _send_user_login_failed(request)


def refuse_locked_out(request: HttpRequest, stage: Stage) -> None:
    """Raise ``too_many_requests`` if django-axes has locked out the client or the typed name.

    Otherwise the right password would still sign in, because ``CiamBackend`` and django-axes see
    the person only after CIAM has checked the password. Django's ``authenticate`` would also try
    the other backends, and count a failure.
    """
    for backend in get_backends():
        if _AXES_BACKEND not in [f"{c.__module__}.{c.__qualname__}" for c in type(backend).__mro__]:
            continue
        try:
            backend.authenticate(request, username=typed_name_of(request) or None)
        except PermissionDenied:
            # Django sends the signal for each refused attempt, and django-axes depends on it.
            if stage in _CREDENTIAL_STAGES:
                _send_user_login_failed(request)
            raise CiamError("too_many_requests", stage=stage) from None


def _send_user_login_failed(request: HttpRequest) -> None:
    """Send Django's ``user_login_failed`` with the typed name, as Django's own views send it.

    Without a typed name, django-axes looks for the name in the form.
    """
    # django-axes reads the name from the member that its setting names.
    members = {
        "username",
        get_user_model().USERNAME_FIELD,
        str(getattr(settings, "AXES_USERNAME_FORM_FIELD", "username")),
    }
    name = typed_name_of(request)
    credentials = dict.fromkeys(members, name) if name else {}
    user_login_failed.send_robust(__name__, credentials=credentials, request=request)
