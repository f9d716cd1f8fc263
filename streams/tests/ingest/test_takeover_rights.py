"""Takeover decisions, and the rows that become their input."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from media_library.house_format import HouseFormat
from streams.control import actions
from streams.ingest import keys
from streams.ingest.takeover_rights import LATCH, holds, wishes
from streams.models import Broadcaster, Channel, LiveStream, Run, Takeover, TakeoverRight
from streams.node import history_writer
from streams.playout.contract import ledger
from streams.playout.contract.live_feed import LOST_S, IngestState, LiveFeed
from streams.playout.contract.moment import Now
from streams.playout.contract.plan import ChannelPlan, Tools
from streams.playout.contract.turn import TAKEOVER, Turn
from streams.playout.journal.journal import Journal
from streams.playout.takeover.conformer import is_described
from streams.playout.takeover.controller import Live
from streams.playout.takeover.decision import (
    DWELL_S,
    ENDED,
    GRACE_S,
    SOON_S,
    Shown,
    Signal,
    State,
    decide,
    streams_to_read,
)
from streams.programme.item import Item, Kind, Mode
from streams.tests.bench.engine import programme
from streamsite.security.secret import Secret

ADA = LiveFeed(1, 10, "Ada", Secret("rtmp://127.0.0.1/live/ada"), requested_at=0)
EVE = LiveFeed(2, 20, "Eve", Secret("rtmp://127.0.0.1/live/eve"), requested_at=0)
LIVE = State(Shown.LIVE, since=0, stream=1)
NOW = datetime(2026, 3, 1, 20, tzinfo=UTC)


def wish(*feeds: LiveFeed, **other: Any) -> IngestState:
    return IngestState(feeds, frozenset(feed.stream for feed in feeds), **other)


def good(began: float = 0, moved: float = 100) -> Signal:
    return Signal(began, has_video=True, moved=moved)


def test_a_feed_takes_over_only_after_the_debounce() -> None:
    signals = {1: good(moved=3)}
    assert decide(State(), wish(ADA), signals, 1.9).shown is Shown.PROGRAMME
    state = decide(State(), wish(ADA), signals, 2)
    assert (state.shown, state.stream) == (Shown.LIVE, 1)


def test_a_feed_without_video_is_announced_and_abandoned() -> None:
    dark = {1: Signal(0, has_video=False, moved=0)}
    due = 2 + GRACE_S
    assert decide(State(), wish(ADA), dark, due - 0.1).shown is Shown.PROGRAMME
    soon = decide(State(), wish(ADA), dark, due)
    assert soon.shown is Shown.SOON
    assert decide(soon, wish(ADA), dark, due + SOON_S - 0.1) == soon
    tired = decide(soon, wish(ADA), dark, due + SOON_S)
    assert (tired.shown, tired.given_up) == (Shown.PROGRAMME, frozenset({1}))
    # It is announced once, but may still arrive.
    later = due + SOON_S + DWELL_S + 1
    assert decide(tired, wish(ADA), dark, later).shown is Shown.PROGRAMME
    assert decide(tired, wish(ADA), {1: good(moved=later)}, later).shown is Shown.LIVE
    # After its end, the next one is announced again.
    assert decide(tired, wish(), {}, later).given_up == frozenset()


def test_an_announced_feed_that_ends_returns_to_the_programme() -> None:
    soon = State(Shown.SOON, since=0, stream=1)
    assert decide(soon, wish(), {}, 1).shown is Shown.PROGRAMME


def test_a_lost_feed_is_awaited_before_the_programme_continues() -> None:
    signals = {1: good(moved=100)}
    assert decide(LIVE, wish(ADA), signals, 100 + LOST_S - 0.1) == LIVE
    trouble = decide(LIVE, wish(ADA), signals, 100 + LOST_S)
    assert trouble.shown is Shown.TROUBLE
    again = {1: good(moved=110)}
    assert decide(trouble, wish(ADA), again, 110).shown is Shown.LIVE
    assert decide(trouble, wish(ADA), signals, 102.9 + 20).shown is Shown.TROUBLE
    assert decide(trouble, wish(ADA), signals, 103.1 + 20).shown is Shown.PROGRAMME


def test_a_feed_awaited_in_vain_is_not_announced_again() -> None:
    """The server may keep a frozen connection for longer than the channel waits for it."""
    frozen = wish(ADA, hold=0)
    trouble = State(Shown.TROUBLE, since=100, stream=1)
    dark = {1: Signal(0, has_video=False, moved=97)}
    back = decide(trouble, frozen, dark, 100)
    assert back.shown is Shown.PROGRAMME
    later = 100 + DWELL_S + SOON_S
    assert decide(back, frozen, dark, later).shown is Shown.PROGRAMME
    assert decide(back, frozen, {1: good(moved=later)}, later).shown is Shown.LIVE


def test_a_feed_without_a_reader_is_lost() -> None:
    """An operator took another feed while no supervisor was running."""
    both = IngestState((EVE,), frozenset({1, 2}))
    assert decide(LIVE, both, {}, 100).shown is Shown.TROUBLE


@pytest.mark.parametrize("shown", [Shown.LIVE, Shown.TROUBLE])
def test_a_feed_ended_by_its_publisher_is_not_awaited(shown: Shown) -> None:
    over = wish(finished=frozenset({1}), broken=frozenset({2}))
    back = decide(replace(LIVE, shown=shown), over, {1: good()}, 100)
    assert (back.shown, back.why) == (Shown.PROGRAMME, ENDED)


def test_a_feed_with_a_broken_connection_is_awaited() -> None:
    trouble = decide(LIVE, wish(broken=frozenset({1})), {1: good()}, 100)
    assert trouble.shown is Shown.TROUBLE
    # Also if another feed is live: it may be the same publisher on a new connection.
    assert decide(LIVE, wish(EVE), {1: good(), 2: good(98)}, 100).shown is Shown.TROUBLE


def test_silence_before_the_end_means_a_broken_connection() -> None:
    """Closed while video arrives: ended by the publisher. Silent before: broken."""
    closed = {1: Signal(0, has_video=False, moved=99)}
    assert decide(LIVE, wish(ADA), closed, 100) == LIVE
    assert decide(LIVE, wish(), closed, 100).shown is Shown.PROGRAMME
    trouble = decide(LIVE, wish(ADA), {1: good(moved=97)}, 100)
    assert trouble.shown is Shown.TROUBLE
    assert decide(trouble, wish(), {}, 107).shown is Shown.TROUBLE
    assert decide(trouble, wish(), {}, 100 + 20).shown is Shown.PROGRAMME


def test_the_last_output_of_a_dying_reader_is_not_a_feed() -> None:
    """The reader buffers a second of video, and outputs it within a second."""
    trouble = State(Shown.TROUBLE, since=100, stream=1)
    for passed in (0.0, 0.3, 0.9):
        flush = {1: Signal(0, has_video=True, moved=105 + passed, since=105)}
        assert decide(trouble, wish(ADA), flush, 105 + passed) == trouble
    # With or without the reader, no video arrives any more.
    for picture in (False, True):
        over = {1: Signal(0, has_video=picture, moved=105.9, since=105)}
        assert decide(trouble, wish(ADA), over, 107) == trouble
    back = {1: Signal(0, has_video=True, moved=106.2, since=105)}
    assert decide(trouble, wish(ADA), back, 106.2).shown is Shown.LIVE


def test_an_unreadable_feed_is_abandoned_at_once() -> None:
    fault = "This server's FFmpeg can't read its video codec (av1): send H.264 or H.265."
    dark = {1: Signal(0, has_video=False, moved=0, fault=fault)}
    quiet = decide(State(), wish(ADA), dark, 10)
    assert (quiet.shown, quiet.given_up) == (Shown.PROGRAMME, frozenset({1}))
    back = decide(State(Shown.SOON, since=8, stream=1), wish(ADA), dark, 10)
    assert (back.shown, back.why) == (Shown.PROGRAMME, fault)


#: Seconds that a publisher pauses; the ingest servers cut it off after ten.
PAUSES = [1, 2, 2.9, 3, 4, 5, 7, 9.9, 10, 14, 30]


@pytest.mark.parametrize(
    ("pause", "times"),
    [*((one, 1) for one in PAUSES), *((one, 5) for one in PAUSES if one < 10)],
)
def test_a_pausing_publisher_comes_back_on_air(pause: float, times: int) -> None:
    """In sequence: video stops, the reader outputs its buffer, then everything continues."""
    state, now = replace(LIVE, since=90.0), 100.0
    shown: list[Shown] = []
    for _ in range(times):
        stopped = now
        cut_off = stopped + 10
        resumes = stopped + pause
        while now < resumes + 8:
            now += 0.25
            gone = pause >= 10 and now >= cut_off
            # The last half second of video of a disconnected reader.
            flushes = gone and now < cut_off + 0.5
            comes = not gone and now >= resumes
            moved = now if comes or flushes else cut_off if gone else stopped
            since = resumes if comes else cut_off if gone else 0
            current = wish() if gone and not flushes else wish(ADA)
            signal = Signal(0, has_video=not gone or flushes, moved=moved, since=since)
            state = decide(state, current, {1: signal}, now)
            shown += [state.shown] if shown[-1:] != [state.shown] else []
    if pause <= LOST_S:
        assert shown == [Shown.LIVE]
    elif pause < 10:
        assert shown == [Shown.LIVE, *[Shown.TROUBLE, Shown.LIVE] * times]
    else:
        assert shown[:2] == [Shown.LIVE, Shown.TROUBLE]
        assert Shown.LIVE not in shown[1:]


def test_an_unreachable_ingest_server_changes_nothing() -> None:
    """Its streams stay in the wish, and arriving video is measured here."""
    assert decide(LIVE, wish(ADA), {1: good(moved=100)}, 101) == LIVE


def test_a_higher_rank_takes_over_after_the_dwell() -> None:
    eve = State(Shown.LIVE, since=98, stream=2)
    both, signals = wish(ADA, EVE), {1: good(moved=100.5), 2: good(moved=100.5)}
    assert decide(eve, both, signals, 98 + DWELL_S - 0.1) == eve
    assert decide(eve, both, signals, 98 + DWELL_S - 0.1).stream == 2
    assert decide(replace(eve, since=90), both, signals, 101).stream == 1
    # It stays on; a lower rank does not take over.
    assert decide(replace(LIVE, since=90), both, signals, 101).stream == 1


def test_the_programme_stays_on_for_the_dwell_before_the_next_feed() -> None:
    back = State(Shown.PROGRAMME, since=100)
    assert decide(back, wish(ADA), {1: good()}, 100 + DWELL_S - 0.1) == back
    assert decide(back, wish(ADA), {1: good(moved=105)}, 100 + DWELL_S).shown is Shown.LIVE


@pytest.mark.parametrize("shown", [Shown.SOON, Shown.LIVE, Shown.TROUBLE])
def test_an_operators_return_takes_effect_at_once(shown: Shown) -> None:
    state = State(shown, since=99.9, stream=1)
    back = decide(state, replace(wish(ADA), returned=True), {1: good()}, 100)
    assert (back.shown, back.stream, back.why) == (Shown.PROGRAMME, None, "Returned by hand.")


def test_only_the_selected_feeds_are_encoded() -> None:
    dark, bright = Signal(0, has_video=False, moved=0), good()
    assert list(streams_to_read(State(), wish(ADA, EVE), {1: bright})) == [1]
    assert list(streams_to_read(State(), wish(ADA, EVE), {1: dark})) == [1, 2]
    eve = State(Shown.LIVE, stream=2)
    assert list(streams_to_read(eve, wish(ADA, EVE), {1: bright, 2: bright})) == [2, 1]
    assert list(streams_to_read(LIVE, wish(ADA, EVE), {1: bright})) == [1]
    assert list(streams_to_read(LIVE, wish(EVE), {1: bright})) == [2]
    assert list(streams_to_read(State(), replace(wish(ADA), returned=True), {})) == []


@given(
    ticks=st.lists(
        st.tuples(
            st.sampled_from([(), (ADA,), (EVE,), (ADA, EVE)]),
            st.booleans(),
            st.booleans(),
            st.floats(0.25, 40),
        ),
        max_size=40,
    )
)
def test_any_sequence_of_events_respects_the_dwell(
    ticks: list[tuple[tuple[LiveFeed, ...], bool, bool, float]],
) -> None:
    """Within the dwell, no feed is replaced, and none starts after the programme."""
    state, now = State(), 0.0
    for feeds, picture, returned, passed in ticks:
        now += passed
        signals = {f.stream: Signal(now - 10, has_video=picture, moved=now) for f in feeds}
        after = decide(state, replace(wish(*feeds), returned=returned), signals, now)
        if (after.shown, after.stream) != (state.shown, state.stream):
            assert after.since == now
            if after.shown is Shown.LIVE and state.shown in {Shown.LIVE, Shown.PROGRAMME}:
                assert now - state.since >= DWELL_S
            if after.shown is Shown.LIVE:
                assert after.stream in {feed.stream for feed in feeds}
        state = after


@pytest.mark.parametrize(
    ("picture", "sound", "in_house_format"),
    [
        (
            "h264 (High), yuv420p, 1280x720 [SAR 1:1 DAR 16:9], 2499 kb/s, 30 fps, 30 tbr",
            "",
            True,
        ),
        ("h264 (Main), yuv420p(tv, bt709, progressive), 1280x720, 30 fps, 30 tbr", "", True),
        ("h264 (High), yuv420p, 1920x1080 [SAR 1:1 DAR 16:9], 30 fps, 30 tbr", "", False),
        ("h264 (High), yuv420p, 1280x720, 29.97 fps, 30 tbr", "", False),
        ("h264 (High 4:4:4 Predictive), yuv444p, 1280x720, 30 fps, 30 tbr", "", False),
        ("hevc (Main), yuv420p(tv), 1280x720, 30 fps, 30 tbr", "", False),
        ("h264 (High), yuv420p, 1280x720, 30 fps, 30 tbr", "44100 Hz, stereo", False),
        ("h264 (High), yuv420p, 1280x720, 30 fps, 30 tbr", "48000 Hz, mono", False),
    ],
)
def test_a_feed_in_house_format_is_recognised_by_its_description(
    picture: str, sound: str, *, in_house_format: bool
) -> None:
    lines = [
        "[info] Input #0, concat, from '/dev/fd/3':",
        f"[info]   Stream #0:0: Audio: aac (LC), {sound or '48000 Hz, stereo'}, fltp, 128 kb/s",
        f"[info]   Stream #0:1: Video: {picture}, 1k tbn",
    ]
    assert (
        is_described(lines, HouseFormat(1280, 720, 30, 3_000_000, 128_000)) is in_house_format
    )
    assert not is_described(lines[:2], HouseFormat(1280, 720, 30, 3_000_000, 128_000))


# ---- records ---------------------------------------------------------------------------------
SLATE = Item("Slate", "slate", Mode.PREPARED, Kind.SLATE)
VIDEO = Item("Film", "film", Mode.PREPARED, entry=1)
BEGUN = Now(mono=1000, wall=50_000)


def after(seconds: float) -> Now:
    return Now(BEGUN.mono + seconds, BEGUN.wall + seconds)


class Recorder:
    """A channel's live feeds without processes, with a record of the notes."""

    def __init__(self, folder: Path, *streams: int, incidents: tuple[str, ...] = ()) -> None:
        self.report = Journal(1, "demo", 1, incidents)
        self.plan = ChannelPlan(1, "demo", HouseFormat(), programme(VIDEO), (), SLATE)
        self.live = Live(Tools("ffmpeg", folder), folder, self.plan, self.report, streams)

    def beat(self, now: Now, wished: IngestState | None = None) -> None:
        self.live.beat(self.plan, wished or IngestState(), now)

    def notes(self, *kinds: type) -> list[ledger.Note]:
        return [note for note in self.report.notes if isinstance(note, kinds)]


