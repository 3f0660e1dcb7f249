"""Hooks are isolated: in order, bounded, waited for with patience, and never again by who has waited in vain."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from dispatch_celery.extensions.base import Extension
from dispatch_celery.extensions.lane import Lane
from dispatch_celery.extensions.registry import ExtensionRegistry
from dispatch_celery.ids import JobId
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.work.model import WorkRef
from tests.support.eventually import eventually

REF = JobRef(id=JobId.adopt("one"), name="mail", queue="q")


@pytest.fixture
def lane() -> Iterator[Lane]:
    """Return a lane of three places."""
    made = Lane("lane", size=3)
    yield made
    made.close()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Return what a hook hangs at; it opens when the test ends."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def registry() -> Iterator[ExtensionRegistry]:
    """Return a registry whose threads end with the test."""
    made = ExtensionRegistry()
    yield made
    made.close(1.0)


def test_calls_keep_their_order_and_are_waited_for(lane: Lane) -> None:
    """Who hands over with patience returns after the call, in another thread than its own."""
    heard: list[tuple[int, bool]] = []
    mine = threading.current_thread()

    for number in range(5):
        assert lane.hand(lambda number=number: heard.append((number, threading.current_thread() is mine)), patience=5)

    assert heard == [(number, False) for number in range(5)]


def test_a_call_that_hangs_costs_patience_once(lane: Lane, gate: threading.Event) -> None:
    """The first one who waits in vain is told; those after it do not wait until the lane has caught up."""
    heard: list[str] = []

    assert not lane.hand(gate.wait, patience=0.01)  # type: ignore[arg-type]  # what it returns is not looked at
    assert lane.hand(lambda: heard.append("second"), patience=60)
    assert heard == []
    gate.set()
    eventually(lambda: heard == ["second"])
    assert lane.flush(5)
    assert lane.hand(lambda: heard.append("third"), patience=5)
    assert heard == ["second", "third"]


def test_a_full_lane_drops_and_counts(lane: Lane, gate: threading.Event, caplog: pytest.LogCaptureFixture) -> None:
    """No more than its places are kept; the log tells of the first drop and then ever more rarely."""
    lane.hand(gate.wait)  # type: ignore[arg-type]  # as above
    eventually(lambda: not lane.hand(lambda: None, patience=0.001))
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            lane.hand(lambda: None)

    assert lane.dropped >= 17
    assert 1 <= caplog.text.count("is behind by 3 notices") <= 6


def test_what_is_left_at_the_end_is_told(lane: Lane, gate: threading.Event, caplog: pytest.LogCaptureFixture) -> None:
    """Closing waits within its bound, and says what it could not see done."""
    lane.hand(gate.wait)  # type: ignore[arg-type]  # as above
    lane.hand(lambda: None)
    with caplog.at_level(logging.WARNING):
        lane.close(0.05)

    assert "a hook has not ended" in caplog.text


def test_a_fork_begins_with_an_empty_lane(lane: Lane, gate: threading.Event) -> None:
    """A child of a process whose lane hangs is not held up by it."""
    lane.hand(gate.wait)  # type: ignore[arg-type]  # as above
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        done = lane.hand(lambda: os.write(writer, b"done") and None, patience=5)
        os._exit(0 if done else 1)
    _, status = os.waitpid(child, 0)
    os.close(writer)

    assert os.waitstatus_to_exitcode(status) == 0
    assert os.read(reader, 10) == b"done"
    os.close(reader)


def test_a_fork_waits_for_the_end_of_a_call(lane: Lane) -> None:
    """A child is not born while a hook holds locks that nobody in the child would ever release."""
    held, go_on = threading.Lock(), threading.Event()

    def call() -> None:
        with held:
            go_on.wait(5)

    lane.hand(call)
    eventually(held.locked)
    threading.Timer(0.05, go_on.set).start()
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        os._exit(0 if held.acquire(timeout=1) else 1)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0


class _Hanging(Extension):
    patience = 0.01

    def __init__(self, gate: threading.Event) -> None:
        self._gate = gate

    def on_job_cancelled(self, job: JobRef) -> None:  # noqa: ARG002 - the hook's parameter
        """Hang."""
        self._gate.wait()


class _Heard(Extension):
    def __init__(self, heard: list[Any], name: str) -> None:
        self._heard = heard
        self._name = name

    def on_job_cancelled(self, job: JobRef) -> None:  # noqa: ARG002 - as above
        """Write it down."""
        self._heard.append(self._name)


def test_a_hook_that_hangs_is_named_and_holds_up_nobody_else(
    registry: ExtensionRegistry, gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    """The other extensions hear in their order, before the transition goes on."""
    heard: list[Any] = []
    for extension in (_Heard(heard, "first"), _Hanging(gate), _Heard(heard, "last")):
        registry.add(extension)
    with caplog.at_level(logging.WARNING):
        registry("cancelled", REF)
        registry("cancelled", REF)

    assert heard == ["first", "last"] * 2
    assert caplog.text.count("the hook _Hanging.on_job_cancelled is not done after 0.01 s") == 1


def test_housekeeping_waits_for_no_hook_and_no_receiver(registry: ExtensionRegistry, gate: threading.Event) -> None:
    """A thread that must not be held up tells of a transition without waiting; it is told all the same."""
    heard: list[Any] = []
    registry.add(_Hanging(gate))
    registry.add(_Heard(heard, "told"))

    observer = registry.aside()
    for _ in range(3):
        observer("cancelled", REF)

    eventually(lambda: heard == ["told"] * 3)


def test_a_hook_that_wants_to_end_the_process_is_refused(
    registry: ExtensionRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """``sys.exit`` and a stray cancellation in a hook are errors of the hook."""

    class Leaving(Extension):
        """Leaves, one way or another."""

        patience = None

        def on_job_cancelled(self, job: JobRef) -> None:  # noqa: ARG002 - as above
            """Exit."""
            raise SystemExit(3)

        def on_job_started(self, job: JobRef) -> None:  # noqa: ARG002 - as above
            """Be cancelled."""
            raise asyncio.CancelledError

    registry.add(Leaving())
    with caplog.at_level(logging.ERROR):
        registry("cancelled", REF)
        registry("started", REF, attempt=1)

    assert "Leaving.on_job_cancelled wanted to end the process" in caplog.text
    assert "Leaving.on_job_started failed" in caplog.text


def test_a_worker_that_is_told_to_stop_inside_a_hook_stops() -> None:
    """What ends the process from outside passes through."""

    class Interrupted(Extension):
        """Is interrupted."""

        patience = None

        def on_job_cancelled(self, job: JobRef) -> None:  # noqa: ARG002 - as above
            """Be stopped."""
            raise SystemExit(0)

    registry = ExtensionRegistry(is_shutdown=lambda error: isinstance(error, SystemExit))
    registry.add(Interrupted())
    with pytest.raises(SystemExit):
        registry("cancelled", REF)


def test_async_hooks_are_awaited_in_their_order(registry: ExtensionRegistry) -> None:
    """On an event loop, with what they are given, and waited for as any hook."""
    heard: list[Any] = []

    class Awaiting(Extension):
        """Hears on a loop."""

        async def on_job_started(self, job: JobRef) -> None:
            """Take a turn."""
            asyncio.get_running_loop()
            heard.append(job.id)

    registry.add(Awaiting())
    registry("started", REF, attempt=1)

    assert heard == [REF.id]


def test_what_a_hook_does_is_told_without_waiting_for_it(registry: ExtensionRegistry) -> None:
    """A hook whose own doing is told to itself and to others waits for nobody, sync or async; all of it is told."""
    heard: list[Any] = []
    waits: list[float] = []

    class Doing(Extension):
        """Enqueues something at each cancel, and hears of that."""

        patience = 30.0

        def on_job_cancelled(self, job: JobRef) -> None:
            """Do something that is told."""
            began = time.monotonic()
            registry("enqueued", job)
            waits.append(time.monotonic() - began)

        async def on_job_started(self, job: JobRef) -> None:
            """Do the same in another thread, and wait for that."""
            began = time.monotonic()
            await asyncio.to_thread(registry, "enqueued", job)
            waits.append(time.monotonic() - began)

        def on_job_enqueued(self, job: JobRef) -> None:  # noqa: ARG002 - as above
            """Hear of it."""
            heard.append("enqueued")

    registry.add(Doing())
    registry("cancelled", REF)
    registry("started", REF, attempt=1)

    eventually(lambda: heard == ["enqueued"] * 2)
    assert max(waits) < 10


def test_only_what_an_extension_overrides_is_called(registry: ExtensionRegistry) -> None:
    """A transition of which nobody wants to hear starts no thread and builds nothing."""
    heard: list[Any] = []
    registry.add(_Heard(heard, "told"))
    before = threading.active_count()

    registry("started", REF, attempt=1)
    registry("no such moment", WorkRef(id=REF.id, name="mail", queue="q"))

    assert (heard, threading.active_count()) == ([], before)
