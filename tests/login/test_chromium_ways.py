"""Every login method in a real browser, also without scripts, by keyboard, on a small screen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from pytest_django.fixtures import Settings

from ciam_django.login.steps import flow as flows
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import CAPTCHA_TEXT, CODE, PASSWORD
from ciam_django.testing.providers import PROVIDER_PAGES
from tests.browser import query_of
from tests.catalogues import write_catalogue
from tests.login.test_chromium import (
    CHROMIUM,
    WECHAT,
    chromium,
    chromium_type,
    is_signed_in,
    press,
    site,
    tab,
)
from tests.login.test_social import registered_at

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request, Route

__all__ = ["chromium", "chromium_type", "site"]

pytestmark = [
    pytest.mark.slow("Chromium"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("mode", ["ciam"]),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]

SUBMIT = "form[data-ciam-form] button[type=submit]:not([name=do])"
ASK = "[data-ciam-ask]"
NARROW = {"width": 320, "height": 640}
HOME = "/admin/login/"


@pytest.fixture(autouse=True)
def offer_everything(ciam: FakeCiam, settings: Settings) -> None:
    cache.clear()
    settings.CIAM_LOGIN_METHODS = ["password", "sms", "email", "hosted", "recover", "sign_up"]
    settings.CIAM_SEND_LIMITS = {}
    settings.CIAM_SOCIAL_PROVIDERS = registered_at(ciam)
    settings.STRICT_CSP = ""
    ciam.accounts.__dict__["_last_sends"].clear()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page that must not violate the content security policy or raise a script error."""
    violations: list[str] = []
    with tab(chromium) as opened:
        opened.on(
            "console",
            lambda message: violations.append(message.text) if "Policy" in message.text else None,
        )
        opened.on("pageerror", lambda error: violations.append(str(error)))
        yield opened
        assert not violations


def agree(page: Page) -> None:
    # A popup can still be empty.
    page.wait_for_selector("form", state="attached")
    for box in page.query_selector_all("input[name=consent]"):
        box.check()


def press_provider(page: Page, name: str) -> None:
    """Agree to the terms, and press the button of a provider, which may be in the closed part."""
    agree(page)
    button = page.locator(f"button[formaction='/ciam/with/{name}/']")
    if not button.is_visible():
        page.click(".ciam-others > summary")
    with page.expect_navigation():
        button.click()


def send(page: Page, **values: str) -> None:
    """Fill in the form, accept the terms and send the form."""
    for name, value in values.items():
        page.fill(f"#ciam_{name}", value)
    agree(page)
    press(page, SUBMIT)


def request_code(page: Page, site: str, number: str = "+86 138 0000 1234") -> None:
    page.goto(f"{site}/ciam/login/?method=sms&next={HOME}")
    send(page, phone_number=number)
    assert page.query_selector("#ciam_code")


# --- Login methods ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("password", {"username": "li", "password": PASSWORD}),
        ("sms", {"phone_number": "138 0000 1234"}),
        ("email", {"email": "li@example.com"}),
    ],
)
@pytest.mark.parametrize("scripts", [True, False])
def test_each_form_signs_in_with_and_without_scripts(
    chromium: Browser, site: str, method: str, values: dict[str, str], *, scripts: bool
) -> None:
    with tab(chromium, java_script_enabled=scripts) as page:
        page.goto(f"{site}/ciam/login/?method={method}&next={HOME}")
        send(page, **values)
        if method != "password":
            send(page, code=CODE)

        assert page.url == f"{site}{HOME}"
        assert is_signed_in(page)


def test_a_post_of_apples_site_keeps_the_sign_in_of_this_browser(
    page: Page, site: str, ciam: FakeCiam, settings: Settings
) -> None:
    rows = settings.CIAM_SOCIAL_PROVIDERS
    settings.CIAM_SOCIAL_PROVIDERS = {**rows, "apple": {**rows["apple"], "scope": "name email"}}
    settings.CIAM_CONSENT_BEFORE = []
    # Browsers take the names of a host and its addresses for different sites.
    assert "//localhost:" in site
    assert "//127.0.0.1:" in ciam.url
    cookies: dict[str, bool] = {}

    def record(request: Request) -> None:
        if "/apple/callback/" in request.url:
            cookies[request.method] = "ciam_state" in request.all_headers().get("cookie", "")

    page.on("requestfinished", record)
    page.goto(f"{site}/ciam/login/?next={HOME}")
    press_provider(page, "apple")
    page.click("button[value=sign_in]")
    page.wait_for_url(f"{site}{HOME}")

    assert cookies == {"POST": False, "GET": True}
    assert is_signed_in(page)
    assert User.objects.get().get_full_name() == "Apple li"


