"""Races about one run that waits for events: publishers, workers, a leader and who cancels it, in any order of calls.

The run waits for one event with a timeout and for another without. Whatever happens in whatever order, the first wait
ends with the first event if that was stored in time, with its timeout if not, or not at all because the run is
cancelled; what it did not take is there for the second.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from dispatch_celery.errors import EventNotFound, StateConflict
from dispatch_celery.events.model import Place
from dispatch_celery.events.service import Deliveries
from dispatch_celery.ids import EventId, RunId
from dispatch_celery.store.client import Store
from dispatch_celery.store.replies import ask, ask_all, words
from dispatch_celery.store.scripts import Call
from dispatch_celery.work.upkeep import House, Timers
from dispatch_celery.workflows.context import Workflow
from dispatch_celery.workflows.definition import WorkflowDefinition
from dispatch_celery.workflows.journal import Entry
from tests.support.invariants import check_journal, check_quiet, check_state, dump
from tests.support.run_invariants import check_run_history, check_runs, check_runs_quiet
from tests.support.simulation import Fault, Plan, World
from tests.support.simulation.actors import SimWorker
from tests.support.simulation.plan import START
from tests.support.turns import Turns

__all__ = ["Race", "RaceWorld"]

PATIENCE: Final = 5
"""Seconds the first wait has: longer than every sweep, shorter than a lease."""
WORDS: Final = ("one", "two")
_NEVER: Final = Fault("die before", 0)
"""No call has this number. A world without a fault would look at all it holds after each of its calls."""


@dataclass
class Race:
    """How one race went."""

    seed: int
    trace: list[str] = field(default_factory=list)
    passed: bool = False
    """Whether somebody let the patience of the first wait pass."""
    cancelled: bool = False
    """Whether a cancel was accepted."""
    due: int | None = None
    """When the first wait was to end, once it had come to rest."""
    said: list[str] = field(default_factory=list)
    """The words in the order in which they were stored."""
    heard: list[str | None] | None = None
    """What the run was given; None where it was cancelled."""
    problems: list[str] = field(default_factory=list)

    @property
    def winner(self) -> str:
        """Which of the three won."""
        if self.heard is None:
            return "cancel"
        return "timeout" if self.heard[0] is None else "event"

    def __str__(self) -> str:
        return f"race {self.seed}: {'; '.join(self.problems)}\n  " + "\n  ".join(self.trace)


class RaceWorld(World):
    """A world in which races are run, one after the other."""

    def __init__(self, real: Store, namespace: str) -> None:
        def stack(port: Store) -> Store:
            self.turns = Turns(port, self._look, lambda: self.time.word)
            return self.turns

        super().__init__(real, namespace, Plan((), (_NEVER,), inline=False), stack=stack)

        def hears(wf: Workflow) -> list[str | None]:
            first = wf.wait_for_event("said", type=str, timeout=PATIENCE)
            return [first, wf.wait_for_event("said", type=str)]

        self.hears: WorkflowDefinition[..., Any] = WorkflowDefinition(
            hears, name="hears", starter=lambda: self.flow_service, queue="q"
        )
        self.workflows.add(self.hears)
        self.known.append(self.hears.known_as)
        self.house = House(
            store=self.jobs,
            records=self.records,
            keys=self.keys,
            publisher=self.broker,
            kinds=self.keeping,
            term=str,
        )
        self.race = Race(0)
        self.run_id = RunId.mint(time_ms=START)
        self.outcomes: dict[str, str] = {}
        self._ids: list[EventId] = []

    # -- one race

    def play(self, seed: int) -> Race:
        """Run one race to its rest, and look for what is wrong with it."""
        self.race = race = Race(seed)
        chance = self._line_up(seed)
        ids = {word: EventId.mint(time_ms=START) for word in WORDS}
        self._ids = list(ids.values())
        places = {word: self._place(chance) for word in WORDS}
        actors: dict[str, Callable[[], object]] = {
            f"worker {n}": self._working(worker, chance.randint(4, 12)) for n, worker in enumerate(self.workers, 1)
        }
        for word in WORDS:
            times, thinks = chance.choice((1, 1, 1, 2)), chance.choice((0, 0, 8, 20))
            actors[f"says {word}"] = self._saying(places[word], word, ids[word], times, thinks)
        race.passed = chance.random() < 0.6
        actors["leader"] = self._leading(passes=race.passed)
        if chance.random() < 0.4:
            actors["canceller"] = self._cancelling
        dies = chance.choice((0, 0, 0.2))
        self.turns.play(actors, chance, mortal={f"says {word}": dies for word in WORDS})
        race.trace = self.turns.trace
        for word in WORDS:
            self._say_again(places[word], word, ids[word])
        self.run_to_rest(limit=40)
        self.sleep(1.5)
        self._lead()
        self._judge(list(places.values()), ids)
        return race

    def _line_up(self, seed: int) -> Random:
        """Forget the last race: a new run, new workers, and nothing in the broker."""
        self.clean()
        self.time.now = START
        self.random = Random(seed)
        self.outcomes = {}
        self.broker.messages.clear()
        self.workers = [SimWorker(self, next(self.pids)) for _ in range(2)]
        for worker in self.workers:
            worker.renew()
        run = self.flow_service.new_run(self.hears.bind(), run_id=RunId.mint(time_ms=START))
        self.run_id = self.flow_service.write(run)
        return Random(seed)

    def _place(self, chance: Random) -> Place:
        return chance.choice((Place("said"), Place("said"), Place("said", run=self.run_id)))

    # -- who takes part

    def _working(self, worker: SimWorker, rounds: int) -> Callable[[], None]:
        def work() -> None:
            for _ in range(rounds):
                if self.broker.messages:
                    worker.step()
                else:
                    self.turns.pause("finds no message")

        return work

    def _saying(self, place: Place, word: str, event_id: EventId, times: int, thinks: int) -> Callable[[], None]:
        def say() -> None:
            for _ in range(thinks):
                self.turns.pause("thinks")
            for _ in range(times):
                self.events.publish_at(place, json.dumps(word).encode(), event_id=event_id)

        return say

    def _say_again(self, place: Place, word: str, event_id: EventId) -> None:
        """Do what an honest publisher does that has died before its event was stored: no more than that."""
        try:
            self.events.get(event_id)
        except EventNotFound:
            self.events.publish_at(place, json.dumps(word).encode(), event_id=event_id)

    def _leading(self, *, passes: bool) -> Callable[[], None]:
        def lead() -> None:
            if passes:
                self.turns.pause(f"{PATIENCE} s pass")
                self.sleep(PATIENCE)
            Timers(self.house).run_once()
            Deliveries(self.events).run_once()
            Timers(self.house).run_once()

        return lead

    def _cancelling(self) -> None:
        try:
            self.flow_service.cancel(self.run_id)
        except StateConflict:
            return  # it had completed
        self.race.cancelled = True

    # -- what must hold

    def _look(self, call: Call) -> None:
        """Look, after what is done to the run, whether an outcome has changed; now and then, whether indexes agree."""
        if not call.label.startswith("runs/"):
            return
        keys, run_id = self.keys, self.run_id
        promises, (state, cancel), due = ask_all(
            self.real,
            [
                Call.command("HGETALL", keys.promises(run_id)),
                Call.command("HMGET", keys.record(run_id), "state", "cancel"),
                Call.command("ZRANGE", keys.due(run_id), 0, -1),
            ],
        )
        for name, data in zip(words(promises[::2]), promises[1::2], strict=True):
            entry = Entry.parse(name, data)
            if entry.status == "awaiting" and self.race.due is None and entry.identity == "said#1":
                self.race.due = entry.at
            self._note(entry, is_due=name.encode() in due)
        if state == b"waiting" and cancel is not None:
            self.race.problems.append("it was asked to cancel, and rests")
        if self.race.seed % 20 == 0:
            self.race.problems += check_runs(dump(self.real, keys.tag))

    def _note(self, entry: Entry, *, is_due: bool) -> None:
        if not entry.is_resolved:
            return
        told = f"{entry.status} {entry.seq} {entry.payload!r}"
        before = self.outcomes.setdefault(entry.identity, told)
        if before != told:
            self.race.problems.append(f"{entry.identity} was {before} and became {told}")
        if is_due:
            self.race.problems.append(f"{entry.identity} is {entry.status}, and still due")

    def _judge(self, places: list[Place], ids: dict[str, EventId]) -> None:
        race, state = self.race, dump(self.real, self.keys.tag)
        race.problems += check_state(state, max_attempts=3, max_crashes=3) + check_journal(state) + check_quiet(state)
        race.problems += check_runs(state) + check_run_history(state) + check_runs_quiet(state)
        record = state.runs[self.run_id]
        race.said = self._stored(ids)
        if record["state"] == "completed":
            race.heard = json.loads(record["result"])
            race.problems += self._misheard(in_order=len({place.digest for place in places}) == 1)
        if race.cancelled != (record["state"] == "cancelled"):
            race.problems.append(
                f"it is {record['state']}, and a cancel was {'' if race.cancelled else 'not '}accepted"
            )
        if state.ordered.get("fanout"):
            race.problems.append("somebody is still to be told")
        if set(race.said) != set(WORDS):
            race.problems.append(f"of what was said, {race.said} is left for others")

    def _stored(self, ids: dict[str, EventId]) -> list[str]:
        """Return the words that can still be found, in their order."""
        listed = {record.id for record in self.events.list()}
        places = {
            word: int(ask(self.real, Call.command("HGET", self.keys.record(event_id), "place")))
            for word, event_id in ids.items()
            if event_id in listed
        }
        return sorted(places, key=lambda word: places[word])

    def _misheard(self, *, in_order: bool) -> list[str]:
        """Return what the run was given that it should not have been given, or not twice, or not so late."""
        race = self.race
        heard: list[Any] = race.heard or []
        wrong = []
        orders = [race.said] if in_order else [race.said, race.said[::-1]]
        if heard not in [*orders, *([None, order[0]] for order in orders)]:
            wrong.append(f"{race.said} was said, and {heard} was heard")
        in_time = race.due is None or self._first_said() < race.due
        if (heard[0] is None) is in_time:
            wrong.append(f"{heard} was heard, and the first word was said {'' if in_time else 'not '}in time")
        return wrong

    def _first_said(self) -> int:
        """Return when the first word was stored, in ms since 1970."""
        places = [int(ask(self.real, Call.command("HGET", self.keys.record(one), "place"))) for one in self._ids]
        return min(places) // 1_000
