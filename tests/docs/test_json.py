"""Compare the JSON of docs/json.md with the answers of the endpoints, and run its examples."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from django.urls import resolve
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from ciam_django.login.steps.table import NATIVE, STEPS
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import CODE, PASSWORD
from tests.docs.blocks import DOCS, take, take_all
from tests.docs.conftest import Project
from tests.docs.new_project import SETTINGS
from tests.docs.node import run_node
from tests.login.test_providers import PHONE

PAGE: Final = "json.md"
PROVIDERS_JSON, STEP_JSON, SIGNED_IN_JSON, FAILURE_JSON, TOKENS_JSON, REDIRECT_JSON = take_all(
    PAGE, "json"
)
(NATIVE_REQUEST,) = take_all(PAGE, "http")
NATIVE_SETTINGS: Final = take(PAGE, "shop/settings.py", index=2)
SIGN_IN: Final = take(PAGE, "sign-in.js")
COMPONENT: Final = take(PAGE, "SignIn.jsx")
# The values that differ in each answer.
CHANGING: Final = ("flow", "csrf_token", "request_id", "url", "wait")


@pytest.fixture
def mode() -> str:
    return "ciam"


class App:
    """A front end that sends and reads only JSON."""

    def __init__(self) -> None:
        self.client = Client(headers={"Accept": "application/json"})
        self.consents = [each["id"] for each in self.client.get("/ciam/api/").json()["consents"]]

    def post(self, name: str, **members: object) -> Any:
        body = {"consent": self.consents, **members}
        return self.client.post(f"/ciam/api/{name}/", body, content_type="application/json").json()


@pytest.fixture
def app(ciam: FakeCiam, db: None, settings: Settings) -> App:
    cache.clear()
    settings.CIAM_LOGIN_METHODS = ["password", "sms"]
    return App()


def without_changing(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: type(value) if name in CHANGING else value for name, value in answer.items()}


@pytest.mark.parametrize(
    ("documented", "step", "members"),
    [
        (STEP_JSON.text, "sms", {"phone_number": "13800001234"}),
        (SIGNED_IN_JSON.text, "password", {"username": "li", "password": PASSWORD}),
        (FAILURE_JSON.text, "password", {"username": "li", "password": "wrong"}),
    ],
    ids=["step", "signed in", "failure"],
)
def test_the_endpoints_answer_the_documented_json(
    documented: str, step: str, members: dict[str, str], app: App
) -> None:
    answer = app.post(step, next="/cart/", **members)

    assert without_changing(answer) == without_changing(json.loads(documented))


def test_the_login_options_have_the_documented_providers(app: App, settings: Settings) -> None:
    row = {"app_id": "1", "source": "s"}
    settings.CIAM_SOCIAL_PROVIDERS = {"qq": row, "wechat": {"in_app": row}}
    flow = app.post("sms", phone_number="13800001234")["flow"]
    app.post("code", flow=flow, code=CODE)
    options = app.client.get("/ciam/api/", headers={"User-Agent": PHONE}).json()

    assert options == options | json.loads(PROVIDERS_JSON.text)


@pytest.mark.django_db
def test_a_native_app_signs_in_with_the_documented_request(
    project: Project, fake_ciam: FakeCiam
) -> None:
    native = NATIVE_SETTINGS.with_text('os.environ["APPLE_SOURCE"]', '"source_apple"')
    clients = {"ciam": fake_ciam.client("ciam")}
    project.start(SETTINGS, native, AUTHLIB_OAUTH_CLIENTS=clients, ROOT_URLCONF="tests.docs.urls")
    head, _, body = NATIVE_REQUEST.text.partition("\n\n")
    request, _, *lines = head.splitlines()
    headers = dict(line.split(": ") for line in lines)
    answer = Client().post(
        request.split()[1],
        {**json.loads(body), "code": fake_ciam.native_code()},
        content_type=headers.pop("Content-Type"),
        headers=headers,
    )

    documented = json.loads(TOKENS_JSON.text)
    assert answer.json() == {
        **documented,
        **{name: answer.json()[name] for name in ("access_token", "refresh_token")},
    }
    assert User.objects.get().get_full_name() == "Wei Li"


def test_a_form_answers_the_documented_redirect(app: App) -> None:
    answer = app.client.post("/ciam/authorize/", {"next": "/cart/"})

    assert without_changing(answer.json()) == without_changing(json.loads(REDIRECT_JSON.text))


def test_the_page_lists_all_endpoints_and_all_buttons() -> None:
    text = (DOCS / PAGE).read_text(encoding="utf-8")
    endpoints = re.findall(r"^\| `(?:GET|POST) (/ciam/api/[\w/]*)`", text, re.MULTILINE)
    names = {path.removeprefix("/ciam/api/").rstrip("/") for path in endpoints}
    buttons = re.search(r"^\| `do` \| .*?: (.*) \|$", text, re.MULTILINE)

    assert names == {"", "captcha", "renew"} | {
        name for name, step in STEPS.items() if step.starts_flow and name != NATIVE
    }
    assert resolve("/ciam/api/with/apple/").url_name == "api_provider"
    for path in endpoints:
        assert resolve(path).app_name == "ciam"
    assert buttons
    assert set(re.findall(r"`(\w+)`", buttons[1])) == {
        button for step in STEPS.values() for button in step.others
    }


# --- The examples, in node --------------------------------------------------------------------

# The browser's cookies, and its origin.
BROWSER: Final = """
const cookies = new Map();
const site = SITE;
let answered = 0;
globalThis.offered = () => answered > 0;
const nativeFetch = globalThis.fetch;
globalThis.fetch = async (path, options = {}) => {
  const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
  const headers = { ...options.headers, Cookie: cookie, Origin: site, "Accept-Language": "en" };
  const response = await nativeFetch(new URL(path, site), { ...options, headers });
  answered += 1;
  for (const line of response.headers.getSetCookie()) {
    const [, name, value] = line.match(/^([^=]+)=([^;]*)/);
    cookies.set(name, value);
  }
  return response;
};
"""

SCENARIO: Final = """
import "./browser.mjs";
const { loginOptions, begin, goOn } = await import("./sign-in.js");
const options = await loginOptions();
const consent = options.consents.map(({ id }) => id);
const told = { methods: options.methods };
told.refused = await begin("password", { username: "li", password: "wrong", consent })
  .catch((problem) => problem.detail);
