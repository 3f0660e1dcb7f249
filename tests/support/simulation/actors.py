"""Who acts in a simulated world: the faulty port, a worker and its seat, and a broker."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from dispatch_celery.cluster.model import WorkerState
from dispatch_celery.errors import Fenced
from dispatch_celery.ids import WorkerId
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.retry import Constant, Retry
from dispatch_celery.store.scripts import Call
from dispatch_celery.work.body import out_of_body
from dispatch_celery.work.model import WakeUp, WorkRef
from dispatch_celery.worker.executor import Executor
from dispatch_celery.worker.runs import RunExecutor
from dispatch_celery.workflows.step_definition import StepCall
from dispatch_celery.workflows.steps import InTurn, StepContext, in_step
from tests.support.simulation.plan import MESSAGE_KINDS, ProcessDied

if TYPE_CHECKING:
    from tests.support.simulation.world import World


class FaultyStore:
    """The port, with the world's faults in it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def execute(self, calls: Sequence[Call]) -> list[Any]:
        """Pass calls on, unless this is the call at which something happens."""
        with out_of_body():  # what other processes do meanwhile they do in this thread, too
            return self._world.strike(calls)


class SimSeat:
    """A worker process that is always on time, until its world lets it sleep."""

    def __init__(self, worker: SimWorker) -> None:
        self._worker = worker
        self.executing = ""

    @property
    def holder(self) -> str:
        return self._worker.holder

    def trusted(self) -> bool:
        return bool(self._worker.holder)

    def wait_trusted(self, timeout_ms: int) -> bool:
        return self.trusted()

    def occupy(self, job_id: str, token: str, *, timeout_ms: int | None) -> None:
        self.executing = job_id

    def limit(self, timeout_ms: int | None) -> None:
        """Nobody keeps the time here."""

    def vacate(self) -> None:
        self.executing = ""

    def interruptible(self) -> AbstractContextManager[None]:
        return nullcontext()

    def cancelled(self) -> bool:
        return self._worker.asked_to_cancel(self.executing)

    @property
    def stands_alone(self) -> bool:
        return True


class SimBroker:
    """Messages in memory, or in a list beside the state, delivered in an order the seed decides."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.messages: list[WorkRef] = []
        self._count = 0

    def riders(self, wakeups: Sequence[WakeUp]) -> list[Call]:
        if not self._world.plan.inline:
            return []
        # A command that changes nothing stands for the LPUSH; its message is delivered when the trip was made.
        return [Call.command("ECHO", f"message {wakeup.ref.id}") for wakeup in wakeups]

    def announce(self, wakeups: Sequence[WakeUp]) -> None:
        """Nobody listens here."""

    def publish(self, wakeups: Sequence[WakeUp]) -> None:
        for wakeup in wakeups:
            self.put(wakeup.ref)

    def put(self, ref: WorkRef) -> None:
        self._count += 1
        kinds = [
            fault.kind for fault in self._world.plan.faults if fault.kind in MESSAGE_KINDS and fault.at == self._count
        ]
        copies = 0 if "drop message" in kinds else 2 if "double message" in kinds else 1
        self.messages += [ref] * copies

    def take(self) -> WorkRef | None:
        if not self.messages:
            return None
        return self.messages.pop(self._world.random.randrange(len(self.messages)))

    def waiting(self, queue: str) -> int | None:
        return len(self.messages)


def _dead_processes_decide_nothing(error: BaseException) -> bool:
    if isinstance(error, ProcessDied):
        raise error
    return False


class StepCaller:
    """Runs the functions of steps in a simulated process."""

    def __init__(self, world: World) -> None:
        self._world = world

    def run(self, call: StepCall[Any], context: StepContext) -> Any:
        with in_step(context):
            return self._world.run_step(call, context)

    def team(self) -> InTurn:
        """Return one that runs what is started in an order the seed decides."""
        return InTurn(self.run, self._world.random.randrange)


class SimWorker:
    """One worker: a main process with a lease, and one child that executes."""

    def __init__(self, world: World, pid: int) -> None:
        self.world = world
        self.pid = pid
        self.holder = ""
        self.candidate: WorkerId | None = None
        self.seat = SimSeat(self)
        self.asleep = False
        self.unexecuted: set[str] = set()
        self.executor = Executor(
            store=world.jobs,
            registry=world.registry,
            publisher=world.broker,
            settings=world.settings,
            seat=self.seat,
            observer=lambda *_, **__: None,
            handler=world.handle,
            unknown=world.give_back,
            is_shutdown=_dead_processes_decide_nothing,
            sleep=world.sleep,
            pid=lambda: self.pid,
        )

        self.run_executor = RunExecutor(
            store=world.runs,
            jobs=world.jobs,
            registry=world.workflows,
            publisher=world.broker,
            settings=world.settings,
            seat=self.seat,
            observer=lambda *_, **__: None,
            runner=StepCaller(world),
            fleet=world.fleet,
            topics=world.events,
            step_retry=Retry(3, Constant(2)),
            is_shutdown=_dead_processes_decide_nothing,
            sleep=world.sleep,
            pid=lambda: self.pid,
        )

    def asked_to_cancel(self, job_id: str) -> bool:
        return False

    def renew(self) -> None:
        """Do what the lifeline does: renew, register anew when lost, release what nobody executes."""
        world = self.world
        if self.holder:
            pulse = world.cluster.renew(
                self.holder, nonce="n", volunteer=False, state=WorkerState.ACTIVE, with_held=True
            )
            if pulse is not None:
                idle = set(pulse.held) - {self.seat.executing}
                forgotten, self.unexecuted = idle & self.unexecuted, idle
                if forgotten:
                    world.recovery.release_forgotten(self.holder, sorted(forgotten))
                return
        if not self.candidate:
            world.registrations += 1
            self.candidate = WorkerId.mint()
        world.cluster.register(self.candidate, {"pid": self.pid, "name": "sim"}, dict.fromkeys(world.known, "{}"))
        self.holder, self.candidate = self.candidate, None

    def step(self) -> bool:
        """Renew, and answer one message; return whether there was one."""
        self.renew()
        ref = self.world.broker.take()
        if ref is None:
            return False
        try:
            if isinstance(ref, JobRef):
                execution = self.executor.claim(ref)
                if execution is not None:
                    self.executor.perform(execution)
            elif self.world.workflows.get(ref.name, ref.version) is None:
                self.world.give_back(ref)
            else:
                run = self.run_executor.claim(ref)
                if run is not None:
                    self.run_executor.perform(run)
        except Fenced:
            self.world.fenced += 1
        return True
