"""Runs a workflow or job once for every place at which its process can die, each time in a world of its own.

First it runs undisturbed, and the writes of its process are counted. Then, for each of them, its process dies once
before and once after it; the kit takes its work back as a worker does, and executes until all has come to rest. The
id is the same in every world, and so are idempotency keys, ``wf.uuid()``, ``wf.random()`` and ``wf.now()``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, Protocol

from dispatch_celery.ids import JobId, RunId
from dispatch_celery.jobs.definition import Call
from dispatch_celery.parts import Parts
from dispatch_celery.testing.process import CrashPoint, Tally
from dispatch_celery.testing.report import Crash, CrashReport
from dispatch_celery.testing.world import World
from dispatch_celery.workflows.definition import RunCall

__all__ = ["Bindable", "Explorer"]

P = ParamSpec("P")


class Bindable(Protocol[P]):
    """A workflow or a job, also with options."""

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> RunCall[Any] | Call[Any]:
        """Return a checked call."""
        ...


@dataclass(frozen=True)
class Explorer:
    """Explores the crashes of one call. ``make_world`` makes a world that counts what happens in a tally."""

    call: RunCall[Any] | Call[Any]
    make_world: Callable[[Tally], World]

    def explore(self) -> CrashReport:
        """Crash everywhere."""
        work_id = RunId.mint() if isinstance(self.call, RunCall) else JobId.mint()
        undisturbed, trail = self._visit(work_id, None, "-")
        crashes = [
            self._visit(work_id, CrashPoint(number, when), call)[0]
            for number, call in enumerate(trail, 1)
            for when in ("before", "after")
        ]
        return CrashReport(self.call.definition.name, undisturbed, crashes)

    def _visit(self, work_id: RunId | JobId, point: CrashPoint | None, call: str) -> tuple[Crash, list[str]]:
        tally = Tally()
        with self.make_world(tally) as world:
            self._begin(world.parts, work_id)
            world.process.crash_at = point
            world.run_until(work_id)
            world.drain()
            state, result, failure = _end(world.parts, work_id)
            crash = Crash(
                number=point.number if point else 0,
                call=call,
                when=point.when if point else "",
                reached=world.process.crashed or point is None,
                state=state,
                result=result,
                failure=failure,
                executions=dict(tally.executions),
                effects=dict(tally.effects),
            )
            return crash, list(world.process.trail)

    def _begin(self, parts: Parts, work_id: RunId | JobId) -> None:
        if isinstance(work_id, RunId):
            assert isinstance(self.call, RunCall)  # noqa: S101 - its id was minted for it
            parts.runs.write(parts.runs.new_run(self.call, run_id=work_id))
        else:
            assert isinstance(self.call, Call)  # noqa: S101 - as above
            parts.writer.write([parts.writer.new_job(self.call, job_id=work_id)])


def _end(parts: Parts, work_id: RunId | JobId) -> tuple[str, Any, str]:
    record = parts.runs.get(work_id) if isinstance(work_id, RunId) else parts.jobs.get(work_id)
    failure = f"{record.failure.type}: {record.failure.message}" if record.failure else record.reason
    return str(record.state), record.result, failure
