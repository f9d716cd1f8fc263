"""Keys of programs, and how often each came.

People mint and revoke keys; the API writes when each was used last, and counts.
"""

from __future__ import annotations

import ipaddress
from datetime import datetime
from typing import ClassVar, Final

from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from streamsite.api.permissions import KeyPermission
from streamsite.security.text import OneLineText

#: Requests a minute that a key is good for where nobody says otherwise: ten a second.
REQUESTS_PER_MINUTE: Final = 600
#: Downloads at a time, likewise.
CONCURRENT_DOWNLOADS: Final = 3


def checked_networks(value: object) -> None:
    """Raises `ValidationError` unless it is a list of addresses and networks."""
    if not isinstance(value, list) or not all(isinstance(network, str) for network in value):
        raise ValidationError("It must be a list of addresses.")
    for network in value:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise ValidationError(
                f"{network} is no address: write 203.0.113.7, or a network as 203.0.113.0/24."
            ) from None


class ApiKey(OneLineText):
    """A key of the API. The key itself is not kept, only its SHA-256."""

    class State(models.TextChoices):
        ACTIVE = "active", "Active"
        EXPIRED = "expired", "Expired"
        REVOKED = "revoked", "Revoked"

    name = models.CharField(max_length=80, help_text="The person or program that uses it.")
    permissions = models.CharField(
        max_length=16,
        choices=[(permission.value, permission.value) for permission in KeyPermission],
        default=KeyPermission.READ_ONLY.value,
        help_text="Each includes those before it: deploy/api.md has the table.",
    )
    prefix = models.CharField(
        max_length=16, editable=False, help_text="The beginning of the key."
    )
    # A plain digest is enough: a key is 256 random bits, which nobody guesses from it.
    digest = models.CharField(max_length=64, unique=True, editable=False)
    allowed_addresses = models.JSONField(
        default=list,
        blank=True,
        validators=[checked_networks],
        help_text="Addresses and networks it is taken from. Empty: from everywhere.",
    )
    expires_at = models.DateTimeField(
        "expires", null=True, blank=True, help_text="Empty: never."
    )
    requests_per_minute = models.PositiveIntegerField(default=REQUESTS_PER_MINUTE)
    concurrent_downloads = models.PositiveSmallIntegerField(
        default=CONCURRENT_DOWNLOADS, help_text="Downloads at the same time."
    )
    bytes_per_day = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Downloaded in 24 hours. Empty: as many as fit."
    )
    created_at = models.DateTimeField("created", default=timezone.now, editable=False)
    created_by = models.CharField(max_length=150, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)
    revoked_by = models.CharField(max_length=150, blank=True, editable=False)
    last_used_at = models.DateTimeField("last used", null=True, editable=False)
    last_address = models.CharField("from", max_length=64, blank=True, editable=False)

    class Meta:
        ordering: ClassVar = ["-created_at", "-pk"]
        verbose_name = "API key"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(permissions__in=[one.value for one in KeyPermission]),
                name="api_key_permissions_are_known",
            ),
            models.CheckConstraint(
                condition=models.Q(requests_per_minute__gt=0),
                name="api_key_has_a_request_a_minute",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.prefix}… ({self.name})"

    @property
    def may(self) -> KeyPermission:
        return KeyPermission(self.permissions)

    def state(self, now: datetime) -> State:
        if self.revoked_at:
            return self.State.REVOKED
        if self.expires_at and self.expires_at <= now:
            return self.State.EXPIRED
        return self.State.ACTIVE

    def is_from(self, address: str) -> bool:
        """Whether it is taken from there; an address that can't be read is in no network."""
        if not self.allowed_addresses:
            return True
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False
        # One machine has both forms where a socket listens to IPv6 and IPv4.
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
            ip = ip.ipv4_mapped
        return any(ip in ipaddress.ip_network(network) for network in self.allowed_addresses)


class KeyChange(models.Model):
    """A change by a key. The admin's own history has changes by users only."""

    key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, related_name="changes")
    at = models.DateTimeField(default=timezone.now, db_index=True)
    content_type = models.ForeignKey(
        ContentType, on_delete=models.CASCADE, verbose_name="kind", related_name="+"
    )
    object_id = models.CharField(max_length=64)
    object_name = models.CharField("what", max_length=200, help_text="As it was called then.")
    sentence = models.TextField("done", help_text="The change, as a sentence.")

    class Meta:
        ordering: ClassVar = ["-pk"]
        verbose_name = "change by API key"
        verbose_name_plural = "changes by API keys"
        indexes: ClassVar = [
            models.Index(fields=["content_type", "object_id"], name="key_changes_of_a_row")
        ]

    def __str__(self) -> str:
        return f"{self.object_name}: {self.sentence}"


class Tally(models.Model):
    """Requests counted under a name in one minute of the clock: see `throttling`."""

    name = models.CharField(max_length=80, unique=True)
    minute = models.BigIntegerField(db_index=True, help_text="Since 1970, in UTC.")
    count = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.name}: {self.count}"
