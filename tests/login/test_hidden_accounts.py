"""Compare whole exchanges: no step of a sign-in tells if an account exists, byte for byte."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.http import HttpResponse
from django.test import Client
from pytest_django.fixtures import Settings

from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import CAPTCHA_TEXT, CODE, PASSWORD, Accounts
from tests.browser import HTML

NUMBER, NEW_PASSWORD = "13800001234", "a-new-passw0rd"
NOT_EXIST = "Operation.Failure.User.Not.Exist"
LOCKED, DISABLED = "Operation.Failure.User.Locked", "Operation.Failure.User.Disabled"
TAKEN = "Params.Exist.User.Phone.Number"

# Account -> stage of the fake -> the code with which each request of the stage fails.
Failures = Mapping[str, str]
CLOSED_ACCOUNTS: Final[Mapping[str, Failures]] = {
    "missing": dict.fromkeys(("password", "send_code", "recover"), NOT_EXIST),
    "locked": dict.fromkeys(("password", "verify_code"), LOCKED),
    "locked, refused before a code": dict.fromkeys(("password", "send_code", "recover"), LOCKED),
    "disabled": dict.fromkeys(("password", "verify_code"), DISABLED),
    # The format of OAuth has no request id.
    "deleted": dict.fromkeys(("password", "send_code", "recover"), "user_deleted"),
}
OPEN_ACCOUNTS: Final[Mapping[str, Failures]] = {
    "existing": {},
    "existing, with an expired code": {"verify_code": "Operation.Failure.SMS.Code.Not.Find"},
    "existing, with an expired flow": {"verify_code": "Operation.Failure.FId.Not.Found"},
    "existing, with too many entries": {"verify_code": "Operation.Failure.SMS.Code.Too.Frequency"},
    "existing, locked by the wrong passwords": {
        "password": "Operation.Failure.User.Locked.And.Password.Error"
    },
}
SIGN_UPS: Final[Mapping[str, Failures]] = {
    "new": {},
    "taken, refused before a code": {"send_code": TAKEN},
    "taken, refused with the code": {"register": TAKEN},
    "locked, refused before a code": {"send_code": LOCKED},
    "new, with an expired code": {"register": "Operation.Failure.SMS.Code.Not.Find"},
}

# The random parts of an exchange. Each replacement keeps the form and the length of the part.
_RANDOM_PARTS: Final = {
    "encrypted": r"gAAAAA[\w=-]+",
    "local id": r"(?<=\blocal-)[0-9a-f]{16}\b",
    "CSRF token": r'(?<=csrfmiddlewaretoken" value=")\w+|(?<=csrftoken=)\w+',
    "flow id": r"(?<=/ciam/step/)[\w-]+(?=/)|(?<=ciam_flow_)[\w-]{16}",
    "form id": r'(?<=captcha/\?form=)[\w-]+|(?<=captcha_form" value=")[\w-]+',
    "date": r"(?<=expires=)[^;]+GMT|(?<=Expires: ).+GMT",
    # The seconds until a new code can be sent, which depend on the time of the test.
    "seconds": r"\b(?:60|5\d)\b",
}


def comparable(response: HttpResponse) -> tuple[object, ...]:
    """The status, headers, cookies and body, with the length of each random part in its place."""
    headers = "\n".join(f"{name}: {value}" for name, value in sorted(response.items()))
    # The length follows from the body, whose lengths are compared.
    headers = re.sub(r"Content-Length: \d+\n", "", headers)
    parts = [headers, response.cookies.output(), response.content.decode()]
    for kind, pattern in _RANDOM_PARTS.items():

        def length_of(match: re.Match[str], kind: str = kind) -> str:
            return f"<{kind} {len(match[0])}>"

        parts = [re.sub(pattern, length_of, part) for part in parts]
    return response.status_code, response.reason_phrase, len(response.content), *parts


class Door:
    """A way to send the steps of a sign-in; ``exchange`` has each comparable response."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.exchange: list[tuple[object, ...]] = []
        self.flow = ""

    def send(self, step: str, **fields: str) -> None:
        """Send the form of a step, and record the response."""
        raise NotImplementedError

    def record(self, response: Any) -> Any:
        self.exchange.append(comparable(response))
        return response


