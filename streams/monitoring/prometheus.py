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
from streams.models import Incident, LiveStream, Node
from streams.monitoring.report import UNKNOWN, ChannelReport, report
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
        yield from _incidents()
        yield from self._nodes()
        yield from _work()

    def _nodes(self) -> Iterable[Metric]:
        silent = GaugeMetricFamily(
            "streamsite_node_silent_seconds",
            "Seconds since the node last reported.",
            labels=["node"],
        )
        for node in Node.objects.exclude(seen_at=None):
            if node.seen_at is not None:
                since = (self._now - node.seen_at).total_seconds()
                silent.add_metric([node.name], max(0.0, since))
        yield silent


def _channels(channels: Iterable[ChannelReport]) -> Iterable[Metric]:
    ordered = GaugeMetricFamily(
        "streamsite_channel_ordered", "1 if the channel is ordered on.", labels=["channel"]
    )
    state = GaugeMetricFamily(
        "streamsite_channel_state",
        "1 for the current state, else 0.",
        labels=["channel", "state"],
    )
    since = GaugeMetricFamily(
        "streamsite_channel_on_air_since_seconds",
        "Start of the air time, seconds since 1970; absent while off air.",
        labels=["channel"],
    )
    rate = GaugeMetricFamily(
        "streamsite_channel_bits_per_second",
        "Bit rate measured at the hub.",
        labels=["channel"],
    )
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
    state = GaugeMetricFamily(
        "streamsite_output_state", "1 for the current state, else 0.", labels=[*labels, "state"]
    )
    failures = GaugeMetricFamily(
        "streamsite_output_failures", "Consecutive failures.", labels=labels
    )
    rate = GaugeMetricFamily(
        "streamsite_output_bits_per_second", "Bit rate sent to the destination.", labels=labels
    )
    speed = GaugeMetricFamily(
        "streamsite_output_speed_ratio", "Sending speed relative to real time.", labels=labels
    )
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


def _incidents() -> Iterable[Metric]:
    still_open = GaugeMetricFamily(
        "streamsite_incidents_open", "Open incidents.", labels=["channel", "severity"]
    )
    rows = Incident.objects.filter(closed_at=None).values_list("channel__slug", "severity")
    for slug, severity, count in rows.annotate(count=Count("pk")).order_by():
        still_open.add_metric([slug, severity], count)
    yield still_open


def _work() -> Iterable[Metric]:
    waiting = GaugeMetricFamily(
        "streamsite_jobs_waiting", "Jobs waiting in the queue.", labels=["queue"]
    )
    for queue, count in OrmQ.objects.values_list("key").annotate(count=Count("pk")).order_by():
        waiting.add_metric([queue], count)
    yield waiting
    items = GaugeMetricFamily(
        "streamsite_media_items", "Items in the library.", labels=["status"]
    )
    counted = dict(
        MediaItem.objects.values_list("status").annotate(count=Count("pk")).order_by()
    )
    for status in MediaItem.Status.values:
        items.add_metric([status], counted.get(status, 0))
    yield items
    copies = GaugeMetricFamily(
        "streamsite_prepared_copies", "Copies prepared in a house format.", labels=["status"]
    )
    made = dict(
        PreparedCopy.objects.values_list("status").annotate(count=Count("pk")).order_by()
    )
    for status in PreparedCopy.Status.values:
        copies.add_metric([status], made.get(status, 0))
    yield copies
    live = GaugeMetricFamily("streamsite_live_streams", "Streams live at the ingest server.")
    live.add_metric([], LiveStream.objects.filter(ended_at=None).count())
    yield live
