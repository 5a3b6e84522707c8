"""Tell the issuers of fake CIAMs from others, and name the commands for an issuer."""

from __future__ import annotations

import shlex

from ciam_django.network import is_loopback_url


def is_fake_issuer(issuer: str) -> bool:
    """Return True if the issuer is a CIAM that runs on this machine."""
    return is_loopback_url(issuer)


def may_be_fake_issuer(issuer: str) -> bool:
    """Return True if the issuer can be a fake CIAM: on this machine, or at an http address.

    The issuer of a tenant is an https address.
    """
    return is_fake_issuer(issuer) or issuer.startswith("http:")


def commands_for(old_issuer: str) -> str:
    """The commands that end the error of identities with another issuer, as they are typed."""
    issuer = shlex.quote(old_issuer)
    rename = (
        "To keep the users of the old issuer, rename their identities: "
        f"`manage.py ciam_rekey --from {issuer}` (with --subjects FILE if their ids have changed)."
    )
    apply = "The command only shows the changes; add --apply to make them."
    if not may_be_fake_issuer(old_issuer):
        return f"{rename} {apply}"
    option = "" if is_fake_issuer(old_issuer) else f" --from {issuer}"
    forget = f"`manage.py ciam_rekey --forget-test-people{option}`"
    remove = f"If the old issuer was a fake CIAM, remove its test people: {forget}."
    return f"{remove} {rename} {apply}"
