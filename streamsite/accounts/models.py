"""Rows of accounts: own channels, sessions, and the audit log."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any, ClassVar, Final

from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.utils import timezone


class ChannelLimit(models.Model):
    """A user or an API key may see and change these channels only. No row: all channels.

    A limit whose last channel is deleted stays, and allows none.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="channel_limit",
    )
    key = models.OneToOneField(
        "streamsite.ApiKey",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="channel_limit",
    )
    channels = models.ManyToManyField("streams.Channel", blank=True, related_name="+")

    class Meta:
        verbose_name = "limit to own channels"
        verbose_name_plural = "own channels"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(user=None) ^ models.Q(key=None),
                name="channel_limit_is_of_a_user_or_a_key",
            )
        ]

    def __str__(self) -> str:
        return f"Own channels of {self.user or self.key}"


#: Parts of a User-Agent, by browser and by system: the first that it holds is meant.
_NAMES: Final = (
    ("Edg", "OPR", "Firefox", "Chrome", "Safari"),
    ("Windows", "Android", "iPhone", "iPad", "Mac OS", "Linux"),
)
#: Their names, where they have others.
_SHOWN: Final = {"Edg": "Edge", "OPR": "Opera", "Mac OS": "macOS"}


class UserSession(AbstractBaseSession):
    """A login, or a visit before it. Written by `session_store`; people end it."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+"
    )
    began_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now, help_text="The last activity.")
    address = models.CharField(max_length=64, blank=True)
    user_agent = models.CharField(max_length=200, blank=True)

    class Meta(AbstractBaseSession.Meta):
        verbose_name = "session"
        verbose_name_plural = "sessions"

    @classmethod
    def get_session_store_class(cls) -> Any:
        from streamsite.accounts.session_store import SessionStore  # noqa: PLC0415 - it imports this

        return SessionStore

    @property
    def program(self) -> str:
        """The browser and its system, as people know them."""
        names = (
            next((name for name in group if name in self.user_agent), "") for group in _NAMES
        )
        browser, system = names
        browser = _SHOWN.get(browser, browser) or self.user_agent[:40] or "Unknown"
        return f"{browser} on {_SHOWN.get(system, system)}" if system else browser

    @property
    def handle(self) -> str:
        """Names it on pages: whoever has its key has the session."""
        return hashlib.sha256(self.session_key.encode()).hexdigest()[:24]


class Passkey(models.Model):
    """A passkey of a user: the public half of what their device or browser keeps."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="passkeys"
    )
    name = models.CharField(max_length=80)
    credential_id = models.CharField(max_length=1400, unique=True, help_text="In base64url.")
    public_key = models.BinaryField()
    sign_count = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["pk"]

    def __str__(self) -> str:
        return self.name


class AuditEntry(models.Model):
    """Something that a person or a program did. Append-only; old entries are pruned."""

    class Event(models.TextChoices):
        LOGIN = "login", "Login"
        LOGIN_FAILED = "login_failed", "Failed login"
        LOGOUT = "logout", "Logout"
        SESSION_ENDED = "session_ended", "Session ended"
        FACTOR = "factor", "Second factor"
        ORDER = "order", "Order"
        ADDED = "added", "Added"
        CHANGED = "changed", "Changed"
        DELETED = "deleted", "Deleted"
        EXPORT = "export", "Export"

    #: Entries are kept for this long.
    RETENTION: Final = timedelta(days=400)

    created_at = models.DateTimeField("at", default=timezone.now, db_index=True)
    event = models.CharField(max_length=16, choices=Event)
    who = models.CharField(
        max_length=150, db_index=True, help_text="The user, API key or command, as named then."
    )
    # No foreign keys to who and what: the entry outlives both.
    content_type = models.ForeignKey(
        ContentType,
        null=True,
        on_delete=models.SET_NULL,
        verbose_name="kind",
        related_name="+",
    )
    object_id = models.CharField(max_length=64, blank=True)
    object_name = models.CharField("what", max_length=200, blank=True)
    sentence = models.TextField("done")
    address = models.CharField("from", max_length=64, blank=True)
    user_agent = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at", "-pk"]
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.who}: {self.object_name} {self.sentence}"
