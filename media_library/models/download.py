"""Downloads from the web: jobs, batches, schedules, and the state of sites."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from media_library.models.item import MediaItem
from streamsite.security.fields import SecretField
from streamsite.security.secret import Unreadable
from streamsite.security.text import OneLineText
from streamsite.security.urls import without_secrets


class DownloadBatch(models.Model):
    """Downloads that were ordered together: several addresses, or a playlist's videos."""

    name = models.CharField(max_length=255)
    made_at = models.DateTimeField(default=timezone.now)
    made_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering: ClassVar = ["-pk"]
        verbose_name = "batch of downloads"
        verbose_name_plural = "batches of downloads"

    def __str__(self) -> str:
        return self.name

    @property
    def left(self) -> int:
        """Number of its jobs that are not over."""
        return self.jobs.exclude(status__in=DownloadJob.OVER).count()


class DownloadSchedule(OneLineText):
    """An address that is checked repeatedly; new videos are downloaded."""

    name = models.CharField(max_length=120, unique=True)
    url = models.URLField("address", max_length=2000)
    options = models.JSONField(default=dict, blank=True)
    enabled = models.BooleanField(default=True)
    every_hours = models.PositiveSmallIntegerField(
        default=24, help_text="0: once. Each time only new videos are downloaded."
    )
    cap = models.PositiveSmallIntegerField(
        default=10, help_text="Number of newest videos to check."
    )
    rights = models.TextField(
        blank=True, help_text="Permission of the rights holder, and its end."
    )
    any_site = models.BooleanField(default=False, editable=False)
    owner = models.CharField(max_length=64, blank=True, editable=False)
    made_by = models.CharField(max_length=150, blank=True, editable=False)

    # Written by a worker.
    next_at = models.DateTimeField(default=timezone.now)
    checked_at = models.DateTimeField(null=True, blank=True, editable=False)
    ordered = models.PositiveIntegerField(default=0, editable=False)
    fault = models.TextField(blank=True, editable=False)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(cap__gte=1, cap__lte=500), name="schedule_looks_at_1_to_500"
            )
        ]

    def __str__(self) -> str:
        return self.name