def test_a_takeover_ends_with_the_slate_of_an_earlier_supervisor(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 7, incidents=("live",))
    slate = Turn(SLATE, TAKEOVER, "The feed has ended.", stands_in=True)
    recorder.live.resume(slate, BEGUN)
    recorder.live.aired(slate, BEGUN.wall)
    recorder.beat(after(19.9))
    assert recorder.notes(ledger.TakeoverEnded, ledger.IncidentClosed) == []
    recorder.beat(after(20))
    recorder.live.aired(Turn(VIDEO, "base"), after(22).wall)
    closed, over = recorder.notes(ledger.TakeoverEnded, ledger.IncidentClosed)
    assert closed == ledger.IncidentClosed(1, "live", after(20).wall)
    why = "The feed did not come back within 20 s."
    assert over == ledger.TakeoverEnded(1, 7, after(22).wall, why)


def test_a_takeover_that_ended_unsupervised_is_reported_with_the_programme(
    tmp_path: Path,
) -> None:
    """The machine went down, or a supervisor's last records were lost."""
    recorder = Recorder(tmp_path, 7, incidents=("live",))
    recorder.beat(BEGUN)
    recorder.live.aired(Turn(VIDEO, "base"), BEGUN.wall)
    closed, over = recorder.notes(ledger.TakeoverEnded, ledger.IncidentClosed)
    assert closed == ledger.IncidentClosed(1, "live", BEGUN.wall)
    assert isinstance(over, ledger.TakeoverEnded)
    assert over.cause == "It ended while no supervisor was running."


