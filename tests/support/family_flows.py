"""Workflows that send jobs and child runs to the fleet, on the app of the flows."""

from __future__ import annotations

import time

from pydantic import BaseModel

from dispatch_celery import Cancel, Fail, JobCancelled, JobFailed, Retry, RunFailed, current_job, current_scope
from dispatch_celery.workflows.context import Workflow
from tests.support.flows import app, dispatch, effect, hold, mark  # noqa: F401 - the worker looks for ``app`` here
from tests.support.shop import add, die, flaky, nap
from tests.support.shop import hold as hold_job

ONCE = Retry(1)


class Image(BaseModel):
    """A typed argument."""

    n: int


class Thumb(BaseModel):
    """A typed result."""

    n: int
    scope: str


def forget(result: str | None, name: str) -> None:
    """Undo a mark."""
    effect(f"forget-{name}")


@dispatch.step(retry=ONCE, undo=forget)
def remember(name: str) -> str:
    """Leave an effect that can be undone."""
    effect(name)
    return name


@dispatch.job(name="family.resize")
def resize(image: Image) -> Thumb:
    """Take and return a model, under the run's scope."""
    effect(f"resize-{image.n}")
    return Thumb(n=image.n * 10, scope=current_scope().path)


@dispatch.job(name="family.odd", retry=ONCE)
def odd(n: int) -> int:
    """Fail for even numbers."""
    if n % 2 == 0:
        raise Fail(f"{n} is even")
    return n


@dispatch.job(name="family.slow")
def slow(name: str, seconds: float) -> str:
    """Take some time, unless cancelled."""
    effect(name)
    limit = time.monotonic() + seconds
    while time.monotonic() < limit and not current_job().is_cancelled():
        time.sleep(0.02)
    effect(f"{name}-end")
    if current_job().is_cancelled():
        raise Cancel("it is not needed any more")
    return name


@dispatch.workflow(name="family.leaf")
def leaf(wf: Workflow, name: str, *, fails: bool = False) -> str:
    """Do one thing that can be undone."""
    wf.step(remember, name)
    if fails:
        raise ValueError(f"{name} fails")
    return f"leaf-{name}"


@dispatch.workflow(name="family.jobs")
def jobs(wf: Workflow) -> list[str]:
    """Wait for jobs, one by one and later."""
    total = wf.run_job(add, 1, b=2)
    later = wf.enqueue(resize, Image(n=3))
    wf.step(mark, "between")
    thumb = later.result()
    return [str(total), later.id, f"{thumb.n} {thumb.scope}"]


@dispatch.workflow(name="family.gathers")
def gathers(wf: Workflow) -> tuple[int, Thumb, str, str]:
    """Wait for jobs, a child and a step at once."""
    return wf.gather(add.bind(1), resize.bind(Image(n=1)), leaf.bind("g"), mark.bind("here"))


@dispatch.workflow(name="family.fails_fast")
def fails_fast(wf: Workflow) -> str:
    """Catch the first failure of several."""
    try:
        wf.gather(slow.bind("loser", 30.0), odd.bind(2), odd.bind(3))
    except JobFailed as error:
        return f"{error.error_message} {type(error).__name__}"
    return "not reached"


@dispatch.workflow(name="family.maps")
def maps(wf: Workflow, count: int, width: int) -> int:
    """Map a job over many items."""
    thumbs = wf.map(resize, [Image(n=n) for n in range(count)], max_parallel=width)
    assert [thumb.n for thumb in thumbs] == [n * 10 for n in range(count)]
    return len(thumbs)


@dispatch.workflow(name="family.collects")
def collects(wf: Workflow) -> list[str]:
    """Map a job over items of which some fail, and collect."""
    outcomes = wf.map(odd, [1, 2, 3], on_error="collect")
    return [
        str(outcome.value) if outcome.ok else str(getattr(outcome.error, "error_message", "")) for outcome in outcomes
    ]


