"""What is said of a run in each state: what it waits for, since when, who holds it, when it moves, what to do."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from dispatch_celery.cli.explaining_runs import explain_run
from dispatch_celery.cli.phrases import Member
from dispatch_celery.cluster.model import Worker
from dispatch_celery.ids import WorkerId
from dispatch_celery.scope import Scope
from dispatch_celery.work.model import Failure
from dispatch_celery.workflows.model import RunPhase, RunState
from tests.support.run_views import ALONE, AROUND, ID, LIVE, NOW, WAITING, WORKER, ago, call, run, waits_for


def test_a_pending_run_tells_its_place_and_who_may_take_it() -> None:
    """As a job does; what is ahead of it may be jobs too."""
    found = explain_run(run(RunState.PENDING), replace(AROUND, ahead=2))

    assert f"{ID} (checkout, version 2) is pending: ready in the queue 'q' since" in found.explanation
    assert "with 2 others of its priority ahead. 1 live worker consumes it (0 of 2 slots" in found.explanation
    assert found.since == ago(seconds=5)
    strange = explain_run(run(RunState.PENDING), replace(AROUND, known_at=None))
    assert "no live worker is known to declare version 2 of the workflow 'checkout'" in strange.explanation
    assert strange.advice.endswith("the run goes on by itself.")


def test_a_run_of_an_unknown_version_tells_when_it_is_parked() -> None:
    """The grace counts from when a live worker last knew that version."""
    around = replace(AROUND, unknown_since=ago(minutes=4), known_at=ago(minutes=3), unknown_grace=timedelta(minutes=10))
    found = explain_run(run(RunState.PENDING), around)

    assert "no live worker has known version 2 of the workflow 'checkout' since" in found.explanation
    assert "it is parked 2026-05-04 12:07:00 UTC (in 7 min)" in found.explanation
    assert "also when it is parked" in found.advice
    assert found.next_at == NOW + timedelta(minutes=7)


@pytest.mark.parametrize(
    ("step", "place"), [("ship#1", "attempt 2 of step ship#1"), ("undo:charge#1", "attempt 2 of undo:charge#1")]
)
def test_a_running_run_tells_what_its_step_says(step: str, place: str) -> None:
    """What is under way is not recorded yet; a step that reports is told instead of the last recorded call."""
    progress = {"step": step, "attempt": 2, "done": 3, "total": 10, "message": "parcels\nof many"}
    found = explain_run(run(RunState.RUNNING, worker=WORKER, progress=progress), AROUND)

    assert f"and is at {place}, which has done 3 of 10 (parcels of many); it has no timeout." in found.explanation
    silent = explain_run(run(RunState.RUNNING, worker=WORKER), AROUND)
    assert "and is at the call after step charge#1" in silent.explanation


def test_a_sleeping_run_tells_when_it_wakes() -> None:
    """Nobody holds it meanwhile; an overdue one names who should have moved it."""
    sleep = call("sleep#1", "sleep", "sleeping", due_at=NOW + timedelta(minutes=5))
    found = explain_run(WAITING, waits_for(sleep))

    assert "is waiting since 2026-05-04 11:57:00 UTC (3 min ago); nobody holds it" in found.explanation
    assert "it waits for sleep#1: its end is due 2026-05-04 12:05:00 UTC (in 5 min)." in found.explanation
    assert (found.since, found.next_at, found.worker) == (ago(minutes=3), NOW + timedelta(minutes=5), "")
    assert f"runs cancel {ID}" in found.advice
    late = replace(sleep, due_at=ago(minutes=1))
    assert "the leading worker makes it ready now" in explain_run(WAITING, waits_for(late)).explanation
    alone = explain_run(WAITING, waits_for(late, around=ALONE))
    assert "no live worker leads, so nobody makes it ready" in alone.explanation
    assert "worker -Q q`" in alone.advice


def test_a_retrying_step_has_its_last_error_and_its_next_attempt() -> None:
    """The error is on one line."""
    again = call("pay#1", status="retrying", attempts=2, due_at=NOW + timedelta(seconds=30))
    found = explain_run(WAITING, replace(waits_for(again), last_errors={"pay#1": "BankError: no\nmoney"}))

    assert "it waits for step pay#1, whose attempt 2 ended with BankError: no money: attempt 3" in found.explanation
    assert found.next_at == NOW + timedelta(seconds=30)
    unknown = explain_run(WAITING, waits_for(again))
    assert "whose attempt 2 ended: attempt 3 is due" in unknown.explanation


def test_a_run_may_wait_without_a_limit_or_for_many() -> None:
    """Some are named, the rest counted; the first due time is when it moves, else its own timeout."""
    endless = explain_run(WAITING, waits_for(call("paid#1", "event", "awaiting")))
    assert "it waits for event paid#1, for as long as that takes." in endless.explanation
    assert endless.next_at is None
    limited = explain_run(
        WAITING, replace(waits_for(call("paid#1", "event", "awaiting")), deadline=NOW + timedelta(hours=1))
    )
    assert "; its timeout cancels it 2026-05-04 13:00:00 UTC (in 1 h)." in limited.explanation
    timed = call("paid#2", "event", "awaiting", due_at=NOW + timedelta(minutes=9))
    assert "event paid#2: its timeout is due" in explain_run(WAITING, waits_for(timed)).explanation
    many = [call(f"paid#{number}", "event", "awaiting") for number in range(5)]
    several = explain_run(WAITING, waits_for(*many, timed))
    assert "waits for 6 calls: event paid#0, event paid#1, event paid#2 and 3 more; the first" in several.explanation
    assert several.next_at == timed.due_at


def test_a_timeout_that_comes_first_is_told() -> None:
    """A run that sleeps past its own timeout is cancelled before."""
    sleep = call("sleep#1", "sleep", "sleeping", due_at=NOW + timedelta(hours=5))
    found = explain_run(WAITING, replace(waits_for(sleep), deadline=NOW + timedelta(hours=1)))

    assert "before that, its timeout cancels it 2026-05-04 13:00:00 UTC (in 1 h)." in found.explanation
    assert found.next_at == NOW + timedelta(hours=1)


def test_calls_on_record_for_later_are_not_waited_for() -> None:
    """What is to be undone should the run fail is no call under way."""
    found = explain_run(WAITING, waits_for(call("undo:charge#1", "undo", "open")))

    assert "what it waited for is there" in found.explanation


def test_a_run_that_starts_later_or_after_a_crash_says_so() -> None:
    """Each with its time."""
    later = explain_run(run(RunState.WAITING), replace(AROUND, start_at=NOW + timedelta(hours=2)))
    assert "since it was created 2026-05-04 11:00:00 UTC (1 h ago): its start is due" in later.explanation
    assert later.next_at == NOW + timedelta(hours=2)
    paused = replace(AROUND, pause_until=NOW + timedelta(seconds=4))
    assert "its process died (crashes: 2)" in explain_run(run(RunState.WAITING, crashes=2), paused).explanation
    assert "a worker gave it back" in explain_run(run(RunState.WAITING), paused).explanation


def test_a_running_run_names_its_holder_and_its_place() -> None:
    """Host, process, the last recorded call and the timeout are there."""
    held = run(RunState.RUNNING, worker=WORKER)
    around = replace(AROUND, pid=4711, held_since=ago(seconds=20), deadline=NOW + timedelta(hours=1))
    found = explain_run(held, around)

    assert f"worker w1@host ({WORKER} on host, process 4711) holds it since" in found.explanation
    assert "is at the call after step charge#1, the last of 1 recorded call, which ended" in found.explanation
    assert "its timeout cancels it 2026-05-04 13:00:00 UTC (in 1 h)." in found.explanation
    assert (found.since, found.worker, found.next_at) == (ago(seconds=20), WORKER, NOW + timedelta(hours=1))
    fresh = explain_run(held, replace(AROUND, promises=()))
    assert "is at its first call, which is recorded when it ends; it has no timeout." in fresh.explanation
    again = explain_run(held, waits_for(call("pay#1", status="retrying", attempts=2)))
    assert "is at attempt 3 of step pay#1" in again.explanation
    assert "It has ended 2 processes" in explain_run(replace(held, crashes=2), AROUND).explanation


def test_a_run_that_is_to_be_cancelled_says_so() -> None:
    """While it is held, and when it is ready again for a worker to end it."""
    asked = {"cancel_requested": True, "reason": "too late"}
    running = explain_run(run(RunState.RUNNING, worker=WORKER, **asked), AROUND)
    assert "Its cancellation was requested: too late." in running.explanation
    assert running.advice.startswith("Nothing to do: its worker interrupts it")
    ready = explain_run(run(RunState.PENDING, **{**asked, "reason": "timeout"}), AROUND)
    assert "Its cancellation was requested: the time it was given is up." in ready.explanation


@pytest.mark.parametrize("workers", [(), (replace(LIVE, lease_until=ago(seconds=3)),)])
def test_a_run_of_a_lost_worker_waits_for_its_recovery(workers: tuple[Worker, ...]) -> None:
    """What is recorded is not done again; without another worker nobody recovers it."""
    held = run(RunState.RUNNING, worker=WORKER)
    found = explain_run(held, replace(AROUND, workers=workers))

    assert "that worker is lost" in found.explanation
    assert "what is recorded of it is not done again" in found.explanation
    assert "Start a worker" in found.advice
    other = replace(LIVE, id=WorkerId.mint())
    assert "within seconds" in explain_run(held, replace(AROUND, workers=(*workers, other))).advice


def test_a_run_that_undoes_says_how_far_it_is() -> None:
    """What is undone is counted, in every state; an undo that waits for its next attempt has its last error."""
    failure = Failure(type="BankError", message="closed")
    undos = (
        call("undo:ship#1", "undo", "undone", resolved_at=ago(seconds=9)),
        call("undo:charge#1", "undo", "retrying", attempts=2, failure=failure),
    )
    around = replace(waits_for(*undos), pause_until=NOW + timedelta(seconds=30))
    found = explain_run(run(RunState.WAITING, phase=RunPhase.UNDOING), around)

    assert "because attempt 2 of undo:charge#1 ended, with BankError: closed; nobody holds it" in found.explanation
    assert "its next turn is due 2026-05-04 12:00:30 UTC (in 30 s). It is compensating: 1 of 2" in found.explanation
    assert found.explanation.endswith("undos are over, next is undo:charge#1.")
    assert found.advice.startswith("Mend what it says before its attempts are used up; ")
    assert f"runs timeline {ID}` shows what is undone" in found.advice
    first = replace(around, promises=(call("undo:charge#1", "undo", "open"),))
    begins = explain_run(run(RunState.WAITING, phase=RunPhase.UNDOING), first)
    assert begins.advice.startswith("Nothing to do; ")
    held = explain_run(run(RunState.RUNNING, worker=WORKER, phase=RunPhase.UNDOING), around)
    assert "is at attempt 3 of undo:charge#1" in held.explanation
    assert "runs cancel" not in held.advice


def test_a_run_that_undoes_waits_for_what_it_has_sent() -> None:
    """Jobs and child runs under way end first; a child that has completed undoes what it did, in its turn."""
    job = call("resize#1", "job", "open")
    undoing = run(RunState.WAITING, phase=RunPhase.UNDOING)
    paused = replace(
        waits_for(job, call("undo:resize#1", "undo", "open")),
        members={"resize#1": Member(id="job_1", state="running")},
        waits=frozenset(),
        pause_until=NOW + timedelta(seconds=2),
    )
    assert (
        "because what it has sent to the fleet is to end before it undoes the rest: 1 call: job resize#1 (job_1 is"
        " running); nobody holds it" in explain_run(undoing, paused).explanation
    )
    child = call("ship#1", "child", resolved_at=ago(seconds=9))
    taken_back = replace(
        paused,
        promises=(child, call("undo:ship#1", "undo", "open")),
        members={"ship#1": Member(id="run_2", state="pending")},
    )
    assert "because its child run_2, which is pending, is to undo first" in explain_run(undoing, taken_back).explanation


@pytest.mark.parametrize(
    ("member", "says"),
    [
        (Member(id="job_1", state="retrying"), "job resize#1 (job_1 is retrying), for as long as that takes."),
        (Member(id="job_1"), "job resize#1 (job_1, whose record is gone), for as long as that takes."),
    ],
)
def test_a_run_that_waits_for_a_job_names_it(member: Member, says: str) -> None:
    """Its id and how it stands, and where more is said of it; what is under way and not waited for is left out."""
    sent = (call("resize#1", "job", "open"), call("later#1", "job", "open"))
    around = replace(waits_for(*sent), members={"resize#1": member}, waits=frozenset({"resize#1"}))
    found = explain_run(WAITING, around)

    assert f"it waits for {says}" in found.explanation
    assert found.advice.startswith("`celery -A app dispatch explain job_1` tells what it waits for. ")
    assert f"`celery -A app dispatch runs cancel {ID}` ends the run." in found.advice


def test_a_run_that_waits_for_a_group_counts_what_is_left() -> None:
    """How many of how many that were sent, how they stand, and when it goes on."""
    left = [call(f"map#1/resize#{number}", "job", "open") for number in range(40)]
    done = [call(f"map#1/resize#{number}", "job", resolved_at=ago(seconds=9)) for number in range(40, 100)]
    members = {
        one.identity: Member(id=f"job_{n}", state="running" if n < 2 else "pending") for n, one in enumerate(left)
    }
    around = replace(waits_for(*done, *left), members=members, enough=25)
    found = explain_run(WAITING, around)

    assert (
        "it waits for 40 of the 100 calls of map#1 so far (38 pending, 2 running); it goes on when 15 of them have"
        " ended." in found.explanation
    )
    assert "`celery -A app dispatch explain job_0` tells what the first of them waits for." in found.advice
    one = explain_run(WAITING, replace(waits_for(*done, left[0]), members=members))
    assert (
        "it waits for job map#1/resize#0 (job_0 is running), 1 of the 61 calls of map#1 so far, for" in one.explanation
    )
    apart = explain_run(WAITING, waits_for(left[0], call("sleep#1", "sleep", "sleeping", due_at=NOW)))
    assert "it waits for 2 calls: job map#1/resize#0, sleep#1; the first" in apart.explanation


def test_a_run_that_waits_for_an_event_says_how_to_publish_it() -> None:
    """To this run, or to all under a key, in the run's tenant; names are quoted for a shell."""
    due = NOW + timedelta(minutes=5)
    waiting = run(RunState.WAITING, waiting_since=ago(minutes=3), scope=Scope(app_id="shop", org_id="a b"))
    found = explain_run(waiting, waits_for(call("it's paid#2", "event", "awaiting", due_at=due)))

    assert "since 2026-05-04 11:57:00 UTC (3 min ago)" in found.explanation
    assert "it waits for event it's paid#2: its timeout is due 2026-05-04 12:05:00 UTC (in 5 min)." in found.explanation
    name = "'it'\"'\"'s paid'"
    assert f"`celery -A app dispatch runs publish {ID} {name} --payload JSON` gives it the event" in found.advice
    assert (
        f"`celery -A app dispatch events publish {name} --key KEY --scope-app shop --scope-org 'a b' --payload JSON`"
        in found.advice
    )
    assert f"runs cancel {ID}` ends the run." in found.advice
    several = explain_run(
        WAITING, waits_for(call("wait_for_all#1", "all", "awaiting"), call("wait_for_all#1/paid#1", "event"))
    )
    assert "it waits for all of the events of wait_for_all#1 (1 has come), for as long" in several.explanation
    assert "runs publish" in several.advice
    assert "NAME is one of those that its code waits for here." in several.advice


