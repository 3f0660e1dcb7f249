"""Runs that are given another past: begun anew, taken back, forked, migrated; and what is asked before a deploy.

Executed by the testing kit, in this process, on a real server and a virtual clock.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery

from dispatch_celery import (
    AsyncWorkflow,
    CodeVerdict,
    ConfigurationError,
    Dispatch,
    JournalTooLarge,
    PayloadError,
    PayloadTooLarge,
    PromiseNotFound,
    Retry,
    RunCancelled,
    RunFailed,
    RunState,
    Scope,
    StateConflict,
    Workflow,
    WorkflowMisuse,
    WorkflowNotFound,
    current_step,
    scope,
)
from dispatch_celery.events.model import Place
from dispatch_celery.store.replies import ask
from dispatch_celery.store.scripts import Call
from dispatch_celery.testing import Kit

pytest_plugins = ["dispatch_celery.testing.plugin"]

app = Celery("rewriting", broker="redis://127.0.0.1:1/0")
app.conf.dispatch_max_promises = 20
dispatch = Dispatch(app)
paid = dispatch.event("paid", int)
done: list[str] = []
keys: list[str] = []
broken: set[str] = set()
ONCE = Retry(1)


@dispatch.step(retry=ONCE)
def note(text: str) -> str:
    """Leave a trace, or fail."""
    if text in broken:
        raise ValueError(text)
    done.append(text)
    keys.append(current_step().idempotency_key)
    return text


def untake(_: str | None, text: str) -> None:
    """Take back."""
    done.append(f"un{text}")


@dispatch.step(retry=ONCE, undo=untake)
def take(text: str) -> str:
    """Leave a trace that can be taken back."""
    done.append(text)
    return text


@dispatch.job(name="line")
def line(text: str) -> str:
    """Run on the fleet."""
    done.append(text)
    return text


@dispatch.workflow(name="story")
def story(wf: Workflow, hero: str) -> list[str]:
    """Three steps, a job, and a number that follows from its place."""
    first = wf.step(note, f"{hero} 1")
    number = str(wf.uuid())
    second = wf.step(note, f"{first} 2")
    third = wf.run_job(line, f"{second} 3")
    return [first, number, second, third, wf.step(note, "last")]


@dispatch.workflow(name="counter")
def counter(wf: Workflow, left: int, seen: list[int]) -> list[int]:
    """Wait for a payment, and begin anew."""
    wf.status(f"{left} left")
    seen = [*seen, wf.wait_for_event(paid, key="k")]
    if left > 1:
        wf.continue_as_new(left - 1, seen)
    return seen


@dispatch.workflow(name="acounter")
async def acounter(wf: AsyncWorkflow, left: int) -> str:
    """Begin anew from within a task."""
    if left:
        await wf.step(note, f"{left}")
        wf.continue_as_new(left - 1)
    return f"generation {wf.info.generation}"


@dispatch.workflow(name="hasty")
def hasty(wf: Workflow, how: str) -> str:
    """Ask to begin anew when that is not possible."""
    if how == "undo":
        wf.step(take, "it")
    elif how == "job":
        wf.enqueue(line, "x")
    elif how == "child":
        wf.run_child(buyer)
    wf.continue_as_new(*([] if how == "arguments" else ["ended"]))


@dispatch.workflow(name="buyer")
def buyer(wf: Workflow) -> str:
    """Take two things, and fail at the end perhaps."""
    wf.step(take, "a")
    wf.step(take, "b")
    return wf.step(note, "end")


@dispatch.workflow(name="team")
def team(wf: Workflow) -> list[str]:
    """Gather steps, then one more."""
    return [*wf.gather(note.bind("x"), note.bind("y")), wf.step(note, "z")]


@dispatch.workflow(name="long")
def long(wf: Workflow, steps: int) -> int:
    """Make many durable calls."""
    for n in range(steps):
        wf.step(note, str(n))
    return steps


@dispatch.step
def load(n: int) -> str:
    """Return much."""
    return "x" * (1_000_000 + n)


@dispatch.workflow(name="heavy")
def heavy(wf: Workflow, steps: int) -> list[int]:
    """Record much, rest, and measure it."""
    loads = [wf.step(load, n) for n in range(steps)]
    wf.sleep(1)
    return [len(one) for one in loads]


@dispatch.workflow(name="naps", version=1)
def naps_1(wf: Workflow) -> str:
    """Sleep, then say which version it is."""
    wf.step(note, "before")
    wf.sleep(timedelta(hours=1))
    return "1"


@dispatch.workflow(name="naps", version=2)
def naps_2(wf: Workflow) -> str:
    """The same with another end."""
    wf.step(note, "before")
    wf.sleep(timedelta(hours=1))
    return "2"


@dispatch.workflow(name="naps", version=3)
def naps_3(wf: Workflow) -> str:
    """Something else."""
    wf.sleep(timedelta(hours=1))
    return "3"


@dispatch.workflow(name="naps", version=4)
def naps_4(wf: Workflow) -> str:
    """Something that cannot work."""
    raise TypeError(f"no {wf.info.name}")


@dispatch.workflow(name="cautious", version=1)
def cautious_1(wf: Workflow) -> str:
    """Try another way where the first one fails."""
    try:
        return wf.step(note, "first")
    except ValueError:
        wf.step(note, "second")
    wf.sleep(timedelta(hours=1))
    return "1"


@dispatch.workflow(name="cautious", version=2)
def cautious_2(wf: Workflow) -> str:
    """Try no other way."""
    wf.step(note, "first")
    wf.sleep(timedelta(hours=1))
    return "2"


@dispatch.workflow(name="family")
def family(wf: Workflow) -> list[str]:
    """Two children."""
    return [wf.run_child(naps_1), wf.run_child(naps_2)]


@pytest.fixture
def dispatch_app() -> Dispatch:
    """Lend the app to a test."""
    done.clear()
    keys.clear()
    broken.clear()
    return dispatch


# -- a run that begins anew


def test_a_run_begins_anew_and_forgets_what_it_recorded(dispatch_kit: Kit) -> None:
    """Its id stays, its journal stays small, and no event is consumed twice."""
    run = counter.start(3, [])
    for n in range(3):
        dispatch.events.publish(paid, n, key="k")

    assert dispatch_kit.result(run) == [0, 1, 2]
    record = run.info()
    assert (record.generation, record.arguments) == (2, {"left": 1, "seen": [0, 1]})
    assert [promise.identity for promise in dispatch.runs.timeline(run.id)] == ["paid#1"]
    assert [promise.value for promise in dispatch.runs.timeline(run.id, previous=True)] == [1]


def test_what_a_run_says_of_itself_is_shown(dispatch_kit: Kit) -> None:
    """The last status that was told, while it waits as well as afterwards."""
    run = counter.start(2, [])
    dispatch_kit.drain()
    assert run.info().status == "2 left"

    dispatch.events.publish(paid, 1, key="k")
    dispatch_kit.drain()
    assert run.info().status == "1 left"


def test_an_async_run_begins_anew(dispatch_kit: Kit) -> None:
    """Its steps happen in each generation, under keys of their own."""
    assert dispatch_kit.result(acounter.start(2)) == "generation 2"
    assert done == ["2", "1"]
    assert len(set(keys)) == 2


@pytest.mark.parametrize(("how", "told"), [("undo", "take#1"), ("job", "line#1"), ("child", "a child")])
def test_a_run_with_something_open_does_not_begin_anew(how: str, told: str, dispatch_kit: Kit) -> None:
    """A new generation would know nothing of it: the code is told so, and of what."""
    run = hasty.start(how)
    dispatch_kit.drain()

    with pytest.raises(RunFailed, match=told) as failed:
        run.result(timeout=5)
    assert failed.value.error_type.endswith("WorkflowMisuse")


def test_members_that_have_ended_hinder_nothing(dispatch_kit: Kit) -> None:
    """A job that was waited for is over: the next generation sends its own."""

    @dispatch.workflow(name="relay")
    def relay(wf: Workflow, left: int) -> str:
        told = wf.run_job(line, f"{left}")
        if left:
            wf.continue_as_new(left - 1)
        return told

    assert dispatch_kit.result(relay.start(2)) == "0"
    assert done == ["2", "1", "0"]


def test_arguments_of_a_new_generation_are_checked(dispatch_kit: Kit) -> None:
    """As those of a start are."""
    run = hasty.start("arguments")
    dispatch_kit.drain()

    with pytest.raises(RunFailed) as failed:
        run.result(timeout=5)
    assert failed.value.error_type.endswith("PayloadError")


def test_every_crash_of_a_run_that_begins_anew_is_survived(dispatch_kit: Kit) -> None:
    """Wherever a process dies, the next generation begins once."""
    report = dispatch_kit.crash_everywhere(acounter, 2)

    assert len(report.crashes) > 10
    report.assert_same_outcome()
    report.assert_executions_at_most(3)


def test_a_journal_has_an_end(dispatch_kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    """A run that records too much is warned of, and fails with an error that says what to do."""
    assert dispatch_kit.result(long.start(20)) == 20
    run = long.start(21)
    dispatch_kit.drain()

    with pytest.raises(RunFailed, match="continue_as_new") as failed:
        run.result(timeout=5)
    assert failed.value.error_type.endswith(JournalTooLarge.__name__)
    assert any("has recorded 16 durable calls; at 20 it fails" in record.getMessage() for record in caplog.records)


def test_a_large_journal_comes_in_parts(dispatch_kit: Kit) -> None:
    """What does not fit into one reply is asked for, and is all there when the run goes on."""
    run = heavy.start(9)
    dispatch_kit.drain()
    assert run.state() == RunState.WAITING

    assert dispatch_kit.result(run) == [1_000_000 + n for n in range(9)]
    assert dispatch_kit.executions["load"] == 9


# -- rewind


def test_a_failed_run_is_taken_back_and_goes_on(dispatch_kit: Kit) -> None:
    """What came before stays; what failed happens again, under keys of its own, and the job is another one."""
    broken.add("last")
    run = story.start("Ann")
    dispatch_kit.drain()
    assert run.state() == RunState.FAILED
    number = [promise.value for promise in dispatch.runs.timeline(run.id)][1]
    first_key = keys[0]
    broken.clear()

    assert dispatch.runs.rewind(run.id, "line#1") == RunState.PENDING
    result = dispatch_kit.result(run)
    assert result[-1] == "last"
    assert done == ["Ann 1", "Ann 1 2", "Ann 1 2 3", "Ann 1 2 3", "last"]
    assert number == result[2]
    assert first_key != keys[-1]
    assert run.info().generation == 1
    assert [promise.status for promise in dispatch.runs.timeline(run.id, previous=True)][-1] == "error"


def test_what_follows_from_a_place_stays_when_it_was_used(dispatch_kit: Kit) -> None:
    """A UUID made before something that stays is the same; one that nothing used yet is a new one."""
    run = story.start("Ann")
    _, number, *_ = dispatch_kit.result(run)

    dispatch.runs.rewind(run.id, "note#3")
    assert dispatch_kit.result(run)[1] == number
    dispatch.runs.rewind(run.id, "note#2")
    anew = dispatch_kit.result(run)[1]
    assert anew != number
    dispatch.runs.rewind(run.id, "note#3")
    assert dispatch_kit.result(run)[1] == anew


def test_a_run_is_taken_back_to_its_start(dispatch_kit: Kit) -> None:
    """Everything happens again."""
    run = story.start("Ann")
    dispatch_kit.result(run)
    dispatch.runs.rewind(run.id)
    dispatch_kit.result(run)

    assert done == ["Ann 1", "Ann 1 2", "Ann 1 2 3", "last"] * 2


def test_effects_are_not_left_behind_unsaid(dispatch_kit: Kit) -> None:
    """What would happen again and is not undone is named; it is left as it is on the caller's word only."""
    run = buyer.start()
    dispatch_kit.result(run)

    with pytest.raises(StateConflict, match=r"take#2 would happen again.*discard_undo"):
        dispatch.runs.rewind(run.id, "take#2")
    dispatch.runs.rewind(run.id, "take#2", discard_undo=True)
    dispatch_kit.result(run)
    assert done == ["a", "b", "end", "b", "end"]
    dispatch.runs.compensate(run.id)
    dispatch_kit.drain()
    assert done[5:] == ["unb", "una"]


