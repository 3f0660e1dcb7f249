"""What a worker shows to middleware, extensions, signals and the log: every transition, in order, once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dispatch_celery import JobState
from dispatch_celery.jobs.model import ENDED
from tests.support.eventually import eventually
from tests.support.listening import MODULE, PUBLICATION, Listener, Notebook, listen_to_signals
from tests.support.workers import Fleet, Worker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

POOLS = {"prefork": ("-c", "2"), "threads": ("-P", "threads", "-c", "4")}

STARTED = ["log started", "signal started", "hook started", "celery task_prerun"]
COMPLETED = ["log completed", "signal completed", "hook completed", "celery task_success", "celery task_postrun"]
RETRYING = ["log retrying", "signal retrying", "hook retrying", "celery task_retry", "celery task_postrun"]
FAILED = ["log failed", "signal failed", "hook failed", "log dead_lettered", "signal dead_lettered"]
FAILED += ["hook dead_lettered", "celery task_failure", "celery task_postrun"]
CANCELLED = ["log cancelled", "signal cancelled", "hook cancelled", "celery task_postrun"]


@pytest.fixture
def heard(shop: Fleet) -> Notebook:
    """Return the notebook in which this test's workers write."""
    return Notebook(shop.folder / "heard.txt")


@pytest.fixture
def said(shop: Fleet) -> Iterator[Notebook]:
    """Return the notebook of the caller's own process."""
    notebook = Notebook(shop.folder / "said.txt")
    shop.shop.dispatch.add_extension(Listener(notebook))
    end = listen_to_signals(notebook, PUBLICATION)
    yield notebook
    end()


def _start(shop: Fleet, notebook: Notebook, *arguments: str, name: str = "w1", **environment: str) -> Worker:
    return shop.start(name, *arguments, "-I", MODULE, SHOP_HEARD=str(notebook.path), **environment)


def _ways_to_end(shop: Fleet) -> dict[str, tuple[Any, list[str]]]:
    """Run one job of each kind to its end; return it, and what is to be heard of it."""
    jobs = shop.shop
    again = [*STARTED, *RETRYING]
    ways: dict[str, tuple[Any, list[str]]] = {
        "completes": (jobs.add.enqueue(1), [*STARTED, *COMPLETED]),
        "completes, async": (jobs.aadd.enqueue(1), [*STARTED, *COMPLETED]),
        "retries twice": (jobs.flaky.enqueue("twice", 2), [*again, *again, *STARTED, *COMPLETED]),
        "uses up its attempts": (jobs.flaky.enqueue("thrice", 3), [*again, *again, *STARTED, *FAILED]),
        "fails": (jobs.end.enqueue("fail"), [*STARTED, *FAILED]),
        "cancels": (jobs.end.enqueue("cancel"), [*STARTED, *CANCELLED]),
        "retries after": (jobs.end.enqueue("retry after"), [*again, *STARTED, *COMPLETED]),
        "snoozes": (jobs.end.enqueue("snooze"), [*again * 4, *STARTED, *COMPLETED]),
    }
    for way, (handle, _) in ways.items():
        eventually(lambda handle=handle: handle.state() in ENDED, within=20, what=f"the job that {way} has ended")
    return ways


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("clumsy", ["", "1"], ids=["quiet", "clumsy"])
def test_every_transition_is_told_once_and_in_order(pool: str, clumsy: str, shop: Fleet, heard: Notebook) -> None:
    """Log, signal, hook and Celery's own signal tell each transition once, also where hooks and receivers raise."""
    worker = _start(shop, heard, *POOLS[pool], SHOP_CLUMSY=clumsy)

    ways = _ways_to_end(shop)
    assert worker.terminate() == 0

    for way, (handle, story) in ways.items():
        assert (way, heard.story(handle.id, "log", "signal", "hook", "celery")) == (way, story)
    assert ("the hook Clumsy.on_job_started failed" in worker.words) == bool(clumsy)
    assert ("a receiver stumbles" in worker.words) == bool(clumsy)


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_tells_of_itself_once(pool: str, shop: Fleet, heard: Notebook) -> None:
    """Joining, the leader and the stop are told once each, whatever the number of pool processes."""
    worker = _start(shop, heard, *POOLS[pool])
    assert shop.shop.add.enqueue(1).result(timeout=10) == 2
    eventually(lambda: heard.notices("hook", moment="leader_changed"), what="it leads")
    assert worker.terminate() == 0

    (joined,) = heard.notices("hook", moment="worker_joined")
    assert heard.story("", "hook") == ["hook worker_joined", "hook leader_changed", "hook shutdown"]
    assert heard.story("", "signal") == ["signal worker_joined", "signal leader_changed", "signal shutdown"]
    assert heard.story("", "log") == ["log worker_joined", "log leader_changed", "log shutdown"]
    (leader,) = heard.notices("hook", moment="leader_changed")
    assert leader[3]["leader"] == joined[3]["worker"]
    assert {facts["pid"] for *_, facts in heard.notices("hook", "")} == {worker.pid}


