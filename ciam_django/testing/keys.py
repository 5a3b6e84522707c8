"""The fake's RSA keys for tokens, and its certificate for https."""

from __future__ import annotations

import datetime
import functools
import hashlib
import hmac
import ipaddress
import json
import secrets
from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from joserfc import jwt
from joserfc.jwk import RSAKey
from joserfc.util import urlsafe_b64encode


@functools.cache
def first_key() -> RSAKey:
    """Return the first key of every fake in this process, because a new RSA key is slow to make."""
    return generate_key()


@functools.cache
def other_key() -> RSAKey:
    """Return a second key, which the fake uses for forgeries only."""
    return generate_key()


def generate_key() -> RSAKey:
    """Return a new 2048-bit RSA key with a random key id."""
    return RSAKey.generate_key(
        2048, {"kid": secrets.token_hex(8), "use": "sig", "alg": "RS256"}, private=True
    )


def sign_token(header: Mapping[str, Any], claims: Mapping[str, Any], key: RSAKey) -> str:
    """Return a JSON Web Token with the header, the claims and a signature by ``alg``.

    RS256 signs with the key. HS256 forges a signature with the public key as the secret. Any other
    ``alg`` leaves the signature empty.
    """
    if header.get("alg") == "RS256":
        return jwt.encode(dict(header), dict(claims), key)
    parts = [urlsafe_b64encode(json.dumps(part).encode()) for part in (header, claims)]
    content = b".".join(parts)
    signature = b""
    if header.get("alg") == "HS256":
        # The forgery uses the public key, which is known to everybody, as the shared secret.
        public = key.as_pem(private=False)
        signature = hmac.new(public, content, hashlib.sha256).digest()
    return (content + b"." + urlsafe_b64encode(signature)).decode()


def at_hash_of(access_token: str) -> str:
    """Return an access token's ``at_hash`` for RS256 (OpenID Connect Core 1.0, 3.1.3.6)."""
    return urlsafe_b64encode(hashlib.sha256(access_token.encode()).digest()[:16]).decode()


def generate_certificate() -> bytes:
    """Return a new self-signed certificate for loopback and its private key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ciam_django's fake CIAM")])
    now = datetime.datetime.now(datetime.UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = dict.fromkeys(
        (
            "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
            "crl_sign", "encipher_only", "decipher_only",
        ),
        False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
        # Python 3.13 verifies certificates strictly and needs all of these extensions.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=True, **usage), critical=True
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
