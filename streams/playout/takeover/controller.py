"""Controls live takeovers of a channel: reads the feeds and decides which one is shown.

A conformer reads a feed and encodes it to the house format into a pipe of its own, while the
programme keeps playing. Another one copies it, in case it already is in the house format. Once
the feed may go on air, a relay plays one of these pipes into the channel's feed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from media_library.house_format import HouseFormat
from streams.playout.contract import ledger
from streams.playout.contract.live_feed import IngestState, LiveFeed
from streams.playout.contract.moment import Now
from streams.playout.contract.plan import ChannelPlan, Tools
from streams.playout.contract.turn import TAKEOVER, Turn
from streams.playout.ffmpeg import process
from streams.playout.ffmpeg.monitored_process import MonitoredProcess
from streams.playout.ffmpeg.pipe import FeedPipe
from streams.playout.journal.journal import Journal
from streams.playout.takeover import decision
from streams.playout.takeover.conformer import PIPE_DEPTH_S, Reader
from streams.playout.takeover.decision import Shown, Signal, State, is_audio
from streams.programme.item import Item, Kind, Mode
from streamsite.security.secret import Secret

#: Key prefix of a live feed's item, and subject of the incident when a feed is lost.
LIVE: Final = "live"
_SLATES: Final = {Shown.SOON: "soon", Shown.TROUBLE: "trouble"}


@dataclass(slots=True)
class Conformer:
    """The processes that read one feed."""

    feed: LiveFeed
    #: When its feed was first seen, on the monotonic clock.
    began: float
    readers: dict[Mode, Reader] = field(default_factory=dict)

    @property
    def relayed(self) -> Reader | None:
        return next((reader for reader in self.readers.values() if reader.relayed), None)

    def best(self, house_format: HouseFormat) -> Reader | None:
        """The reader that a relay uses or would use."""
        copied = self.readers.get(Mode.COPY)
        if self.relayed is not None:
            return self.relayed
        if copied is not None and copied.matches(house_format):
            return copied
        return self.readers.get(Mode.TRANSCODE)

    def signal(self, house_format: HouseFormat) -> Signal:
        reader = self.best(house_format)
        if reader is None:
            return Signal(self.began, has_video=False, moved=self.began)
        return Signal(
            self.began,
            has_video=reader.alive,
            moved=reader.moved,
            since=reader.since,
            fault=reader.fault,
        )


@dataclass(frozen=True, slots=True)
class Substitution:
    """A turn that replaces the programme; `pipe`: the input of its relay."""

    turn: Turn
    pipe: FeedPipe | None = None


class Live:
    """Manages the conformers of a channel and decides by their output. `beat` never blocks."""

    def __init__(
        self,
        tools: Tools,
        folder: Path,
        plan: ChannelPlan,
        journal: Journal,
        open_takeovers: Iterable[int] = (),
    ) -> None:
        """Manage the feeds of one channel.

        `open_takeovers`: streams whose takeover an earlier supervisor reported without an end.
        """
        self.tools = tools
        self.folder = folder
        self.journal = journal
        self.plan = plan
        self.state = State()
        self.conformers: dict[int, Conformer] = {}
        #: The stream whose takeover is on air, and those requested that are not over.
        self._aired: int | None = None
        self._requested = set(open_takeovers)
        #: Notes on air that the hub has sent and no destination has received yet.
        self._leaving: list[ledger.TakeoverAired | ledger.TakeoverEnded] = []
        #: Why a feed can't be read, as last logged.
        self._fault = ""

    # ---- queries of the channel

    @property
    def busy(self) -> bool:
        """Whether a quick poll is needed."""
        return bool(self.conformers) or self.state.shown is not Shown.PROGRAMME

    def roles(self) -> Iterator[MonitoredProcess]:
        for reader in self._readers():
            if reader.role is not None:
                yield reader.role

    def _readers(self) -> Iterator[Reader]:
        for conformer in self.conformers.values():
            yield from conformer.readers.values()

    def substitution(self) -> Substitution | None:
        """The turn that replaces the programme now; None: the programme plays."""
        state = self.state
        if state.shown is Shown.PROGRAMME:
            return None
        if state.shown is Shown.LIVE:
            conformer = self.conformers.get(state.stream or 0)
            reader = None if conformer is None else conformer.best(self.plan.house_format)
            if conformer is None or reader is None:
                return None
            item = _item(conformer.feed, reader.mode)
            return Substitution(Turn(item, TAKEOVER, state.why, fade=True), reader.pipe)
        slate = getattr(self.plan, _SLATES[state.shown]) or self.plan.slate
        trouble = state.shown is Shown.TROUBLE
        return Substitution(Turn(slate, TAKEOVER, state.why, stands_in=trouble))

    # ---- adoption

    def adopt(self, role: MonitoredProcess, now: Now) -> None:
        """Adopt a running conformer.

        Raises `KeyError`, `TypeError` or `ValueError` if the record is another version's.
        """
        notes = role.process.record.notes
        stream, name, mode = int(notes["stream"]), str(notes["name"]), Mode(notes["mode"])
        feed = LiveFeed(stream, int(notes["broadcaster"]), name, Secret(""), now.wall)
        # It was seen before, so the debounce need not be waited for again.
        conformer = self.conformers.setdefault(stream, Conformer(feed, float("-inf")))
        reader = self._reader(stream, mode, now, role.process.pid)
        conformer.readers[mode] = reader
        reader.role, reader.has_video, reader.started = role, True, now.mono

    def resume(self, turn: Turn, now: Now) -> FeedPipe | None:
        """Resume the takeover that was shown when the earlier supervisor ended.

        Returns the pipe that its relay reads, if there is one.
        """
        shown, stream = Shown.LIVE, stream_of(turn.item)
        pipe = None
        if stream is None:
            # A slate: its plan may not exist yet, but only one of the two counts as a stand-in.
            shown = Shown.TROUBLE if turn.stands_in else Shown.SOON
            stream = max(self._requested, default=None)
            self._aired = stream if shown is Shown.TROUBLE else None
        else:
            conformer = self.conformers.get(stream)
            if conformer is not None and turn.item.mode in conformer.readers:
                reader = conformer.readers[turn.item.mode]
                reader.relayed, pipe = True, reader.pipe
        self.state = State(shown, now.mono, stream, turn.why)
        return pipe

    def reported(self, open_takeovers: Iterable[int]) -> None:
        """Take over the reports of another node: only those takeovers were requested."""
        self._requested = set(open_takeovers)

    # ---- the loop

    def beat(self, plan: ChannelPlan, ingest: IngestState, now: Now) -> None:
        self.plan = plan
        self._flush_leaving(now.wall)
        streams = list(decision.streams_to_read(self.state, ingest, self._signals()))
        feeds = {feed.stream: feed for feed in ingest.feeds}
        for stream in [pk for pk in self.conformers if pk not in streams]:
            self._end(self.conformers[stream], now)
        for stream in streams:
            if stream in feeds:
                self._keep(feeds[stream], now)
        for conformer in self.conformers.values():
            for reader in conformer.readers.values():
                reader.read(self.folder, self.journal, now)
                if reader.fault:
                    self._unreadable(conformer.feed, reader, now)
        before, signals = self.state, self._signals()
        self.state = decision.decide(before, ingest, signals, now.mono)
        if before != self.state:
            self._log_change(before, now)
        self._request_takeover(before, feeds, now)
        # Not only at the change: an earlier supervisor may have opened it, or not got to it.
        if self.state.shown is Shown.TROUBLE:
            self.journal.open_incident(LIVE, self.state.why, now.wall, severity="degraded")
        else:
            self.journal.close_incident(LIVE, now.wall)

    def stop(self, now: Now) -> bool:
        """End all conformers. True once they have ended."""
        # Notes whose air has not left by now never will.
        self._flush_leaving(float("inf"))
        for conformer in list(self.conformers.values()):
            self._end(conformer, now)
        return not self.conformers

    def close(self) -> None:
        for reader in self._readers():
            reader.close()

    def relayed(self, pipe: FeedPipe | None) -> None:
        """Mark the pipe that the present player reads: nobody else may read it."""
        for reader in self._readers():
            reader.relayed = reader.pipe is pipe

    def _signals(self) -> dict[int, Signal]:
        house_format = self.plan.house_format
        return {pk: conformer.signal(house_format) for pk, conformer in self.conformers.items()}

    def _keep(self, feed: LiveFeed, now: Now) -> None:
        conformer = self.conformers.setdefault(feed.stream, Conformer(feed, now.mono))
        encoder = conformer.readers.get(Mode.TRANSCODE)
        if encoder is not None and encoder.silent:
            feed = replace(feed, has_audio=False)
        conformer.feed = feed
        # Once one of the two is on air, the other one only costs CPU.
        chosen = conformer.relayed
        lost = encoder is not None and bool(encoder.fault)
        modes = [chosen.mode] if chosen else [Mode.TRANSCODE, *(() if lost else _copied(feed))]
        for mode in [mode for mode in conformer.readers if mode not in modes]:
            self._end_reader(conformer, mode, now)
        for mode in modes:
            name = f"{process.CONFORMER}-{feed.stream}-{mode}"
            try:
                reader = conformer.readers.get(mode)
                if reader is None:
                    reader = conformer.readers[mode] = self._reader(feed.stream, mode, now)
                reader.start(
                    self.tools, self.folder, name, feed, self.plan.house_format, now.mono
                )
            except (process.SpawnError, OSError) as error:
                text = f"{feed.name}: {error}"
                if text != self._fault:
                    # If a feed fails, the programme keeps playing.
                    self._fault = text
                    self.journal.log(now, process.CONFORMER, "error", text)

    def _unreadable(self, feed: LiveFeed, reader: Reader, now: Now) -> None:
        """Log the fault once, with the ingest server's name for the codec."""
        video = next((name for name in feed.tracks if not is_audio(name)), "")
        text = f"{feed.name}: {reader.fault}" + (
            f" The server calls it {video}." if video else ""
        )
        if text != self._fault:
            self._fault = text
            self.journal.log(now, process.CONFORMER, "error", text)

    def _reader(self, stream: int, mode: Mode, now: Now, writer: int | None = None) -> Reader:
        """`writer`: the pid of what writes into its pipe already."""
        length = self.plan.house_format.bytes_per_second * PIPE_DEPTH_S
        path = self.folder / f"{LIVE}-{stream}-{mode}.fifo"
        held = None if writer is None else FeedPipe.of_process(path, writer, 1)
        return Reader(mode, held or FeedPipe.open(path, int(length)), now.mono)

    def _end(self, conformer: Conformer, now: Now) -> None:
        for mode in list(conformer.readers):
            self._end_reader(conformer, mode, now)
        if not conformer.readers:
            del self.conformers[conformer.feed.stream]

    def _end_reader(self, conformer: Conformer, mode: Mode, now: Now) -> None:
        reader = conformer.readers[mode]
        if reader.end(self.folder, now.mono):
            reader.close()
            reader.pipe.path.unlink(missing_ok=True)
            del conformer.readers[mode]

    # ---- reports

    def _log_change(self, before: State, now: Now) -> None:
        state = self.state
        if state.shown is not before.shown or state.stream != before.stream:
            self.journal.log(now, LIVE, "info", f"{_WORDS[state.shown]}: {state.why}")
        if state.shown is Shown.PROGRAMME:
            self._over(self._requested - {self._aired}, now.wall)

    def _request_takeover(self, before: State, feeds: dict[int, LiveFeed], now: Now) -> None:
        """Report the feed's takeover, unless it was reported, perhaps by another supervisor."""
        feed = feeds.get(self.state.stream or 0)
        if feed is not None and feed.stream not in self._requested:
            self._requested.add(feed.stream)
            # The feed may have been live before, waiting for one of a higher rank to end.
            idle = before.shown in {Shown.PROGRAMME, Shown.TROUBLE}
            free = before.since if idle else float("-inf")
            self.journal.note(
                ledger.TakeoverRequested(
                    *(self.journal.channel, self.journal.run, feed.stream, feed.broadcaster),
                    max(feed.requested_at, now.at(free)),
                )
            )

    def aired(self, turn: Turn, at: float, behind: float = 0.0) -> None:
        """The hub began to send a turn at that moment (since the epoch).

        `behind`: seconds until it leaves for the destinations; it is reported then.
        """
        stream = stream_of(turn.item)
        if stream is None and turn.rule == TAKEOVER:
            # A slate: the takeover is not over yet.
            return
        self._aired = stream
        # All other requested takeovers are over, unless one is about to go on air.
        self._over(self._requested - {stream, self.state.stream}, at, behind)
        if stream is not None:
            note = ledger.TakeoverAired(self.journal.channel, stream, at + behind)
            self._note(note, behind)

    def _over(self, streams: Iterable[int | None], at: float, behind: float = 0.0) -> None:
        cause = self.state.why or "It ended while no supervisor was running."
        for stream in streams:
            if stream is not None:
                self._requested.discard(stream)
                channel = self.journal.channel
                note = ledger.TakeoverEnded(channel, stream, at + behind, cause)
                self._note(note, behind)

    def _note(self, note: ledger.TakeoverAired | ledger.TakeoverEnded, behind: float) -> None:
        """Report the note when its air leaves for the destinations, in order."""
        if behind > 0 or self._leaving:
            self._leaving.append(note)
        else:
            self.journal.note(note)

    def _flush_leaving(self, wall: float) -> None:
        while self._leaving and self._leaving[0].at <= wall:
            self.journal.note(self._leaving.pop(0))


_WORDS: Final = {
    Shown.PROGRAMME: "Back to the programme",
    Shown.SOON: "Going live soon",
    Shown.LIVE: "Live",
    Shown.TROUBLE: "The live feed is lost",
}


def _copied(feed: LiveFeed) -> tuple[Mode, ...]:
    # Without audio a feed is not in the house format, whatever its video.
    return (Mode.COPY,) if feed.has_audio else ()


def _item(feed: LiveFeed, mode: Mode) -> Item:
    return Item(f"Live: {feed.name}", f"{LIVE}-{feed.stream}", mode, Kind.LIVE)


def matches(turn: Turn, substitution: Substitution | None) -> bool:
    """Whether a turn is the one to show."""
    if substitution is None:
        return turn.rule != TAKEOVER
    return turn.rule == TAKEOVER and turn.item.key == substitution.turn.item.key


def stream_of(item: Item) -> int | None:
    """The stream that a live item shows; None: not a live item."""
    return int(item.key.removeprefix(f"{LIVE}-")) if item.kind is Kind.LIVE else None
