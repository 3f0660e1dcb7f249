"""Generations of runs and their forks under attack: repeated, at the wrong moment, with work under way.

Executed by the testing kit, in this process, on a real server and a virtual clock.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from celery import Celery

from dispatch_celery import (
    ConfigurationError,
    Dispatch,
    IdempotencyConflict,
    Retry,
    RunState,
    StateConflict,
    Workflow,
)
from dispatch_celery.store.replies import ask
from dispatch_celery.store.scripts import Call
from dispatch_celery.testing import Kit

pytest_plugins = ["dispatch_celery.testing.plugin"]

app = Celery("generations", broker="redis://127.0.0.1:1/0")
app.conf.dispatch_retain_events = 3_600
dispatch = Dispatch(app)
said = dispatch.event("said", str)
done: list[str] = []
broken: set[str] = set()


@dispatch.step(retry=Retry(1))
def note(text: str) -> str:
    """Leave a trace, or fail."""
    if text in broken:
        raise ValueError(text)
    done.append(text)
    return text


@dispatch.job(name="line")
def line(text: str) -> str:
    """Run on the fleet."""
    done.append(text)
    return text


@dispatch.workflow(name="listener")
def listener(wf: Workflow, left: int) -> int:
    """Hear a word, and begin anew for the next one."""
    wf.step(note, wf.wait_for_event(said, key="k"))
    if left > 1:
        wf.continue_as_new(left - 1)
    return left


@dispatch.workflow(name="sender")
def sender(wf: Workflow, text: str) -> list[str]:
    """Send a job, work meanwhile, then ask for its result."""
    promise = wf.enqueue(line.options(delay=600), f"{text} sent")
    first = wf.step(note, f"{text} 1")
    wf.sleep(60)
    second = wf.step(note, f"{text} 2")
    return [first, second, promise.result()]


@dispatch.workflow(name="changes_its_mind")
def changes_its_mind(wf: Workflow) -> str:
    """Send a job, and call it off."""
    wf.cancel(wf.enqueue(line.options(delay=600), "never"))
    return wf.step(note, "last")


@dispatch.workflow(name="pupil")
def pupil(wf: Workflow, word: str = "") -> str:
    """Hear a word, and begin anew to hear another."""
    if not word:
        wf.continue_as_new(wf.wait_for_event(said, key="k"))
    return f"{word} {wf.wait_for_event(said, key='k')}"


@dispatch.workflow(name="teacher")
def teacher(wf: Workflow) -> str:
    """Let a child hear two words."""
    return wf.run_child(pupil)


@dispatch.workflow(name="hasty", version=1, timeout=1_800)
def hasty(wf: Workflow) -> str:
    """Sleep a little."""
    wf.sleep(60)
    return "1"


@dispatch.workflow(name="hasty", version=2, timeout=1_800)
def hasty_2(wf: Workflow) -> str:
    """Sleep longer than it may."""
    wf.sleep(7_200)
    return "2"


@pytest.fixture
def dispatch_app() -> Dispatch:
    """Lend the app to a test."""
    done.clear()
    broken.clear()
    return dispatch


def test_a_run_that_begins_anew_for_ever_keeps_few_events(dispatch_kit: Kit) -> None:
    """What it consumed is remembered as long as it can be found, not for as long as the run goes on."""
    run = listener.start(9)
    for n in range(6):
        dispatch.events.publish(said, str(n), key="k")
        dispatch_kit.advance(timedelta(minutes=25))

    assert done == ["0", "1", "2", "3", "4", "5"]
    store = dispatch.runs._store
    assert len(ask(store.port, Call.command("ZRANGE", store._keys.consumed(run.id), 0, -1))) == 3


def test_a_fork_sends_anew_what_is_under_way(dispatch_kit: Kit) -> None:
    """Also where what followed it is taken over: its code asks for it in the same place."""
    run = sender.start("Ann")
    dispatch_kit.drain()

    fork = dispatch.runs.fork(run.id)

    assert dispatch_kit.result(run) == ["Ann 1", "Ann 2", "Ann sent"]
    assert dispatch_kit.result(fork) == ["Ann 1", "Ann 2", "Ann sent"]
    assert done.count("Ann 1") == 1
    assert done.count("Ann sent") == 2


def test_what_was_called_off_is_not_built_upon(dispatch_kit: Kit) -> None:
    """A job that was cancelled because its run was undone is sent anew, or the run would end as it ended before."""
    broken.add("Ann 2")
    run = sender.start("Ann")
    dispatch_kit.run_until(run)
    assert run.state() == RunState.FAILED
    broken.clear()

    with pytest.raises(StateConflict, match=r"line#1 was cancelled when .* was undone; go back to 'line#1'"):
        dispatch.runs.rewind(run.id, "note#2")
    with pytest.raises(StateConflict, match="line#1 was cancelled"):
        dispatch.runs.fork(run.id, "note#2")

    dispatch.runs.rewind(run.id, "line#1")
    assert dispatch_kit.result(run) == ["Ann 1", "Ann 2", "Ann sent"]


def test_a_job_that_the_code_called_off_may_be_built_upon(dispatch_kit: Kit) -> None:
    """It was cancelled before anything was undone: that is an outcome as any other."""
    broken.add("last")
    run = changes_its_mind.start()
    dispatch_kit.run_until(run)
    assert run.state() == RunState.FAILED
    broken.clear()

    dispatch.runs.rewind(run.id, "note#1")
    assert dispatch_kit.result(run) == "last"


def test_a_run_is_taken_back_once_under_one_key(dispatch_kit: Kit) -> None:
    """Who got no answer asks again under the same key: he is told the state, whatever has become of it."""
    broken.add("Ann 1")
    run = sender.start("Ann")
    dispatch_kit.run_until(run)
    broken.clear()

    assert dispatch.runs.rewind(run.id, idempotency_key="ticket 7") == RunState.PENDING
    assert dispatch.runs.rewind(run.id, idempotency_key="ticket 7") == RunState.PENDING
    dispatch_kit.result(run)
    assert dispatch.runs.rewind(run.id, idempotency_key="ticket 7") == RunState.COMPLETED
    assert run.info().generation == 1
    dispatch.runs.rewind(run.id, discard_undo=True, idempotency_key="ticket 8")
    assert run.info().generation == 2
    with pytest.raises(ConfigurationError, match="idempotency_key"):
        dispatch.runs.rewind(run.id, idempotency_key="")


def test_a_run_is_forked_once_under_one_key(dispatch_kit: Kit) -> None:
    """The second is the first, also when the run has gone on meanwhile; other arguments are refused."""
    run = sender.start("Ann")
    dispatch_kit.drain()
    fork = dispatch.runs.fork(run.id, idempotency_key="side")
    dispatch_kit.result(run)

    assert dispatch.runs.fork(run.id, idempotency_key="side").id == fork.id
    with pytest.raises(IdempotencyConflict):
        dispatch.runs.fork(run.id, arguments={"text": "Bob"}, idempotency_key="side")
    assert dispatch.runs.fork(run.id).id != fork.id


def test_a_fork_of_a_child_is_nobodys_child(dispatch_kit: Kit) -> None:
    """Its end is not waited for by anyone; the first child's is, through all of its generations."""
    run = teacher.start()
    dispatch_kit.drain()
    (child,) = dispatch.runs.children(run.id)
    dispatch.events.publish(said, "one", key="k")
    dispatch_kit.drain()
    fork = dispatch.runs.fork(child.id)
    dispatch.runs.cancel(fork.id)

    assert fork.info().parent is None
    assert run.state() == RunState.WAITING
    dispatch.events.publish(said, "two", key="k")
    assert dispatch_kit.result(run) == "one two"
    assert dispatch.runs.get(child.id).generation == 1


