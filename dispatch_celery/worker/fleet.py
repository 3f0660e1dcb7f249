"""How a run in this worker sends jobs and child runs to the fleet, and calls them off."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress

from dispatch_celery.errors import JobNotCancellable, JobNotFound, RunNotFound, StateConflict
from dispatch_celery.ids import JobId, RunId
from dispatch_celery.jobs.model import ENDED as JOB_ENDED
from dispatch_celery.jobs.service import JobService
from dispatch_celery.jobs.writing import JobWriter
from dispatch_celery.store.scripts import Call
from dispatch_celery.work.body import out_of_body
from dispatch_celery.work.model import Parent, WakeUp
from dispatch_celery.work.ports import Observer, Publisher
from dispatch_celery.work.store import WorkStore
from dispatch_celery.workflows.definition import RunCall
from dispatch_celery.workflows.members import FleetCall, NewMember
from dispatch_celery.workflows.model import ENDED as RUN_ENDED
from dispatch_celery.workflows.model import RunState
from dispatch_celery.workflows.service import RunService

__all__ = ["WorkerFleet"]

logger = logging.getLogger(__name__)


class WorkerFleet:
    """The fleet, as a run sees it."""

    def __init__(
        self,
        *,
        writer: JobWriter,
        jobs: JobService,
        runs: RunService,
        store: WorkStore,
        publisher: Publisher,
        observer: Observer,
    ) -> None:
        self._writer = writer
        self._jobs = jobs
        self._runs = runs
        self._store = store
        self._publisher = publisher
        self._observer = observer

    def member(self, call: FleetCall, *, seed: str, parent: Parent, now: int) -> NewMember:
        """Return what would be written for a call; its id derives from ``seed``."""
        extra = {"parent": parent.dump()}
        if isinstance(call, RunCall):
            run = self._runs.new_run(call, run_id=RunId.adopt(seed), extra=extra)
            due = run.run_at if run.delay is None else now + run.delay
            detached = call.options.detached
            return NewMember(
                ref=run.ref, spec=dict(run.spec), payload=run.payload, due=due, timeout=run.timeout, detached=detached
            )
        job = self._writer.new_job(call, job_id=JobId.adopt(seed), extra=extra)
        due = job.run_at if job.delay is None else now + job.delay
        return NewMember(ref=job.ref, spec=dict(job.spec), payload=job.payload, due=due, expires=job.expires)

    @out_of_body()
    def riders(self, members: Sequence[NewMember]) -> list[Call]:
        """Return the commands that publish the members' wake-ups along with the script that writes them, if any."""
        wakeups = _wakeups(members)
        riders = self._publisher.riders(wakeups) if wakeups else []
        if riders:
            riders.append(self._store.unmarking([(wakeup.ref.id, wakeup.wake) for wakeup in wakeups]))
        return riders

    @out_of_body()
    def published(self, members: Sequence[NewMember], *, rode: bool) -> None:
        """Publish the members' wake-ups where they could not ride; tell who listens."""
        wakeups = _wakeups(members)
        if rode:
            self._publisher.announce(wakeups)
        else:
            self._writer.publish(wakeups)
        for member in members:
            self._observer("enqueued", member.ref)

    @out_of_body()
    def call_off(self, member_id: str, reason: str, *, by: str) -> bool:
        """Cancel a member that has not ended, by the leave of who holds its run; return whether it has.

        Raises:
            Fenced: the run is not held so any more.
        """
        try:
            if member_id[:3] == JobId.prefix:
                return self._jobs.call_off(JobId(member_id), reason, by=by) in JOB_ENDED
            if self._runs.state(member_id) in RUN_ENDED:
                return True
            return self._runs.call_off(RunId(member_id), reason, by=by) in RUN_ENDED
        except (JobNotCancellable, JobNotFound, RunNotFound):
            return True
        except StateConflict as error:
            logger.debug("%s is left to itself for now: %s", member_id, error)
            return False

    @out_of_body()
    def take_back(self, member_id: str, reason: str, *, by: str) -> bool:
        """Let a child that has completed undo what it did; return whether nothing of that is left to do.

        Raises:
            Fenced: its run is not held so any more.
        """
        if member_id[:3] == JobId.prefix:
            return True
        try:
            if self._runs.state(member_id) == RunState.COMPLETED:
                with suppress(StateConflict):  # it can undo nothing, or has begun to
                    self._runs.take_back(RunId(member_id), reason, by=by)
            return self._runs.state(member_id) in RUN_ENDED
        except RunNotFound:
            return True


def _wakeups(members: Sequence[NewMember]) -> list[WakeUp]:
    return [WakeUp(ref=member.ref, wake="1", spec=member.spec) for member in members if member.due is None]
