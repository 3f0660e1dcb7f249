"""Workflows whose undos meet every misfortune, on the app of the flows.

``SAGAS_RELEASE`` chooses the code a worker has: ``old``, ``new``, or one of the ways in which a deploy breaks an undo.
"""

from __future__ import annotations

import os
import time
from asyncio import CancelledError
from asyncio import sleep as asleep
from pathlib import Path
from typing import Any

from dispatch_celery import Cancel, Constant, Fail, Retry, RetryAfter, Snooze
from dispatch_celery.workflows.context import Workflow
from dispatch_celery.workflows.steps import current_step
from tests.support.flows import app, dispatch, effect, hold, mark, refuse  # noqa: F401 - the worker looks for ``app``
from tests.support.sagas import release

RELEASE = os.environ.get("SAGAS_RELEASE", "new")
ONCE = Retry(1)


def stay(name: str) -> None:
    """Stay until a file is there."""
    path = Path(os.environ["SHOP_EFFECTS"]).with_name(name)
    limit = time.monotonic() + 60
    while not path.exists() and time.monotonic() < limit:
        time.sleep(0.02)


@dispatch.step(retry=ONCE, undo=release, undo_retry=ONCE)
def reserve(name: str) -> str:
    """Leave an effect that is to be undone."""
    effect(f"reserve-{name}")
    return name


# -- undos that end in every way

RAISED: dict[str, BaseException] = {
    "ValueError": ValueError("no"),
    "Cancel": Cancel("no"),
    "Snooze": Snooze(3_600, "no"),
    "RetryAfter": RetryAfter(0.1, "no"),
    "Fail": Fail("no"),
    "SystemExit": SystemExit("no"),
    "KeyboardInterrupt": KeyboardInterrupt("no"),
    "CancelledError": CancelledError("no"),
}


def release_badly(result: str | None, name: str) -> None:
    """Raise what it is named after, the first time."""
    if effect(f"release-{name}") == 1:
        raise RAISED[name]


async def arelease_badly(result: str | None, name: str) -> None:
    """Raise it on the event loop."""
    await asleep(0)
    release_badly(result, name)


@dispatch.step(retry=ONCE, undo=release_badly, undo_retry=Retry(2, Constant(0.05)))
def reserve_badly(name: str) -> str:
    """Leave an effect whose undo raises."""
    return name


@dispatch.step(retry=ONCE, undo=arelease_badly, undo_retry=Retry(2, Constant(0.05)))
def areserve_badly(name: str) -> str:
    """Leave an effect whose undo raises on the loop."""
    return name


@dispatch.workflow(name="attacked.badly")
def badly(wf: Workflow, name: str, *, on_loop: bool) -> None:
    """Fail with something whose undo raises."""
    wf.step(reserve, f"first-{name}")
    wf.step(areserve_badly if on_loop else reserve_badly, name)
    raise Fail("not wanted any more")


# -- undos that take their time


def release_slowly(result: str | None, name: str) -> None:
    """Stay until the file ``go`` is there."""
    effect(f"begin-{name}")
    effect(f"key={current_step().idempotency_key}")
    stay("go")
    effect(f"release-{name}")


async def arelease_slowly(result: str | None, name: str) -> None:
    """Stay on the event loop, the first time."""
    if effect(f"begin-{name}") == 1:
        await asleep(60)
    effect(f"release-{name}")


@dispatch.step(retry=ONCE, undo=release_slowly, undo_retry=ONCE)
def reserve_slowly(name: str) -> str:
    """Leave an effect whose undo takes its time, and has one attempt."""
    effect(f"reserve-{name}")
    return name


@dispatch.step(retry=ONCE, timeout=0.5, undo=arelease_slowly, undo_retry=Retry(2, Constant(0.05)))
def areserve_slowly(name: str) -> str:
    """Leave an effect whose undo has half a second."""
    return name


@dispatch.step(retry=ONCE, timeout=0.5, undo=release_slowly, undo_retry=ONCE)
def reserve_shortly(name: str) -> str:
    """Leave an effect whose undo has half a second, and blocks."""
    return name


