"""No crash, race, deploy or hostile undo loses an undo, repeats one without need, or leaves a run where nobody is."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from os import P_PID, WNOWAIT, WSTOPPED, kill, waitid
from pathlib import Path

import pytest

from dispatch_celery import RunCancelled, RunFailed, RunParked
from dispatch_celery.errors import StateConflict
from dispatch_celery.workflows.handle import RunHandle
from dispatch_celery.workflows.model import RunPhase, RunState
from tests.support.eventually import eventually
from tests.support.flow_workers import FlowFleet, flow_fleet
from tests.support.workers import Worker

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(60)]

POOLS = {"prefork": ("-c", "2"), "threads": ("-P", "threads", "-c", "4"), "solo": ("-P", "solo")}


@pytest.fixture
def fleet(namespace: str, server_url: str, tmp_path: Path) -> Iterator[FlowFleet]:
    """Return a fleet in a namespace of its own, without workers yet."""
    with flow_fleet(namespace, server_url, tmp_path, "tests.support.sagas_attacked") as made:
        yield made


def words(fleet: FlowFleet) -> list[str]:
    """Return every effect, in order."""
    lines = fleet.effects_file.read_text().splitlines() if fleet.effects_file.exists() else []
    return [word for line in lines if not (word := line.split(" ", 1)[0]).startswith("key=")]


def undos(fleet: FlowFleet, run: RunHandle[object]) -> dict[str, str]:
    """Return how each undo of a run stands."""
    timeline = fleet.flows.dispatch.runs.timeline(run.id)
    return {promise.identity: promise.status for promise in timeline if promise.identity.startswith("undo:")}


def parked(run: RunHandle[object], why: str) -> None:
    """Wait until a run waits for a person, for this reason."""
    with pytest.raises(RunParked, match=why):
        run.result(timeout=20)


# -- what an undo may raise


@pytest.mark.parametrize("on_loop", [False, True], ids=["sync", "async"])
def test_whatever_an_undo_raises_is_a_failed_attempt_of_it(fleet: FlowFleet, *, on_loop: bool) -> None:
    """Its policy decides: also about Cancel and Snooze, which mean nothing to an undo; RetryAfter says when."""
    fleet.start()
    runs = {
        name: fleet.flows.badly.start(name, on_loop=on_loop)
        for name in ("ValueError", "Cancel", "Snooze", "RetryAfter")
    }

    for name, run in runs.items():
        with pytest.raises(RunFailed, match="not wanted any more"):
            run.result(timeout=20)
        assert len(fleet.effects(f"release-{name}")) == 2
        assert len(fleet.effects(f"release-first-{name}-first-{name}")) == 1


@pytest.mark.parametrize("on_loop", [False, True], ids=["sync", "async"])
def test_an_undo_gives_up_at_once_when_it_says_so_or_ends_its_process(fleet: FlowFleet, *, on_loop: bool) -> None:
    """``Fail``, an exit and an interrupt are no errors to try again; no worker dies of them, and a person is asked."""
    names = ("Fail", "SystemExit", "KeyboardInterrupt", "CancelledError")
    worker = fleet.start()
    before = worker.children()
    runs = {name: fleet.flows.badly.start(name, on_loop=on_loop) for name in names}

    for name, run in runs.items():
        parked(run, "still to be undone: a?reserve_badly#1 .*, reserve#1")
        assert len(fleet.effects(f"release-{name}")) == 1
        assert fleet.effects(f"release-first-{name}-first-{name}") == []
        assert fleet.flows.dispatch.runs.retry_undo(run.id) == RunState.PENDING
        with pytest.raises(RunFailed, match="not wanted any more"):
            run.result(timeout=20)
        assert len(fleet.effects(f"release-first-{name}-first-{name}")) == 1
    assert worker.children() == before


@pytest.mark.parametrize("pool", POOLS)
def test_an_undo_past_its_time_is_tried_again(pool: str, fleet: FlowFleet) -> None:
    """An async one is cancelled in every pool."""
    fleet.start("w1", *POOLS[pool])
    run = fleet.flows.timed.start("t", on_loop=True)

    with pytest.raises(RunFailed, match="not wanted any more"):
        run.result(timeout=20)
    assert words(fleet) == ["reserve-first-t", "begin-t", "begin-t", "release-t", "release-first-t-first-t"]


def test_an_undo_past_its_time_is_interrupted(fleet: FlowFleet) -> None:
    """A sync one in prefork; its attempts are used up then, and a person is asked."""
    fleet.start()
    run = fleet.flows.timed.start("t", on_loop=False)

    parked(run, "AttemptTimeout.*; still to be undone: reserve_shortly#1 .*, reserve#1")
    assert words(fleet) == ["reserve-first-t", "begin-t"]
    (fleet.folder / "go").touch()
    fleet.flows.dispatch.runs.retry_undo(run.id)
    with pytest.raises(RunFailed, match="not wanted any more"):
        run.result(timeout=20)


def test_an_undo_that_cannot_take_none_is_left_to_a_person(fleet: FlowFleet) -> None:
    """What its step returned is not known: it says so, and the person who did it by hand skips it."""
    fleet.start()
    run = fleet.flows.unknown.start("u")

    parked(run, "PayloadError: .*result: .*; still to be undone: reserve_unknown#1 .*, reserve#1")
    assert fleet.flows.dispatch.runs.skip_undo(run.id, "reserve_unknown#1") == RunState.PENDING
    with pytest.raises(RunFailed, match="broke"):
        run.result(timeout=20)
    assert words(fleet) == ["reserve-first-u", "release-first-u-first-u"]


# -- crashes, stops, zombies


def test_an_undo_that_kills_its_process_each_time_is_left_to_a_person(fleet: FlowFleet) -> None:
    """It is not tried for ever; mended, it is retried as one that was given up, and the others follow."""
    fleet.start(DISPATCH_MAX_CRASHES="2")
    run = fleet.flows.deadly.start("d")

    parked(run, "it kills its processes")
    assert words(fleet) == ["reserve-first-d", "try-d", "try-d"]
    assert run.info().phase == RunPhase.UNDOING
    with pytest.raises(StateConflict, match="use retry_undo or skip_undo"):
        run.cancel()
    (fleet.folder / "mended").touch()
    assert fleet.flows.dispatch.runs.retry_undo(run.id) == RunState.PENDING
    with pytest.raises(RunFailed, match="not wanted any more"):
        run.result(timeout=20)
    assert words(fleet)[-2:] == ["release-d", "release-first-d-first-d"]


def test_an_undo_that_kills_its_process_can_be_skipped(fleet: FlowFleet) -> None:
    """As one that was given up: the others follow at once."""
    fleet.start(DISPATCH_MAX_CRASHES="2")
    run = fleet.flows.deadly.start("d")
    parked(run, "it kills its processes")

    assert fleet.flows.dispatch.runs.skip_undo(run.id, "reserve_deadly#1") == RunState.PENDING
    with pytest.raises(RunFailed, match="not wanted any more"):
        run.result(timeout=20)
    assert words(fleet)[-1] == "release-first-d-first-d"


def test_a_skipped_undo_is_noted_again_with_its_effect(fleet: FlowFleet) -> None:
    """The skip was about what had been done by then: a step that runs again after it is undone when the run fails."""
    fleet.start(DISPATCH_MAX_CRASHES="1")
    run = fleet.flows.fatally.start("f")
    parked(run, "it kills its processes")

    assert fleet.flows.dispatch.runs.skip_undo(run.id, "reserve_fatally#1") == RunState.PARKED
    (fleet.folder / "mended").touch()
    assert fleet.flows.dispatch.runs.resume(run.id) == RunState.PENDING
    with pytest.raises(RunFailed, match="not wanted any more"):
        run.result(timeout=20)
    assert words(fleet) == ["reserve-f", "reserve-f", "release-f-f"]


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_that_stops_finishes_the_undo_at_hand(pool: str, fleet: FlowFleet) -> None:
    """The next ones are another worker's; none is repeated."""
    first = fleet.start("w1", *POOLS[pool])
    run = fleet.flows.slowly.start("s")
    eventually(lambda: fleet.effects("begin-s"), what="it undoes")
    first.process.terminate()
    eventually(lambda: "warm shutdown" in first.words.lower(), what="it stops")
    (fleet.folder / "go").touch()
    assert first.terminate() == 0
    fleet.start("w2")

    with pytest.raises(RunFailed, match="not wanted any more"):
        run.result(timeout=20)
    assert words(fleet) == ["reserve-first-s", "reserve-s", "begin-s", "release-s", "release-first-s-first-s"]
    assert run.info().crashes == 0


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_an_undo_longer_than_the_grace_of_a_stop_runs_again_elsewhere(pool: str, fleet: FlowFleet) -> None:
    """Under the same idempotency key; it has not failed, so its one attempt is not used up."""
    first = fleet.start("w1", *POOLS[pool], DISPATCH_SHUTDOWN_GRACE="1")
    run = fleet.flows.slowly.start("s")
    eventually(lambda: fleet.effects("begin-s"), what="it undoes")
    first.terminate()
    (fleet.folder / "go").touch()
    fleet.start("w2")

    with pytest.raises(RunFailed, match="not wanted any more"):
        run.result(timeout=20)
    assert words(fleet)[2:] == ["begin-s", "begin-s", "release-s", "release-first-s-first-s"]
    assert len(set(fleet.keys())) == 1
    assert run.info().crashes == 0


