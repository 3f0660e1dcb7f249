"""How far a map has come is one figure of its run's record: while it waits and while it works, until it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from dispatch_celery import AsyncWorkflow, Dispatch, Retry, RetryAfter, Workflow, current_job, current_step
from dispatch_celery.testing import Kit

HOUR = 3_600


@pytest.fixture
def dispatch() -> Dispatch:
    """Return an app without jobs or workflows; nobody listens at its broker."""
    return Dispatch(Celery("figures", broker="redis://127.0.0.1:1/0"))


@pytest.fixture
def kit(dispatch: Dispatch, server_url: str) -> Iterator[Kit]:
    """Lend the app to a test, in a namespace of its own."""
    with Kit(dispatch, server_url) as made:
        yield made


def figure(done: int, total: int, identity: str = "map#1") -> dict[str, Any]:
    return {"step": identity, "done": done, "total": total, "message": ""}


def test_a_run_that_waits_in_a_map_says_how_many_have_ended(dispatch: Dispatch, kit: Kit) -> None:
    """Up to the last end, though its run was not woken for it; also where more are sent than may be under way."""

    @dispatch.job(retry=Retry(2))
    def slow(n: int) -> int:
        if n >= 6 and current_job().attempt == 1:
            raise RetryAfter(HOUR * (n - 5))
        return n

    @dispatch.workflow
    def maps(wf: Workflow, count: int, width: int) -> int:
        found = wf.map(slow, range(count), max_parallel=width)
        wf.sleep(HOUR)
        return sum(found)

    all_at_once, some = maps.start(9, 9), maps.start(10, 4)
    kit.drain()
    assert (all_at_once.info().progress, some.info().progress) == (figure(6, 9), figure(6, 10))
    assert [line.total for line in dispatch.runs.timeline(some.id) if line.total] == [10]

    kit.advance(HOUR)
    assert (all_at_once.info().progress, some.info().progress) == (figure(7, 9), figure(7, 10))
    kit.advance(HOUR * 3)
    assert (all_at_once.info().progress, some.info().progress) == (None, None)
    assert (kit.result(all_at_once), kit.result(some)) == (36, 45)


def test_steps_of_a_map_count_as_they_end(dispatch: Dispatch, kit: Kit) -> None:
    """Read from the record while the others work; a step's own word stands in between."""
    seen: list[Any] = []

    @dispatch.step
    def looks(n: int) -> int:
        seen.append(dispatch.runs.get(current_step().run_id).progress)
        if n == 2:
            current_step().progress(1, 2, "half")
            seen.append(dispatch.runs.get(current_step().run_id).progress)
        return n

    @dispatch.workflow
    def maps(wf: Workflow) -> list[int]:
        return wf.map(looks, range(4), max_parallel=2)

    assert kit.result(maps.start()) == [0, 1, 2, 3]
    own = {"step": "map#1/looks#3", "attempt": 1, "done": 1, "total": 2, "message": "half"}
    assert seen == [None, figure(1, 4), figure(2, 4), own, figure(3, 4)]


def test_a_map_in_a_task_tells_its_figure(dispatch: Dispatch, kit: Kit) -> None:
    """As its run went to rest, where that waits for something else besides."""

    @dispatch.job(retry=Retry(2))
    def slow(n: int) -> int:
        if n and current_job().attempt == 1:
            raise RetryAfter(HOUR)
        return n

    @dispatch.workflow
    async def maps(wf: AsyncWorkflow) -> list[int]:
        async def inner() -> list[int]:
            return await wf.map(slow, range(3))

        found, _ = await asyncio.gather(inner(), wf.sleep(60))
        return found

    run = maps.start()
    kit.drain()
    kit.advance(60)
    assert run.info().progress == figure(1, 3, "task#1/map#1")
    assert kit.result(run) == [0, 1, 2]
