"""One namespace of one app with its clock and its one worker: what is ready is executed, and time is made to pass."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, Self

from dispatch_celery.app import Dispatch
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.parts import Parts
from dispatch_celery.queues.permits import Permits
from dispatch_celery.store.replies import ask, words
from dispatch_celery.store.scripts import Call
from dispatch_celery.testing.binding import bound
from dispatch_celery.testing.process import Process, Tally
from dispatch_celery.testing.virtual import VirtualClock
from dispatch_celery.work.records import Stored
from dispatch_celery.work.upkeep import House, Timers

__all__ = ["Executed", "NotAtRest", "World"]

_ENDED: Final = frozenset({"completed", "failed", "cancelled", "parked"})


class NotAtRest(AssertionError):
    """The world does not come to rest, or waits for something that no clock brings."""


@dataclass(frozen=True, slots=True)
class Executed:
    """One execution by the kit: an attempt of a job, or a run as far as it went."""

    id: str
    name: str
    state: str
    """The state it was left in."""
    error: BaseException | None = None


class World:
    """A world of its own, from ``open`` to ``close``."""

    def __init__(
        self, dispatch: Dispatch, url: str, clock: VirtualClock, tally: Tally, *, always_replay: bool, limit: int
    ) -> None:
        self._dispatch = dispatch
        self._url = url
        self._tally = tally
        self._always_replay = always_replay
        self._stack = ExitStack()
        self._open = self._busy = False
        self._left = self.limit = limit
        self.clock = clock
        self.parts: Parts
        self.process: Process

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.parts = parts = stack.enter_context(bound(self._dispatch, self._url, self.clock))
            self.process = Process(parts, self.clock, self._tally, always_replay=self._always_replay)
            self.process.register()
            kinds = parts.runtime._kinds(parts.store, parts.observer)  # noqa: SLF001 - the app's own wiring
            self._timers = Timers(
                House(
                    store=parts.job_store,
                    records=parts.records,
                    keys=parts.keys,
                    publisher=parts.publisher,
                    kinds=kinds,
                    term=str,
                )
            )
            self._permits = Permits(
                store=parts.limits,
                work=parts.job_store,
                records=parts.records,
                publisher=parts.publisher,
                term=str,
                clock=lambda: self.clock.ms,
            )
            self._stack = stack.pop_all()
        self._open = True
        return self

    def __exit__(self, *_: object) -> None:
        self._open = False
        self._stack.close()

    # -- verbs; each may execute ``limit`` times

    def drain(self) -> list[Executed]:
        """Execute what is ready until nothing is; time stands still."""
        return self._bounded(self._drained)

    def advance(self, milliseconds: int) -> list[Executed]:
        """Let time pass; what becomes due on the way is executed at its time."""
        target = self.clock.ms + milliseconds

        def pass_by() -> list[Executed]:
            done = self._drained()
            while (due := self.next_due()) is not None and due <= target:
                done += self._at(due)
            self.clock.move_to(target)
            return done + self._drained()

        return self._bounded(pass_by)

    def jump(self) -> list[Executed]:
        """Go to the next due time and execute what it makes ready; without one, just execute what is ready."""

        def leap() -> list[Executed]:
            done = self._drained()
            due = self.next_due()
            return done if due is None else done + self._at(due)

        return self._bounded(leap)

    def run_until(self, work_id: str) -> list[Executed]:
        """Execute, and jump from one due time to the next, until something has ended or waits for a person."""

        def go_on() -> list[Executed]:
            done = self._drained()
            while not self.has_ended(work_id):
                due = self.next_due()
                if due is None:
                    raise NotAtRest(self._why_stuck(work_id))
                done += self._at(due)
            return done

        return self._bounded(go_on)

    def has_ended(self, work_id: str) -> bool:
        """Whether nothing will happen to it any more by itself."""
        return self._found(work_id).state in _ENDED

    def next_due(self) -> int | None:
        """Return when the next timer is due, in ms since 1970; None if nothing waits for its time."""
        after, due = self.parts.job_store.due(self.parts.keys.timers, 1)
        if due:
            return self.clock.ms
        permit = self._permits.next_due()
        moments = [] if after is None else [self.clock.ms + max(1, after)]
        return min([*moments, *([] if permit is None else [max(self.clock.ms + 1, permit)])], default=None)

    # -- within

    def _bounded(self, act: Callable[[], list[Executed]]) -> list[Executed]:
        if not self._open:
            raise ConfigurationError("the kit is not open: with Kit(dispatch, url) as kit: ...")
        if self._busy:
            raise ConfigurationError(
                "the kit was asked to execute within a job or step that it executes: enqueue or start there, and let"
                " the test drain"
            )
        self._busy, self._left = True, self.limit
        try:
            return act()
        finally:
            self._busy = False

    def _at(self, ms: int) -> list[Executed]:
        self._spend("timers that become due without end")
        self.clock.move_to(ms)
        return self._drained()

    def _drained(self) -> list[Executed]:
        done: list[Executed] = []
        while True:
            while self.parts.job_store.due(self.parts.keys.timers, 1)[1]:
                self._spend("timers that stay due")
                self._timers.run_once()
            while self._permits.run_once() == 0:
                self._spend("permits that are handed out without end")
            ready = self._ready()
            if not ready:
                return done
            for stored in ready:
                self._spend(f"{stored.ref.name} ({stored.ref.id}) among them")
                claimed, error = self.process.execute(stored)
                if claimed:
                    state = self._found(stored.ref.id).state
                    done.append(Executed(stored.ref.id, stored.ref.name, state, error))

    def _spend(self, what: str) -> None:
        if self._left <= 0:
            raise NotAtRest(
                f"still not at rest after {self.limit} executions, {what}: something makes itself ready again and"
                " again; if it is meant to, give the kit a larger limit="
            )
        self._left -= 1

    def _ready(self) -> list[Stored]:
        """Return what is ready and known here: higher priorities first, then in the order of its readiness."""
        store, keys = self.parts.store, self.parts.keys
        places: dict[str, tuple[int, float]] = {}
        for lane in words(ask(store, Call.command("SMEMBERS", keys.lanes))):
            flat = words(ask(store, Call.command("ZRANGE", keys.lane(lane), 0, -1, "WITHSCORES")))
            priority = int(lane.rpartition(":")[2])
            places |= {work_id: (-priority, float(at)) for work_id, at in zip(flat[::2], flat[1::2], strict=True)}
        ids = sorted(places, key=lambda work_id: (places[work_id], work_id.partition("_")[2]))
        found = self.parts.records.stored(ids)
        return [one for one in found if one is not None and one.state == "pending" and self.process.knows(one)]

    def _found(self, work_id: str) -> Stored:
        (stored,) = self.parts.records.stored([work_id])
        if stored is None:
            raise ConfigurationError(
                f"there is no {work_id} in this test's namespace: it was enqueued or started outside of the kit, or"
                " its record was deleted"
            )
        return stored

    def _why_stuck(self, work_id: str) -> str:
        stored = self._found(work_id)
        what = f"{work_id} ({stored.ref.name}) is {stored.state}"
        if not self.process.knows(stored):
            return f"{what}: this app declares no {stored.ref.known_as!r} that it could execute"
        return f"{what}, nothing is ready, and nothing has a due time: it waits for what the test has to bring about"