def test_a_zombie_records_no_undo(fleet: FlowFleet) -> None:
    """A worker that stood still past its lease in an undo comes back when another one has undone all: it is refused."""
    first = fleet.start("w1")
    run = fleet.flows.slowly.start("z")
    eventually(lambda: fleet.effects("begin-z"), what="it undoes")
    first.signal(signal.SIGSTOP)
    fleet.start("w2")
    eventually(lambda: len(fleet.effects("begin-z")) == 2, within=20, what="another worker undoes")
    (fleet.folder / "go").touch()
    with pytest.raises(RunFailed, match="not wanted any more"):
        run.result(timeout=20)
    before = run.info(), undos(fleet, run)

    first.signal(signal.SIGCONT)

    eventually(lambda: len(fleet.effects("release-z")) == 2, what="the zombie has undone it, too")
    assert fleet.flows.dispatch.start("attacked.defaults", name="probe").id
    assert first.terminate() == 0
    assert (run.info(), undos(fleet, run)) == before
    assert len(fleet.effects("release-first-z-first-z")) == 1


# -- races with a cancel


def test_a_cancel_that_comes_with_the_failure_does_not_disturb_the_undo(fleet: FlowFleet) -> None:
    """The worker hears of it when the run undoes already: no attempt of an undo is spent, nor its process killed."""
    worker = fleet.start()
    run = fleet.flows.overtaken.start("o")
    eventually(lambda: fleet.effects("held-o"), what="it is about to fail")
    kill(worker.pid, signal.SIGSTOP)
    waitid(P_PID, worker.pid, WSTOPPED | WNOWAIT)  # all its threads: the one that listens, too
    try:
        assert run.cancel(reason="not needed") == RunState.RUNNING
        (fleet.folder / "fail").touch()
        eventually(lambda: run.info().phase == RunPhase.UNDOING, within=2, what="it undoes")
    finally:
        kill(worker.pid, signal.SIGCONT)
    eventually(lambda: fleet.effects("begin-o"), what="the undo has begun")
    assert fleet.flows.defaults.start("probe").state() is not None
    (fleet.folder / "go").touch()

    with pytest.raises(RunFailed, match="not wanted any more"):
        run.result(timeout=20)
    assert words(fleet).count("release-o") == 1


