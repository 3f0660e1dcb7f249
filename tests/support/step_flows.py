"""Workflows around what surrounds a step, on the app of the flows: misuse of verbs, middleware, progress, limits.

``STEP_SEAMS`` gives a worker the middleware and the extension of this module. What they see is an effect.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import Any

from celery import chain

from dispatch_celery import (
    Constant,
    DispatchError,
    ExecutionContext,
    Extension,
    JobContext,
    JobId,
    Retry,
    RunId,
    RunRef,
    StepContext,
    StepFailed,
    current_step,
)
from dispatch_celery.workflows.context import Workflow
from tests.support.flows import app, dispatch, effect, mark, nap
from tests.support.shop import add, touch

ONCE = Retry(1)
outer: ContextVar[str] = ContextVar("outer", default="unset")
inner: ContextVar[str] = ContextVar("inner", default="unset")


# -- verbs in a body


def _calls() -> dict[str, Callable[[], object]]:
    """Return every durable verb that is not of ``wf``, and each bare call, by name."""
    job, run = JobId.mint(), RunId.mint()
    return {
        "enqueue": lambda: add.enqueue(1),
        "enqueue with options": lambda: add.options(delay=60).enqueue(1),
        "enqueue_many": lambda: add.enqueue_many([(1,), (2,)]),
        "aenqueue": lambda: asyncio.run(add.aenqueue(1)),
        "enqueue in a thread of asyncio": lambda: asyncio.run(asyncio.to_thread(add.enqueue, 1)),
        "enqueue in a copied context": lambda: copy_context().run(add.enqueue, 1),
        "delay": lambda: add.delay(1),
        "apply_async": lambda: add.apply_async((1,)),
        "apply": lambda: add.apply((1,)),
        "signature": lambda: add.s(1).delay(),
        "chain": lambda: chain(add.s(1), add.s()).delay(),
        "the task": lambda: app.tasks["shop.add"](1),
        "a job": lambda: add(1),
        "a step": lambda: mark("x"),
        "a step with options": lambda: mark.options(name="y")("x"),
        "start": lambda: nap.start("x", 1.0),
        "start with options": lambda: nap.options(delay=60).start("x", 1.0),
        "astart": lambda: asyncio.run(nap.astart("x", 1.0)),
        "dispatch.enqueue": lambda: dispatch.enqueue("shop.add", a=1),
        "dispatch.enqueue_many": lambda: dispatch.enqueue_many([add.bind(1)]),
        "dispatch.start": lambda: dispatch.start("flows.nap", name="x", seconds=1.0),
        "result": lambda: add.handle(job).result(timeout=1),
        "aresult": lambda: asyncio.run(add.handle(job).aresult(timeout=1)),
        "the result of a run": lambda: nap.handle(run).result(timeout=1),
        "cancel": lambda: add.handle(job).cancel(),
        "retry": lambda: dispatch.jobs.retry(job),
        "run_now": lambda: dispatch.jobs.run_now(job),
        "cancel of a run": lambda: nap.handle(run).cancel(),
        "compensate": lambda: dispatch.runs.compensate(run),
        "resume": lambda: dispatch.runs.resume(run),
        "skip_undo": lambda: dispatch.runs.skip_undo(run, "mark#1"),
        "publish": lambda: dispatch.events.publish("order.paid", 1),
        "publish to a run": lambda: nap.handle(run).publish("order.paid", 1),
        "replay": lambda: dispatch.dlq.replay(job),
        "replay_all": dispatch.dlq.replay_all,
        "purge": dispatch.dlq.purge,
    }


@dispatch.workflow(name="steps.misuses")
def misuses(wf: Workflow) -> dict[str, str]:
    """Try each of them, and return what it says."""
    told = {}
    for name, call in _calls().items():
        try:
            told[name] = f"not refused: {call()!r}"
        except DispatchError as error:
            told[name] = f"{type(error).__name__}: {error}"
    wf.sleep(0.1)
    return told


@dispatch.workflow(name="steps.careless")
def careless(wf: Workflow) -> str:
    """Enqueue a job between two steps."""
    wf.step(mark, "before")
    touch.enqueue("never")
    return wf.step(mark, "after")


@dispatch.workflow(name="steps.tidies_up")
def tidies_up(wf: Workflow) -> None:
    """Enqueue a job on the way out, which is at each rest."""
    try:
        wf.sleep(30)
    finally:
        touch.enqueue("never")


@dispatch.workflow(name="steps.threads")
def threads(wf: Workflow) -> list[str]:
    """Start a thread in the body, which is not known to be of it."""
    got: list[str] = []
    thread = threading.Thread(target=lambda: got.append(str(add(1))))
    thread.start()
    thread.join()
    return got


@dispatch.step(retry=ONCE)
def sends(name: str) -> list[str]:
    """Do in a step what a body may not do, in functions, threads and loops of its own."""

    def nested() -> str:
        return mark(f"{name}-bare")

    in_thread: list[str] = []
    thread = threading.Thread(target=lambda: in_thread.append(touch.enqueue(f"{name}-thread").result(timeout=10)))
    thread.start()
    thread.join()
    return [
        nested(),
        touch(f"{name}-here"),
        touch.enqueue(f"{name}-job").result(timeout=10),
        asyncio.run(asyncio.to_thread(lambda: touch.delay(f"{name}-delayed").id))[:4],
        touch.apply((f"{name}-applied",)).result,
        nap.start(f"{name}-run", 0.01).result(timeout=10),
        *in_thread,
    ]


@dispatch.step(retry=ONCE)
async def asends(name: str) -> str:
    """Do it on the event loop."""
    handle = await touch.aenqueue(f"{name}-async")
    return await handle.aresult(timeout=10)


def forget(result: str | None, name: str) -> None:
    """Undo by a job."""
    touch.enqueue(f"{name}-forgotten").result(timeout=10)


@dispatch.step(retry=ONCE, undo=forget)
def remember(name: str) -> str:
    """Leave an effect that can be undone."""
    effect(name)
    return name


@dispatch.workflow(name="steps.sending")
def sending(wf: Workflow, name: str) -> list[str]:
    """Run the steps that send."""
    return [*wf.step(sends, name), wf.step(asends, name)]


@dispatch.workflow(name="steps.fails")
def fails(wf: Workflow, name: str) -> None:
    """Fail after what can be undone."""
    wf.step(remember, name)
    raise ValueError("not wanted any more")


# -- middleware


@dispatch.step(retry=Retry(2, Constant(0)), timeout=30)
def sees(name: str, failures: int = 0) -> list[str]:
    """Return what middleware has set."""
    if effect(f"sees-{name}") <= failures:
        raise ValueError("not yet")
    return [outer.get(), inner.get()]


@dispatch.step(retry=ONCE)
async def asees() -> list[str]:
    """Return what middleware has set, on the event loop."""
    return [outer.get(), inner.get()]


@dispatch.workflow(name="steps.wrapped")
def wrapped(wf: Workflow) -> list[list[str]]:
    """Return what its steps and its body see."""
    seen = [wf.step(sees, "a", failures=1), wf.step(asees)]
    wf.sleep(0.1)
    return [*seen, wf.step(sees, "b"), [outer.get(), inner.get()]]


def _layer(name: str, variable: ContextVar[str]) -> Callable[[ExecutionContext, Callable[[], Any]], Any]:
    def middleware(context: ExecutionContext, call_next: Callable[[], Any]) -> Any:
        variable.set(f"{name} {context.name}")
        kind = "undo" if isinstance(context, StepContext) and context.is_undo else type(context).__name__
        effect(f"{name}:{kind}:{context.name}:{context.id}:{context.attempt}")
        return call_next()

    return middleware


async def _async_layer(context: ExecutionContext, call_next: Callable[[], Any]) -> Any:
    inner.set(f"async {context.name}")
    effect(f"async:{type(context).__name__}:{context.name}:{context.id}:{context.attempt}")
    return await call_next()


def _jobs_only(context: JobContext, call_next: Callable[[], Any]) -> Any:
    """Wrap as before there were steps: what it reads, steps have too."""
    assert context.queue
    assert context.ref.queue
    assert context.scope is not None
    assert isinstance(context.arguments, dict)
    assert not context.cancelled
    return call_next()


class _Sender(Extension):
    """A hook that enqueues a job: it is called while the body runs, and is none of its doing."""

    def on_run_step_completed(self, run: RunRef, step: str) -> None:
        """Send a job."""
        if step == "mark":
            touch.enqueue(f"hook-{step}")


if os.environ.get("STEP_SEAMS"):
    dispatch.add_middleware(_layer("first", outer))
    dispatch.add_middleware(_async_layer)
    dispatch.add_middleware(_layer("second", inner))
    dispatch.add_middleware(_jobs_only)
    dispatch.add_extension(_Sender())


# -- progress, ends and limits


def _stay(name: str) -> None:
    go = Path(os.environ["SHOP_EFFECTS"]).with_name(name)
    limit = time.monotonic() + 60
    while not go.exists() and time.monotonic() < limit:
        time.sleep(0.02)


@dispatch.step(retry=Retry(2, Constant(0)))
def reports(*, fails: bool = False) -> str:
    """Report how far it has come, stay until it is let go, and perhaps fail once."""
    mine = current_step()
    mine.progress(mine.attempt, 4, "half way" * 100)
    _stay(f"go{mine.attempt}")
    if fails and mine.attempt == 1:
        raise ValueError("once more")
    return mine.idempotency_key


@dispatch.step(retry=ONCE)
async def areports() -> str:
    """Report from the event loop."""
    await current_step().aprogress(0.5)
    await asyncio.to_thread(_stay, "go3")
    return "done"


def unreport(result: str | None, *, fails: bool = False) -> None:
    """Report while undoing."""
    current_step().progress(1, 1)
    _stay("go4")


@dispatch.workflow(name="steps.reporting")
def reporting(wf: Workflow) -> str:
    """Run steps that report."""
    wf.step(reports, fails=True)
    return wf.step(areports)


@dispatch.workflow(name="steps.unreporting")
def unreporting(wf: Workflow) -> None:
    """Report in an undo."""
    wf.add_undo(unreport, None)
    raise ValueError("not wanted any more")


@dispatch.step(retry=Retry(3))
def exits(code: int) -> None:
    """End its process, or so it thinks."""
    effect("exits")
    sys.exit(code)


@dispatch.step(retry=Retry(3))
async def aexits(code: int) -> None:
    """Do so on the event loop."""
    exits(code)


@dispatch.workflow(name="steps.exiting")
def exiting(wf: Workflow, *, on_loop: bool) -> str:
    """Catch what a step that ends its process has failed with."""
    try:
        wf.step(aexits if on_loop else exits, 3)
    except StepFailed as failed:
        wf.step(asees)
        wf.step(mark, "after")
        return f"{failed.error_type}: {failed.error_message}"
    return "not reached"


@dispatch.step(retry=ONCE)
def echo(words: str, times: int) -> str:
    """Return words, some times."""
    return words * times


@dispatch.workflow(name="steps.large")
def large(wf: Workflow, size: int) -> list[str]:
    """Give a step large arguments, and let it return a large result; tell what comes of it."""
    told = []
    for words, times in (("x" * size, 1), ("x", size)):
        try:
            told.append(str(len(wf.step(echo, words, times))))
        except DispatchError as error:
            told.append(str(error))
    return told