def test_the_keyboard_is_enough_to_sign_in(page: Page, site: str) -> None:
    page.goto(f"{site}/ciam/login/?next={HOME}")
    # The first field has the focus.
    page.keyboard.type("li")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    # The button that shows the password.
    page.keyboard.press("Tab")
    # The box of the terms, two links, and the button.
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    for _ in range(3):
        page.keyboard.press("Tab")
    with page.expect_navigation():
        page.keyboard.press("Enter")

    assert page.url == f"{site}{HOME}"
    assert is_signed_in(page)


@pytest.mark.parametrize("name", [name for name in PROVIDER_PAGES if name != "wechat-in_app"])
def test_each_provider_signs_in(page: Page, site: str, name: str) -> None:
    page.goto(f"{site}/ciam/login/?next={HOME}")
    press_provider(page, name)
    assert f"/provider/{name}/authorize" in page.url
    press(page, "button[value=sign_in]")

    # A browser keeps the fragment of the provider when it follows a redirect without a fragment.
    mark = "#" if name.startswith("wechat") else ""
    assert page.url == f"{site}{HOME}{mark}"
    assert is_signed_in(page)


def test_the_buttons_of_a_row_are_side_by_side(page: Page, site: str) -> None:
    page.goto(f"{site}/ciam/login/")
    page.click(".ciam-others > summary")
    boxes = [each.bounding_box() for each in page.query_selector_all(".ciam-grid > button")]
    first, second = boxes[:2]

    assert first
    assert second
    assert (first["y"], first["height"]) == (second["y"], second["height"])


def test_a_cancelled_sign_in_is_shown_on_the_login_page(page: Page, site: str) -> None:
    page.goto(f"{site}/ciam/login/?next={HOME}")
    press_provider(page, "weibo")
    press(page, "button[value=cancel]")

    assert page.inner_text("[role=status]").startswith("Sign-in was cancelled")
    send(page, username="li", password=PASSWORD)
    assert page.url == f"{site}{HOME}"


def test_wechats_browser_offers_wechats_own_page(chromium: Browser, site: str) -> None:
    with tab(chromium, user_agent=WECHAT, viewport=NARROW) as page:
        page.goto(f"{site}/ciam/login/?next={HOME}")
        assert page.query_selector("button[formaction='/ciam/with/wechat-website/']") is None
        assert page.inner_text(".ciam-first") == "Sign in with WeChat"
        press_provider(page, "wechat-in_app")
        assert page.url.endswith("#wechat_redirect")
        press(page, "button[value=sign_in]")

        assert page.url == f"{site}{HOME}#"
        assert is_signed_in(page)


def test_the_provider_of_the_last_sign_in_is_above_the_form(page: Page, site: str) -> None:
    page.goto(f"{site}/ciam/login/?next={HOME}")
    press_provider(page, "weibo")
    press(page, "button[value=sign_in]")
    page.context.clear_cookies(name="sessionid")
    page.goto(f"{site}/ciam/login/?next={HOME}")

    assert page.inner_text(".ciam-first").split("\n") == ["Sign in with Weibo", "Last used"]
    assert page.evaluate("document.activeElement === document.body")
    press_provider(page, "weibo")
    assert "/provider/weibo/authorize" in page.url