@pytest.mark.parametrize("pool", POOLS)
def test_a_cancel_while_a_run_makes_amends_undoes_the_rest(pool: str, fleet: FlowFleet) -> None:
    """The undo at hand is interrupted where that can be, spends no attempt, and runs again; nothing goes forward."""
    fleet.start("w1", *POOLS[pool])
    run = fleet.flows.amends.start("a")
    eventually(lambda: fleet.effects("begin-a"), what="it makes amends")

    assert run.cancel(reason="not needed") == RunState.RUNNING
    eventually(lambda: run.state() != RunState.RUNNING or run.info().phase == RunPhase.UNDOING, what="it is told")
    (fleet.folder / "go").touch()
    with pytest.raises(RunCancelled, match="not needed"):
        run.result(timeout=25)
    assert words(fleet)[-1] == "release-first-a-first-a"
    assert words(fleet).count("release-first-a-first-a") == 1
    assert fleet.effects("after-a") == []


def test_cancel_asked_for_again_is_no_conflict(fleet: FlowFleet) -> None:
    """Whoever got no answer asks again, while what the first one has begun is under way."""
    fleet.start()
    run = fleet.flows.again.start("c")
    eventually(lambda: run.state() == RunState.WAITING, what="it waits")
    fleet.flows.dispatch.runs.cancel(run.id, reason="not needed")

    assert run.cancel() in (RunState.PENDING, RunState.RUNNING, RunState.CANCELLED)
    with pytest.raises(RunCancelled, match="not needed"):
        run.result(timeout=20)
    assert run.cancel() == RunState.CANCELLED


def test_a_step_between_two_attempts_is_undone(fleet: FlowFleet) -> None:
    """The attempt that failed may have had its effect; there is no other one after the cancel."""
    fleet.start()
    run = fleet.flows.again.start("r")
    eventually(lambda: run.state() == RunState.WAITING, what="it waits for another attempt")

    assert run.cancel() == RunState.PENDING
    with pytest.raises(RunCancelled):
        run.result(timeout=20)
    assert words(fleet) == ["reserve-r", "release-r-None"]


def test_a_cancel_by_a_step_ends_a_run_that_tidies_up(fleet: FlowFleet) -> None:
    """A durable call on the way out does not make it begin again and again."""
    fleet.start()
    run = fleet.flows.tidy_cancel.start("t")

    with pytest.raises(RunCancelled, match="not wanted any more"):
        run.result(timeout=10)
    assert words(fleet) == ["reserve-t", "give-up-t", "release-t-t"]


