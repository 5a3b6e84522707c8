"""The views of the login page, and of the page of each further step of a sign-in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from django.contrib.auth.decorators import login_not_required
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotAllowed,
)
from django.urls import reverse
from django.utils.translation import override, pgettext
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_http_methods

from ciam_django.accounts.backends import typed_name_of
from ciam_django.accounts.linking import refuse_other_user
from ciam_django.answers import Answer, password_hint
from ciam_django.client.results import SignedIn
from ciam_django.conf import conf
from ciam_django.errors import CiamError, Stage
from ciam_django.events import STEP_ASKED, record
from ciam_django.kinds import Action, Kind
from ciam_django.login.captcha import image_url, new_form_id
from ciam_django.login.consent import SOCIAL, load_consent_form
from ciam_django.login.cookies import last_method, remember_browser
from ciam_django.login.error_responses import (
    ViewFunction,
    answer_error,
    login_page_url,
    protect_form,
)
from ciam_django.login.link_views import answer_link_error
from ciam_django.login.loop_guard import is_back_at_once, mark_onward_redirect
from ciam_django.login.notices import (
    delete_notice_cookie,
    notice_from_cookie,
    set_success_notice,
)
from ciam_django.login.providers import (
    Registration,
    icon_url,
    offered_providers,
    providers_elsewhere,
    with_first,
)
from ciam_django.login.redirects import (
    absolute_url,
    redirect_response,
    requested_next,
    set_opener_policy,
    url_after_sign_in,
)
from ciam_django.login.state import remember_next, remembered_next
from ciam_django.login.steps.flow import (
    Flow,
    FlowFinished,
    StepResult,
    delete_flow_cookie,
    flow_from_cookie,
    flow_of_code,
    set_flow_cookie,
)
from ciam_django.login.steps.forms import CiamForm, is_typing_error
from ciam_django.login.steps.linking import identity_text
from ciam_django.login.steps.submit import build_form, finish_sign_in, submit_form
from ciam_django.login.steps.table import STEPS, Step
from ciam_django.login.tenant_config import (
    ACCOUNT_METHODS,
    FORM_METHODS,
    HOSTED,
    load_login_methods,
)
from ciam_django.responses import (
    HTML,
    is_htmx_request,
    language_of_page,
    media_type_for,
    page_response,
    response_for,
    static_url,
)
from ciam_django.ways_out import ciam_view_name, way_of_action

# Actions that a page with a form offers as a link; the form's own buttons do the other actions.
_LINK_ACTIONS: Final = frozenset(
    {
        Action.LOGIN,
        Action.RESTART,
        Action.RESET_PASSWORD,
        Action.USE_ANOTHER_METHOD,
        Action.CONTACT_SUPPORT,
    }
)

# The login methods that send a code.
_CODE_METHODS: Final = ("sms", "email")

# First step -> the step that takes the code, and the channel of the code.
_CODES_OF_FIRST_STEPS: Final[Mapping[str, tuple[str, str]]] = {
    "sms": ("code", "SMS"),
    "email": ("code", "EMAIL"),
    "recover": ("recover_code", ""),
    "sign_up": ("sign_up_code", ""),
}


def _form_page(view: ViewFunction) -> Callable[..., HttpResponseBase]:
    """Decorate a view with a form: allow anonymous users, disable caching, check the CSRF token.

    Only GET, HEAD and POST are allowed. A ``CiamError`` of the view gives an error page or JSON.
    """
    protected_view = protect_form(ensure_csrf_cookie(view))
    limited_view = require_http_methods(["GET", "HEAD", "POST"])(never_cache(protected_view))
    return login_not_required(limited_view)


@_form_page
def login(request: HttpRequest) -> HttpResponse:
    """Show or submit the login page: the form of a login method, and links to other login methods.

    ``?method=`` selects the login method; the default is the method used last, or the first method
    of the project. The page works as ``LOGIN_URL``, with ``?next=``. A user who is signed in
    already is redirected to ``next``, except with ``?prompt=login``.
    """
    if request.method != "POST" and (response := _onward_response(request)):
        return response
    form_methods = [name for name in load_login_methods() if name in FORM_METHODS]
    name = request.POST.get("method") or request.GET.get("method")
    if name not in form_methods:
        name = next(iter(with_first(form_methods, last_method(request))), "")
    if name and name == request.GET.get("method") and (response := _code_response(request, name)):
        return response
    if name:
        return _show_or_submit(request, Flow(name, "", next=requested_next(request), method=name))
    if request.method == "POST":
        return HttpResponseNotAllowed(["GET", "HEAD"])
    return _login_page_response(request, requested_next(request))


@_form_page
def first_step_page(request: HttpRequest, name: str) -> HttpResponse:
    """Show or submit ``ciam:recover`` or ``ciam:sign_up``.

    Raises ``Http404`` if the tenant or the project does not offer the login method.
    """
    if name not in load_login_methods():
        raise Http404
    return _code_response(request, name) or _show_or_submit(
        request, Flow(name, "", next=requested_next(request))
    )


@_form_page
def step_page(request: HttpRequest, flow_id: str) -> HttpResponse:
    """Show or submit the next step of a flow that this browser has started.

    If a sign-in has ended the flow (the user has gone back), return a redirect to its ``next``.
    Raises ``CiamError``: ``Operation.Failure.FId.Not.Found`` if the browser has no such flow, or if
    the flow has expired; ``mismatching_state`` if the flow links an identity to another user.
    """
    flow = flow_from_cookie(request, flow_id)
    if flow is None or flow.step not in STEPS:
        if request.user.is_authenticated and media_type_for(request) == HTML:
            next_url = remembered_next(request, flow_id) or ""
            return redirect_response(url_after_sign_in(request, next_url))
        raise CiamError("Operation.Failure.FId.Not.Found", stage=Stage.VERIFY_CODE)
    if flow.link_to_user:
        refuse_other_user(request, flow.link_to_user)
    return _show_or_submit(request, flow)


def _onward_response(request: HttpRequest) -> HttpResponse | None:
    """Return a redirect to ``next`` if the user is signed in (the user has gone back), or None.

    Return None also for ``?prompt=login``, and if the browser comes back from ``next`` at once: the
    user may not open ``next``, and can sign in as another user. Only a page is redirected: another
    site could load ``next`` as an image, and learn from the result if the user is signed in.
    """
    next_url = requested_next(request)
    url = url_after_sign_in(request, next_url)
    if (
        not request.user.is_authenticated
        or request.GET.get("prompt") == "login"
        or not _opens_page(request)
        or is_back_at_once(request)
        or ciam_view_name(url) not in ("", "done")
    ):
        return None
    response = redirect_response(url)
    mark_onward_redirect(request, response)
    set_opener_policy(request, response, next_url)
    return response


def _opens_page(request: HttpRequest) -> bool:
    """Return False if another site could have loaded the page, for example as an image."""
    is_page = request.headers.get("Sec-Fetch-Dest", "document") == "document"
    return is_page or is_htmx_request(request)


def _code_response(request: HttpRequest, name: str) -> HttpResponse | None:
    """Return a redirect to the page of the code that this browser waits for, or None.

    The user has opened the page of a first step again, for example after a restart of the browser.
    Return None with ``?change=1``, which the link of the code's page has: the user wants to type
    another recipient. Only a page is redirected: the tabs of the login page can load a form.
    """
    is_page = request.headers.get("Sec-Fetch-Dest", "document") == "document"
    if request.method == "POST" or "change" in request.GET or not is_page:
        return None
    flow = _flow_of_code(request, name)
    if flow is None:
        return None
    response = redirect_response(reverse("ciam:step", args=[flow.id]))
    next_url = requested_next(request)
    if next_url and next_url != flow.next:
        flow = dataclasses.replace(flow, next=next_url)
        set_flow_cookie(request, response, flow)
    set_opener_policy(request, response, flow.next)
    return response


def _flow_of_code(request: HttpRequest, name: str) -> Flow | None:
    """Return the flow of this browser that waits for a code of a first step, or None."""
    step_and_channel = _CODES_OF_FIRST_STEPS.get(name)
    return flow_of_code(request, *step_and_channel) if step_and_channel else None


def _show_or_submit(request: HttpRequest, flow: Flow) -> HttpResponse:
    """Show the page of the flow's step, or submit its form if the request is a POST.

    A successful submission may sign the user in, and returns a redirect. A ``CiamError`` of the
    submission is reported, and gives the page of the form again, an error page, or JSON.
    """
    row = STEPS[flow.step]
    form = build_form(flow, request.POST if request.method == "POST" else None)
    if request.method != "POST":
        return _step_page_response(request, row, form, flow)
    try:
        result = submit_form(request, flow, form, request.POST)
        if isinstance(result, SignedIn):
            result = finish_sign_in(request, result, flow, with_session=True)
        if _is_at_next(result) and not row.starts_flow:
            remember_next(request, flow.id, flow.next)
    except CiamError as error:
        answer = form.add_ciam_error(error, request)
        if media_type_for(request) != HTML:
            return response_for(request, answer)
        if flow.step == "confirm_link":
            return answer_link_error(request, error, flow.next)
        if answer.kind == Kind.FLOW:
            # The flow has ended, so the form cannot be submitted again.
            response = answer_error(request, error, next_url=flow.next)
            delete_flow_cookie(request, response, flow)
            return response
        # After an error of sending a code, the resend button waits as long as the answer says.
        wait = answer.retry_after if error.stage == Stage.SEND_CODE else None
        return _step_page_response(request, row, form, flow, answer, wait or 0)
    return result_response(request, result, flow)


def result_response(request: HttpRequest, result: StepResult, flow: Flow) -> HttpResponse:
    """Return the redirect that follows a result, and set or delete the cookie of the flow.

    Call ``finish_sign_in`` before this function if the result is ``SignedIn``.
    """
    if isinstance(result, Flow):
        record(STEP_ASKED, request, next_step=result.step)
        response = redirect_response(reverse("ciam:step", args=[result.id]))
        set_flow_cookie(request, response, result)
        set_opener_policy(request, response, flow.next)
        return response
    if isinstance(result, FlowFinished) and not result.is_at_next:
        response = redirect_response(login_page_url(flow.next))
        set_success_notice(request, response, result.notice)
    else:
        response = redirect_response(url_after_sign_in(request, flow.next))
    set_opener_policy(request, response, flow.next)
    # After the recovery of a password, too: the code has proved the name, and the new password
    # must work even if strangers have entered wrong passwords.
    remember_browser(request, response, typed_name_of(request), flow.method)
    if flow.step in STEPS and not STEPS[flow.step].starts_flow:
        delete_flow_cookie(request, response, flow)
    return response


def _is_at_next(result: StepResult) -> bool:
    """Return True if ``next`` is the page after the result."""
    return isinstance(result, SignedIn) or (isinstance(result, FlowFinished) and result.is_at_next)


# --- Rendering the pages ----------------------------------------------------------------------


def _step_page_response(  # noqa: PLR0917  (the parts of a page)
    request: HttpRequest,
    row: Step,
    form: CiamForm,
    flow: Flow,
    answer: Answer | None = None,
    wait: int = 0,
) -> HttpResponse:
    form.keep_typed_code()
    form.set_client_checks(request)
    language = language_of_page(request, answer)
    hint = password_hint(language)
    form.show_password_hint(hint.text if hint else "")
    form.set_autofocus()
    captcha_form_id = new_form_id() if "captcha" in form.fields else ""
    with override(language):
        recipient_text = (
            identity_text(flow)
            or flow.masked_recipient
            or pgettext("ciam", "your mobile number or email address")
        )
        # U+2068 and U+2069 isolate the recipient or identity, whose digits would otherwise change
        # places in a right-to-left line.
        lead = str(row.lead).format(shown=f"\u2068{recipient_text}\u2069")
    context = {
        "form": form,
        "form_url": request.path,
        "step": row,
        "flow": flow,
        "lead": lead,
        "wait": max(flow.resend_wait, wait),
        "at_field": answer is not None and (not form.non_field_errors() or is_typing_error(answer)),
        "hint_language": hint.language if hint and hint.wanted_language != language else "",
        "is_wrong_password": answer is not None
        and answer.kind == Kind.CREDENTIALS
        and flow.step in ("password", "second_factor_password"),
        "others": [(name, label) for name, (label, _) in row.others.items()],
        "next": flow.next,
        "back_url": login_page_url(flow.next),
        "change_url": _change_url(flow),
        "flow_of_code": _flow_of_code(request, flow.step),
        "captcha_form": captcha_form_id,
        "captcha_url": image_url(captcha_form_id) if captcha_form_id else "",
    }
    if flow.step in FORM_METHODS:
        return _login_page_response(request, flow.next, {**context, "method": flow.step}, answer)
    return _page_response(request, row.template, context, answer)


def _change_url(flow: Flow) -> str:
    """Return the URL of the page where the user typed the recipient of the flow's code.

    The text is empty if the user did not type the recipient.
    """
    if flow.step == "code":
        return f"{_method_url('email' if flow.channel == 'EMAIL' else 'sms', flow.next)}&change=1"
    if flow.step in ("recover_code", "sign_up_code"):
        url = _url_with_next(flow.step.removesuffix("_code"), flow.next)
        return f"{url}{'&' if '?' in url else '?'}change=1"
    if flow.step == "link_code":
        return reverse("ciam:step", args=[flow.step_data.get("link_step", flow.id)])
    return ""


def _login_page_response(
    request: HttpRequest,
    next_url: str,
    context: Mapping[str, Any] | None = None,
    answer: Answer | None = None,
) -> HttpResponse:
    """Render the login page, with the stored notice if there is one, and delete the notice."""
    last = last_method(request)
    available_methods = with_first(load_login_methods(), last)
    form_methods = [name for name in available_methods if name in FORM_METHODS]
    stored_answer, success_text = notice_from_cookie(request)
    answer = answer or stored_answer
    providers = provider_context(request, next_url, last, language_of_page(request, answer))
    first = providers["first_provider"]
    authorize_url = reverse("ciam:authorize") if HOSTED in available_methods else ""
    is_hosted_first = bool(authorize_url and form_methods and last == HOSTED) and not first
    has_buttons = bool(providers["provider_marks"] or providers["other_providers"])
    has_or_before_providers = has_buttons and bool(form_methods or authorize_url or first)
    context = {
        **providers,
        "method": "",
        "methods": _method_tabs(request, form_methods, next_url),
        "authorize_url": authorize_url,
        "is_hosted_first": is_hosted_first,
        "has_or_before_providers": has_or_before_providers,
        "consent_form": providers["consent_form"]
        or (authorize_url and load_consent_form(HOSTED))
        or None,
        "good_news": success_text if answer is None else "",
        "code_url": next(
            (_method_url(name, next_url) for name in available_methods if name in _CODE_METHODS), ""
        ),
        **{
            f"{name}_url": _url_with_next(name, next_url)
            for name in ACCOUNT_METHODS
            if name in available_methods
        },
        **(context or {}),
    }
    form = context.get("form")
    if form and not form.is_bound and (first or is_hosted_first):
        # With the focus, the keyboard of a phone would hide the button above the form.
        form.remove_autofocus()
    response = _page_response(request, "ciam_django/login.html", context, answer)
    if stored_answer or success_text:
        delete_notice_cookie(request, response)
    return response


def provider_context(
    request: HttpRequest, next_url: str, last: str, language: str
) -> dict[str, Any]:
    """Return the context of ``ciam_django/providers.html``, in the language of the page.

    The providers work in this browser, or in other browsers. ``last`` is the name of the provider
    that the browser has used last.
    """
    offered = offered_providers(request, last)
    first = [_provider_button(offered.first, last)] if offered.first else []
    marks = [_provider_button(registration, last) for registration in offered.marks]
    others = [_provider_button(registration, last) for registration in offered.others]
    providers = [*first, *marks, *others]
    elsewhere: dict[str, list[Registration]] = {"wechat": [], "browser": []}
    for registration, place in providers_elsewhere(request):
        elsewhere[place].append(registration)
    with override(language):
        outside_apps = pgettext("ciam", " or ").join(
            str(each.provider.label) for each in elsewhere["browser"]
        )
    has_wechat_qr = any(provider["qr_script"] for provider in providers)
    return {
        "next": next_url,
        "providers": providers,
        "consent_form": load_consent_form(SOCIAL) if providers else None,
        "first_provider": next(iter(first), None),
        "provider_marks": marks,
        "other_providers": others,
        "has_wechat_qr": has_wechat_qr,
        "wechat_qr_script": static_url("ciam_django/wechat_qr.js") if has_wechat_qr else "",
        "wants_wechat": bool(elsewhere["wechat"]),
        "wechat_icon": next(map(icon_url, elsewhere["wechat"]), ""),
        "outside_apps": outside_apps,
        "page_address": absolute_url(request, login_page_url(next_url)),
    }


def _provider_button(registration: Registration, last: str) -> dict[str, Any]:
    """Return the texts and URLs of the button of a provider."""
    row = registration.provider
    return {
        "name": registration.name,
        "label": row.label,
        "url": reverse("ciam:provider", args=[registration.name]),
        "icon": icon_url(registration),
        "brand": row.brand,
        "is_last": registration.name == last,
        "qr_script": row.qr_script if conf.CIAM_WECHAT_QR else "",
    }


def _method_tabs(request: HttpRequest, names: Sequence[str], next_url: str) -> list[dict[str, Any]]:
    """Return the tabs of the login methods that have a form, if there are at least two."""
    if len(names) < 2:
        return []
    query = {"next": next_url} if next_url else {}
    if request.GET.get("prompt") == "login":
        query["prompt"] = "login"
    login_url = reverse("ciam:login")
    return [
        {
            "name": name,
            "label": STEPS[name].title,
            "url": f"{login_url}?{urlencode({'method': name, **query})}",
        }
        for name in names
    ]


def _method_url(method: str, next_url: str) -> str:
    query = {"method": method, **({"next": next_url} if next_url else {})}
    return f"{reverse('ciam:login')}?{urlencode(query)}"


def _url_with_next(name: str, next_url: str) -> str:
    return reverse(f"ciam:{name}") + (f"?{urlencode({'next': next_url})}" if next_url else "")


def _page_response(
    request: HttpRequest, template: str, context: Mapping[str, Any], answer: Answer | None
) -> HttpResponse:
    page_context = {**_link_of_notice(request, answer, context["next"]), **context}
    response = page_response(request, template, page_context, answer)
    # With no-referrer, browsers hide the origin of a form, which Django's CSRF check needs.
    response["Referrer-Policy"] = "same-origin"
    set_opener_policy(request, response, context["next"])
    return response


def _link_of_notice(request: HttpRequest, answer: Answer | None, next_url: str) -> dict[str, Any]:
    """Return the context of the notice's link, which leads to another page."""
    way_out = None
    if answer and answer.action in _LINK_ACTIONS:
        way_out = way_of_action(request, answer, next_url=next_url)
    if way_out is None or urlsplit(way_out.url).path == request.path:
        return {"leads": False}
    return {"leads": True, "action_url": way_out.url, "action_label": way_out.label}