class Pages(Door):
    """The pages: the form of a step is posted to its page, and redirects are followed."""

    def send(self, step: str, **fields: str) -> None:
        first_pages = {"recover": "/ciam/recover/", "sign_up": "/ciam/sign-up/"}
        path = self.flow if step.endswith("code") else first_pages.get(step, "/ciam/login/")
        data = {"method": step, "consent": ["terms", "privacy"], **fields}
        response = self.record(self.client.post(path, data))
        if response.status_code == 302 and "/step/" in response["Location"]:
            self.flow = response["Location"]
            self.record(self.client.get(self.flow))


class Json(Door):
    """The JSON endpoints."""

    def send(self, step: str, **fields: str) -> None:
        data = {"consent": ["terms", "privacy"], "flow": self.flow, **fields}
        response = self.record(
            self.client.post(f"/ciam/api/{step}/", data, content_type="application/json")
        )
        self.flow = response.json().get("flow", self.flow)


DOORS: Final[Mapping[str, tuple[type[Door], str]]] = {
    "pages": (Pages, "session"),
    "JSON with a session": (Json, "session"),
    "JSON with tokens": (Json, "token"),
}


def a_wrong_password(door: Door) -> None:
    door.send("password", username=NUMBER, password="wrong")


def wrong_passwords(door: Door) -> None:
    # CIAM asks for a CAPTCHA after three wrong passwords of an account that exists.
    for _ in range(4):
        a_wrong_password(door)
    captcha = door.client.get("/ciam/api/captcha/").json()["captcha_id"]
    for text in ("wrong", CAPTCHA_TEXT):
        solved = {"captcha": text, "captcha_id": captcha}
        door.send("password", username=NUMBER, password="wrong", **solved)


def right_password(door: Door) -> None:
    door.send("password", username=NUMBER, password=PASSWORD)


def wrong_codes_of(first: str, second: str, field: str) -> Callable[[Door], None]:
    def scenario(door: Door) -> None:
        recipient = {field: "li@example.com" if first == "email" else NUMBER}
        door.send(first, **recipient)
        # The user presses Back, and sends the first form again.
        door.send(first, **recipient)
        for code in ("135790", "1", "135790", "135790", "135790", "135790"):
            door.send(second, code=code, password=NEW_PASSWORD)
        door.send(second, do="resend")

    return scenario


def code_of(first: str, second: str, field: str, code: str = CODE) -> Callable[[Door], None]:
    def scenario(door: Door) -> None:
        door.send(first, **{field: NUMBER})
        door.send(second, code=code, password=NEW_PASSWORD)

    return scenario


ALL_ACCOUNTS = {**OPEN_ACCOUNTS, **CLOSED_ACCOUNTS}
SENT_ANYWAY = [name for name, row in CLOSED_ACCOUNTS.items() if "recover" in row]
# Stage and input -> the scenario, and the accounts whose exchanges must be equal.
SCENARIOS: Final[Mapping[str, tuple[Callable[[Door], None], Mapping[str, Failures]]]] = {
    "password: wrong passwords": (wrong_passwords, ALL_ACCOUNTS),
    "password: the right password": (right_password, CLOSED_ACCOUNTS),
    "send_code and verify_code: SMS": (
        wrong_codes_of("sms", "code", "phone_number"),
        ALL_ACCOUNTS,
    ),
    "send_code and verify_code: email": (
        wrong_codes_of("email", "code", "email"),
        {name: ALL_ACCOUNTS[name] for name in ("existing", "missing", "locked", "disabled")},
    ),
    "verify_code: the right code": (
        code_of("sms", "code", "phone_number"),
        CLOSED_ACCOUNTS,
    ),
    "recover": (
        wrong_codes_of("recover", "recover_code", "receiver"),
        {"existing": {}, **{name: CLOSED_ACCOUNTS[name] for name in SENT_ANYWAY}},
    ),
    "recover: the right code": (
        code_of("recover", "recover_code", "receiver"),
        {name: CLOSED_ACCOUNTS[name] for name in SENT_ANYWAY},
    ),
    "register": (wrong_codes_of("sign_up", "sign_up_code", "receiver"), SIGN_UPS),
}