def test_what_was_undone_is_not_built_upon(dispatch_kit: Kit) -> None:
    """A run that was undone goes on from before what was undone, not from behind it."""
    broken.add("end")
    run = buyer.start()
    dispatch_kit.drain()
    assert done == ["a", "b", "unb", "una"]
    broken.clear()

    with pytest.raises(StateConflict, match="the effect of take#1 was undone"):
        dispatch.runs.rewind(run.id, "note#1")
    with pytest.raises(StateConflict, match="the effect of take#1 was undone"):
        dispatch.runs.fork(run.id, "note#1")
    dispatch.runs.rewind(run.id, "take#1")
    assert dispatch_kit.result(run) == "end"
    assert done[4:] == ["a", "b", "end"]


def test_a_member_is_cut_out_alone(dispatch_kit: Kit) -> None:
    """Its siblings stay as they ended."""
    run = team.start()
    dispatch_kit.result(run)
    dispatch.runs.rewind(run.id, "gather#1/note#1")

    assert dispatch_kit.result(run) == ["x", "y", "z"]
    assert done == ["x", "y", "z", "x", "z"]


def test_a_run_that_goes_on_is_not_taken_back(dispatch_kit: Kit) -> None:
    """It is told to be cancelled first; a call that is not recorded is named."""
    run = naps_1.start()
    dispatch_kit.drain()

    with pytest.raises(StateConflict, match="waiting"):
        dispatch.runs.rewind(run.id)
    run.cancel()
    with pytest.raises(PromiseNotFound, match="note#7"):
        dispatch.runs.rewind(run.id, "note#7")
    dispatch.runs.rewind(run.id, "sleep#1")
    assert dispatch_kit.result(run) == "1"
    assert done == ["before"]


