"""People who sign in, try again after a failure, and look who they are."""

from __future__ import annotations

import collections
import http.client
import json
import random
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import user_id_of
from tests.servers import SiteBrowser, SiteResponse
from tests.soak.deployment import Deployment

# The number of attempts, and the seconds before another attempt.
ATTEMPTS: Final = 60
_PAUSE: Final = 0.5
_SUCCESS: Final = "/person/"
_FAILURES: Final = (OSError, http.client.HTTPException, RuntimeError)


class _Browser(SiteBrowser):
    """A browser with an address of its own."""

    address = ""

    def open(self, url: str, form: object = None, **more_headers: str) -> SiteResponse:
        headers = {**more_headers, "X-Visitor": self.address}
        return super().open(url, form, **headers)  # type: ignore[arg-type]  # as the caller


@dataclass
class Person:
    """A person who was told that the sign-in has succeeded."""

    name: str
    browser: SiteBrowser
    lock: threading.Lock = field(default_factory=threading.Lock)


class Visitors:
    """All people of a soak, with the counts of what happened to them."""

    def __init__(self, deployment: Deployment) -> None:
        self._place = deployment.folder / "nginx"
        self._context = deployment.context
        # Only as a client: the process of the deployment runs the server.
        self._ciam = FakeCiam()
        self._lock = threading.Lock()
        self._began_at = time.monotonic()
        self.people: list[Person] = []
        self.answers: collections.Counter[str] = collections.Counter()
        # Fault -> the names of the people with this fault.
        self.faults: dict[str, list[str]] = collections.defaultdict(list)
        # Status and code of a failure that needs an explanation -> the start of its page.
        self.samples: dict[str, str] = {}

    def sign_in_all(self, numbers: Iterable[int], concurrency: int) -> None:
        """Let a number of people sign in at the same time."""
        with ThreadPoolExecutor(concurrency) as pool:
            for _ in pool.map(self._visit, numbers):
                pass

    def check_tokens(self, concurrency: int) -> None:
        """Check that the session of each person has a token that CIAM accepts."""
        with ThreadPoolExecutor(concurrency) as pool:
            for _ in pool.map(self._check_token, self.people):
                pass

    def _visit(self, number: int) -> None:
        name = f"p{number}"
        browser = _Browser(self._place, self._context)
        browser.address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        for _ in range(ATTEMPTS):
            if self._sign_in(browser, name):
                break
            time.sleep(_PAUSE)
        else:
            self._add_fault("never signed in", name)
            return
        person = Person(name, browser)
        self._check_person(person)
        with self._lock:
            self.people.append(person)
            earlier = random.choice(self.people)
        self._check_token(earlier)

    def _sign_in(self, browser: SiteBrowser, name: str) -> bool:
        """Try to sign in; return True if the site says that the person is signed in."""
        try:
            start = browser.start_sign_in()
            self._count("authorize", start)
            if start.status != 302:
                return False
            callback = urlsplit(self._ciam.authorize(start.headers["Location"], username=name))
            end = browser.open(f"{callback.path}?{callback.query}")
        except _FAILURES as error:
            self._count("no answer", type(error).__name__)
            return False
        self._count("callback", end)
        while end.status == 200 and "Signing you in" in end.content:
            # nginx has sent the callback twice. The person presses "Continue".
            time.sleep(_PAUSE)
            end = browser.open(f"{callback.path}?{callback.query}")
            self._count("callback", end)
        if end.status == 302 and end.headers["Location"] == _SUCCESS:
            return True
        if end.status == 302:
            self._count("callback", end.headers["Location"])
        return False

    def _check_person(self, person: Person) -> None:
        subject = self._subject_at("/person/", person)
        if subject is not None and subject != user_id_of(person.name):
            self._add_fault("wrong person" if subject else "lost after success", person.name)

    def _check_token(self, person: Person) -> None:
        with person.lock:
            subject = self._subject_at("/token/", person)
        if subject is not None and subject != user_id_of(person.name):
            self._add_fault("token of another person" if subject else "token lost", person.name)

    def _subject_at(self, url: str, person: Person) -> str | None:
        """Return the subject that a page shows; empty if the session has ended.

        The page is opened again while a part of the deployment fails.
        """
        for _ in range(ATTEMPTS):
            try:
                response = person.browser.open(url, Accept="application/json")
            except _FAILURES as error:
                self._count("no answer", type(error).__name__)
            else:
                self._count(url, response)
                if response.status == 200:
                    return str(json.loads(response.content)["subject"])
                if response.status == 401:
                    self._add_sample(f"{url}: 401 at {self.seconds():.1f} s", response.content)
                    return ""
            time.sleep(_PAUSE)
        self._add_fault(f"never an answer at {url}", person.name)
        return None

    def _count(self, what: str, result: SiteResponse | str) -> None:
        if isinstance(result, str):
            key = f"{what}: {result}"
        else:
            code = result.headers.get("Ciam-Error-Code", "")
            key = f"{what}: {result.status} {code}".rstrip()
            # The middleware of sessions of Django answers before each of our views.
            if result.status == 500 and not code and what in ("authorize", "callback"):
                self._add_fault("bare 500", what)
            if result.status in (200, 400, 403, 500) and not code:
                self._add_sample(key, result.content)
        with self._lock:
            self.answers[key] += 1

    def _add_fault(self, fault: str, name: str) -> None:
        with self._lock:
            self.faults[fault].append(f"{name} at {self.seconds():.1f} s")

    def _add_sample(self, key: str, page: str) -> None:
        with self._lock:
            self.samples.setdefault(key, page)

    def seconds(self) -> float:
        """Return the seconds since the begin."""
        return time.monotonic() - self._began_at
