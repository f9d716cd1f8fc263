"""Jobs that fail: their name, time and cause."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Count, Max
from django_q.models import Task

#: A job that failed within this window and has not succeeded since is reported. Most jobs run
#: once a minute, some once an hour; the hour's successes are kept (`save_limit`).
WINDOW: Final = timedelta(minutes=65)
#: Characters of a cause that are shown; the page of failed jobs has the full text.
SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Failing:
    """A kind of job whose last run failed. `cause` is the error itself."""

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
    """Returns the kinds of jobs whose last run within the window failed, newest first."""
    recent = Task.objects.filter(stopped__gt=now - WINDOW)
    failed = recent.filter(success=False).values("func")
    well = dict(recent.filter(success=True).values_list("func").annotate(Max("stopped")))
    kinds = []
    for row in failed.annotate(times=Count("pk"), last=Max("stopped")).order_by("-last"):
        if row["func"] in well and well[row["func"]] >= row["last"]:
            continue
        result = (
            recent.filter(success=False, func=row["func"], stopped=row["last"])
            .values_list("result", flat=True)
            .first()
        )
        kinds.append(Failing(row["func"], row["times"], row["last"], _cause(result)))
    return kinds


def _cause(result: object) -> str:
    """Returns the last line of the error: django-q stores `message : traceback`."""
    lines = str(result or "").strip().splitlines()
    last_line = lines[-1].strip() if lines else ""
    return last_line[:SHOWN] or "it gave no reason."