@dispatch.workflow(name="family.races")
def races(wf: Workflow) -> list[str]:
    """Let the quick one win, and the one that succeeds."""
    place, value = wf.race(slow.bind("late", 30.0), add.bind(1))
    other, fine = wf.first_ok(odd.bind(2), odd.bind(7))
    return [f"{place} {value}", f"{other} {fine}"]


@dispatch.workflow(name="family.children")
def children(wf: Workflow) -> list[str]:
    """Wait for children, one of which fails."""
    first = wf.run_child(leaf, "a")
    later = wf.spawn_child(leaf, "b")
    try:
        wf.run_child(leaf, "c", fails=True)
    except RunFailed as error:
        return [first, later.result(), error.error_message]
    return []


@dispatch.workflow(name="family.parent")
def parent(wf: Workflow) -> str:
    """Fail after a child has completed."""
    wf.step(remember, "own")
    wf.run_child(leaf, "child")
    raise ValueError("not wanted any more")


@dispatch.workflow(name="family.waits")
def waits(wf: Workflow, *, detached: bool = False) -> str:
    """Wait for a child that waits for a job."""
    wf.step(remember, "own")
    return wf.run_child(middle.options(detached=detached))


@dispatch.workflow(name="family.middle")
def middle(wf: Workflow) -> str:
    """Wait for a job that stays."""
    wf.step(remember, "middle")
    return wf.run_job(slow, "held", 30.0)


@dispatch.workflow(name="family.holds")
def holds(wf: Workflow) -> str:
    """Wait for a job that stays until it is let go."""
    value = wf.run_job(hold_job, "held")
    return wf.step(mark, f"{value}-after")


@dispatch.workflow(name="family.poisoned")
def poisoned(wf: Workflow) -> str:
    """Wait for a job that kills its processes."""
    try:
        wf.run_job(die, "deadly", "kill", 99)
    except JobFailed as error:
        return error.error_type
    return "not reached"


@dispatch.workflow(name="family.retries")
def retries(wf: Workflow) -> int:
    """Wait for a job that is tried again."""
    return wf.run_job(flaky, "flaky", 1)


@dispatch.workflow(name="family.changes_mind")
def changes_mind(wf: Workflow) -> str:
    """Cancel what it had sent."""
    sent = wf.enqueue(nap.options(delay=60), "never", 1.0)
    wf.cancel(sent)
    try:
        return sent.result()
    except Exception as error:  # noqa: BLE001 - its kind is what is told
        return type(error).__name__


@dispatch.workflow(name="family.nested")
def nested(wf: Workflow, depth: int) -> int:
    """Run itself, some levels deep."""
    wf.step(remember.options(name="level"), f"level-{depth}")
    if depth == 0:
        return wf.run_job(add, 0, b=1)
    return 1 + wf.run_child(nested, depth - 1)


def never(result: str | None, name: str) -> None:
    """Fail to undo."""
    raise ValueError("the bank is closed")


@dispatch.step(retry=ONCE, undo=never, undo_retry=ONCE)
def charge(name: str) -> str:
    """Leave an effect that cannot be undone."""
    return name


@dispatch.workflow(name="family.stuck")
def stuck(wf: Workflow) -> None:
    """Fail to undo what came after a child."""
    wf.run_child(leaf, "child")
    wf.step(charge, "x")
    raise ValueError("not wanted any more")


@dispatch.remote("family.stranger")
def stranger(name: str) -> str:
    """Stand for a job that no worker declares."""


@dispatch.workflow(name="family.in_vain")
def in_vain(wf: Workflow, name: str) -> str:
    """Send a job that is not worth starting soon, and one that nobody knows; say how they ended."""
    said = []
    for call in (resize.options(expires=0.05).bind(Image(n=1)), stranger.bind(name)):
        try:
            wf.gather(call)
        except (JobCancelled, JobFailed) as error:
            said.append(type(error).__name__)
    return " ".join(said)
