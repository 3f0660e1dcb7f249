"""The conformance catalogue of durable functions where several calls are under way at once: DF-06 to DF-11.

`docs/parity-functions.md` has a row for each number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from celery import Celery

from dispatch_celery import AsyncWorkflow, Dispatch, Fail, JobFailed, Retry, Workflow, WorkflowMisuse
from dispatch_celery.testing import Kit

MINUTE = 60
ONCE = Retry(1)


@pytest.fixture
def dispatch() -> Dispatch:
    """Return an app without jobs or workflows; nobody listens at its broker."""
    return Dispatch(Celery("parity", broker="redis://127.0.0.1:1/0"))


@pytest.fixture
def kit(dispatch: Dispatch, server_url: str) -> Iterator[Kit]:
    """Lend the app to a test, in a namespace of its own."""
    with Kit(dispatch, server_url) as made:
        yield made


def test_the_first_error_to_arrive_is_raised(dispatch: Dispatch, kit: Kit) -> None:
    """DF-06: not the first among the arguments; and the same one on every replay."""

    @dispatch.job(retry=ONCE)
    def refuse(name: str) -> None:
        raise Fail(name)

    @dispatch.workflow
    def gathers(wf: Workflow) -> str:
        try:
            wf.gather(refuse.options(delay=2 * MINUTE).bind("late"), refuse.options(delay=MINUTE).bind("early"))
        except JobFailed as failed:
            wf.sleep(MINUTE)
            return failed.error_message
        return "none"

    assert kit.result(gathers.start()) == "early"


def test_the_first_success_is_returned(dispatch: Dispatch, kit: Kit) -> None:
    """DF-07: an earlier failure does not end it, a later success does not change it."""

    @dispatch.job(retry=ONCE)
    def odd(n: int) -> int:
        if n % 2 == 0:
            raise Fail(f"{n} is even")
        return n

    @dispatch.workflow
    def first(wf: Workflow) -> tuple[int, int]:
        delayed = [odd.options(delay=MINUTE * (4 - n)).bind(n) for n in (1, 3, 2)]
        found = wf.first_ok(odd.bind(4), *delayed)
        wf.sleep(10 * MINUTE)
        return found

    assert kit.result(first.start()) == (2, 3)


@pytest.mark.parametrize(("delays", "told"), [((1,), "0"), ((3, 1, 2), "0"), ((1, 3, 2), "1")])
def test_the_last_failure_is_raised_where_none_succeeds(
    delays: tuple[int, ...], told: str, dispatch: Dispatch, kit: Kit
) -> None:
    """DF-08: one error of the call's own class, of who failed last; ``except JobFailed`` finds it."""

    @dispatch.job(retry=ONCE)
    def refuse(n: int) -> int:
        raise Fail(str(n))

    @dispatch.workflow
    def first(wf: Workflow) -> str:
        try:
            wf.first_ok(*[refuse.options(delay=MINUTE * delay).bind(n) for n, delay in enumerate(delays)])
        except JobFailed as failed:
            wf.sleep(MINUTE)
            return failed.error_message
        return "none"

    assert kit.result(first.start()) == told


@pytest.mark.parametrize(("failing", "told"), [("slow", "1 quick"), ("quick", "quick is refused")])
def test_the_first_end_wins_a_race(failing: str, told: str, dispatch: Dispatch, kit: Kit) -> None:
    """DF-09: whether it is a value or an error; who loses does not count any more."""

    @dispatch.job(retry=ONCE)
    def run(name: str) -> str:
        if name == failing:
            raise Fail(f"{name} is refused")
        return name

    @dispatch.workflow
    def race(wf: Workflow) -> str:
        try:
            place, name = wf.race(run.options(delay=2 * MINUTE).bind("slow"), run.options(delay=MINUTE).bind("quick"))
        except JobFailed as failed:
            return failed.error_message
        wf.sleep(10 * MINUTE)
        return f"{place} {name}"

    assert kit.result(race.start()) == told


def test_nothing_is_gathered_at_once_and_nobody_wins_among_none(dispatch: Dispatch, kit: Kit) -> None:
    """DF-10: gather and map of nothing are empty; race and first_ok say that nobody can win, on replay as before."""

    @dispatch.job
    def refuse(n: int) -> int:
        raise Fail(str(n))

    @dispatch.workflow
    def empty(wf: Workflow) -> list[str]:
        told = [repr(wf.gather()), repr(wf.map(refuse, []))]
        for verb in (wf.race, wf.first_ok):
            with pytest.raises(WorkflowMisuse, match="nobody can win"):
                verb()
        wf.sleep(MINUTE)
        return told

    assert kit.result(empty.start()) == ["()", "[]"]


def test_eight_calls_that_depend_on_each_other_have_ids_of_their_own(dispatch: Dispatch, kit: Kit) -> None:
    """DF-11: a graph of eight calls ends with the right sum, each job is one job, under one id in every replay."""
    passes: list[list[str]] = []

    @dispatch.job
    def add(*, numbers: list[int]) -> int:
        return 1 + sum(numbers)

    @dispatch.workflow
    async def graph(wf: AsyncWorkflow) -> int:
        ids: list[str] = []
        passes.append(ids)

        async def call(*numbers: int) -> int:
            promise = wf.run_job(add, numbers=list(numbers))
            ids.append(promise.id)
            return await promise

        a = await call()
        b, c, d = await asyncio.gather(call(a), call(a), call(a))
        e, f = await asyncio.gather(call(b, c), call(c, d))
        return await call(await call(e, f), a)

    with kit.always_replay():
        assert kit.result(graph.start()) == 13
    ids = passes[-1]
    assert sorted(ids) == sorted(job.id for job in kit.jobs_enqueued())
    assert len(set(ids)) == 8
    assert len(passes) > 4
    assert all(one == ids[: len(one)] for one in passes)
