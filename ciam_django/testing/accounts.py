"""``Accounts`` holds the accounts, codes and flows of a fake CIAM and checks them as CIAM does."""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from ciam_django.testing.failures import RefusedError

# The password of every account, and the code in every text message.
PASSWORD: Final = "fake-password"  # noqa: S105  (it opens nothing but the fake)
CODE: Final = "246810"
CAPTCHA_TEXT: Final = "fake"

# Prefix of a user name -> the code that each sign-in of the account fails with. An account whose
# name has none of these prefixes can sign in.
STATES_BY_PREFIX: Final[Mapping[str, str]] = {
    "nobody": "Operation.Failure.User.Not.Exist",
    "locked": "Operation.Failure.User.Locked",
    "disabled": "Operation.Failure.User.Disabled",
    "archived": "Operation.Failure.User.Archived",
}
# Prefix of a user name -> the steps that follow the account's password or code. CIAM documents the
# first two steps. NEED_MAGIC is a step that no client knows.
STEPS_BY_PREFIX: Final[Mapping[str, tuple[str, ...]]] = {
    "careful": ("NEED_TWO_FACTOR",),
    "stale": ("USER_UPDATE_PWD",),
    "hesitant": ("NEED_CONSENT",),
    "unfinished": ("NEED_COMPLETE",),
    "thorough": ("NEED_TWO_FACTOR", "NEED_CONSENT", "NEED_COMPLETE"),
    "odd": ("NEED_MAGIC",),
}
# Prefixes of user names at a social provider. CIAM has no account for the user: with the first
# prefix, CIAM asks for an account; with the second prefix, CIAM only answers with an error.
SOCIAL_STEPS_BY_PREFIX: Final[Mapping[str, tuple[str, ...]]] = {"stranger": ("NEED_BIND",)}
UNLINKED_PREFIX: Final = "unlinked"
# Last four digits of a mobile number -> the prefix of the account's user name.
PREFIXES_BY_NUMBER: Final[Mapping[str, str]] = {
    "0001": "nobody",
    "0002": "locked",
    "0003": "disabled",
    "0004": "careful",
    "0005": "stale",
    "0006": "hesitant",
    "0007": "unfinished",
    "0008": "odd",
    "0009": "archived",
}
# A developer types this prefix and a user name in place of a code from WeChat.
TYPED_CODE_PREFIX: Final = "fake:"

_SHORTEST_PASSWORD: Final = 8
_TRIES_BEFORE_CAPTCHA: Final = 3
_TRIES_BEFORE_LOCK: Final = 5
_TRIES_OF_A_CODE: Final = 5
# Seconds.
_CODE_LIFETIME: Final = 300
_FLOW_LIFETIME: Final = 600
_BETWEEN_SENDS: Final = 60
# Channel -> the channel's name in CIAM's codes.
_CHANNELS: Final[Mapping[str, str]] = {"SMS": "SMS", "EMAIL": "Email"}


@dataclass
class CiamFlow:
    """A sign-in or a registration that has not ended; ``steps`` are the remaining steps."""

    username: str
    steps: list[str] = field(default_factory=list)
    channel: str = ""
    recipient: str = ""
    code: str = ""
    tries: int = 0
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    started_at: float = field(default_factory=time.monotonic)
    sent_at: float = field(default_factory=time.monotonic)


