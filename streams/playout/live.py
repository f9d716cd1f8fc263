"""The owner's live feeds: what reads them, and what is shown of them on the channel.

A conformer reads a feed and encodes it to the house format into a pipe of its own, while the
programme plays on. Once the feed may be on, a relay plays that pipe into the channel's feed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from media_library.house import House
from streams.playout import commands, ledger, mpegts, process, takeover
from streams.playout.feed import Feed
from streams.playout.item import TAKEOVER, Item, Kind, Mode, Turn
from streams.playout.plan import ChannelPlan, Policy, Tools
from streams.playout.report import Now, Report
from streams.playout.role import Role
from streams.playout.takeover import LiveFeed, Shown, Signal, State, Wish
from streamsite.secret import Secret

#: Seconds between two starts of the same feed's conformer.
PAUSE: Final = 1.0
#: Seconds of the feed for which its pipe has room: two keyframes, and a late look.
DEPTH: Final = 5
#: What an item of a live feed is called, and the incident where one is lost.
LIVE: Final = "live"
_SLATES: Final = {Shown.SOON: "soon", Shown.TROUBLE: "trouble"}


@dataclass(slots=True)
class Conformer:
    """What reads one feed. Without a role it could not be started, or has ended."""

    feed: LiveFeed
    pipe: Feed
    #: When its feed was seen first. On the monotonic clock, as all times here.
    began: float
    moved: float
    role: Role | None = None
    #: A keyframe has come since the role was started.
    picture: bool = False
    started: float = float("-inf")
    #: A relay reads its pipe.
    relayed: bool = False

    @property
    def signal(self) -> Signal:
        return Signal(self.began, self.picture and self.role is not None, self.moved)


@dataclass(frozen=True, slots=True)
class Instead:
    """What plays instead of the programme; `pipe`: what a relay reads."""

    turn: Turn
    pipe: Feed | None = None


class Live:
    """Keeps the conformers of a channel, and decides by what they give. `beat` never waits."""

    def __init__(
        self, tools: Tools, policy: Policy, folder: Path, plan: ChannelPlan, report: Report
    ) -> None:
        self.tools = tools
        self.policy = policy
        self.folder = folder
        self.report = report
        self.plan = plan
        self.state = State()
        self.conformers: dict[int, Conformer] = {}
        #: The stream whose takeover is on air, and those that were asked for.
        self._aired: int | None = None
        self._asked: set[int] = set()

    # ---- what the channel asks

    @property
    def busy(self) -> bool:
        """Whether a quick look is wanted."""
        return bool(self.conformers) or self.state.shown is not Shown.PROGRAMME

    def roles(self) -> Iterator[Role]:
        for conformer in self.conformers.values():
            if conformer.role is not None:
                yield conformer.role

    def instead(self) -> Instead | None:
        """What plays instead of the programme now; None: nothing does."""
        state = self.state
        if state.shown is Shown.PROGRAMME:
            return None
        if state.shown is Shown.LIVE:
            if (conformer := self.conformers.get(state.stream or 0)) is None:
                return None
            item = _item(conformer.feed)
            return Instead(Turn(item, TAKEOVER, state.why, fade=True), conformer.pipe)
        slate = getattr(self.plan, _SLATES[state.shown]) or self.plan.slate
        trouble = state.shown is Shown.TROUBLE
        return Instead(Turn(slate, TAKEOVER, state.why, stands_in=trouble))

    # ---- adoption

    def adopt(self, role: Role, now: Now) -> None:
        """Raises `KeyError`, `TypeError` or `ValueError` where the record is another's."""
        notes = role.process.record.notes
        stream, name = int(notes["stream"]), str(notes["name"])
        feed = LiveFeed(stream, int(notes["broadcaster"]), name, Secret(""), now.wall)
        conformer = Conformer(feed, self._pipe(stream), now.mono, now.mono, role)
        conformer.began -= float(notes["debounce"])
        conformer.started = now.mono
        conformer.picture = True
        self.conformers[stream] = conformer

    def resume(self, turn: Turn, now: Now) -> None:
        """That was shown when the earlier supervisor ended, and is still."""
        shown = {
            self.plan.soon and self.plan.soon.key: Shown.SOON,
            self.plan.trouble and self.plan.trouble.key: Shown.TROUBLE,
        }.get(turn.item.key, Shown.TROUBLE)
        if (stream := stream_of(turn.item)) is not None:
            shown = Shown.LIVE
        self.state = State(shown, now.mono, stream, turn.why)

    # ---- the loop

    def beat(self, plan: ChannelPlan, wish: Wish, now: Now) -> None:
        self.plan = plan
        signals = {pk: conformer.signal for pk, conformer in self.conformers.items()}
        wanted = list(takeover.conformed(self.state, wish, signals))
        feeds = {feed.stream: feed for feed in wish.feeds}
        for stream in [pk for pk in self.conformers if pk not in wanted]:
            self._end(self.conformers[stream], now)
        for stream in wanted:
            if stream in feeds:
                self._keep(feeds[stream], plan.house, wish, now)
        for conformer in self.conformers.values():
            self._read(conformer, now)
        signals = {pk: conformer.signal for pk, conformer in self.conformers.items()}
        before, self.state = self.state, takeover.decide(self.state, wish, signals, now.mono)
        if before != self.state:
            self._tell(before, feeds, now)

    def stop(self, now: Now) -> bool:
        """End them all. True when they are gone."""
        for conformer in list(self.conformers.values()):
            self._end(conformer, now)
        return not self.conformers

    def close(self) -> None:
        for conformer in self.conformers.values():
            conformer.pipe.close()

    def _keep(self, feed: LiveFeed, house: House, wish: Wish, now: Now) -> None:
        conformer = self.conformers.get(feed.stream)
        if conformer is None:
            pipe = self._pipe(feed.stream, house.bytes_per_second * DEPTH)
            conformer = Conformer(feed, pipe, now.mono, now.mono)
            self.conformers[feed.stream] = conformer
        conformer.feed = feed
        if conformer.role is not None or now.mono - conformer.started < PAUSE:
            return
        conformer.started, conformer.picture = now.mono, False
        # What an earlier one left is older than what comes.
        conformer.pipe.skip(len)
        try:
            sock = process.progress_socket()
            started = process.spawn(
                self.tools,
                self.folder,
                f"{process.CONFORMER}-{feed.stream}",
                commands.conformer(self.tools.ffmpeg, sock.getsockname()[1], feed, house),
                sock=sock,
                stdout=conformer.pipe.fd,
                notes=_notes(feed, wish),
            )
        except (process.SpawnError, OSError) as error:
            self.report.say(now, process.CONFORMER, "error", f"{feed.name}: {error}")
            return
        conformer.role = Role(started, now.mono)

    def _read(self, conformer: Conformer, now: Now) -> None:
        role = conformer.role
        if role is None:
            return
        if role.read(now.mono):
            conformer.moved = now.mono
        if not conformer.relayed and conformer.pipe.skip(_newest(conformer.pipe)):
            # Older pictures are of no use: who goes on air is seen at once.
            conformer.picture = True
        if role.process.exited():
            self.report.relay(now, role)
            process.forget(self.folder, role.name)
            role.close()
            conformer.role = None

    def _end(self, conformer: Conformer, now: Now) -> None:
        role = conformer.role
        if role is not None:
            # It has nothing to finish, and may wait for the network.
            role.kill(now.mono)
            if not role.process.exited():
                return
            process.forget(self.folder, role.name)
            role.close()
            conformer.role = None
        if conformer.relayed:
            # Who reads it has still to be woken through it.
            return
        conformer.pipe.close()
        conformer.pipe.path.unlink(missing_ok=True)
        del self.conformers[conformer.feed.stream]

    def _pipe(self, stream: int, length: int = 0) -> Feed:
        return Feed.open(self.folder / f"live-{stream}.fifo", length)

    # ---- what is told

    def relayed(self, turn: Turn | None) -> None:
        """What plays now: of a feed that does, the pipe is not ours to read."""
        stream = None if turn is None else stream_of(turn.item)
        for pk, conformer in self.conformers.items():
            conformer.relayed = pk == stream

    def _tell(self, before: State, feeds: dict[int, LiveFeed], now: Now) -> None:
        state, told = self.state, LIVE
        if state.shown is not before.shown or state.stream != before.stream:
            self.report.say(now, told, "info", f"{_WORDS[state.shown]}: {state.why}")
        feed = feeds.get(state.stream or 0)
        if feed is not None and feed.stream not in self._asked:
            self._asked.add(feed.stream)
            self.report.note(
                ledger.TakeoverAsked(
                    *(self.report.channel, self.report.run, feed.stream, feed.broadcaster),
                    feed.asked,
                )
            )
        if state.shown is Shown.TROUBLE:
            self.report.incident(told, state.why, now.wall, severity="degraded")
        else:
            self.report.over(told, now.wall)
        if state.shown is Shown.PROGRAMME and before.stream not in {None, self._aired}:
            self._over(before.stream, state.why, now.wall)

    def aired(self, turn: Turn, at: float) -> None:
        """A turn came on air at that moment (since the epoch)."""
        stream = stream_of(turn.item)
        if stream is None and turn.rule == TAKEOVER:
            # A slate: the takeover is not over yet.
            return
        if self._aired is not None and stream != self._aired:
            self._over(self._aired, self.state.why, at)
        self._aired = stream
        if stream is not None:
            self.report.note(ledger.TakeoverAired(self.report.channel, stream, at))

    def _over(self, stream: int | None, cause: str, at: float) -> None:
        if stream is not None:
            self._asked.discard(stream)
            self.report.note(ledger.TakeoverEnded(self.report.channel, stream, at, cause))


