"""The as-run log as CSV: all entries within the span, without executable cells."""

from __future__ import annotations

import csv
import io
import tracemalloc
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command
from django.http import StreamingHttpResponse
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from media_library.models import MediaItem
from media_library.playlists.m3u_csv import harmless
from streams.models import AsRun, Channel, Run
from streams.monitoring import as_run_export
from streams.tests import rows

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def run(db: None) -> Run:
    return Run.objects.create(channel=rows.channel(), started_at=NOON)


def aired(
    run: Run, minute: float, title: str, minutes: float | None = 1, **more: object
) -> AsRun:
    begins = NOON + timedelta(minutes=minute)
    ends = None if minutes is None else begins + timedelta(minutes=minutes)
    more = {"ending": "whole" if ends else "", "rule": "base"} | more
    return AsRun.objects.create(run=run, title=title, started_at=begins, ended_at=ends, **more)


def read(channel: Channel, since: datetime, until: datetime) -> list[dict[str, str]]:
    return list(
        csv.DictReader(io.StringIO("".join(as_run_export.lines(channel, since, until))))
    )


def test_a_line_contains_all_columns(run: Run) -> None:
    item = MediaItem.objects.get(title="First")
    aired(
        run, 0, "First", 1.5, item=item, ending="cut", cause="Skipped.", rule="block-3",
        why="Block “Evening” is on.", in_point=12.5,
    )  # fmt: skip
    aired(run, 2, "Second", None, kind="filler")
    lines = read(run.channel, NOON, NOON + timedelta(hours=1))
    assert lines[0] == {
        "started_at": "2026-03-01T12:00:00.000Z",
        "ended_at": "2026-03-01T12:01:30.000Z",
        "seconds": "90.000",
        "title": "First",
        "key": item.key,
        "kind": "item",
        "rule": "block-3",
        "why": "Block “Evening” is on.",
        "ending": "cut",
        "cause": "Skipped.",
        "in_point_seconds": "12.500",
        "run": str(run.pk),
    }
    # The item on air has no end yet.
    assert (lines[1]["ended_at"], lines[1]["seconds"], lines[1]["kind"]) == ("", "", "filler")


def test_the_span_includes_overlapping_entries_of_the_channel_only(run: Run) -> None:
    other = Run.objects.create(channel=rows.channel("other"), started_at=NOON)
    for title, minute in (("before", 0), ("into", 9.5), ("within", 12), ("after", 20)):
        aired(run, minute, title)
    aired(other, 12, "elsewhere")
    span = (NOON + timedelta(minutes=10), NOON + timedelta(minutes=20))
    assert [line["title"] for line in read(run.channel, *span)] == ["into", "within"]


@pytest.mark.parametrize(
    "title",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "'=1",
        "=cmd|' /C calc'!A0",
        'a"b',
        "a,b\nc",
    ],
)
def test_titles_are_not_executed_by_spreadsheets(run: Run, title: str) -> None:
    aired(run, 0, title, cause=title, ending="failed")
    (line,) = read(run.channel, NOON, NOON + timedelta(hours=1))
    for cell in (line["title"], line["cause"]):
        assert cell[0] not in "=+-@\t\r"
        assert cell.removeprefix("'") == title or cell == title


@given(st.text(min_size=1))
def test_any_cell_is_text_with_its_content(text: str) -> None:
    shown = harmless(text)
    assert shown[0] not in "=+-@\t\r"
    assert shown in {text, f"'{text}"}