def test_a_takeover_is_reported_when_it_leaves_the_hub(tmp_path: Path) -> None:
    """The hub buffers the feed for some seconds first."""
    recorder = Recorder(tmp_path, 1)
    recorder.live.state = LIVE
    live = Item("Live: Ada", "live-1", Mode.TRANSCODE, Kind.LIVE)
    recorder.live.aired(Turn(live, TAKEOVER), BEGUN.wall, behind=3.5)
    recorder.live.state = State(why="The publisher has ended the stream.")
    recorder.live.aired(Turn(VIDEO, "base"), after(10).wall, behind=4)
    kinds = ledger.TakeoverAired, ledger.TakeoverEnded
    recorder.beat(after(3.4))
    assert recorder.notes(*kinds) == []
    recorder.beat(after(3.5))
    aired = ledger.TakeoverAired(1, 1, after(3.5).wall)
    assert recorder.notes(*kinds) == [aired]
    recorder.beat(after(14))
    why = "The publisher has ended the stream."
    assert recorder.notes(*kinds) == [aired, ledger.TakeoverEnded(1, 1, after(14).wall, why)]


def test_a_takeover_still_buffered_at_the_stop_is_reported(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 1)
    live = Item("Live: Ada", "live-1", Mode.TRANSCODE, Kind.LIVE)
    recorder.live.aired(Turn(live, TAKEOVER), BEGUN.wall, behind=3.5)
    assert recorder.live.stop(after(1))
    assert len(recorder.notes(ledger.TakeoverAired)) == 1


