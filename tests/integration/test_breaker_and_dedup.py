"""The breaker and deduplication around jobs: whom they call, what they return, what they do without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from celery import Celery
from pydantic import BaseModel

from dispatch_celery import Cancel, Constant, Dispatch, Fail, JobState, Retry, Snooze, Workflow
from dispatch_celery.errors import ConfigurationError, StoreUnavailable
from dispatch_celery.middleware import CircuitBreaker, Deduplicate
from dispatch_celery.testing import Kit

ran: list[str] = []
paused: list[tuple[str, datetime]] = []


class Receipt(BaseModel):
    """A typed result."""

    number: int
    paid_at: datetime


def _open_after(failures: int, **options: Any) -> CircuitBreaker:
    return CircuitBreaker(failures=failures, failing=(ConnectionError,), **options)


@pytest.fixture
def made(server_url: str) -> Iterator[Callable[..., tuple[Dispatch, Kit]]]:
    """Return what makes an app with some middlewares, and a kit that executes its jobs."""
    kits: list[Kit] = []

    def make(*middlewares: Any) -> tuple[Dispatch, Kit]:
        dispatch = Dispatch(Celery("guarded", broker="redis://127.0.0.1:1/0", set_as_current=False))
        for middleware in middlewares:
            dispatch.add_middleware(middleware)
        kits.append(Kit(dispatch, server_url).__enter__())
        return dispatch, kits[-1]

    ran.clear()
    paused.clear()
    yield make
    for kit in kits:
        kit.__exit__(None, None, None)


def test_a_breaker_pauses_the_queue_of_the_job_that_opens_it(made: Any) -> None:
    """Once, until it may be tried; jobs that come nevertheless are put back and use up nothing."""
    dispatch, kit = made(_open_after(2, cooldown=30, pause=lambda queue, until: paused.append((queue, until))))

    @dispatch.job(name="bank.charge", queue="bank", retry=Retry(9, Constant(1)))
    def charge(order: str) -> str:
        ran.append(order)
        if len(ran) <= 2:
            raise ConnectionError("closed")
        return order

    first, second, third = charge.enqueue_many([("1",), ("2",), ("3",)])
    kit.drain()
    assert ran == ["1", "2"]
    ((queue, until),) = paused
    assert queue == "bank"
    assert timedelta(seconds=20) < until - datetime.now(UTC) <= timedelta(seconds=30)
    assert third.state() == JobState.RETRYING
    kit.advance(60)
    assert {handle.state() for handle in (first, second, third)} == {JobState.COMPLETED}
    assert third.info().attempts[-1].number == 1


@pytest.mark.parametrize("choice", [Snooze(1), Cancel("no"), Fail("no such order"), LookupError("not the bank")])
def test_what_says_nothing_of_the_bank_opens_nothing(choice: Exception, made: Any) -> None:
    """Ends that a handler chooses, and errors that are not ``failing``."""
    dispatch, kit = made(_open_after(1, pause=lambda queue, until: paused.append((queue, until))))

    @dispatch.job(name="bank.charge", retry=Retry(1))
    def charge(order: str) -> str:
        ran.append(order)
        if len(ran) == 1:
            raise choice
        return order

    charge.enqueue("1")
    kit.drain()
    assert kit.result(charge.enqueue("2")) == "2"
    assert paused == []


@pytest.mark.parametrize("choice", [Snooze(1), Cancel("no"), Fail("no such order")])
def test_what_says_nothing_of_the_bank_ends_no_row_and_closes_nothing(choice: Exception, made: Any) -> None:
    """Two failures in a row are two, also with such an end between; a probe that ends so is none."""
    dispatch, kit = made(_open_after(2, cooldown=100))

    @dispatch.job(name="bank.charge", retry=Retry(1))
    def charge(order: str) -> str:
        ran.append(order)
        if order == "choice" and ran.count(order) in (1, 2):
            raise choice
        if order == "fails":
            raise ConnectionError("closed")
        return order

    for order in ("fails", "choice", "fails"):
        charge.enqueue(order)
        kit.drain()
    late = charge.enqueue("late")
    kit.drain()
    assert late.state() == JobState.RETRYING


def test_a_probe_that_is_put_back_closes_nothing(made: Any) -> None:
    """``Deduplicate`` does so where another is at work on the same: the bank was not even asked."""
    dispatch, kit = made(_open_after(2, cooldown=10))

    @dispatch.job(name="bank.charge", retry=Retry(1))
    def charge(order: str) -> str:
        ran.append(order)
        if order == "busy":
            raise Snooze(1_000)
        raise ConnectionError("closed")

    for order in ("1", "2"):
        charge.enqueue(order)
        kit.drain()
    kit.advance(11)
    for order in ("busy", "3", "4"):
        charge.enqueue(order)
        kit.drain()
    assert ran == ["1", "2", "busy", "3"]


def test_a_result_that_is_there_is_returned_while_it_is_open_and_closes_nothing(made: Any) -> None:
    """In the order that the documents say, deduplication outside: it is no success of the bank's."""
    dispatch, kit = made(Deduplicate(window=3600), _open_after(2, cooldown=10))

    @dispatch.job(name="bank.charge", retry=Retry(1))
    def charge(order: str) -> str:
        ran.append(order)
        if order != "paid":
            raise ConnectionError("closed")
        return order

    for order in ("paid", "1", "2"):
        charge.enqueue(order)
        kit.drain()
    assert kit.result(charge.enqueue("paid")) == "paid"
    kit.advance(11)
    for order in ("paid", "3", "4"):
        charge.enqueue(order)
        kit.drain()
    assert ran == ["paid", "1", "2", "3"]


