"""Run the last release and the working tree side by side, as during a deploy.

Both versions share the database, the cache and the cookies of the browser. Each test sends the
requests of one browser to both versions, in both directions. ``tests/test_versions.py`` tests what
a future version may store.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import CODE, user_id_of
from tests.servers import SiteBrowser, SiteResponse, running_gunicorn

pytestmark = pytest.mark.slow("two versions side by side")

ROOT: Final = Path(__file__).parents[1]
# The release before the first tag: a commit that all branches of the repository contain.
FIRST_RELEASE: Final = "1932c67d3743d5e4f10875d7ac5da71502f4b5a4"
TOKEN_SECONDS: Final = 2
SITE: Final = "tests.versions_site"


# --- The two versions -------------------------------------------------------------------------


def git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def last_release() -> str:
    """Return the newest tag of a release that the working tree contains, or the first release.

    Skip the test without the history, as in an unpacked source distribution.
    """
    if not (ROOT / ".git").exists():
        pytest.skip("the unpacked source distribution has no history with the last release")
    tags = git("tag", "--list", "v[0-9]*", "--merged", "HEAD", "--sort=-version:refname")
    release = (tags.splitlines() or [FIRST_RELEASE])[0]
    try:
        git("cat-file", "-e", f"{release}^{{commit}}")
    except subprocess.CalledProcessError:
        pytest.skip(f"the clone is shallow, and lacks the last release {release}")
    return release


@pytest.fixture(scope="module")
def old_source() -> Iterator[Path]:
    """A folder with the wheel of the last release, unpacked, and with the tests of this tree."""
    release = last_release()
    with tempfile.TemporaryDirectory(prefix="ciam_django-", dir="/tmp") as name:
        folder = Path(name)
        git("archive", "--output", str(folder / "tree.tar"), release)
        shutil.unpack_archive(folder / "tree.tar", folder / "tree", filter="data")
        build = "import sys\nfrom setuptools import build_meta\nbuild_meta.build_wheel(sys.argv[1])"
        subprocess.run(
            [sys.executable, "-c", build, str(folder)],
            check=True,
            cwd=folder / "tree",
            capture_output=True,
        )
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / "site")
        (folder / "site/tests").symlink_to(ROOT / "tests")
        yield folder / "site"


@dataclass
class Sites:
    """The sockets of the two versions, by name, and the CIAM that both versions use."""

    places: Mapping[str, Path]
    ciam: FakeCiam
    mode: str


@pytest.fixture(scope="module", params=["oidc", "ciam"])
def sites(
    request: pytest.FixtureRequest,
    old_source: Path,
    create_database: Callable[[], dict[str, Any]],
) -> Iterator[Sites]:
    """Both versions, with one database and one cache. The newer version migrates last."""
    with contextlib.ExitStack() as stack:
        ciam = stack.enter_context(FakeCiam())
        ciam.token_lifetime = TOKEN_SECONDS
        database = create_database()
        table = "django.core.cache.backends.db.DatabaseCache"
        settings = {
            "AUTHLIB_OAUTH_CLIENTS": {"ciam": ciam.client(request.param)},
            "CACHES": {"default": {"BACKEND": table, "LOCATION": "cache"}},
            "DATABASES": {"default": database},
            "CIAM_LOGIN_METHODS": ["password", "sms"],
            "CIAM_TIMEOUT": 30.0,
        }
        places = {}
        for version, source in {"old": old_source, "new": None}.items():
            folder = tempfile.TemporaryDirectory(prefix="ciam_django-", dir="/tmp")
            path = Path(stack.enter_context(folder))
            server = running_gunicorn(path, settings, site=SITE, source=source)
            places[version] = stack.enter_context(server)
        yield Sites(places, ciam, request.param)


@dataclass
class TwoVersionBrowser:
    """A browser whose requests go to the version that the test names."""

    sites: Sites
    cookies: dict[str, str]

    def at(self, version: str) -> SiteBrowser:
        """Return the browser at one version."""
        return SiteBrowser(self.sites.places[version], cookies=self.cookies)

    def user_at(self, version: str) -> str:
        """Return the user name of the session; empty for an anonymous user."""
        return str(content_of(self.at(version).open("/"))["user"])

    def token_at(self, version: str) -> str:
        """Return the access token of the session."""
        return str(content_of(self.at(version).open("/token/"))["token"])


@pytest.fixture
def browser(sites: Sites) -> TwoVersionBrowser:
    return TwoVersionBrowser(sites, {})


def content_of(response: SiteResponse) -> dict[str, Any]:
    assert response.status == 200, response
    content: dict[str, Any] = json.loads(response.content)
    return content


def path_of(url: str) -> str:
    """Return the path and the query of a URL of the site."""
    return re.sub(r"^https?://[^/]+", "", url)


def new_name() -> str:
    """Return the name of a person who has not signed in yet, because the tests share a database."""
    return f"p{uuid.uuid4().hex[:10]}"


both_directions = pytest.mark.parametrize(("first", "second"), [("old", "new"), ("new", "old")])


# --- The tests --------------------------------------------------------------------------------


def test_the_two_versions_are_two_versions(browser: TwoVersionBrowser, old_source: Path) -> None:
    packages = {
        version: content_of(browser.at(version).open("/"))["package"] for version in ("old", "new")
    }

    assert packages == {
        "old": str(old_source / "ciam_django"),
        "new": str(ROOT / "ciam_django"),
    }


@both_directions
def test_a_session_goes_on_through_a_refresh_until_the_sign_out(
    first: str, second: str, browser: TwoVersionBrowser
) -> None:
    ciam, name = browser.sites.ciam, new_name()
    assert browser.at(first).sign_in(ciam, name).status == 302
    user = browser.user_at(second)
    assert user
    old_token = browser.token_at(first)
    time.sleep(TOKEN_SECONDS)
    # The version that refreshes, and the version that reads the new token.
    new_token = browser.token_at(second)
    assert new_token != old_token
    assert browser.user_at(first) == browser.user_at(second) == user
    time.sleep(TOKEN_SECONDS)
    assert browser.token_at(first) not in (old_token, new_token)
    assert browser.user_at(second) == user
    assert browser.at(second).open("/ciam/logout/", {}).status == 302

    assert browser.user_at(first) == browser.user_at(second) == ""


@both_directions
def test_a_sign_in_begins_in_one_version_and_ends_in_the_other(
    first: str, second: str, browser: TwoVersionBrowser
) -> None:
    location = browser.at(first).start_sign_in().headers["Location"]
    callback = browser.sites.ciam.authorize(location, username=new_name())
    response = browser.at(second).open(path_of(callback))

    assert (response.status, response.headers["Location"]) == (302, "/accounts/profile/")
    assert browser.user_at(first) == browser.user_at(second) != ""


@both_directions
def test_a_form_is_filled_in_in_both_versions(
    first: str, second: str, browser: TwoVersionBrowser
) -> None:
    number = "138 0000 1234" if first == "old" else "138 0000 1235"
    page = browser.at(first).open("/ciam/login/?method=sms")
    code_page = submit(browser, second, page, phone_number=number)
    end = submit(browser, first, code_page, code=CODE)

    assert end.headers["Location"] == "/accounts/profile/", end
    assert browser.user_at(second)


def submit(
    browser: TwoVersionBrowser, version: str, page: SiteResponse, **fields: str
) -> SiteResponse:
    """Submit the form of a page, and open the page of the package that follows."""
    form = re.search(
        r'<form[^>]* action="([^"]*)"[^>]*data-ciam-form.*?</form>', page.content, re.DOTALL
    )
    assert form, page
    hidden = dict(re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', form[0]))
    hidden |= re.findall(r'name="(consent)" value="([^"]*)"', form[0])[:1]
    response = browser.at(version).open(form[1], {**hidden, **fields})
    location = response.headers.get("Location", "")
    return browser.at(version).open(location) if location.startswith("/ciam/") else response


@both_directions
def test_a_bearer_token_that_one_version_remembers_is_accepted_by_the_other(
    first: str, second: str, browser: TwoVersionBrowser
) -> None:
    ciam = browser.sites.ciam
    ciam.token_lifetime = 600
    try:
        browser.at(first).sign_in(ciam, new_name())
        token = browser.token_at(first)
    finally:
        ciam.token_lifetime = TOKEN_SECONDS
    before = checks_of(ciam)
    client = TwoVersionBrowser(browser.sites, {})
    users = [
        content_of(client.at(version).open("/bearer/", Authorization=f"Bearer {token}"))["user"]
        for version in (first, second)
    ]

    assert users == [browser.user_at(first)] * 2
    assert checks_of(ciam) - before <= 1


def checks_of(ciam: FakeCiam) -> int:
    """Return the number of calls that check a token."""
    return sum(request.path.endswith("/check") for request in ciam.requests)


def test_both_versions_use_one_copy_of_the_metadata(browser: TwoVersionBrowser) -> None:
    ciam = browser.sites.ciam
    for version in ("old", "new"):
        browser.at(version).start_sign_in()

    stages = [request.stage for request in ciam.requests]
    assert stages.count("discovery") == (browser.sites.mode == "oidc")


@both_directions
def test_a_logout_token_at_one_version_ends_the_session_of_the_other(
    first: str, second: str, browser: TwoVersionBrowser
) -> None:
    name = new_name()
    browser.at(first).sign_in(browser.sites.ciam, name)
    token = browser.sites.ciam.sign_logout_token(sub=user_id_of(name))
    ciam_server = TwoVersionBrowser(browser.sites, {}).at(second)
    response = ciam_server.open("/ciam/logout/back/", {"logout_token": token})
    # CIAM's own mode has no logout tokens, and no such view.
    is_ended = browser.sites.mode == "oidc"

    assert response.status == (200 if is_ended else 404)
    assert [bool(browser.user_at(version)) for version in (first, second)] == [not is_ended] * 2


@both_directions
def test_the_notice_of_a_failure_in_one_version_is_shown_or_ignored_by_the_other(
    first: str, second: str, browser: TwoVersionBrowser
) -> None:
    name = "fail:Operation.Failure.User.Locked"
    assert browser.at(first).sign_in(browser.sites.ciam, name).status in (302, 403)

    assert browser.at(second).open("/ciam/login/").status == 200
    assert browser.at(second).sign_in(browser.sites.ciam, new_name()).status == 302