def test_amends_that_are_given_up_park_a_run_that_tidies_up(fleet: FlowFleet) -> None:
    """A durable call on the way out does not make it try for ever."""
    fleet.start()
    run = fleet.flows.tidy_amends.start("Fail")

    parked(run, "an undo was given up")
    assert words(fleet) == ["release-Fail"]


# -- what is noted


def test_what_is_noted_in_a_loop_is_undone_one_by_one(fleet: FlowFleet) -> None:
    """Each once and in reverse, though the process died after each intent and the run rested in between."""
    fleet.start(DISPATCH_MAX_CRASHES="9")
    run = fleet.flows.loop.start("l")

    with pytest.raises(RunFailed, match="not wanted any more"):
        run.result(timeout=30)
    assert [word for word in words(fleet) if word.startswith("forget")] == ["forget-l-2", "forget-l-1", "forget-l-0"]
    assert undos(fleet, run) == {f"undo:add_undo#{n}": "undone" for n in (3, 2, 1)}


def test_what_no_other_process_finds_is_not_noted(fleet: FlowFleet) -> None:
    """A function within the workflow holds the values of one run in one process: it is refused before the effect."""
    fleet.start()
    with pytest.raises(RunFailed, match="add_undo takes a function of a module"):
        fleet.flows.nested.start("n").result(timeout=15)


def test_an_undo_is_given_what_its_step_took_by_default(fleet: FlowFleet) -> None:
    """The step's defaults, as it had them then: the undo need not have any."""
    fleet.start()
    with pytest.raises(RunFailed, match="not wanted any more"):
        fleet.flows.defaults.start("d").result(timeout=15)
    assert words(fleet) == ["release-d-3-plain"]


@pytest.mark.parametrize("fails", [False, True])
def test_amends_are_made_for_what_is_open(fleet: FlowFleet, *, fails: bool) -> None:
    """However often: nothing is undone twice, what came later is undone when the run fails, and none that completes."""
    fleet.start()
    run = fleet.flows.twice.start("t", fails=fails)

    if fails:
        with pytest.raises(RunFailed, match="not wanted any more"):
            run.result(timeout=20)
    else:
        assert run.result(timeout=20) == "done"
    assert words(fleet) == [
        "reserve-one-t",
        "release-one-t-one-t",
        "reserve-two-t",
        "release-two-t-two-t",
        "reserve-three-t",
        *(["release-three-t-three-t"] if fails else []),
    ]


# -- deploys


def _rested(fleet: FlowFleet, release: str, seconds: float = 60) -> tuple[RunHandle[object], Worker]:
    """Return a run that the old release began, and the worker of another one that goes on with it."""
    old = fleet.start("old", SAGAS_RELEASE="old")
    run: RunHandle[object] = fleet.flows.deployed.start(5, seconds)
    eventually(lambda: run.state() == RunState.WAITING, what="it rests")
    old.terminate()
    return run, fleet.start("new", SAGAS_RELEASE=release)


def test_a_run_whose_code_has_changed_is_undone_all_the_same(fleet: FlowFleet) -> None:
    """Parked for its forward code, then cancelled: what it did is undone without that code."""
    run, _ = _rested(fleet, "new", seconds=1.5)
    parked(run, "its code has changed")

    assert run.cancel(reason="not needed") == RunState.PENDING
    with pytest.raises(RunCancelled, match="not needed"):
        run.result(timeout=20)
    assert words(fleet) == ["reserve-first-5", "take-5", "give-back-5", "release-first-5-first-5"]


@pytest.mark.parametrize(
    ("release", "why"),
    [
        ("retyped", "PayloadError: .*amount: Input should be a valid string"),
        ("removed", "this worker has imported no function of that name"),
        ("starred", r"'\*everything' cannot be stored by name"),
        ("emptied", "give_back of take#1 was given up"),
    ],
)
def test_an_undo_that_does_not_fit_any_more_is_left_to_a_person(release: str, why: str, fleet: FlowFleet) -> None:
    """With its old code back it is tried again, and the run ends for the reason it was cancelled for."""
    run, new = _rested(fleet, release)
    assert run.cancel(reason="not needed") == RunState.PENDING

    parked(run, f"{why}.*; still to be undone: take#1 .*, reserve#1")
    assert words(fleet) == ["reserve-first-5", "take-5"]
    new.terminate()
    fleet.start("back", SAGAS_RELEASE="old")
    assert fleet.flows.dispatch.runs.retry_undo(run.id) == RunState.PENDING
    with pytest.raises(RunCancelled, match="not needed"):
        run.result(timeout=20)
    assert words(fleet)[2:] == ["give-back-5", "release-first-5-first-5"]