def test_steps_pass_the_breaker(made: Any) -> None:
    """A run's step waits by its own policy, whatever the circuit of a job of its name says."""
    dispatch, kit = made(_open_after(1))

    @dispatch.step(name="bank.charge", retry=Retry(3, Constant(0.01)))
    def charge(order: str) -> str:
        ran.append(order)
        if len(ran) < 3:
            raise ConnectionError("closed")
        return order

    @dispatch.workflow(name="checkout")
    def checkout(wf: Workflow, order: str) -> str:
        return wf.step(charge, order)

    assert kit.result(checkout.start("1")) == "1"
    assert ran == ["1"] * 3


def test_a_result_serves_others_as_its_type(made: Any) -> None:
    """A second job with equal arguments does not run, and completes with the same model."""
    dispatch, kit = made(Deduplicate(window=60))

    @dispatch.job(name="bank.charge")
    def charge(order: str) -> Receipt:
        ran.append(order)
        return Receipt(number=len(ran), paid_at=datetime.now(UTC))

    first, second = kit.result(charge.enqueue("1")), kit.result(charge.enqueue("1"))
    assert first == second
    assert isinstance(second, Receipt)
    assert kit.result(charge.enqueue("2")).number == 2
    kit.advance(61)  # the window is the server's: only its own time ends it
    assert ran == ["1", "2"]


def test_a_state_server_that_is_away_stops_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    """They let everything through: at least once is what is promised."""
    from dispatch_celery.ids import JobId
    from dispatch_celery.jobs.context import JobContext
    from dispatch_celery.jobs.model import JobRef
    from dispatch_celery.middleware.store import MiddlewareStore
    from dispatch_celery.scope import Scope
    from dispatch_celery.store.keys import Keys
    from dispatch_celery.store.servertime import ServerTime

    class Away:
        """No server."""

        def execute(self, _calls: Any) -> Any:
            """Fail."""
            raise StoreUnavailable("away")

    dispatch = Dispatch(Celery("away", broker="redis://127.0.0.1:1/0", set_as_current=False))

    @dispatch.job(name="bank.charge")
    def charge(order: str) -> str:
        return order

    ref = JobRef(id=JobId.adopt("1"), name="bank.charge", queue="q")
    context = JobContext(
        ref=ref, attempt=1, token=1, claim="1.n", deadline=None, scope=Scope(), arguments={"order": "1"}
    )
    store = MiddlewareStore(
        Away(), Keys("t"), ServerTime(), lambda _name: charge.typed.result, pause=lambda *_, **__: None
    )  # type: ignore[arg-type]
    for middleware in (CircuitBreaker(), Deduplicate()):
        middleware.join_state(lambda: store)
        assert middleware(context, lambda: "done") == "done"
        with pytest.raises(ZeroDivisionError):
            middleware(context, lambda: 1 // 0)


def test_limits_that_mean_nothing_are_refused() -> None:
    """The error says what is wanted."""
    with pytest.raises(ConfigurationError, match="failures and probes from 1"):
        CircuitBreaker(failures=0)
    with pytest.raises(ConfigurationError, match="longer than nothing"):
        Deduplicate(window=0)


@pytest.mark.parametrize(("pause", "held"), [("job", {"job": "bank.charge"}), ("queue", {"queue": "bank"})])
def test_a_breaker_pauses_the_jobs_of_a_name_or_their_queue_by_itself(
    made: Any, pause: Literal["job", "queue"], held: dict[str, str]
) -> None:
    """For as long as it is open; then they go on, and none was taken meanwhile."""
    dispatch, kit = made(_open_after(2, cooldown=30, pause=pause))

    @dispatch.job(name="bank.charge", queue="bank", retry=Retry(9, Constant(1)))
    def charge(order: str) -> str:
        ran.append(order)
        if len(ran) <= 2:
            raise ConnectionError("closed")
        return order

    handles = charge.enqueue_many([("1",), ("2",)])
    kit.drain()
    stands = dispatch.queues.get(**held)
    assert stands.paused_until is not None
    assert stands.pause_reason == "the circuit bank.charge is open: who goes on before its time is put back"
    late = charge.enqueue("3")
    assert late.state() == JobState.LIMITED

    kit.advance(60)
    kit.drain()

    assert [handle.result() for handle in (*handles, late)] == ["1", "2", "3"]
    assert late.info().snoozes <= 1
    assert not [one for one in dispatch.queues.list() if one.paused or one.permits]


def test_a_breaker_pauses_nothing_it_does_not_know() -> None:
    """The error names what there is."""
    with pytest.raises(ConfigurationError, match="'job', 'queue' or something to call, not 'jobs'"):
        CircuitBreaker(pause="jobs")  # type: ignore[arg-type]  # as a caller without a type checker may


def test_a_key_is_something_to_call() -> None:
    """Otherwise each job would fail for good at its first execution."""
    with pytest.raises(ConfigurationError, match="key is a function of the job's context, not 'order_id'"):
        Deduplicate(key="order_id")  # type: ignore[arg-type]  # as a caller without a type checker may
