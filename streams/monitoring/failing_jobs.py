"""Finite jobs that fail: which, since when and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Count, Max
from django_q.models import Task

#: What failed within it and has not gone well since is told. Most jobs run once a minute, some
#: once an hour; successes of the hour are kept (`save_limit`).
WINDOW: Final = timedelta(minutes=65)
#: Characters of a cause that are shown: the page of failed jobs has all of it.
SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Failing:
    """A kind of job that failed the last time it was done. `cause` is the error itself."""

    func: str
    times: int
    last: datetime
    cause: str

    @property
    def sentence(self) -> str:
        name = self.func.rpartition(".")[2].replace("_", " ")
        often = "once" if self.times == 1 else f"{self.times} times"
        return f"The job “{name}” has failed {often} within the last hour: {self.cause}"


def failing(now: datetime) -> list[Failing]:
    """The kinds of job whose last end within the window was a failure, the newest first."""
    recent = Task.objects.filter(stopped__gt=now - WINDOW)
    failed = recent.filter(success=False).values("func")
    well = dict(recent.filter(success=True).values_list("func").annotate(Max("stopped")))
    found = []
    for row in failed.annotate(times=Count("pk"), last=Max("stopped")).order_by("-last"):
        if row["func"] in well and well[row["func"]] >= row["last"]:
            continue
        result = (
            recent.filter(success=False, func=row["func"], stopped=row["last"])
            .values_list("result", flat=True)
            .first()
        )
        found.append(Failing(row["func"], row["times"], row["last"], _cause(result)))
    return found


def _cause(result: object) -> str:
    """The error's own line: django-q keeps `message : traceback`."""
    lines = str(result or "").strip().splitlines()
    said = lines[-1].strip() if lines else ""
    return said[:SHOWN] or "it left no word."
