"""What users write with cron: every line type checks, but the marked ones must not. Read by checkers, never run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import assert_type

from celery import Celery

from dispatch_celery import (
    CronEntry,
    CronId,
    CronState,
    Dispatch,
    JobHandle,
    JobId,
    Page,
    RunHandle,
    RunId,
    Scope,
    Workflow,
)

app = Celery("shop")
dispatch = Dispatch(app)


@dispatch.cron("*/5 * * * *")  # MUST FAIL: it needs an argument
@dispatch.job
def needs(x: int) -> None: ...


@dispatch.cron("*/5 * * * *")
@dispatch.cron("0 1 * * *", timezone="Europe/Berlin", name="nightly tick", misfire="skip", overlap="queue_one")
@dispatch.job(name="tick")
def tick(n: int = 0) -> int:
    return n


assert_type(tick.enqueue(3), JobHandle[int])


@dispatch.cron("0 1 * * *", name="needs-7", arguments={"x": 7}, scope=Scope(app_id="a"), jitter=30)
@dispatch.cron(timedelta(minutes=5), arguments={"x": 8}, start=datetime(2026, 1, 1, tzinfo=UTC))
@dispatch.job
def needs_one(x: int) -> None: ...


assert_type(needs_one.enqueue(3), JobHandle[None])


@dispatch.cron("@daily")
@dispatch.job
async def later() -> str:
    return "x"


@dispatch.cron("@daily")
@dispatch.workflow
def nightly(wf: Workflow) -> str:
    return "x"


assert_type(nightly.start(), RunHandle[str])


@dispatch.cron("@daily")  # MUST FAIL: it needs an argument
@dispatch.workflow
def nightly_of(wf: Workflow, n: int) -> None: ...


@dispatch.cron("@daily")  # MUST FAIL: no job or workflow
def plain() -> None: ...


@dispatch.cron("@daily", arguments={"n": 1})  # MUST FAIL: no job or workflow
def plain_of(n: int) -> None: ...


dispatch.cron(5)  # MUST FAIL: no schedule
dispatch.cron("@daily", overlap=3)  # MUST FAIL: no policy

entry = dispatch.crons.register("nightly", "0 3 * * *", tick, arguments={"n": 1}, end=datetime(2027, 1, 1, tzinfo=UTC))
assert_type(entry, CronEntry)
assert_type(entry.id, CronId)
assert_type(entry.state, CronState)
assert_type(dispatch.crons.register("by-name", "@hourly", "reports.hourly", revision=3), CronEntry)
assert_type(dispatch.crons.register("flow", timedelta(hours=1), nightly), CronEntry)
assert_type(dispatch.crons.list(state="disabled"), Page[CronEntry])
assert_type(dispatch.crons.get(entry.id), CronEntry)
assert_type(dispatch.crons.enable("nightly"), CronEntry)
assert_type(dispatch.crons.disable("nightly", revision=entry.revision), CronEntry)
assert_type(dispatch.crons.trigger("nightly"), JobId | RunId)
assert_type(dispatch.crons.upcoming("nightly", count=3), list[datetime])
dispatch.crons.delete("nightly")
dispatch.crons.register("nightly", "@daily", plain)  # MUST FAIL: no job or workflow


async def on_a_loop() -> None:
    assert_type(await dispatch.crons.aregister("nightly", "@daily", tick), CronEntry)
    assert_type(await dispatch.crons.alist(), Page[CronEntry])
    assert_type(await dispatch.crons.atrigger("nightly"), JobId | RunId)
    await dispatch.crons.adelete("nightly")
