"""The rule by which dead letters are grouped: what makes another cause, and what does not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from dispatch_celery.jobs.outcome import Fail, failure_of
from dispatch_celery.work.fingerprint import fingerprint_of, settled
from dispatch_celery.work.model import Failure

TRACEBACK = """Traceback (most recent call last):
  File "/srv/releases/{release}/shop/mail.py", line {line}, in send
    deliver(order)
    ^^^^^^^^^^^^^^
  File "/srv/releases/{release}/shop/smtp.py", line 7{line}, in deliver
    raise Refused(order)
  File "/srv/venv/lib/python3.11/site-packages/smtp/{library}.py", line 3, in {library}
    raise Refused("no")
shop.smtp.Refused: {message}
"""


def mark(*, kind: str = "shop.smtp.Refused", name: str = "mail", reason: str = "attempts used up", **words: str) -> str:
    """Return the fingerprint of a failure that may differ in some words from the usual one."""
    filled = {"release": "1", "line": "12", "library": "client", "message": "no", **words}
    return fingerprint_of(
        Failure(type=kind, message="m", traceback=TRACEBACK.format(**filled)), name=name, reason=reason
    )


@pytest.mark.parametrize(
    "words",
    [
        {"release": "20260101-abc"},
        {"line": "98"},
        {"library": "socket"},
        {"message": "order 4711 was refused"},
        {"name": "bill"},
        {"reason": "given up"},
    ],
)
def test_one_cause_is_one_group(words: dict[str, str]) -> None:
    """Another deploy folder, line number, frame of a library, message, job name or reason of ending changes nothing."""
    assert mark(**words) == mark()


def test_what_is_stored_keeps_its_group() -> None:
    """The rule is the one of every release with fingerprints: these are of the first."""
    assert mark() == "a83665e2b66802cf"
    assert fingerprint_of(None, name="mail", reason="unknown") == "c6724fe2b300ca8f"


@pytest.mark.parametrize(
    ("before", "after"),
    [("smtp.py", "imap.py"), ("in deliver", "in connect"), ("raise Refused(order)", "raise Refused(None)")],
)
def test_another_place_is_another_group(before: str, after: str) -> None:
    """Another file, function, or line of code that raised."""
    words = {"release": "1", "line": "1", "library": "c", "message": "no"}
    other = Failure(type="shop.smtp.Refused", message="m", traceback=TRACEBACK.format(**words).replace(before, after))

    assert fingerprint_of(other, name="mail", reason="attempts used up") != mark()
    assert mark(kind="shop.smtp.Late") != mark()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("order 17 of 2026", "order 4,711 of 2025"),
        ("job_01jd8x4s6rfv5b2m3n7p8q9t0w is gone", "job_01jd8x4s6rfv5b2m3n7p8q9t1x is gone"),
        ("at 0x7fd78a144680", "at 0x55aa"),
        ("key 6f9619ff-8b86-d011-b42d-00c04fc964ff", "key 6F9619FF-8B86-D011-B42D-00C04FC96400"),
        ("commit 827ee86f00ba4711", "commit c455dd9f00ba4711aa"),
        ("two  words\n", "two words"),
    ],
)
def test_what_varies_in_a_message_is_left_out(one: str, other: str) -> None:
    """Numbers, ids, addresses and white space; what is left still tells messages apart."""
    assert settled(one) == settled(other)
    assert settled(one) != settled("another message")


def test_without_a_traceback_reason_name_and_message_tell() -> None:
    """A crash of one job is not the crash of another, nor an unknown name."""
    crash = Failure(type="dispatch_celery.errors.WorkerCrashed", message="its process died 5 times")
    again = Failure(type="dispatch_celery.errors.WorkerCrashed", message="its process died 7 times")

    first = fingerprint_of(crash, name="mail", reason="crashed")
    assert fingerprint_of(again, name="mail", reason="crashed") == first
    assert fingerprint_of(crash, name="bill", reason="crashed") != first
    assert fingerprint_of(crash, name="mail", reason="lost with its workers") != first
    assert fingerprint_of(None, name="", reason="undecodable: char 7") == fingerprint_of(
        None, name="", reason="undecodable: char 8"
    )


def _recurse(depth: int) -> None:
    if depth == 0:
        raise Fail("deep")
    _recurse(depth - 1)


def _failure(depth: int) -> Failure:
    try:
        _recurse(depth)
    except Fail as error:
        return failure_of(error)
    raise AssertionError


def test_the_depth_of_a_recursion_is_no_other_cause() -> None:
    """Each frame counts once; a real traceback is read."""
    marks = {fingerprint_of(_failure(depth), name="deep", reason="failed by its handler") for depth in (1, 2, 300)}

    assert len(marks) == 1
    assert re.fullmatch(r"[0-9a-f]{16}", marks.pop())


async def _refuse() -> None:
    raise ValueError("order 17")


async def _miss() -> None:
    raise KeyError("order 18")


def _mark_of(raiser: Callable[[], object]) -> str:
    try:
        raiser()
    except (ExceptionGroup, LookupError) as error:
        return fingerprint_of(failure_of(error), name="deep", reason="attempts used up")
    raise AssertionError


def _together(*tasks: Callable[[], Coroutine[Any, Any, None]]) -> str:
    async def gather() -> None:
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(task())

    return _mark_of(lambda: asyncio.run(gather()))


def test_what_is_in_an_exception_group_tells_the_cause() -> None:
    """The group itself is raised at one place and says one thing, whatever went wrong in it."""
    assert _together(_refuse) != _together(_miss)
    assert _together(_refuse, _miss) not in (_together(_refuse), _together(_miss))


def test_how_many_and_in_which_order_is_no_other_cause() -> None:
    """Each cause in a group counts once."""
    assert _together(_refuse) == _together(_refuse, _refuse, _refuse)
    assert _together(_refuse, _miss) == _together(_miss, _refuse)


def _grouped(message: str, *members: Exception, cause: Exception | None = None) -> str:
    def raiser() -> None:
        raise ExceptionGroup(message, members) from cause

    return _mark_of(raiser)


def test_what_was_put_into_a_group_counts_by_its_class() -> None:
    """It was never raised, so it has no frames; its message counts no more than any other."""
    deep = ExceptionGroup("in", [KeyError(3)] * 20)

    assert _grouped("many", ValueError("order 1")) == _grouped("all", ValueError("order 2\nOops"), ValueError())
    assert _grouped("many", ValueError()) != _grouped("many", OSError())
    assert _grouped("many", deep) == _grouped("many", ExceptionGroup("within", [KeyError(4), KeyError(5)]))
    assert _grouped("many", deep) != _grouped("many", ExceptionGroup("in", [OSError()]))
    assert _grouped("many", OSError(), cause=deep) == _grouped("many", OSError(), cause=deep)