const step = await begin("sms", { phone_number: "13800001234", consent });
told.step = step.step;
told.signedIn = await goOn(step, { code: CODE });
told.again = (await begin("password", { username: "li", password: PASSWORD, consent })).status;
console.log(JSON.stringify(told));
"""

REACT_SCENARIO: Final = """
import "./browser.mjs";
import { createElement } from "react";
import { act, create } from "react-test-renderer";

globalThis.IS_REACT_ACT_ENVIRONMENT = true;
// The browser's FormData reads the inputs of a form. The test gives the values itself.
globalThis.FormData = class {
  constructor(values) { this.values = values; }
  get(name) { return this.values[name]; }
  getAll(name) { return this.values[name]; }
};
const { SignIn } = await import("./SignIn.js");

const shown = { next: null };
let page;
await act(async () => {
  page = create(createElement(SignIn, { onSignedIn: (next) => { shown.next = next; } }));
});
const until = async (isTrue) => {
  for (let count = 0; count < 500 && !isTrue(); count += 1) {
    await act(() => new Promise((go) => setTimeout(go, 10)));
  }
};
const submit = (input) => act(async () => {
  const event = { preventDefault() {}, target: input };
  await page.root.findByType("form").props.onSubmit(event);
});
const inputs = () => page.root.findAllByType("input").map(({ props }) => props);
const texts = (type) => page.root.findAllByType(type).map((each) => each.children.join(""));
const told = {};