def test_an_announced_feed_preempted_by_another_is_closed(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 1)
    recorder.live.state = replace(LIVE, stream=2, why="Eve is live.")
    live = Item("Live: Eve", "live-2", Mode.TRANSCODE, Kind.LIVE)
    recorder.live.aired(Turn(live, TAKEOVER), BEGUN.wall)
    over, aired = recorder.notes(ledger.TakeoverEnded, ledger.TakeoverAired)
    assert over == ledger.TakeoverEnded(1, 1, BEGUN.wall, "Eve is live.")
    assert aired == ledger.TakeoverAired(1, 2, BEGUN.wall)


def test_the_requested_time_is_when_the_feed_became_eligible(tmp_path: Path) -> None:
    """Not the time an hour ago at which it went live, while it could not be on."""
    recorder = Recorder(tmp_path)
    feed = replace(ADA, requested_at=BEGUN.wall - 3600)
    for shown in (Shown.PROGRAMME, Shown.TROUBLE):
        recorder.live.state = State(Shown.LIVE, BEGUN.mono, stream=1)
        recorder.live._requested.clear()
        recorder.live._request_takeover(
            State(shown, BEGUN.mono - 4, stream=2), {1: feed}, BEGUN
        )
    recorder.live._requested.clear()
    recorder.live._request_takeover(State(), {1: feed}, BEGUN)
    notes = recorder.notes(ledger.TakeoverRequested)
    requests = [note.at for note in notes if isinstance(note, ledger.TakeoverRequested)]
    assert requests == [BEGUN.wall - 4, BEGUN.wall - 4, feed.requested_at]


