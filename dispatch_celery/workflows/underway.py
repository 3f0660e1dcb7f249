"""Several steps of a run at the same time: their functions run beside each other, their outcomes are recorded in turn.

Only the run's own thread touches its journal: it notes intents, begins attempts, and records what came of each as it
hears of it. So the holder has one write in flight, one revision after the other, and a step that ran beside others is
on record exactly as one that ran alone. A step that has nobody beside it runs in the run's own thread, where its worker
can interrupt it.

What is under way ends with its run. Where that rests, fails, or has to leave its worker, who has begun finishes and is
recorded. Where it was cancelled, or is somebody else's by now, they are told and waited for, and nothing of them is
recorded. Code that does not end is ended as that of any step is: by its worker.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, Final, Self

from dispatch_celery.clock import monotonic_ms
from dispatch_celery.errors import Fenced, Suspended
from dispatch_celery.workflows.engine import Engine, Trial, is_short
from dispatch_celery.workflows.held import Awaited
from dispatch_celery.workflows.holder import Anew, Paused, Stuck, Unwound
from dispatch_celery.workflows.slice import Asked
from dispatch_celery.workflows.step_definition import StepCall
from dispatch_celery.workflows.steps import Made, Team

__all__ = ["UnderWay"]

_LOOK: Final = 100
"""Milliseconds between two looks at whether the run was cancelled."""


@dataclass(slots=True)
class _Running:
    """One attempt whose code runs."""

    trial: Trial
    is_late: bool = False
    """Its time was up, which is recorded, and its code has not ended."""
    rest: Awaited | None = None
    is_wanted: bool = True


class UnderWay:
    """The steps of one run that are under way at the same time. A context manager: nobody outlives it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: set[str] = set()
        self._queue: list[Trial] = []
        self._running: dict[str, _Running] = {}
        self._later: dict[str, tuple[Trial, int]] = {}
        self._is_told = False
        self.resting: dict[str, Awaited] = {}
        """Those whose next attempt is too far away to wait for it in the worker."""

    def add(self, asked: Asked, call: StepCall[Any]) -> None:
        """Have a step run that has its identity and no outcome yet; once, however often it is asked for."""
        if asked.identity in self._known:
            return
        self._known.add(asked.identity)
        rest = self._engine.resting(asked)
        if rest is not None:
            self.resting[asked.identity] = rest
        else:
            self._queue.append(self._engine.trial(asked, call))

    def drop(self, identity: str) -> None:
        """Let a step not begin, and not be tried again; who has begun finishes."""
        self._queue = [trial for trial in self._queue if trial.asked.identity != identity]
        self._later.pop(identity, None)
        self.resting.pop(identity, None)
        if identity in self._running:
            self._running[identity].is_wanted = False

    def has(self, identities: Container[str]) -> bool:
        """Whether one of these is under way, or is about to begin here."""
        return any(identity in identities for identity in self._under_way())

    @property
    def is_busy(self) -> bool:
        """Whether any is under way, or is about to begin here."""
        return bool(self._queue or self._running or self._later)

    @property
    def is_late(self) -> bool:
        """Whether the code of one still runs whose outcome is on record already."""
        return any(one.is_late for one in self._running.values())

    def turn(self) -> bool:
        """Go on until something has come of one of them; return False where none is left.

        Raises:
            Unwound: the run was cancelled, or is to leave its worker.
            Fenced: somebody else decides about it by now.
        """
        self._recall()
        if len(self._queue) == 1 and not self._running and not self._later:
            trial = self._queue.pop()
            self._rest(trial, self._engine.carry_out(trial))
            return True
        self._begin()
        while self._running:
            if self._hear():
                return True
            self._recall()
            self._begin()
        if not self._later:
            return False
        soonest = min(left for _, left in self._later.values())
        self._engine.holder.sleep(soonest / 1000)
        self._pass(soonest)
        return True

    def finish(self) -> None:
        """Wait for who has begun, and record what comes of them; nobody else begins.

        Raises:
            Unwound, Fenced: as ``turn``; those who had begun have ended.
        """
        self._queue.clear()
        self._later.clear()
        try:
            while self._running:
                self._hear()
        except (Unwound, Fenced):
            self._wait_out()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        may_finish = error is None or isinstance(error, Exception | Suspended | Paused | Stuck | Anew | Unwound)
        if self._engine.ends_worker(error):
            self._tell()  # the process ends right after
        elif may_finish and not self._engine.holder.claim.cancel:
            self.finish()
        else:
            self._wait_out()

    # -- within

    def _under_way(self) -> list[str]:
        return [*(trial.asked.identity for trial in self._queue), *self._running, *self._later]

    @cached_property
    def _team(self) -> Team:
        return self._engine.team()

    def _begin(self) -> None:
        """Start whoever there is room for."""
        if self._queue:
            self._engine.may_act()
        for trial in list(self._queue):
            if self._team.has_room(trial.call):
                context = self._engine.begin_attempt(trial, lambda: self._is_told)
                self._queue.remove(trial)
                self._running[trial.asked.identity] = _Running(trial)
                trial.around.run(self._team.start, trial.call, context)

    def _hear(self) -> bool:
        """Wait a little for something to come of one of them; return whether it did."""
        patience = min([_LOOK, *(left for _, left in self._later.values())])
        since = monotonic_ms()
        made = self._team.next(patience / 1000)
        self._pass(monotonic_ms() - since)
        if made is None:
            if self._engine.holder.cancelled:
                self._engine.may_act()
            return False
        self._take(made)
        return True

    def _take(self, made: Made) -> None:
        """Record what came of an attempt."""
        one = self._running[made.identity]
        if not made.is_over:
            one.is_late, one.rest = True, self._engine.conclude(one.trial, error=made.error, is_over=False)
            return
        del self._running[made.identity]
        rest = one.rest if one.is_late else self._engine.conclude(one.trial, made.value, error=made.error)
        if one.is_wanted:
            self._rest(one.trial, rest)

    def _rest(self, trial: Trial, rest: Awaited | None) -> None:
        if rest is None:
            return
        if is_short(rest):
            self._later[rest.identity] = (trial, rest.delay or 0)
        else:
            self.resting[rest.identity] = rest

    def _recall(self) -> None:
        """Put those whose next attempt has come into the line again."""
        for identity, (trial, left) in list(self._later.items()):
            if left <= 0:
                del self._later[identity]
                self._queue.append(trial)

    def _pass(self, milliseconds: int) -> None:
        self._later = {identity: (trial, left - milliseconds) for identity, (trial, left) in self._later.items()}

    def _tell(self) -> None:
        if self._running:
            self._is_told = True
            self._team.stop()

    def _wait_out(self) -> None:
        """Tell those who have begun to stop, and wait until their code has ended."""
        self._tell()
        while self._running:
            made = self._team.next(_LOOK / 1000)
            if made is not None and made.is_over:
                del self._running[made.identity]
