"""The report of channels and the overall status."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from streams.models import Channel, ChannelState, Incident, Output, OutputState, Run
from streams.monitoring.report import report
from streams.tests import rows

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
OLD = NOW - timedelta(minutes=5)


def ordered_on(channel: Channel) -> Run:
    Channel.objects.filter(pk=channel.pk).update(desired_state="on", ordered_at=NOW)
    return Run.objects.create(channel=channel, started_at=NOW)


def test_a_new_channel_is_off_without_any_worker() -> None:
    rows.channel()
    current = report(NOW)
    assert (current.channels[0].state, current.status) == ("off", "ok")


def test_a_measured_channel_is_reported_in_full() -> None:
    channel = rows.channel()
    rows.output(channel)
    rows.output(channel, "Spare", enabled=False)
    rows.node(NOW)
    rows.on_air(channel, at=NOW)

    current = report(NOW)
    one = current.channels[0]

    assert (current.status, one.state, one.supervised) == ("ok", "on_air", True)
    assert one.now is not None
    assert (one.now.title, one.next, one.bitrate) == ("First", "Second", 3_000_000)
    assert [(o.name, o.state, o.label, o.bitrate) for o in one.outputs] == [
        ("YouTube", "on_air", "On air", 2_900_000),
        ("Spare", "off", "Disabled", None),
    ]


def test_the_last_state_of_a_disabled_output_is_not_shown() -> None:
    channel = rows.channel()
    rows.output(channel)
    rows.node(NOW)
    rows.on_air(channel, at=NOW)
    Output.objects.update(enabled=False)
    # Its session ends; until then it is shown as it is.
    assert report(NOW).channels[0].outputs[0].state == "on_air"
    OutputState.objects.update(state="failing", cause="Refused.", measured_at=OLD)
    (one,) = report(NOW).channels[0].outputs
    assert (one.state, one.label, one.cause) == ("off", "Disabled", "")


def test_the_state_of_a_dead_worker_is_not_shown() -> None:
    channel = rows.channel()
    rows.output(channel)
    rows.node(OLD)
    rows.on_air(channel, at=OLD)

    current = report(NOW)
    one = current.channels[0]

    assert (current.status, one.state) == ("down", "unknown")
    assert one.cause.startswith("Unknown: node here has not reported since 2026-03-01 02:55")
    assert one.now is None
    assert one.bitrate is None
    assert one.outputs[0].state == "unknown"
    public = one.public()
    assert (public["state"], public["confirmed"]) == ("degraded", False)


@pytest.mark.parametrize(
    ("enabled", "state", "label"), [(True, "unknown", "Unknown"), (False, "off", "Disabled")]
)
def test_what_a_lost_sender_wrote_of_an_output_is_not_shown(
    *, enabled: bool, state: str, label: str
) -> None:
    """The node that plays the channel is well; the one that sent this output is lost."""
    channel = rows.channel()
    output = rows.output(channel, second_node=True)
    rows.node(NOW)
    rows.on_air(channel, at=NOW, inspected_at=NOW)
    assert (verdict := report(NOW).channels[0].outputs[0].verdict) is not None
    assert verdict.level == "healthy"
    OutputState.objects.filter(output=output).update(measured_at=OLD, node="lost")
    Output.objects.filter(pk=output.pk).update(enabled=enabled)

    shown = report(NOW).channels[0].outputs[0]

    assert (shown.state, shown.label, shown.bitrate) == (state, label, None)
    assert (shown.verdict.level if shown.verdict else None) == ("unknown" if enabled else None)


def test_a_worker_that_stopped_measuring_a_channel_is_reported() -> None:
    channel = rows.channel()
    rows.node(NOW)
    rows.on_air(channel, at=OLD)
    one = report(NOW).channels[0]
    assert (one.state, one.supervised) == ("unknown", True)
    assert "has not measured this channel since" in one.cause


def test_only_the_owners_report_counts() -> None:
    channel = rows.channel()
    rows.node(OLD, "here")
    rows.node(NOW, "elsewhere")
    rows.on_air(channel, at=OLD)
    assert report(NOW).channels[0].state == "unknown"


@pytest.mark.parametrize(("worker", "status"), [(True, "degraded"), (False, "down")])
def test_an_order_that_no_worker_has_started_is_starting(worker: bool, status: str) -> None:
    channel = rows.channel()
    if worker:
        rows.node(NOW)
    ordered_on(channel)
    current = report(NOW)
    assert (current.channels[0].state, current.status) == ("starting", status)


def test_a_worker_that_cannot_start_reports_the_reason() -> None:
    channel = rows.channel()
    rows.node(NOW)
    ordered_on(channel)
    ChannelState.objects.create(
        channel=channel, owner="here", state="starting", cause="The slate can't be made."
    )
    assert report(NOW).channels[0].cause == "The slate can't be made."


def test_the_state_of_an_earlier_run_is_ignored() -> None:
    channel = rows.channel()
    rows.node(NOW)
    ChannelState.objects.create(channel=channel, owner="here", state="failing", measured_at=OLD)
    ordered_on(channel)
    assert report(NOW).channels[0].state == "starting"


def test_ordered_off_but_still_on_air_is_stopping() -> None:
    channel = rows.channel()
    rows.node(NOW)
    rows.on_air(channel, at=NOW)
    Channel.objects.update(desired_state="off", ordered_at=NOW)
    current = report(NOW)
    assert (current.channels[0].state, current.status) == ("stopping", "degraded")


@pytest.mark.parametrize(
    ("state", "status"),
    [("on_air", "ok"), ("starting", "degraded"), ("degraded", "degraded"), ("failing", "down")],
)
def test_the_worst_channel_determines_the_status(state: str, status: str) -> None:
    rows.node(NOW)
    rows.on_air(rows.channel("good"), at=NOW)
    rows.on_air(rows.channel("other"), at=NOW, state=state)
    rows.channel("idle")
    assert report(NOW).status == status


def test_incidents_open_and_last() -> None:
    channel = rows.channel()
    first = Incident.objects.create(
        channel=channel, subject="programme", severity="lost", cause="Open.", opened_at=OLD
    )
    Incident.objects.create(
        channel=channel,
        subject="output-1",
        severity="degraded",
        cause="Over.",
        opened_at=NOW,
        closed_at=NOW,
    )
    one = report(NOW).channels[0]
    assert [incident.id for incident in one.incidents] == [first.pk]
    assert one.last_incident is not None
    assert one.last_incident.cause == "Over."


def test_the_number_of_queries_is_constant_and_no_key_is_read() -> None:
    def queries() -> list[str]:
        with CaptureQueriesContext(
            connection,
        ) as caught:
            report(NOW)
        return [query["sql"] for query in caught.captured_queries]

    rows.node(NOW)
    for slug in ("one", "two"):
        channel = rows.channel(slug)
        rows.output(channel)
        rows.on_air(channel, at=NOW)
    few = queries()
    for slug in ("three", "four", "five"):
        rows.output(rows.channel(slug))
    assert len(queries()) == len(few)
    assert not [sql for sql in few if '"streams_output"."key"' in sql]
