"""The models ``CiamIdentity`` (a person of CIAM and the user) and ``CiamSession`` (a sign-in).

``CiamFailure`` is an entry of the admin, without a table.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import pgettext_lazy

from ciam_django.accounts.transactions import PrimaryManager
from ciam_django.client.person import identity_key


class CiamIdentity(models.Model):
    """A person of CIAM, and the user that the person signs in as.

    Issuer and subject identify the person, because they never change. An email address or a phone
    number never identifies the person.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="ciam_identities",
        verbose_name=pgettext_lazy("ciam", "user"),
    )
    issuer = models.CharField(pgettext_lazy("ciam", "issuer"), max_length=500)
    subject = models.CharField(pgettext_lazy("ciam", "subject"), max_length=255)
    key = models.CharField(pgettext_lazy("ciam", "key"), max_length=64, unique=True, editable=False)
    union_id = models.CharField(
        pgettext_lazy("ciam", "union id"), max_length=255, blank=True, editable=False
    )
    provider = models.CharField(
        pgettext_lazy("ciam", "provider"), max_length=64, blank=True, editable=False
    )
    # The digests that ``update_names`` stores.
    names: models.JSONField[list[str], list[str]] = models.JSONField(default=list, editable=False)
    created_at = models.DateTimeField(pgettext_lazy("ciam", "created"), auto_now_add=True)
    # The time of the newest sign-in whose row ``ciam_clear`` has deleted.
    last_sign_in_at = models.DateTimeField(null=True, editable=False)

    objects: ClassVar[models.Manager[CiamIdentity]] = PrimaryManager()

    # True during the first sign-in of the person, which creates the identity.
    is_new = False
    # False if the default manager of the user model does not find the user. The backend sets it.
    has_visible_user = True

    class Meta:
        verbose_name = pgettext_lazy("ciam", "CIAM identity")
        verbose_name_plural = pgettext_lazy("ciam", "CIAM identities")
        permissions = (("manage_ciamidentity", "Can unlock, disable and enable people at CIAM"),)
        # The check of the issuer at a first sign-in, and the filters of the admin.
        indexes = (
            models.Index(fields=["issuer"], name="ciam_identity_issuer"),
            models.Index(fields=["provider"], name="ciam_identity_provider"),
        )

    def __str__(self) -> str:
        return f"{self.subject} @ {self.issuer}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Compute the key and store the identity."""
        self.key = identity_key(self.issuer, self.subject)
        super().save(*args, **kwargs)


class CiamFailure(CiamIdentity):
    """The entry of the last day's failures in the admin; the failures themselves are in the cache.

    A proxy has no table. Django lists the entry for staff with the permission
    ``ciam_accounts.view_ciamfailure``.
    """

    class Meta:
        proxy = True
        default_permissions = ("view",)
        verbose_name = pgettext_lazy("ciam", "sign-in failure")
        verbose_name_plural = pgettext_lazy("ciam", "sign-in failures")


class CiamSessionQuerySet(models.QuerySet["CiamSession"]):
    """The queries of CIAM sessions."""

    def active(self) -> Self:
        """Return the sessions that have not ended."""
        return self.exclude(sealed="")

    def mark_ended(self) -> int:
        """End the sessions, delete their tokens, and return the number of sessions."""
        return self.active().update(sealed="", sid_key="", ends_at=timezone.now())


class CiamSession(models.Model):
    """A sign-in at CIAM, with its tokens and the key of the Django session.

    ``sealed`` is the result of ``encrypted_tokens``; it is empty after the end of the session.
    ``sid_key`` is the ``identity_key`` of the issuer and the claim ``sid``; it is empty if CIAM
    names no session. ``renewals`` counts how often the tokens have been replaced. Until
    ``renewing_until``, one request is refreshing the tokens. After the end of the session, the
    newest row of an identity has the time of the last sign-in, until ``ciam_clear`` deletes the row
    and moves the time to the identity.
    """

    identity = models.ForeignKey(
        CiamIdentity,
        on_delete=models.CASCADE,
        related_name="sessions",
        verbose_name=pgettext_lazy("ciam", "CIAM identity"),
    )
    sid_key = models.CharField(max_length=64, blank=True, db_index=True, editable=False)
    sealed = models.TextField(editable=False)
    renewals = models.PositiveIntegerField(default=0, editable=False)
    renewing_until = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(pgettext_lazy("ciam", "signed in"), auto_now_add=True)
    ends_at = models.DateTimeField(pgettext_lazy("ciam", "ends"))

    objects = PrimaryManager.from_queryset(CiamSessionQuerySet)()

    class Meta:
        verbose_name = pgettext_lazy("ciam", "CIAM session")
        verbose_name_plural = pgettext_lazy("ciam", "CIAM sessions")
        # ``ciam_clear`` reads the rows in this order.
        indexes = (models.Index(fields=["ends_at", "id"], name="ciam_session_end"),)

    def __str__(self) -> str:
        return f"{self.identity}, {self.created_at:%Y-%m-%d %H:%M}"
