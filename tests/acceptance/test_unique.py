"""Jobs of which there may be one at a time: rejected, joined, replaced; throttled and debounced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery

from dispatch_celery import (
    ConfigurationError,
    Constant,
    Dispatch,
    Fail,
    JobNotUnique,
    JobState,
    PerKey,
    Retry,
    Unique,
    Workflow,
    WorkflowMisuse,
    scope,
)
from dispatch_celery.testing import Kit

app = Celery("unique", broker="redis://127.0.0.1:1/0", set_as_current=False)
dispatch = Dispatch(app)
ran: list[Any] = []


@dispatch.job(name="unique.report", unique=Unique())
def report(day: str, copies: int = 1) -> str:
    """Say that it ran."""
    ran.append((day, copies))
    return day


@dispatch.job(name="unique.sync", unique=Unique(by=("account",), on_conflict="first"), retry=Retry(2, Constant(60)))
def sync(account: str, since: int) -> int:
    """Fail when it is told to."""
    ran.append((account, since))
    if since < 0:
        raise Fail("told to")
    return since


@dispatch.job(name="unique.index", unique=Unique(by=("page",), on_conflict="replace"))
def index(page: str, text: str) -> str:
    """Say what it was given."""
    ran.append((page, text))
    return text


@dispatch.job(name="unique.alert", unique=Unique(by=(), on_conflict="first", period=60))
def alert(text: str) -> str:
    """Say what it was given."""
    ran.append(text)
    return text


@dispatch.job(name="unique.keyed", limit_key=lambda arguments: arguments["order"]["customer"])
def keyed(order: dict[str, str]) -> str:
    """Say whose it is."""
    ran.append(order["customer"])
    return order["customer"]


@dispatch.workflow(name="unique.flow")
def flow(wf: Workflow, day: str) -> list[str]:
    """Send the same job twice, and wait for both."""
    return list(wf.gather(report.bind(day), report.bind(day)))


@dispatch.workflow(name="unique.refused")
def refused_flow(wf: Workflow) -> str:
    """Ask for what a run does not take."""
    return wf.run_job(report.options(unique=Unique()), "mon")


@pytest.fixture
def kit(server_url: str) -> Iterator[Kit]:
    """Return a kit in a namespace of its own."""
    ran.clear()
    with Kit(dispatch, server_url) as made:
        yield made


def test_a_second_one_is_rejected_until_the_first_has_ended(kit: Kit) -> None:
    """The error names the first; other arguments, or another tenant, are another kind."""
    first = report.enqueue("mon")
    with pytest.raises(JobNotUnique, match="the one of its kind") as refused:
        report.enqueue("mon")
    report.enqueue("tue")
    with scope(org_id="acme"):
        report.enqueue("mon")

    assert refused.value.existing_id == first.id
    kit.drain()
    assert len(ran) == 3
    assert report.enqueue("mon").id != first.id


def test_of_many_at_once_the_others_are_stored(kit: Kit) -> None:
    """A batch in which two are the same raises for the second, and stores the rest."""
    with pytest.raises(JobNotUnique, match="a second one was not stored; the others of a batch were"):
        report.enqueue_many([("mon",), ("mon",), ("tue",)])

    kit.drain()
    assert sorted(ran) == [("mon", 1), ("tue", 1)]


def test_the_first_is_returned_while_it_waits_runs_or_retries(kit: Kit) -> None:
    """By one argument only; a failed one is over, and may be retried while there is no other."""
    first = sync.enqueue("ann", -1)
    assert sync.enqueue("ann", 5).id == first.id
    kit.drain()
    assert first.state() == JobState.FAILED

    second = sync.options(delay=60).enqueue("ann", 7)
    assert second.id != first.id
    with pytest.raises(JobNotUnique, match="is the one of its kind by now"):
        dispatch.jobs.retry(first.id)
    assert second.cancel() == JobState.CANCELLED
    assert dispatch.jobs.retry(first.id).id == first.id
    assert sync.enqueue("ann", 8).id == first.id


def test_the_waiting_one_is_given_the_new_arguments_and_its_delay_begins_anew(kit: Kit) -> None:
    """A debounce: one job runs, with the last arguments, when there was quiet for its delay."""
    first = index.options(delay=10).enqueue("home", "one")
    kit.advance(timedelta(seconds=8))
    assert index.options(delay=10).enqueue("home", "two").id == first.id
    kit.advance(timedelta(seconds=8))
    assert ran == []

    kit.advance(timedelta(seconds=2))

    assert ran == [("home", "two")]
    assert first.result(timeout=1) == "two"


def test_one_that_has_ended_is_followed_by_another(kit: Kit) -> None:
    """Replacing what is over is enqueueing."""
    first = index.enqueue("home", "one")
    kit.drain()
    second = index.enqueue("home", "two")
    kit.drain()

    assert second.id != first.id
    assert ran == [("home", "one"), ("home", "two")]


def test_within_a_period_there_is_one_whatever_became_of_it(kit: Kit) -> None:
    """A throttle: the first runs, those after it within a minute are the same one."""
    first = alert.enqueue("one")
    kit.drain()
    assert alert.enqueue("two").id == first.id
    kit.drain()
    assert ran == ["one"]


def test_a_run_sends_each_of_its_jobs(kit: Kit) -> None:
    """What is unique for callers is not for a run: it waits for its own."""
    run = flow.start("mon")
    kit.run_until(run)

    assert ran == [("mon", 1), ("mon", 1)]
    refused = refused_flow.start()
    kit.drain()
    with pytest.raises(Exception, match="takes no unique") as error:
        refused.result(timeout=1)
    assert "WorkflowMisuse" in str(error.value) or isinstance(error.value, WorkflowMisuse)


def test_the_key_of_a_limit_is_what_the_declaration_says(kit: Kit) -> None:
    """One at a time for each customer, found in the arguments by the job's own function."""
    dispatch.queues.limit(job="unique.keyed", per_key=PerKey(by="key", rate="1/h", burst=1))
    handles = [keyed.enqueue({"customer": who}) for who in ("ann", "ann", "ben")]
    kit.drain()

    assert ran == ["ann", "ben"]
    assert dispatch.queues.waiting(handles[1].id).key == "ann"  # type: ignore[union-attr]  # it waits


def test_a_key_function_that_raises_stores_nothing(kit: Kit) -> None:
    """The caller is told which function, and why."""
    with pytest.raises(ConfigurationError, match=r"limit_key of unique.keyed raised KeyError: 'customer'"):
        keyed.enqueue({"name": "ann"})

    assert kit.drain() == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"on_conflict": "wait"}, "on_conflict must be one of"),
        ({"by": "account"}, "takes names of arguments"),
        ({"period": 0}, "period must be more than 0 seconds"),
        ({"on_conflict": "replace", "period": 5}, "replace takes no period"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: Mapping[str, Any], said: str) -> None:
    """Where it is declared."""
    with pytest.raises(ConfigurationError, match=said):
        Unique(**options)


def test_a_key_and_unique_exclude_each_other() -> None:
    """Each says which job is the same."""
    with pytest.raises(ConfigurationError, match="not both"):
        report.options(unique=Unique(), idempotency_key="k")