def test_a_takeover_on_air_before_its_record_is_reported(tmp_path: Path) -> None:
    """Its supervisor was killed between the two events."""
    recorder = Recorder(tmp_path / "gone")
    live = Turn(Item("Live: Ada", "live-1", Mode.TRANSCODE, Kind.LIVE), TAKEOVER)
    recorder.live.resume(live, BEGUN)
    for seconds in (0, 1):
        recorder.beat(after(seconds), wish(ADA))
    (requests,) = recorder.notes(ledger.TakeoverRequested)
    assert requests == ledger.TakeoverRequested(
        1, 1, ADA.stream, ADA.broadcaster, ADA.requested_at
    )


def test_an_unreadable_feed_is_reported_once_and_stops_nothing(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "gone")
    for seconds in range(3):
        recorder.beat(after(seconds), wish(ADA))
    (line,) = recorder.notes(ledger.Logged)
    assert isinstance(line, ledger.Logged)
    assert line.text.startswith("Ada: ")


def test_an_adopted_slate_is_recognised_by_its_purpose(tmp_path: Path) -> None:
    """Also before it is made again: only one of the two slates is a substitute."""
    for stands_in, shown in ((True, Shown.TROUBLE), (False, Shown.SOON)):
        recorder = Recorder(tmp_path, 7)
        recorder.live.resume(Turn(SLATE, TAKEOVER, stands_in=stands_in), BEGUN)
        assert (recorder.live.state.shown, recorder.live.state.stream) == (shown, 7)