# -- fork


def test_a_fork_goes_on_by_itself(dispatch_kit: Kit) -> None:
    """It takes over what came before, executes the rest, belongs to the same tenant, and leaves the first as it is."""
    with scope(app_id="shop", org_id="acme"):
        run = story.start("Ann")
    first = dispatch_kit.result(run)
    fork = dispatch.runs.fork(run.id, "line#1")

    assert dispatch_kit.result(fork) == first
    assert done == ["Ann 1", "Ann 1 2", "Ann 1 2 3", "last", "Ann 1 2 3", "last"]
    record = fork.info()
    assert (record.forked_from, record.scope) == (run.id, Scope(app_id="shop", org_id="acme"))
    assert run.info().generation == 0


def test_a_fork_has_another_input_and_other_results(dispatch_kit: Kit) -> None:
    """What was recorded is not compared with the arguments that follow from them."""
    run = story.start("Ann")
    dispatch_kit.result(run)

    fork = dispatch.runs.fork(run.id, "line#1", arguments={"hero": "Bob"}, results={"note#2": "edited"})
    first, _, second, third, _ = dispatch_kit.result(fork)
    assert (first, second, third) == ("Ann 1", "edited", "edited 3")
    assert fork.info().arguments == {"hero": "Bob"}


def test_a_fork_is_asked_for_in_full(dispatch_kit: Kit) -> None:
    """What is not taken over, cannot be edited, or does not fit, is refused with its name, and nothing is started."""
    run = team.start()
    dispatch_kit.result(run)

    with pytest.raises(PromiseNotFound, match="note#1"):
        dispatch.runs.fork(run.id, "gather#1", results={"note#1": "w"})
    with pytest.raises(ConfigurationError, match="gather#1 is a gather"):
        dispatch.runs.fork(run.id, "note#1", results={"gather#1": 1})
    with pytest.raises(PayloadError, match="result for gather#1/note#1"):
        dispatch.runs.fork(run.id, "note#1", results={"gather#1/note#1": object()})
    with pytest.raises(PayloadTooLarge, match="result for gather#1/note#1"):
        dispatch.runs.fork(run.id, "note#1", results={"gather#1/note#1": "x" * 2_000_000})
    with pytest.raises(PayloadError, match="hero"):
        dispatch.runs.fork(run.id, "note#1", arguments={"hero": "x"})
    with pytest.raises(WorkflowNotFound, match="version 9 of team"):
        dispatch.runs.fork(run.id, version=9)
    assert sum(dispatch.runs.count(name="team").values()) == 1


