"""The pages of ``steps.STEPS``: the login page, and one for each step that follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_not_required
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotAllowed,
)
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_http_methods

from ciam_django.answers import Answer
from ciam_django.client.results import SignedIn
from ciam_django.errors import CiamError
from ciam_django.kinds import Action, Kind
from ciam_django.login import notices, providers
from ciam_django.login.error_responses import View, answering, csrf_answered, failed, login_address
from ciam_django.login.popups import keep_opener
from ciam_django.login.redirects import after_sign_in, asked_next, redirect_to
from ciam_django.login.steps import flow as flows
from ciam_django.login.steps.flow import Flow
from ciam_django.login.steps.forms import CiamForm
from ciam_django.login.steps.results import Finished, Outcome
from ciam_django.login.steps.submit import admitted, form_of, outcome_of
from ciam_django.login.steps.table import STEPS, Step
from ciam_django.login.tenant_config import BESIDE, FORMS, HOSTED, methods
from ciam_django.responses import HTML, media_type_for, page, response_for, with_headers

# What of an answer's actions leads away from a page that has a form; the others are its buttons.
_LEADING: Final = frozenset(
    {
        Action.LOGIN,
        Action.RESTART,
        Action.RESET_PASSWORD,
        Action.USE_ANOTHER_METHOD,
        Action.CONTACT_SUPPORT,
    }
)


def _form_page(view: View) -> Callable[..., HttpResponseBase]:
    """A page with a form for everybody: shown, and sent to the same address."""
    answered = csrf_answered(ensure_csrf_cookie(answering(view)))
    limited = require_http_methods(["GET", "HEAD", "POST"])(never_cache(answered))
    return login_not_required(limited)


@_form_page
def login(request: HttpRequest) -> HttpResponse:
    """The login page: the form of the way that ``?method=`` chooses, and the other ways.

    Works as ``LOGIN_URL``, with ``?next=``.
    """
    offered = [name for name in methods() if name in FORMS]
    asked = request.POST.get("method") or request.GET.get("method")
    name = asked if asked in offered else (offered or [""])[0]
    if name:
        return _turned(request, Flow(name, "", next=asked_next(request)))
    if request.method == "POST":
        return HttpResponseNotAllowed(["GET", "HEAD"])
    return _login_page(request, asked_next(request))


@_form_page
def begin(request: HttpRequest, name: str) -> HttpResponse:
    """``ciam:recover`` and ``ciam:sign_up``, where the project offers them."""
    if name not in methods():
        raise Http404
    return _turned(request, Flow(name, "", next=asked_next(request)))


@_form_page
def step(request: HttpRequest, flow_id: str) -> HttpResponse:
    """The next step of a sign-in that this browser has under way."""
    flow = flows.kept(request, flow_id)
    if flow is None or flow.step not in STEPS:
        raise CiamError("Operation.Failure.FId.Not.Found", stage="verify_code")
    return _turned(request, flow)


def _turned(request: HttpRequest, flow: Flow) -> HttpResponse:
    """The page of the flow's step, or what comes of it that it was submitted."""
    row = STEPS[flow.step]
    form = form_of(flow, request.POST if request.method == "POST" else None)
    if request.method != "POST":
        return _shown(request, row, form, flow)
    try:
        outcome = outcome_of(request, flow, form, request.POST)
        if isinstance(outcome, SignedIn):
            admitted(request, outcome, flow, with_session=True)
    except CiamError as error:
        answer = form.put(error, request)
        if media_type_for(request) != HTML:
            return response_for(request, answer)
        if answer.kind == Kind.FLOW:
            # No form can mend it.
            response = failed(request, error, next_url=flow.next)
            flows.forget(response, flow)
            return response
        # The button for a new code rests for as long as the answer says of codes.
        wait = answer.retry_after if error.stage == "send_code" else None
        return _shown(request, row, form, flow, answer, wait or 0)
    return went_on(request, outcome, flow)