def test_a_child_that_is_taken_back_changes_nothing_for_its_run(dispatch_kit: Kit) -> None:
    """Its run has gone on with the first outcome; the child hears no word twice, in whichever generation."""
    run = teacher.start()
    dispatch_kit.drain()
    (child,) = dispatch.runs.children(run.id)
    for word in ("one", "two"):
        dispatch.events.publish(said, word, key="k")
    assert dispatch_kit.result(run) == "one two"

    dispatch.runs.rewind(child.id)
    dispatch.events.publish(said, "three", key="k")
    dispatch_kit.drain()

    assert dispatch.runs.get(child.id).result == "one three"
    assert run.info().result == "one two"
    assert dispatch.runs.inspect(run.id, "pupil#1").value == "one two"


def test_a_run_taken_back_has_the_rest_of_its_time(dispatch_kit: Kit) -> None:
    """A parked one still has its timeout, an ended one has none any more."""
    run = hasty.start()
    dispatch_kit.drain()
    dispatch.runs.migrate(run.id, 2)
    dispatch_kit.advance(timedelta(minutes=2))
    assert run.state() == RunState.PARKED

    dispatch.runs.rewind(run.id)
    dispatch_kit.advance(timedelta(hours=1))
    assert (run.state(), run.info().reason) == (RunState.CANCELLED, "timeout")

    dispatch.runs.rewind(run.id)
    assert dispatch_kit.result(run) == "2"
