"""``CiamIdentity``: which user a person of CIAM is; ``CiamSession``: where they are signed in."""

from __future__ import annotations

from typing import Any, Self

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ciam_django.client.person import identity_key


class CiamIdentity(models.Model):
    """A person of CIAM, by the names that never change; never by email or phone number."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="ciam_identities",
        verbose_name=_("user"),
    )
    issuer = models.CharField(_("issuer"), max_length=500)
    subject = models.CharField(_("subject"), max_length=255)
    key = models.CharField(_("key"), max_length=64, unique=True, editable=False)
    union_id = models.CharField(_("union id"), max_length=255, blank=True, editable=False)
    provider = models.CharField(_("provider"), max_length=64, blank=True, editable=False)
    # Of ``failures.note_names``.
    names: models.JSONField[list[str], list[str]] = models.JSONField(default=list, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    # Whether this very sign-in was the person's first.
    is_new = False

    class Meta:
        verbose_name = _("CIAM identity")
        verbose_name_plural = _("CIAM identities")
        permissions = (("manage_ciamidentity", "Can unlock, disable and enable people at CIAM"),)

    def __str__(self) -> str:
        return f"{self.subject} @ {self.issuer}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store the identity under its key."""
        self.key = identity_key(self.issuer, self.subject)
        super().save(*args, **kwargs)


class CiamSessionQuerySet(models.QuerySet["CiamSession"]):
    """Many of them."""

    def active(self) -> Self:
        """Those that have not been ended."""
        return self.exclude(sealed="")

    def mark_ended(self) -> int:
        """End them, and forget what they held; how many there were."""
        return self.active().update(sealed="", sid_key="", ends_at=timezone.now())


class CiamSession(models.Model):
    """A sign-in at CIAM: the session of this project's that it began, and the tokens that it holds.

    ``sealed`` is of ``tokens.py``, and empty once the session has been ended. ``sid_key`` is of
    issuer and ``sid``, as ``identity_key``; empty where CIAM names no session. ``renewals`` counts
    how often the tokens have been replaced; until ``renewing_until`` one request is about to.
    The newest is kept when it has ended, for it tells when the person last signed in.
    """

    identity = models.ForeignKey(
        CiamIdentity,
        on_delete=models.CASCADE,
        related_name="sessions",
        verbose_name=_("CIAM identity"),
    )
    sid_key = models.CharField(max_length=64, blank=True, db_index=True, editable=False)
    sealed = models.TextField(editable=False)
    renewals = models.PositiveIntegerField(default=0, editable=False)
    renewing_until = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(_("signed in"), auto_now_add=True)
    ends_at = models.DateTimeField(_("ends"))

    objects = CiamSessionQuerySet.as_manager()

    class Meta:
        verbose_name = _("CIAM session")
        verbose_name_plural = _("CIAM sessions")

    def __str__(self) -> str:
        return f"{self.identity}, {self.created_at:%Y-%m-%d %H:%M}"
