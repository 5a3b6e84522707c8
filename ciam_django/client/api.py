"""CIAM's API: each call returns a typed value or raises a ``CiamError``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import urljoin

from cryptography.fernet import InvalidToken

from ciam_django.client import results
from ciam_django.client.cached_documents import CachedDocument, FetchedDocument
from ciam_django.client.crypto import fernet_for
from ciam_django.client.endpoints import PREFIX, Credential, Endpoint, endpoint_of
from ciam_django.client.envelope import data_of
from ciam_django.client.oauth import CiamApp, ciam_app
from ciam_django.errors import CiamError, raising_ciam_errors
from ciam_django.privacy import clear_frames_on_error

T = TypeVar("T")

# The codes by which CIAM refuses a token that it gave.
REFUSED_TOKEN_CODES: Final = frozenset(
    {
        "invalid_token",
        "server.access.denied.token.expire",
        "operation.failure.invalid.accesstoken",
    }
)
# Those by which it gives the application none, and which elsewhere tell a person to sign in.
_REFUSED_APPLICATION_CODES: Final = frozenset({"invalid_grant", "invalid_token", "access_denied"})
# Seconds before its end from which a token is renewed, and from which it is used no more.
_REFRESH_BEFORE_EXPIRY: Final = 600
_UNUSED_BEFORE_EXPIRY: Final = 30
# The key of the cached application token depends on this text.
_PURPOSE: Final = "ciam_django.client.api"


def _clear_method_frames(client: type[T]) -> type[T]:
    """Decorate the public methods of the class, whose arguments are secret in error reports."""
    for name, method in list(vars(client).items()):
        if inspect.isfunction(method) and not name.startswith("_"):
            setattr(client, name, clear_frames_on_error(method))
    return client


@_clear_method_frames
class CiamClient:
    """The API at ``api_base_url`` of ``AUTHLIB_OAUTH_CLIENTS["ciam"]``.

    The names in its parameters are those that CIAM uses. Every call may raise a ``CiamError``,
    of the stage that ``endpoints.py`` gives; a sign-in that goes on is a ``Step``, not an error.
    """

    def __init__(self, app: CiamApp | None = None) -> None:
        self.app = app or ciam_app()

    # --- Signing in, for which the application vouches ------------------------------------

    def login_page(self) -> results.LoginPage:
        """How the tenant has set up signing in."""
        return self._call("login_page", {"idaasAppId": self.app.client_id}, results.login_page_of)

    def auth_sources(self) -> tuple[results.AuthSource, ...]:
        """The social accounts and other sources that people can sign in with."""
        return self._call(
            "auth_sources", {"idaasAppId": self.app.client_id}, results.auth_sources_of
        )

    def adapter_info(self, auth_source: str) -> Mapping[str, Any]:
        """What CIAM knows of one source."""
        return self._call("adapter_info", {"enterpriseAuthId": auth_source}, dict)

    def consents(self) -> tuple[results.Consent, ...]:
        """The terms that people agree to."""
        return self._call("consents", {"idaasAppId": self.app.client_id}, results.consents_of)

    def captcha(self) -> results.Captcha:
        """A new picture; what it shows goes with the next call, as ``more``."""
        return self._call("captcha", {}, results.captcha_of)

    def password_login(
        self, username: str, password: str, **more: Any
    ) -> results.SignedIn | results.NextStep:
        """Sign in by password; ``more`` is a captcha (``captchaCode``, ``captchaText``), say, or
        the ids of ``consents``.
        """
        return self._call(
            "password_login",
            {"username": username, "password": password, **more},
            results.sign_in_result_of,
        )

    def obtain_code(self, channel: str, **recipient: Any) -> str:
        """Send a code; returns the flow's id.

        ``SMS`` with ``phoneRegion`` and ``phoneNumber``, ``EMAIL`` with ``email``; beside them a
        captcha and ``consents``, where CIAM wants them.
        """
        return self._call("obtain_code", {"type": channel, **recipient}, results.flow_id_of)

    def verify_code(
        self, flow_id: str, code: str, **receiver: str
    ) -> results.SignedIn | results.NextStep:
        """Sign in by the code; ``receiver`` is what it was sent to, with ``type``."""
        return self._call(
            "verify_code", {"fId": flow_id, "code": code, **receiver}, results.sign_in_result_of
        )

    def social_login(self, auth_source: str, code: str) -> results.SignedIn | results.NextStep:
        """Sign in by the code of a social provider."""
        return self._call(
            "social_login",
            {"enterpriseAuthId": auth_source, "code": code},
            results.sign_in_result_of,
        )

    def prepare_second_factor(self, flow_id: str, channel: str) -> str:
        """Have a code sent for the second step; returns the flow's id."""
        asked = {"fId": flow_id, "type": channel}
        return self._call(
            "prepare_second_factor", asked, lambda data: results.flow_id_of(asked | data)
        )

    def verify_second_factor(
        self,
        flow_id: str,
        channel: str,
        **proof: str,
    ) -> results.SignedIn | results.NextStep:
        """Take the second step: ``SMS`` or ``EMAIL`` with ``code``, ``PWD`` with ``password``."""
        return self._call(
            "verify_second_factor",
            {"fId": flow_id, "type": channel, **proof},
            results.sign_in_result_of,
        )

    def register_obtain_code(self, channel: str, **receiver: Any) -> str:
        """Send a code to somebody who signs up; returns the flow's id."""
        return self._call("register_obtain_code", {"type": channel, **receiver}, results.flow_id_of)

    def register_submit(self, flow_id: str, **person: Any) -> results.SignedIn | results.NextStep:
        """Sign up."""
        return self._call("register_submit", {"fId": flow_id, **person}, results.sign_in_result_of)

    # --- Steps of a sign-in that goes on, and other ways in (unverified: see endpoints.py) --

    def set_new_password(self, flow_id: str, password: str) -> results.SignedIn | results.NextStep:
        """Go on with a new password, where the old one is no longer good enough."""
        return self._call(
            "set_new_password", {"fId": flow_id, "password": password}, results.sign_in_result_of
        )

    def give_consent(
        self, flow_id: str, consents: Sequence[str]
    ) -> results.SignedIn | results.NextStep:
        """Go on with the ids of what the person has agreed to."""
        return self._call(
            "give_consent", {"fId": flow_id, "consents": list(consents)}, results.sign_in_result_of
        )

    def complete_profile(self, flow_id: str, **profile: Any) -> results.SignedIn | results.NextStep:
        """Go on with what CIAM wants to know of the person; with ``ignore=True``, without it."""
        return self._call(
            "complete_profile", {"fId": flow_id, **profile}, results.sign_in_result_of
        )

    def link_obtain_code(self, flow_id: str, channel: str, **receiver: str) -> str:
        """Send a code to whose account a social account shall be linked to; the flow's id."""
        asked = {"fId": flow_id, "type": channel, **receiver}
        return self._call("link_obtain_code", asked, lambda data: results.flow_id_of(asked | data))

    def link_account(
        self, flow_id: str, code: str, **receiver: str
    ) -> results.SignedIn | results.NextStep:
        """Link the social account to that account, by the code."""
        return self._call(
            "link_account", {"fId": flow_id, "code": code, **receiver}, results.sign_in_result_of
        )

    def create_linked(self, flow_id: str) -> results.SignedIn | results.NextStep:
        """Make a new account for the social account."""
        return self._call("create_linked", {"fId": flow_id}, results.sign_in_result_of)

    def recover_obtain_code(self, channel: str, **receiver: str) -> str:
        """Send a code to somebody who has lost their password; returns the flow's id."""
        return self._call("recover_obtain_code", {"type": channel, **receiver}, results.flow_id_of)

    def recover_submit(self, flow_id: str, code: str, password: str, **receiver: str) -> None:
        """Set a new password, by the code."""
        asked = {"fId": flow_id, "code": code, "password": password, **receiver}
        self._call("recover_submit", asked, dict)

    def mini_program_login(
        self, auth_source: str, login_code: str
    ) -> results.SignedIn | results.NextStep:
        """Sign in by the code of ``wx.login``, without asking anything."""
        asked = {"enterpriseAuthId": auth_source, "loginCode": login_code}
        return self._call("mini_program_login", asked, results.sign_in_result_of)

    def mini_program_phone(
        self, auth_source: str, login_code: str, **proof: str
    ) -> results.SignedIn | results.NextStep:
        """Sign in by the phone number that WeChat knows.

        ``proof`` is ``phoneNumberCode``, or ``phoneNumberEncryptedData`` and ``phoneNumberIv``.
        """
        asked = {"enterpriseAuthId": auth_source, "loginCode": login_code, **proof}
        return self._call("mini_program_phone", asked, results.sign_in_result_of)

    def mini_program_user_info(
        self, auth_source: str, login_code: str, encrypted_data: str, iv: str
    ) -> results.SignedIn | results.NextStep:
        """Sign in, and have CIAM take over what WeChat tells of the person."""
        asked = {
            "enterpriseAuthId": auth_source,
            "loginCode": login_code,
            "encryptedData": encrypted_data,
            "iv": iv,
        }
        return self._call("mini_program_user_info", asked, results.sign_in_result_of)

    # --- What a person does, with their own token ------------------------------------------

    def user_check(self, access_token: str) -> Mapping[str, Any]:
        """What CIAM says of a token that is good."""
        return self._call("user_check", {}, dict, access_token)

    def operate_check(self, access_token: str, operate_type: str) -> Mapping[str, Any]:
        """Whether the person may: ``UPDATE_PASSWORD``, ``UPDATE_PHONE``, ``UNSUBSCRIBE``, ..."""
        return self._call("operate_check", {"operateType": operate_type}, dict, access_token)

    def user_info(self, access_token: str) -> results.Profile:
        """The person whom the access token is of."""
        return self._call("user_info", {}, results.profile_of, access_token)

    def change_user_info(self, access_token: str, **changed: Any) -> None:
        """Change what CIAM knows of the person."""
        self._call("change_user_info", {**changed}, dict, access_token)

    def login_history(self, access_token: str) -> Sequence[Mapping[str, Any]]:
        """The person's latest sign-ins."""
        return self._call("login_history", {}, results.rows_of, access_token)

    def agreements(self, access_token: str) -> Sequence[Mapping[str, Any]]:
        """What the person has agreed to."""
        return self._call("agreements", {}, results.rows_of, access_token)

    def recall_agreement(self, access_token: str, uuid: str) -> None:
        """Take an agreement back."""
        self._call("recall_agreement", {"uuid": uuid}, dict, access_token)

    def user_logout(self, access_token: str) -> None:
        """End the person's session at CIAM."""
        self._call("user_logout", {}, dict, access_token)

    def change_password(self, access_token: str, **passwords: str) -> None:
        """Set a new password (unverified: see ``endpoints.py``)."""
        self._call("change_password", {**passwords}, dict, access_token)

    def change_phone(self, access_token: str, flow_id: str, code: str) -> None:
        """Set a new phone number (unverified)."""
        self._call("change_phone", {"fId": flow_id, "code": code}, dict, access_token)

    def change_email(self, access_token: str, flow_id: str, code: str) -> None:
        """Set a new email address (unverified)."""
        self._call("change_email", {"fId": flow_id, "code": code}, dict, access_token)

    def close_account(self, access_token: str) -> None:
        """Close the account for good (unverified)."""
        self._call("close_account", {}, dict, access_token)

    # --- What the application does to people ------------------------------------------------

    def find_user(self, user_id: str) -> results.Profile:
        """The person with an id; ``Operation.Failure.User.Not.Exist`` if there is none."""
        return self._call("find_user", {"userUuid": user_id}, results.profile_of)

    def create_user(self, **person: Any) -> results.Profile:
        """Make a person."""
        return self._call("create_user", {**person}, results.profile_of)

    def enable_user(self, user_id: str) -> None:
        """Let a disabled person sign in again."""
        self._call("enable_user", {"userUuid": user_id}, dict)

    def disable_user(self, user_id: str) -> None:
        """Keep a person from signing in."""
        self._call("disable_user", {"userUuid": user_id}, dict)

    def unlock_user(self, user_id: str) -> None:
        """Let a person sign in who has failed too often."""
        self._call("unlock_user", {"userUuid": user_id}, dict)

    # --- How -------------------------------------------------------------------------------

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
                return parse(self._send_request(endpoint, access_token, parameters))
            return parse(self._call_with_application_token(endpoint, parameters))
        except CiamError as error:
            error.stage = error.stage or endpoint.stage
            raise

    def _call_with_application_token(
        self, endpoint: Endpoint, parameters: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The call with the application's token; with a newer one where CIAM refuses the first."""
        cached = self._cached_application_token(endpoint.credential)
        token = cached.get_copy()
        try:
            return self._send_request(endpoint, token.content, parameters)
        except CiamError as error:
            if error.code.casefold() not in REFUSED_TOKEN_CODES:
                raise
            newer = cached.get_newer_copy(token)
            if newer is token:
                raise _misconfiguration(error) from error
        try:
            return self._send_request(endpoint, newer.content, parameters)
        except CiamError as error:
            if error.code.casefold() not in REFUSED_TOKEN_CODES:
                raise
            raise _misconfiguration(error) from error

    def _cached_application_token(self, scope: Credential) -> CachedDocument[str]:
        name = f"{self.app.api_base_url} {self.app.client_id} {scope}"
        return self.app.cached_document(
            name, lambda: self._fetch_application_token(scope), _decrypted_token
        )

    def _fetch_application_token(self, scope: Credential) -> FetchedDocument:
        asked = {
            "client_id": self.app.client_id,
            "client_secret": self.app.client_secret,
            "grant_type": "client_credentials",
            "scope": scope,
        }
        try:
            data = self._send_request(endpoint_of("application_token"), "", asked)
        except CiamError as error:
            if error.code not in _REFUSED_APPLICATION_CODES:
                raise
            raise _misconfiguration(error) from error
        token = results.signed_in_of(data)
        encrypted = fernet_for(_PURPOSE).encrypt(token.access_token.encode()).decode()
        usable_for = token.expires_in - _UNUSED_BEFORE_EXPIRY
        return FetchedDocument(
            encrypted,
            fresh_for=max(usable_for - _REFRESH_BEFORE_EXPIRY, usable_for // 2),
            good_for=usable_for,
        )

    # The stage is that of the call which needs the request.
    @raising_ciam_errors("")
    def _send_request(
        self, endpoint: Endpoint, access_token: str, parameters: Mapping[str, Any]
    ) -> dict[str, Any]:
        if not self.app.api_base_url:
            raise CiamError("bad_configuration", upstream_text="there is no api_base_url")
        in_query = endpoint.method == "GET"
        members = {endpoint.parameters.get(name, name): it for name, it in parameters.items()}
        headers = {"Authorization": f"Bearer {access_token}"} if access_token else {}
        with self.app.new_http_session() as session:
            return data_of(
                session.request(
                    endpoint.method,
                    urljoin(self.app.api_base_url, PREFIX + endpoint.path),
                    withhold_token=True,
                    headers=headers,
                    params=members if in_query else None,
                    json=None if in_query else members,
                )
            )


def _decrypted_token(sealed: str) -> str:
    try:
        return fernet_for(_PURPOSE).decrypt(sealed).decode()
    except InvalidToken as error:
        raise CiamError("bad_configuration", upstream_text="SECRET_KEY has changed") from error


def _misconfiguration(error: CiamError) -> CiamError:
    """The refusal of the application's token: no new sign-in of the person's would help."""
    return CiamError(
        "bad_configuration",
        type_code=error.code,
        upstream_text=error.upstream_text,
        request_id=error.request_id,
        upstream_status=error.upstream_status,
    )
