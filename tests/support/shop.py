"""The Celery app that acceptance and fault tests run in real workers: one job for each way an attempt can go.

Effects are appended to a file outside of the engine and its server, one line each: what tests count.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import time
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from celery import Celery
from pydantic import BaseModel

from dispatch_celery import (
    Cancel,
    Constant,
    Dispatch,
    Fail,
    Retry,
    RetryAfter,
    Secret,
    Snooze,
    current_job,
    current_scope,
)

QUEUE = f"q-{os.environ.get('DISPATCH_NAMESPACE', 'none')}"

app = Celery("shop", broker=os.environ.get("SHOP_BROKER", "redis://127.0.0.1:1/0"))
app.conf.task_default_queue = QUEUE
app.conf.worker_prefetch_multiplier = 4
app.conf.broker_connection_retry_on_startup = True
dispatch = Dispatch(app)


class Order(BaseModel):
    """A typed argument."""

    id: str
    amount: Decimal
    placed: datetime | None = None
    data: bytes = b""


class Receipt(BaseModel):
    """A typed result."""

    order: Order
    attempt: int


def effect(name: str) -> int:
    """Append one line for an effect; return how many there are of this name now."""
    path = Path(os.environ["SHOP_EFFECTS"])
    line = f"{name} {os.getpid()} {time.time():.3f}\n".encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)
    return sum(1 for known in path.read_text().splitlines() if known.split(" ", 1)[0] == name)


@dispatch.job(name="shop.add")
def add(a: int, b: int = 1) -> int:
    """Return a sum."""
    return a + b


@dispatch.job(name="shop.total")
def total(numbers: list[int]) -> int:
    """Return the sum of many."""
    return sum(numbers)


@dispatch.job(name="shop.touch")
def touch(name: str) -> str:
    """Leave an effect."""
    effect(name)
    return name


@dispatch.job(name="shop.aadd")
async def aadd(a: int, b: int = 1) -> int:
    """Return a sum, after a turn of the event loop."""
    await asyncio.sleep(0.01)
    return a + b


@dispatch.job(name="shop.receipt")
def receipt(order: Order, *, copy: bool = False) -> Receipt:
    """Return a model made of a model."""
    return Receipt(order=order, attempt=current_job().attempt)


@dispatch.job(name="shop.flaky", retry=Retry(3, Constant(0.1)))
def flaky(name: str, failures: int) -> int:
    """Fail some times, then return the number of the attempt."""
    if effect(name) <= failures:
        raise ValueError(f"attempt {current_job().attempt} fails")
    return current_job().attempt


@dispatch.job(name="shop.nap", timeout=60, retry=Retry(2, Constant(0.1)))
def nap(name: str, seconds: float) -> str:
    """Leave an effect, take some time, leave another."""
    effect(name)
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        time.sleep(0.02)
    effect(f"{name}-end")
    return name


@dispatch.job(name="shop.hold")
def hold(name: str) -> str:
    """Leave an effect, and stay until the file ``go`` is there."""
    effect(name)
    go = Path(os.environ["SHOP_EFFECTS"]).with_name("go")
    limit = time.monotonic() + 60
    while not go.exists() and time.monotonic() < limit:
        time.sleep(0.02)
    return name


@dispatch.job(name="shop.anap", timeout=60, retry=Retry(2, Constant(0.1)))
async def anap(name: str, seconds: float) -> str:
    """Take some time on the event loop."""
    effect(name)
    await asyncio.sleep(seconds)
    effect(f"{name}-end")
    return name


@dispatch.job(name="shop.die", retry=Retry(2, Constant(0.1)))
def die(name: str, how: str, times: int) -> int:
    """End this very process some times, one way or another; then return how often that was."""
    count = effect(name)
    if count > times:
        return count - 1
    if how == "kill":
        os.kill(os.getpid(), 9)
    elif how == "exit":
        os._exit(3)
    elif how == "segfault":
        ctypes.string_at(0)
    elif how == "memory":
        resource.setrlimit(resource.RLIMIT_AS, (200_000_000, 200_000_000))
        hog = [bytearray(50_000_000) for _ in range(20)]
        os.kill(os.getpid(), len(hog))
    return count


@dispatch.job(name="shop.hog")
def hog(seconds: float) -> float:
    """Hold the interpreter's lock in one long call of C code."""
    started = time.monotonic()
    libc = ctypes.PyDLL(None)
    libc.usleep(int(seconds * 1e6))
    return time.monotonic() - started


@dispatch.job(name="shop.end", retry=Retry(3, Constant(0.1)))
def end(how: str) -> str:
    """End the attempt by one of the four exceptions."""
    attempt = current_job().token
    if how == "fail":
        raise Fail("it is hopeless")
    if how == "cancel":
        raise Cancel("nobody needs it")
    if how == "retry after" and attempt == 1:
        raise RetryAfter(0.2)
    if how == "snooze" and attempt < 5:
        raise Snooze(0.05)
    return f"attempt {current_job().attempt}, claim {attempt}"


@dispatch.job(name="shop.broken", retry=Retry(1))
def broken(message: str) -> None:
    """Fail for good, in one line of code, with any message."""
    raise ValueError(message)


@dispatch.job(name="shop.whose")
def whose() -> str:
    """Return the scope that is in force."""
    return current_scope().path


@dispatch.job(name="shop.liar")
def liar() -> int:
    """Return what the annotation forbids."""
    return "not a number"  # type: ignore[return-value]  # that is the point


@dispatch.job(name="shop.secret")
def secret(user: str, password: Secret[str]) -> str:
    """Take an argument nobody must see."""
    return f"{user}:{len(password)}"


@dispatch.job(name="shop.progress")
def progress(steps: int) -> int:
    """Report progress."""
    for step in range(steps):
        current_job().progress(step + 1, steps, "working")
        time.sleep(0.05)
    return steps


class Unprintable(Exception):
    """An exception that can neither be printed nor pickled."""

    def __init__(self) -> None:
        self.held = open("/dev/null")  # noqa: SIM115, PTH123 - an open file cannot be pickled

    def __str__(self) -> str:
        raise RuntimeError("no words")


@dispatch.job(name="shop.unprintable", retry=Retry(1))
def unprintable() -> None:
    """Raise what can neither be printed nor pickled."""
    raise Unprintable


@dispatch.job(name="shop.special", queue=f"{QUEUE}-special", priority=7)
def special(n: int) -> int:
    """Have a queue and a priority of its own."""
    return n


if os.environ.get("SHOP_NEW_RELEASE"):

    @dispatch.job(name="shop.novelty")
    def novelty() -> str:
        """A job only the new release knows."""
        return "new"

    @app.task(name="shop.plain_novelty", shared=False)
    def plain_novelty(x: int, word: str) -> None:
        """An ordinary Celery task only the new release knows."""
        effect(f"novelty-{x}-{word}")


@app.task(name="shop.plain", shared=False)
def plain(x: int) -> int:
    """An ordinary Celery task on the same queue."""
    effect(f"plain-{x}")
    return x


@dispatch.job(name="shop.polite", retry=Retry(1))
def polite(name: str) -> None:
    """Stay until somebody asks to cancel, and obey."""
    effect(name)
    limit = time.monotonic() + 60
    while not current_job().cancelled and time.monotonic() < limit:
        time.sleep(0.02)
    raise Cancel("as you wish")


if os.environ.get("SHOP_MAX_PRIORITY"):
    app.conf.task_queue_max_priority = int(os.environ["SHOP_MAX_PRIORITY"])
