"""The diagnosis of the endpoints of CIAM; ``tests/doctor/`` runs it against the fake CIAM."""

from __future__ import annotations

from typing import Any

from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

from ciam_django.client.diagnosis import usable_algorithms
from tests.rows import for_each_row

RSA: dict[str, Any] = {"kty": "RSA", "n": "w" * 342, "e": "AQAB"}
EC: dict[str, Any] = ECKey.generate_key("P-256", private=False).as_dict()
OKP: dict[str, Any] = OKPKey.generate_key("Ed25519", private=False).as_dict()
ALGORITHMS = ["RS256", "PS384", "ES256", "EdDSA", "Ed25519"]


@for_each_row(
    "members, usable",
    [
        ([RSA], ["RS256", "PS384"]),
        ([{**RSA, "alg": "RS256"}], ["RS256"]),
        ([{**RSA, "alg": "RS512"}], []),
        ([{**RSA, "alg": "RS512"}, {**RSA, "alg": "PS384"}], ["PS384"]),
        ([EC], ["ES256"]),
        ([OKP], ["EdDSA", "Ed25519"]),
        ([EC, RSA], ["RS256", "PS384", "ES256"]),
        ([], []),
    ],
)
def test_an_algorithm_is_usable_with_a_key_of_its_type_that_names_no_other_algorithm(
    members: list[dict[str, Any]], usable: list[str]
) -> None:
    classes: dict[str, Any] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
    keys = KeySet([classes[each["kty"]].import_key(each) for each in members])
    metadata = {"id_token_signing_alg_values_supported": ALGORITHMS}

    assert usable_algorithms(keys, metadata) == usable
