"""The built documentation: its pages, its links and its search, in a real browser."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from ciam_reference.codes import file_name

from ciam_django.answers import possible_answers
from ciam_django.codes import CODES
from ciam_django.kinds import Kind
from ciam_django.lookup import matched_row
from tests.login.test_chromium import CHROMIUM, chromium, chromium_type, tab
from tests.test_docs import MACHINE_PATH

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["chromium", "chromium_type"]

pytestmark = [
    pytest.mark.slow("the build of the documentation"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]

ROOT = Path(__file__).parents[2]
LOG_LINE = (
    "Sign-in failure: code=Operation.Failure.User.Locked type_code=Operation.Failure "
    "row=Operation.Failure.User.Locked step=exact kind=account_state stage=token status=403 "
    "shown=Operation.Failure.User.Locked upstream_status=500 "
    "request_id=1656572265429$49b433a9-219a-910a-0323-2af4f1f1a9ce upstream_text=''"
)
# The text that a reader pastes into the search -> the name that is found first.
QUERIES = {
    "Operation.Failure.User.Locked": "Operation.Failure.User.Locked",
    "operation.failure.user.locked": "Operation.Failure.User.Locked",
    LOG_LINE: "Operation.Failure.User.Locked",
    "Params.Blank.username": "Params.Blank.*",
    "Shop.Too.Frequency": "*.Too.Frequency",
    "40029": "40029",
    "ciam_timeout": "CIAM_TIMEOUT",
    "?: (ciam_django.W013) CIAM_CALLBACK_URL": "ciam_django.W013",
}


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files without a line for each request."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the parameter's name)
        """Write nothing."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built pages."""
    pytest.importorskip("sphinx", reason="Sphinx is not installed")
    parent = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-E", "-q"]
    command += ["-d", str(parent / "doctrees"), str(ROOT / "docs"), str(parent / "html")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return parent / "html"


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[str]:
    """The URL of the built pages."""
    handler = functools.partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


# One test, because the workers of xdist would build the documentation for each test.
def test_the_built_site_has_a_page_for_each_answer_and_its_search_finds_pasted_codes(
    chromium: Browser, folder: Path, site: str
) -> None:
    check_pages(folder)
    with tab(chromium) as page:
        urls: list[str] = []
        page.on("request", lambda request: urls.append(request.url))
        check_search(page, site)
        assert [url for url in urls if not url.startswith((site, "data:"))] == []


def check_pages(folder: Path) -> None:
    pages = {path: path.read_text(encoding="utf-8") for path in folder.rglob("*.html")}
    scripts = {path: path.read_text(encoding="utf-8") for path in folder.rglob("search-*.js")}

    for code in possible_answers():
        assert f"<title>{code} - ciam_django" in pages[folder / f"codes/{file_name(code)}.html"]
    assert len(pages) > len(CODES)
    assert len(scripts) == 2
    for path, text in {**pages, **scripts}.items():
        assert not MACHINE_PATH.search(text), path.name
        assert str(ROOT) not in text, path.name
    # A name in the text is a link. A link to a file outside of docs/ is only its text.
    link = r'<a class="[^"]*" href="\.\./settings\.html#ciam-timeout"><code'
    assert re.search(link, pages[folder / "codes/timeout.html"])
    assert ">CONTRIBUTING.md</span> explains" in pages[folder / "codes/index.html"]
    # An option of a command keeps its two hyphens in a sentence.
    assert "Without --apply, the command" in pages[folder / "reference/commands.html"]
    ids = {path: {"", *re.findall(r'\bid="([^"]+)"', text)} for path, text in pages.items()}
    # With these ids, `CIAM_PROBLEM_TYPE_URL` can end with "#{kind}".
    assert set(Kind) <= ids[folder / "codes/index.html"]
    for path, text in pages.items():
        for href in re.findall(r'\bhref="(?![a-z]+:)([^"?]+)', text):
            name, _, anchor = href.partition("#")
            target = (path.parent / unquote(name)).resolve() if name else path
            assert target.exists(), f"{path.name}: {href}"
            assert target.suffix != ".html" or anchor in ids[target], f"{path.name}: {href}"


def check_search(page: Page, site: str) -> None:
    found = page.locator("#search-names a")
    for query, name in QUERIES.items():
        page.goto(f"{site}reference/logs.html")
        page.fill("input[name=q]", query)
        page.press("input[name=q]", "Enter")
        found.first.wait_for()
        assert found.first.inner_text() == name
        found.first.click()
        page.wait_for_url(re.compile(r"/(codes|settings|reference/checks)[^?]*$"))
        assert page.locator("article h1").inner_text() != ""

    # The script looks for families in the order of `lookup.matched_row`.
    codes = [f"{code.removesuffix('.*')}.Unknown" for code in CODES if code.endswith(".*")]
    page.goto(f"{site}search.html?q={'+'.join(codes)}")
    found.first.wait_for()
    assert found.all_inner_texts() == [*dict.fromkeys(matched_row(code).key for code in codes)]
