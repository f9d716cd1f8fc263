"""Files that tests share, and that the workers of one run make only once."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Once:
    """`once(name, make)` returns the folder that `make` has filled, now or before."""

    root: Path

    def __call__(self, name: str, make: Callable[[Path], object]) -> Path:
        made, draft = self.root / name, self.root / f"{name}.draft"
        with (self.root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                shutil.rmtree(draft, ignore_errors=True)
                draft.mkdir()
                make(draft)
                draft.rename(made)
        return made
