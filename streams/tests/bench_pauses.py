"""Measures what reaches the destination when a publisher on air pauses.

python -m streams.tests.bench_pauses [rtmp|rtsp ...] [--pauses 1,2,4,...] [--folder F]

For each way of publishing, one channel is on air with one destination, and takeovers follow one
another: the publisher goes live, pauses for so many seconds (SIGSTOP) and continues; the last
takeovers are five pauses in a row, and a publisher that is killed. All parts are real: FFmpeg,
the engine, nginx-rtmp as destination and as RTMP ingest server, and GStreamer's RTSP server in
place of MediaMTX (like MediaMTX it disconnects readers after 10 s without data). Prints what
was on air and the longest step between two frames; exits with status 1 if a second session
started, a step is longer than a frame, or the wrong thing was on air.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from streams.tests.bench.feeds import Ingest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "streamsite.settings")

PAUSES: Final = (1, 2, 4, 5, 7, 10, 14, 30)
#: Seconds of silence after which the ingest servers disconnect a publisher.
CUT_OFF: Final = 10
LOST: Final = 3
KEY: Final = "k-pauses"
OWNER: Final = 9
AAC: Final = 1024 / 48_000
#: FLV counts in whole milliseconds.
ROUNDING: Final = 0.001


def report(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("ways", nargs="*", default=["rtmp", "rtsp"])
    parser.add_argument("--pauses", default=",".join(map(str, PAUSES)))
    parser.add_argument("--row", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    pauses = [float(one) for one in options.pauses.split(",") if one]
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        for way in options.ways:
            failed += Run(folder / way, way, pauses, options.row).faults()
    return 1 if failed else 0


class Run:
    def __init__(self, folder: Path, way: str, pauses: list[float], row: int) -> None:
        from conftest import RTMP_MODULE
        from streams.playout.contract.plan import OutputPlan
        from streams.programme.item import Kind
        from streams.tests.bench import clips
        from streams.tests.bench.clips import TEST_FORMAT
        from streams.tests.bench.engine import Engine, assignment, item
        from streams.tests.bench.feeds import LiveLedger, NginxFeeds, RtspFeeds
        from streams.tests.bench.rtmp import RtmpServer
        from streamsite.security.secret import Secret

        folder.mkdir(parents=True)
        shelf = {n: clips.prepared(folder, n, s) for n, s in {1: 25, 2: 2, 3: 2}.items()}
        sound = ("-c:a", "aac", "-ar", "44100")
        video = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-sc_threshold", "0")
        self.show = clips.raw(
            folder / "show.ts",
            TEST_FORMAT,
            OWNER,
            60,
            *video,
            "-b:v",
            "800k",
            *sound,
            "-f",
            "mpegts",
        )
        self.server = RtmpServer(folder / "rtmp", RTMP_MODULE)
        self.server.start()
        plan = assignment(
            shelf[1],
            slate=shelf[2],
            outputs=(OutputPlan(7, "Main", self.server.address, Secret(KEY), "1"),),
        )
        trouble = replace(item(shelf[3], 0), title="Trouble", kind=Kind.SLATE, entry=None)
        self.book = LiveLedger({1: replace(plan, plan=replace(plan.plan, trouble=trouble))})
        self.book.hold = 15
        self.engine = Engine(folder / "run", self.book)
        self.engine.run_dir.mkdir()
        self.ingest: Ingest = (
            NginxFeeds(folder / "ingest", RTMP_MODULE, self.book)
            if way == "rtmp"
            else RtspFeeds(self.book)
        )
        self.way, self.pauses, self.row = way, pauses, row
        self.wrong: list[str] = []

    # ---- on air

    def aired(self) -> list[str]:
        from streams.playout.contract.ledger import Aired

        return [one.turn.item.title for one in list(self.book.notes) if isinstance(one, Aired)]

    def until_on(self, *titles: str, within: float = 40) -> float:
        from streams.tests.bench.waiting import until

        began = time.monotonic()
        until(
            lambda: self.engine.alive() and (self.aired() or [""])[-1] in titles,
            within,
            f"{' or '.join(titles)} is on air (it was {self.aired()[-8:]})",
        )
        return time.monotonic() - began

    def faults(self) -> int:
        from streams.tests.bench.audit import audit
        from streams.tests.bench.clips import TEST_FORMAT

        report(f"== {self.way}")
        try:
            self.engine.start()
            self.engine.until_state("on_air", 40)
            for pause in self.pauses:
                self.takeover(f"pause of {pause:g} s", [pause])
            if self.row:
                self.takeover(f"{self.row} pauses of 4 s", [4.0] * self.row)
            self.killed()
            time.sleep(8)
        finally:
            self.engine.end()
            self.ingest.stop()
            self.server.stop()
        sessions = self.server.sessions(KEY)
        result = audit(self.server.recordings(KEY)[-1], TEST_FORMAT)
        report(f"sessions: {sessions}; decoders: {len(result.errors)} complaints")
        for name, track, most in (
            ("video", result.video, 2 * float(TEST_FORMAT.frame) + ROUNDING),
            ("audio", result.audio, AAC + float(TEST_FORMAT.frame) + ROUNDING),
        ):
            steps = [(round(one.at, 2), round(one.seconds, 3)) for one in track.anomalies]
            report(f"{name}: longest step {track.longest * 1000:.0f} ms; odd ones: {steps}")
            if track.longest >= most:
                self.wrong.append(f"{name}: a step of {track.longest:.3f} s")
        if sessions != 1 or result.errors:
            self.wrong.append(f"{sessions} sessions, {result.errors[:3]}")
        report(f"wrong: {self.wrong or 'nothing'}")
        return len(self.wrong)

    def takeover(self, name: str, pauses: list[float]) -> None:
        begun = len(self.aired())
        owner = self.ingest.publish(self.show)
        went = self.until_on("Live: Ada")
        for pause in pauses:
            time.sleep(5)
            mark = len(self.aired())
            owner.freeze()
            time.sleep(pause)
            owner.resume()
            if pause > LOST + 1.5 and "Trouble" not in self.aired()[mark:]:
                self.wrong.append(f"{name}: no slate")
            if pause == CUT_OFF:
                # The server may have ended it just then, or not.
                self.until_on("Clip 1", "Live: Ada")
            elif pause > CUT_OFF:
                self.until_on("Clip 1")
            elif pause > LOST:
                self.until_on("Live: Ada")
        time.sleep(5)
        owner.end()
        back = self.until_on("Clip 1")
        seen = self.aired()[begun:]
        report(f"{name}: on after {went:.1f} s, back after {back:.1f} s: {seen}")
        time.sleep(6)

    def killed(self) -> None:
        begun = len(self.aired())
        owner = self.ingest.publish(self.show)
        self.until_on("Live: Ada")
        time.sleep(4)
        owner.kill()
        back = self.until_on("Clip 1")
        seen = self.aired()[begun:]
        report(f"killed: back after {back:.1f} s: {seen}")
        if seen.count("Live: Ada") != 1:
            self.wrong.append("killed: it came again")


if __name__ == "__main__":
    sys.exit(main())