class Accounts:
    """The accounts of a fake CIAM, with their passwords, codes, CAPTCHAs and flows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failed_attempts: Counter[str] = Counter()
        # The ids of the CAPTCHAs that nobody has solved.
        self._captchas: set[str] = set()
        # User name -> the password, if the user has changed it.
        self._passwords: dict[str, str] = {}
        self._flows: dict[str, CiamFlow] = {}
        self._last_sends: dict[str, float] = {}
        self._social_codes: dict[str, str] = {}
        # Code -> the PKCE challenge and the nonce of the authorize URL.
        self._social_proofs: dict[str, tuple[str, str]] = {}
        # The user names whose name a provider has told.
        self._told_names: set[str] = set()
        # User id -> user name, of the accounts that the application has created or that have signed
        # in.
        self._usernames: dict[str, str] = {}
        # User name -> the code that the account's sign-ins fail with, set by the application.
        self._states: dict[str, str] = {}

    def check_state(self, username: str) -> None:
        """Raise ``RefusedError`` if the account cannot sign in, for example a locked account."""
        code = _value_by_prefix(username, STATES_BY_PREFIX, "")
        if self._failed_attempts[username] >= _TRIES_BEFORE_LOCK:
            code = "Operation.Failure.User.Locked"
        if code := self._states.get(username, code):
            raise RefusedError(code)

    def check_still_enabled(self, username: str) -> None:
        """Raise ``RefusedError`` if the application has disabled the account after the sign-in."""
        if code := self._states.get(username):
            raise RefusedError(code)

    def record_account(self, username: str) -> None:
        """Record the account, so that the application can find the account by its id."""
        self._usernames[user_id_of(username)] = username

    def set_state(self, username: str, code: str) -> None:
        """Make all sign-ins of the account fail with a code; an empty code lets them succeed."""
        self._states[username] = code
        self._failed_attempts.pop(username, None)

    def create_account(self, username: str) -> None:
        """Create an account; raise ``RefusedError`` if the user name is taken."""
        if username in self._usernames.values():
            raise RefusedError("Params.Exist.User.Username")
        self._usernames[user_id_of(username)] = username

    def username_with_id(self, user_id: str) -> str:
        """Return the user name of an account; raise ``RefusedError`` if the id is unknown."""
        if user_id not in self._usernames:
            raise RefusedError("Operation.Failure.User.Not.Exist")
        return self._usernames[user_id]

    def issue_social_code(self, username: str, *, challenge: str = "", nonce: str = "") -> str:
        """Return a new code, with which a social provider sends the user back to the client.

        ``challenge`` and ``nonce`` are the PKCE challenge and the nonce of the authorize URL.
        """
        code = secrets.token_urlsafe(16)
        self._social_codes[code] = username
        self._social_proofs[code] = challenge, nonce
        return code

    def tell_name_once(self, username: str) -> dict[str, str]:
        """Return the ``user`` that Apple posts at the first sign-in of a user, and later nothing.

        The last name is the user name, and the first name is ``Apple``.
        """
        if username in self._told_names:
            return {}
        self._told_names.add(username)
        name = {"firstName": "Apple", "lastName": username}
        return {"user": json.dumps({"name": name, "email": f"{username}@example.com"})}

    def check_social_proofs(self, code: str, challenge: str, nonce: str) -> None:
        """Raise ``RefusedError`` if the challenge or the nonce is not that of the authorize URL."""
        if self._social_proofs.get(code, ("", "")) != (challenge, nonce):
            raise RefusedError("Operation.Failure.Social.Code.Expired")

    def username_of_social_code(self, code: object) -> str:
        """Return the user name of a social provider's code, or an empty text.

        The code stays valid.
        """
        return self._social_codes.get(str(code), "")

    def spend_social_code(self, code: str) -> str:
        """Spend a social provider's code and return its user name.

        Raise ``RefusedError`` if the code is unknown.
        """
        username = (
            code.removeprefix(TYPED_CODE_PREFIX) if code.startswith(TYPED_CODE_PREFIX) else ""
        )
        username = username or self._social_codes.pop(code, "")
        if not username:
            raise RefusedError("Operation.Failure.Social.Code.Expired")
        return username

    def issue_captcha(self) -> str:
        """Return the id of a new CAPTCHA, whose image always shows ``CAPTCHA_TEXT``."""
        captcha = secrets.token_hex(8)
        self._captchas.add(captcha)
        return captcha

    def check_password(self, username: str, password: str, parameters: Mapping[str, Any]) -> None:
        """Raise ``RefusedError`` if the password is wrong.

        After three wrong passwords, the correct password also needs a CAPTCHA.
        """
        with self._lock:
            if self._failed_attempts[username] >= _TRIES_BEFORE_CAPTCHA:
                self.spend_captcha(parameters)
            self.check_state(username)
            if password != self._passwords.get(username, PASSWORD):
                self._failed_attempts[username] += 1
                is_locked = self._failed_attempts[username] >= _TRIES_BEFORE_LOCK
                raise RefusedError(
                    "Operation.Failure.User.Locked.And.Password.Error"
                    if is_locked
                    else "Operation.Failure.Username.Or.Password.Error"
                )
            self._failed_attempts.pop(username, None)

    def set_password(self, username: str, password: str) -> None:
        """Set a new password; raise ``RefusedError`` if the password breaks the policy."""
        self.check_new_password(username, password)
        self._passwords[username] = password
        self._failed_attempts.pop(username, None)

    def check_new_password(self, username: str, password: str) -> None:
        """Raise ``RefusedError`` if the password is blank, breaks the policy or is not new."""
        if not password:
            raise RefusedError("Params.Blank.User.Password")
        if password == self._passwords.get(username, PASSWORD):
            raise RefusedError("Params.Illegal.User.Password.Same.Old")
        has_both = any(map(str.isdigit, password)) and any(map(str.isalpha, password))
        if len(password) < _SHORTEST_PASSWORD or not has_both:
            raise RefusedError("Params.Illegal.User.Password.Policy")

    def spend_captcha(self, parameters: Mapping[str, Any]) -> None:
        """Spend a CAPTCHA, valid for one attempt; raise ``RefusedError`` for a wrong text."""
        captcha = str(parameters.get("captchaCode", ""))
        if not captcha:
            raise RefusedError("Params.Blank.CaptchaCode")
        if captcha not in self._captchas:
            raise RefusedError("Operation.Failure.Captcha.Invalid")
        self._captchas.discard(captcha)
        if str(parameters.get("captchaText", "")).casefold() != CAPTCHA_TEXT:
            raise RefusedError("Operation.Failure.Captcha.Error")

    def start_flow(
        self, username: str, steps: Mapping[str, tuple[str, ...]] = STEPS_BY_PREFIX
    ) -> CiamFlow:
        """Return a new flow, with the steps that the prefix of the user name selects."""
        flow = CiamFlow(username, list(_value_by_prefix(username, steps, ())))
        self._flows[flow.id] = flow
        return flow

    def send_code(self, flow: CiamFlow, channel: str, recipient: str) -> None:
        """Send the flow's code; each recipient can get a code once a minute."""
        name = _channel_name(channel)
        with self._lock:
            now = time.monotonic()
            last = self._last_sends.get(recipient)
            if last is not None and now - last < _BETWEEN_SENDS:
                raise RefusedError(f"Operation.Failure.Send.{name}.Too.Frequency")
            self._last_sends[recipient] = now
            flow.channel, flow.recipient, flow.code, flow.sent_at = channel, recipient, CODE, now
            flow.tries = 0

    def flow_with_id(self, flow_id: object) -> CiamFlow:
        """Return the flow with an id; raise ``RefusedError`` ten minutes after its start."""
        if not flow_id:
            raise RefusedError("Params.Blank.FId")
        flow = self._flows.get(str(flow_id))
        if flow is None or time.monotonic() - flow.started_at > _FLOW_LIFETIME:
            raise RefusedError("Operation.Failure.FId.Not.Found")
        return flow

    def spend_code(self, flow: CiamFlow, code: object) -> None:
        """Spend the flow's code; raise ``RefusedError`` if the code is wrong or too old."""
        with self._lock:
            _check_code(flow, code)
            flow.code = ""

    def check_code(self, flow: CiamFlow, code: object) -> None:
        """Raise ``RefusedError`` if the code is wrong or too old; a correct code stays valid."""
        with self._lock:
            _check_code(flow, code)

    def end_flow(self, flow: CiamFlow) -> None:
        """Delete a flow, so that no later step can use it."""
        self._flows.pop(flow.id, None)