@dispatch.workflow(name="attacked.slowly")
def slowly(wf: Workflow, name: str) -> None:
    """Fail with something whose undo takes its time."""
    wf.step(reserve, f"first-{name}")
    wf.step(reserve_slowly, name)
    raise ValueError("not wanted any more")


@dispatch.workflow(name="attacked.timed")
def timed(wf: Workflow, name: str, *, on_loop: bool) -> None:
    """Fail with something whose undo has little time."""
    wf.step(reserve, f"first-{name}")
    wf.step(areserve_slowly if on_loop else reserve_shortly, name)
    raise ValueError("not wanted any more")


@dispatch.workflow(name="attacked.overtaken")
def overtaken(wf: Workflow, name: str) -> None:
    """Fail in the very moment in which it is cancelled."""
    wf.step(reserve_slowly, name)
    effect(f"held-{name}")
    stay("fail")
    raise ValueError("not wanted any more")


# -- undos that kill


def release_and_die(result: str | None, name: str) -> None:
    """End the process until the file ``mended`` is there."""
    effect(f"try-{name}")
    if not Path(os.environ["SHOP_EFFECTS"]).with_name("mended").exists():
        os.kill(os.getpid(), 9)
    effect(f"release-{name}")


@dispatch.step(retry=ONCE, undo=release_and_die)
def reserve_deadly(name: str) -> str:
    """Leave an effect whose undo kills each time."""
    return name


@dispatch.workflow(name="attacked.deadly")
def deadly(wf: Workflow, name: str) -> None:
    """Lose a process with each attempt to undo."""
    wf.step(reserve, f"first-{name}")
    wf.step(reserve_deadly, name)
    raise ValueError("not wanted any more")


@dispatch.step(retry=ONCE, undo=release, undo_retry=ONCE)
def reserve_fatally(name: str) -> str:
    """Leave an effect and end the process, until the file ``mended`` is there."""
    effect(f"reserve-{name}")
    if not Path(os.environ["SHOP_EFFECTS"]).with_name("mended").exists():
        os.kill(os.getpid(), 9)
    return name


@dispatch.workflow(name="attacked.fatally")
def fatally(wf: Workflow, name: str) -> None:
    """Lose a process with each attempt of a step."""
    wf.step(reserve_fatally, name)
    raise ValueError("not wanted any more")


# -- what is noted


def forget(name: str, number: int) -> None:
    """Undo something that was no step."""
    effect(f"forget-{name}-{number}")


@dispatch.step(retry=ONCE)
def die_once(name: str) -> str:
    """End the process before there is any effect, the first time."""
    if effect(f"try-{name}") == 1:
        os.kill(os.getpid(), 9)
    return name


@dispatch.workflow(name="attacked.loop")
def loop(wf: Workflow, name: str) -> None:
    """Note the same undo several times, lose the process and a rest in between."""
    for number in range(3):
        wf.add_undo(forget, name, number)
        wf.step(die_once, f"{name}-{number}")
        wf.sleep(0.05)
    raise ValueError("not wanted any more")


@dispatch.workflow(name="attacked.nested")
def nested(wf: Workflow, name: str) -> None:
    """Note an undo that no other process finds."""

    def forget_this() -> None:
        effect(f"forget-{name}")

    wf.add_undo(forget_this)


@dispatch.step(retry=Retry(2, Constant(60)), undo=release, undo_retry=ONCE)
def reserve_again(name: str) -> str:
    """Fail, and try again in a minute."""
    effect(f"reserve-{name}")
    raise ValueError("not yet")


@dispatch.workflow(name="attacked.again")
def again(wf: Workflow, name: str) -> str:
    """Rest between two attempts of a step."""
    return wf.step(reserve_again, name)


def release_times(result: str | None, name: str, times: int, *, note: str) -> None:
    """Tell what it was given."""
    effect(f"release-{name}-{times}-{note}")


@dispatch.step(retry=ONCE, undo=release_times, undo_retry=ONCE)
def reserve_times(name: str, times: int = 3, *, note: str = "plain") -> str:
    """Take defaults that its undo does not have."""
    return name


@dispatch.workflow(name="attacked.defaults")
def defaults(wf: Workflow, name: str) -> None:
    """Leave arguments to their defaults."""
    wf.step(reserve_times, name)
    raise ValueError("not wanted any more")


