"""Three short clips of different size, rate and audio: a new channel's first programme."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django_q.models import Schedule

from media_library.ffmpeg import runner
from media_library.ffmpeg.runner import Bounds

#: The task in the jobs cluster that makes them, once a minute until all exist.
TASK: Final = "streams.tasks.make_samples"
#: Duration in seconds.
DURATION_S: Final = 12


@dataclass(frozen=True, slots=True)
class Sample:
    """A clip: its title, and the lavfi sources of its video and audio."""

    name: str
    title: str
    video: str
    audio: str


SAMPLES: Final = (
    Sample(
        "colours",
        "Colours and a chord",
        "testsrc2=size=1280x720:rate=30",
        # A major chord, with another top note in each channel.
        "aevalsrc=0.12*(sin(440*PI*t)+sin(554.4*PI*t))+0.1*sin(659.3*PI*t)"
        "|0.12*(sin(440*PI*t)+sin(554.4*PI*t))+0.1*sin(880*PI*t):s=48000",
    ),
    Sample(
        "bars",
        "Bars and tone",
        "smptehdbars=size=1024x576:rate=25",
        "sine=frequency=1000:sample_rate=44100",
    ),
    Sample(
        "gradients",
        "Gradients and surf",
        "gradients=size=854x480:rate=50:speed=0.02:seed=7",
        "anoisesrc=color=pink:sample_rate=48000:amplitude=0.3:seed=7,tremolo=f=0.2:d=0.8",
    ),
)


def being_made() -> bool:
    """Returns whether the jobs cluster has the task to make them."""
    scheduled: bool = Schedule.objects.filter(func=TASK).exists()
    return scheduled


def make(
    sample: Sample, folder: Path, program: str = "ffmpeg", seconds: int = DURATION_S
) -> Path:
    """Returns the clip in the folder, made if it is missing. Raises `ToolError`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{sample.name}.mp4"
    if not path.exists():
        draft = path.with_suffix(".part.mp4")
        runner.run(command(program, sample, draft, seconds), bounds=Bounds(seconds=600))
        draft.replace(path)
    return path


def command(program: str, sample: Sample, target: Path, seconds: int) -> tuple[str, ...]:
    return (
        *(program, "-hide_banner", "-nostdin", "-nostats", "-loglevel", "error", "-y"),
        *("-f", "lavfi", "-i", sample.video, "-f", "lavfi", "-i", sample.audio),
        *("-t", str(seconds), "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"),
        *("-c:a", "aac", "-b:a", "128k", "-movflags", "+faststart", f"file:{target}"),
    )
