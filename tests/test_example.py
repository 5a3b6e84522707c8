"""Tests of the example project, which runs as a process and is used over HTTP."""

from __future__ import annotations

import contextlib
import gettext
import html
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import pytest
import requests
from django.utils.translation import override
from example import tenant, tries

from ciam_django.codes import CODES
from ciam_django.kinds import Kind
from ciam_django.lookup import meaning_of
from ciam_django.testing import FakeCiam, accounts

pytestmark = pytest.mark.slow("the example project")

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PROJECT = Path(__file__).parents[1] / "example_project"
LOCKED = "Operation.Failure.User.Locked"


# --- A simple browser -------------------------------------------------------------------------


@dataclass
class Form:
    action: str
    inputs: dict[str, str] = field(default_factory=dict)
    # The names of the inputs that a user fills in.
    text_inputs: list[str] = field(default_factory=list)


class Page(HTMLParser):
    """The forms, links and words of a page."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__()
        self.url = str(response.url)
        self.status = response.status_code
        self.forms: list[Form] = []
        self.forms_by_id: dict[str, Form] = {}
        self.links: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.feed(response.text)
        self.words = " ".join(self.words.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.attributes += attrs
        if tag == "form":
            self.forms.append(Form(urljoin(self.url, attributes.get("action", ""))))
            self.forms_by_id[attributes.get("id", "")] = self.forms[-1]
        elif tag == "button" and "formaction" in attributes:
            # The button sends another form of the page to an address of its own.
            inputs = self.forms_by_id[attributes["form"]].inputs
            self.forms.append(Form(urljoin(self.url, attributes["formaction"]), inputs))
        elif tag == "a":
            self.links.append(urljoin(self.url, attributes.get("href", "")))
        elif tag in ("input", "button") and self.forms and "name" in attributes:
            self.forms[-1].inputs.setdefault(attributes["name"], attributes.get("value", ""))
            if attributes.get("type", "text") == "text" and tag == "input":
                self.forms[-1].text_inputs.append(attributes["name"])

    def handle_data(self, data: str) -> None:
        self.words += data

    def form_to(self, path: str) -> Form:
        return next(form for form in self.forms if path in form.action)


class Browser:
    def __init__(self, site: str, language: str = "en") -> None:
        self.site = site
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers.update({"Accept": "text/html", "Accept-Language": language})

    def open(self, path: str) -> Page:
        return Page(self.session.get(urljoin(self.site, path), timeout=60))

    def api(self, path: str) -> requests.Response:
        headers = {"Accept": "application/json"}
        return self.session.get(urljoin(self.site, path), headers=headers, timeout=60)

    def submit(self, form: Form, **inputs: str) -> Page:
        data = {**form.inputs, **inputs}
        return Page(self.session.post(form.action, data=data, timeout=60))

    def sign_in(self, user_name: str, path: str = "/ciam/login/") -> Page:
        # Below a form with a box for the terms, the button leads to a page with another box.
        question = self.submit(self.open(path).form_to("/ciam/authorize/"))
        at_ciam = self.submit(question.form_to("/ciam/authorize/"))
        assert not at_ciam.url.startswith(self.site)
        form = next(form for form in at_ciam.forms if form.text_inputs)
        return self.submit(form, **{form.text_inputs[0]: user_name})


# --- The running example ----------------------------------------------------------------------


@dataclass
class Example:
    process: subprocess.Popen[str]
    site: str
    log: Path

    def stop(self, number: int) -> tuple[int, str]:
        """Send a signal, and return the exit code and the whole output."""
        self.process.send_signal(number)
        output = self.process.communicate(timeout=60)[0]
        return self.process.returncode, output + self.log.read_text()


@contextlib.contextmanager
def running(directory: Path, *arguments: str, **variables: str) -> Iterator[Example]:
    log = directory / "log"
    prefixes = ("CIAM_", "DJANGO_")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(prefixes)
    }
    environment |= {"EXAMPLE_DATABASE": str(directory / "db.sqlite3"), **variables}
    command = [sys.executable, "-X", "utf8", str(PROJECT / "manage.py"), "example", *arguments]
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        ) as process,
    ):
        timer = threading.Timer(300, process.kill)
        timer.start()
        try:
            assert process.stdout
            site = next(
                (
                    match[1]
                    for line in process.stdout
                    if (match := re.search(r"(http://\S+/)", line))
                ),
                "",
            )
            assert site, log.read_text()
            yield Example(process, site, log)
        finally:
            timer.cancel()
            process.kill()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("example"), "--port", "0", "--fake-port", "0") as example:
        yield example.site


# --- Starting and stopping --------------------------------------------------------------------


def test_ctrl_c_stops_the_example_cleanly_if_its_ports_were_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with running(tmp_path, "--port", port, "--fake-port", port) as example:
            assert not example.site.endswith(f":{port}/")
            assert Browser(example.site).open("/").status == 200
            code, output = example.stop(signal.SIGINT)
    assert (code, "Traceback" in output) == (0, False)


def test_the_example_signs_in_with_ciams_own_oauth_and_stops_on_sigterm(tmp_path: Path) -> None:
    arguments = ["--port", "0", "--fake-port", "0", "--mode", "ciam"]
    with running(tmp_path, *arguments) as example:
        home = Browser(example.site).sign_in("Ada")
        assert (home.status, home.url) == (200, example.site)
        assert "You are signed in" in home.words
        assert f"code={LOCKED}" not in example.log.read_text()
        Browser(example.site).sign_in(f"fail:{LOCKED}")
        code, output = example.stop(signal.SIGTERM)
    assert (code, "Traceback" in output) == (0, False)
    assert f"code={LOCKED}" in output


def test_the_people_of_the_example_can_be_forgotten(tmp_path: Path) -> None:
    arguments = ["--port", "0", "--fake-port", "0"]
    with running(tmp_path, *arguments) as example:
        assert Browser(example.site).sign_in("Ada").status == 200
        example.stop(signal.SIGINT)

    def forget(*options: str) -> str:
        command = [sys.executable, str(PROJECT / "manage.py"), "ciam_rekey"]
        environment = {
            **{name: value for name, value in os.environ.items() if "DJANGO" not in name},
            "EXAMPLE_DATABASE": str(tmp_path / "db.sqlite3"),
        }
        return subprocess.run(
            [*command, "--forget-test-people", *options],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert "Users to delete: 1. Users to keep: 0." in forget()
    assert "Removed identities: 1. Deleted users: 1." in forget("--apply")
    assert "Identities to remove: 0." in forget("--apply")


def test_a_user_can_sign_in_again_in_the_second_mode(tmp_path: Path) -> None:
    for mode in ("oidc", "ciam"):
        arguments = ["--port", "0", "--fake-port", "0", "--mode", mode]
        with running(tmp_path, *arguments) as example:
            assert "You are signed in" in Browser(example.site).sign_in("Ada").words


def test_an_identity_is_linked_and_unlinked(site: str) -> None:
    browser = Browser(site)
    home = browser.sign_in("Grace")
    link_form = next(form for form in home.forms if "link" in form.inputs)
    at_ciam = browser.submit(link_form)
    form = next(form for form in at_ciam.forms if form.text_inputs)
    home = browser.submit(form, **{form.text_inputs[0]: "Grace-at-work"})
    assert home.words.count("Subject") == 2

    unlink_forms = [form for form in home.forms if "/ciam/unlink/" in form.action]
    home = browser.submit(unlink_forms[0])
    assert home.words.count("Subject") == 1
    refused = browser.submit(home.form_to("/ciam/unlink/"))
    assert refused.status == 409
    assert "This is your only way to sign in." in refused.words


# --- The tenant -------------------------------------------------------------------------------


def test_the_example_without_its_command_expects_the_fake_on_the_default_port() -> None:
    with FakeCiam() as fake:
        default_url = f"http://127.0.0.1:{tenant.FAKE_PORT}"
        expected = {
            name: value.replace(fake.url, default_url) for name, value in fake.client().items()
        }
    assert tenant.client() == expected


def test_the_example_signs_in_at_the_tenant_named_in_the_environment(tmp_path: Path) -> None:
    tenants = {
        "CIAM_CLIENT_ID": "app_1",
        "CIAM_CLIENT_SECRET": "secret",
        "CIAM_AUTHORIZE_URL": "https://ciam.example.com/oauth/authorize",
        "CIAM_ACCESS_TOKEN_URL": "https://ciam.example.com/oauth/token",
        "CIAM_API_BASE_URL": "https://ciam.example.com",
        "CIAM_CALLBACK_URL": "https://app.example.com/ciam/callback/",
    }
    with running(tmp_path, "--port", "0", **tenants) as example:
        browser = Browser(example.site)
        assert "real CIAM tenant" in browser.open("/").words
        form = browser.open("/ciam/login/").form_to("/ciam/authorize/")
        redirect = browser.session.post(form.action, form.inputs, timeout=60, allow_redirects=False)
    address = urlsplit(redirect.headers["Location"])
    query = dict(parse_qsl(address.query))
    assert f"{address.scheme}://{address.netloc}{address.path}" == tenants["CIAM_AUTHORIZE_URL"]
    assert query["client_id"] == "app_1"
    assert query["redirect_uri"] == tenants["CIAM_CALLBACK_URL"]


# --- Signing in -------------------------------------------------------------------------------


def test_a_user_signs_in_and_out(site: str) -> None:
    browser = Browser(site)
    assert "You are not signed in" in browser.open("/").words
    home = browser.sign_in("Ada")
    assert (home.status, home.url) == (200, site)
    assert "You are signed in" in home.words
    me = browser.api("/api/me/").json()
    assert len(me["identities"]) == 1
    assert me["identities"][0]["subject"] in home.words

    home = browser.submit(home.form_to("/ciam/logout/"))
    assert "You are not signed in" in browser.open("/").words
    refused = browser.api("/api/me/")
    assert (refused.status_code, refused.json()["code"]) == (401, "login_required")


def test_a_sign_in_continues_at_next(site: str) -> None:
    gallery = Browser(site).sign_in("Grace", "/ciam/login/?next=/gallery/%3Fq%3Dlocked")
    assert gallery.url == f"{site}gallery/?q=locked"


@pytest.mark.parametrize("language", ["en", "zh-hans", "zh-hant"])
@pytest.mark.parametrize("code", [LOCKED, "unauthorized_user", "invalid_client"])
def test_a_failure_is_one_sentence_in_the_users_language(
    site: str, language: str, code: str
) -> None:
    page = Browser(site, language).sign_in(f"fail:{code}")
    meaning = meaning_of(code)
    with override(language):
        sentence = str(meaning.message)
    with override("en"):
        assert (sentence == str(meaning.message)) == (language == "en")
    assert page.status == meaning.status
    assert sentence in page.words
    assert ("lang", language) in page.attributes
    assert ("role", "alert") in page.attributes
    # The example runs with DEBUG on.
    shown, _, for_developers = page.words.partition("For developers")
    assert code not in shown
    assert code in for_developers


def test_a_user_who_cancels_reads_a_notice_on_the_login_page(site: str) -> None:
    username = "fail:authorize:access_denied"
    assert username in Browser(site).open("/").words
    page = Browser(site).sign_in(username)

    assert (page.status, page.url) == (200, urljoin(site, "/ciam/login/"))
    assert ("role", "status") in page.attributes
    assert str(CODES["access_denied"].message) in page.words
    assert ("role", "alert") not in page.attributes


# --- The language switch ----------------------------------------------------------------------


def test_the_language_switch_keeps_the_page(site: str) -> None:
    browser = Browser(site)
    gallery = browser.open("/gallery/?q=locked")
    assert "Search" in gallery.words
    for language, word in [("zh-hans", "搜索"), ("zh-hant", "搜尋"), ("en", "Search")]:
        gallery = browser.submit(gallery.form_to("/i18n/"), language=language)
        assert gallery.url == f"{site}gallery/?q=locked"
        assert word in gallery.words
        assert ("lang", language) in gallery.attributes


def test_the_language_switch_on_the_login_page_keeps_next(site: str) -> None:
    browser = Browser(site)
    login = browser.open("/ciam/login/?next=/gallery/%3Fq%3Da%26b")
    login = browser.submit(login.form_to("/i18n/"), language="zh-hans")
    assert login.form_to("/ciam/authorize/").inputs["next"] == "/gallery/?q=a&b"


def test_the_language_switch_on_a_failed_callback_leads_to_the_login_page(site: str) -> None:
    browser = Browser(site)
    failed = browser.open("/ciam/callback/?code=secret&state=unknown")
    assert failed.status == 400
    assert ("content", "strict-origin") in failed.attributes
    assert "secret" not in failed.form_to("/i18n/").inputs["next"]
    login = browser.submit(failed.form_to("/i18n/"), language="zh-hans")
    assert login.url == f"{site}ciam/login/"


# --- The gallery ------------------------------------------------------------------------------

ROW = re.compile(
    r'<span class="status[^>]*>(\d+)</span>\s*<code[^>]*>(.*?)</code>.*?<p>(.*?)</p>'
    r'.*?<div class="row-links">(.*?)</div>',
    re.DOTALL,
)


def pages_of(browser: Browser, query: str = "") -> dict[str, str]:
    """Return the address -> HTML of each page of the gallery, or of the pages of a search."""
    pages: dict[str, str] = {}
    waiting = [f"/gallery/?{urlencode({'q': query})}" if query else "/gallery/?group=oauth"]
    for path in waiting:
        if path not in pages:
            pages[path] = browser.session.get(urljoin(browser.site, path), timeout=60).text
            groups, _, more = pages[path].partition('<section class="panel')
            links = re.findall(r'href="(\?.*?)"', more if query else groups + more)
            # The link to the first page of a group is the link to the group, too.
            more_links = (html.unescape(link).removesuffix("&page=1") for link in links)
            waiting += [f"/gallery/{link}" for link in more_links]
    return pages


def rows_of(browser: Browser, query: str = "") -> list[tuple[int, str, str, list[str]]]:
    """Return the status, the code, the sentence and the links of each row of all pages."""
    return [
        (
            int(status),
            code.replace("<wbr>", ""),
            html.unescape(text),
            [
                urljoin(browser.site, html.unescape(link))
                for link in re.findall(r'href="(.*?)"', links)
            ],
        )
        for page in pages_of(browser, query).values()
        for status, code, text, links in ROW.findall(page)
    ]


def test_the_gallery_has_every_failure_of_the_table(site: str) -> None:
    rows = rows_of(Browser(site))
    failures = [code for code, row in CODES.items() if row.kind is not Kind.SUCCESS]
    assert sorted(code for _status, code, _text, _links in rows) == sorted(failures)
    assert {len(links) for _status, _code, _text, links in rows} == {9}


@pytest.mark.parametrize(
    ("entry_point", "language", "form"),
    [("django", "en", "page"), ("django", "zh-hans", "json"), ("drf", "zh-hant", "json")],
)
def test_each_link_of_the_gallery_is_answered_as_its_row_says(
    site: str, entry_point: str, language: str, form: str
) -> None:
    browser = Browser(site, language)

    def faults_of(row: tuple[int, str, str, list[str]]) -> list[str]:
        status, code, text, links = row
        return [
            f"{link}: {answer.status_code}, {answer.text}"
            for link in links
            if f"/raise/{entry_point}/" in link and link.endswith(f"language={language}&as={form}")
            for answer in [browser.session.get(link, timeout=60)]
            if answer.status_code != status
            or answer.headers["Content-Language"] != language
            or answer.headers["Ciam-Error-Code"] != code
            or _sentence_in(answer) not in (text, _sentence_with_wait(answer))
        ]

    with ThreadPoolExecutor(8) as pool:
        assert [fault for faults in pool.map(faults_of, rows_of(browser)) for fault in faults] == []


def _sentence_with_wait(answer: requests.Response) -> str:
    """The sentence of a page that also has the seconds to wait; empty for other answers."""
    seconds = answer.headers.get("Retry-After", "none")
    return _sentence_in(answer) if f" {seconds} " in _sentence_in(answer) else ""


def _sentence_in(answer: requests.Response) -> str:
    if answer.headers["Content-Type"] == "application/json":
        return str(answer.json()["detail"])
    detail = re.search(r'<p class="ciam-detail">(.*?)</p>', answer.text)
    return html.unescape(detail[1]) if detail else ""


@pytest.mark.parametrize(
    ("query", "number"),
    [("User.LOCKED unlock", 1), ("rate_limit", 7), ("429 sms", 2), ("nothing like this", 0)],
)
def test_the_gallery_is_searched_by_code_kind_status_and_text(
    site: str, query: str, number: int
) -> None:
    assert len(rows_of(Browser(site), query)) == number


def test_each_page_of_the_gallery_is_small_and_accessible(site: str) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    pages = pages_of(Browser(site))

    sizes = {path: len(content.encode()) for path, content in pages.items()}
    assert {path: size for path, size in sizes.items() if size > 50_000} == {}
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 375, "height": 800})
        for path in pages:
            page.goto(urljoin(site, path))
            results = axe.Axe().run(page)
            assert results.violations_count == 0, f"{path}: {results.generate_report()}"
            assert page.evaluate("document.documentElement.scrollWidth") <= 375, path
        chromium.close()


# --- The texts --------------------------------------------------------------------------------


@pytest.mark.parametrize("locale", ["zh_Hans", "zh_Hant"])
def test_the_catalogues_are_complete_and_compiled(locale: str) -> None:
    po = PROJECT / "example" / "locale" / locale / "LC_MESSAGES" / "django.po"
    written = re.findall(r'^msgstr(?:\[0\])? "(.*)"$', po.read_text(), re.MULTILINE)[1:]
    with po.with_suffix(".mo").open("rb") as file:
        texts = dict(vars(gettext.GNUTranslations(file))["_catalog"])
    texts.pop("")
    assert all(written)
    assert sorted(texts.values()) == sorted(written)
    if locale == "zh_Hant":
        mainland_words = "登錄|用戶|短信|郵箱|信息|賬號|默認|網絡|鏈接|屏幕"
        assert re.findall(mainland_words, "".join(written)) == []


# --- The panel of sample inputs ---------------------------------------------------------------


def test_the_panel_lists_inputs_that_the_fake_knows() -> None:
    inputs = [sample.typed for group in tries.SAMPLE_INPUTS for sample in group.inputs]
    known = {
        **accounts.STATES_BY_PREFIX,
        **accounts.STEPS_BY_PREFIX,
        **accounts.SOCIAL_STEPS_BY_PREFIX,
        accounts.UNLINKED_PREFIX: "",
    }

    assert inputs[:3] == [accounts.PASSWORD, accounts.CODE, accounts.CAPTCHA_TEXT]
    for name, _, ending in (text.partition(" · ") for text in inputs[4:-2]):
        assert name in known
        assert accounts.PREFIXES_BY_NUMBER.get(ending, name) == name


def test_the_panel_is_on_the_sign_in_pages_only(site: str) -> None:
    page = Browser(site).open("ciam/login/")

    assert "fake-password" in page.words
    assert "fake-password" not in Browser(site).open("").words
