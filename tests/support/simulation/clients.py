"""Who asks for something from outside: somebody who takes a run back, forks it or migrates it, until he is answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from dispatch_celery.errors import PromiseNotFound, StateConflict, StoreUnavailable, WorkflowNotFound
from dispatch_celery.ids import RunId
from dispatch_celery.jobs.records import JobRecords
from dispatch_celery.store.replies import text
from tests.support.invariants import dump
from tests.support.simulation.plan import ProcessDied

if TYPE_CHECKING:
    from tests.support.simulation.ground import Ground
    from tests.support.simulation.rewrites import Wish

ENDED = frozenset({"completed", "failed", "cancelled"})
ANY_REST = frozenset({*ENDED, "parked"})
UNHELD = frozenset({"pending", "waiting", "parked"})


class Client(Protocol):
    """Somebody outside."""

    @property
    def wants(self) -> bool:
        """Whether there is still something to ask for."""
        ...

    def ask(self) -> bool:
        """Ask for it if it is time; return whether it was asked for."""
        ...


def _seen(world: Ground, run_id: str) -> dict[str, str]:
    """Return a run's record without its being counted as a call; empty where there is none."""
    return {name: text(value) for name, value in JobRecords(world.real, world.keys).raw(run_id).items()}


@dataclass
class Rewinder:
    """Takes one run back, once: under one key, however often he has to ask."""

    world: Ground
    run_id: str
    key: str
    to: str | None = None
    generation: int | None = None
    """What the run had come to when he was answered; None before."""
    refused: int = 0

    @property
    def wants(self) -> bool:
        """Whether the run has not been taken back, or a fallen server has forgotten it."""
        record = _seen(self.world, self.run_id)
        return bool(record) and (self.generation is None or int(record.get("generation", 0)) < self.generation)

    def ask(self) -> bool:
        """Take it back as soon as it rests; where its effects stand in the way, further, or leaving them."""
        if not self.wants or _seen(self.world, self.run_id)["state"] not in ANY_REST:
            return False
        generation = int(_seen(self.world, self.run_id).get("generation", 0))
        to, discard = ((self.to, True), (None, False), (None, True))[self.refused % 3]
        try:
            self.world.flow_service.rewind(self.run_id, to, discard_undo=discard, idempotency_key=self.key)
        except (StateConflict, PromiseNotFound):
            self.refused += 1
            return False
        self.generation = generation + 1
        return True


@dataclass
class Forker:
    """Forks one run, once, under one key."""

    world: Ground
    run_id: str
    flow: str
    when: frozenset[str]
    made: str = ""

    @property
    def wants(self) -> bool:
        """Whether there is no fork, or a fallen server has forgotten it; an ended run is none of his business."""
        record = _seen(self.world, self.run_id)
        return record.get("state") in self.when | {"pending", "running"} and not _seen(self.world, self.made or "none")

    def ask(self) -> bool:
        """Fork it as soon as it rests where he means."""
        record = _seen(self.world, self.run_id)
        if not self.wants or record["state"] not in self.when:
            return False
        version = 2 if self.world.undeployed else None
        try:
            fork = self.world.flow_service.fork(
                self.run_id, arguments={"flow": self.flow}, version=version, idempotency_key=self.flow
            )
        except WorkflowNotFound:  # the version was taken away a moment ago
            return False
        self.made = fork.id
        self.world.forks[fork.id] = (record["name"], self.flow)
        return True


@dataclass
class Migrator:
    """Moves every run that has not ended, and rests, to the second version."""

    world: Ground
    when: frozenset[str]
    refused: set[str] = field(default_factory=set)

    @property
    def _left(self) -> dict[str, dict[str, Any]]:
        runs = dump(self.world.real, self.world.keys.tag).runs
        return {id_: run for id_, run in runs.items() if run["state"] not in ENDED and run["version"] == "1"}

    @property
    def wants(self) -> bool:
        """Whether one of the first version goes on still."""
        return bool(self._left)

    def ask(self) -> bool:
        """Move those that rest now."""
        resting = [run_id for run_id, run in self._left.items() if run["state"] in self.when]
        for run_id in resting:
            try:
                self.world.flow_service.migrate(run_id, 2)
            except StateConflict:
                continue
        return bool(resting)


def client_of(world: Ground, wish: Wish, run_id: RunId, flow: str) -> Client:
    """Return who has a wish about a run."""
    if wish.verb == "rewind":
        return Rewinder(world, run_id, f"again {flow}", wish.to)
    if wish.verb == "fork":
        return Forker(world, run_id, f"{flow}/fork", wish.when)
    return Migrator(world, wish.when)


def asked(client: Client) -> bool:
    """Let somebody ask; return whether he did. Who dies over it, or gets no answer, asks again later."""
    try:
        return client.ask()
    except (ProcessDied, StoreUnavailable):
        return True