def test_what_is_told_is_true(shop: Fleet, heard: Notebook) -> None:
    """Hooks, signals and log lines carry the attempt, the due time, the error and the elapsed time."""
    worker = _start(shop, heard, "-c", "1")
    flaky = shop.shop.flaky.enqueue("facts", 2)
    assert flaky.result(timeout=15) == 3
    failed = shop.shop.end.enqueue("fail")
    eventually(lambda: failed.state() == JobState.FAILED)
    worker.terminate()

    retries = [facts for *_, facts in heard.notices("hook", flaky.id, "retrying")]
    assert [facts["attempt"] for facts in retries] == [1, 2]
    assert all(facts["next_run_at"] > str(flaky.info().created_at) for facts in retries)
    (completed,) = heard.notices("signal", flaky.id, "completed")
    assert 0 <= completed[3]["elapsed"] < 5
    assert [facts["attempt"] for *_, facts in heard.notices("log", flaky.id, "started")] == [1, 2, 3]
    (error,) = heard.notices("hook", failed.id, "failed")
    assert (error[3]["error"], error[3]["name"]) == ("it is hopeless", "shop.end")
    (line,) = heard.notices("log", failed.id, "failed")
    assert (line[3]["level"], line[3]["job_name"], line[3]["queue"]) == ("WARNING", "shop.end", shop.shop.QUEUE)
    assert f"dispatch.job.failed job_id={failed.id} job_name=shop.end" in worker.words


def test_an_enqueue_is_told_in_the_process_that_made_it(shop: Fleet, heard: Notebook, said: Notebook) -> None:
    """The caller hears of its own jobs, once also for a repeated key; the worker of a plain call it adopted."""
    jobs = shop.shop
    first = jobs.touch.options(idempotency_key="k").enqueue("once")
    assert jobs.touch.options(idempotency_key="k").enqueue("once").id == first.id
    many = jobs.add.enqueue_many([(n,) for n in range(3)])
    worker = _start(shop, heard, "-c", "1")
    for handle in [first, *many]:
        handle.result(timeout=15)
    foreign = jobs.app.send_task("shop.add", args=[5, 6])
    assert foreign.get(timeout=15) == 11
    worker.terminate()

    for handle in [first, *many]:
        assert said.story(handle.id, "hook", "signal") == ["signal enqueued", "hook enqueued"]
    assert [name for _, name, *_ in heard.notices("hook") if name == "enqueued"] == ["enqueued"]
    (adopted,) = heard.notices("hook", moment="enqueued")
    assert heard.story(adopted[2], "hook") == ["hook enqueued", "hook started", "hook completed"]


def test_a_publication_is_told_as_celery_tells_it(shop: Fleet, said: Notebook) -> None:
    """Celery's signals before and after a publication are sent once for each wake-up of an enqueue."""
    handles = [shop.shop.add.enqueue(1), *shop.shop.add.enqueue_many([(2,), (3,)])]

    for handle in handles:
        assert said.story(handle.id, "celery") == ["celery before_task_publish", "celery after_task_publish"]


