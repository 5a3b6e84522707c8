"""Tests of the forms in a real browser: the checks before sending, passwords, double clicks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ciam_django.testing.accounts import CODE, PASSWORD
from tests.login.test_chromium import CHROMIUM, chromium, chromium_type, is_signed_in, site, tab
from tests.login.test_chromium_ways import SUBMIT, agree, offer_everything, page, send

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

__all__ = ["chromium", "chromium_type", "offer_everything", "page", "site"]

pytestmark = [
    pytest.mark.slow("Chromium"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("mode", ["ciam"]),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]


def posted(page: Page) -> list[str]:
    """The addresses of the forms that the page sends from now on."""
    addresses: list[str] = []

    def record(request: Request) -> None:
        if request.method == "POST":
            addresses.append(request.url)

    page.on("request", record)
    return addresses


def test_a_blank_field_is_refused_before_the_form_is_sent_and_the_password_stays(
    page: Page, site: str
) -> None:
    page.goto(f"{site}/ciam/login/")
    addresses = posted(page)
    page.fill("#ciam_password", PASSWORD)
    agree(page)
    page.click(SUBMIT)

    assert page.evaluate("document.activeElement.id") == "ciam_username"
    assert page.get_attribute("#ciam_username", "aria-invalid") == "true"
    described_by = page.get_attribute("#ciam_username", "aria-describedby")
    assert described_by == "ciam_username_error"
    assert page.inner_text(f"#{described_by}") == page.get_attribute(
        "#ciam_username", "data-ciam-blank"
    )
    assert page.input_value("#ciam_password") == PASSWORD
    assert page.query_selector("#ciam_password_error") is None
    assert addresses == []

    page.fill("#ciam_username", "li")
    assert page.query_selector(".ciam-error") is None
    assert page.get_attribute("#ciam_username", "aria-invalid") is None
    with page.expect_navigation():
        page.click(SUBMIT)
    assert is_signed_in(page)


# Address, field, values that the server may accept, values that nobody can mean.
TYPED = [
    ("login/?method=sms", "phone_number", ["138 0000 0000", "+86 (138) 0000-0000",
        "１３８００００００００", "0086 138 0000 0000", "+852 9123 4567"], ["12345", "li@x.com"]),
    ("login/?method=email", "email", ["li@example.com", "李@例子.中国", "ｌｉ＠example.com",
        " li@example.com "], ["li", "@", "li@", "138 0000 0000"]),
    ("recover/", "receiver", ["li@example.com", "138 0000 0000"], ["li", "12345"]),
]  # fmt: skip


@pytest.mark.parametrize(("address", "field", "good", "malformed"), TYPED)
def test_a_malformed_recipient_is_refused_before_the_form_is_sent(  # noqa: PLR0917  (a row)
    page: Page, site: str, address: str, field: str, good: list[str], malformed: list[str]
) -> None:
    page.goto(f"{site}/ciam/{address}")
    addresses = posted(page)
    agree(page)
    for value in malformed:
        page.fill(f"#ciam_{field}", value)
        page.click(SUBMIT)
        assert page.inner_text(f"#ciam_{field}_error") == page.get_attribute(
            f"#ciam_{field}", "data-ciam-invalid"
        )
        assert page.input_value(f"#ciam_{field}") == value
    for value in good:
        page.fill(f"#ciam_{field}", value)
        assert page.query_selector(f"#ciam_{field}_error") is None, value
    assert addresses == []


TYPE_WHEN_SENT = """() => new Promise((resolve) => {
    addEventListener("submit", (event) => {
        event.preventDefault();
        resolve(document.querySelector("#ciam_password").type);
    });
    document.querySelector("form[data-ciam-form]").requestSubmit();
})"""


def test_a_password_can_be_shown_until_the_form_is_sent(page: Page, site: str) -> None:
    page.goto(f"{site}/ciam/login/")
    page.fill("#ciam_username", "li")
    page.fill("#ciam_password", "typed-secret")
    agree(page)
    button = page.get_by_role("button", name="Show Password")
    box = button.bounding_box()
    assert box
    assert min(box["width"], box["height"]) >= 44
    assert button.get_attribute("aria-pressed") == "false"
    button.click()

    shown = page.locator("#ciam_password")
    names = ("type", "name", "autocomplete", "spellcheck")
    assert [shown.get_attribute(name) for name in names] == [
        "text",
        "password",
        "current-password",
        "false",
    ]
    button = page.get_by_role("button", name="Hide Password")
    assert button.get_attribute("aria-pressed") == "true"
    assert page.evaluate(TYPE_WHEN_SENT) == "password"
    assert page.input_value("#ciam_password") == "typed-secret"


def test_a_double_click_sends_one_form(page: Page, site: str) -> None:
    page.goto(f"{site}/ciam/login/?method=sms")
    addresses = posted(page)
    page.fill("#ciam_phone_number", "138 0000 1234")
    agree(page)
    with page.expect_navigation():
        page.dblclick(SUBMIT, no_wait_after=True)

    assert page.query_selector("#ciam_code")
    assert len(addresses) == 1


def test_all_buttons_wait_while_a_form_is_sent(page: Page, site: str) -> None:
    page.goto(f"{site}/ciam/login/")
    page.evaluate("addEventListener('submit', (event) => event.preventDefault())")
    page.fill("#ciam_username", "li")
    page.fill("#ciam_password", PASSWORD)
    agree(page)
    page.click(SUBMIT)

    waiting = "[type=submit][aria-disabled=true]"
    assert page.locator(waiting).count() == page.locator("[type=submit]").count() > 3
    assert page.get_attribute(SUBMIT, "aria-busy") == "true"
    opacity = "each => each.map(button => getComputedStyle(button).opacity)"
    assert {*page.eval_on_selector_all(f"{waiting}:not([aria-busy])", opacity)} == {"0.6"}
    page.evaluate("dispatchEvent(new Event('pageshow'))")
    assert page.locator(f"{waiting}, [aria-busy]").count() == 0

    # The mark of a provider shows that it is loading, too.
    page.click(".ciam-mark >> nth=0")
    ring = "mark => getComputedStyle(mark, '::before').animationName"
    assert page.eval_on_selector(".ciam-mark[aria-busy=true]", ring) == "ciam-turn"


def test_a_form_without_scripts_comes_back_with_all_but_the_password(
    chromium: Browser, site: str
) -> None:
    with tab(chromium, java_script_enabled=False) as page:
        page.goto(f"{site}/ciam/login/")
        assert not page.is_visible(".ciam-reveal")
        send(page, username="li", password="")
        assert page.input_value("#ciam_username") == "li"
        assert page.is_checked("input[name=consent] >> nth=0")
        assert page.evaluate("document.activeElement.id") == "ciam_password"

        page.goto(f"{site}/ciam/recover/")
        send(page, receiver="li@example.com")
        send(page, code=CODE, password="short")
        assert page.input_value("#ciam_code") == CODE
        assert page.input_value("#ciam_password") == ""
        send(page, code=CODE, password="a-new-passw0rd")
        assert page.query_selector(".is-good")
