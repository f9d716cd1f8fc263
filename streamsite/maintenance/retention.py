"""The rows that grow, and when each of them may go: the table of deploy/retention.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.apps import apps
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.db.models import Model, Q, QuerySet
from django_q.models import OrmQ, Task

from media_library.models import DownloadBatch, DownloadJob, PreparedCopy, SitePause, SyncRun
from streams.models import (
    AlertMessage,
    AsRun,
    BroadcastRenewal,
    Channel,
    ChannelState,
    Drill,
    Evidence,
    Incident,
    LiveStream,
    LogLine,
    Node,
    Run,
    Sample,
    Takeover,
    ThinnedSample,
    UpcomingProblem,
    WatchDay,
)
from streams.monitoring.thinning import STEPS
from streamsite.accounts.models import AuditEntry, UserSession
from streamsite.api.models import KeyChange
from streamsite.webhooks.models import Delivery

#: Log lines kept for each channel.
MAX_LOG_LINES: Final = 2000


@dataclass(frozen=True, slots=True)
class Kind:
    """Rows of one model. `old` returns those that ended or were last used before a moment."""

    name: str
    model: type[Model]
    #: What is removed, as the document has it.
    rule: str
    old: Callable[[datetime], QuerySet[Any]]

    @property
    def days(self) -> int:
        return int(settings.RETENTION_DAYS[self.name])

    def due(self, now: datetime) -> QuerySet[Any]:
        """Returns the rows that may go now."""
        return self.old(now - timedelta(days=self.days)).order_by()


def _by(model: type[Model], column: str) -> Callable[[datetime], QuerySet[Any]]:
    """Rows whose column lies before the moment; a row without a value has not ended."""
    return lambda at: QuerySet(model).filter(**{f"{column}__lt": at})


def _samples(model: type[Sample | ThinnedSample]) -> Callable[[datetime], QuerySet[Any]]:
    """Samples by channel and length: that is what their indexes begin with."""
    lengths = (
        {"seconds__in": [step.seconds for step in STEPS]} if model is ThinnedSample else {}
    )
    return lambda at: QuerySet(model).filter(
        channel__in=list(Channel.objects.values_list("pk", flat=True)), at__lt=at, **lengths
    )


def _as_run(at: datetime) -> QuerySet[Any]:
    over = Q(ended_at__lt=at) | Q(ended_at=None, run__ended_at__lt=at)
    # By its index first: there are millions.
    return AsRun.objects.filter(over, started_at__lt=at)


def _runs(at: datetime) -> QuerySet[Any]:
    shown = ChannelState.objects.exclude(run=None).values("run")
    return Run.objects.filter(ended_at__lt=at, as_run=None).exclude(pk__in=shown)


def _live_streams(at: datetime) -> QuerySet[Any]:
    taking_over = Takeover.objects.filter(ended_at=None).exclude(stream=None).values("stream")
    return LiveStream.objects.filter(ended_at__lt=at).exclude(pk__in=taking_over)


def _nodes(at: datetime) -> QuerySet[Any]:
    playing = ChannelState.objects.exclude(owner="").values("owner")
    return Node.objects.filter(seen_at__lt=at).exclude(name__in=playing)


def _copies(at: datetime) -> QuerySet[Any]:
    """Copies that were never made. Those that exist are files of the storage."""
    given_up = (PreparedCopy.Status.FAULT, PreparedCopy.Status.CANCELLED)
    used = {channel.house_format.signature for channel in Channel.objects.all()}
    rows = PreparedCopy.objects.filter(status__in=given_up, queued_at__lt=at)
    return rows.exclude(house_format__in=used)


def _downloads(at: datetime) -> QuerySet[Any]:
    """Schedules know by their rows what they have ordered, the library where items are from."""
    useless = Q(status__in=(DownloadJob.Status.FAILED, DownloadJob.Status.CANCELLED))
    useless |= Q(status=DownloadJob.Status.DONE, item=None) | Q(duplicate=True)
    over = Q(status__in=DownloadJob.OVER, ended_at__lt=at, schedule=None)
    return DownloadJob.objects.filter(useless & over)


def _messages(at: datetime) -> QuerySet[Any]:
    """Messages to nodes, of an earlier version: a supervisor held its own while it ran."""
    there = [f"node-{name}" for name in Node.objects.values_list("name", flat=True)]
    there.append(settings.FORMER_NODE_CLUSTER)
    return QuerySet(OrmQ).filter(lock__lt=at, key__startswith="node-").exclude(key__in=there)


#: In this order: a run goes after its entries, a node before its messages.
KINDS: Final = (
    Kind("as-run", AsRun, "after their end", _as_run),
    Kind("runs", Run, "after their end and that of their last as-run entry", _runs),
    Kind("incidents", Incident, "after their end", _by(Incident, "closed_at")),
    Kind("evidence", Evidence, "after it was taken", _by(Evidence, "taken_at")),
    Kind("takeovers", Takeover, "after their end", _by(Takeover, "ended_at")),
    Kind("drills", Drill, "after their end", _by(Drill, "finished_at")),
    Kind(
        "broadcasts", BroadcastRenewal, "after their end", _by(BroadcastRenewal, "finished_at")
    ),
    Kind("watch-days", WatchDay, "after the day", _by(WatchDay, "day")),
    Kind("live-streams", LiveStream, "after their end", _live_streams),
    Kind(
        "samples",
        Sample,
        "after they were taken; after 48 hours one a minute is kept, after 30 days one in 15 "
        "minutes, with means and worst values",
        _samples(Sample),
    ),
    Kind("samples", ThinnedSample, "as samples", _samples(ThinnedSample)),
    Kind(
        "upcoming-problems",
        UpcomingProblem,
        "after they were cleared",
        _by(UpcomingProblem, "cleared_at"),
    ),
    Kind("nodes", Node, "after their last report, unless a channel is theirs", _nodes),
    Kind(
        "syncs",
        SyncRun,
        "after their start, unless one still runs",
        lambda at: SyncRun.objects.filter(started_at__lt=at).exclude(
            status=SyncRun.Status.RUNNING
        ),
    ),
    Kind(
        "copies",
        PreparedCopy,
        "after they were queued, if they failed or were cancelled, and no channel has the "
        "format; finished copies stay",
        _copies,
    ),
    Kind(
        "downloads",
        DownloadJob,
        "after their end, if they failed, were cancelled or their item is gone, and no "
        "schedule ordered them",
        _downloads,
    ),
    Kind(
        "download-batches",
        DownloadBatch,
        "after they were ordered, if none of their downloads is left",
        lambda at: DownloadBatch.objects.filter(made_at__lt=at, jobs=None),
    ),
    Kind("site-pauses", SitePause, "after their end", _by(SitePause, "until")),
    Kind(
        "deliveries",
        Delivery,
        "after the event, unless the delivery still waits",
        lambda at: Delivery.objects.filter(created_at__lt=at).exclude(
            state=Delivery.State.WAITING
        ),
    ),
    Kind(
        "deliveries",
        AlertMessage,
        "after what it reports, unless the message still waits",
        lambda at: AlertMessage.objects.filter(created_at__lt=at).exclude(
            state=AlertMessage.State.WAITING
        ),
    ),
    Kind("key-changes", KeyChange, "after the change", _by(KeyChange, "at")),
    Kind("admin-history", LogEntry, "after the change", _by(LogEntry, "action_time")),
    Kind("audit-log", AuditEntry, "after the event", _by(AuditEntry, "created_at")),
    Kind("sessions", UserSession, "after they expired", _by(UserSession, "expire_date")),
    Kind(
        "sessions",
        Session,
        "after they expired; of a version before",
        _by(Session, "expire_date"),
    ),
    Kind("logins", AccessLog, "after the login", _by(AccessLog, "attempt_time")),
    Kind(
        "logins",
        AccessFailureLog,
        "after the try",
        _by(AccessFailureLog, "attempt_time"),
    ),
    Kind(
        "failures",
        AccessAttempt,
        "after the last wrong password",
        _by(AccessAttempt, "attempt_time"),
    ),
    Kind(
        "jobs",
        Task,
        "after their end; of those that went well the last 500 are kept",
        _by(Task, "stopped"),
    ),
    Kind("messages", OrmQ, "to nodes that are gone", _messages),
)
#: Models without a retention, and the reason.
PEOPLES: Final = "People make and remove them."
BOUNDED: Final = "There is one for each of something that people make."
EXEMPT: Final = {
    **dict.fromkeys(
        (
            *("auth.Group", "auth.Permission", "auth.User", "contenttypes.ContentType"),
            *("media_library.DownloadSchedule", "media_library.MediaItem"),
            *("media_library.Playlist", "media_library.PlaylistEntry"),
            *("media_library.SiteCookies", "media_library.Tag"),
            *("streams.AlertReceiver", "streams.Block", "streams.Broadcaster"),
            *("streams.Channel", "streams.OnAirHours", "streams.Output"),
            *("streams.PlatformAccount", "streams.StreamKey", "streams.TakeoverRight"),
            *("otp_static.StaticDevice", "otp_static.StaticToken", "otp_totp.TOTPDevice"),
            *("streamsite.ApiKey", "streamsite.ChannelLimit", "streamsite.Endpoint"),
            "streamsite.Passkey",
        ),
        PEOPLES,
    ),
    **dict.fromkeys(
        (
            *("django_q.Schedule", "streams.ChannelState", "streams.IngestServer"),
            *("streams.OutputState", "streams.AccountState", "streams.PlatformReport"),
        ),
        BOUNDED,
    ),
    "streams.LogLine": f"The newest {MAX_LOG_LINES} of each channel are kept.",
    "axes.AccessAttemptExpiration": "It goes with its failure.",
    "media_library.Absence": "It goes with its sync.",
    "media_library.Reservation": "The next upload removes those that expired.",
    "streamsite.Tally": "The API removes them after ten minutes.",
}


def surplus_log_lines() -> Iterator[QuerySet[Any]]:
    """Yields, for each channel, its log lines before the newest ones."""
    for channel in Channel.objects.order_by("pk"):
        lines = LogLine.objects.filter(channel=channel)
        newest = lines.order_by("-pk").values_list("pk", flat=True)[:MAX_LOG_LINES]
        yield lines.filter(pk__lt=min(newest, default=0))


def without_rule() -> set[str]:
    """Returns the models that no line of these tables names."""
    named = {kind.model._meta.label for kind in KINDS} | set(EXEMPT)
    return {model._meta.label for model in apps.get_models() if not model._meta.proxy} - named
