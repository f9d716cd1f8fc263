"""A file of the library, and its copies in a house format."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, ClassVar

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from media_library.ffmpeg.probe import Probe
from media_library.models.titles import title_of
from streamsite.security.text import OneLineText


class KeyField(models.CharField):  # type: ignore[type-arg]  # no generic at run time
    """A key of the storage, ordered by its bytes as in every bucket's listing.

    SQLite compares bytes by default; PostgreSQL needs a collation.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        parameters: Any = super().db_parameters(connection)
        if connection.vendor == "postgresql":
            parameters["collation"] = "C"
        return parameters


class Tag(OneLineText):
    """A label on items, for finding them."""

    name = models.CharField(max_length=64, unique=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class ItemQuerySet(models.QuerySet["MediaItem"]):
    def update(self, **values: Any) -> int:
        """A title written this way comes from a person: see `MediaItem.titled`."""
        if "title" in values:
            values.setdefault("titled", True)
        return super().update(**values)


class MediaItem(OneLineText):
    """One file in the storage. Its key is its name there; most other columns come from it."""

    class Status(models.TextChoices):
        NEW = "new", "New"
        PROBED = "probed", "Probed"
        PREPARING = "preparing", "Preparing"
        READY = "ready", "Ready"
        FAULT = "fault", "Fault"

    class Index(models.TextChoices):
        FRONT = "front", "At the front"
        END = "end", "At the end"

    class Rating(models.IntegerChoices):
        ALL = 0, "All ages"
        SIX = 6, "6 and older"
        TWELVE = 12, "12 and older"
        SIXTEEN = 16, "16 and older"
        EIGHTEEN = 18, "18 and older"

    key = KeyField(
        max_length=1024,
        unique=True,
        help_text="The name of the file in the storage, such as films/a.mp4.",
    )
    title = models.CharField(max_length=255)
    titled = models.BooleanField(
        default=True, editable=False, help_text="Its title contains more than its key."
    )
    status = models.CharField(max_length=16, choices=Status, default=Status.NEW, db_index=True)
    fault = models.TextField(blank=True, help_text="The fault, and what to do.")

    size_bytes = models.PositiveBigIntegerField(null=True, blank=True)
    etag = models.CharField(max_length=128, blank=True)
    fingerprint = models.CharField(
        max_length=64,
        blank=True,
        editable=False,
        help_text="Fingerprint of the content at the last inspection, whatever its etag.",
    )
    fingerprint_etag = models.CharField(
        max_length=128, blank=True, editable=False, help_text="Etag at that time."
    )
    duration_seconds = models.FloatField(null=True, blank=True)
    width = models.PositiveIntegerField(null=True, blank=True)
    height = models.PositiveIntegerField(null=True, blank=True)
    fps = models.CharField(max_length=24, blank=True, help_text="As a fraction: 30000/1001.")
    video_codec = models.CharField(max_length=32, blank=True)
    pixel_format = models.CharField(max_length=32, blank=True)
    reorder = models.PositiveSmallIntegerField(
        default=0, help_text="Frames that are decoded before they are displayed (B-frames)."
    )
    turned = models.BooleanField(
        default=False, help_text="Filmed upright: it has to be rotated for display."
    )
    trimmed = models.BooleanField(
        default=False,
        help_text="Parts of it are not displayed: it was trimmed without re-encoding.",
    )
    audio_codec = models.CharField(max_length=32, blank=True)
    sample_rate = models.PositiveIntegerField(null=True, blank=True)
    channels = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Audio channels; empty: unknown."
    )

    colour = models.CharField(
        max_length=32, blank=True, help_text="Transfer curve; HDR: smpte2084, arib-std-b67."
    )
    loudness_lufs = models.FloatField(
        null=True, blank=True, help_text="Estimated from parts of it, in LUFS (EBU R128)."
    )
    keyframe_seconds = models.FloatField(
        null=True, blank=True, help_text="Longest distance between two keyframes."
    )
    index = models.CharField(
        max_length=8, choices=Index, blank=True, help_text="Position of the moov box of an MP4."
    )
    thumbnails = models.CharField(
        max_length=1024, blank=True, help_text="Key of a strip of three pictures."
    )

    # Written by people.
    tags = models.ManyToManyField(Tag, blank=True, related_name="items")
    age_rating = models.PositiveSmallIntegerField(
        choices=Rating, null=True, blank=True, help_text="Empty: unrated."
    )
    source = models.CharField(max_length=500, blank=True, help_text="Origin of the file.")
    rights = models.TextField(
        blank=True, help_text="Permission of the rights holder, and its end."
    )

    added_at = models.DateTimeField(auto_now_add=True)
    probed_at = models.DateTimeField(null=True, blank=True)
    probe_claimed_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Time of a worker's claim."
    )
    probe_attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    misses = models.PositiveSmallIntegerField(
        default=0, editable=False, help_text="Consecutive complete listings without it."
    )
    missing_since = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Since the second listing without it."
    )

    objects = ItemQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["title", "pk"]
        verbose_name = "media item"
        # One for each order of the lists. Behind the order they contain all columns that the
        # lists filter by, so that a filter with few matches costs one scan of the index (60 ms
        # for a million rows on SQLite), never one of the table.
        indexes: ClassVar = [
            models.Index(
                fields=["title", "id", "status", "age_rating", "duration_seconds", "added_at",
                        "audio_codec"],
                name="item_by_title",
            ),
            models.Index(
                fields=["added_at", "id", "status", "age_rating", "duration_seconds",
                        "audio_codec"],
                name="item_by_age",
            ),
            models.Index(
                fields=["duration_seconds", "id", "status", "age_rating", "added_at",
                        "audio_codec"],
                name="item_by_length",
            ),
            # A search reads the keys' index for all others.
            models.Index(
                fields=["title", "key", "titled"],
                name="item_titled",
                condition=models.Q(titled=True),
            ),
            models.Index(
                fields=["missing_since"],
                name="item_missing",
                condition=models.Q(missing_since__isnull=False),
            ),
            models.Index(
                fields=["status", "probe_claimed_at"],
                name="item_looked_into",
                condition=models.Q(probe_claimed_at__isnull=False),
            ),
        ]  # fmt: skip
        constraints: ClassVar = [
            models.CheckConstraint(condition=~models.Q(key=""), name="item_has_a_key"),
            models.CheckConstraint(
                condition=~models.Q(status="fault") | ~models.Q(fault=""),
                name="item_fault_is_in_words",
            ),
        ]

    def __str__(self) -> str:
        return self.title

    def save(self, *args: Any, **options: Any) -> None:
        self.titled = self.title != title_of(self.key)
        fields = options.get("update_fields")
        if fields is not None and "title" in fields:
            options["update_fields"] = {*fields, "titled"}
        super().save(*args, **options)

    @property
    def probe(self) -> Probe | None:
        """The properties of the file; None before the inspection."""
        if self.probed_at is None:
            return None
        return Probe(
            seconds=None
            if self.duration_seconds is None
            # The column is a float; a length was measured in microseconds.
            else Fraction(round(self.duration_seconds * 1_000_000), 1_000_000),
            width=self.width or 0,
            height=self.height or 0,
            fps=Fraction(self.fps) if self.fps else None,
            video_codec=self.video_codec,
            pixel_format=self.pixel_format,
            audio_codec=self.audio_codec,
            sample_rate=self.sample_rate or 0,
            channels=self.channels or 0,
            reorder=self.reorder,
            turned=self.turned,
            colour=self.colour,
            trimmed=self.trimmed,
            keyframe_seconds=self.keyframe_seconds,
        )


