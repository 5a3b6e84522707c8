"""The step that signs a user in with the code that a provider's SDK has given to a native app."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ciam_django.client.api import CiamClient
from ciam_django.errors import CiamError, Stage
from ciam_django.login.providers import Registration, registrations
from ciam_django.login.steps.credentials import counting_attempt
from ciam_django.login.steps.flow import Submission, SubmitResult
from ciam_django.privacy import own_text

# Proof -> the field of the form.
_FIELDS_OF_PROOFS: Final[Mapping[str, str]] = {"pkce": "code_verifier", "nonce": "nonce"}


def submit_native_code(submission: Submission) -> SubmitResult:
    """Let CIAM exchange the code of the flow's provider.

    Raises ``CiamError``: ``invalid_request`` if the proofs are not those of the registration,
    ``too_many_requests`` above the rate limit, or the error of CIAM.
    """
    registration = registrations()[submission.flow.provider]
    cleaned_data = submission.cleaned_data
    _check_proofs(registration, cleaned_data)
    proofs = registration.proof_parameters(
        nonce=cleaned_data["nonce"], code_verifier=cleaned_data["code_verifier"]
    )
    with counting_attempt(submission, "", Stage.SOCIAL):
        return CiamClient().social_login(
            registration.source,
            cleaned_data["code"],
            consents=submission.extra_parameters.get("consents", ()),
            **proofs,
        )


def _check_proofs(registration: Registration, cleaned_data: Mapping[str, Any]) -> None:
    """Raise ``invalid_request`` if a proof of the registration is missing, or if one is too many.

    Otherwise a stolen code of a browser could be used here without the proofs that the callback
    requires, or the app could believe that CIAM checks a proof.
    """
    for proof, field in _FIELDS_OF_PROOFS.items():
        if bool(cleaned_data[field]) is not (proof in registration.proofs):
            is_needed = "needs" if proof in registration.proofs else "takes no"
            raise CiamError(
                "invalid_request",
                stage=Stage.SOCIAL,
                upstream_text=own_text(f"{registration.name} {is_needed} {field}: see its proofs"),
            )
