"""``Accounts``: the accounts, codes and flows of a fake CIAM, with the checks of a real one."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from ciam_django.testing.failures import RefusedError

# What opens every account, and what every text message says.
PASSWORD: Final = "fake-password"  # noqa: S105  (it opens nothing but the fake)
CODE: Final = "246810"
CAPTCHA_TEXT: Final = "fake"

# A name that begins like this has an account of this kind, and any other a good one.
STATES_BY_PREFIX: Final[Mapping[str, str]] = {
    "nobody": "Operation.Failure.User.Not.Exist",
    "locked": "Operation.Failure.User.Locked",
    "disabled": "Operation.Failure.User.Disabled",
    "archived": "Operation.Failure.User.Archived",
}
# And a name that begins like this has steps to take after its password or code; the first two
# are of CIAM's documentation, and nobody knows the last one.
STEPS_BY_PREFIX: Final[Mapping[str, tuple[str, ...]]] = {
    "careful": ("NEED_TWO_FACTOR",),
    "stale": ("USER_UPDATE_PWD",),
    "hesitant": ("NEED_CONSENT",),
    "unfinished": ("NEED_COMPLETE",),
    "thorough": ("NEED_TWO_FACTOR", "NEED_CONSENT", "NEED_COMPLETE"),
    "odd": ("NEED_MAGIC",),
}
# At a social provider: nobody knows the account yet, and CIAM asks for one, or only says so.
SOCIAL_STEPS_BY_PREFIX: Final[Mapping[str, tuple[str, ...]]] = {"stranger": ("NEED_BIND",)}
UNLINKED_PREFIX: Final = "unlinked"
# The end of a mobile number -> what its account is like.
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
# A code of WeChat's that a developer types: this, and who it is of.
TYPED_CODE_PREFIX: Final = "fake:"

_SHORTEST_PASSWORD: Final = 8
_TRIES_BEFORE_CAPTCHA: Final = 3
_TRIES_BEFORE_LOCK: Final = 5
_TRIES_OF_A_CODE: Final = 5
# Seconds.
_CODE_LIFETIME: Final = 300
_FLOW_LIFETIME: Final = 600
_BETWEEN_SENDS: Final = 60
# Channel -> how CIAM names it in its codes.
_CHANNELS: Final[Mapping[str, str]] = {"SMS": "SMS", "EMAIL": "Email"}


@dataclass
class CiamFlow:
    """One sign-in, or sign-up, that goes on; ``steps`` are left to take."""

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
    """Everyone who signs in at the fake."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failed_attempts: Counter[str] = Counter()
        # The ids of the pictures that nobody has answered.
        self._captchas: set[str] = set()
        # Those that were changed.
        self._passwords: dict[str, str] = {}
        self._flows: dict[str, CiamFlow] = {}
        self._last_sends: dict[str, float] = {}
        self._social_codes: dict[str, str] = {}
        # Those whom the application has made, or asked about.
        self._usernames: dict[str, str] = {}
        # Set by the application: name -> the code that its sign-ins fail with.
        self._states: dict[str, str] = {}

    def check_state(self, username: str) -> None:
        """Refuse an account that is not a good one."""
        code = _value_by_prefix(username, STATES_BY_PREFIX, "")
        if self._failed_attempts[username] >= _TRIES_BEFORE_LOCK:
            code = "Operation.Failure.User.Locked"
        if code := self._states.get(username, code):
            raise RefusedError(code)

    def check_still_enabled(self, username: str) -> None:
        """Refuse who has been let in, and is no longer to be here."""
        if code := self._states.get(username):
            raise RefusedError(code)

    def record_account(self, username: str) -> None:
        """Have the application find the account by its id."""
        self._usernames[user_id_of(username)] = username

    def set_state(self, username: str, code: str) -> None:
        """Have all sign-ins of the account fail with a code; with none, forget what was wrong."""
        self._states[username] = code
        self._failed_attempts.pop(username, None)

    def create_account(self, username: str) -> None:
        """Make an account; a name is taken once."""
        if username in self._usernames.values():
            raise RefusedError("Params.Exist.User.Username")
        self._usernames[user_id_of(username)] = username

    def username_with_id(self, user_id: str) -> str:
        """The name of an account."""
        if user_id not in self._usernames:
            raise RefusedError("Operation.Failure.User.Not.Exist")
        return self._usernames[user_id]

    def issue_social_code(self, username: str) -> str:
        """The code with which a social provider sends somebody back."""
        code = secrets.token_urlsafe(16)
        self._social_codes[code] = username
        return code

    def username_of_social_code(self, code: object) -> str:
        """Whom a social provider's code is of, which stays good."""
        return self._social_codes.get(str(code), "")

    def spend_social_code(self, code: str) -> str:
        """Whom a social provider's code is of."""
        username = (
            code.removeprefix(TYPED_CODE_PREFIX) if code.startswith(TYPED_CODE_PREFIX) else ""
        )
        username = username or self._social_codes.pop(code, "")
        if not username:
            raise RefusedError("Operation.Failure.Social.Code.Expired")
        return username

    def issue_captcha(self) -> str:
        """Return the new id of a picture, which always shows ``CAPTCHA_TEXT``."""
        captcha = secrets.token_hex(8)
        self._captchas.add(captcha)
        return captcha

    def check_password(self, username: str, password: str, parameters: Mapping[str, Any]) -> None:
        """Refuse a wrong password, and after some wrong ones a right one without a captcha."""
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
        """Set a new password, if it is good enough."""
        if not password:
            raise RefusedError("Params.Blank.User.Password")
        if password == self._passwords.get(username, PASSWORD):
            raise RefusedError("Params.Illegal.User.Password.Same.Old")
        has_both = any(map(str.isdigit, password)) and any(map(str.isalpha, password))
        if len(password) < _SHORTEST_PASSWORD or not has_both:
            raise RefusedError("Params.Illegal.User.Password.Policy")
        self._passwords[username] = password
        self._failed_attempts.pop(username, None)

    def spend_captcha(self, parameters: Mapping[str, Any]) -> None:
        """Refuse what is not the text of a picture; each picture is good for one attempt."""
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
        """A flow of a sign-in that may go on."""
        flow = CiamFlow(username, list(_value_by_prefix(username, steps, ())))
        self._flows[flow.id] = flow
        return flow

    def send_code(self, flow: CiamFlow, channel: str, recipient: str) -> None:
        """Send the flow's code, once a minute to each receiver."""
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
        """The flow with an id, for ten minutes."""
        if not flow_id:
            raise RefusedError("Params.Blank.FId")
        flow = self._flows.get(str(flow_id))
        if flow is None or time.monotonic() - flow.started_at > _FLOW_LIFETIME:
            raise RefusedError("Operation.Failure.FId.Not.Found")
        return flow

    def spend_code(self, flow: CiamFlow, code: object) -> None:
        """Spend the flow's code."""
        if not code:
            raise RefusedError("Params.Blank.Code")
        name = _channel_name(flow.channel)
        with self._lock:
            if not flow.code or time.monotonic() - flow.sent_at > _CODE_LIFETIME:
                raise RefusedError(f"Operation.Failure.{name}.Code.Not.Find")
            if flow.tries >= _TRIES_OF_A_CODE:
                raise RefusedError(f"Operation.Failure.{name}.Code.Too.Frequency")
            if code != flow.code:
                flow.tries += 1
                raise RefusedError(f"Operation.Failure.{name}.Code.Error")
            flow.code = ""

    def end_flow(self, flow: CiamFlow) -> None:
        """A flow that has come to its end can't go on."""
        self._flows.pop(flow.id, None)


def username_of_identifier(identifier: str) -> str:
    """Whose account a number, an address or a name is: a number has a name of its own."""
    digits = identifier.removeprefix("+").replace(" ", "")
    if not digits.isdigit():
        return identifier
    return f"{PREFIXES_BY_NUMBER.get(digits[-4:], '')}{digits.removeprefix('86')}"


T = TypeVar("T")


def _value_by_prefix(username: str, kinds: Mapping[str, T], otherwise: T) -> T:
    return next((it for start, it in kinds.items() if username.startswith(start)), otherwise)


def user_id_of(username: str) -> str:
    """The same id for the same name, as CIAM's is."""
    return hashlib.sha256(f"user {username}".encode()).hexdigest()[:24]


def _channel_name(channel: str) -> str:
    if channel not in _CHANNELS:
        raise RefusedError("Params.Illegal.Type" if channel else "Params.Blank.Type")
    return _CHANNELS[channel]