class PreparedCopy(models.Model):
    """An item conformed to one house format, made once per content of the original."""

    class Status(models.TextChoices):
        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        READY = "ready", "Ready"
        FAULT = "fault", "Fault"
        CANCELLED = "cancelled", "Cancelled"

    item = models.ForeignKey(MediaItem, on_delete=models.CASCADE, related_name="copies")
    house_format = models.CharField(max_length=64, help_text="Signature of the house format.")
    source_etag = models.CharField(max_length=128)
    key = models.CharField(max_length=1024, blank=True, help_text="Its key in the storage.")
    frames = models.PositiveIntegerField(
        null=True, blank=True, help_text="Video frames: a multiple of the format's grid."
    )
    status = models.CharField(max_length=16, choices=Status, default=Status.QUEUED)
    percent = models.PositiveSmallIntegerField(default=0)
    stage = models.CharField(
        max_length=16, blank=True, help_text="Current stage: fetching, measuring, encoding, ..."
    )
    loudness_lufs = models.FloatField(
        null=True, blank=True, help_text="Loudness of the finished copy, in LUFS (EBU R128)."
    )
    due_at = models.DateTimeField(null=True, blank=True, help_text="Next time on air.")
    fault = models.TextField(blank=True)
    queued_at = models.DateTimeField(null=True, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True)
    claim = models.CharField(
        max_length=32,
        blank=True,
        editable=False,
        help_text="Claim of the worker that makes it.",
    )
    heartbeat_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Last heartbeat of that worker."
    )
    attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    deaths = models.PositiveSmallIntegerField(
        default=0, editable=False, help_text="Workers that died at it."
    )
    made_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "prepared copy"
        verbose_name_plural = "prepared copies"
        # These few are queried each minute, among all that are ready.
        indexes: ClassVar = [
            models.Index(
                fields=["due_at", "queued_at", "id"],
                name="copy_queued",
                condition=models.Q(status="queued"),
            ),
            models.Index(
                fields=["heartbeat_at"],
                name="copy_running",
                condition=models.Q(status="running"),
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["item", "house_format"], name="one_copy_per_item_and_house"
            ),
            models.CheckConstraint(
                condition=~models.Q(status="ready")
                | (models.Q(frames__gt=0) & ~models.Q(key="")),
                name="ready_copy_has_key_and_frames",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.item} ({self.house_format})"
