"""Call CIAM's API: each method returns a typed value or raises a ``CiamError``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urljoin

from django.utils.asyncio import async_unsafe

from ciam_django.client import results
from ciam_django.client.app import ciam_app
from ciam_django.client.cached_documents import CachedDocument, FetchedDocument
from ciam_django.client.circuit_breaker import ASYNC_MESSAGE, asking_directly, sharing_one_deadline
from ciam_django.client.endpoints import (
    GROUPS,
    PREFIX,
    Credential,
    Endpoint,
    EndpointGroup,
    endpoint_of,
)
from ciam_django.client.envelope import data_of
from ciam_django.client.misconfiguration import misconfiguration, name_setting
from ciam_django.errors import CiamError, raising_ciam_errors
from ciam_django.privacy import clear_frames_on_error, own_text

if TYPE_CHECKING:
    from ciam_django.client.oauth import CiamApp

T = TypeVar("T")

# With these codes CIAM refuses an access token that it has issued.
REFUSED_TOKEN_CODES: Final = frozenset(
    {
        "invalid_token",
        "server.access.denied.token.expire",
        "operation.failure.invalid.accesstoken",
    }
)
_FAILED_CONNECTION_CODES: Final = frozenset({"no_connection", "timeout"})
# With these codes CIAM refuses to issue an application token. In the response to any other call,
# the same codes mean that the user must sign in.
_REFUSED_APPLICATION_CODES: Final = frozenset({"invalid_grant", "invalid_token", "access_denied"})
# Seconds before its expiry at which a token is refreshed, and at which it is no longer used.
_REFRESH_BEFORE_EXPIRY: Final = 600
_UNUSED_BEFORE_EXPIRY: Final = 30


def _decorate_public_methods(client: type[T]) -> type[T]:
    """Decorate the public methods: the calls of a method have one deadline.

    No error report shows the arguments of a method.
    """
    for name, method in list(vars(client).items()):
        if inspect.isfunction(method) and not name.startswith("_"):
            setattr(client, name, clear_frames_on_error(sharing_one_deadline(method)))
    return client


@_decorate_public_methods
class CiamClient:
    """A client of the API at ``api_base_url`` of ``AUTHLIB_OAUTH_CLIENTS["ciam"]``.

    The methods have the names of the rows of ``ENDPOINTS``, which are CIAM's own words. Additional
    keyword arguments have the names of CIAM's parameters. Each method may raise a ``CiamError``
    with the stage of its row. A sign-in that needs another step is not an error: the method
    returns a ``NextStep``.
    """

    def __init__(self, app: CiamApp | None = None) -> None:
        self.app = app or ciam_app()

    # --- Signing in, with the application's token -------------------------------------------

    def login_page(self) -> results.LoginPage:
        """Return the login page as the tenant has configured it."""
        return self._call("login_page", {"idaasAppId": self.app.client_id}, results.login_page_of)

    def auth_sources(self) -> tuple[results.AuthSource, ...]:
        """Return the social providers and other sources with which users can sign in."""
        return self._call(
            "auth_sources", {"idaasAppId": self.app.client_id}, results.auth_sources_of
        )

    def adapter_info(self, auth_source: str) -> Mapping[str, Any]:
        """Return CIAM's data about one source."""
        return self._call("adapter_info", {"enterpriseAuthId": auth_source}, dict)

    def consents(self) -> tuple[results.Consent, ...]:
        """Return the terms to which users consent."""
        return self._call("consents", {"idaasAppId": self.app.client_id}, results.consents_of)

    def captcha(self) -> results.Captcha:
        """Return a new CAPTCHA; its id and its text are arguments of the next call."""
        return self._call("captcha", {}, results.captcha_of)

    def password_login(
        self, /, username: str, password: str, **options: Any
    ) -> results.SignedIn | results.NextStep:
        """Sign in with a password.

        ``options`` are a CAPTCHA's id and text (``captchaCode``, ``captchaText``), or the ids of
        the accepted terms (``consents``).
        """
        return self._call(
            "password_login",
            {"username": username, "password": password, **options},
            results.sign_in_result_of,
        )

    def obtain_code(self, /, channel: str, **recipient: Any) -> str:
        """Send a verification code and return the id of the flow.

        The channel ``SMS`` needs ``phoneRegion`` and ``phoneNumber``, the channel ``EMAIL`` needs
        ``email``. A CAPTCHA and ``consents`` are added where CIAM requires them.
        """
        return self._call("obtain_code", {"type": channel, **recipient}, results.flow_id_of)

    def verify_code(
        self, /, flow_id: str, code: str, **recipient: str
    ) -> results.SignedIn | results.NextStep:
        """Sign in with a code; ``recipient`` is the recipient of the code, and the ``type``."""
        return self._call(
            "verify_code", {"fId": flow_id, "code": code, **recipient}, results.sign_in_result_of
        )

    def social_login(
        self, /, auth_source: str, code: str, *, consents: Sequence[str] = (), **proofs: str
    ) -> results.SignedIn | results.NextStep:
        """Sign in with the code of a social provider.

        ``consents`` are the ids of the accepted terms, and ``proofs`` are ``codeVerifier`` and
        ``nonce``; these three names are unverified.
        """
        parameters = {
            "enterpriseAuthId": auth_source,
            "code": code,
            **proofs,
            **_consent_parameters(consents),
        }
        return self._call("social_login", parameters, results.sign_in_result_of)

    def prepare_second_factor(self, flow_id: str, channel: str) -> str:
        """Send a code for the second factor and return the id of the flow."""
        parameters = {"fId": flow_id, "type": channel}
        return self._call(
            "prepare_second_factor", parameters, lambda data: results.flow_id_of(parameters | data)
        )

    def verify_second_factor(
        self,
        /,
        flow_id: str,
        channel: str,
        **proof: str,
    ) -> results.SignedIn | results.NextStep:
        """Verify a second factor: ``SMS`` or ``EMAIL`` by ``code``, ``PWD`` by ``password``."""
        return self._call(
            "verify_second_factor",
            {"fId": flow_id, "type": channel, **proof},
            results.sign_in_result_of,
        )

    def register_obtain_code(self, /, channel: str, **recipient: Any) -> str:
        """Send a code for a new account and return the id of the flow."""
        return self._call(
            "register_obtain_code", {"type": channel, **recipient}, results.flow_id_of
        )

    def register_submit(
        self, /, flow_id: str, **person: Any
    ) -> results.SignedIn | results.NextStep:
        """Create an account, by the code that was sent, and sign in."""
        return self._call("register_submit", {"fId": flow_id, **person}, results.sign_in_result_of)

    # --- Next steps and other login methods (unverified: see endpoints.py) -------------------

    def set_new_password(self, flow_id: str, password: str) -> results.SignedIn | results.NextStep:
        """Continue with a new password, where CIAM no longer accepts the old password."""
        return self._call(
            "set_new_password", {"fId": flow_id, "password": password}, results.sign_in_result_of
        )

    def give_consent(
        self, flow_id: str, consents: Sequence[str]
    ) -> results.SignedIn | results.NextStep:
        """Continue with the ids of the terms that the user has accepted."""
        return self._call(
            "give_consent", {"fId": flow_id, "consents": list(consents)}, results.sign_in_result_of
        )

    def complete_profile(
        self, /, flow_id: str, **profile: Any
    ) -> results.SignedIn | results.NextStep:
        """Continue with the user data that CIAM requires, or without data if ``ignore=True``."""
        return self._call(
            "complete_profile", {"fId": flow_id, **profile}, results.sign_in_result_of
        )

    def link_obtain_code(self, /, flow_id: str, channel: str, **recipient: str) -> str:
        """Send a code to the owner of an existing account and return the id of the flow.

        The code allows ``link_account`` to link the social account to the existing account.
        """
        parameters = {"fId": flow_id, "type": channel, **recipient}
        return self._call(
            "link_obtain_code", parameters, lambda data: results.flow_id_of(parameters | data)
        )

    def link_account(
        self, /, flow_id: str, code: str, **recipient: str
    ) -> results.SignedIn | results.NextStep:
        """Link the social account to the existing account whose owner got the code."""
        return self._call(
            "link_account", {"fId": flow_id, "code": code, **recipient}, results.sign_in_result_of
        )

    def create_linked(self, flow_id: str) -> results.SignedIn | results.NextStep:
        """Create a new account for the social account."""
        return self._call("create_linked", {"fId": flow_id}, results.sign_in_result_of)

    def recover_obtain_code(self, /, channel: str, **recipient: str) -> str:
        """Send a code to a user who has lost the password, and return the id of the flow."""
        return self._call("recover_obtain_code", {"type": channel, **recipient}, results.flow_id_of)

    def recover_submit(self, /, flow_id: str, code: str, password: str, **recipient: str) -> str:
        """Set a new password, by the code that was sent; return the id of the user.

        The id is empty if CIAM's response has no ``userId`` (unverified: see ``endpoints.py``).
        """
        parameters = {"fId": flow_id, "code": code, "password": password, **recipient}
        return self._call("recover_submit", parameters, results.user_id_in)

    def mini_program_login(
        self, auth_source: str, login_code: str
    ) -> results.SignedIn | results.NextStep:
        """Sign in with the code of ``wx.login``, without any input of the user."""
        parameters = {"enterpriseAuthId": auth_source, "loginCode": login_code}
        return self._call("mini_program_login", parameters, results.sign_in_result_of)

    def mini_program_phone(
        self, /, auth_source: str, login_code: str, *, consents: Sequence[str] = (), **proof: str
    ) -> results.SignedIn | results.NextStep:
        """Sign in with the phone number that WeChat knows.

        ``consents`` are the ids of the accepted terms. ``proof`` is ``phoneNumberCode``, or
        ``phoneNumberEncryptedData`` and ``phoneNumberIv``.
        """
        parameters = {
            "enterpriseAuthId": auth_source,
            "loginCode": login_code,
            **proof,
            **_consent_parameters(consents),
        }
        return self._call("mini_program_phone", parameters, results.sign_in_result_of)

    def mini_program_user_info(
        self,
        auth_source: str,
        login_code: str,
        encrypted_data: str,
        iv: str,
        *,
        consents: Sequence[str] = (),
    ) -> results.SignedIn | results.NextStep:
        """Sign in, and let CIAM copy the user's data from WeChat.

        ``consents`` are the ids of the accepted terms.
        """
        parameters = {
            "enterpriseAuthId": auth_source,
            "loginCode": login_code,
            "encryptedData": encrypted_data,
            "iv": iv,
            **_consent_parameters(consents),
        }
        return self._call("mini_program_user_info", parameters, results.sign_in_result_of)

    # --- Self-service, with the user's access token ------------------------------------------

    def user_check(self, access_token: str) -> Mapping[str, Any]:
        """Return CIAM's data about a valid access token.

        Raises ``invalid_token`` if the data say that the token is not active (RFC 7662, section
        2.2).
        """
        return self._call("user_check", {}, _active_token_data, access_token)

    def operate_check(self, access_token: str, operate_type: str) -> Mapping[str, Any]:
        """Check if the user may run ``UPDATE_PASSWORD``, ``UPDATE_PHONE``, ``UNSUBSCRIBE`` etc."""
        return self._call("operate_check", {"operateType": operate_type}, dict, access_token)

    def user_info(self, access_token: str) -> results.Profile:
        """Return the profile of the access token's user."""
        return self._call("user_info", {}, results.profile_of, access_token)

    def change_user_info(self, /, access_token: str, **changed: Any) -> None:
        """Change the user's data at CIAM."""
        self._call("change_user_info", {**changed}, dict, access_token)

    def login_history(self, access_token: str) -> Sequence[Mapping[str, Any]]:
        """Return the user's latest sign-ins."""
        return self._call("login_history", {}, results.rows_of, access_token)

    def agreements(self, access_token: str) -> Sequence[Mapping[str, Any]]:
        """Return the agreements that the user has accepted."""
        return self._call("agreements", {}, results.rows_of, access_token)

    def recall_agreement(self, access_token: str, uuid: str) -> None:
        """Withdraw the user's consent to an agreement."""
        self._call("recall_agreement", {"uuid": uuid}, dict, access_token)

    def user_logout(self, access_token: str) -> None:
        """End the user's session at CIAM."""
        self._call("user_logout", {}, dict, access_token)

    def change_password(self, /, access_token: str, **passwords: str) -> None:
        """Set a new password (unverified: see ``endpoints.py``)."""
        self._call("change_password", {**passwords}, dict, access_token)

    def change_phone(self, access_token: str, flow_id: str, code: str) -> None:
        """Set a new phone number (unverified)."""
        self._call("change_phone", {"fId": flow_id, "code": code}, dict, access_token)

    def change_email(self, access_token: str, flow_id: str, code: str) -> None:
        """Set a new email address (unverified)."""
        self._call("change_email", {"fId": flow_id, "code": code}, dict, access_token)

    def close_account(self, access_token: str) -> None:
        """Close the account permanently (unverified)."""
        self._call("close_account", {}, dict, access_token)

    # --- User management, with the application's token ---------------------------------------

    def find_user(self, user_id: str) -> results.Profile:
        """Return the user with an id; an unknown id raises ``Operation.Failure.User.Not.Exist``."""
        return self._call("find_user", {"userUuid": user_id}, results.profile_of)

    def create_user(self, /, **profile: Any) -> results.Profile:
        """Create a user and return the profile."""
        return self._call("create_user", {**profile}, results.profile_of)

    def enable_user(self, user_id: str) -> None:
        """Allow a disabled user to sign in again."""
        self._call("enable_user", {"userUuid": user_id}, dict)

    def disable_user(self, user_id: str) -> None:
        """Prevent a user from signing in."""
        self._call("disable_user", {"userUuid": user_id}, dict)

    def unlock_user(self, user_id: str) -> None:
        """Unlock a user whose sign-ins have failed too often."""
        self._call("unlock_user", {"userUuid": user_id}, dict)

    # --- Requests ----------------------------------------------------------------------------

    @async_unsafe(ASYNC_MESSAGE)
    def _call(
        self,
        name: str,
        parameters: Mapping[str, Any],
        parse: Callable[[dict[str, Any]], T],
        access_token: str = "",
    ) -> T:
        endpoint = endpoint_of(name)
        try:
            if endpoint.credential is Credential.USER:
                return parse(self._send_request(name, endpoint, access_token, parameters))
            return parse(self._call_with_application_token(name, endpoint, parameters))
        except CiamError as error:
            error.stage = error.stage or endpoint.stage
            if error.code in _FAILED_CONNECTION_CODES and error.upstream_status is None:
                name_setting(error, "api_base_url", self.app.api_base_url)
            raise

    def _call_with_application_token(
        self, name: str, endpoint: Endpoint, parameters: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Call with the cached application token; if CIAM rejects it, call with a newer token.

        Raises ``bad_configuration`` if CIAM rejects the newer token, too, or if there is no newer
        token.
        """
        cached = self._cached_application_token(endpoint.credential)
        token = self.app.fresh_copy(cached.name) or cached.get_copy()
        try:
            return self._send_request(name, endpoint, token.content, parameters)
        except CiamError as error:
            if error.code.casefold() not in REFUSED_TOKEN_CODES:
                raise
            newer = cached.get_newer_copy(token)
            if newer is token:
                raise misconfiguration(error) from error
        try:
            return self._send_request(name, endpoint, newer.content, parameters)
        except CiamError as error:
            if error.code.casefold() not in REFUSED_TOKEN_CODES:
                raise
            raise misconfiguration(error) from error

    def _cached_application_token(self, scope: Credential) -> CachedDocument[str]:
        name = f"{self.app.api_base_url} {self.app.client_id} {scope}"
        return self.app.cached_document(
            name, EndpointGroup.TOKEN, lambda: self._fetch_application_token(scope), str
        )

    def _fetch_application_token(self, scope: Credential) -> FetchedDocument:
        """Request an application token, and return the token for the cache.

        Raises ``bad_configuration`` if CIAM rejects the client.
        """
        name = "application_token"
        endpoint = endpoint_of(name)
        parameters = {
            "client_id": self.app.client_id,
            **self.app.credentials(self._url_of(endpoint)),
            "grant_type": "client_credentials",
            "scope": scope,
        }
        try:
            data = self._send_request(name, endpoint, "", parameters)
        except CiamError as error:
            if error.code not in _REFUSED_APPLICATION_CODES:
                raise
            raise misconfiguration(error) from error
        token = results.signed_in_of(data)
        usable_for = token.expires_in - _UNUSED_BEFORE_EXPIRY
        return FetchedDocument(
            token.access_token,
            fresh_for=max(usable_for - _REFRESH_BEFORE_EXPIRY, usable_for // 2),
            good_for=usable_for,
        )

    def _url_of(self, endpoint: Endpoint) -> str:
        return urljoin(self.app.api_base_url or "", PREFIX + endpoint.path)

    # ``_call`` sets the stage of the endpoint.
    @raising_ciam_errors("")
    def _send_request(
        self, name: str, endpoint: Endpoint, access_token: str, parameters: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Send the request, and return the data of the response.

        Raises the ``CiamError`` of a failure, and ``bad_configuration`` without ``api_base_url``.
        """
        if not self.app.api_base_url:
            raise CiamError("bad_configuration", upstream_text=own_text("there is no api_base_url"))
        in_query = endpoint.method == "GET"
        members = {endpoint.parameters.get(name, name): value for name, value in parameters.items()}
        headers = {"Authorization": f"Bearer {access_token}"} if access_token else {}
        url = self._url_of(endpoint)
        with self.app.new_http_session() as session:
            session.endpoint = name
            session.group = endpoint.group or GROUPS[endpoint.credential]
            response = session.request(
                endpoint.method,
                url,
                withhold_token=True,
                headers=headers,
                params=members if in_query else None,
                json=None if in_query else members,
            )
        return data_of(response)


@asking_directly
def request_application_token(app: CiamApp) -> int:
    """Request a new application token without the cache, and return the seconds of its lifetime.

    Raises ``bad_configuration`` if CIAM refuses the client, or the error of the call.
    """
    client = CiamClient(app)
    try:
        return client._fetch_application_token(Credential.APPLICATION).good_for
    except CiamError as error:
        if error.code in _FAILED_CONNECTION_CODES and error.upstream_status is None:
            name_setting(error, "api_base_url", str(app.api_base_url))
        raise


def _consent_parameters(consents: Sequence[str]) -> dict[str, Any]:
    return {"consents": list(consents)} if consents else {}


def _active_token_data(data: dict[str, Any]) -> dict[str, Any]:
    """Return the data of an active token; raise ``invalid_token`` for any other token."""
    if str(data.get("active", True)).casefold() not in ("true", "1", "none"):
        raise CiamError(
            "invalid_token", upstream_text=own_text("CIAM says that the token is not active")
        )
    return data
