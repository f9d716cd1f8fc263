"""The sidebar of the admin: what is on air first, the machinery last."""

from __future__ import annotations

from typing import Any, Final

from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

#: Title, icon (of Material Symbols, which unfold ships) and model of each line, by group; or
#: the name of its page, where that is none of a model's. The control room is the first page.
GROUPS: Final[dict[str, tuple[tuple[str, str, str], ...]]] = {
    "On air": (
        ("Control room", "monitoring", ""),
        ("Channels", "live_tv", "streams.Channel"),
        ("Outputs", "cell_tower", "streams.Output"),
        ("Platform accounts", "badge", "streams.PlatformAccount"),
        ("Uptime", "query_stats", "uptime"),
        ("Upcoming problems", "event_busy", "streams.UpcomingProblem"),
        ("Blocks", "calendar_month", "streams.Block"),
    ),
    "Live": (
        ("Live now", "sensors", "live-streams"),
        ("Broadcasters", "podcasts", "streams.Broadcaster"),
        ("Stream keys", "key", "streams.StreamKey"),
    ),
    "Library": (
        ("Items", "movie", "media_library.MediaItem"),
        ("Playlists", "playlist_play", "media_library.Playlist"),
        ("Upload", "upload", "media-upload"),
        ("Sync", "sync", "media_library.SyncRun"),
        ("Downloads", "download", "media_library.DownloadJob"),
        ("Download schedules", "event_repeat", "media_library.DownloadSchedule"),
        ("Site cookies", "cookie", "media_library.SiteCookies"),
        ("Download tool", "build", "media-download-tool"),
        ("Tags", "label", "media_library.Tag"),
    ),
    "History": (
        ("Runs", "history", "streams.Run"),
        ("As-run log", "receipt_long", "streams.AsRun"),
        ("Incidents", "warning", "streams.Incident"),
        ("Live streams", "settings_input_antenna", "streams.LiveStream"),
        ("Takeovers", "co_present", "streams.Takeover"),
        ("Watch hours", "hourglass_top", "watch-hours"),
    ),
    "System": (
        ("Alert receivers", "notifications_active", "streams.AlertReceiver"),
        ("Alerts sent", "outgoing_mail", "streams.AlertMessage"),
        ("Webhooks", "webhook", "streamsite.Endpoint"),
        ("Webhooks sent", "outgoing_mail", "streamsite.Delivery"),
        ("Users", "person", "auth.User"),
        ("Groups", "group", "auth.Group"),
        ("API keys", "vpn_key", "streamsite.ApiKey"),
        ("Audit log", "policy", "streamsite.AuditEntry"),
        ("Nodes", "dns", "streams.Node"),
        ("Queued jobs", "pending_actions", "django_q.OrmQ"),
        ("Failed jobs", "error", "django_q.Failure"),
        ("Schedules", "schedule", "django_q.Schedule"),
        ("Sessions", "devices", "sessions"),
        ("Failed logins", "lock", "axes.AccessAttempt"),
    ),
}

#: Pages that are none of a model's, and the permission each asks for.
PAGES: Final = {
    "live-streams": "streams.view_livestream",
    "media-download-tool": "media_library.view_downloadjob",
    "media-upload": "media_library.add_mediaitem",
    "uptime": "streams.view_channel",
    "sessions": "streamsite.view_usersession",
    "watch-hours": "streams.view_watchday",
}


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The lines whose pages exist and this user may see, as unfold takes them."""
    groups: list[dict[str, Any]] = []
    for title, lines in GROUPS.items():
        items = [
            {"title": name, "icon": icon, "link": _link(model)}
            for name, icon, model in lines
            if not model or _may_see(request, model)
        ]
        if items:
            groups.append({"title": title, "separator": bool(groups), "items": items})
    return groups


def _may_see(request: HttpRequest, model: str) -> bool:
    if model in PAGES:
        return request.user.has_perm(PAGES[model])
    page = admin.site._registry.get(apps.get_model(model))  # noqa: SLF001 - has no public form
    return page is not None and page.has_view_permission(request)


def _link(model: str) -> str:
    if not model:
        return reverse("admin:index")
    if model in PAGES:
        return reverse(model)
    return reverse(f"admin:{model.lower().replace('.', '_')}_changelist")
