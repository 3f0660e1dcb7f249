"""Several calls at once, as the process that holds their run goes through them."""

from __future__ import annotations

from typing import Any, cast

import pytest
from celery import Celery

from dispatch_celery import Dispatch
from dispatch_celery.errors import Suspended
from dispatch_celery.ids import RunId
from dispatch_celery.retry import Retry
from dispatch_celery.workflows.crowd import Crowd
from dispatch_celery.workflows.engine import Engine
from dispatch_celery.workflows.held import RunClaim
from dispatch_celery.workflows.holder import Holder
from dispatch_celery.workflows.journal import Entry, Journal, digest_of, rest_of
from dispatch_celery.workflows.model import RunRef

TOKEN = "1.a"  # noqa: S105 - a fencing token is no password
dispatch = Dispatch(Celery("crowd", broker="redis://127.0.0.1:1/0", set_as_current=False))


@dispatch.job(name="crowd.double")
def double(n: int) -> int:
    """Return twice the number."""
    return 2 * n


class Seat:
    """A worker that may go on."""

    def trusted(self) -> bool:
        """Return that it may act."""
        return True

    def cancelled(self) -> bool:
        """Return that nobody has asked it to stop."""
        return False


class Counted(Journal):
    """A journal that counts how often it is asked what is recorded."""

    reads = 0

    def get(self, identity: str) -> Entry | None:
        """Count, and return what is recorded."""
        self.reads += 1
        return super().get(identity)


def reads_of(members: int) -> int:
    """Return how often the journal is asked on a replay of a map whose last member is under way."""
    calls = [double.bind(n) for n in range(members)]
    entries = [
        Entry.parse(
            f"map#1/crowd.double#{n + 1}",
            (b"open 0 0 " if n == members - 1 else b"value %d 5 " % n)
            + rest_of({"k": "job", "d": digest_of(call.payload), "o": n, "m": f"job_{n}"}, b"0"),
        )
        for n, call in enumerate(calls)
    ]
    nothing = cast("Any", None)
    ref = RunRef(id=RunId("run_1"), name="crowd", queue="celery", priority=0)
    claim = RunClaim(
        ref=ref, holder="wrk_1", token=TOKEN, claimed_at=0, payload=b"{}", spec=b"{}", revision=0, generation=0,
        crashes=0, lost_workers=0, cancel="", created_at=0,
    )  # fmt: skip
    holder = Holder(claim, store=nothing, seat=cast("Any", Seat()))
    engine = Engine(holder, runner=nothing, fleet=nothing, topics=nothing, step_retry=Retry(1), max_payload=1_024)
    engine.journal = journal = Counted(entries)
    with pytest.raises(Suspended):
        Crowd(engine, "map", calls, width=50).decide()
    return journal.reads


def test_a_replay_looks_at_each_member_a_few_times_however_many_there_are() -> None:
    """What is recorded of a map is gone through once, not once for each width of it that had been sent."""
    few, many = reads_of(500), reads_of(5_000)

    assert many <= 11 * few
