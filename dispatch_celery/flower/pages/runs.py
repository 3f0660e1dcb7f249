"""Runs: the list with its filters, and one run with its timeline as a picture, its children, and the ways on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dispatch_celery.cli.explaining_runs import explain_run
from dispatch_celery.cli.families import Family
from dispatch_celery.cli.phrases import Explanation
from dispatch_celery.cli.stretches import begin_of
from dispatch_celery.flower.buttons import Button, of_call, of_run
from dispatch_celery.flower.desk import Desk
from dispatch_celery.flower.pages.model import Page, Query, Row
from dispatch_celery.flower.pages.work import WorkList, share_done, work_list
from dispatch_celery.flower.timeline import Drawing, TimelineRow, draw, place_of
from dispatch_celery.ids import RunId
from dispatch_celery.workflows.model import ENDED, STUCK, Run, RunPhase, RunState

__all__ = ["RUN", "RUNS", "RunView"]

_MOST_CHILDREN: Final = 100


@dataclass(frozen=True, kw_only=True)
class RunView:
    """One run."""

    run: Run
    now: datetime
    explanation: Explanation
    drawing: Drawing
    family: Family
    arguments: str
    result: str | None
    progress: float | None

    @property
    def place(self) -> str:
        """What a running run does now."""
        return place_of(self.run)

    @property
    def verbs(self) -> Sequence[str]:
        """What can be done with it as it stands, the likeliest first."""
        run = self.run
        is_undoing = run.phase == RunPhase.UNDOING
        if run.state == RunState.PARKED:
            on = ("retry-undo",) if is_undoing or run.reason == STUCK else ("resume", "compensate")
            return (*on, "rewind", "fork", "cancel")
        if run.state == RunState.COMPLETED:
            return ("compensate", "rewind", "fork")
        if run.state in ENDED:
            return ("rewind", "fork")
        if is_undoing:
            return () if run.state == RunState.RUNNING else ("cancel",)
        return ("fork",) if run.cancel_requested else ("compensate", "fork", "cancel")

    @property
    def buttons(self) -> Sequence[Button]:
        """The same, as buttons."""
        return of_run(self.run, self.verbs, must_discard=self.must_discard)

    def buttons_at(self, row: TimelineRow) -> Sequence[Button]:
        """Return what can be done at one of its calls."""
        if row.can_skip or row.can_go_back:
            return of_call(self.run, row.identity, can_rewind=self.can_rewind, can_skip=row.can_skip)
        return ()

    @property
    def must_discard(self) -> bool:
        """Whether a cancel can only leave its effects as they are: it undoes them already."""
        return self.run.phase == RunPhase.UNDOING

    @property
    def can_rewind(self) -> bool:
        """Whether it can be taken back to one of its calls."""
        return "rewind" in self.verbs

    @property
    def rows(self) -> Sequence[Row]:
        """Its record; what is empty is not shown."""
        run = self.run
        rows = (
            Row("Version", run.version),
            Row("Status", run.status),
            Row("Queue", run.queue),
            Row("Priority", run.priority or None),
            Row("Tenant", run.scope.path),
            Row("Created", run.created_at, "time"),
            Row("Began", run.started_at, "time"),
            Row("Waiting since", run.waiting_since, "time"),
            Row("Finished", run.finished_at, "time"),
            Row("Generation", run.generation or None),
            Row("Parent", run.parent, "id"),
            Row("Forked from", run.forked_from, "id"),
            Row("Claims", run.token or None),
            Row("Crashes", run.crashes or None),
            Row("Worker", run.worker, "code"),
            Row("Idempotency key", run.idempotency_key, "code"),
            Row("Cancel requested", "yes" if run.cancel_requested else ""),
            Row("Reason", run.reason),
        )
        return [row for row in rows if row.is_shown]

    @property
    def tree(self) -> Sequence[tuple[int, Run]]:
        """Its child runs as they are drawn: each with its depth, children below their parent."""
        return list(self._below(str(self.run.id), 0))

    def _below(self, parent: str, depth: int) -> Iterator[tuple[int, Run]]:
        for child in self.family.children.get(RunId(parent), ()):
            yield depth, child
            yield from self._below(str(child.id), depth + 1)


def _list(desk: Desk, query: Query) -> WorkList:
    return work_list(desk.dispatch.runs, RunState, desk.now(), query)


def _one(desk: Desk, _: Query, run_id: str) -> RunView:
    runs, masking = desk.dispatch.runs, desk.masking
    run = runs.get(run_id)
    around = desk.insight.run_surroundings(run, command=desk.command)
    before = runs.timeline(run.id, previous=True) if run.generation else []
    drawing = draw(
        run,
        around.promises,
        now=around.now,
        since=begin_of(around.promises, before) if run.generation or run.forked_from else None,
        members=around.members,
        last_errors=around.last_errors,
        until=around.parked_at if run.state == RunState.PARKED else None,
    )
    is_done = run.state == RunState.COMPLETED
    return RunView(
        run=run,
        now=around.now,
        explanation=explain_run(run, around),
        drawing=drawing,
        family=Family.read(runs, run, deep=True, limit=_MOST_CHILDREN),
        arguments=masking.text(masking.arguments(run.name, run.arguments, run.version)),
        result=masking.text(masking.result(run.name, run.result, run.version)) if is_done else None,
        progress=share_done(run.progress) if run.state not in ENDED else None,
    )


RUNS: Final = Page(key="runs", title="Runs", template="runs.html", read=_list, menu="runs")
RUN: Final = Page(key="runs", title="Run", template="run.html", read=_one, ids=1, menu="runs")
