"""Workflows that do a little of everything durable, on the app of the flows: what is lost or doubled shows outside."""

from __future__ import annotations

from dispatch_celery import Fail, Retry
from dispatch_celery.workflows.context import Workflow
from tests.support.flows import app, dispatch  # noqa: F401 - the worker looks for ``app`` here
from tests.support.many_flows import note

ONCE = Retry(1)
paid = dispatch.event("order.paid", str)


def unbook(result: str | None, name: str) -> None:
    """Undo a booking."""
    note(f"unbook-{name}")


@dispatch.step(retry=ONCE, undo=unbook)
def book(name: str) -> str:
    """Leave an effect that can be undone."""
    note(f"book-{name}")
    return name


@dispatch.job(name="orders.pack", retry=ONCE)
def pack(name: str, n: int) -> int:
    """Leave an effect."""
    note(f"pack-{name}-{n}")
    return n


@dispatch.workflow(name="orders.part")
def part(wf: Workflow, name: str) -> str:
    """Be a child with an effect of its own."""
    wf.sleep(0.05)
    return wf.step(book, f"{name}-part")


@dispatch.workflow(name="orders.order")
def order(wf: Workflow, name: str, *, fails: bool) -> list[str]:
    """Book, rest, pack, send a child, hear of the payment or not; then complete or fail."""
    wf.step(book, f"{name}-first")
    wf.sleep(0.1)
    packed = wf.gather(*(pack.bind(name, n) for n in range(2)))
    wf.run_child(part, name)
    heard = wf.wait_for_event(paid, key=name, timeout=1.0)
    wf.step(book, f"{name}-last")
    if fails:
        raise Fail("not wanted any more")
    return [name, heard or "nobody", *(str(n) for n in packed)]