def release_known(result: str, name: str) -> None:
    """Bear no None."""
    effect(f"release-{name}-{result}")


@dispatch.step(retry=ONCE, undo=release_known, undo_retry=ONCE)  # type: ignore[arg-type, unused-ignore]  # that is the mistake
def reserve_unknown(name: str) -> str:
    """Fail, so that its result is not known."""
    raise ValueError("broke")


@dispatch.workflow(name="attacked.unknown")
def unknown(wf: Workflow, name: str) -> None:
    """Undo what nobody knows the result of."""
    wf.step(reserve, f"first-{name}")
    wf.step(reserve_unknown, name)


# -- making amends


@dispatch.workflow(name="attacked.twice")
def twice(wf: Workflow, name: str, *, fails: bool) -> str:
    """Undo twice, with a rest in between, and perhaps fail."""
    wf.compensate()
    wf.step(reserve, f"one-{name}")
    wf.compensate()
    wf.compensate()
    wf.sleep(0.05)
    wf.step(reserve, f"two-{name}")
    wf.compensate()
    wf.step(reserve, f"three-{name}")
    if fails:
        raise ValueError("not wanted any more")
    return "done"


@dispatch.workflow(name="attacked.amends")
def amends(wf: Workflow, name: str) -> str:
    """Undo in the middle, for as long as that takes, then go on."""
    wf.step(reserve, f"first-{name}")
    wf.step(reserve_slowly, name)
    wf.compensate()
    return wf.step(mark, f"after-{name}")


@dispatch.workflow(name="attacked.tidy_amends")
def tidy_amends(wf: Workflow, name: str) -> None:
    """Undo in vain, and do something durable on the way out."""
    wf.step(reserve_badly, name)
    try:
        wf.compensate()
    finally:
        wf.step(mark, f"tidied-{name}")


@dispatch.step(retry=ONCE)
def give_up(name: str) -> None:
    """Ask for the end of the run."""
    effect(f"give-up-{name}")
    raise Cancel("not wanted any more")


@dispatch.workflow(name="attacked.tidy_cancel")
def tidy_cancel(wf: Workflow, name: str) -> None:
    """Be cancelled by a step, and do something durable on the way out."""
    wf.step(reserve, name)
    try:
        wf.step(give_up, name)
    finally:
        wf.step(mark, f"tidied-{name}")


# -- deploys: what the undo looks like to the worker that carries it out

if RELEASE == "retyped":

    def give_back(result: str | None, amount: str) -> None:
        """Take another type than the step did."""
        effect(f"give-back-{amount}")

elif RELEASE == "starred":

    def give_back(*everything: Any) -> None:  # type: ignore[misc]
        """Take whatever comes: nothing that is stored by name."""
        effect("give-back-any")

elif RELEASE == "emptied":

    def give_back() -> None:  # type: ignore[misc]
        """Take nothing."""
        effect("give-back-nothing")

elif RELEASE != "removed":

    def give_back(result: str | None, amount: int) -> None:  # type: ignore[misc]
        """Take what the step took."""
        effect(f"give-back-{amount}")


if RELEASE == "old":

    @dispatch.step(retry=ONCE, undo=give_back, undo_retry=ONCE)
    def take(amount: int) -> str:
        """Leave an effect."""
        effect(f"take-{amount}")
        return "taken"

    @dispatch.workflow(name="attacked.deployed")
    def deployed(wf: Workflow, amount: int, seconds: float) -> str:
        """Rest after an effect."""
        wf.step(reserve, f"first-{amount}")
        wf.step(take, amount)
        wf.sleep(seconds)
        return wf.step(mark, "old-end")

else:

    @dispatch.step(retry=ONCE)
    def take_otherwise(amount: int) -> str:
        """Leave another effect, which is not undone."""
        effect(f"take-otherwise-{amount}")
        return "taken"

    @dispatch.workflow(name="attacked.deployed")
    def deployed(wf: Workflow, amount: int, seconds: float) -> str:
        """Begin in another way."""
        wf.step(take_otherwise, amount)
        wf.sleep(seconds)
        return wf.step(mark, "new-end")
