"""Authenticate the client by a JWT that its private key signs (RFC 7523, section 2.2)."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any, Final

from authlib.common.urls import add_params_to_qs
from authlib.oauth2.rfc7523 import private_key_jwt_sign
from authlib.oauth2.rfc7523.client import ASSERTION_TYPE
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from ciam_django.errors import CiamError
from ciam_django.privacy import clear_frames_on_error, own_text

# The ``token_endpoint_auth_method`` of OpenID Connect Core 1.0, section 9.
PRIVATE_KEY_JWT: Final = "private_key_jwt"
# Seconds for which an assertion is valid. Each call has an assertion of its own.
_LIFETIME: Final = 120
# Curve of the key -> algorithm (RFC 7518, section 3.4).
_EC_ALGORITHMS: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
# The algorithms that the ``alg`` of an RSA key can name; the first is the default.
_RSA_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


def signing_key_of(client_secret: object) -> RSAKey | ECKey | None:
    """Return the private key in a ``client_secret``; None if there is no usable private key.

    The key is RSA or EC, and has the form of PEM, of a JWK (RFC 7517) as a dict or as JSON, or of a
    key object of joserfc. A JWK that is for another use or another algorithm is not usable.
    """
    if isinstance(client_secret, RSAKey | ECKey):
        return client_secret if _can_sign(client_secret) else None
    if isinstance(client_secret, Mapping):
        try:
            client_secret = json.dumps(dict(client_secret))
        except (ValueError, TypeError, RecursionError):
            return None
    return _imported_key(client_secret) if isinstance(client_secret, str | bytes) else None


# The import of an RSA key takes some 40 ms, and each sign-in needs the key.
@functools.lru_cache(maxsize=4)
def _imported_key(text: str | bytes) -> RSAKey | ECKey | None:
    """Return the private key in a PEM or in the JSON of a JWK; None if there is no usable key."""
    data: Any = text
    if isinstance(text, str) and text.lstrip().startswith("{"):
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            return None
    key_types: tuple[type[RSAKey] | type[ECKey], ...] = (RSAKey, ECKey)
    for key_type in key_types:
        try:
            key = key_type.import_key(data)
        except (JoseError, ValueError, TypeError, LookupError):
            continue
        return key if _can_sign(key) else None
    return None


def _algorithm_of(key: RSAKey | ECKey) -> str:
    """Return the algorithm of the key's signatures; empty for an unknown curve."""
    if isinstance(key, ECKey):
        return _EC_ALGORITHMS.get(key.curve_name, "")
    return key.alg if key.alg in _RSA_ALGORITHMS else _RSA_ALGORITHMS[0]


def _can_sign(key: RSAKey | ECKey) -> bool:
    """Return True for a private key whose members allow a signature (RFC 7517, section 4)."""
    algorithm = _algorithm_of(key)
    try:
        key.check_use("sig")
        key.check_alg(algorithm)
        key.check_key_op("sign")
    except JoseError:
        return False
    return bool(algorithm) and key.is_private


@clear_frames_on_error
def assertion_parameters(client_id: str, client_secret: object, audience: str) -> dict[str, str]:
    """Return the parameters that authenticate the client in a call of ``audience``, a URL.

    Raises ``bad_configuration`` if ``client_secret`` is not a private key.
    """
    key = signing_key_of(client_secret)
    if key is None:
        raise CiamError(
            "bad_configuration",
            upstream_text=own_text(
                "the client_secret of AUTHLIB_OAUTH_CLIENTS is not a private key"
            ),
        )
    assertion = private_key_jwt_sign(
        key,
        client_id,
        audience,
        alg=_algorithm_of(key),
        header={"kid": key.kid} if key.kid else {},
        expires_in=_LIFETIME,
    )
    return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}


def encode_assertion(
    client: Any, method: str, uri: str, headers: dict[str, str], body: str
) -> tuple[str, dict[str, str], str]:
    """Add the assertion to the form of a call, as Authlib's ``client_auth_methods`` do."""
    parameters = assertion_parameters(client.client_id, client.client_secret, uri)
    return uri, headers, add_params_to_qs(body or "", list(parameters.items()))
