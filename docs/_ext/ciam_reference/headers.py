"""The reference of the HTTP headers."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator, Mapping
from typing import Final

from ciam_django.answers import answer_to
from ciam_django.errors import CiamError
from ciam_reference.markdown import literal, page, table
from ciam_reference.sources import modules, tree_of

# Tests compare the names with the source code of the package.
RESPONSE_HEADERS: Final[Mapping[str, str]] = {
    "Allow": "The methods of a JSON endpoint, in the answer to another method.",
    "Cache-Control": "`no-store`: answers, pages of a sign-in and redirects are not cached.",
    "Ciam-Error-Code": "The `code` of the answer.",
    "Ciam-Request-Id": "The `request_id` of the answer, which the log line has, too.",
    "Content-Language": "The language of the texts.",
    "Content-Security-Policy": (
        "Allows nothing in the image of a CAPTCHA, and allows CIAM to frame the front-channel "
        "logout."
    ),
    "Cross-Origin-Opener-Policy": (
        "Separates the pages of a sign-in in a popup from a window of another site."
    ),
    "HX-Redirect": "The page that htmx opens after a sign-in, or in place of another redirect.",
    "HX-Reswap": "`innerHTML`: htmx replaces the content of the target by the answer.",
    "HX-Retarget": "The element of `CIAM_HTMX_ERROR_TARGET`, for the answer to a failed request.",
    "Referrer-Policy": (
        "`no-referrer` on answers and redirects, `same-origin` on pages with a form."
    ),
    "Refresh": "The seconds after which a browser repeats a callback that another request holds.",
    "Retry-After": "The `retry_after` of the answer, in seconds.",
    "Vary": "The request headers that the answer depends on.",
    "WWW-Authenticate": (
        "`Bearer`, in each answer with the status 401. With a token that is not valid it has "
        '`error="invalid_token"`, and in a 403 for missing scopes `error="insufficient_scope"`.'
    ),
    "X-Content-Type-Options": "`nosniff`, in the image of a CAPTCHA.",
}
REQUEST_HEADERS: Final[Mapping[str, str]] = {
    "Accept": "Decides between a page and JSON, and between the two media types of JSON.",
    "Accept-Language": "The language, through Django's `LocaleMiddleware`; `zh_CN` works, too.",
    "Authorization": "The bearer token.",
    "HX-Boosted": "`true` gets whole pages: the link or the form replaces the page.",
    "HX-Current-URL": "The page to which a link in a fragment leads back after a sign-in.",
    "HX-History-Restore-Request": "`true` gets a whole page.",
    "HX-Request": "`true` gets a fragment in place of a page: htmx has sent the request.",
    "HX-Target": "`ciam-card` gets the answer in place of the card of the sign-in.",
    "Origin": "The site of a request to the JSON endpoints, if `CIAM_API_SIGN_IN` is `token`.",
    "Referer": "The page of this site that the button of a failure's page can lead back to.",
    "Sec-Fetch-Dest": "`document` gets a page if `Accept` decides nothing.",
    "Sec-Fetch-Site": "`cross-site` is refused, unless the project trusts the origin.",
    "Traceparent": "The trace id is a field of the log lines, if the header is valid.",
    "User-Agent": "Tells a browser inside an app, such as WeChat, from other browsers.",
    "X-Forwarded-For": (
        "The client's address, if `CIAM_CLIENT_IP` is `ciam_django.network.forwarded_for`."
    ),
}
_META_PREFIX: Final = "HTTP_"


def headers_reference() -> str:
    """Return the tables of the headers."""
    return page(
        "## Headers of responses",
        _headers_table(RESPONSE_HEADERS),
        "## Headers of requests",
        _headers_table(REQUEST_HEADERS),
    )


def set_headers() -> set[str]:
    """Return the names of the headers that the package sets, from its source code."""
    answers = map(answer_to, (CiamError("token_expired"), CiamError("too_many_requests")))
    found = {name for answer in answers for name in answer.headers}
    for module in modules():
        if module.startswith("ciam_django.client."):
            # These headers are those of requests to CIAM.
            continue
        for node in ast.walk(tree_of(module)):
            match node:
                case ast.Assign(targets=targets):
                    found.update(_assigned_headers(targets, module))
    return found


def read_headers() -> set[str]:
    """Return the names of the headers that the package reads, from its source code."""
    found = set()
    for module in modules():
        for node in ast.walk(tree_of(module)):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=owner, attr="get"),
                    args=[ast.Constant(value=str(name)), *_],
                ):
                    if ast.unparse(owner) == "request.headers":
                        found.add(name)
                    elif ast.unparse(owner) == "request.META" and name.startswith(_META_PREFIX):
                        words = name.removeprefix(_META_PREFIX).split("_")
                        found.add("-".join(word.capitalize() for word in words))
    return found


def _assigned_headers(targets: list[ast.expr], module: str) -> Iterator[str]:
    for target in targets:
        match target:
            case ast.Subscript(value=owner, slice=ast.Constant(value=str(name))):
                if ast.unparse(owner) in ("response", "answer.headers"):
                    yield name
            case ast.Subscript(value=ast.Name(id="response"), slice=ast.Name(id=constant)):
                # A loop over the headers of an answer has a local name here.
                if header := getattr(importlib.import_module(module), constant, None):
                    yield header


def _headers_table(rows: Mapping[str, str]) -> str:
    return table(["header", "meaning"], ([literal(name), text] for name, text in rows.items()))
