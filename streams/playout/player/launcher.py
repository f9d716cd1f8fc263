"""Starts players, at once or queued behind another one.

**A gate** makes the next item follow without the supervisor. Each player of an item whose
length is known to the frame has a second output: a FIFO beside the feed, into which FFmpeg
writes one line if the item's last frame was fed, and only when it closes its outputs. The next
player waits behind it as a small shell. The shell reads the FIFO to its end, which comes when
the previous player has exited, and becomes FFmpeg (exec) if the line was there. So it starts
the moment the previous player has ended whole, and never after one that was killed, cut or
broke off. Its position on the feed's clock is exact, because the previous length is.

The shell has the command line that FFmpeg will have: secrets wait in pipes that it inherits,
and no interpreter of ours stays in memory. An item of low bit rate fits into the feed's pipe
long before its time, so the shell also waits for a second of the machine's uptime; otherwise
minutes would pile up there. A waiting player is revoked by killing it: none of it has run.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import Final

from media_library.house_format import HouseFormat
from media_library.location import LocalFile
from streams.playout.contract.plan import Sources, Tools
from streams.playout.contract.turn import Turn
from streams.playout.ffmpeg import capability, commands, mpegts, process
from streams.playout.ffmpeg.pipe import FeedPipe
from streams.playout.player import player_record
from streams.playout.player.timeline import Slot
from streams.programme.item import Kind, Mode

#: Kinds of items behind which a player may wait, if their length is known to the frame.
FOLLOWED_KINDS: Final = frozenset({Kind.ITEM, Kind.FILLER})


def frames_of(turn: Turn, house_format: HouseFormat) -> int | None:
    """Video frames of a turn behind which another may wait; None: its end is unknown."""
    length = turn.length(house_format)
    if (
        length is None
        or turn.item.mode is not Mode.PREPARED
        or turn.item.kind not in FOLLOWED_KINDS
    ):
        return None
    return ceil(length * house_format.fps)


class Launcher:
    """Starts the players of one channel, each with its gate."""

    def __init__(self, tools: Tools, folder: Path, feed: FeedPipe, sources: Sources) -> None:
        self.tools = tools
        self.folder = folder
        self.feed = feed
        self.sources = sources
        #: Number of the last gate.
        self.serial = 0

    def player(self, slot: Slot, house_format: HouseFormat) -> process.Process:
        """Start a player now. Raises `SourceError`, `SpawnError` or `OSError`."""
        return self._spawn(process.PLAYER, slot, house_format)

    def behind(
        self,
        before: process.Process,
        slot: Slot,
        house_format: HouseFormat,
        begin: int,
    ) -> process.Process:
        """Start a player that waits until the one before it has ended whole.

        `begin`: second of the machine's uptime before which it does not start. Raises
        `SourceError`, `SpawnError` or `OSError`, and `LookupError` if the player before it has
        no gate.
        """
        gate = before.record.notes.get("gate")
        if gate is None:
            raise LookupError("No player can be queued behind it.")
        # Does not wait for a writer that has exited: then the read returns the end at once.
        reader = os.open(self.folder / gate, os.O_RDONLY | os.O_NONBLOCK)
        try:
            os.set_blocking(reader, True)
            name = f"{process.QUEUED}-{self.serial + 1}"
            return self._spawn(name, slot, house_format, reader, begin)
        finally:
            os.close(reader)

    def relay(self, slot: Slot, house_format: HouseFormat, source: FeedPipe) -> process.Process:
        """Start a relay that plays a pipe. Raises `SpawnError` or `OSError`."""
        # Data that arrived while nobody read is outdated.
        source.skip(mpegts.keyframe)
        ffmpeg = self.tools.ffmpeg
        by_clock = capability.abilities(ffmpeg).by_clock
        return process.spawn(
            self.tools,
            self.folder,
            process.PLAYER,
            lambda port: commands.relay(
                ffmpeg, port, house_format, slot.start, by_clock=by_clock
            ),
            stdin=source.fd,
            stdout=self.feed.fd,
            notes=player_record.encode(slot),
        )

    def _spawn(
        self,
        name: str,
        slot: Slot,
        house_format: HouseFormat,
        stdin: int = subprocess.DEVNULL,
        begin: int | None = None,
    ) -> process.Process:
        turn = slot.turn
        location = self.sources.locate(turn.item)
        notes = player_record.encode(slot)
        if isinstance(location, LocalFile):
            notes |= {"local": True, "path": str(location.path)}
        frames, gate = frames_of(turn, house_format), None
        self.serial += 1
        if frames is not None:
            notes["gate"] = f"gate-{self.serial}.fifo"
            path = self.folder / notes["gate"]
            path.unlink(missing_ok=True)
            os.mkfifo(path, 0o600)
            # Also open for reading: FFmpeg must neither wait for a reader nor fail without one.
            gate = os.open(path, os.O_RDWR)

        def build(port: int) -> commands.Command:
            command = commands.player(
                self.tools.ffmpeg, port, turn, location, house_format, slot.start
            )
            if gate is not None and frames is not None:
                command = commands.witnessed(command, turn, gate, frames)
            return command if begin is None else commands.waiting(command, begin)

        try:
            return process.spawn(
                self.tools,
                self.folder,
                name,
                build,
                stdin=stdin,
                stdout=self.feed.fd,
                notes=notes,
                handed=() if gate is None else (gate,),
            )
        finally:
            if gate is not None:
                os.close(gate)

    def forget(self, record: process.Record) -> None:
        """Remove the record and the gate of a player that has ended."""
        process.remove_record(self.folder, record.name)
        if record.role == process.QUEUED:
            (self.folder / f"{record.name}.log").unlink(missing_ok=True)
        if gate := record.notes.get("gate"):
            with suppress(OSError):
                (self.folder / gate).unlink()

    def promote(self, waited: process.Process) -> None:
        """Make a queued player that has started the channel's player."""
        process.rename(self.folder, waited, process.PLAYER)


def waits(pid: int) -> bool:
    """Whether a queued player still waits; False: it plays or has ended."""
    arguments = _arguments(pid)
    if arguments == [b""]:
        # Its program is just being loaded, so it waits. A zombie also has no arguments, but has
        # ended.
        return process.born(pid) is not None
    return commands.WAITING_SHELL.encode() in arguments[:4]


def _arguments(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def uptime() -> float:
    """Seconds of uptime, as a waiting player reads them (proc(5))."""
    return float(Path("/proc/uptime").read_text().split()[0])