_WORDS: Final = {
    Shown.PROGRAMME: "Back to the programme",
    Shown.SOON: "Going live soon",
    Shown.LIVE: "Live",
    Shown.TROUBLE: "The live feed is lost",
}


def _newest(pipe: Feed) -> Callable[[bytes], int | None]:
    """Where a relay may begin in what waits; all of it is left out that leaves no room."""
    most = pipe.capacity * 3 // 4

    def find(data: bytes) -> int | None:
        at = mpegts.keyframe(data)
        if len(data) - (at or 0) > most:
            return len(data) - len(data) % mpegts.PACKET
        return at

    return find


def _item(feed: LiveFeed) -> Item:
    return Item(f"Live: {feed.name}", f"{LIVE}-{feed.stream}", Mode.COPY, Kind.LIVE)


def fits(turn: Turn, wanted: Instead | None) -> bool:
    """Whether a turn is what is to be shown."""
    if wanted is None:
        return turn.rule != TAKEOVER
    return turn.rule == TAKEOVER and turn.item.key == wanted.turn.item.key


def stream_of(item: Item) -> int | None:
    """The stream that a live item shows; None: it is no live item."""
    return int(item.key.removeprefix(f"{LIVE}-")) if item.kind is Kind.LIVE else None


def _notes(feed: LiveFeed, wish: Wish) -> dict[str, Any]:
    return {
        "stream": feed.stream,
        "broadcaster": feed.broadcaster,
        "name": feed.name,
        "debounce": wish.debounce,
    }
