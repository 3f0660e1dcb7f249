"""Options that only checkers can refuse early, and calls with options. Read by checkers, never run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import assert_type

from celery import Celery

from dispatch_celery import Dispatch, JobHandle

dispatch = Dispatch(Celery("shop"))


@dispatch.job
def bare(x: int) -> str:
    return str(x)


@dispatch.job
def other(x: int) -> int:
    return x


bare.options(run_at=datetime.now(UTC))
bare.options(run_at="tomorrow")  # MUST FAIL 1
bare.options(run_at=60)  # MUST FAIL 2
bare.options(expires=datetime.now(UTC))
bare.options(expires=timedelta(hours=1))
bare.options(expires=3600)
bare.options(expires="soon")  # MUST FAIL 3
assert_type(bare.options(priority=9).enqueue_many([bare.bind(1), (2,), {"x": 3}]), list[JobHandle[str]])
bare.options(priority=9).enqueue_many([other.bind(1)])  # MUST FAIL 4
