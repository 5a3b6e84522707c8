"""Take screenshots of the example.

Without arguments, the script takes the READMEs' screenshots, into example_project/screenshots.
``--states FOLDER`` takes each state of ``STATES`` in three languages, two widths and two color
schemes, and prints the violations that axe finds. ``--no-scripts`` takes them without JavaScript.
``--only REGEX`` takes the screenshots whose names match, for example ``--only login-en-375``.
``--project FOLDER`` runs the example of another checkout, for example of an older commit.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # no types
from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from ciam_django.testing.accounts import PASSWORD

PROJECT = Path(__file__).parents[1] / "example_project"
SCREENSHOTS = PROJECT / "screenshots"
LOCALES = {"en": "en-US", "zh-hans": "zh-CN"}
SUBMIT_BUTTON = "form[data-ciam-form] button[type=submit]:not([name=do])"


def open_login(page: Page, site: str) -> None:
    """Open the login page."""
    page.goto(f"{site}ciam/login/")


def enter_wrong_password(page: Page, site: str) -> None:
    """Enter a wrong password."""
    open_login(page, site)
    submit(page, username=next(USERNAMES), password=PASSWORD[::-1])


def enter_wrong_code(page: Page, site: str) -> None:
    """Enter a wrong code; the page then also shows the wait until a new code can be sent."""
    page.goto(f"{site}ciam/login/?method=sms")
    submit(page, phone_number=next(NUMBERS))
    submit(page, code="123456")


def open_second_step(page: Page, site: str) -> None:
    """Open the second step of a login."""
    open_login(page, site)
    submit(page, username="careful", password=PASSWORD)


def open_sms(page: Page, site: str) -> None:
    """Open the form for a mobile number."""
    page.goto(f"{site}ciam/login/?method=sms")


def enter_short_number(page: Page, site: str) -> None:
    """Enter a mobile number that is too short."""
    open_sms(page, site)
    page.fill("#ciam_phone_number", "138")
    tick_boxes(page)
    page.click(SUBMIT_BUTTON)
    page.wait_for_timeout(500)


def open_code(page: Page, site: str) -> None:
    """Open the page of a code that has been sent."""
    open_sms(page, site)
    submit(page, phone_number=next(NUMBERS))


def open_sign_up(page: Page, site: str) -> None:
    """Open the form for a new account."""
    page.goto(f"{site}ciam/sign-up/")


def open_missing_details(page: Page, site: str) -> None:
    """Open the step that asks for missing details."""
    open_login(page, site)
    submit(page, username="unfinished_options", password=PASSWORD)


def cancel_sign_in(page: Page, site: str) -> None:
    """Cancel at a social provider, and come back."""
    open_login(page, site)
    tick_boxes(page)
    for summary in page.query_selector_all(".ciam-others > summary"):
        summary.click()
    page.click('[formaction$="/with/qq/"], form[action$="/with/qq/"] button')
    page.click("[name=decision][value=cancel]")
    page.wait_for_url(f"{site}**")


def sign_out(page: Page, site: str) -> None:
    """Sign in and out, and open the login page."""
    open_login(page, site)
    submit(page, username="li", password=PASSWORD)
    with page.expect_navigation():
        page.click('form[action$="/logout/"] button')
    open_login(page, site)


def ask_for_consent(page: Page, site: str) -> None:
    """Choose a social provider before the user agrees to the terms."""
    open_login(page, site)
    page.click('[formaction$="/with/qq/"]')
    page.wait_for_timeout(500)


def open_silent_ciam(page: Page, site: str) -> None:
    """Open the answer to a sign-in while CIAM does not answer."""
    page.goto(f"{site}raise/django/connection_failed/?as=page")


def open_rate_limit(page: Page, site: str) -> None:
    """Open the answer that asks the user to wait."""
    page.goto(f"{site}raise/django/too_many_requests/?as=page")


def open_locked_account(page: Page, site: str) -> None:
    """Open the answer for a locked account, as after a login on CIAM's own page."""
    page.goto(f"{site}raise/django/Operation.Failure.User.Locked/?as=page")


# Remove the parts that differ between runs or are for developers: the caret, the request id, the
# seconds to wait and the developers' section.
STABILIZE_SCRIPT = """() => {
    document.activeElement.blur();
    document.querySelector(".ciam-developer")?.remove();
    document.querySelectorAll(".ciam-code").forEach((code) => {
        code.textContent = "1656572265429$49b433a9-219a-910a-0323-2af4f1f1a9ce";
    });
    document.querySelectorAll("[data-ciam-wait] > [aria-hidden]").forEach((wait) => {
        wait.textContent = wait.textContent.replace(/\\d+/, "60");
    });
}"""
# The name of the screenshot's file -> the function that opens the page.
PAGES = {
    "login": open_login,
    "wrong_password": enter_wrong_password,
    "code": enter_wrong_code,
    "second_step": open_second_step,
    "locked": open_locked_account,
}
# Each number gets one code in a minute. The default country code depends on the language.
NUMBERS = (f"+86 138 0000 {last:04}" for last in itertools.count(1234))
# After three wrong passwords for one name, the page asks for a CAPTCHA.
USERNAMES = itertools.cycle(("li", "wang", "zhang", "liu", "chen", "yang"))
# The states that tell the most about the pages -> the function that opens the page.
STATES = {
    "login": open_login,
    "login_in_wechat": open_login,
    "login_in_forced_colors": open_login,
    "consent": ask_for_consent,
    "wrong_password": enter_wrong_password,
    "short_number": enter_short_number,
    "code": open_code,
    "wrong_code": enter_wrong_code,
    "sign_up": open_sign_up,
    "second_step": open_second_step,
    "missing_details": open_missing_details,
    "cancelled": cancel_sign_in,
    "signed_out": sign_out,
    "locked": open_locked_account,
    "silent_ciam": open_silent_ciam,
    "rate_limit": open_rate_limit,
}
STATE_LOCALES = {**LOCALES, "zh-hant": "zh-TW"}
WIDTHS = {1280: 900, 375: 740}
COLOR_SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
WECHAT = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.42(0x18002a2a) NetType/WIFI "
    "Language/zh_CN"
)