def _check_code(flow: CiamFlow, code: object) -> None:
    if not code:
        raise RefusedError("Params.Blank.Code")
    name = _channel_name(flow.channel)
    if not flow.code or time.monotonic() - flow.sent_at > _CODE_LIFETIME:
        raise RefusedError(f"Operation.Failure.{name}.Code.Not.Find")
    if flow.tries >= _TRIES_OF_A_CODE:
        raise RefusedError(f"Operation.Failure.{name}.Code.Too.Frequency")
    if code != flow.code:
        flow.tries += 1
        raise RefusedError(f"Operation.Failure.{name}.Code.Error")


def username_of_identifier(identifier: str) -> str:
    """Return the user name for a mobile number, an email address or a user name.

    The user name for a number is the number without +86, after the prefix that its last four digits
    select.
    """
    digits = identifier.removeprefix("+").replace(" ", "")
    if not digits.isdigit():
        return identifier
    return f"{PREFIXES_BY_NUMBER.get(digits[-4:], '')}{digits.removeprefix('86')}"


T = TypeVar("T")


def _value_by_prefix(username: str, by_prefix: Mapping[str, T], default: T) -> T:
    return next(
        (value for prefix, value in by_prefix.items() if username.startswith(prefix)), default
    )


def user_id_of(username: str) -> str:
    """Return the id of a user name. As at CIAM, a user name always has the same id."""
    return hashlib.sha256(f"user {username}".encode()).hexdigest()[:24]


def _channel_name(channel: str) -> str:
    if channel not in _CHANNELS:
        raise RefusedError("Params.Illegal.Type" if channel else "Params.Blank.Type")
    return _CHANNELS[channel]
