"""What workers do, right and wrong: renew, claim, end, be late, ask a holder to stop."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from dispatch_celery.cluster.model import WorkerState
from tests.lua.world import ERROR
from tests.support.machine.ground import NUMBERS, PIDS, VERBS, Ground, said, same


class WorkerRules(Ground):
    """The rules of workers."""

    @rule(w=NUMBERS)
    def renew(self, w: int) -> None:
        """Let a worker renew; it hears what it holds."""
        worker, model = self._worker(w), self.model
        pulse = self.world.cluster.renew(worker, nonce="n", volunteer=False, state=WorkerState.ACTIVE, with_held=True)
        same(pulse is not None, worker in model.leases)
        if pulse is not None:
            model.leases[worker] = model.now + self.world.settings.lease
            same(pulse.running, len([job for job in model.jobs.values() if job.state == "running"]))
            same(pulse.held, {job.id: job.holding for job in model.held(worker)})

    @rule(w=NUMBERS, departs=st.booleans())
    def lose_the_lease(self, w: int, *, departs: bool) -> None:
        """Let a worker end itself, or be suspected to have ended."""
        worker, model = self._holder(w), self.model
        if departs:
            same(self.world.cluster.depart(worker), model.depart(worker))
        else:
            self.world.cluster.suspect(worker, 1_000)
            model.suspect(worker, 1_000)

    @rule(n=NUMBERS, w=NUMBERS, pid=PIDS, honest=st.booleans())
    def claim(self, n: int, w: int, pid: int, *, honest: bool) -> None:
        """Claim a ready job with a lease, or any job with or without."""
        ref, worker = (self._ready(n), self._living(w)) if honest else (self._in(n), self._worker(w))
        self._claim(ref, worker, pid)

    @precondition(lambda self: self.claims)
    @rule(n=NUMBERS)
    def claim_again(self, n: int) -> None:
        """Send a claim a second time, at once or much later."""
        held = self.claims[-1 - n % len(self.claims)]
        if self._state(held.ref) != "pending":
            self._claim(held.ref, held.holder, held.pid, held.nonce)

    @rule(n=NUMBERS, w=NUMBERS, verb=VERBS, twice=st.booleans())
    def end(self, n: int, w: int, verb: str, *, twice: bool) -> None:
        """End a claim that holds its job; perhaps send it twice."""
        self._end(verb, self._running(n, w), times=1 + twice)

    @precondition(lambda self: self.claims)
    @rule(n=NUMBERS, verb=VERBS)
    def end_a_stale_one(self, n: int, verb: str) -> None:
        """End any claim there ever was."""
        self._end(verb, self.claims[n % len(self.claims)], times=1)

    @rule(n=NUMBERS, w=NUMBERS, verb=VERBS)
    def take_over(self, n: int, w: int, verb: str) -> None:
        """Give a running job to somebody else; then its first holder comes back and ends it."""
        zombie = self._running(n, w)
        if self._state(zombie.ref) == "running":
            self._lose([zombie.ref.id], zombie.holder, zombie.pid, forgotten=True)
            self._claim(zombie.ref, self._living(w), 7)
        self._end(verb, zombie, times=1)

    @rule(n=NUMBERS, w=NUMBERS, honest=st.booleans(), verb=st.none() | VERBS)
    def flag(self, n: int, w: int, verb: str | None, *, honest: bool) -> None:
        """Ask the holder to cancel, or somebody who is not; perhaps the holder ends at that moment."""
        held = self._running(n, w)
        holder = held.holder if honest else self._worker(w)
        verdict = self.world.jobs.flag(held.ref, holder, "enough").verdict
        same(verdict, self.model.flag(held.ref.id, holder))
        if verb:
            self._end(verb, held, times=1)

    @rule(n=NUMBERS, comes=st.booleans())
    def nobody_knows(self, n: int, *, comes: bool) -> None:
        """Dead-letter a ready job whose name no worker knows; perhaps one that does comes later."""
        ref = self._in(n, "pending")
        same(said(self.world.jobs.abandon(ref, error=ERROR, reason="unknown")), self.model.abandon(ref.id))
        if comes:
            self._pass(1)
            self._register()
