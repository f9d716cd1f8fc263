"""Opens and closes the incidents of a channel from the reports of its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, assert_never

from streams.playout.channel.pace import PACE
from streams.playout.contract.air_flaws import PATIENCE_S, SENTENCES, Watched
from streams.playout.contract.moment import Now
from streams.playout.contract.output_status import Status
from streams.playout.contract.picture import PICTURE, SOUND, Flaw
from streams.playout.contract.plan import OutputPlan
from streams.playout.contract.states import OutputAir
from streams.playout.journal.journal import Journal
from streams.playout.outputs import state_machine

#: The incidents of the air, and the flaws of each.
AIR: Final = {"picture": PICTURE, "sound": SOUND}
#: Seconds by which the begin of one flaw may differ: more pictures date it anew.
SAME_FLAW_S: Final = 1.0


class Incidents:
    """Reports each fault once, however long it lasts."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        #: Why the programme can't be played; empty if it can.
        self.trouble = ""
        #: Causes logged since it last could: during an outage the same ones recur for hours.
        self._logged: set[str] = set()
        #: By subject of the air: when the last reported flaw began (monotonic: the two clocks
        #: drift, and a flaw must not seem to be another one).
        self._last_flaw: dict[str, float] = {}
        #: Each output's state, as last logged.
        self._states: dict[int, OutputAir] = {}

    def programme(self, cause: str, now: Now) -> None:
        """Open or close the programme's incident. `cause`: empty when it plays again."""
        self.trouble = cause
        if not cause:
            self._logged.clear()
            self.journal.close_incident("programme", now.wall)
            return
        if cause not in self._logged:
            self._logged.add(cause)
            self.journal.log(now, "player", "warning", cause)
        self.journal.open_incident("programme", cause, now.wall, severity="degraded")

    def storage(self, fault: str | None, now: Now) -> None:
        """Open or close the storage's incident.

        `fault`: None while unknown: an incident of an earlier supervisor stays open.
        """
        if fault:
            self.journal.open_incident("storage", fault, now.wall, severity="degraded")
        elif fault is not None:
            self.journal.close_incident("storage", now.wall)

    def pace(self, slow: str, now: Now, since: float) -> None:
        """Open or close the pace incident.

        `slow`: why it is slow; empty if it is not. `since`: when that began (since the epoch).
        """
        if not slow:
            self.journal.close_incident(PACE, now.wall)
            return
        if PACE not in self.journal.open:
            self.journal.log(now, "channel", "warning", slow)
        self.journal.open_incident(PACE, slow, since, severity="degraded")

    def air(
        self,
        watched: Watched,
        ignored: frozenset[Flaw],
        title: str,
        now: Now,
        counted_from: float = float("-inf"),
    ) -> str:
        """Open or close the incidents of picture and sound. Return their causes.

        `ignored`: flaws that are none on this channel now. `title`: of what is on air.
        `counted_from`: what was on air before counts as no flaw (monotonic).
        """
        causes = []
        for subject, flaws in AIR.items():
            counted = flaws - ignored
            lasting = [flaw for flaw in counted if watched.lasts(flaw, counted_from)]
            if lasting:
                since = max(watched.since[lasting[0]], counted_from)
                self._flaw(subject, lasting[0], title, since, now)
                causes.append(self.journal.open[subject] or SENTENCES[lasting[0]])
            elif not watched.since.keys() & counted:
                over = {
                    flaw: (max(watched.over[flaw][0], counted_from), watched.over[flaw][1])
                    for flaw in counted & watched.over.keys()
                }
                self._flaws_over(subject, over, title, now)
        return " ".join(causes)

    def _flaw(self, subject: str, flaw: Flaw, title: str, since: float, now: Now) -> None:
        if subject in self.journal.open:
            return
        cause = f"{SENTENCES[flaw]} On air: {title}." if title else SENTENCES[flaw]
        self.journal.log(now, "channel", "warning", cause)
        self.journal.open_incident(subject, cause, now.at(since), severity="degraded")
        self._last_flaw[subject] = since

    def _flaws_over(
        self, subject: str, over: Mapping[Flaw, tuple[float, float]], title: str, now: Now
    ) -> None:
        """Close the incident. A flaw that came and went between two looks gets one as well."""
        reported = self._last_flaw.setdefault(subject, now.mono - PATIENCE_S[Flaw.BLACK])
        for flaw, (since, until) in over.items():
            if until - since >= PATIENCE_S[flaw] and since > reported + SAME_FLAW_S:
                self._flaw(subject, flaw, title, since, now)
        ended = [now.at(until) for _, until in over.values()]
        self.journal.close_incident(subject, max(ended, default=now.wall))

    def outputs(
        self, outputs: Sequence[OutputPlan], statuses: Mapping[int, Status], now: Now
    ) -> None:
        """Close incidents that are over: an output is on air or has left the channel."""
        current = {str(output.pk) for output in outputs}
        for subject in list(self.journal.open):
            part, _, output_pk = subject.partition("-")
            if part in {"output", "session"} and output_pk not in current:
                # Disabled or removed, perhaps while no supervisor was running.
                self.journal.close_incident(subject, now.wall)
        for output in outputs:
            state = statuses.get(output.pk, Status()).state
            subject = f"output-{output.pk}"
            if state is OutputAir.ON_AIR:
                # Also closes one that an earlier supervisor opened.
                self.journal.close_incident(subject, now.wall)
                self.journal.close_incident(f"session-{output.pk}", now.wall)
            if self._states.get(output.pk) is not state:
                self._states[output.pk] = state
                text = f"{output.name}: {state.label.lower()}, {output.address}"
                self.journal.log(now, subject, "info", text)

    def output(self, output: OutputPlan, event: state_machine.Change, now: Now) -> None:
        """Report that an output was lost, is back, or starts a new session."""
        subject, session = f"output-{output.pk}", f"session-{output.pk}"
        when = now.at(event.at)
        match event:
            case state_machine.Regained():
                self.journal.close_incident(session, when)
                self.journal.close_incident(subject, when)
            case state_machine.Rolled(at, began, why):
                hours = (at - began) / 3600
                text = f"{output.name}: a new session begins, as planned, after {hours:.1f} h."
                if why:
                    text = f"{output.name}: a new session begins, by the channel's rule. {why}"
                self.journal.log(now, subject, "info", text)
                severity = "degraded" if why else "planned"
                self.journal.open_incident(
                    session, text, when, severity=severity, output=output.pk
                )
            case state_machine.Lost(_, cause) | state_machine.Explained(_, cause):
                text = f"{output.name} is off air: {cause}"
                self.journal.log(now, subject, "warning", text)
                self.journal.close_incident(session, when)
                self.lost(output, cause, when)
            case _:
                assert_never(event)

    def lost(self, output: OutputPlan, cause: str, at: float, severity: str = "lost") -> None:
        """Open the incident of an output that is off air since `at` (since the epoch)."""
        text = f"{output.name}: {cause}"
        subject = f"output-{output.pk}"
        self.journal.open_incident(subject, text, at, severity=severity, output=output.pk)

    def unexplained(self, cause: str, since: float) -> None:
        """Open an incident if the air is lost and no part has reported a cause."""
        if set(self.journal.open) <= {"programme", "storage", "live", PACE, *AIR}:
            self.journal.open_incident("channel", cause, since)
