"""Strategies for JSON, codes, statuses, headers, and bodies in both of CIAM's formats."""

from __future__ import annotations

import json
from typing import Final

from hypothesis import strategies as st

from ciam_django.codes import ALIASES, CODES

SCALARS: Final = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40)
)
JSON: Final = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=12,
)
_KEYS: Final = [key for key in (*CODES, *ALIASES) if "*" not in key]
CODE: Final = st.sampled_from(_KEYS) | st.from_regex(
    r"[A-Za-z][A-Za-z0-9_]{0,12}(\.[A-Za-z0-9_]{1,12}){0,4}", fullmatch=True
)
# The members of both formats, with expected and with unexpected values.
MEMBERS: Final = st.fixed_dictionaries(
    {},
    optional={
        "success": st.booleans() | st.sampled_from(["true", "false", "True", 1, 0]) | JSON,
        "code": CODE | st.integers() | JSON,
        "message": CODE | st.tuples(CODE, st.text(max_size=60)).map(": ".join) | JSON,
        "requestId": st.text(max_size=140) | JSON,
        "data": JSON,
        "error": CODE | JSON,
        "error_description": st.text(max_size=200) | JSON,
        "error_uri": st.text(max_size=40),
        "errcode": st.integers() | JSON,
        "errmsg": st.text(max_size=40),
        "access_token": st.text(max_size=40) | JSON,
    },
)
BODY: Final = (
    st.binary(max_size=300)
    | MEMBERS.map(lambda body: json.dumps(body).encode())
    | JSON.map(lambda body: json.dumps(body).encode())
    | st.tuples(MEMBERS, st.sampled_from(["utf-16", "utf-8-sig", "gbk", "utf-32"])).map(
        lambda pair: json.dumps(pair[0]).encode(pair[1])
    )
)
STATUS: Final = st.sampled_from([200, 201, 302, 307, 400, 401, 403, 404, 429, 500, 502, 503])
HEADERS: Final = st.dictionaries(
    st.sampled_from(["Retry-After", "Content-Type", "Location", "X-Request-Id"]),
    st.text(max_size=40) | st.integers(0, 10**12).map(str),
)
