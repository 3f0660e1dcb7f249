"""Extensions in real workers that hang, dawdle, run on the loop or in the background: none of them stops a worker."""

from __future__ import annotations

import re

import pytest

from tests.support.eventually import eventually
from tests.support.listening import Notebook
from tests.support.workers import Fleet, Worker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

MODULE = "tests.support.chatty"
POOLS = {"prefork": ("-c", "2"), "threads": ("-P", "threads", "-c", "4"), "gevent": ("-P", "gevent", "-c", "4")}


@pytest.fixture
def heard(shop: Fleet) -> Notebook:
    """Return the notebook in which this test's workers write."""
    return Notebook(shop.folder / "chatty.txt")


def _start(shop: Fleet, heard: Notebook, hooks: str, *arguments: str) -> Worker:
    return shop.start("w1", *arguments, "-I", MODULE, SHOP_CHATTY=str(heard.path), SHOP_HOOKS=hooks)


@pytest.mark.parametrize("pool", POOLS)
def test_hooks_that_hang_stop_no_worker(pool: str, shop: Fleet, heard: Notebook) -> None:
    """Who starts a job then waits once, for its patience; jobs go on, a crash is recovered, and the stop is clean."""
    worker = _start(shop, heard, "hang", *POOLS[pool])

    handles = [shop.shop.add.enqueue(n) for n in range(30)]
    assert [handle.result(timeout=20) for handle in handles] == [n + 1 for n in range(30)]
    if pool == "prefork":
        assert shop.shop.die.enqueue("crash", "kill", 1).result(timeout=20) == 1
    assert shop.shop.dispatch.workers.list().records[0].id in worker.words  # its lease has stood all the while
    assert worker.terminate() == 0

    # Its lane is one: whoever comes first, the leader's thread or that of a job, finds out for all of them.
    assert 1 <= len(re.findall(r"the hook Hanging\.on_\w+ is not done after 0\.2 s", worker.words)) <= 5
    assert worker.words.count("registered as") == 1
    told = {about for _, _, about, _ in heard.notices("witness", moment="completed")}
    assert told >= {handle.id for handle in handles}
    assert heard.notices("hanging", moment="leader_changed")


def test_a_slow_hook_is_told_of_by_name_and_time(shop: Fleet, heard: Notebook) -> None:
    """The log says which hook took how long."""
    worker = _start(shop, heard, "slow", "-c", "1")

    assert shop.shop.add.enqueue(1).result(timeout=15) == 2
    eventually(lambda: heard.notices("slow"), what="it was heard")
    assert worker.terminate() == 0

    assert "the hook Slow.on_job_completed took 0.3" in worker.words


@pytest.mark.parametrize("pool", POOLS)
def test_what_is_queued_is_told_before_the_worker_leaves(pool: str, shop: Fleet, heard: Notebook) -> None:
    """A background extension holds up nobody, and hears of every job although the worker stops at once."""
    worker = _start(shop, heard, "background", *POOLS[pool])

    handles = [shop.shop.add.enqueue(n) for n in range(10)]
    for handle in handles:
        handle.result(timeout=15)
    assert worker.terminate() == 0

    told = [about for _, _, about, _ in heard.notices("background")]
    assert sorted(told) == sorted(handle.id for handle in handles)


@pytest.mark.parametrize("pool", POOLS)
def test_an_async_hook_is_awaited_on_the_loop_of_its_process(pool: str, shop: Fleet, heard: Notebook) -> None:
    """Sync and async handlers alike: it runs where coroutines run, once for each job."""
    worker = _start(shop, heard, "async", *POOLS[pool])

    handles = [shop.shop.add.enqueue(1), shop.shop.aadd.enqueue(1)]
    for handle in handles:
        handle.result(timeout=15)
    assert worker.terminate() == 0

    notices = heard.notices("async")
    assert sorted(about for _, _, about, _ in notices) == sorted(handle.id for handle in handles)
    assert {facts["thread"] for *_, facts in notices} == {"dispatch-loop"}
