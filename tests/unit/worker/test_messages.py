"""The header that makes a message a wake-up: ours is read, anything else is not ours and harms nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from dispatch_celery.ids import EventId, JobId, RunId
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.work.model import WakeUp
from dispatch_celery.worker.messages import HEADER, Envelope, celery_id, embed_of, headers_of, ref_of
from dispatch_celery.workflows.model import RunRef

JOB = JobId.adopt("one")
RUN = RunId.adopt("one")


@pytest.mark.parametrize(("queue", "priority"), [("q", 0), ("mail", 9), ("a:b", 3), ("größe", 1)])
def test_a_header_names_its_job(queue: str, priority: int) -> None:
    """What is written is read again."""
    ref = JobRef(id=JOB, name="shop.job", queue=queue, priority=priority)
    header = headers_of(WakeUp(ref=ref, wake="1"), "me")[HEADER]

    assert ref_of("shop.job", header) == ref


@pytest.mark.parametrize("version", [1, 2, 30])
def test_a_header_names_its_run_and_the_version_it_is_of(version: int) -> None:
    """So that a worker without this version can give it back before anything claims it."""
    ref = RunRef(id=RUN, name="shop.flow", queue="a:b", priority=3, version=version)
    header = headers_of(WakeUp(ref=ref, wake="1"), "me")[HEADER]

    assert ref_of("shop.flow", header) == ref


@pytest.mark.parametrize(
    "header", [f"{RUN} q:1", f"{RUN} q:1 ", f"{RUN} q:1 x", f"{RUN} q:1 -1", f"{RUN} q:1 \u0663", f"{JOB} q:1 2"]
)
def test_a_run_without_a_version_and_a_job_with_one_are_no_wake_ups(header: str) -> None:
    """Nobody has ever written such a header."""
    assert ref_of("shop.flow", header) is None


@pytest.mark.parametrize(
    "header",
    [
        None,
        5,
        b"bytes",
        ["list"],
        {"a": 1},
        True,
        "",
        " ",
        str(JOB),
        f"{JOB} ",
        f"{JOB} q",
        f"{JOB} q:",
        f"{JOB} :3",
        f"{JOB} q:-1",
        f"{JOB} q:1.0",
        f"{JOB} q: 1",
        f"{JOB} q:x",
        f" {JOB} q:1",
        f"{JOB}\0 q:1",
        f"{EventId.adopt('one')} q:1",
        "job_x q:1",
        "x" * 1_000_000,
        "\ud800 q:1",
    ],
    ids=lambda header: repr(header)[-30:],
)
def test_a_header_that_is_not_ours_is_no_wake_up(header: Any) -> None:
    """Hostile headers are answered with None, never with an exception."""
    assert ref_of("shop.job", header) is None


@pytest.mark.parametrize("header", [f"{JOB} q:\u00b2", f"{JOB} q:{'9' * 5_000}"], ids=["superscript", "5,000 digits"])
def test_a_hostile_priority_is_no_wake_up(header: str) -> None:
    """One such message must not end the worker's main process, where it is read."""
    assert ref_of("shop.job", header) is None


@pytest.mark.parametrize(
    "header", [f"{JOB} q:99", f"{JOB} q:\u0663", f"{JOB} a b:1", f"{JOB} \ud800:1", f"{JOB} a\n:1"]
)
def test_a_lane_that_cannot_be_is_no_wake_up(header: str) -> None:
    """Queues and priorities are held to the rules of enqueue; a lone surrogate could not even be sent."""
    assert ref_of("shop.job", header) is None


def test_a_wake_up_is_an_ordinary_task_message() -> None:
    """Protocol 2, without arguments, with what people look at."""
    ref = JobRef(id=JOB, name="shop.job", queue="q")
    headers = headers_of(WakeUp(ref=ref, wake="1", spec={"summary": "n=3"}, attempt=2), "me@host")

    assert (headers["task"], headers["id"], headers["root_id"], headers["retries"]) == ("shop.job", JOB, JOB, 1)
    assert (headers["argsrepr"], headers["kwargsrepr"], headers["origin"]) == ("()", "{n=3}", "me@host")
    assert (headers["eta"], headers["expires"]) == (None, None)


def test_foreign_ids_headers_and_hand_overs_travel() -> None:
    """What a Celery caller chose comes back in the message."""
    canvas = {"group_id": "g", "group_index": 1, "root_id": "r", "parent_id": "p", "chain": ["c"], "callbacks": ["cb"]}
    spec = {"celery_id": "foreign", "headers": {"trace": "t"}, "canvas": canvas}
    wakeup = WakeUp(ref=JobRef(id=JOB, name="shop.job", queue="q"), wake="1", spec=spec)

    headers = headers_of(wakeup, "me")

    assert celery_id(wakeup) == headers["id"] == "foreign"
    assert (headers["trace"], headers["group"], headers["root_id"], headers["parent_id"]) == ("t", "g", "r", "p")
    assert embed_of(wakeup) == {"callbacks": ["cb"], "errbacks": None, "chain": ["c"], "chord": None}


def test_a_callers_headers_do_not_replace_ours() -> None:
    """A custom header is carried beside the ones the worker depends on."""
    wakeup = WakeUp(
        ref=JobRef(id=JOB, name="shop.job", queue="q"), wake="1", spec={"headers": {HEADER: "x", "task": "y"}}
    )
    headers = headers_of(wakeup, "me")

    assert ref_of("shop.job", headers[HEADER]) == wakeup.ref
    assert headers["task"] == "shop.job"


@pytest.mark.parametrize(
    ("kept", "header"),
    [
        ({"seconds since 1970": 1.5}, datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)),
        ({"seconds since 1970": "noon"}, {"seconds since 1970": "noon"}),
        ({"seconds since 1970": [1]}, {"seconds since 1970": [1]}),
        ({"seconds since 1970": 1e15}, {"seconds since 1970": 1e15}),
        ({"seconds since 1970": 1e300}, {"seconds since 1970": 1e300}),
    ],
)
def test_a_time_among_the_headers_of_a_kept_message_is_read(kept: dict[str, Any], header: object) -> None:
    """A sender's own table of the same shape, which is no time, stays what it was."""
    whole = {"headers": {"at": kept}, "content_type": None, "delivery_info": {}, "properties": {}, "body": ""}

    envelope = Envelope.parse(json.dumps(whole).encode())

    assert envelope is not None
    assert envelope.headers == {"at": header}
