"""Ordinary material that must raise no alarm: dark scenes, stills, quiet passages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streams.tests.bench.clips import run

SIZE: Final = "320x180"
#: Frames per second: keyframes, which are looked at, come every two seconds anyway.
RATE: Final = 5
MOVES: Final = f"testsrc2=s={SIZE}:r={RATE}"
#: A night: nearly black, but for a window far away that flickers a little.
NIGHT: Final = (
    f"color=0x0a0a0a:s={SIZE}:r={RATE},noise=c0s=6:c0f=t,"
    "drawbox=x=240:y=40:w=14:h=18:color=0xb0a060:t=fill"
)
#: Credits: white lines that scroll over black.
CREDITS: Final = (
    f"color=black:s={SIZE}:r={RATE}[ground];color=white:s=140x5:r={RATE}[line];"
    "[ground][line]overlay=x=90:y='190-mod(t*12,200)'"
)
#: A photograph, and a slow move over it.
PHOTO: Final = f"mandelbrot=s={SIZE}:r={RATE}:maxiter=200,loop=loop=-1:size=1"
PAN: Final = f"{PHOTO},rotate='t/120'"
#: A photograph with the grain of a film.
GRAIN: Final = f"{PHOTO},noise=c0s=12:c0f=t"
#: Somebody who talks before a wall: only a mouth moves.
TALK: Final = (
    f"color=0x506070:s={SIZE}:r={RATE},drawbox=x=110:y=40:w=100:h=130:color=0xc09070:t=fill"
    f"[head];color=0x602020:s=40x12:r={RATE}[mouth];"
    "[head][mouth]overlay=x=140:y='110+4*sin(t*7.3)'"
)
SPEECH: Final = "anoisesrc=c=pink:a=0.3:r=48000,tremolo=f=3:d=0.9"
QUIET: Final = "anoisesrc=c=pink:a=0.02:r=48000"
MUSIC: Final = "aevalsrc='0.35*sin(440*2*PI*t)+0.3*sin(660*2*PI*t)':s=48000"
LOUD: Final = "aevalsrc='0.6*sin(220*2*PI*t)*lt(mod(t,0.6),0.45)':s=48000"


def fades(seconds: int) -> str:
    """A cut with a black pause of six seconds in the middle."""
    half = seconds / 2
    return f"{MOVES},drawbox=enable='between(t,{half - 3},{half + 3})':color=black:t=fill"


def pauses(seconds: int) -> str:
    """Speech with pauses: complete silence for ten seconds, and for three."""
    return (
        f"{SPEECH},volume=enable='between(t,10,20)+between(t,{seconds - 8},{seconds - 5})':"
        "volume=0"
    )


@dataclass(frozen=True, slots=True)
class Scene:
    name: str
    video: str
    audio: str
    seconds: int


SCENES: Final = (
    Scene("a film", MOVES, SPEECH, 60),
    Scene("a fade to black", fades(60), SPEECH, 60),
    Scene("a night scene", NIGHT, QUIET, 120),
    Scene("speech with pauses", TALK, pauses(90), 90),
    Scene("a title that stands", PHOTO, MUSIC, 60),
    Scene("credits", CREDITS, MUSIC, 120),
    Scene("a photograph", PHOTO, MUSIC, 90),
    Scene("a slow move over a picture", PAN, QUIET, 120),
    Scene("grain over a picture", GRAIN, MUSIC, 120),
    Scene("a quiet passage", TALK, QUIET, 150),
    Scene("loud music", MOVES, LOUD, 60),
    Scene("somebody who talks", TALK, SPEECH, 150),
)


def made(folder: Path, rounds: int = 1) -> float:
    """Write the scenes as segments of two seconds with their list all.m3u8.

    Returns the seconds of one round; each round is the same.
    """
    command: list[str] = []
    for scene in SCENES:
        command += ["-f", "lavfi", "-t", str(scene.seconds), "-i", scene.video]
        command += ["-f", "lavfi", "-t", str(scene.seconds), "-i", scene.audio]
    inputs = "".join(f"[{2 * n}:v][{2 * n + 1}:a]" for n in range(len(SCENES)))
    shape = "format=yuv420p,setsar=1"
    graph = f"{inputs}concat=n={len(SCENES)}:v=1:a=1[v][a];[v]{shape}[out]"
    run(
        *command,
        *("-filter_complex", graph, "-map", "[out]", "-map", "[a]", "-ac", "2"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-g", str(2 * RATE)),
        *("-sc_threshold", "0", "-b:v", "400k", "-maxrate", "400k", "-bufsize", "800k"),
        *("-c:a", "aac", "-b:a", "96k", "-f", "hls", "-hls_time", "2"),
        *("-hls_list_size", "0", "-hls_segment_filename", str(folder / "a-%04d.ts")),
        str(folder / "all.m3u8"),
    )
    return float(sum(scene.seconds for scene in SCENES) * rounds)


def windows(
    material: Path, folder: Path, began: float, *, rounds: int = 1, step: int = 10
) -> Iterator[float]:
    """Show the material as a hub would: ten segments, and every `step` seconds new ones.

    Yields the moment at which that is the present.
    """
    text = (material / "all.m3u8").read_text()
    entries = re.findall(r"#EXTINF:([\d.]+),\n([^\n]+)\n", text)
    for path in material.glob("*.ts"):
        os.link(path, folder / path.name)
    shown: list[tuple[float, str]] = []
    at, due = 0.0, float(step)
    for _ in range(rounds):
        for seconds, name in entries:
            shown.append((float(seconds), name))
            at += float(seconds)
            if at < due:
                continue
            due += step
            lines = "".join(f"#EXTINF:{length},\n{one}\n" for length, one in shown[-10:])
            (folder / "live.m3u8").write_text(f"#EXTM3U\n{lines}")
            yield began + at