def went_on(request: HttpRequest, outcome: Outcome, flow: Flow) -> HttpResponse:
    """The way to where the outcome leads; whoever is signed in by it is so already."""
    if isinstance(outcome, Flow):
        response = redirect_to(reverse("ciam:step", args=[outcome.id]))
        flows.keep(request, response, outcome)
        keep_opener(response, flow.next)
        return response
    if isinstance(outcome, Finished):
        response = redirect_to(login_address(flow.next))
        notices.keep_good_news(request, response, outcome.good_news)
    else:
        response = redirect_to(after_sign_in(request, flow.next))
    flows.forget(response, flow)
    keep_opener(response, flow.next)
    return response


# --- What is shown ----------------------------------------------------------------------------


def _shown(  # noqa: PLR0917  (what a page is made of)
    request: HttpRequest,
    row: Step,
    form: CiamForm,
    flow: Flow,
    answer: Answer | None = None,
    wait: int = 0,
) -> HttpResponse:
    form.focus()
    shown_to = flow.shown or gettext("your mobile number or email address")
    context = {
        "form": form,
        "form_url": request.path,
        "step": row,
        "flow": flow,
        # Isolated: digits would change places in a line that runs from right to left.
        "lead": str(row.lead).format(shown=f"\u2068{shown_to}\u2069"),
        "wait": max(flow.wait, wait),
        "at_field": answer is not None and not form.non_field_errors(),
        # What was refused here, and not at CIAM's, support need not look up.
        "has_reference": answer is not None and not answer.request_id.startswith("local-"),
        "others": [(name, label) for name, (label, _) in row.others.items()],
        "next": flow.next,
        "back_url": login_address(flow.next),
        "captcha_url": reverse("ciam:captcha") if "captcha" in form.fields else "",
    }
    if flow.step in FORMS:
        return _login_page(request, flow.next, {**context, "method": flow.step}, answer)
    return _response(request, row.template, context, answer)


def _login_page(
    request: HttpRequest,
    next_url: str,
    context: Mapping[str, Any] | None = None,
    answer: Answer | None = None,
) -> HttpResponse:
    offered = methods()
    told, good_news = notices.kept(request)
    context = {
        "next": next_url,
        "method": "",
        "methods": _tabs([name for name in offered if name in FORMS], next_url),
        "authorize_url": reverse("ciam:authorize") if HOSTED in offered else "",
        "good_news": good_news if answer is None else "",
        "providers": [
            {"label": each.provider.label, "url": reverse("ciam:provider", args=[each.name])}
            for each in providers.offered(request)
        ],
        "wants_wechat": providers.wants_wechat(request),
        **{f"{name}_url": _address(name, next_url) for name in BESIDE if name in offered},
        **(context or {}),
    }
    response = _response(request, "ciam_django/login.html", context, answer or told)
    if told or good_news:
        notices.forget(response)
    return response


def _tabs(names: Sequence[str], next_url: str) -> list[dict[str, Any]]:
    """The ways that are forms, if there is anything to choose."""
    if len(names) < 2:
        return []
    query = {"next": next_url} if next_url else {}
    login_url = reverse("ciam:login")
    return [
        {
            "name": name,
            "label": STEPS[name].title,
            "url": f"{login_url}?{urlencode({'method': name, **query})}",
        }
        for name in names
    ]


def _address(name: str, next_url: str) -> str:
    return reverse(f"ciam:{name}") + (f"?{urlencode({'next': next_url})}" if next_url else "")


def _response(
    request: HttpRequest, template: str, context: Mapping[str, Any], answer: Answer | None
) -> HttpResponse:
    shown = {"answer": answer, "leads": bool(answer and answer.action in _LEADING), **context}
    response = HttpResponse(page(request, template, shown))
    # Not no-referrer, under which browsers hide from Django's check where a form comes from.
    response["Referrer-Policy"] = "same-origin"
    keep_opener(response, context["next"])
    if answer:
        response.status_code = answer.status
        with_headers(response, answer)
    return response
