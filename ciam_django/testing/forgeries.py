"""The forged id_tokens and userinfo answers of ``FakeCiam.forge``, by name."""

from __future__ import annotations

from typing import Final

from ciam_django.testing.tenant import APP_ID, Forgery

_LONG_AGO: Final = 1_000_000_000
_FAR_AHEAD: Final = 4_000_000_000

FORGERIES: Final[dict[str, Forgery]] = {
    # Signature and key.
    "bad_signature": Forgery(with_other_key=True),
    "alg_none": Forgery(header={"alg": "none"}),
    # The public key, which is known to everybody, is used as the shared secret.
    "alg_hs256": Forgery(header={"alg": "HS256"}),
    "unknown_kid": Forgery(header={"kid": "nobody-knows-this-one"}),
    "jwks_without_key": Forgery(is_published=False),
    # Issuer, audience, sign-in and time.
    "wrong_iss": Forgery(claims={"iss": "https://elsewhere.example"}),
    "no_iss": Forgery(claims={"iss": None}),
    "wrong_aud": Forgery(claims={"aud": "another_app"}),
    "no_aud": Forgery(claims={"aud": None}),
    # The token must not have an audience that the client does not trust (OpenID Connect Core 1.0,
    # 3.1.3.7).
    "second_aud": Forgery(claims={"aud": [APP_ID, "another_app"]}),
    "wrong_azp": Forgery(claims={"azp": "another_app"}),
    "wrong_nonce": Forgery(claims={"nonce": "of-another-sign-in"}),
    "no_nonce": Forgery(claims={"nonce": None}),
    "wrong_at_hash": Forgery(claims={"at_hash": "b2YgYW5vdGhlciB0b2tlbg"}),
    "expired": Forgery(claims={"iat": _LONG_AGO, "exp": _LONG_AGO + 3600}),
    "no_exp": Forgery(claims={"exp": None}),
    "not_yet_valid": Forgery(claims={"nbf": _FAR_AHEAD}),
    "from_the_future": Forgery(claims={"iat": _FAR_AHEAD, "exp": _FAR_AHEAD + 3600}),
    # User.
    "no_sub": Forgery(claims={"sub": None}),
    "sub_is_application": Forgery(claims={"sub": APP_ID}, userinfo={"sub": APP_ID}),
    "userinfo_other_sub": Forgery(userinfo={"sub": "somebody-else"}),
    "userinfo_no_sub": Forgery(userinfo={"sub": None}),
    # No id_token as OpenID Connect defines it.
    "as_ciam_documents": Forgery(with_ciam_claims=True),
    "no_id_token": Forgery(replacement=""),
    "no_jwt": Forgery(replacement="no.token.atall"),
}