def test_the_tabs_keep_what_was_typed_and_ticked(page: Page, site: str) -> None:
    response = page.goto(f"{site}/ciam/login/?next={HOME}")
    assert response
    assert "default-src 'self'" in response.headers["content-security-policy"]
    page.evaluate("window.isSamePage = true")
    page.fill("#ciam_username", "138 0000 1234")
    page.fill("#ciam_password", "not stored")
    page.check("[name=consent]")
    page.click(".ciam-method >> text=Email")
    page.wait_for_selector("#ciam_email")
    assert page.input_value("#ciam_email") == ""
    page.click(".ciam-method >> text=SMS")
    page.wait_for_selector("#ciam_phone_number")

    assert page.input_value("#ciam_phone_number") == "138 0000 1234"
    assert page.is_checked("[name=consent]")
    assert page.url.startswith(f"{site}/ciam/login/?method=sms")
    assert page.evaluate("document.activeElement.textContent") == "SMS"
    page.uncheck("[name=consent]")
    page.click(".ciam-method >> text=Password")
    page.wait_for_selector("#ciam_password")
    assert page.input_value("#ciam_password") == "not stored"
    assert not page.is_checked("[name=consent]")
    assert page.evaluate("[isSamePage, sessionStorage.length, localStorage.length]") == [True, 0, 0]

    # A tab that has come into the page is complete.
    page.click(".ciam-method >> text=SMS")
    page.click(SUBMIT)
    page.click("[data-ciam-agree]")
    page.wait_for_selector("#ciam_code")


# --- WeChat's QR code inside the page ---------------------------------------------------------

QR_SOURCES = "script-src 'self' https://res.wx.qq.com; frame-src https://open.weixin.qq.com"
# A script with the documented behaviour of WeChat's script.
QR_SCRIPT = """
window.WxLogin = function (options) {
  const frame = document.createElement("iframe");
  const names = ["appid", "scope", "redirect_uri", "state", "style", "self_redirect"];
  frame.src = "https://open.weixin.qq.com/connect/qrconnect?login_type=jssdk&" +
    names.map((name) => `${name}=${options[name]}`).join("&");
  frame.width = "300px";
  frame.height = "400px";
  document.getElementById(options.id).replaceChildren(frame);
};
"""
# The page in the frame, after the user has scanned the code.
QR_PAGE = """<!DOCTYPE html><title>WeChat</title><script>
const query = new URLSearchParams(location.search);
setTimeout(() => {
  top.location = `${query.get("redirect_uri")}?code=CODE&state=${query.get("state")}`;
}, 1000);
</script>"""


def play_wechat(page: Page, code: str) -> list[str]:
    """Answer for WeChat, and return the list that gets the URLs of the frame."""
    frames: list[str] = []

    def answer_frame(route: Route) -> None:
        frames.append(route.request.url)
        route.fulfill(body=QR_PAGE.replace("CODE", code), content_type="text/html")

    page.route("https://open.weixin.qq.com/**", answer_frame)
    page.route(
        "https://res.wx.qq.com/**",
        lambda route: route.fulfill(body=QR_SCRIPT, content_type="text/javascript"),
    )
    return frames


def test_the_qr_code_signs_in_inside_the_page(
    page: Page, site: str, ciam: FakeCiam, settings: Settings
) -> None:
    settings.CIAM_WECHAT_QR = True
    settings.STRICT_CSP = QR_SOURCES
    frames = play_wechat(page, ciam.accounts.issue_social_code("li"))
    page.goto(f"{site}/ciam/login/?next={HOME}")
    page.click("button[formaction='/ciam/with/wechat-website/']")
    # The dialog of the terms comes first.
    assert frames == []
    page.click("[data-ciam-agree]")
    page.wait_for_selector("[data-ciam-qr-dialog] iframe")
    assert page.get_attribute("iframe", "title") == "Scan with WeChat to sign in"
    page.wait_for_url(f"{site}{HOME}*")

    assert is_signed_in(page)
    query = query_of(frames[-1])
    assert query["appid"] == "app_wechat-website"
    assert query["self_redirect"] == "false"
    assert query["redirect_uri"] == f"{site}/ciam/with/wechat-website/callback/"


@pytest.mark.parametrize("sources", ["", "script-src 'self' https://res.wx.qq.com"])
def test_a_browser_that_refuses_the_qr_code_leaves_for_wechats_page(
    chromium: Browser, site: str, ciam: FakeCiam, settings: Settings, sources: str
) -> None:
    settings.CIAM_WECHAT_QR = True
    settings.STRICT_CSP = sources
    with tab(chromium) as page:
        play_wechat(page, "unused")
        page.goto(f"{site}/ciam/login/?next={HOME}")
        press_provider(page, "wechat-website")
        assert page.url.startswith(f"{ciam.url}/provider/wechat-website/authorize")
        press(page, "button[value=sign_in]")
        assert is_signed_in(page)


