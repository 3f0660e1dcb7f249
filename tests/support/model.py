"""What a job's life should be: ARCHITECTURE 2 and 3 as plain objects and a few rules, without a server.

It is written from the design, not from the scripts, and knows nothing of keys: ``picture`` beside it says what a
server must hold when the jobs are as they are here. Every verb answers as the typed stores do, in words.

    - What is due, ready, held or kept is told by the job alone; an index is only another way to ask.
    - A claim is fenced by its token. What it recorded may be sent again; anything else is refused.
    - An idempotency key belongs to the first job that bore it, and nobody else may move its end.
"""

from __future__ import annotations

from collections.abc import Iterator

from dispatch_celery.config import Settings
from tests.support.model_job import COUNTERS, ENDED, GRACE, OUTCOMES, WAITING, Key, ModelJob


class Model:
    """One namespace, as it should be."""

    def __init__(self, settings: Settings, now: int) -> None:
        self.settings = settings
        self.now = now
        self.jobs: dict[str, ModelJob] = {}
        self.keys: dict[tuple[str, str, str], Key] = {}
        self.leases: dict[str, int] = {}
        self.condemned: dict[str, int] = {}
        self.known: dict[str, int] = {}
        self.messages: dict[str, tuple[int, int]] = {}

    # -- callers

    def enqueue(
        self, job: ModelJob, *, digest: str = "", delay: int | None = None, expires: int | None = None
    ) -> list[str]:
        """Write a job, unless it or its key is known."""
        if job.id in self.jobs:
            return ["REPEATED", self.jobs[job.id].state]
        place = (job.scope, job.name, job.key)
        if job.key and place in self.keys:
            first = self.keys[place]
            return ["EXISTING" if first.digest == digest else "CONFLICT", first.job]
        if job.key:
            self.keys[place] = Key(job.id, digest)
        self.jobs[job.id] = job
        job.created_at = self.now
        job.expires_at = None if expires is None else self.now + expires
        if delay:
            job.state, job.due_at = "scheduled", self.now + delay
        else:
            job.ready(self.now)
        return ["CREATED", job.state, str(self.now)]

    def cancel(self, job_id: str, expected: str) -> str:
        """Cancel what nobody holds."""
        job = self.jobs.get(job_id)
        if job is None:
            return "MISSING"
        if job.state != expected or job.state not in WAITING | {"pending"}:
            return f"STATE {job.state}"
        self._end(job, "cancelled")
        return f"DONE {self.now}"

    def flag(self, job_id: str, holder: str) -> str:
        """Ask a holder to cancel."""
        job = self.jobs.get(job_id)
        if job is None or job.state != "running" or job.holder != holder:
            return "STATE"
        job.asked = True
        return "ASKED"

    def reopen(self, job_id: str) -> str:
        """Make a failed job ready again, counted anew."""
        job = self.jobs.get(job_id)
        if job is None or job.state != "failed":
            return f"STATE {job.state if job else 'missing'}"
        if job.replayed_as:
            return f"REPLAYED {job.replayed_as}"
        job.counts = dict.fromkeys(COUNTERS, 0)
        job.ended_at = job.kept_until = job.expires_at = None
        job.unknown = False
        self._hold_key(job, None)
        job.ready(self.now)
        return f"READY {job.wake}"

    def replay(self, dead: str, new: ModelJob) -> str:
        """Make a new job out of a failed one, once."""
        job = self.jobs.get(dead)
        if job is not None and job.replayed_as:
            return f"EXISTING {job.replayed_as}"
        if job is None or job.state != "failed":
            return f"STATE {job.state if job else 'missing'}"
        job.replayed_as = new.id
        new.created_at = self.now
        self.jobs[new.id] = new
        new.ready(self.now)
        return f"CREATED {self.now}"

    def delete(self, job_id: str, expected: str, *, force: bool) -> str:
        """Delete an ended job whose time has passed, or that nobody wants."""
        job = self.jobs.get(job_id)
        if job is None:
            return "STATE missing"
        kept = job.kept_until is None or job.kept_until > self.now
        if job.state != expected or job.state not in ENDED or (kept and not force):
            return f"STATE {job.state}"
        self._hold_key(job, max(self.now, job.created_at + self.settings.retain_key))
        del self.jobs[job_id]
        return "DONE"

    # -- workers

    def claim(self, job_id: str, holder: str, nonce: str, pid: int) -> tuple[str, ...]:
        """Give a ready job to a worker with a lease; the same claim gets the same answer."""
        job = self.jobs.get(job_id)
        if job is None:
            return ("MISSING",)
        if job.state == "running" and job.token.endswith(f".{nonce}"):
            return ("CLAIMED", job.token)
        if job.state != "pending":
            return ("LEFTOVER", job.state)
        if self.leases.get(holder, 0) <= self.now:
            return ("NOT_REGISTERED",)
        if job.expires_at is not None and job.expires_at <= self.now:
            return ("EXPIRED",)
        job.claims += 1
        job.state, job.token, job.holder, job.pid = "running", f"{job.claims}.{nonce}", holder, pid
        job.ready_at = job.mark = None
        return ("CLAIMED", job.token)

    def end(self, verb: str, job_id: str, token: str, *, counter: str = "", delay: int = 0) -> str:
        """Record the outcome of a claim, if it still holds the job."""
        target = OUTCOMES[verb]
        job = self.jobs.get(job_id)
        if job is None or job.token != token:
            if job is None or job.closed != f"{token} {target}":
                return f"FENCED {job.state if job else 'missing'}"
            return f"REPEATED {job.wake if target == 'pending' else job.state}"
        if job.asked and verb in ("retry", "release", "fail"):
            return "CANCELLING"
        if counter and verb in ("retry", "release", "fail"):
            job.counts[counter] += 1
        job.closed = f"{token} {target}"
        job.token = job.holder = ""
        job.asked = False
        if target == "pending":
            job.ready(self.now)
            return f"DONE {job.wake}"
        if target in ENDED:
            self._end(job, target)
            return f"DONE {self.now}"
        job.state, job.due_at = target, self.now + delay
        return f"DONE {job.due_at}"

    def register(self, worker: str, *names: str) -> None:
        """Give a new worker a lease; take note of the names it knows."""
        self.leases[worker] = self.now + self.settings.lease
        self.known |= dict.fromkeys(names, self.now)

    def abandon(self, job_id: str) -> str:
        """Dead-letter a ready job that no worker knows."""
        job = self.jobs.get(job_id)
        if job is None or job.state != "pending":
            return f"STATE {job.state if job else 'missing'}"
        self._end(job, "failed")
        job.unknown = True
        return f"DONE {self.now}"

    def recover(self, job: ModelJob, counter: str) -> str | None:
        """Move a job that nobody executes; return the number of its wake-up if it is ready at once."""
        limits = {"crashes": self.settings.max_crashes, "lost_workers": self.settings.max_lost_workers}
        crashes = job.counts["crashes"]
        if job.asked:
            self.end("obey", job.id, job.token)
        elif counter and job.counts[counter] + 1 >= limits[counter]:
            self.end("fail", job.id, job.token, counter=counter)
        elif counter == "crashes" and crashes:
            self.end("retry", job.id, job.token, counter=counter, delay=min(1_000 * 2 ** (crashes - 1), 60_000))
        else:
            self.end("release", job.id, job.token, counter=counter)
            return self.publish(job)
        return None

    def held(self, holder: str) -> list[ModelJob]:
        """Return the jobs a worker holds."""
        return [job for job in self.jobs.values() if job.state == "running" and job.holder == holder]

    def depart(self, worker: str) -> bool:
        """End a worker; what it still holds is left to recovery. Return whether it is gone."""
        self.leases.pop(worker, None)
        self.condemned.pop(worker, None)
        holds = bool(self.held(worker))
        if holds:
            self.condemned[worker] = self.now
        return not holds

    def suspect(self, worker: str, cut: int) -> None:
        """Leave a worker ``cut`` ms of its lease at most."""
        if worker in self.leases:
            self.leases[worker] = min(self.leases[worker], self.now + cut)

    def recover_dead(self, main_pid: int) -> set[tuple[str, str]]:
        """Condemn whose lease has run out, recover what they held, forget them; return what was published."""
        for worker in [worker for worker, until in self.leases.items() if until <= self.now]:
            self.condemned[worker] = self.now
            del self.leases[worker]
        woken = set()
        for worker in list(self.condemned):
            held = self.held(worker)
            for job in held:
                own = len(held) == 1 and job.pid == main_pid
                wake = self.recover(job, "crashes" if own else "lost_workers")
                woken |= {(job.id, wake)} if wake else set()
            del self.condemned[worker]
        return woken

    # -- the leader

    def promote(self, job_id: str, expected: str, *, force: bool) -> str:
        """Make a job ready that is due, or that somebody wants now."""
        job = self.jobs.get(job_id)
        if job is None or job.state not in WAITING or job.state != expected or job.due_at is None:
            return f"LEFTOVER {job.state if job else 'missing'}"
        if job.due_at > self.now and not force:
            return f"LEFTOVER {job.state}"
        job.ready(self.now)
        return f"READY {job.wake}"

    def rewake(self, job_id: str, seen: int) -> str:
        """Mark a ready job for another message, if nothing has happened to it since it was seen."""
        job = self.jobs.get(job_id)
        if job is None or job.state != "pending" or job.ready_at != seen:
            return f"LEFTOVER {job.state if job else 'missing'}"
        job.ready_at, job.mark = self.now, self.now + GRACE
        return f"READY {job.wake}"

    def publish(self, job: ModelJob) -> str:
        """Take note that a wake-up has been published; return its number."""
        job.mark = None
        return str(job.wake)

    def sweep(self) -> set[tuple[str, str]]:
        """Publish what was marked a while ago."""
        late = [job for job in self.jobs.values() if job.mark is not None and job.mark <= self.now]
        return {(job.id, self.publish(job)) for job in late}

    def timers(self) -> set[tuple[str, str]]:
        """Make ready, and publish, what is due."""
        due = [job for job in self.jobs.values() if job.due_at is not None and job.due_at <= self.now]
        for job in due:
            job.ready(self.now)
        return {(job.id, self.publish(job)) for job in due}

    def revive(self) -> set[tuple[str, str]]:
        """Reopen, and publish, what only lacked a worker and has one now."""
        lost = [job for job in self.jobs.values() if job.unknown and job.ended_at is not None]
        back = [job for job in lost if self.known.get(job.name, 0) > (job.ended_at or 0)]
        return {(job.id, self.publish(job)) for job in back if self.reopen(job.id).startswith("READY")}

    def retention(self) -> set[tuple[str, str]]:
        """Delete what was kept long enough; that publishes nothing."""
        for job in [job for job in self.jobs.values() if job.kept_until is not None and job.kept_until <= self.now]:
            self.delete(job.id, job.state, force=False)
        self.messages = {name: times for name, times in self.messages.items() if times[1] > self.now}
        return set()

    def stale_keys(self) -> Iterator[tuple[str, str, str]]:
        """Forget the idempotency keys whose time is over, and tell them."""
        for place in [place for place, key in self.keys.items() if key.until is not None and key.until <= self.now]:
            del self.keys[place]
            yield place

    # -- what follows for a job

    def _end(self, job: ModelJob, state: str) -> None:
        settings = self.settings
        kept = {
            "completed": settings.retain_completed,
            "failed": settings.retain_failed,
            "cancelled": settings.retain_cancelled,
        }
        job.end(state, self.now, kept[state])
        self._hold_key(job, max(self.now + kept[state], job.created_at + settings.retain_key))

    def _hold_key(self, job: ModelJob, until: int | None) -> None:
        key = self.keys.get((job.scope, job.name, job.key))
        if key is not None and key.job == job.id:
            key.until = until
