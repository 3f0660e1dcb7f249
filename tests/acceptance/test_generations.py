"""Generations of runs and their forks under attack: repeated, at the wrong moment, with work under way.

Executed by the testing kit, in this process, on a real server and a virtual clock.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from celery import Celery

from dispatch_celery import Dispatch, Retry, Workflow
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


@pytest.fixture(scope="session")
def dispatch_server_url(server_url: str) -> str:
    """Share the suite's server."""
    return server_url


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