# --- Failures ---------------------------------------------------------------------------------


def test_the_focus_is_on_the_field_that_the_server_refuses(page: Page, site: str) -> None:
    page.goto(f"{site}/ciam/login/?method=sms")
    send(page, phone_number="1234567")

    focused = page.evaluate("document.activeElement.id")
    assert focused == "ciam_phone_number"
    described_by = page.get_attribute("#ciam_phone_number", "aria-describedby")
    message = page.get_attribute("#ciam_phone_number", "data-ciam-invalid")
    assert page.inner_text(f"#{described_by}") == message
    assert page.input_value("#ciam_phone_number") == "1234567"


def test_a_wrong_password_is_an_error_at_the_password(page: Page, site: str) -> None:
    page.goto(f"{site}/ciam/login/")
    send(page, username="li", password="wrong")

    assert page.title().startswith("Error: ")
    assert page.query_selector("[role=alert]") is None
    assert "password" in page.inner_text("#ciam_password_error")
    assert page.input_value("#ciam_username") == "li"
    assert page.input_value("#ciam_password") == ""
    assert page.evaluate("document.activeElement.id") == "ciam_password"


def test_an_error_above_the_heading_has_the_focus(page: Page, site: str, ciam: FakeCiam) -> None:
    page.goto(f"{site}/ciam/login/")
    ciam.fail("password", code="Service.Internal.Error")
    send(page, username="li", password=PASSWORD)

    assert page.evaluate("document.activeElement.getAttribute('role')") == "alert"


def test_a_captcha_can_be_read_and_replaced(page: Page, site: str, ciam: FakeCiam) -> None:
    page.goto(f"{site}/ciam/login/")
    for _ in range(4):
        send(page, username="li", password="wrong")

    picture = "document.querySelector('.ciam-picture')"
    assert page.evaluate(f"{picture}.naturalWidth") == 104
    known = len(ciam.accounts._captchas)
    with page.expect_response(re.compile(r"/ciam/captcha/\?")):
        page.click("text=New image")
    assert len(ciam.accounts._captchas) == known + 1

    send(page, username="li", password=PASSWORD, captcha=CAPTCHA_TEXT)
    assert is_signed_in(page)


SUBMIT_TWICE = """() => {
    const form = document.querySelector("form[data-ciam-form]");
    const button = form.querySelector("button[type=submit]");
    const states = [];
    let sent = 0;
    // The listener of the page comes first.
    addEventListener("submit", (event) => {
        sent += event.defaultPrevented ? 0 : 1;
        event.preventDefault();
    });
    const submitTwice = () => {
        form.requestSubmit(button);
        form.requestSubmit(button);
        states.push([sent, button.getAttribute("aria-busy")]);
    };
    submitTwice();
    // The browser restores the page when the user goes back.
    dispatchEvent(new Event("pageshow"));
    states.push([sent, button.getAttribute("aria-busy")]);
    submitTwice();
    return states;
}"""


def test_a_form_that_is_submitted_twice_is_sent_once_until_the_user_goes_back(
    page: Page, site: str
) -> None:
    page.goto(f"{site}/ciam/login/?method=sms")
    page.fill("#ciam_phone_number", "138 0000 1234")
    agree(page)

    assert page.evaluate(SUBMIT_TWICE) == [[1, "true"], [1, None], [2, "true"]]


# --- A new code -------------------------------------------------------------------------------


