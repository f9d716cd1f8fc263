"""What is live now, as pages and `/streams` tell it. No secret is in it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from streams.ingest import addresses
from streams.models import IngestServer, LiveStream


def live() -> QuerySet[LiveStream]:
    """The longest first."""
    rows = LiveStream.objects.filter(ended_at=None).select_related("broadcaster", "key")
    return rows.order_by("started_at", "pk")


def told(row: LiveStream) -> dict[str, Any]:
    """One stream. bitrate in bit/s, null where it is not known; times in UTC."""
    owner = row.broadcaster
    return {
        "id": row.pk,
        "path": row.path,
        "broadcaster": {"name": owner.name, "slug": owner.slug} if owner else None,
        "key": row.key.prefix if row.key else None,
        "source": {"type": row.source_type, "id": row.source_id, "address": row.address},
        "server": row.server,
        "state": "ended" if row.ended_at else "unknown" if row.unknown else "live",
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "seen_at": row.seen_at,
        "bitrate": row.bitrate,
        "bytes_in": row.bytes_in,
        "tracks": row.tracks,
        "urls": {} if row.ended_at else urls(row),
    }


def ports() -> addresses.Ports:
    return addresses.Ports.of(
        settings.INGEST_RTSP_URL, settings.INGEST_SRT_PORT, settings.INGEST_WEBRTC_PORT
    )


def urls(row: LiveStream) -> dict[str, str]:
    return addresses.playback(
        row.server,
        settings.PUBLIC_INGEST_URL,
        settings.PUBLIC_PLAYBACK_URL,
        row.path,
        ports(),
    )


def fault() -> str:
    """Why the streams' state is not known; empty: it is."""
    if settings.INGEST_SERVER == "none":
        return "No ingest server is set: see deploy/live.md."
    server = IngestServer.objects.filter(kind=settings.INGEST_SERVER).first()
    return server.fault if server else ""
