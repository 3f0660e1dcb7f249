"""The kinds of simulated jobs: what each does, its policy, and how it must end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dispatch_celery.retry import Constant, Retry
from tests.support.simulation.plan import ProcessDied

if TYPE_CHECKING:
    from tests.support.simulation.stage import Stage


@dataclass
class Expectation:
    """How a job must end; ``executions`` is how often its effect may be seen when nothing goes wrong."""

    states: frozenset[str]
    executions: int


def job_kinds(world: Stage) -> dict[str, tuple[Callable[..., Any], Retry, Expectation]]:
    """The kinds of jobs: a handler, a policy, and how it must end."""

    def succeed(job: str) -> str:
        world.effect(job)
        return "done"

    def fail_once(job: str) -> str:
        if world.effect(job) == 1:
            raise ValueError("the first time")
        return "done"

    def fail_always(job: str) -> str:
        world.effect(job)
        raise ValueError("every time")

    def snooze_once(job: str) -> str:
        from dispatch_celery.jobs.outcome import Snooze

        if world.effect(job) == 1:
            raise Snooze(5)
        return "done"

    def echo(job: str) -> str:
        world.effect(job)
        return job

    def poison(job: str) -> str:
        world.effect(job)
        raise ProcessDied

    three = Retry(3, Constant(2))
    return {
        "succeed": (succeed, three, Expectation(frozenset({"completed"}), 1)),
        "later": (succeed, three, Expectation(frozenset({"completed"}), 1)),
        "fail_once": (fail_once, three, Expectation(frozenset({"completed"}), 2)),
        "fail_always": (fail_always, three, Expectation(frozenset({"failed"}), 3)),
        "snooze_once": (snooze_once, three, Expectation(frozenset({"completed"}), 2)),
        "echo": (echo, three, Expectation(frozenset({"completed"}), 1)),
        "poison": (poison, three, Expectation(frozenset({"failed"}), 3)),
        "expires": (succeed, three, Expectation(frozenset({"cancelled"}), 0)),
        "twin": (succeed, three, Expectation(frozenset({"completed"}), 1)),
    }