@pytest.mark.parametrize("locale", ["en-US", "zh-CN", "zh-TW"])
def test_the_button_counts_down_and_the_end_is_announced_once(
    chromium: Browser, site: str, locale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, label, announced = {
        "en-US": (r"Resend in [1-6]s", "Resend code", "You can get a new code now."),
        "zh-CN": (r"重新获取（[1-6] 秒）", "重新获取", "现在可以重新获取验证码。"),
        "zh-TW": (r"重新傳送（[1-6] 秒）", "重新傳送", "現在可以重新傳送驗證碼。"),
    }[locale]
    monkeypatch.setattr(flows, "_RESEND_SECONDS", 6)
    with tab(chromium, locale=locale) as page:
        request_code(page, site)
        resend = page.locator("button[value=resend]")
        status = page.locator("form[data-ciam-form] > [role=status]")
        assert re.fullmatch(shown, resend.locator("[aria-hidden]").inner_text())
        # A screen reader neither reads each second nor loses the button.
        assert resend.aria_snapshot() == f'- button "{label}" [disabled]'
        assert status.text_content() == ""
        address = page.url
        resend.click(force=True)
        page.wait_for_timeout(200)
        assert page.url == address
        assert page.query_selector("[role=alert]") is None

        page.wait_for_selector("button[value=resend]:not([aria-disabled])")
        assert resend.inner_text() == label
        assert status.text_content() == announced
        press(page, "button[value=resend]")
        assert page.query_selector("button[value=resend][aria-disabled]")


def test_the_wait_is_shown_without_scripts(
    chromium: Browser, site: str, settings: Settings
) -> None:
    settings.CIAM_SEND_LIMITS = {"receiver": ("1/min",)}
    with tab(chromium, java_script_enabled=False) as page:
        request_code(page, site)
        assert re.search(r"in (60|59|58) seconds", page.inner_text("noscript .ciam-wait"))
        press(page, "button[value=resend]")

        assert "Too many text messages" in page.inner_text("[role=alert]")


# --- The country code ---------------------------------------------------------------------------


@pytest.mark.parametrize("scripts", [True, False])
def test_a_country_code_is_chosen_with_and_without_scripts(
    chromium: Browser, site: str, *, scripts: bool
) -> None:
    with tab(chromium, java_script_enabled=scripts, viewport=NARROW) as page:
        page.goto(f"{site}/ciam/login/?method=sms&next={HOME}")
        page.select_option("select[name=phone_region]", "TW")
        send(page, phone_number="0912 345 678")
        assert "+886 91****678" in page.inner_text(".ciam-detail")
        press(page, "text=Change number")
        # The code that waits stays in reach.
        assert "+886 91****678" in page.inner_text(".ciam-hint a")
        send(page, phone_number="9123 4567")
        assert "such as Hong Kong +852" in page.inner_text(".ciam-error")
        page.select_option("select[name=phone_region]", "HK")
        send(page, phone_number="9123 4567")
        send(page, code=f"Your code is {CODE[:3]}-{CODE[3:]}. It is valid for 10 minutes.")

        assert is_signed_in(page)


def test_the_choice_of_a_country_code_is_as_small_as_the_code_and_hides_for_other_texts(
    page: Page, site: str
) -> None:
    page.goto(f"{site}/ciam/recover/")
    choice = page.locator(".ciam-phone .ciam-select")
    box, field = choice.bounding_box(), page.locator("#ciam_receiver").bounding_box()
    assert box
    assert field
    assert box["width"] < 100
    assert box["height"] == field["height"] >= 44
    assert box["x"] + box["width"] == pytest.approx(field["x"], abs=1)
    assert choice.aria_snapshot().startswith('- combobox "Country code":')
    for typed, is_visible in {
        "138": True, "+852": False, "00852": False, "li@": False, "": True,
    }.items():  # fmt: skip
        page.fill("#ciam_receiver", typed)
        assert choice.is_visible() == is_visible, typed


def test_a_browser_that_restarts_leads_to_the_page_of_the_code(
    chromium: Browser, site: str
) -> None:
    with tab(chromium) as page:
        request_code(page, site)
        address, state = page.url, page.context.storage_state()
    # A browser keeps the cookies that have a lifetime.
    state["cookies"] = [c for c in state["cookies"] if c.get("expires", -1) > 0]
    with tab(chromium, storage_state=state) as page:
        page.goto(address)
        assert page.query_selector("#ciam_code")
        page.goto(f"{site}/ciam/login/?method=sms&next={HOME}")
        assert page.url == address
        send(page, code=CODE)

        assert page.url == f"{site}{HOME}"
        assert is_signed_in(page)


# --- Popups -----------------------------------------------------------------------------------

OPENER = """(address) => {
    const link = document.createElement("a");
    link.href = "/ciam/login/?next=/admin/login/";
    link.dataset.ciamPopup = address;
    link.textContent = "sign in";
    link.id = "opener";
    document.body.append(link);
    return import("/static/ciam_django/ciam.js?again");
}"""
POPUP = f"/ciam/login/?next=/ciam/done/?next={HOME}"


@pytest.mark.parametrize("method", ["password", "hosted"])
def test_a_popup_signs_in_for_its_opener(page: Page, site: str, method: str) -> None:
    page.goto(f"{site}/ciam/done/")
    page.evaluate(OPENER, POPUP)
    with page.expect_popup() as opened:
        page.click("#opener")
    popup = opened.value
    if method == "hosted":
        agree(popup)
        press(popup, "button[formaction='/ciam/authorize/']")
        last = "button[value=sign_in]"
    else:
        popup.fill("#ciam_username", "li")
        popup.fill("#ciam_password", PASSWORD)
        agree(popup)
        last = SUBMIT
    with page.expect_navigation(), popup.expect_event("close"):
        popup.click(last)

    assert page.url == f"{site}{HOME}"
    assert is_signed_in(page)


def test_a_popup_that_has_lost_its_opener_still_notifies_the_opener(
    page: Page, site: str, ciam: FakeCiam
) -> None:
    page.goto(f"{site}/ciam/done/")
    page.evaluate(OPENER, POPUP)
    with page.expect_popup() as opened:
        page.click("#opener")
    popup = opened.value
    # The opener's policy separates the popup from its opener at each page of another site.
    popup.goto(f"{ciam.url}/other")
    popup.goto(f"{site}{POPUP}")
    assert popup.evaluate("opener") is None
    popup.fill("#ciam_username", "li")
    popup.fill("#ciam_password", PASSWORD)
    agree(popup)
    with page.expect_navigation(), popup.expect_event("close"):
        # The popup may close before the click returns.
        popup.click(SUBMIT, no_wait_after=True)

    assert page.url == f"{site}{HOME}"


def test_a_blocked_popup_is_replaced_by_the_login_page(page: Page, site: str) -> None:
    page.goto(f"{site}/ciam/done/")
    page.evaluate(OPENER, POPUP)
    page.evaluate("window.open = () => null")
    press(page, "#opener")

    assert page.url == f"{site}/ciam/login/?next={HOME}"


def test_a_closed_popup_is_replaced_by_the_login_page_at_the_next_click(
    page: Page, site: str
) -> None:
    page.goto(f"{site}/ciam/done/")
    page.evaluate(OPENER, POPUP)
    with page.expect_popup() as opened:
        page.click("#opener")
    opened.value.close()
    press(page, "#opener")

    assert page.url == f"{site}/ciam/login/?next={HOME}"


def test_a_popup_works_in_a_browser_without_broadcast_channel(page: Page, site: str) -> None:
    page.context.add_init_script("delete window.BroadcastChannel")
    page.goto(f"{site}/ciam/done/")
    page.evaluate(OPENER, POPUP)
    with page.expect_popup() as opened:
        page.click("#opener")
    popup = opened.value
    agree(popup)
    press(popup, "button[formaction='/ciam/authorize/']")
    assert popup.evaluate("[typeof BroadcastChannel, opener]") == ["undefined", None]
    with page.expect_navigation(), popup.expect_event("close"):
        popup.click("button[value=sign_in]", no_wait_after=True)

    assert page.url == f"{site}{HOME}"
    keys = page.evaluate("Object.keys(localStorage)")
    assert not [key for key in keys if key.startswith("ciam_django")]


def test_a_message_of_another_site_is_ignored(page: Page, site: str) -> None:
    page.goto(f"{site}/ciam/done/")
    page.evaluate(OPENER, POPUP)
    with page.expect_popup():
        page.click("#opener")
    page.evaluate(
        "postMessage({type: 'ciam_django.signed_in', next: '/ciam/login/?method=sms'}, '*')"
    )
    page.wait_for_timeout(200)

    assert page.url == f"{site}/ciam/done/"


# The script of another site's page: it returns the facts that the page sees of its own popup.
SEEN = """async (address) => {
    const seen = [];
    const messages = [];
    addEventListener("message", ({ data }) => messages.push(data));
    window.opened = open(address);
    for (let wait = 0; wait < 20; wait++) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        seen.push([opened.closed, opened.closed ? null : opened.length]);
    }
    return [seen.at(-1), messages];
}"""


@pytest.mark.parametrize("path", ["/ciam/done/", "/ciam/login/"])
def test_an_opener_on_another_site_does_not_see_if_the_user_is_signed_in(
    page: Page, site: str, ciam: FakeCiam, path: str
) -> None:
    next_url = HOME if path == "/ciam/done/" else f"/ciam/done/?next={HOME}"
    address = f"{site}{path}?next={next_url}"
    seen = []
    for is_first in (True, False):
        page.goto(f"{ciam.url}/other")
        with page.expect_popup() as opened:
            seen.append(page.evaluate(SEEN, address))
        assert not opened.value.is_closed()
        opened.value.close()
        if is_first:
            page.goto(f"{site}/ciam/login/?next={HOME}")
            send(page, username="li", password=PASSWORD)
            assert is_signed_in(page)

    # The policy separates the windows: the opener's object seems to be closed at once.
    assert seen == [[[True, None], []]] * 2


def test_a_popup_without_an_opener_continues_to_next(page: Page, site: str) -> None:
    page.goto(f"{site}{POPUP}")
    send(page, username="li", password=PASSWORD)
    page.wait_for_url(f"{site}{HOME}")

    assert is_signed_in(page)


# --- Accessibility and languages --------------------------------------------------------------


def _open_login(page: Page, site: str) -> None:
    page.goto(f"{site}/ciam/login/")


def _send_wrong_password(page: Page, site: str) -> None:
    _open_login(page, site)
    send(page, username="locked", password="wrong")


def _open_captcha(page: Page, site: str) -> None:
    for _ in range(5):
        _send_wrong_password(page, site)


def _send_without_consent(page: Page, site: str) -> None:
    _open_login(page, site)
    page.fill("#ciam_username", "li")
    page.fill("#ciam_password", "x")
    page.click(SUBMIT)
    assert page.is_visible(ASK)


def _request_code(page: Page, site: str) -> None:
    page.goto(f"{site}/ciam/login/?method=sms")
    # The first choice of a page in Traditional Chinese is Taiwan.
    send(page, phone_number="+86 138 0000 1234")


def _change_number(page: Page, site: str) -> None:
    _request_code(page, site)
    press(page, "[href*=change]")


def _sign_in_after_a_reset(page: Page, site: str) -> None:
    _open_login(page, site)
    send(page, username="fail:Operation.Failure.Password.Has.Initialized", password=PASSWORD)


def _send_wrong_code(page: Page, site: str) -> None:
    _request_code(page, site)
    send(page, code="1")


def _signing_in_as(name: str) -> Any:
    def sign_in(page: Page, site: str) -> None:
        _open_login(page, site)
        send(page, username=name, password=PASSWORD)

    return sign_in


def _request_recovery_code(page: Page, site: str) -> None:
    page.goto(f"{site}/ciam/recover/")
    send(page, receiver="li@example.com")


def _open_sign_up(page: Page, site: str) -> None:
    page.goto(f"{site}/ciam/sign-up/")


def _open_link(page: Page, site: str) -> None:
    _open_login(page, site)
    agree(page)
    press(page, "button[formaction='/ciam/with/qq/']")
    page.fill("input[name=username]", "stranger")
    press(page, "button[value=sign_in]")


def _open_expired_step(page: Page, site: str) -> None:
    page.goto(f"{site}/ciam/step/none/")


def _open_done(page: Page, site: str) -> None:
    page.goto(f"{site}/ciam/done/")


PAGES = {
    "login": _open_login,
    "wrong password": _send_wrong_password,
    "captcha": _open_captcha,
    "terms": _send_without_consent,
    "code": _request_code,
    "change number": _change_number,
    "reset": _sign_in_after_a_reset,
    "wrong code": _send_wrong_code,
    "second step": _signing_in_as("careful"),
    "new password": _signing_in_as("stale"),
    "consent": _signing_in_as("hesitant"),
    "profile": _signing_in_as("unfinished"),
    "options": _signing_in_as("unfinished_options"),
    "unknown step": _signing_in_as("odd"),
    "recovery": _request_recovery_code,
    "sign-up": _open_sign_up,
    "link": _open_link,
    "expired step": _open_expired_step,
    "done": _open_done,
}


# The links and controls that are smaller than a finger, but for the links in a sentence. The label
# of a box is a part of the box.
SMALL_TARGETS = """() => [...document.querySelectorAll("a, button, summary, select, input")]
    .filter((target) => target.checkVisibility())
    .filter((target) => !target.closest(".ciam-consent span, .ciam-detail"))
    .map((target) => target.closest("label") ?? target)
    .filter((target) => Math.round(target.getBoundingClientRect().height) < 44)
    .map((target) => target.outerHTML)"""
LANGUAGES = {"en": "en-US", "zh-hans": "zh-CN", "zh-hant": "zh-TW", "ar": "ar"}
SHOWN = [(name, language) for name in PAGES for language in ("en", "zh-hans")]


@pytest.mark.parametrize(
    ("name", "language"),
    [*SHOWN, *((name, language) for name in ("login", "code") for language in ("zh-hant", "ar"))],
)
def test_a_page_is_accessible_in_each_language(  # noqa: PLR0917  (fixtures and parameters)
    chromium: Browser,
    site: str,
    name: str,
    language: str,
    settings: Settings,
    tmp_path: Path,
) -> None:
    """The page fits a small screen and both text directions, and has no finding of axe."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    settings.LANGUAGES = [*settings.LANGUAGES, ("ar", "العربية")]
    # A project may have a catalogue of a language that is written from right to left.
    settings.LOCALE_PATHS = [write_catalogue(tmp_path, "ar", {"Sign in": "تسجيل الدخول"})]
    with tab(chromium, viewport=NARROW, locale=LANGUAGES[language]) as page:
        PAGES[name](page, site)

        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
        assert page.evaluate(SMALL_TARGETS) == []
        assert page.get_attribute("html", "lang") == language
        assert page.get_attribute("html", "dir") == ("rtl" if language == "ar" else "ltr")
        if language.startswith("zh"):
            shown = page.inner_text(".ciam-card")
            assert not re.findall(r"[a-z]{4,} [a-z]{3,}", shown)
        page.emulate_media(color_scheme="light")
        light = axe.Axe().run(page)
        # The dark scheme has other colors and no other difference.
        page.emulate_media(color_scheme="dark")
        only_contrast = {"resultTypes": ["violations"], "runOnly": ["color-contrast"]}
        dark = axe.Axe().run(page, options=only_contrast)
        for results in (light, dark):
            assert results.violations_count == 0, results.generate_report()


def test_a_step_follows_a_change_of_the_language(chromium: Browser, site: str) -> None:
    with tab(chromium, locale="zh-CN") as page:
        _request_code(page, site)
        assert page.inner_text("h1") == "请输入验证码"
        page.context.add_cookies([{"name": "django_language", "value": "en", "url": site}])
        page.reload()
        assert page.inner_text("h1") == "Enter the code"
        send(page, code=CODE)
        assert is_signed_in(page)


# The base template and the styles of a shop, which sets a variable of ciam.css.
SHOP_BASE = (
    "{% load static %}<!DOCTYPE html><title>Shop</title>"
    "<link rel='stylesheet' href='{% static 'shop.css' %}'><main>{% block content %}{% endblock %}"
)
SHOP_STYLES = "a, button { color: red; border-radius: 0 } .ciam-card { --ciam-accent: #010203 }"
STYLE = "([selector, name]) => getComputedStyle(document.querySelector(selector))[name]"


@pytest.mark.parametrize("path", ["/ciam/login/", "/ciam/callback/?code=x"])
def test_a_page_in_the_base_template_of_the_project_has_our_styles(
    page: Page, site: str, path: str, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "shop.html").write_text(SHOP_BASE)
    (tmp_path / "shop.css").write_text(SHOP_STYLES)
    settings.STATICFILES_DIRS = [str(tmp_path)]
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [str(tmp_path)]}]
    settings.CIAM_BASE_TEMPLATE = "shop.html"

    page.goto(f"{site}{path}")

    assert page.title() == "Shop"
    assert page.evaluate(STYLE, [".ciam-card", "borderRadius"]) == "14px"
    assert page.evaluate(STYLE, [".ciam-button", "borderRadius"]) == "10.5px"
    assert page.evaluate(STYLE, [".ciam-button", "backgroundColor"]) == "rgb(1, 2, 3)"
