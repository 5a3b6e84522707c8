"""Run the mini program of docs/mini-program.md in node, against the real endpoints."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Final

import pytest
from django.core.cache import cache
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import CODE
from tests.docs.blocks import take
from tests.docs.node import run_node

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow("node"),
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
]

PAGE: Final = "mini-program.md"
SIGN_IN: Final = take(PAGE, "sign-in.js").text
PAGE_WITH_BUTTON: Final = take(PAGE, "pages/sign-in.js").text
API: Final = take(PAGE, "api.js").text

# WeChat's functions that the sample uses.
WX: Final = """
const stored = new Map();
export const requests = [];
export const state = { loginCode: "", language: "zh_CN", backs: 0, toasts: [] };
globalThis.wx = {
  getAppBaseInfo: () => ({ language: state.language }),
  getStorageSync: (key) => stored.get(key) ?? "",
  setStorageSync: (key, value) => stored.set(key, JSON.parse(JSON.stringify(value))),
  removeStorageSync: (key) => stored.delete(key),
  login: ({ success }) => success({ code: state.loginCode }),
  navigateBack: () => { state.backs += 1; },
  showToast: ({ title }) => state.toasts.push(title),
  request: ({ url, method, data, header, success, fail }) => {
    requests.push({ url, ...header });
    fetch(url, { method, headers: header, body: JSON.stringify(data) })
      .then(async (response) => {
        success({ statusCode: response.status, data: await response.json() });
      })
      .catch(fail);
  },
};
globalThis.Page = (page) => {
  globalThis.page = { ...page, data: {}, setData(data) { Object.assign(this.data, data); } };
};
"""

SCENARIO: Final = """
import { requests, state } from "./wx.mjs";
const { signInSilently, signInByPhone, goOn, token } = await import("./sign-in.mjs");
const end = (seconds) => {
  wx.setStorageSync("token", { ...wx.getStorageSync("token"), until: Date.now() + seconds * 1000 });
};
const settled = async (promise) => promise.catch((problem) => ({ problem }));
const told = {};

told.before = (await token()) ?? null;
state.loginCode = "fake:li";
told.silent = await signInSilently();
told.kept = [await token(), await token()];
const silent = requests.length;
end(30);
told.renewed = await Promise.all([token(), token(), token()]);
told.renewals = requests.length - silent;
told.afterwards = await token();
end(-1);
told.again = await token();

const { get } = await import("./api.mjs");
told.options = await get(OPTIONS_URL);
told.authorization = requests.at(-1).Authorization;
told.missing = (await settled(get(OPTIONS_URL + "nothing/"))).problem;

wx.setStorageSync("token", { ...wx.getStorageSync("token"), refresh_token: "spent" });
end(-1);
told.refused = await Promise.all([settled(token()), settled(token())]);
told.cleared = (await token()) ?? null;

state.loginCode = "fake:careful";
const step = await signInSilently();
const code = await goOn(step, { channel: "SMS" });
told.steps = [step.step, code.step, (await goOn(code, { code: CODE })).status];

state.loginCode = "fake:unlinked";
told.unknown = (await settled(signInSilently())).problem;
told.phone = (await signInByPhone({ detail: { code: "p" } })).status;

await import("./page.mjs");
const wait = async (isTrue) => { while (!isTrue()) await new Promise((go) => setTimeout(go, 5)); };
page.onLoad();
await wait(() => page.data.asks);
page.onPhone({ detail: {} });
await wait(() => state.toasts.length);
page.onPhone({ detail: { code: "p" } });
await wait(() => state.backs);
told.toasts = state.toasts;
const languages = requests.map((request) => request["Accept-Language"]);
told.languages = [...new Set(languages.filter(Boolean))];
console.log(JSON.stringify(told));
"""


@pytest.mark.parametrize("mode", ["ciam"])
def test_the_mini_program_of_the_documentation_signs_in_and_renews_once(
    ciam: FakeCiam, live_server: LiveServer, settings: Settings, tmp_path: Path, mode: str
) -> None:
    cache.clear()
    settings.CIAM_API_SIGN_IN = "token"
    settings.CIAM_TRY_LIMITS = settings.CIAM_SEND_LIMITS = {}
    settings.CIAM_SOCIAL_PROVIDERS = {
        "wechat": {"mini_program": {"app_id": "wx3", "source": "source_wechat_mini_program"}}
    }
    site = "https://shop.example.com/ciam/api/"
    assert site in SIGN_IN
    files = {
        "wx.mjs": WX,
        "sign-in.mjs": SIGN_IN.replace(site, f"{live_server.url}/ciam/api/"),
        "page.mjs": PAGE_WITH_BUTTON.replace('"../sign-in"', '"./sign-in.mjs"'),
        "api.mjs": API.replace('"./sign-in"', '"./sign-in.mjs"'),
        "scenario.mjs": SCENARIO.replace("CODE", json.dumps(CODE)).replace(
            "OPTIONS_URL", json.dumps(f"{live_server.url}/ciam/api/")
        ),
    }
    told = run_node(tmp_path, files)

    assert told["before"] is None
    assert told["silent"]["status"] == "signed_in"
    assert told["kept"] == [told["silent"]["access_token"]] * 2
    # Three calls at the same time have sent one request, and have the same new token.
    assert told["renewals"] == 1
    assert told["renewed"] == [told["afterwards"]] * 3
    assert len({told["silent"]["access_token"], told["afterwards"], told["again"]}) == 3
    # The API gets the token, and its failures are rejections.
    assert "methods" in told["options"]
    assert told["authorization"] == f"Bearer {told['again']}"
    assert told["missing"]["code"] == "method_not_allowed"
    assert [each["problem"]["code"] for each in told["refused"]] == ["invalid_grant"] * 2
    assert told["cleared"] is None
    assert told["steps"] == ["second_factor", "second_factor_code", "signed_in"]
    assert told["unknown"]["code"] == "Operation.Failure.Mini.Program.Silent.Login"
    assert re.search(r"[\u4e00-\u9fff]", told["unknown"]["detail"])
    assert told["phone"] == "signed_in"
    (toast,) = told["toasts"]
    assert re.search(r"[\u4e00-\u9fff]", toast)
    assert told["languages"] == ["zh-CN"]
