"""Take the README's screenshots of the example, into example_project/screenshots."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

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
    submit(page, username="li", password=PASSWORD[::-1])


def enter_wrong_code(page: Page, site: str) -> None:
    """Enter a wrong code; the page then also shows the wait until a new code can be sent."""
    page.goto(f"{site}ciam/login/?method=sms")
    submit(page, phone_number=next(NUMBERS))
    submit(page, code="123456")


def open_second_step(page: Page, site: str) -> None:
    """Open the second step of a login."""
    open_login(page, site)
    submit(page, username="careful", password=PASSWORD)


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
    document.querySelectorAll(".ciam-wait").forEach((wait) => {
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
NUMBERS = iter(["138 0000 1234", "138 0000 4321"])


def submit(page: Page, **fields: str) -> None:
    """Fill in the form, agree to the terms, and send it."""
    for name, value in fields.items():
        page.fill(f"#ciam_{name}", value)
    for box in page.query_selector_all("input[name=consent]"):
        box.check()
    with page.expect_navigation():
        page.click(SUBMIT_BUTTON)


@contextlib.contextmanager
def running_example() -> Iterator[str]:
    """Run the example, and yield its address."""
    with tempfile.TemporaryDirectory() as directory:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "EXAMPLE_DATABASE": f"{directory}/db"}
        command = [sys.executable, "manage.py", "example", "--port", "0", "--fake-port", "0"]
        with subprocess.Popen(
            command,
            cwd=PROJECT,
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


def main() -> None:
    """Take each screenshot in each language."""
    SCREENSHOTS.mkdir(exist_ok=True)
    with running_example() as site, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
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
        chromium.close()


if __name__ == "__main__":
    main()