def test_a_fork_undoes_nothing_that_it_took_over(dispatch_kit: Kit) -> None:
    """Only what it has done itself."""
    run = buyer.start()
    dispatch_kit.result(run)
    broken.add("end")
    fork = dispatch.runs.fork(run.id, "take#2")
    dispatch_kit.drain()

    assert fork.state() == RunState.FAILED
    assert done == ["a", "b", "end", "b", "unb"]


def test_a_fork_is_forked(dispatch_kit: Kit) -> None:
    """What followed from a place in the first run is the same in the last."""
    run = story.start("Ann")
    number = dispatch_kit.result(run)[1]
    fork = dispatch.runs.fork(run.id, "line#1")
    again = dispatch.runs.fork(fork.id, "note#3") if dispatch_kit.result(fork) else fork

    assert dispatch_kit.result(again)[1] == number


# -- versions


def test_a_run_is_migrated(dispatch_kit: Kit) -> None:
    """While it sleeps; it wakes under the other version, whose code is checked before."""
    run = naps_1.start()
    dispatch_kit.drain()

    assert [check.verdict for check in dispatch.runs.check_code(run_id=run.id, version=2)] == [CodeVerdict.FITS]
    assert dispatch.runs.migrate(run.id, 2) == RunState.WAITING
    assert dispatch_kit.result(run) == "2"
    assert run.info().version == 2
    with pytest.raises(StateConflict, match="completed"):
        dispatch.runs.migrate(run.id, 1)
    with pytest.raises(WorkflowNotFound, match="no version 9 of naps; it has: 1, 2, 3, 4"):
        dispatch.runs.migrate(run.id, 9)


