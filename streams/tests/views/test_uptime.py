"""The uptime pages, their CSV, and the control room's strips and wall."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from streams.models import AsRun, Channel, Evidence, Incident, LogLine, Run, Sample
from streams.tests import rows
from streamsite.accounts.models import AuditEntry, ChannelLimit

pytestmark = pytest.mark.django_db

PAGE = "/admin/uptime/demo/"
#: The fixture `django_assert_max_num_queries`.
Most = Callable[[int], AbstractContextManager[Any]]


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    cache.clear()


@pytest.fixture
def viewer(client: Client) -> Client:
    client.force_login(rows.user("streams.view_channel", "streams.view_incident"))
    return client


@pytest.fixture
def demo() -> Channel:
    """On the air for three hours, with a lost minute an hour ago, and with samples."""
    channel = rows.channel()
    outputs = [rows.output(channel, name) for name in ("Main", "Spare")]
    now = timezone.now()
    rows.node()
    run = rows.on_air(channel)
    begun = now - timedelta(hours=3)
    Run.objects.filter(pk=run.pk).update(started_at=begun, on_air_at=begun)
    lost = now - timedelta(hours=1)
    Incident.objects.create(
        channel=channel, run=run, subject="hub", severity="lost", cause="The hub ended.",
        opened_at=lost, closed_at=lost + timedelta(minutes=1),
    )  # fmt: skip
    AsRun.objects.create(
        run=run, title="The film of then", started_at=lost, ended_at=now, ending="whole"
    )
    for seconds, text in ((5, "A line of then"), (3000, "A line of later")):
        LogLine.objects.create(
            channel=channel, at=lost + timedelta(seconds=seconds), role="hub", level="info",
            text=text,
        )  # fmt: skip
    Sample.objects.bulk_create(
        Sample(
            channel=channel, output=output, role="pusher", state="on_air", bitrate=3_000_000,
            speed=1.0, cpu_percent=1.0, at=now - timedelta(seconds=10 * number),
        )
        for output in outputs
        for number in range(30)
    )  # fmt: skip
    return channel


def shown(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200, url
    return " ".join(answer.content.decode().split())


def test_the_page_has_bar_timeline_figures_causes_and_charts(
    viewer: Client, demo: Channel
) -> None:
    page = shown(viewer, PAGE)
    assert len(re.findall(r'<li data-level="\w+"', page)) >= 3 * 90
    assert page.count('<rect data-air="on_air"') >= 30
    assert "1:00 off the air" in page, "the cell says it in words"
    assert '<span class="sx-air-word" data-air="lost">Off the air</span>' in page
    assert "Hub: The hub ended." in page
    assert page.count('<polyline data-line="') >= 2
    assert "Nothing was measured." in page, "of the lag, which no sample has"
    assert "<script" not in page[page.index('class="sx"') : page.index("sx-charts")]
    assert rows.KEY not in page
    (moment,) = set(re.findall(r'<td><a href="\?(at=\d+)#moment"', page))
    incident = Incident.objects.get()
    still = f'src="/api/v1/channels/demo/incidents/{incident.pk}/still.jpg"'
    assert still not in shown(viewer, f"{PAGE}?{moment}"), "nothing was kept"
    Evidence.objects.create(incident=incident, still=b"JPEG", clip="a.ts", node="here")
    page = shown(viewer, f"{PAGE}?{moment}")
    assert still in page
    change = shown(viewer, f"/admin/streams/incident/{incident.pk}/change/")
    assert change.count(still.removeprefix('src="')) == 1
    assert "A line of then" in page
    assert "A line of later" not in page
    assert "The film of then" in page
    assert "The hub ended." in page


def test_a_day_has_its_timeline(viewer: Client, demo: Channel) -> None:
    yesterday = timezone.now() - timedelta(days=1)
    page = shown(viewer, f"{PAGE}?day={yesterday:%Y-%m-%d}")
    assert f"{yesterday:%A}, {yesterday.day} {yesterday:%B %Y}" in page


@pytest.mark.parametrize(
    "query",
    ["at=x", "at=99999999999999999999999", "at=9223372036854775807", "day=2026-02-30", "day=x",
     "day=1999-01-01", "span=1000y", "at=0"],
)  # fmt: skip
def test_wrong_questions_are_left_unanswered(viewer: Client, demo: Channel, query: str) -> None:
    assert "The last 24 hours" in shown(viewer, f"{PAGE}?{query}")


def test_the_print_view_has_no_frame(viewer: Client, demo: Channel) -> None:
    page = shown(viewer, f"{PAGE}print")
    assert "Uptime of Demo" in page
    assert "<nav" not in page
    assert "<script" not in page


@pytest.mark.parametrize("url", [PAGE, f"{PAGE}print", f"{PAGE}days.csv", "/admin/uptime/",
                                 "/admin/wall/", "/admin/wall/strips"])  # fmt: skip
def test_pages_need_a_login_and_the_permission(client: Client, demo: Channel, url: str) -> None:
    assert client.get(url)["Location"].startswith("/admin/login/?next=/")
    client.force_login(rows.user(name="clerk"))
    assert client.get(url).status_code == 403


def test_nobody_sees_channels_of_others(client: Client, demo: Channel) -> None:
    other = rows.channel("other", name="Hidden")
    rows.output(other, "Theirs")
    user: User = rows.user("streams.view_channel", "streams.view_incident")
    ChannelLimit.objects.create(user=user).channels.add(demo)
    client.force_login(user)
    for url in ("/admin/uptime/", "/admin/wall/", "/admin/wall/strips", "/admin/"):
        page = shown(client, url)
        assert "demo" in page, url
        assert "Hidden" not in page, url
        assert 'data-strip="other"' not in page, url
    for url in ("", "print", "days.csv", "incidents.csv"):
        assert client.get(f"/admin/uptime/other/{url}").status_code == 404


def test_the_loads_are_bounded(viewer: Client, django_assert_max_num_queries: Most) -> None:
    now = timezone.now()
    for number in range(6):
        channel = rows.channel(f"channel-{number}")
        outputs = [rows.output(channel, name) for name in ("Main", "Spare")]
        run = rows.on_air(channel)
        Incident.objects.bulk_create(
            Incident(
                channel=channel, run=run, output=outputs[0], subject=f"output-{outputs[0].pk}",
                severity="lost", cause=f"Main: {place}", opened_at=now - timedelta(hours=place),
                closed_at=now - timedelta(hours=place) + timedelta(minutes=1),
            )
            for place in range(1, 300)
        )  # fmt: skip
    viewer.get("/admin/")
    for url, most in (
        ("/admin/uptime/", 14),
        ("/admin/uptime/channel-1/", 32),
        ("/admin/wall/strips", 14),
        ("/admin/wall/", 20),
    ):
        cache.clear()
        with django_assert_max_num_queries(most):
            assert len(viewer.get(url).content) < 400_000
    with django_assert_max_num_queries(5):
        viewer.get("/admin/wall/strips")


def table(client: Client, url: str) -> list[dict[str, str]]:
    answer = client.get(url)
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    text = b"".join(answer.streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]  # streamed
    return list(csv.DictReader(io.StringIO(text)))


def test_days_and_incidents_as_csv(viewer: Client, demo: Channel) -> None:
    Incident.objects.update(cause="=HYPERLINK(1)")
    days = table(viewer, f"{PAGE}days.csv")
    assert len(days) == 90 * 3
    assert {row["output"] for row in days} == {"", "Main", "Spare"}
    whole = [row for row in days if not row["output"]]
    assert sum(float(row["off_air_seconds"]) for row in whole) == 60.0
    assert (whole[0]["percent"], whole[0]["ordered_seconds"]) == ("", "0.0")
    (incident,) = table(viewer, f"{PAGE}incidents.csv")
    assert (incident["seconds"], incident["severity"], incident["subject"]) == (
        "60.0", "lost", "hub",
    )  # fmt: skip
    assert incident["cause"] == "'=HYPERLINK(1)"
    assert AuditEntry.objects.filter(sentence__contains="Uptime of 90 days").count() == 2
    assert viewer.get(f"{PAGE}keys.csv").status_code == 404


# ---- control room ----------------------------------------------------------------------------


def test_tiles_have_a_strip_and_curves(viewer: Client, demo: Channel) -> None:
    output = demo.outputs.first()
    assert output is not None
    for url in ("/admin/", "/admin/wall/", "/admin/wall/strips"):
        page = shown(viewer, url)
        strip = page[page.index('data-strip="demo"') :]
        assert 'aria-label="Last 24 hours: off the air 1:00,' in strip, url
        assert re.search(rf'data-spark="{output.pk}"[^<]*<svg class="sx-spark"', page), url
        assert rows.KEY not in page
    assert "Uptime" in shown(viewer, "/admin/"), "the sidebar leads there"


def test_a_silent_workers_strip_is_unknown(viewer: Client, demo: Channel) -> None:
    hour = timedelta(hours=1)
    demo.state.measured_at = timezone.now() - hour
    demo.state.save()
    page = shown(viewer, "/admin/wall/strips")
    assert 'data-air="unknown"' in page
    # The last minutes of the strip are not green.
    bars = re.findall(r'<rect data-air="(\w+)" x="(\d+)"', page)
    assert bars[-1][0] == "unknown"
