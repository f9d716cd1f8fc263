"""Live streams as pages and `/streams` show them. The result holds no secret."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from streams.ingest import addresses
from streams.models import IngestServer, LiveStream


def live() -> QuerySet[LiveStream]:
    """Returns the live streams, the longest first."""
    rows = LiveStream.objects.filter(ended_at=None).select_related("broadcaster", "key")
    return rows.order_by("started_at", "pk")


def stream_json(row: LiveStream) -> dict[str, Any]:
    """Returns a stream as JSON values: bitrate in bit/s, null if unknown; times in UTC."""
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
    """Returns why the state of the streams is unknown; empty: it is known."""
    if settings.INGEST_SERVER == "none":
        return "No ingest server is configured: see deploy/live.md."
    server = IngestServer.objects.filter(kind=settings.INGEST_SERVER).first()
    return server.fault if server else ""