def test_a_parked_run_is_migrated_and_goes_on(dispatch_kit: Kit) -> None:
    """To the version whose code fits what it has recorded."""
    run = naps_1.start()
    dispatch_kit.drain()
    dispatch.runs.migrate(run.id, 3)
    dispatch_kit.advance(timedelta(days=1))
    assert run.state() == RunState.PARKED

    assert dispatch.runs.migrate(run.id, 2) == RunState.PENDING
    assert dispatch_kit.result(run) == "2"


def test_code_is_checked_and_nothing_is_executed(dispatch_kit: Kit) -> None:
    """Each run that has not ended is told apart: whether it fits, would park, or fail; nothing of it moves."""
    broken.add("last")
    runs = [naps_1.start(), naps_1.start()]
    ended = story.start("Ann")
    dispatch_kit.drain()
    before = [run.info() for run in runs]
    del done[:]

    assert {check.verdict for check in dispatch.runs.check_code()} == {CodeVerdict.FITS}
    assert ended.id not in {check.id for check in dispatch.runs.check_code()}
    parks = dispatch.runs.check_code(name="naps", version=3)
    assert [check.verdict for check in parks.bad] == [CodeVerdict.PARKS] * 2
    assert "recorded: step note#1" in parks.bad[0].detail
    early = dispatch.runs.check_code(name="naps", version=4, limit=1)
    assert [check.verdict for check in early] == [CodeVerdict.PARKS]
    assert early.bad[0].detail.endswith("\nit ended with TypeError: no naps")
    assert not early.complete
    unknown = dispatch.runs.check_code(version=9)
    assert {check.verdict for check in unknown.bad} == {CodeVerdict.UNKNOWN}
    assert [run.info() for run in runs] == before
    fails = dispatch.runs.check_code(run_id=naps_1.start().id, version=4)
    assert [(check.verdict, check.detail) for check in fails] == [(CodeVerdict.FAILS, "TypeError: no naps")]
    assert done == []


