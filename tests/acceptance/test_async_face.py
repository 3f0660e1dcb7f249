"""The ``a`` twins, against a real worker: the same verbs, and the event loop stays free."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from dispatch_celery import Dispatch, JobNotCancellable, JobNotFound, JobState, ResultTimeout
from dispatch_celery.cluster.service import WorkerService
from dispatch_celery.cron.service import CronService
from dispatch_celery.dlq.service import DeadLetterService
from dispatch_celery.events.service import EventService
from dispatch_celery.jobs.service import JobService
from dispatch_celery.queues.service import QueueService
from dispatch_celery.workflows.service import RunService
from tests.support.workers import Fleet

pytestmark = pytest.mark.slow


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine, with a bound."""

    async def bounded() -> None:
        async with asyncio.timeout(40):
            await main

    asyncio.run(bounded())


def test_hundreds_wait_on_one_connection_and_hold_no_thread(shop: Fleet) -> None:
    """Waiters are told through one listening thread; the loop's own pool of threads is idle meanwhile."""
    app = shop.shop
    shop.start("w1", "-P", "threads", "-c", "2")

    async def main() -> None:
        gate = await app.hold.aenqueue("gate")
        handles = await app.add.aenqueue_many([(n, 1) for n in range(300)])
        waiting = [asyncio.ensure_future(handle.aresult(timeout=30)) for handle in (gate, *handles)]
        assert await asyncio.gather(*waiting[1:]) == [n + 1 for n in range(300)]
        before = await app.dispatch.jobs.acount(state=JobState.RUNNING)
        assert before == {JobState.RUNNING: 1}
        listeners = [thread for thread in threading.enumerate() if thread.name == "dispatch-listener"]
        assert len(listeners) == 1
        assert not waiting[0].done()
        shop.effects_file.with_name("go").touch()
        assert await waiting[0] == "gate"

    run(main())


def test_every_verb_has_a_twin_that_answers_alike(shop: Fleet) -> None:
    """Reads, changes, dead letters, workers and the app's own verbs."""
    app, dispatch = shop.shop, shop.shop.dispatch
    shop.start()

    async def main() -> None:
        later = await app.add.options(delay=600).aenqueue(1)
        failing = await dispatch.aenqueue("shop.end", how="fail")
        many = await app.add.options(priority=5).aenqueue_many([(1, 2), {"a": 3}])
        assert [await handle.aresult(timeout=20) for handle in many] == [3, 4]
        with pytest.raises(ResultTimeout):
            await later.aresult(timeout=0.05)
        assert await later.astate() == JobState.SCHEDULED
        assert (await later.ainfo()).arguments == {"a": 1}
        assert await dispatch.jobs.arun_now(later.id) == JobState.PENDING
        assert await later.aresult(timeout=20) == 2
        with pytest.raises(JobNotCancellable):
            await later.acancel()
        with pytest.raises(Exception, match="it is hopeless"):
            await failing.aresult(timeout=20)
        (letter,) = await dispatch.dlq.alist()
        assert letter == await dispatch.dlq.aget(failing.id)
        again = await dispatch.dlq.areplay(letter.id)
        with pytest.raises(Exception, match="it is hopeless"):
            await again.aresult(timeout=20)
        assert await dispatch.dlq.acount() == 2
        assert await dispatch.dlq.apurge() == 2
        with pytest.raises(JobNotFound):
            await dispatch.jobs.aget(failing.id)
        (latest,) = [job.id async for job in await dispatch.jobs.alist(name="shop.add", limit=1)]
        assert latest in {handle.id for handle in many}
        assert [worker.leads for worker in await dispatch.workers.alist()] == [True]
        assert await dispatch.aping()
        assert (await dispatch.astats()).dead_letters == 0

    run(main())


def test_a_scope_travels_into_the_threads(shop: Fleet) -> None:
    """The twin runs its verb in a copy of the caller's context."""
    from dispatch_celery import scope

    app = shop.shop

    async def main() -> None:
        with scope(app_id="a", org_id="o"):
            handle = await app.whose.aenqueue()
        assert (await handle.ainfo()).scope.path == "a/o"

    run(main())


WITHOUT: dict[type, set[str]] = {
    Dispatch: {"add_extension", "add_middleware", "cron", "event", "init_app", "job", "remote", "step", "workflow"},
    JobService: {"call_off", "enqueue_calls", "handle", "handle_of"},
    RunService: {"call_off", "handle", "handle_of", "new_run", "start_call", "take_back", "write"},
    EventService: {"encoded", "forget", "look", "publish_at", "tell", "tell_due"},
    DeadLetterService: {"bury", "select"},
    CronService: set(),
    QueueService: {"declare"},
    WorkerService: set(),
}
"""What declares, makes no trip, or is not for users."""


@pytest.mark.parametrize("service", WITHOUT, ids=lambda service: service.__name__)
def test_every_public_verb_has_a_twin(service: type) -> None:
    """What is added gets its twin, or is named here."""
    verbs = {name for name in dir(service) if not name.startswith("_") and callable(getattr(service, name))}
    sync = {name for name in verbs if f"a{name}" in verbs}
    twins = {f"a{name}" for name in sync}

    assert verbs - sync - twins == WITHOUT[service]
