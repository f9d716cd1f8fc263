"""Watches a channel's air: reports flaws and lateness, and does what its rules order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from streams.playout.channel import remedies
from streams.playout.channel.incidents import Incidents
from streams.playout.channel.pace import Pacing
from streams.playout.channel.remedies import Past, Playing, Skip
from streams.playout.contract.air_flaws import Watched
from streams.playout.contract.moment import Now
from streams.playout.contract.picture import Flaw, Remedy
from streams.playout.contract.plan import ChannelPlan
from streams.playout.ffmpeg import process
from streams.playout.ffmpeg.monitored_process import MonitoredProcess
from streams.playout.outputs.pushers import Pushers, role_name
from streams.playout.player import events
from streams.playout.player.machine import Moment
from streams.playout.player.playback import Playback
from streams.programme.item import Kind

#: Seconds after which an old look says nothing about the present air.
INSPECTION_VALID_S: Final = 45.0


class AirGuard:
    """Holds what is known about the air. `judge` is called once per sample."""

    def __init__(self, incidents: Incidents, playback: Playback, pushers: Pushers) -> None:
        self.incidents = incidents
        self.playback = playback
        self.pushers = pushers
        self.watched: Watched | None = None
        #: What is wrong with picture and sound for too long, and why it is not sent in real
        #: time; empty: nothing, or it is not known yet.
        self.flawed = self.slow = ""
        self._pacing = Pacing()
        self._past = Past()
        #: Until when the slate was on (monotonic): what it shows is no flaw of the next item.
        self._slate_until = float("-inf")
        self._slate = False

    def judge(
        self,
        plan: ChannelPlan,
        moment: Moment,
        roles: Iterable[MonitoredProcess],
        *,
        acts: bool = True,
    ) -> None:
        """Judge what the roles and the looks show. Called once per sample.

        `acts`: whether this node decides about the programme.
        """
        if not moment.policy.paced:
            return
        names = {role_name(output.pk): output.name for output in plan.outputs}
        names[process.HUB] = "The preview"
        now = moment.now
        self.slow = self._pacing.sample(roles, names, now.mono)
        since = self._pacing.since
        self.incidents.pace(self.slow, now, now.wall if since is None else now.at(since))
        if plan.late_remedy is Remedy.RENEW:
            for output in plan.outputs:
                if role_name(output.pk) in self._pacing.late:
                    self._past, due = remedies.renews(self._past, output.pk, now.mono)
                    if due:
                        self.pushers.renew(output.pk, self.slow, now.mono)
        self.judge_air(plan, moment, acts=acts)

    def judge_air(self, plan: ChannelPlan, moment: Moment, *, acts: bool) -> None:
        """Judge what the looks show. Called after each look, too."""
        if not moment.policy.paced:
            return
        if self.watched is None or self.inspected_at(moment.now) is None:
            # Unknown: incidents stay as they are, and nothing is done.
            self.flawed = ""
        else:
            self._judge_air(self.watched, plan, moment, acts=acts)

    def _judge_air(
        self, watched: Watched, plan: ChannelPlan, moment: Moment, *, acts: bool
    ) -> None:
        slot = self.playback.state.timeline.on_air
        # The slate stands still without a sound, and its own incident says why it is on.
        slate = slot is not None and slot.item.kind is Kind.SLATE
        orders = plan.remedies.items()
        ignored = frozenset(flaw for flaw, order in orders if order is Remedy.IGNORE)
        title = "" if slot is None else slot.item.title
        begun = (
            None if slot is None or moment.clock is None else moment.clock.moment(slot.start)
        )
        if slate:
            self._slate_until = moment.now.mono
        elif self._slate and begun is not None:
            self._slate_until = begun
        self._slate = slate
        self.flawed = self.incidents.air(
            watched,
            frozenset(Flaw) if slate else ignored,
            title,
            moment.now,
            self._slate_until,
        )
        if slot is None or begun is None or not acts:
            return
        playing = Playing(slot.turn, begun)
        self._past, what = remedies.skip(
            self._past, watched, plan.remedies, playing, moment.now.mono
        )
        if isinstance(what, Skip):
            self.incidents.journal.log(moment.now, "channel", "warning", what.text)
            self.playback.step(events.SkipOrdered(what.cause, what.filler), moment)
        elif what:
            self.incidents.journal.log(moment.now, "channel", "warning", what)

    def inspected_at(self, now: Now) -> float | None:
        """When the air was last seen (since the epoch); None: that is too long ago."""
        last = None if self.watched is None else self.watched.last
        if last is None or now.mono - last.at > INSPECTION_VALID_S:
            return None
        return now.at(last.at)

    def late(self, output: int) -> str:
        """Why the output is late; empty: it is not, or that is not known yet."""
        return self._pacing.faults.get(role_name(output), "")

    def flaws(self, now: Now) -> dict[Flaw, float]:
        """Return the flaws that the air has now, and since when."""
        if self.watched is None or self.inspected_at(now) is None:
            return {}
        return {flaw: now.at(since) for flaw, since in self.watched.since.items()}
