"""Signing in as JSON: for single-page apps and mini programs, over the same table as the pages.

Each answer but a failure's has a ``status``: ``step`` (with what comes next, and the ``flow`` to
hand back), ``signed_in`` or ``done``. A failure is the body that our doors answer with.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.middleware.csrf import get_token
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from ciam_django.accounts.rate_limits import forget_tries, refuse_excess_tries
from ciam_django.answers import answer_to
from ciam_django.client.oauth import ciam_app
from ciam_django.client.results import SignedIn
from ciam_django.conf import conf
from ciam_django.errors import CiamError
from ciam_django.login import providers, tenant_config
from ciam_django.login.captcha import new_captcha, picture_of
from ciam_django.login.error_responses import csrf_answered
from ciam_django.login.notices import GOOD_NEWS
from ciam_django.login.redirects import after_sign_in, safe_next
from ciam_django.login.steps import flow as flows
from ciam_django.login.steps.flow import Flow
from ciam_django.login.steps.results import Finished, Outcome
from ciam_django.login.steps.submit import admitted, form_of, outcome_of
from ciam_django.login.steps.table import STEPS
from ciam_django.responses import json_response_for

View = Callable[..., HttpResponse]

# Texts that go along with a step's form.
_BESIDE: Final = ("flow", "next", "do", "captcha_id")


def _json(view: View) -> View:
    """A view that answers in JSON, its failures too, and for everybody anew."""

    @functools.wraps(view)
    def json_view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except CiamError as error:
            return json_response_for(request, answer_to(error, request))

    return login_not_required(never_cache(json_view))


def _guarded(view: View) -> Callable[..., HttpResponseBase]:
    """Checked for CSRF where a session comes of it; a token goes to nobody but who asked."""
    checked, unchecked = csrf_answered(view), csrf_exempt(view)

    @csrf_exempt
    @functools.wraps(view)
    def guarded_view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        chosen = unchecked if _gives_tokens() else checked
        return chosen(request, *args, **kwargs)

    return guarded_view


def _gives_tokens() -> bool:
    return conf.CIAM_API_SIGN_IN == "token"


@csrf_exempt
@require_safe
@_json
def offered(request: HttpRequest) -> HttpResponse:
    """What there is to sign in with, and the CSRF token for what follows."""
    body: dict[str, Any] = {
        "methods": list(tenant_config.methods()),
        "providers": [
            {
                "name": each.name,
                "label": str(each.provider.label),
                "url": reverse("ciam:provider", args=[each.name]),
            }
            for each in providers.offered(request)
        ],
        "consents": [
            {"id": c.id, "name": c.name, "url": c.url or None, "is_required": c.is_required}
            for c in tenant_config.consents()
        ],
        "captcha_for_codes": tenant_config.login_page().wants_captcha_for_codes,
    }
    if not _gives_tokens():
        body["csrf_token"] = get_token(request)
    return _answered(body)


@csrf_exempt
@require_safe
@_json
def captcha(request: HttpRequest) -> HttpResponse:
    """A picture, as a data URL, and its id for ``captcha_id``."""
    found = new_captcha(request)
    content, content_type = picture_of(found)
    encoded = base64.b64encode(content).decode()
    return _answered({"captcha_id": found.id, "image": f"data:{content_type};base64,{encoded}"})


@require_POST
@_guarded
@_json
def step(request: HttpRequest, name: str) -> HttpResponse:
    """Take a step of ``steps.STEPS``: the fields of its form, and the ``flow`` that it is of.

    Beside them: ``do`` for another of the step's buttons, ``next``, ``captcha`` with the
    ``captcha_id``, and ``consent`` as a list of ids.
    """
    if name not in STEPS or not is_offered(name):
        raise Http404
    given = _body(request)
    _check_beside(given, name)
    flow = _flow_of(request, name, given)
    form = form_of(flow, given)
    outcome = outcome_of(request, flow, form, given)
    if isinstance(outcome, SignedIn):
        admitted(request, outcome, flow, with_session=not _gives_tokens())
    return _answered(_told(request, outcome, flow))


@require_POST
@csrf_exempt
@_json
def renew(request: HttpRequest) -> HttpResponse:
    """New tokens for a refresh token, where the project gives tokens."""
    if not _gives_tokens():
        raise Http404
    refresh_token = _body(request).get("refresh_token")
    if not isinstance(refresh_token, str) or not refresh_token:
        raise CiamError("invalid_request", stage="refresh")
    refuse_excess_tries(request, "", "refresh")
    tokens = _tokens(ciam_app().refreshed_token(refresh_token))
    forget_tries(request, "")
    return _answered(tokens)


def is_offered(name: str) -> bool:
    """Whether the project lets people take the step as JSON."""
    if name in tenant_config.WAYS:
        return name in tenant_config.methods()
    return (
        not name.startswith("mini_program") or providers.MINI_PROGRAM in providers.registrations()
    )


def _body(request: HttpRequest) -> Mapping[str, Any]:
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise CiamError("invalid_request", upstream_text="the body is no JSON object")
    return body


def _check_beside(given: Mapping[str, Any], name: str) -> None:
    """Refuse what can't be meant of all that goes along with the form."""
    row = STEPS[name]
    wrong = [each for each in _BESIDE if not isinstance(given.get(each, ""), str)]
    if given.get("do", "") not in ("", *row.others):
        wrong.append("do")
    if wrong:
        raise CiamError("invalid_request", upstream_text=f"wrong: {', '.join(wrong)}")


def _flow_of(request: HttpRequest, name: str, given: Mapping[str, Any]) -> Flow:
    if STEPS[name].begins:
        asked = safe_next(request, given.get("next", ""))
        return Flow(name, "", next=asked, provider=STEPS[name].provider)
    flow = flows.opened(given.get("flow", ""))
    if flow is None or flow.step != name:
        raise CiamError("Operation.Failure.FId.Not.Found", stage="verify_code")
    return flow


def _told(request: HttpRequest, outcome: Outcome, flow: Flow) -> dict[str, Any]:
    if isinstance(outcome, Finished):
        return {"status": "done", "detail": str(GOOD_NEWS[outcome.good_news])}
    if isinstance(outcome, SignedIn):
        told = {"status": "signed_in"}
        if _gives_tokens():
            return told | _tokens(outcome.data)
        # Django has given this browser a new token.
        return told | {
            "next": after_sign_in(request, flow.next),
            "csrf_token": get_token(request),
        }
    row = STEPS[outcome.step]
    form = form_of(outcome, None)
    return {
        "status": "step",
        "step": outcome.step,
        "flow": flows.sealed(outcome),
        "title": str(row.title),
        "fields": [
            {"name": name, "label": str(field.label or "")} for name, field in form.fields.items()
        ],
        "channels": outcome.more.get("channels"),
        "others": list(row.others),
        "sent_to": outcome.shown or None,
        "wait": outcome.wait or None,
    }


def _tokens(data: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 6749, 5.1."""
    return {
        "access_token": data["access_token"],
        "token_type": "Bearer",
        "expires_in": data.get("expires_in"),
        "refresh_token": data.get("refresh_token"),
    }


def _answered(body: Mapping[str, Any]) -> JsonResponse:
    return JsonResponse(body, json_dumps_params={"ensure_ascii": False})