def test_code_that_ends_too_early_parks_whatever_it_ends_with(dispatch_kit: Kit) -> None:
    """A recorded error is an end only where nothing follows it; what it ended with is told, before and afterwards."""
    broken.add("first")
    run = cautious_1.start()
    dispatch_kit.drain()

    (check,) = dispatch.runs.check_code(run_id=run.id, version=2)
    assert check.verdict == CodeVerdict.PARKS
    assert check.detail.startswith("the code ended where step note#2 is recorded.\n")
    assert "\nit ended with " in check.detail
    assert check.detail.endswith("ValueError: first")
    dispatch.runs.migrate(run.id, 2)
    dispatch_kit.advance(timedelta(hours=1))
    assert (run.state(), run.info().detail) == (RunState.PARKED, check.detail)


@pytest.mark.parametrize("how", ["waits", "beyond", "async"])
def test_code_is_checked_at_every_kind_of_call(how: str, dispatch_kit: Kit) -> None:
    """What waits for an event, what would go beyond its journal, what runs on a loop: all fit, and nothing is sent."""
    starts: dict[str, Callable[[], Any]] = {
        "waits": lambda: counter.start(2, []),
        "beyond": lambda: story.start("Ann"),
        "async": lambda: acounter.start(2),
    }
    run = starts[how]()
    if how == "waits":
        dispatch_kit.drain()

    assert [check.verdict for check in dispatch.runs.check_code(run_id=run.id)] == [CodeVerdict.FITS]
    assert done == []
    assert dispatch.runs.check_code().complete


# -- events


def test_published_events_are_asserted(dispatch_kit: Kit) -> None:
    """By name, key, payload and count; a failure tells what there was."""
    dispatch.events.publish(paid, 1, key="a")
    dispatch.events.publish(paid, 2, key="b")

    assert [event.payload for event in dispatch_kit.events_published(paid)] == [1, 2]
    assert [event.key for event in dispatch_kit.assert_event("paid", payload=2, times=1)] == ["b"]
    dispatch_kit.assert_event(paid, key="c", times=0)
    with pytest.raises(AssertionError, match=r"(?s)paid with 3 was published 0 times.*a: 1.*b: 2"):
        dispatch_kit.assert_event(paid, payload=3)


def test_events_are_listed_by_every_filter(dispatch_kit: Kit) -> None:
    """Name, key, tenant and time, together and alone."""
    began = dispatch_kit.now
    acme = Scope(app_id="shop", org_id="acme")
    events = dispatch.events
    a = events.publish(paid, 1, key="a")
    with scope(app_id="shop", org_id="acme"):
        b = events.publish("sent", 2, key="a")
    dispatch_kit.advance(60)
    c = events.publish(paid, 3)

    assert [event.id for event in events.list()] == [c, b, a]
    assert [event.id for event in events.list(key="a")] == [b, a]
    assert [event.id for event in events.list(name="paid")] == [c, a]
    assert [event.id for event in events.list(name="paid", key="a")] == [a]
    assert [event.id for event in events.list(scope=acme)] == [b]
    assert [event.id for event in events.list(name="sent", key="a", scope=acme)] == [b]
    assert events.list(name="sent", key="a").records == ()
    later = began + timedelta(seconds=30)
    assert [event.id for event in events.list(published_after=later)] == [c]
    assert [event.id for event in events.list(name="paid", key="a", published_before=later)] == [a]
    assert events.list(name="paid", key="a", published_after=later).records == ()
    with pytest.raises(ConfigurationError, match="no time zone"):
        events.list(published_after=later.replace(tzinfo=None))