# ---- rows ------------------------------------------------------------------------------------
@pytest.fixture
def channel(db: None, settings: Settings) -> Channel:
    settings.INGEST_SERVER = "nginx-rtmp"
    made = Channel.objects.create(
        name="Demo", slug="demo", desired_state=Channel.DesiredState.ON
    )
    Run.objects.create(channel=made)
    for rank, name in ((2, "eve"), (1, "ada")):
        owner = Broadcaster.objects.create(name=name.capitalize(), slug=name)
        TakeoverRight.objects.create(channel=made, broadcaster=owner, rank=rank)
    return made


def live(slug: str, began: datetime, ended: datetime | None = None) -> LiveStream:
    owner = Broadcaster.objects.get(slug=slug)
    return LiveStream.objects.create(
        broadcaster=owner,
        server="nginx-rtmp",
        path=owner.path,
        source_id=f"{slug}-{began:%H%M%S}",
        started_at=began,
        ended_at=ended,
    )


def wished(channel: Channel, now: datetime = NOW) -> IngestState:
    channel.refresh_from_db()
    return wishes([channel], now)[channel.pk]


def test_feeds_are_ordered_by_rank_and_limited_to_rights(channel: Channel) -> None:
    eve, ada = live("eve", NOW), live("ada", NOW)
    Broadcaster.objects.create(name="Mallory", slug="mallory")
    live("mallory", NOW)
    built = wished(channel)
    assert [feed.stream for feed in built.feeds] == [ada.pk, eve.pk]
    assert built.present == {ada.pk, eve.pk}
    assert built.feeds[0].url.reveal() == "rtmp://127.0.0.1/live/ada"
    Broadcaster.objects.filter(slug="ada").update(enabled=False)
    assert [feed.stream for feed in wished(channel).feeds] == [eve.pk]


@pytest.mark.parametrize(
    ("server", "calls", "ago", "how"),
    [
        # nginx-rtmp: unpublished, then disconnected; the reverse; only the first so far.
        ("nginx-rtmp", (10, 13), 5, "finished"),
        ("nginx-rtmp", (22, 21), 5, "broken"),
        ("nginx-rtmp", (22, None), 0.2, "present"),
        ("nginx-rtmp", (22, None), 5, "finished"),
        # Detected by the reconciler, or reported by an older configuration.
        ("nginx-rtmp", (None, None), 5, "broken"),
        ("nginx-rtmp", (None, 21), 5, "broken"),
        ("mediamtx", (None, None), 5, ""),
    ],
)
def test_the_order_of_calls_shows_how_a_stream_ended(
    channel: Channel,
    settings: Settings,
    server: str,
    calls: tuple[int | None, int | None],
    ago: float,
    how: str,
) -> None:
    settings.INGEST_SERVER = server
    row = live("ada", NOW - timedelta(minutes=5), NOW - timedelta(seconds=ago))
    LiveStream.objects.filter(pk=row.pk).update(
        server=server, unpublished_call=calls[0], disconnected_call=calls[1]
    )
    built = wished(channel)
    for name in ("finished", "broken", "present"):
        assert (row.pk in getattr(built, name)) is (name == how)
    assert built.feeds == ()


def test_a_stream_ended_by_revocation_is_not_awaited(channel: Channel) -> None:
    key, _ = keys.mint(Broadcaster.objects.get(slug="ada"), by="me", now=NOW)
    row = live("ada", NOW)
    LiveStream.objects.filter(pk=row.pk).update(key=key)
    keys.revoke(key, by="me", now=NOW, server=None)
    built = wished(channel)
    assert built.finished == {row.pk}
    assert built.feeds == ()


