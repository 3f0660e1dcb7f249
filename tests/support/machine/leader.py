"""What the leader does, what happens to processes, and time."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from dispatch_celery.jobs.model import JobState
from tests.support.machine.ground import MAIN_PID, NUMBERS, PIDS, START, STATES, Ground, said, same


class LeaderRules(Ground):
    """The rules of the leader and of the clock."""

    @rule(n=NUMBERS, seen=STATES, honest=st.booleans(), force=st.booleans())
    def promote(self, n: int, seen: JobState, *, honest: bool, force: bool) -> None:
        """Promote one job, perhaps before it is due, perhaps as it was once."""
        ref = self._in(n, "scheduled", "retrying")
        state = self._state(ref)
        given = JobState(state) if honest and state != "gone" else seen
        (answer,) = self.world.jobs.promote([(ref, given)], force=force)
        same(said(answer), self.model.promote(ref.id, given, force=force))

    @rule(n=NUMBERS, late=st.booleans())
    def rewake(self, n: int, *, late: bool) -> None:
        """Mark a ready job for another message, as it was seen just now or before."""
        ref = self._in(n, "pending")
        job = self.model.jobs.get(ref.id)
        seen = ((job.ready_at if job else None) or START) - late
        same(said(self.world.jobs.rewake(ref, str(seen))), self.model.rewake(ref.id, seen))

    @rule(duty=st.sampled_from(["timers", "marks", "revival", "retention"]))
    def keep_house(self, duty: str) -> None:
        """Do one round of what the leader does; nothing is revived after its retention."""
        if duty == "revival":
            self._keep_house("retention")
        self._keep_house(duty)

    @rule(milliseconds=st.sampled_from([0, 1_000, 8_000]))
    def recover_the_dead(self, milliseconds: int) -> None:
        """Recover what was held by those whose lease has run out meanwhile, if any has."""
        self._pass(milliseconds)
        self._keep_house("dead workers")

    def _keep_house(self, duty: str) -> None:
        self.duties[duty].run_once()
        wanted = {
            "timers": self.model.timers,
            "marks": self.model.sweep,
            "dead workers": lambda: self.model.recover_dead(MAIN_PID),
            "revival": self.model.revive,
            "retention": self.model.retention,
        }
        same(self.postbox.emptied(), wanted[duty]())

    @rule(w=NUMBERS, pid=PIDS, forgotten=st.booleans())
    def lose_a_process(self, w: int, pid: int, *, forgotten: bool) -> None:
        """Recover what one process held, or what a worker holds and does not execute."""
        worker = self._holder(w)
        held = [job.id for job in self.model.held(worker) if forgotten or job.pid == pid]
        self._lose(held, worker, pid, forgotten=forgotten)

    @rule(milliseconds=st.sampled_from([1, 1_000, 5_000, 9_000, 60_000, 121_000]))
    def time_passes(self, milliseconds: int) -> None:
        """Move both clocks, and end the keys the server would end."""
        self._pass(milliseconds)