def test_a_run_that_has_begun_anew_says_in_which_generation_it_is() -> None:
    """And what it says of itself; one that has begun once does not speak of it."""
    waiting = replace(WAITING, generation=3, status="2 parcels left")
    found = explain_run(waiting, waits_for(call("paid#1", "event", "awaiting")))

    assert found.explanation.startswith(f"{ID} (checkout, version 2, generation 3) is waiting since")
    assert found.explanation.endswith("for as long as that takes. Its status: 2 parcels left.")
    assert "generation" not in explain_run(WAITING, AROUND).explanation


@pytest.mark.parametrize(("calls", "is_told"), [(15, False), (16, True)])
def test_a_run_that_nears_the_end_of_its_journal_is_told(calls: int, is_told: bool) -> None:  # noqa: FBT001 - a case
    """From four fifths of the durable calls on that it may record; how its effects are undone is none of them."""
    undos = [call(f"undo:n#{number}", "undo", "open") for number in range(9)]
    sleep = call("sleep#1", "sleep", "sleeping", due_at=NOW + timedelta(minutes=5))
    noted = [call(f"n#{number}", resolved_at=ago(seconds=9)) for number in range(calls - 1)]
    around = replace(AROUND, promises=(*noted, sleep, *undos), max_promises=20)

    said = explain_run(WAITING, around).explanation
    assert ("It has recorded 16 of 20 durable calls, and fails after them" in said) == is_told
    assert ("wf.continue_as_new" in said) == is_told
