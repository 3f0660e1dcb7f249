"""A server whose memory is full: what moves work on is accepted, what needs memory is refused whole.

The scripts of runs are in ``test_runs_memory.py``, those of cron in ``test_cron_memory.py``.
"""

from __future__ import annotations

import pytest

from dispatch_celery.jobs.model import JobRef, JobState
from tests.lua.resending import Act, Case, named
from tests.lua.run_world import RunWorld
from tests.lua.test_dlq_filing import purged_by_older
from tests.lua.test_resend import CASES, LIMITS, shared
from tests.lua.world import START, World

GROWS = (
    "dlq/bury",
    "dlq/note",
    "dlq/putback",
    "dlq/refile",
    "dlq/replay",
    "events/publish",
    "jobs/enqueue",
    "jobs/enqueue_many",
    "jobs/progress",
    "jobs/rearm",
    "jobs/replace",
    "middleware/begin",
    "middleware/finish",
    "queues/limit",
)
"""What begins or keeps something new; and the timer of a job, which the leader sets when it looks again."""


# -- limits


def _line(world: World, *, concurrency: int | None = 1, rate: str | None = None) -> JobRef:
    """Return a job with a permit of a limit, for which another waits."""
    world.limit(concurrency=concurrency, rate=rate)
    first, _ = world.enqueue(), world.enqueue()
    assert world.settle() == [first.id]
    assert world.limits.permit([(first, "queue:q", "1", False)])[0].verdict == "READY"
    world.limits.done([], world.limits.granted(10))
    return first


def _settle(world: World) -> Act:
    return lambda: len(world.settle())


def _given_back(world: World) -> Act:
    world.jobs.cancel(_line(world), JobState.PENDING, "x")
    return _settle(world)


def _given_back_behind_a_request(world: World) -> Act:
    first = _line(world)
    world.enqueue()
    world.jobs.cancel(first, JobState.PENDING, "x")
    return _settle(world)


def _raised(world: World) -> Act:
    _line(world)
    world.limit(concurrency=2)
    return _settle(world)


def _refilled(world: World) -> Act:
    _line(world, concurrency=None, rate="1/s")
    world.passes(1_000)
    return _settle(world)


def _lacks_another(world: World) -> Act:
    world.limit(concurrency=5)
    world.limit("job:mail", concurrency=5)
    ref = world.enqueue()
    world.settle("job:mail")
    return lambda: world.limits.permit([(ref, "job:mail", "1", False)])[0].verdict


def _limit(world: World) -> Act:
    return lambda: world.limits.set("queue:q", {"concurrency": 4})


def _pause(world: World) -> Act:
    world.limit(concurrency=4)
    return lambda: world.limits.set("queue:q", {"paused": "1"})


# -- dead letters


def _asked(world: World, step: str) -> Act:
    letter = world.letters.bury(b"raw", queue="q", reason="r")
    world.letters.put_back(letter, "asker", "ask")
    return lambda: world.letters.put_back(letter, "asker", step)[0]


def _no_alarm(world: World) -> Act:
    world.at("failed")
    world.letters.alert(0, told=True)
    return lambda: world.letters.alert(5)


def _unfiled(world: World) -> Act:
    ref = world.at("failed")
    died, mark = world.dump().ordered["dead"][ref.id], world.record(ref)["fingerprint"]
    purged_by_older(world, ref)
    return lambda: world.letters.refile(ref.id, name="mail", fingerprint=mark, filed_at=f"{died:.0f}")


# -- what middlewares share


def _probed(world: World, *, ok: bool) -> Act:
    shared(world).report("bank", "a", LIMITS, ok=False)
    world.passes(60_000)
    assert shared(world).admit("bank", "b", LIMITS)[0] == "PROBE"
    return lambda: shared(world).report("bank", "b", LIMITS, ok=ok)[0]


def _done_in_vain(world: World) -> Act:
    shared(world).begin("mail", "k", "job_1", attempt=1, hold=60_000)
    return lambda: shared(world).finish("mail", "k", "job_1", attempt=1, result=None, window=60_000)


MOVES_ON: list[Case[World]] = [
    *(case for case in CASES if case.script not in GROWS),
    Case("queues/settle", _given_back, 1, None, "a permit that is given back"),
    Case("queues/settle", _given_back_behind_a_request, 1, None, "the same behind a request"),
    Case("queues/settle", _raised, 1, None, "a limit that was raised"),
    Case("queues/settle", _refilled, 1, None, "a rate"),
    Case("jobs/permit", _lacks_another, "LIMITED", None, "that lacks another"),
    Case("dlq/putback", lambda world: _asked(world, "done"), "DONE", None, "done"),
    Case("dlq/putback", lambda world: _asked(world, "undo"), "YOURS", None, "undone"),
    Case("dlq/alert", _no_alarm, ("BELOW", 1), None, "no more"),
    Case("dlq/refile", _unfiled, True, None, "of what is gone"),
    Case("middleware/report", lambda world: _probed(world, ok=True), "CLOSED", None, "that closes"),
    Case("middleware/report", lambda world: _probed(world, ok=False), "OPENED", None, "of a probe"),
    Case("middleware/finish", _done_in_vain, "FREED", None, "without a result"),
]
REFUSED: list[Case[World]] = [
    # An enqueue is answered job by job: below.
    *(case for case in CASES if case.script in GROWS and not case.script.startswith("jobs/enqueue")),
    Case("queues/limit", _limit, START * 1_000 + 1, None),
    Case("queues/limit", _pause, START * 1_000 + 2, None, "that pauses"),
]


@pytest.mark.parametrize("case", MOVES_ON, ids=named)
def test_what_moves_work_on_is_accepted_when_memory_is_full(full: RunWorld, case: Case[World]) -> None:
    """Ends, releases, cancels, leases and permits go on, or the memory would never be freed."""
    act = case.prepare(full)
    full.fill()

    assert act() == case.first
    assert full.problems() == []


@pytest.mark.parametrize("case", REFUSED, ids=named)
def test_what_needs_memory_is_refused_whole(full: RunWorld, case: Case[World]) -> None:
    """The answer is "not now", and nothing is left behind; it works again when there is room."""
    act = case.prepare(full)

    full.refuses_whole(act)
    assert act() == case.first


def test_an_enqueue_is_refused_whole(full: RunWorld) -> None:
    """Each job of a batch is answered "not now", with nothing left: record, index, key, mark or timer."""
    job, later = full.job(key="k", scope="a/b"), full.job(delay=5_000)
    full.fill()

    assert all("refuses for now" in str(reply) for reply in full.jobs.enqueue([job, later]))
    assert full.ask("KEYS", f"{full.keys.tag}*") == []
    full.make_room()
    assert all("CREATED" in str(reply) for reply in full.jobs.enqueue([job, later]))


def test_a_limited_job_runs_and_ends_when_memory_is_full(full: RunWorld) -> None:
    """It asks, is granted its permit, runs, ends, and the one behind it goes on: nothing of that waits for room."""
    first, second = full.enqueue(), full.enqueue()
    full.limit(concurrency=1)
    worker = full.register()
    full.fill()

    for ref in (first, second):
        assert full.jobs.claim(ref, holder=worker, nonce="n", pid=1)[0] == "LIMITED"
    for ref in (first, second):
        assert full.settle() == [ref.id]
        assert full.limits.permit([(ref, "queue:q", "1", False)])[0].verdict == "READY"
        full.limits.done([], full.limits.granted(10))
        assert full.end("complete", full.claim(ref, worker, nonce=ref.id)).verdict == "DONE"
    assert full.settle() == []