# The name of a state -> the options of its browser context.
STATE_OPTIONS: dict[str, dict[str, Any]] = {
    "login_in_wechat": {"user_agent": WECHAT},
    "login_in_forced_colors": {"forced_colors": "active"},
}


def submit(page: Page, **fields: str) -> None:
    """Fill in the form, agree to the terms, and send it."""
    for name, value in fields.items():
        page.fill(f"#ciam_{name}", value)
    tick_boxes(page)
    with page.expect_navigation():
        page.click(SUBMIT_BUTTON)


def tick_boxes(page: Page) -> None:
    """Tick each box of the terms that is visible."""
    for box in page.query_selector_all("input[name=consent]:visible"):
        box.check()


@contextlib.contextmanager
def running_example(project: Path) -> Iterator[str]:
    """Run the example, and yield its address."""
    with tempfile.TemporaryDirectory() as directory:
        environment = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "EXAMPLE_DATABASE": f"{directory}/db",
            "PYTHONPATH": str(project.parent),
        }
        command = [sys.executable, "manage.py", "example", "--port", "0", "--fake-port", "0"]
        with subprocess.Popen(
            command,
            cwd=project,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as running:
            assert running.stdout
            address = re.search(r"http://\S+/", running.stdout.readline())
            assert address
            try:
                yield address[0]
            finally:
                running.terminate()
                running.communicate()


def take_readme_screenshots(chromium: Browser, site: str) -> None:
    """Take each screenshot of the READMEs in each language."""
    SCREENSHOTS.mkdir(exist_ok=True)
    for language, locale in LOCALES.items():
        context = chromium.new_context(
            locale=locale, viewport={"width": 400, "height": 700}, device_scale_factor=1.5
        )
        page = context.new_page()
        for name, open_page in PAGES.items():
            open_page(page, site)
            page.evaluate(STABILIZE_SCRIPT)
            path = SCREENSHOTS / f"{name}-{language}.png"
            page.locator(".ciam-card").screenshot(path=path)
            print(path.relative_to(PROJECT.parent))


def take_states(
    chromium: Browser, site: str, folder: Path, *, only: str, has_scripts: bool
) -> None:
    """Take each state in each language, width and color scheme, and print what axe finds."""
    folder.mkdir(parents=True, exist_ok=True)
    for (language, locale), (width, height), scheme, (name, open_page) in itertools.product(
        STATE_LOCALES.items(), WIDTHS.items(), COLOR_SCHEMES, STATES.items()
    ):
        if name == "login_in_wechat" and width == max(WIDTHS):
            continue
        state = f"{name}-{language}-{width}-{scheme}"
        if not re.search(only, state):
            continue
        context = chromium.new_context(
            locale=locale,
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            java_script_enabled=has_scripts,
            **STATE_OPTIONS.get(name, {}),
        )
        page = context.new_page()
        try:
            open_page(page, site)
        except PlaywrightError as error:
            # The page of another commit can have other elements.
            print(f"{state}: {str(error).splitlines()[0]}")
        page.screenshot(path=folder / f"{state}.png", full_page=True)
        # In forced colors, axe reads colors of the style sheet that the browser does not use.
        if has_scripts and "forced_colors" not in STATE_OPTIONS.get(name, {}):
            for violation in Axe().run(page).response["violations"]:
                targets = [node["target"] for node in violation["nodes"]]
                print(f"{state}: axe: {violation['id']}: {violation['help']}: {targets}")
        context.close()


def main() -> None:
    """Take the screenshots that the arguments name."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--states", type=Path, metavar="FOLDER")
    parser.add_argument("--no-scripts", action="store_true")
    parser.add_argument("--only", default="", metavar="REGEX")
    parser.add_argument("--project", type=Path, default=PROJECT.parent, metavar="FOLDER")
    options = parser.parse_args()
    project = options.project.resolve() / PROJECT.name
    with running_example(project) as site, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        if options.states:
            take_states(
                chromium,
                site,
                options.states,
                only=options.only,
                has_scripts=not options.no_scripts,
            )
        else:
            take_readme_screenshots(chromium, site)
        chromium.close()


if __name__ == "__main__":
    main()