def test_a_long_log_is_read_in_batches(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches lose or repeat no line, also at equal times."""
    monkeypatch.setattr(as_run_export, "CHUNK", 7)
    AsRun.objects.bulk_create(
        AsRun(
            run=run,
            title=f"{number}",
            started_at=NOON + timedelta(seconds=number // 3),
            ended_at=NOON + timedelta(seconds=number // 3 + 1),
        )
        for number in range(100)
    )
    lines = read(run.channel, NOON, NOON + timedelta(hours=1))
    assert [line["title"] for line in lines] == [f"{number}" for number in range(100)]


@pytest.mark.slow
def test_a_long_log_takes_little_memory(run: Run) -> None:
    """Six weeks of items of three minutes; held in memory they would take some 30 MB."""
    AsRun.objects.bulk_create(
        (
            AsRun(
                run=run,
                title=f"Number {number}",
                why="The base playlist, because no block is on.",
                started_at=NOON + timedelta(minutes=3 * number),
                ended_at=NOON + timedelta(minutes=3 * number + 3),
            )
            for number in range(20_000)
        ),
        batch_size=5000,
    )
    tracemalloc.start()
    lines = sum(1 for _ in as_run_export.lines(run.channel, NOON, NOON + timedelta(days=50)))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert lines == 20_001
    assert most < 10_000_000


# ---- spans -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begins", "ends", "expected"),
    [
        ("", "", (NOON - timedelta(days=7), NOON)),
        ("2026-02-01", "", (datetime(2026, 1, 31, 23, tzinfo=UTC), NOON)),
        # A day is included as a whole, also one with 23 hours.
        (
            "2026-03-29",
            "2026-03-29",
            (datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 3, 29, 22, tzinfo=UTC)),
        ),
        (
            "2026-03-01T10:00",
            "2026-03-01T10:00Z",
            (datetime(2026, 3, 1, 9, tzinfo=UTC), datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ),
    ],
)
def test_a_span_is_days_or_times_in_the_channels_zone(
    begins: str, ends: str, expected: tuple[datetime, datetime]
) -> None:
    assert as_run_export.span(begins, ends, now=NOON, zone=BERLIN) == expected


@pytest.mark.parametrize(
    ("begins", "ends", "sentence"),
    [
        ("2026-02-30", "", "'2026-02-30' is not a time"),
        ("yesterday", "", "'yesterday' is not a time"),
        ("9999-12-31", "9999-12-31", "is not a time"),
        ("2026-03-02", "2026-03-01", "swap them"),
        ("2026-11-22", "", "is in the future"),
        ("2026-11-22", "2026-02-01", "swap them"),
    ],
)
def test_an_invalid_span_is_reported(begins: str, ends: str, sentence: str) -> None:
    with pytest.raises(as_run_export.SpanError, match=sentence):
        as_run_export.span(begins, ends, now=NOON, zone=BERLIN)


# ---- the page and the command ----------------------------------------------------------------


def test_users_who_may_view_the_log_may_export_it(run: Run, client: Client) -> None:
    aired(run, 0, "Ä")
    address = "/admin/as-run.csv?channel=demo&from=2026-03-01&to=2026-03-01"
    client.force_login(rows.operator())
    assert client.get(address).status_code == 403
    client.force_login(rows.user("streams.view_asrun", name="eve"))
    answer = client.get(address)
    assert isinstance(answer, StreamingHttpResponse)
    assert 'filename="as-run-demo-20260301-20260302.csv"' in answer["Content-Disposition"]
    text = answer.getvalue()
    assert text.startswith(b"\xef\xbb\xbfstarted_at,")
    assert "Ä" in text.decode()
    assert client.get("/admin/as-run.csv?channel=nowhere").status_code == 404
    page = client.get("/admin/as-run.csv?channel=demo&from=x", follow=True)
    assert "is not a time" in page.content.decode()


def test_the_list_offers_the_export_of_the_shown_channel(run: Run, client: Client) -> None:
    other = rows.channel("other")
    client.force_login(rows.user("streams.view_asrun"))
    page = client.get(
        "/admin/streams/asrun/", {"run__channel__id__exact": other.pk}
    ).content.decode()
    assert 'action="/admin/as-run.csv"' in page
    chosen = page[page.index('<option value="other"') :]
    assert "selected" in chosen[: chosen.index(">")]


def test_the_command_writes_the_same_csv(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    aired(run, 0, "First")
    call_command("export_as_run", "demo", "--from", "2026-03-01", "--to", "2026-03-01")
    out = io.StringIO(capsys.readouterr().out, newline="")
    assert [line["title"] for line in csv.DictReader(out)] == ["First"]
    with pytest.raises(CommandError, match="is not a time"):
        call_command("export_as_run", "demo", "--from", "noon")


def test_the_commands_default_span_is_seven_days(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    since = (timezone.now() - NOON) / timedelta(minutes=1)
    aired(run, since - 60 * 24 * 8, "old")
    aired(run, since - 60 * 24 * 6, "new")
    call_command("export_as_run", "demo")
    out = capsys.readouterr().out
    assert "new" in out
    assert "old" not in out