@pytest.fixture
def mode() -> str:
    return "ciam"


@pytest.fixture(autouse=True)
def all_methods(settings: Settings) -> None:
    settings.CIAM_LOGIN_METHODS = ["password", "sms", "email", "recover", "sign_up"]


CompareExchanges = Callable[[str, str, Callable[[Door], None], Mapping[str, Failures]], None]


@pytest.fixture
def compare_exchanges(ciam: FakeCiam, db: None, settings: Settings) -> CompareExchanges:
    """A function that checks that all accounts have the same exchange at a door."""
    user = get_user_model().objects.create_user(username="somebody-else")

    def exchange_of(
        door_class: type[Door], who: str, scenario: Callable[[Door], None], failures: Failures
    ) -> Sequence[tuple[object, ...]]:
        # The application token of the fake stays valid.
        ciam.accounts = Accounts()
        ciam._planned.clear()
        cache.clear()
        for stage, code in failures.items():
            ciam.fail(stage, code=code, times=None)
        client = Client(headers={"Accept": HTML})
        if who == "somebody else":
            client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        door = door_class(client)
        scenario(door)
        return door.exchange

    def compare(
        door: str, who: str, scenario: Callable[[Door], None], accounts: Mapping[str, Failures]
    ) -> None:
        door_class, settings.CIAM_API_SIGN_IN = DOORS[door]
        (first, failures), *others = accounts.items()
        expected = exchange_of(door_class, who, scenario, failures)
        assert len(others) >= 2
        for name, other_failures in others:
            exchange = exchange_of(door_class, who, scenario, other_failures)
            for number, (got, wanted) in enumerate(zip(exchange, expected, strict=True)):
                assert got == wanted, f"response {number} of {name!r} and of {first!r}"

    return compare


ONE_TRY: Final[Mapping[str, tuple[Callable[[Door], None], Mapping[str, Failures]]]] = {
    "password": (a_wrong_password, ALL_ACCOUNTS),
    "SMS": (code_of("sms", "code", "phone_number", "135790"), ALL_ACCOUNTS),
    "recover": (
        code_of("recover", "recover_code", "receiver", "135790"),
        {"existing": {}, **{name: CLOSED_ACCOUNTS[name] for name in SENT_ANYWAY}},
    ),
    "register": (code_of("sign_up", "sign_up_code", "receiver", "135790"), SIGN_UPS),
}
USUAL_ACCOUNTS = ("existing", "missing", "locked", "deleted", *SIGN_UPS)


@pytest.mark.parametrize(
    ("door", "who"), [("pages", "somebody else"), ("JSON with tokens", "an anonymous user")]
)
@pytest.mark.parametrize("case", ONE_TRY)
def test_the_answers_to_one_try_are_the_same_for_the_usual_accounts(
    case: str, door: str, who: str, compare_exchanges: CompareExchanges
) -> None:
    scenario, accounts = ONE_TRY[case]
    usual = {name: row for name, row in accounts.items() if name in USUAL_ACCOUNTS}

    compare_exchanges(door, who, scenario, usual)


@pytest.mark.slow("exchanges of all accounts")
@pytest.mark.parametrize("who", ["an anonymous user", "somebody else"])
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", SCENARIOS)
def test_the_exchange_is_the_same_for_each_account(
    case: str, door: str, who: str, compare_exchanges: CompareExchanges
) -> None:
    compare_exchanges(door, who, *SCENARIOS[case])
