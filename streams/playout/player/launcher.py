"""Starts players, at once or behind another one.

**A gate** makes the next item follow without the supervisor. Each player of an item whose
length is known to the frame has a second output: a FIFO beside the feed, into which FFmpeg
writes one line if the item's last frame was fed, and only when it closes its outputs. The next
player waits behind it as a small shell: it reads the FIFO to its end, which comes when the
player before it is gone, and becomes FFmpeg (exec) if the line was there. So it begins in the
moment in which the present player has ended whole, and never after one that was killed, cut or
broke off. Its place on the feed's clock is exact, for the length before it is.

The shell has the command line that FFmpeg will have: secrets wait in pipes that it inherits,
and no interpreter of ours is kept in memory. A quiet item fits into the feed's pipe long before
its time, so the shell waits for a second of the machine's uptime too, or minutes would pile up
there. To revoke a waiting player is to kill it: nothing of it has run.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Final

from media_library.house_format import HouseFormat
from media_library.location import LocalFile
from streams.playout.contract.plan import Sources, Tools
from streams.playout.contract.turn import Turn
from streams.playout.ffmpeg import capability, commands, mpegts, process
from streams.playout.ffmpeg.pipe import FeedPipe
from streams.playout.player.player_record import notes_of
from streams.programme.item import Kind, Mode

#: What of a player may be followed: its own kinds, and that its length is known to the frame.
FOLLOWED_KINDS: Final = frozenset({Kind.ITEM, Kind.FILLER})


def frames_of(turn: Turn, house_format: HouseFormat) -> int | None:
    """Video frames of a turn behind which another may wait; None: its end is not known."""
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

    def player(self, turn: Turn, start: Fraction, house_format: HouseFormat) -> process.Process:
        """Raises `SourceError`, `SpawnError` or `OSError`."""
        return self._spawn(process.PLAYER, turn, start, house_format)

    def behind(
        self,
        before: process.Process,
        turn: Turn,
        start: Fraction,
        house_format: HouseFormat,
        begin: int,
    ) -> process.Process:
        """A player that waits until the one before it has ended whole.

        `begin`: second of the machine's uptime before which it does not begin. Raises
        `SourceError`, `SpawnError` or `OSError`, and `LookupError` where the one before it has
        no gate.
        """
        gate = before.record.notes.get("gate")
        if gate is None:
            raise LookupError("Nothing can wait behind it.")
        # Not to wait for a writer that is gone: then there is only the end to be read.
        reader = os.open(self.folder / gate, os.O_RDONLY | os.O_NONBLOCK)
        try:
            os.set_blocking(reader, True)
            name = f"{process.QUEUED}-{self.serial + 1}"
            return self._spawn(name, turn, start, house_format, reader, begin)
        finally:
            os.close(reader)

    def relay(
        self, turn: Turn, start: Fraction, house_format: HouseFormat, source: FeedPipe
    ) -> process.Process:
        """Plays what comes through a pipe. Raises `SpawnError` or `OSError`."""
        sock = process.progress_socket()
        command = commands.relay(
            self.tools.ffmpeg,
            sock.getsockname()[1],
            house_format,
            start,
            by_clock=capability.abilities(self.tools.ffmpeg).by_clock,
        )
        # What came while nobody read is old.
        source.skip(mpegts.keyframe)
        return process.spawn(
            self.tools,
            self.folder,
            process.PLAYER,
            command,
            sock=sock,
            stdin=source.fd,
            stdout=self.feed.fd,
            notes=notes_of(turn, start),
        )

    def _spawn(
        self,
        name: str,
        turn: Turn,
        start: Fraction,
        house_format: HouseFormat,
        stdin: int = subprocess.DEVNULL,
        begin: int | None = None,
    ) -> process.Process:
        location = self.sources.locate(turn.item)
        sock = process.progress_socket()
        notes = notes_of(turn, start)
        if isinstance(location, LocalFile):
            notes |= {"local": True, "path": str(location.path)}
        frames, gate = frames_of(turn, house_format), None
        try:
            self.serial += 1
            if frames is not None:
                notes["gate"] = f"gate-{self.serial}.fifo"
                path = self.folder / notes["gate"]
                path.unlink(missing_ok=True)
                os.mkfifo(path, 0o600)
                # Reading too: FFmpeg must neither wait for a reader nor break for want of one.
                gate = os.open(path, os.O_RDWR)
            port = sock.getsockname()[1]
            witness = None if gate is None or frames is None else (gate, frames)
            command = commands.player(
                self.tools.ffmpeg, port, turn, location, house_format, start
            )
            if witness is not None:
                command = commands.witnessed(command, turn, *witness)
            if begin is not None:
                command = commands.waiting(command, begin)
        except BaseException:
            sock.close()
            raise
        else:
            return process.spawn(
                self.tools,
                self.folder,
                name,
                command,
                sock=sock,
                stdin=stdin,
                stdout=self.feed.fd,
                notes=notes,
                handed=() if gate is None else (gate,),
            )
        finally:
            if gate is not None:
                os.close(gate)

    def forget(self, record: process.Record) -> None:
        """Remove what a player that is gone has left: its record and its gate."""
        process.forget(self.folder, record.name)
        if record.role == process.QUEUED:
            (self.folder / f"{record.name}.log").unlink(missing_ok=True)
        if gate := record.notes.get("gate"):
            with suppress(OSError):
                (self.folder / gate).unlink()

    def promote(self, waited: process.Process) -> None:
        """A player that waited plays now: it is the channel's player from here on."""
        process.rename(self.folder, waited, process.PLAYER)


def waits(pid: int) -> bool:
    """Whether a queued player still waits; False: it plays, or is gone."""
    words = _arguments(pid)
    if words == [b""]:
        # Its program is just being loaded: it waits. One whose status nobody has yet is gone,
        # and has no arguments either.
        return process.born(pid) is not None
    return commands.WAITING_SHELL.encode() in words[:4]


def _arguments(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def uptime() -> float:
    """Seconds, as a waiting player reads them (proc(5))."""
    return float(Path("/proc/uptime").read_text().split()[0])