class DownloadJob(models.Model):
    """One video on its way into the library. People write the order, a worker the state.

    queued ─▶ extracting ─▶ downloading ─▶ processing ─▶ storing ─▶ done
      ▲            └──────────────┴──────────────┴──────────┴──▶ failed, cancelled
      └── after a temporary error or a dead worker: retried after `due_at`
    """

    class Status(models.TextChoices):
        QUEUED = "queued", "Queued"
        EXTRACTING = "extracting", "Reading the page"
        DOWNLOADING = "downloading", "Downloading"
        PROCESSING = "processing", "Processing"
        STORING = "storing", "Storing"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    RUNNING: ClassVar = (
        *(Status.EXTRACTING, Status.DOWNLOADING, Status.PROCESSING, Status.STORING),
    )
    OVER: ClassVar = (Status.DONE, Status.FAILED, Status.CANCELLED)

    # The order, written by people.
    url = models.URLField("address", max_length=2000)
    site = models.CharField(max_length=253, help_text="The host of the address.")
    options = models.JSONField(default=dict)
    profile = models.CharField(max_length=16, help_text="Digest of its options.")
    any_site = models.BooleanField(
        default=False, help_text="Sites that yt-dlp does not know are allowed."
    )
    again = models.BooleanField(
        default=False, help_text="Even if the library has the same video."
    )
    rights = models.TextField(
        blank=True, help_text="Permission of the rights holder, and its end."
    )
    batch = models.ForeignKey(
        DownloadBatch, on_delete=models.SET_NULL, null=True, blank=True, related_name="jobs"
    )
    schedule = models.ForeignKey(
        DownloadSchedule, on_delete=models.SET_NULL, null=True, blank=True, related_name="jobs"
    )
    owner = models.CharField(
        max_length=64, blank=True, help_text="Owner of the quota, such as user:1."
    )
    requested_by = models.CharField(max_length=150, blank=True)
    requested_key = models.CharField(
        max_length=128, blank=True, help_text="The caller's own key for this order."
    )
    cancel_requested = models.BooleanField(default=False)
    made_at = models.DateTimeField(default=timezone.now)

    # The state, written by a worker.
    status = models.CharField(max_length=12, choices=Status, default=Status.QUEUED)
    due_at = models.DateTimeField(
        default=timezone.now, help_text="Earliest time of the next try."
    )
    claim = models.CharField(max_length=32, blank=True, editable=False)
    worker = models.CharField(
        max_length=255, blank=True, editable=False, help_text="Node, pid and start time."
    )
    session = models.PositiveIntegerField(
        null=True, blank=True, editable=False, help_text="Session of the job's processes."
    )
    heartbeat_at = models.DateTimeField(null=True, blank=True, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    deaths = models.PositiveSmallIntegerField(
        default=0, editable=False, help_text="Workers that died at it."
    )
    percent = models.PositiveSmallIntegerField(default=0)
    note = models.CharField(
        max_length=255, blank=True, help_text="Its current step, or what it waits for."
    )
    speed = models.PositiveBigIntegerField(null=True, blank=True, help_text="Bytes per second.")
    seconds_left = models.PositiveIntegerField(null=True, blank=True)
    bytes_done = models.PositiveBigIntegerField(default=0)
    bytes_total = models.PositiveBigIntegerField(null=True, blank=True)
    reserved_bytes = models.PositiveBigIntegerField(
        default=0, help_text="Bytes of disk and quota that are reserved for it."
    )
    code = models.CharField(max_length=16, blank=True, help_text="Code of the error.")
    fault = models.TextField(blank=True, help_text="The error, and what to do.")
    warnings = models.JSONField(default=list, blank=True)
    tool_version = models.CharField(max_length=32, blank=True)

    # Metadata and result.
    extractor = models.CharField(max_length=64, blank=True)
    video_id = models.CharField(max_length=255, blank=True)
    title = models.CharField(max_length=500, blank=True)
    uploader = models.CharField(max_length=255, blank=True)
    page = models.CharField(max_length=2000, blank=True)
    licence = models.CharField(max_length=255, blank=True)
    seconds = models.FloatField(null=True, blank=True)
    got = models.CharField(max_length=500, blank=True, help_text="The downloaded formats.")
    key = models.CharField(max_length=1024, blank=True, help_text="Its key in the storage.")
    size_bytes = models.PositiveBigIntegerField(null=True, blank=True)
    extras = models.JSONField(
        default=list, blank=True, help_text="Subtitles and pictures: kind, language, key."
    )
    item = models.ForeignKey(
        MediaItem, on_delete=models.SET_NULL, null=True, blank=True, related_name="downloads"
    )
    duplicate = models.BooleanField(
        default=False, help_text="The library had it already: nothing was downloaded."
    )

    class Meta:
        ordering: ClassVar = ["-pk"]
        verbose_name = "download"
        permissions: ClassVar = [
            ("download_from_any_site", "Can download from sites that yt-dlp does not know"),
            ("update_downloader", "Can update yt-dlp"),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["due_at", "id"], name="download_queued", condition=Q(status="queued")
            ),
            models.Index(
                fields=["heartbeat_at"], name="download_running", condition=~Q(claim="")
            ),
            models.Index(fields=["owner", "made_at"], name="download_of_owner"),
            models.Index(fields=["site", "ended_at"], name="download_of_site"),
            models.Index(
                fields=["extractor", "video_id", "profile"],
                name="download_of_video",
                condition=Q(status="done"),
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["owner", "requested_key"],
                condition=~Q(requested_key=""),
                name="one_download_per_order",
            ),
            models.UniqueConstraint(
                fields=["extractor", "video_id", "profile"],
                condition=Q(
                    status__in=["extracting", "downloading", "processing", "storing"],
                )
                & ~Q(video_id=""),
                name="one_download_of_a_video_at_a_time",
            ),
            models.CheckConstraint(
                condition=~Q(status="failed") | (~Q(fault="") & ~Q(code="")),
                name="download_fault_is_in_words",
            ),
            models.CheckConstraint(
                condition=~Q(status="done") | ~Q(key=""),
                name="done_download_has_a_key",
            ),
            models.CheckConstraint(
                condition=Q(
                    status__in=["extracting", "downloading", "processing", "storing"],
                    claim__gt="",
                )
                | Q(status__in=["queued", "done", "failed", "cancelled"], claim=""),
                name="running_download_has_a_claim",
            ),
        ]

    def __str__(self) -> str:
        return self.title or self.shown_url

    @property
    def shown_url(self) -> str:
        """The address without tokens and signatures."""
        return without_secrets(self.url)

    @property
    def shown_page(self) -> str:
        return without_secrets(self.page)

    @property
    def running(self) -> bool:
        return self.status in self.RUNNING

    @property
    def over(self) -> bool:
        return self.status in self.OVER


class SiteCookies(OneLineText):
    """Cookies of an account at a site, for its downloads. Each job gets a copy."""

    domain = models.CharField(
        max_length=253, unique=True, help_text="Such as youtube.com; includes its subdomains."
    )
    text = SecretField(
        "cookies",
        help_text="As exported by a browser's add-on (Netscape's cookies.txt). Use an account "
        "made for this, not your own: sites close accounts that download much.",
    )
    set_at = models.DateTimeField(default=timezone.now, editable=False)
    used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering: ClassVar = ["domain"]
        verbose_name = "site cookies"
        verbose_name_plural = "site cookies"

    def __str__(self) -> str:
        return self.domain

    @property
    def readable(self) -> bool:
        """Whether a key of FIELD_KEYS decrypts them."""
        return not isinstance(self.text, Unreadable)


class SitePause(models.Model):
    """A site that gets no requests for a while, because it refused some."""

    site = models.CharField(max_length=253, unique=True)
    until = models.DateTimeField()
    why = models.TextField()

    def __str__(self) -> str:
        return self.site