@pytest.mark.parametrize(("published", "heard"), [(59, 1), (60, None), (61, None)], ids=["before", "at", "after"])
def test_an_event_counts_by_when_it_was_published(published: int, heard: int | None, dispatch_kit: Kit) -> None:
    """Not by when its run got to look: one of before the end of the wait is taken, one of after it is a timeout."""

    @dispatch.workflow(name=f"listener-{published}")
    def listener(wf: Workflow) -> int | None:
        return wf.wait_for_event(paid, key="k", timeout=60)

    run = listener.start()
    dispatch_kit.drain()
    clock = dispatch_kit._world.clock
    clock.move_to(clock.ms + published * 1_000)
    dispatch.events.publish(paid, 1, key="k")
    clock.move_to(clock.ms + 3_600_000)  # no worker has come to it until now

    assert dispatch_kit.result(run) == heard


def test_a_cancelled_run_waits_nowhere(dispatch_kit: Kit) -> None:
    """It is struck off its topics at once, whether or not anything is published there again."""
    run = counter.start(1, [])
    dispatch_kit.drain()
    keys, store = dispatch._parts.keys, dispatch._parts.store
    waiters = keys.waiters(Place("paid", "k").digest)
    assert ask(store, Call.command("HLEN", waiters)) == 1

    run.cancel()
    assert ask(store, Call.command("HLEN", waiters)) == 0


# -- reading


def test_one_call_is_inspected(dispatch_kit: Kit) -> None:
    """With its value, or its error and traceback; one that is not there is named."""
    broken.add("last")
    run = story.start("Ann")
    dispatch_kit.drain()

    assert dispatch.runs.inspect(run.id, "note#2").value == "Ann 1 2"
    failure = dispatch.runs.inspect(run.id, "note#3").failure
    assert failure is not None
    assert (failure.type, failure.message) == ("ValueError", "last")
    with pytest.raises(PromiseNotFound, match="note#4"):
        dispatch.runs.inspect(run.id, "note#4")


def test_children_are_told(dispatch_kit: Kit) -> None:
    """In the order of their starts, each with the run it belongs to."""
    run = family.start()
    dispatch_kit.result(run)

    children = dispatch.runs.children(run.id)
    assert [(child.version, child.parent) for child in children] == [(1, run.id), (2, run.id)]
    assert dispatch.runs.children(children[0].id) == []


def test_runs_are_listed_by_every_filter(dispatch_kit: Kit) -> None:
    """Queue, tenant, time and text of what stopped them, as jobs are."""
    began = dispatch_kit.now
    broken.add("last")
    with scope(app_id="shop", org_id="acme"):
        failed = story.options(queue="slow").start("Ann")
    dispatch_kit.drain()
    other = naps_1.start()
    dispatch_kit.drain()
    runs = dispatch.runs

    assert [run.id for run in runs.list(queue="slow")] == [failed.id]
    assert [run.id for run in runs.list(scope=Scope(app_id="shop", org_id="acme"))] == [failed.id]
    assert [run.id for run in runs.list(error="valueerror: LAST")] == [failed.id]
    assert [run.id for run in runs.list(created_after=began, state="waiting")] == [other.id]
    assert runs.list(created_before=began - timedelta(seconds=1)).records == ()
    other.cancel(reason="no room")
    assert [run.id for run in runs.list(error="no room")] == [other.id]
    with pytest.raises(ConfigurationError, match="state must be one of"):
        runs.list(state="asleep")
    with pytest.raises(ConfigurationError, match="state must be one of"):
        runs.count(state="asleep")
    with pytest.raises(RunCancelled):
        other.result(timeout=1)


def test_a_verb_in_the_body_is_refused(dispatch_kit: Kit) -> None:
    """They change what has happened: from a workflow's own code they would do so on each replay."""

    @dispatch.workflow(name="meddler")
    def meddler(wf: Workflow) -> str:
        dispatch.runs.rewind(wf.info.id)
        return "never"

    run = meddler.start()
    dispatch_kit.drain()

    with pytest.raises(RunFailed, match="rewind") as failed:
        run.result(timeout=5)
    assert failed.value.error_type.endswith(WorkflowMisuse.__name__)
