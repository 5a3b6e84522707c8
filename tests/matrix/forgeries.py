"""What can be wrong with a token answer's id_token, and the code by which it is to be known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ciam_django.testing import FakeCiam
from ciam_django.testing.tenant import APP_ID

_PAST: Final = 1_000_000_000
_FUTURE: Final = 4_000_000_000


@dataclass(frozen=True, slots=True)
class Forgery:
    """A row: how the fake is told, and the code that the log line names."""

    name: str
    code: str
    plan: Callable[[FakeCiam], object]


def _claims(**claims: Any) -> Callable[[FakeCiam], object]:
    return lambda ciam: ciam.id_token_claims.update(claims)


def _header(**header: Any) -> Callable[[FakeCiam], object]:
    return lambda ciam: ciam.id_token_header.update(header)


def _sign_with_another_key(ciam: FakeCiam) -> None:
    known = ciam.key.kid
    ciam.rotate_keys()
    published = ciam.key
    ciam.rotate_keys()
    # The key's own name, on what another key has signed.
    ciam.id_token_header.update(kid=known)
    ciam.published_keys = [{**published.as_dict(private=False), "kid": known}]


def _publish_no_keys(ciam: FakeCiam) -> None:
    ciam.published_keys = []


FORGERIES: Final = (
    Forgery("bad signature", "bad_signature", _sign_with_another_key),
    Forgery("alg none", "unsupported_algorithm", _header(alg="none")),
    Forgery("HS256 with the public key", "unsupported_algorithm", _header(alg="HS256")),
    Forgery("unknown kid", "invalid_key_id", _header(kid="unknown")),
    Forgery("no keys", "unreadable_answer", _publish_no_keys),
    Forgery("wrong iss", "invalid_claim", _claims(iss="https://evil.example")),
    Forgery("wrong aud", "invalid_claim", _claims(aud="another")),
    Forgery("two of aud without azp", "missing_claim", _claims(aud=[APP_ID, "another"])),
    Forgery("wrong azp", "invalid_claim", _claims(azp="another")),
    Forgery("wrong nonce", "invalid_claim", _claims(nonce="another")),
    Forgery("no nonce", "missing_claim", _claims(nonce=None)),
    Forgery("wrong at_hash", "invalid_claim", _claims(at_hash="AAAAAAAAAAAAAAAAAAAAAA")),
    Forgery("no sub", "missing_claim", _claims(sub=None)),
    Forgery("an application for a sub", "nobody_named", _claims(sub=APP_ID)),
    Forgery("expired", "expired_token", _claims(exp=_PAST)),
    Forgery("not yet valid", "invalid_claim", _claims(nbf=_FUTURE)),
    Forgery("from the future", "invalid_claim", _claims(iat=_FUTURE)),
    Forgery(
        "as CIAM documents its own", "missing_claim",
        _claims(iss=None, aud=None, nonce=None, sub="fake_app_0002", azp="", gtp="password"),
    ),
)  # fmt: skip