def test_a_crash_is_told_as_a_recovery(shop: Fleet, heard: Notebook) -> None:
    """A job whose process is killed is taken back once, and Celery hears of a second start and of no failure."""
    worker = _start(shop, heard, "-c", "2")
    handle = shop.shop.die.enqueue("crash", "kill", 1)
    assert handle.result(timeout=20) == 1
    assert worker.terminate() == 0

    # The main process tells of it beside its own work: its notices may fall among those of the second attempt.
    recovered = ["log recovered", "signal recovered", "hook recovered"]
    story = heard.story(handle.id, "log", "signal", "hook", "celery")
    assert [notice for notice in story if notice in recovered] == recovered
    assert [notice for notice in story if notice not in recovered] == [*STARTED, *STARTED, *COMPLETED]


@pytest.mark.parametrize("pool", POOLS)
def test_a_cancel_of_a_running_job_is_told_once(pool: str, shop: Fleet, heard: Notebook) -> None:
    """Whoever ends a cancelled job, its process or its worker, tells of it once, and Celery hears of no failure."""
    worker = _start(shop, heard, *POOLS[pool])
    handle = shop.shop.hold.enqueue("held")
    eventually(lambda: shop.effects("held"), what="it runs")
    assert handle.cancel() == JobState.RUNNING
    eventually(lambda: heard.notices("hook", handle.id, "cancelled"), what="it is told")
    (shop.folder / "go").touch()
    assert worker.terminate() == 0

    fenced = ["log fenced"] if pool == "threads" else []
    story = [*STARTED, *CANCELLED[:-1], *fenced, *CANCELLED[-1:]]
    assert heard.story(handle.id, "log", "signal", "hook", "celery") == story


def test_a_lost_worker_is_told_by_the_one_that_recovers(shop: Fleet, heard: Notebook) -> None:
    """Who takes over tells of the lost worker, of the new leader and of each job taken back, once."""
    lost = Notebook(shop.folder / "lost.txt")
    victim = _start(shop, lost, "-c", "1", name="victim")
    eventually(lambda: lost.notices("hook", moment="leader_changed"), what="the victim leads")
    held = shop.shop.hold.enqueue("held")
    eventually(lambda: shop.effects("held"), what="it runs")
    heir = _start(shop, heard, "-c", "1", name="heir")
    eventually(lambda: heard.notices("hook", moment="leader_changed"), what="the heir knows who leads")
    victim.kill()

    eventually(lambda: len(shop.effects("held")) == 2, within=30, what="it runs again")
    (shop.folder / "go").touch()
    assert held.result(timeout=15) == "held"
    eventually(lambda: heard.notices("hook", moment="worker_lost"), what="the loss is told")
    heir.terminate()

    (joined,) = lost.notices("hook", moment="worker_joined")
    (gone,) = heard.notices("signal", moment="worker_lost")
    assert gone[3]["worker"] == joined[3]["worker"]
    story = ["hook recovered", "hook started", "hook completed"]
    assert heard.story(held.id, "hook") == story
    (own,) = heard.notices("hook", moment="worker_joined")
    leaders = [facts["leader"] for *_, facts in heard.notices("hook", moment="leader_changed")]
    assert leaders == [joined[3]["worker"], own[3]["worker"]]


@pytest.mark.parametrize("pool", POOLS)
def test_middleware_wraps_in_the_order_added(pool: str, shop: Fleet, heard: Notebook) -> None:
    """The first added is the outermost, sync around async, and context variables set in them reach the handler."""
    worker = _start(shop, heard, *POOLS[pool])
    dispatch = shop.shop.dispatch
    plain, coroutine = dispatch.enqueue("listening.tell"), dispatch.enqueue("listening.atell")

    assert plain.result(timeout=10) == [f"first {plain.id}", "unset"]
    assert coroutine.result(timeout=10) == [f"first {coroutine.id}", f"async first {coroutine.id}"]
    assert worker.terminate() == 0

    def layers(*names: str) -> list[str]:
        into = [f"middleware {name} in" for name in names]
        out = [f"middleware {name} out" for name in reversed(names)]
        return [*into, "handler runs", *out]

    assert heard.story(plain.id, "middleware", "handler") == layers("first", "second")
    expected = layers("first", "second", "async first", "async second")
    assert heard.story(coroutine.id, "middleware", "handler") == expected
