"""Metrics for Prometheus, read from the database: every web worker gives the same."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from django.conf import settings
from django.db.models import Count
from django_q.models import OrmQ
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from media_library.models import MediaItem, PreparedCopy
from streams.models import Incident, LiveStream
from streams.monitoring import nodes
from streams.monitoring.report import UNKNOWN, ChannelReport, report
from streams.monitoring.verdict import Level
from streams.playout.contract.states import AirState, OutputAir

_CHANNEL_STATES: Final = (*(state.value for state in AirState), UNKNOWN)
_OUTPUT_STATES: Final = (*(state.value for state in OutputAir), UNKNOWN)


def text(now: datetime) -> bytes:
    """Returns the metrics in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Rows(now))
    return generate_latest(registry)


class _Rows(Collector):
    def __init__(self, now: datetime) -> None:
        self._now = now

    def describe(self) -> Iterable[Metric]:
        # Registering must not query the database.
        return ()

    def collect(self) -> Iterable[Metric]:
        about = InfoMetricFamily("streamsite", "The version of streamsite.")
        about.add_metric([], {"version": settings.VERSION})
        yield about
        channels = report(self._now).channels
        yield from _channels(channels)
        yield from _outputs(channels)
        yield _verdicts(channels)
        yield from _incidents()
        yield from self._nodes()
        yield from _work()

    def _nodes(self) -> Iterable[Metric]:
        silent = _gauge("node_silent_seconds", "Seconds since the node last reported.", "node")
        carried = _gauge("node_channels", "Channels that the node plays.", "node")
        room = _gauge("node_room", "Channels that the node can still take.", "node")
        drains = _gauge("node_draining", "1 if the node is ordered to drain.", "node")
        for node in nodes.reports(self._now):
            if node.seen_at is not None:
                since = (self._now - node.seen_at).total_seconds()
                silent.add_metric([node.name], max(0.0, since))
            carried.add_metric([node.name], len(node.channels))
            drains.add_metric([node.name], node.drains)
            if node.room is not None:
                room.add_metric([node.name], node.room)
        yield from (silent, carried, room, drains)


def _channels(channels: Iterable[ChannelReport]) -> Iterable[Metric]:
    ordered = _gauge("channel_ordered", "1 if the channel is ordered on.", "channel")
    state = _gauge("channel_state", "1 for the current state, else 0.", "channel", "state")
    since = _gauge(
        "channel_on_air_since_seconds",
        "Start of the air time, seconds since 1970; absent while off air.",
        "channel",
    )
    rate = _gauge("channel_bits_per_second", "Bit rate measured at the hub.", "channel")
    for channel in channels:
        ordered.add_metric([channel.slug], channel.ordered_on)
        for value in _CHANNEL_STATES:
            state.add_metric([channel.slug, value], channel.state == value)
        if channel.on_air_since is not None:
            since.add_metric([channel.slug], channel.on_air_since.timestamp())
        if channel.bitrate is not None:
            rate.add_metric([channel.slug], channel.bitrate)
    yield from (ordered, state, since, rate)


def _outputs(channels: Iterable[ChannelReport]) -> Iterable[Metric]:
    labels = ["channel", "output", "name"]
    state = _gauge("output_state", "1 for the current state, else 0.", *labels, "state")
    failures = _gauge("output_failures", "Consecutive failures.", *labels)
    rate = _gauge("output_bits_per_second", "Bit rate sent to the destination.", *labels)
    speed = _gauge("output_speed_ratio", "Sending speed relative to real time.", *labels)
    for channel in channels:
        for output in channel.outputs:
            if not output.enabled:
                continue
            named = [channel.slug, str(output.id), output.name]
            for value in _OUTPUT_STATES:
                state.add_metric([*named, value], output.state == value)
            failures.add_metric(named, output.failures)
            if output.bitrate is not None:
                rate.add_metric(named, output.bitrate)
            if output.speed is not None:
                speed.add_metric(named, output.speed)
    yield from (state, failures, rate, speed)


def _verdicts(channels: Iterable[ChannelReport]) -> Metric:
    labels = ("channel", "output", "name", "part", "level")
    gauge = _gauge(
        "output_verdict",
        "1 for the current level, else 0; absent while the channel is off.",
        *labels,
    )
    for channel in channels:
        for output in channel.outputs:
            if output.verdict is None:
                continue
            verdict = output.verdict
            for part, level in (
                ("whole", verdict.level),
                ("sent", verdict.sent.level),
                ("ours", verdict.ours.level),
                ("theirs", verdict.theirs.level),
            ):
                for value in Level:
                    named = [channel.slug, str(output.id), output.name, part, value.value]
                    gauge.add_metric(named, level == value)
    return gauge


def _incidents() -> Iterable[Metric]:
    still_open = _gauge("incidents_open", "Open incidents.", "channel", "severity")
    rows = Incident.objects.filter(closed_at=None).values_list("channel__slug", "severity")
    for slug, severity, count in rows.annotate(count=Count("pk")).order_by():
        still_open.add_metric([slug, severity], count)
    yield still_open


def _work() -> Iterable[Metric]:
    waiting = _gauge("jobs_waiting", "Jobs waiting in the queue.", "queue")
    # Unknown, and left out, where the queue lives on a server of its own.
    if not settings.Q_BROKER_URL:
        rows = OrmQ.objects.values_list("key").annotate(count=Count("pk")).order_by()
        for queue, count in rows:
            waiting.add_metric([queue], count)
        yield waiting
    yield _counted("media_items", "Items in the library.", MediaItem)
    yield _counted("prepared_copies", "Copies prepared in a house format.", PreparedCopy)
    live = _gauge("live_streams", "Streams live at the ingest server.")
    live.add_metric([], LiveStream.objects.filter(ended_at=None).count())
    yield live


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"streamsite_{name}", text, labels=labels)


def _counted(name: str, text: str, model: type[MediaItem | PreparedCopy]) -> Metric:
    """The number of rows in each status."""
    rows = model.objects.values_list("status").annotate(count=Count("pk")).order_by()
    gauge, number = _gauge(name, text, "status"), dict(rows)
    for status in model.Status.values:
        gauge.add_metric([status], number.get(status, 0))
    return gauge