def test_mediamtx_is_read_by_rtsp(channel: Channel, settings: Settings) -> None:
    settings.INGEST_SERVER, settings.INGEST_RTSP_URL = "mediamtx", "rtsp://10.0.0.7:9554"
    settings.INGEST_READ_TOKEN = Secret("t" * 24)
    row = live("ada", NOW)
    LiveStream.objects.filter(pk=row.pk).update(server="mediamtx", tracks=["H265", "Opus"])
    (feed,) = wished(channel).feeds
    assert feed.url.reveal() == f"rtsp://10.0.0.7:9554/live/ada?token={'t' * 24}"
    assert (feed.tracks, feed.has_audio) == (("H265", "Opus"), True)


def test_a_channel_without_rights_has_no_wish(channel: Channel) -> None:
    channel.takeover_rights.all().delete()
    live("ada", NOW)
    assert wishes([channel], NOW) == {}


def test_a_feed_without_audio_is_recognised_by_its_tracks(channel: Channel) -> None:
    row = live("ada", NOW)
    for tracks, sound in (
        ([], True),
        (["H264", "MPEG-4 Audio"], True),
        (["H264", "AAC"], True),
        (["H264"], False),
    ):
        LiveStream.objects.filter(pk=row.pk).update(tracks=tracks)
        assert wished(channel).feeds[0].has_audio is sound


def test_an_operators_choice_holds_until_nobody_is_live_for_a_minute(
    channel: Channel,
) -> None:
    ada, eve = live("ada", NOW), live("eve", NOW)
    actions.return_to_programme(channel, by="me", now=NOW)
    assert wished(channel, NOW + timedelta(hours=3)).returned
    who = Broadcaster.objects.get(slug="eve")
    actions.take(channel, by="me", now=NOW, broadcaster=who)
    built = wished(channel, NOW + timedelta(hours=3))
    assert [feed.stream for feed in built.feeds] == [eve.pk]
    assert built.present == {ada.pk, eve.pk}
    assert built.feeds[0].requested_at == NOW.timestamp()
    # Eve ends: Ada alone does not keep the choice.
    over = NOW + timedelta(hours=4)
    LiveStream.objects.filter(pk=eve.pk).update(ended_at=over)
    assert wished(channel, over + LATCH).feeds == ()
    later = over + LATCH + timedelta(seconds=1)
    assert [feed.stream for feed in wished(channel, later).feeds] == [ada.pk]
    # The choice does not apply to the next day's show.
    live("eve", later)
    assert wished(channel, later).feeds[0].broadcaster != who.pk


def test_take_is_refused_if_nobody_is_live(channel: Channel) -> None:
    with pytest.raises(
        actions.NobodyLiveError, match="No broadcaster who may take it over is live"
    ):
        actions.take(channel, by="me", now=NOW)
    live("ada", NOW - timedelta(hours=1), NOW)
    with pytest.raises(actions.NobodyLiveError):
        actions.take(channel, by="me", now=NOW)
    live("eve", NOW)
    actions.take(channel, by="me", now=NOW)
    channel.refresh_from_db()
    assert channel.live_broadcaster == Broadcaster.objects.get(slug="eve")
    Channel.objects.update(desired_state=Channel.DesiredState.OFF)
    with pytest.raises(actions.NotRunningError):
        actions.take(channel, by="me", now=NOW)


@given(
    gaps=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 7200)), max_size=8),
    idle=st.integers(0, 60),
)
def test_a_choice_holds_over_pauses(gaps: list[tuple[int, int]], idle: int) -> None:
    at, spans = NOW, []
    for pause, length in gaps:
        began = at + timedelta(seconds=pause)
        at = began + timedelta(seconds=length)
        spans.append((began, at))
    assert holds(NOW, spans, at + timedelta(seconds=idle))
    assert not holds(NOW, spans, at + timedelta(seconds=61))
    late = at + timedelta(seconds=61)
    assert not holds(NOW, [*spans, (late, late)], late)


def test_a_deleted_stream_does_not_block_the_history(channel: Channel) -> None:
    run, row = Run.objects.get(), live("ada", NOW)
    requested = [
        ledger.TakeoverRequested(channel.pk, run.pk, stream, row.broadcaster_id or 0, 0)
        for stream in (row.pk, row.pk + 1, row.pk + 2)
    ]
    history_writer.write(requested)
    history_writer.write(requested)
    assert [one.stream for one in Takeover.objects.all()] == [row]
