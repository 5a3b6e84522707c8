"""The JSON endpoints of a sign-in, for single-page apps and mini programs.

The endpoints use the same table of steps as the pages. Each successful response of ``submit_step``
has a ``status``: ``step`` (with the next step, and the ``flow`` that the app sends back),
``signed_in`` or ``done``. The responses of the other endpoints have no ``status``. A failure gives
the JSON body that all entry points send, whatever the Accept header asks. So does a failed CSRF
check, a method that is not allowed, a body that is not JSON, and an unknown endpoint.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import itertools
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import RequestDataTooBig
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    JsonResponse,
    UnreadablePostError,
)
from django.middleware.csrf import get_token
from django.urls import reverse
from django.utils.translation import override
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from ciam_django.accounts.backends import typed_name_of
from ciam_django.accounts.bearer import is_remembered_token, remember_token
from ciam_django.accounts.login import refuse_inactive_holder
from ciam_django.accounts.rate_limits import counting_attempt
from ciam_django.accounts.token_refresh import record_refresh_failure
from ciam_django.client.app import ciam_app
from ciam_django.client.results import Consent, SignedIn
from ciam_django.conf import conf
from ciam_django.errors import CiamError, Stage
from ciam_django.events import STEP_ASKED, TOKENS_REFRESHED, record
from ciam_django.languages import language_for
from ciam_django.login import tenant_config
from ciam_django.login.captcha import decode_captcha_image, fetch_captcha
from ciam_django.login.cookies import last_method, remember_browser
from ciam_django.login.error_responses import (
    LARGEST_BODY,
    ViewFunction,
    protect_json_from_csrf,
)
from ciam_django.login.names import cleaned_name
from ciam_django.login.notices import SUCCESS_TEXTS
from ciam_django.login.phone_regions import list_regions
from ciam_django.login.providers import (
    MINI_PROGRAM,
    icon_url,
    offered_providers,
    providers_elsewhere,
    registrations,
    with_first,
)
from ciam_django.login.redirects import is_origin_in, safe_next, url_after_sign_in
from ciam_django.login.steps.consent_boxes import name_in, url_in
from ciam_django.login.steps.field_facts import field_facts
from ciam_django.login.steps.flow import (
    Flow,
    FlowFinished,
    StepResult,
    decrypted_flow,
    encrypted_flow,
)
from ciam_django.login.steps.linking import identity_text
from ciam_django.login.steps.submit import build_form, finish_sign_in, submit_form
from ciam_django.login.steps.table import NATIVE, STEPS
from ciam_django.privacy import own_text
from ciam_django.reporting import answer_and_report
from ciam_django.responses import JSON, json_response_for, language_of_page

JsonView = Callable[..., HttpResponseBase]

# Members of the request's body that are texts and not fields of a step's form.
_EXTRA_MEMBERS: Final = ("flow", "next", "do", "captcha_id")
# A scheme, a host of 253 characters and a port.
_LONGEST_ORIGIN: Final = 300


def _json_endpoint(*methods: str) -> Callable[[JsonView], JsonView]:
    """Decorate a view: allow anonymous users, disable caching, and return JSON for each failure.

    The failures are a ``CiamError`` and ``Http404`` of the view, a method that is not in
    ``methods``, and a POST whose Content-Type is not JSON. Failures are reported. The texts are in
    the language of ``language_for``.
    """

    def decorate(view: JsonView) -> JsonView:
        @csrf_exempt
        @functools.wraps(view)
        def json_view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            with override(language_for(request)):
                try:
                    if request.method not in methods:
                        raise CiamError("method_not_allowed")
                    if request.method == "POST":
                        _refuse_other_content_types(request)
                    return view(request, *args, **kwargs)
                except Http404:
                    error = CiamError("unknown_endpoint")
                except CiamError as failure:
                    error = failure
                response = json_response_for(request, answer_and_report(error, request))
            if error.code == "method_not_allowed":
                response["Allow"] = ", ".join(methods)
            return response

        return login_not_required(never_cache(json_view))

    return decorate


def _refuse_other_content_types(request: HttpRequest) -> None:
    """Raise ``unsupported_media_type`` unless the body is declared as JSON.

    Raise ``invalid_request`` if the request has no Content-Type. Before a browser sends
    JSON from another site, the browser asks this site (a preflight request). It sends forms and
    plain text without asking.
    """
    content_type = request.content_type
    if not content_type:
        raise CiamError(
            "invalid_request", upstream_text=own_text("the request has no Content-Type")
        )
    if content_type != JSON and not re.fullmatch(r"application/[^/]+\+json", content_type):
        raise CiamError("unsupported_media_type")


def _protect_from_other_sites(view: ViewFunction) -> JsonView:
    """Decorate a view: check the CSRF token if a sign-in starts a session.

    If ``CIAM_API_SIGN_IN`` is ``token``, no session starts, and ``_refuse_other_sites`` is enough.
    """
    checked_view = protect_json_from_csrf(view)

    @functools.wraps(view)
    def guarded_view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not _returns_tokens():
            return checked_view(request, *args, **kwargs)
        _refuse_other_sites(request)
        return view(request, *args, **kwargs)

    return guarded_view


def _refuse_other_sites(request: HttpRequest) -> None:
    """Raise ``csrf_failed`` if the browser says that an untrusted site has sent the request."""
    is_cross_site = request.headers.get("Sec-Fetch-Site") == "cross-site"
    if is_cross_site and not _is_trusted(request.headers.get("Origin", "")):
        raise CiamError(
            "csrf_failed",
            stage=Stage.AUTHORIZE,
            upstream_text=own_text("cross-site, and the origin is not in CSRF_TRUSTED_ORIGINS"),
        )


def _is_trusted(origin: str) -> bool:
    """Return True if the project trusts an origin.

    The settings are Django's ``CSRF_TRUSTED_ORIGINS``, and ``CORS_ALLOWED_ORIGINS`` and
    ``CORS_ALLOWED_ORIGIN_REGEXES`` of django-cors-headers. ``CORS_ALLOW_ALL_ORIGINS`` names no
    origin, so that it trusts none.
    """
    if len(origin) > _LONGEST_ORIGIN:
        return False
    trusted = (*settings.CSRF_TRUSTED_ORIGINS, *getattr(settings, "CORS_ALLOWED_ORIGINS", ()))
    patterns = getattr(settings, "CORS_ALLOWED_ORIGIN_REGEXES", ())
    return is_origin_in(origin, trusted) or any(re.match(pattern, origin) for pattern in patterns)


def _returns_tokens() -> bool:
    """Return True if a sign-in returns tokens; False if a sign-in starts a session."""
    return conf.CIAM_API_SIGN_IN == "token"


@_json_endpoint("GET", "HEAD")
def login_options(request: HttpRequest) -> HttpResponse:
    """Return the login methods with their forms, the providers and the terms, as the page has them.

    ``providers`` are the providers that work in the browser; each has a ``group`` of
    ``OfferedProviders``. ``providers_elsewhere`` work only after the user has opened the page in
    WeChat, or in the browser of the device (``open_in``). ``last_method`` is the name of the login
    method or provider that the browser has used last, or None.
    ``phone_regions`` are the regions that a mobile number can have, the most likely first.
    ``captcha_for_codes`` is true if the steps that send a code need a CAPTCHA. ``csrf_token`` is
    missing if ``CIAM_API_SIGN_IN`` is ``token``.
    """
    language = language_of_page(request)
    last = last_method(request)
    methods = with_first(tenant_config.load_login_methods(), last)
    offered = offered_providers(request, last)
    groups = {
        "first": [offered.first] if offered.first else [],
        "mark": offered.marks,
        "other": offered.others,
    }
    with override(language):
        phone_regions = itertools.chain(*list_regions())
        # The choices of a field can be texts that are not lazy.
        steps = [_first_step(name) for name in methods if name in tenant_config.OWN_METHODS]
    body: dict[str, Any] = {
        "methods": methods,
        "steps": steps,
        "providers": [
            {
                "name": registration.name,
                "label": registration.provider.label,
                "url": reverse("ciam:provider", args=[registration.name]),
                "icon": icon_url(registration) or None,
                "group": group,
            }
            for group, registrations_of_group in groups.items()
            for registration in registrations_of_group
        ],
        "providers_elsewhere": [
            {
                "name": registration.name,
                "label": registration.provider.label,
                "icon": icon_url(registration) or None,
                "open_in": place,
            }
            for registration, place in providers_elsewhere(request)
        ],
        "last_method": last if last in (*methods, *registrations()) else None,
        "consents": [_consent_body(consent, language) for consent in tenant_config.load_consents()],
        "phone_regions": [
            {"id": region.id, "calling_code": region.calling_code, "name": region.name}
            for region in phone_regions
        ],
        "captcha_for_codes": tenant_config.load_login_page().wants_captcha_for_codes,
    }
    if not _returns_tokens():
        body["csrf_token"] = get_token(request)
    return _json_response(request, body)


def _consent_body(consent: Consent, language: str) -> dict[str, Any]:
    """Return the members of the terms; ``lang`` is the language of a name in another language."""
    name, name_language = name_in(consent, language)
    return {
        "id": consent.id,
        "name": name,
        "lang": name_language or None,
        "url": url_in(consent, language) or None,
        "is_required": consent.is_required,
    }


def _first_step(name: str) -> dict[str, Any]:
    """Return the title and the fields of the form of a login method."""
    form = build_form(Flow(name, ""), None)
    return {"step": name, "title": STEPS[name].title, "fields": field_facts(form)}


@_json_endpoint("GET", "HEAD")
def issue_captcha(request: HttpRequest) -> HttpResponse:
    """Return a new CAPTCHA as JSON: its ``captcha_id``, and its ``image`` as a data URL.

    Raises ``CiamError``: ``too_many_requests`` above the rate limit, ``unreadable_answer`` if CIAM
    sends no image.
    """
    captcha = fetch_captcha(request)
    content, content_type = decode_captcha_image(captcha)
    encoded = base64.b64encode(content).decode()
    return _json_response(
        request, {"captcha_id": captcha.id, "image": f"data:{content_type};base64,{encoded}"}
    )


@_json_endpoint("POST")
@_protect_from_other_sites
def submit_step(request: HttpRequest, name: str) -> HttpResponse:
    """Submit a step of ``steps.table.STEPS``, and sign the user in if the step ends the sign-in.

    The body has the fields of the step's form, and the ``flow`` unless the step starts a flow. The
    body may also have ``do`` (the name of a secondary button of the step), ``next``, ``captcha``
    with its ``captcha_id``, and ``consent`` as a list of ids.

    Return the result of ``_result_body`` as JSON. Raises ``Http404`` if the step is unknown or not
    available, and ``CiamError`` if the body is malformed or the step fails.
    """
    if name not in STEPS or not load_step_availability(name):
        raise Http404
    body = _parse_request_body(request)
    _refuse_malformed_members(body, name)
    return _submit_flow(request, _new_or_submitted_flow(request, name, body), body)


@_json_endpoint("POST")
@_protect_from_other_sites
def submit_provider_code(request: HttpRequest, name: str) -> HttpResponse:
    """Sign the user in with the code that the SDK of a provider has given to a native app.

    The body has the ``code``, a ``code_verifier`` and a ``nonce`` if the ``proofs`` of the
    registration name them, and ``given_name`` and ``family_name`` for a new user. The response is
    the response of ``submit_step``. Raises ``Http404`` if the provider is unknown, and
    ``CiamError``: ``unknown_endpoint`` if the registration takes no codes of an SDK, or an error
    like ``submit_step``.
    """
    registration = registrations().get(name)
    if registration is None:
        raise Http404
    if not registration.takes_native_codes:
        raise CiamError(
            "unknown_endpoint",
            upstream_text=own_text(
                f"{name} takes no codes of an SDK: if the provider's SDK gives codes, add "
                "'native': True to the entry in CIAM_SOCIAL_PROVIDERS"
            ),
        )
    body = _parse_request_body(request)
    _refuse_malformed_members(body, NATIVE)
    next_url = safe_next(request, body.get("next", ""))
    flow = Flow(NATIVE, "", next=next_url, provider=name, told_name=cleaned_name(body))
    return _submit_flow(request, flow, body)


def _submit_flow(request: HttpRequest, flow: Flow, body: Mapping[str, Any]) -> HttpResponse:
    """Submit the step of the flow, and return the result of ``_result_body`` as JSON."""
    form = build_form(flow, body)
    result = submit_form(request, flow, form, body)
    if isinstance(result, SignedIn):
        result = finish_sign_in(request, result, flow, with_session=not _returns_tokens())
    response = _json_response(request, _result_body(request, result, flow))
    if isinstance(result, Flow):
        record(STEP_ASKED, request, next_step=result.step)
    else:
        # The user has signed in, or has proved the name with the code of a recovery.
        remember_browser(request, response, typed_name_of(request), flow.method)
    return response


@_json_endpoint("POST")
def refresh_tokens(request: HttpRequest) -> HttpResponse:
    """Exchange the ``refresh_token`` of the body at CIAM, and return the new tokens as JSON.

    Raises ``Http404`` unless ``CIAM_API_SIGN_IN`` is ``token``. Raises ``CiamError``:
    ``csrf_failed`` for another site, ``invalid_request`` if the body has no refresh token,
    ``too_many_requests`` above the rate limit, ``account_inactive`` if the user is inactive here,
    or the error of the refresh.
    """
    if not _returns_tokens():
        raise Http404
    _refuse_other_sites(request)
    refresh_token = _parse_request_body(request).get("refresh_token")
    if not isinstance(refresh_token, str) or not refresh_token:
        raise CiamError("invalid_request", stage=Stage.REFRESH)
    # The limit must not refuse a token of CIAM because of other clients at the same address.
    with (
        contextlib.nullcontext()
        if is_remembered_token(refresh_token)
        else counting_attempt(request, "", Stage.REFRESH)
    ):
        try:
            tokens = ciam_app().refresh_tokens(refresh_token)
        except CiamError as error:
            record_refresh_failure(error)
            raise
    record(TOKENS_REFRESHED, request)
    refuse_inactive_holder(tokens)
    return _json_response(request, _issued_tokens(tokens))


def load_step_availability(name: str) -> bool:
    """Return False if a login method or mini program step is not configured; True for other names.

    The login methods are the methods of ``tenant_config.load_login_methods``, which may call CIAM.
    ``NATIVE`` gives False, because its URL needs a provider. A name that is not in ``STEPS`` gives
    True.
    """
    if name == NATIVE:
        return False
    if name in tenant_config.OWN_METHODS:
        return name in tenant_config.load_login_methods()
    return not name.startswith("mini_program") or MINI_PROGRAM in registrations()


def _parse_request_body(request: HttpRequest) -> Mapping[str, Any]:
    """Return the JSON object of the body; raise ``invalid_request`` for any other body.

    A body above ``LARGEST_BODY`` is refused before it is parsed.
    """
    try:
        body = json.loads(request.body) if len(request.body) <= LARGEST_BODY else None
    except (ValueError, RecursionError, RequestDataTooBig, UnreadablePostError):
        body = None
    if not isinstance(body, dict):
        raise CiamError("invalid_request", upstream_text=own_text("the body is not a JSON object"))
    return body


def _refuse_malformed_members(body: Mapping[str, Any], name: str) -> None:
    """Raise ``invalid_request`` with the names of the malformed members.

    The members ``flow``, ``next``, ``do`` and ``captcha_id`` must be texts. ``do`` must be empty or
    the name of a secondary button of the step.
    """
    row = STEPS[name]
    malformed = [member for member in _EXTRA_MEMBERS if not isinstance(body.get(member, ""), str)]
    if "do" not in malformed and body.get("do", "") not in ("", *row.others):
        malformed.append("do")
    if malformed:
        raise CiamError(
            "invalid_request", upstream_text=own_text(f"malformed members: {', '.join(malformed)}")
        )


def _new_or_submitted_flow(request: HttpRequest, name: str, body: Mapping[str, Any]) -> Flow:
    """Return a new flow if the step's ``starts_flow`` is True, otherwise the ``flow`` of the body.

    Raises ``CiamError``: ``Operation.Failure.FId.Not.Found`` if the body's flow is missing, invalid
    or expired, or belongs to another step.
    """
    if STEPS[name].starts_flow:
        next_url = safe_next(request, body.get("next", ""))
        method = name if name in tenant_config.FORM_METHODS else ""
        return Flow(name, "", next=next_url, provider=STEPS[name].provider, method=method)
    flow = decrypted_flow(body.get("flow", ""))
    if flow is None or flow.step != name:
        raise CiamError("Operation.Failure.FId.Not.Found", stage=Stage.VERIFY_CODE)
    return flow


def _result_body(request: HttpRequest, result: StepResult, flow: Flow) -> dict[str, Any]:
    """Return the JSON body for the result of a step.

    ``status`` is ``done`` for a finished flow without a sign-in, ``signed_in`` with the tokens or
    with ``next`` and a new CSRF token, or ``step`` with the next step and its encrypted flow.
    """
    if isinstance(result, FlowFinished):
        return {"status": "done", "detail": SUCCESS_TEXTS[result.notice]}
    if isinstance(result, SignedIn):
        members = {"status": "signed_in"}
        if _returns_tokens():
            return members | _issued_tokens(result.data)
        # Django changes the CSRF token when a user signs in.
        return members | {
            "next": url_after_sign_in(request, flow.next),
            "csrf_token": get_token(request),
        }
    row = STEPS[result.step]
    # The fields are those of the form that will be submitted, whose language can be more exact.
    form = build_form(result, None)
    with override(language_of_page(request)):
        identity = identity_text(result)
        fields = field_facts(form)
    return {
        "status": "step",
        "step": result.step,
        "flow": encrypted_flow(result),
        "title": row.title,
        "fields": fields,
        "channels": result.step_data.get("channels"),
        "others": list(row.others),
        "sent_to": result.masked_recipient or None,
        "wait": result.resend_wait or None,
        "identity": identity or None,
    }


def _issued_tokens(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of the JSON body that come from a token response of CIAM.

    The tokens are remembered as valid, so that the rate limits of an address do not refuse them.
    The names are those of RFC 6749, section 5.1. ``expires_in`` (in seconds) and ``refresh_token``
    are None if CIAM's response lacks them.
    """
    for token in filter(None, (data["access_token"], data.get("refresh_token"))):
        remember_token(str(token))
    return {
        "access_token": data["access_token"],
        "token_type": "Bearer",
        "expires_in": data.get("expires_in"),
        "refresh_token": data.get("refresh_token"),
    }


def _json_response(request: HttpRequest, body: Mapping[str, Any]) -> JsonResponse:
    """Return the body as JSON; lazy texts are translated into the language of the header."""
    language = language_of_page(request)
    with override(language):
        response = JsonResponse(body, json_dumps_params={"ensure_ascii": False})
    response["Content-Language"] = language
    return response
