"""Render the HTML pages of the fake: forms for a user name, and pages with one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from werkzeug import Request

_TEXTS: Final = {
    "zh": {
        "lang": "zh-Hans",
        "title": "登录 · 模拟身份服务",
        "heading": "登录",
        "lead": "这是一个仅供开发使用的模拟身份服务，无需密码。",
        "label": "用户名",
        "sign_in": "登录",
        "cancel": "取消",
        "at_provider": "模拟的{name}登录页，仅供开发使用，无需密码。",
        "refused": "您已拒绝授权，可以关闭此页面",
        "hint": "想看登录失败的样子？输入以下任意一个作为用户名：",
        "client_id": "未知的 client_id",
        "redirect_uri": "redirect_uri 未注册",
        "response_mode": "scope 要求 response_mode=form_post",
        "posting": "正在返回网站",
        "continue": "继续",
        "signed_out": "您已退出登录",
        "post_logout_redirect_uri": "post_logout_redirect_uri 未注册",
    },
    "en": {
        "lang": "en",
        "title": "Sign in · Fake CIAM",
        "heading": "Sign in",
        "lead": "A simulated identity service for developers. No password is needed.",
        "label": "User name",
        "sign_in": "Sign in",
        "cancel": "Cancel",
        "at_provider": "A simulated sign-in page of {name} for developers. No password is needed.",
        "refused": "You have refused the authorization. You can close this page",
        "hint": "To see a sign-in fail, type one of these as the user name:",
        "client_id": "Unknown client_id",
        "redirect_uri": "Unregistered redirect_uri",
        "response_mode": "The scope requires response_mode=form_post",
        "posting": "Back to the site",
        "continue": "Continue",
        "signed_out": "Signed out",
        "post_logout_redirect_uri": "Unregistered post_logout_redirect_uri",
    },
}

_EXAMPLES: Final = (
    "fail:Operation.Failure.User.Locked",
    "fail:authorize:login_required",
    "html:token",
    "slow:token",
)

_PROVIDER_EXAMPLES: Final = (
    "stranger",
    "unlinked",
    "careful",
    "fail:Operation.Failure.Social.User.Auth.Error",
)

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2330; --paper: #fff; --ground: #eef1f6; --line: #c5ccd8;
  --accent: #c2410c; --quiet: #566072 }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ecf3; --paper: #1b212c; --ground: #10141b;
  --line: #3c4657; --accent: #fb923c; --quiet: #a3adbd } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem;
  background: var(--ground); color: var(--ink);
  font: 1rem/1.6 system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif }
main { width: 100%; max-width: 26rem; padding: 2rem 1.5rem; background: var(--paper);
  border-radius: .75rem; border-block-start: .3rem solid var(--accent) }
h1 { margin: 0; font-size: 1.5rem } p { color: var(--quiet) }
label { display: block; font-weight: 600 }
input { width: 100%; margin-block: .3rem 1rem; padding: .7rem; font: inherit; color: inherit;
  background: transparent; border: 1px solid var(--line); border-radius: .4rem }
button { width: 100%; padding: .7rem; margin-block-end: .6rem; font: inherit; font-weight: 600;
  border: 1px solid var(--line); border-radius: .4rem; background: transparent; color: inherit;
  cursor: pointer }
button[value=sign_in] { background: var(--accent); border-color: var(--accent);
  color: var(--paper) }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
ul { padding-inline-start: 1.2rem; margin: 0 } code { overflow-wrap: anywhere }
"""


def language_of(request: Request) -> str:
    """Return ``zh`` or ``en``: the first of them in ``ui_locales`` or, if none, Accept-Language.

    Return ``en`` if the request names neither language.
    """
    accepted = [tag for tag, quality in request.accept_languages if quality]
    for tag in [*request.values.get("ui_locales", "").split(), *accepted]:
        if (language := tag.lower().partition("-")[0]) in _TEXTS:
            return language
    return "en"


def authorize_page(parameters: Mapping[str, str], language: str) -> str:
    """Return the HTML of CIAM's authorize page, with a form for the user name.

    ``parameters`` become hidden fields of the form. ``language`` is ``zh`` or ``en``.
    """
    return _form_page(_TEXTS[language]["lead"], _EXAMPLES, parameters, language)


def provider_page(name: str, parameters: Mapping[str, str], language: str) -> str:
    """Return the HTML of a social provider's authorize page, with a form for the user name.

    ``name`` is the name of the provider on the page. ``parameters`` become hidden fields of the
    form.
    """
    lead = _TEXTS[language]["at_provider"].format(name=name)
    return _form_page(lead, _PROVIDER_EXAMPLES, parameters, language)


def _form_page(
    lead: str, example_names: Sequence[str], parameters: Mapping[str, str], language: str
) -> str:
    """Return the HTML of a page with ``lead``, a form, and the list of the example user names."""
    texts = _TEXTS[language]
    hidden = _hidden_inputs(parameters)
    examples = "".join(f"<li><code>{escape(example)}</code></li>" for example in example_names)
    return f"""<!DOCTYPE html>
<html lang="{texts["lang"]}">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{texts["title"]}</title>
<style>{_STYLE}</style>
<main>
<h1>{texts["heading"]}</h1>
<p>{escape(lead)}</p>
<form method="post">{hidden}
<label for="username">{texts["label"]}</label>
<input id="username" name="username" value="li" autocomplete="off" autocapitalize="none"
  spellcheck="false" autofocus>
<button name="decision" value="sign_in">{texts["sign_in"]}</button>
<button name="decision" value="cancel">{texts["cancel"]}</button>
</form>
<p>{texts["hint"]}</p>
<ul>{examples}</ul>
</main>
</html>"""


def posting_page(address: str, parameters: Mapping[str, str], language: str) -> str:
    """Return the HTML of a page whose form posts the parameters to the client by itself."""
    texts = _TEXTS[language]
    return (
        f'<!DOCTYPE html><html lang="{texts["lang"]}"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{texts['posting']} · Fake CIAM</title><style>{_STYLE}</style>"
        f"<main><h1>{texts['posting']}</h1>"
        f'<form method="post" action="{escape(address)}">{_hidden_inputs(parameters)}'
        f"<button>{texts['continue']}</button></form></main>"
        "<script>document.forms[0].submit()</script></html>"
    )


def _hidden_inputs(parameters: Mapping[str, str]) -> str:
    return "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in parameters.items()
    )


def message_page(key: str, language: str) -> str:
    """Return the HTML of a page with one message; ``key`` is the message's key in ``_TEXTS``."""
    texts = _TEXTS[language]
    return (
        f'<!DOCTYPE html><html lang="{texts["lang"]}"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{texts[key]} · Fake CIAM</title><style>{_STYLE}</style>"
        f"<main><h1>{texts[key]}</h1></main></html>"
    )
