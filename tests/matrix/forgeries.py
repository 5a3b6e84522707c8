"""The code that the package gives to each forgery of the fake."""

from __future__ import annotations

from typing import Final

# Key of ``FORGERIES`` -> code.
CODES_OF_FORGERIES: Final = {
    "bad_signature": "bad_signature",
    "alg_none": "unsupported_algorithm",
    "alg_hs256": "unsupported_algorithm",
    "unknown_kid": "invalid_key_id",
    "jwks_without_key": "invalid_key_id",
    "wrong_iss": "invalid_claim",
    "no_iss": "missing_claim",
    "wrong_aud": "invalid_claim",
    "no_aud": "missing_claim",
    "second_aud": "missing_claim",
    "wrong_azp": "invalid_claim",
    "wrong_nonce": "invalid_claim",
    "no_nonce": "missing_claim",
    "wrong_at_hash": "invalid_claim",
    "expired": "expired_token",
    "no_exp": "missing_claim",
    "not_yet_valid": "invalid_claim",
    "from_the_future": "invalid_claim",
    "no_sub": "missing_claim",
    "sub_is_application": "nobody_named",
    "userinfo_other_sub": "nobody_named",
    "userinfo_no_sub": "nobody_named",
    "as_ciam_documents": "missing_claim",
    "no_id_token": "missing_id_token",
    "no_jwt": "decode_error",
}
