"""What a workflow's body may not call, and where a body ends."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from contextvars import copy_context

import pytest
from celery import Celery

from dispatch_celery import Dispatch, Workflow
from dispatch_celery.errors import NotInStep, WorkflowMisuse
from dispatch_celery.work.body import in_body, out_of_body, refuse_in_body
from dispatch_celery.workflows.steps import current_step

app = Celery("shop", broker="redis://127.0.0.1:1/0")
dispatch = Dispatch(app)


@dispatch.job(name="shop.receipt")
def send_receipt(order: int) -> int:
    """Return what it was given."""
    return order


@dispatch.step
def charge(order: int) -> int:
    """Return what it was given."""
    return order


@dispatch.step
async def acharge(order: int) -> int:
    """Return what it was given."""
    return order


@dispatch.workflow(name="checkout")
def checkout(wf: Workflow, order: int) -> None:
    """Do nothing."""


def refused() -> bool:
    """Return whether a durable verb is refused here."""
    try:
        refuse_in_body("x()")
    except WorkflowMisuse:
        return True
    return False


def test_outside_of_a_body_everything_may_be_called() -> None:
    """A plain call runs the function."""
    assert not refused()
    assert (send_receipt(1), charge(2), charge.options(name="x")(3), asyncio.run(acharge(4))) == (1, 2, 3, 4)


def test_a_body_ends_with_its_block() -> None:
    """Also where it raises; what the engine does in between is no part of it."""
    with suppress(KeyError), in_body("checkout"):
        assert refused()
        with out_of_body():
            assert not refused()
            with in_body("other"):
                assert refused()
            assert not refused()
        assert refused()
        raise KeyError
    assert not refused()


def test_the_error_names_the_verb_the_workflow_and_what_to_write() -> None:
    """By the names the code has, not by those of messages."""
    with in_body("checkout"):
        with pytest.raises(WorkflowMisuse) as caught:
            send_receipt.options(delay=3).enqueue(1)
        assert str(caught.value) == (
            "send_receipt.enqueue() in the body of the workflow checkout would happen again at each replay: use"
            " wf.enqueue(send_receipt, ...), or wf.run_job(send_receipt, ...) to wait for its result"
        )
        with pytest.raises(WorkflowMisuse, match=r"^charge\(\) in the body .*: use wf\.step\(charge, \.\.\.\)$"):
            charge(1)
        with pytest.raises(WorkflowMisuse, match=r"^charge\(\) .*: use wf\.step\(charge\.options\(\.\.\.\), \.\.\.\)$"):
            charge.options(name="x")(1)
        with pytest.raises(WorkflowMisuse, match=r"^checkout\.start\(\) .*: use wf\.run_child\(checkout, \.\.\.\)"):
            checkout.start(1)


def test_an_async_step_is_refused_when_it_is_called() -> None:
    """No coroutine is made that nobody awaits."""
    with in_body("checkout"), pytest.raises(WorkflowMisuse, match=r"use wf\.step\(acharge"):
        acharge(1)


def test_what_a_body_may_hold_is_not_refused() -> None:
    """Bound calls, options and handles do nothing yet."""
    with in_body("checkout"):
        assert send_receipt.bind(1).payload == charge.bind(1).encode(100) == checkout.bind(1).payload
        send_receipt.options(queue="slow")
        send_receipt.handle("job_01m7z9zf2ge009w1ef2z6aj5bg")


def test_braces_in_a_name_are_only_text() -> None:
    """The words are formatted once."""
    with in_body("a{0}b"), pytest.raises(WorkflowMisuse, match=r"the_\{0\} in the body of the workflow a\{0\}b"):
        refuse_in_body("{0}", "{0}", "the_{0}")


def test_it_follows_copied_contexts_and_not_bare_threads() -> None:
    """A thread of one's own begins with an empty context."""
    found: list[bool] = []
    with in_body("checkout"):
        assert copy_context().run(refused)
        assert asyncio.run(asyncio.to_thread(refused))
        bare = threading.Thread(target=lambda: found.append(refused()))
        bare.start()
        bare.join()
    assert found == [False]


def test_outside_of_a_step_there_is_none() -> None:
    """A body is no step."""
    with in_body("checkout"), pytest.raises(NotInStep):
        current_step()