// The first call has to bring the CSRF token and the fields.
await until(() => offered() && inputs().length > 2);
const [, , box] = page.root.findAllByType("input");
told.terms = [box.props.required, box.parent.children.at(-1)];
told.first = [texts("h1")[0], ...inputs().slice(0, 2).map(({ name, type, autoComplete }) =>
  `${name} ${type} ${autoComplete}`)];
await submit({ username: "careful", password: "wrong" });
told.alert = page.root.findByProps({ role: "alert" }).children;
await submit({ username: "careful", password: PASSWORD });
told.step = texts("h1")[0];
told.channels = texts("option");
await submit({ channel: "SMS" });
told.code = inputs().map(({ name }) => name);
await submit({ code: CODE });
told.next = shown.next;
console.log(JSON.stringify(told));
"""

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")


@pytest.fixture
def front_end(ciam: FakeCiam, live_server: LiveServer, settings: Settings) -> dict[str, str]:
    """The files of a front end of the live site."""
    cache.clear()
    settings.CIAM_LOGIN_METHODS = ["password", "sms"]
    settings.LOGIN_REDIRECT_URL = "/cart/"
    return {
        "package.json": '{"type": "module"}',
        "browser.mjs": BROWSER.replace("SITE", json.dumps(live_server.url)),
        "sign-in.js": SIGN_IN.text,
    }


def with_values(scenario: str) -> str:
    return scenario.replace("PASSWORD", json.dumps(PASSWORD)).replace("CODE", json.dumps(CODE))


@needs_node
@pytest.mark.slow("node")
@pytest.mark.django_db(transaction=True)
def test_the_example_with_fetch_signs_in(front_end: dict[str, str], tmp_path: Path) -> None:
    told = run_node(tmp_path, {**front_end, "scenario.mjs": with_values(SCENARIO)})

    assert told["methods"] == ["password", "sms"]
    assert told["refused"] == json.loads(FAILURE_JSON.text)["detail"]
    assert told["step"] == "code"
    assert (told["signedIn"]["status"], told["signedIn"]["next"]) == ("signed_in", "/cart/")
    # The second sign-in has the CSRF token of the first one.
    assert told["again"] == "signed_in"


@needs_node
@needs_npm
@pytest.mark.slow("React from npm")
@pytest.mark.django_db(transaction=True)
def test_the_example_with_react_shows_each_step_and_each_failure(
    front_end: dict[str, str], tmp_path: Path
) -> None:
    packages = ["react@18.3.1", "react-test-renderer@18.3.1", "sucrase@3.35.0"]
    subprocess.run(
        ["npm", "install", "--silent", "--no-audit", "--no-fund", *packages],
        cwd=tmp_path,
        check=True,
        timeout=300,
    )
    (tmp_path / "SignIn.jsx").write_text(COMPONENT.text, encoding="utf-8")
    compile_jsx = (
        'const { transform } = require("sucrase"); const fs = require("fs");'
        'const { code } = transform(fs.readFileSync("SignIn.jsx", "utf8"),'
        ' { transforms: ["jsx"], jsxRuntime: "automatic", production: true });'
        'fs.writeFileSync("SignIn.js", code);'
    )
    subprocess.run(["node", "-e", compile_jsx], cwd=tmp_path, check=True, timeout=60)
    scenario = with_values(REACT_SCENARIO)

    told = run_node(tmp_path, {**front_end, "scenario.mjs": scenario})

    assert told["first"] == [
        "Password",
        "username text username",
        "password password current-password",
    ]
    # The user agrees with a box, and not with the button.
    assert told["terms"] == [True, "I have read and agree to 用户协议, 隐私政策."]
    assert told["alert"] == [json.loads(FAILURE_JSON.text)["detail"]]
    assert told["step"] == "Verify it's you"
    assert told["channels"] == ["Enter my password", "Text me a code"]
    assert told["code"] == ["code"]
    assert told["next"] == "/cart/"
