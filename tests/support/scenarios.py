"""Which worlds the crash explorer visits: every kind of fault at every call of every workload.

The list is a function of the code alone, so a failing scenario is named by its ``Plan`` and run again from it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from dispatch_celery.store.client import Store
from tests.support.simulation import KINDS, MESSAGE_KINDS, RUN_KINDS, Fault, Plan, World

WORKLOADS: tuple[tuple[str, ...], ...] = (
    ("succeed", "fail_once"),
    ("fail_always",),
    ("snooze_once", "later"),
    ("poison",),
    ("expires", "twin", "twin"),
)

FLOWS: tuple[tuple[str, ...], ...] = (
    ("flow_steps",),
    ("flow_sleeps",),
    ("flow_retries",),
    ("flow_fails",),
    ("flow_kills",),
    ("flow_saga",),
    ("flow_undoable",),
    ("flow_stuck",),
    ("flow_amends",),
    ("flow_jobs",),
    ("flow_map",),
    ("flow_fails_fast",),
    ("flow_race",),
    ("flow_child",),
    ("flow_parent",),
    ("flow_abandons",),
    ("flow_hears", "flow_says"),
    ("flow_chooses", "flow_says"),
    ("flow_times_out",),
    ("flow_gathers",),
    ("flow_maps_steps",),
    ("flow_races_steps",),
    ("flow_fails_beside",),
    ("flow_tasks",),
    ("flow_async_map",),
    ("flow_async_race",),
    ("flow_async_chooses", "flow_says"),
    ("fail_once", "flow_steps"),
    ("flow_anew", "flow_says"),
    ("flow_outlived",),
    ("flow_loose",),
    ("flow_relayed",),
    ("flow_again",),
    ("flow_mended",),
    ("flow_late",),
    ("flow_forked",),
    ("flow_moved",),
)

Stack = Callable[[Store], Store]


def visit(store: Store, namespace: str, plan: Plan, *, stack: Stack = lambda s: s) -> tuple[World, list[str]]:
    """Run one world to its rest; return it and every broken promise."""
    world = World(store, namespace, plan, stack=stack)
    try:
        world.run()
        return world, world.problems()
    finally:
        world.clean()


def scenarios(store: Store, namespace: str, workloads: Sequence[tuple[str, ...]] = WORKLOADS) -> Iterator[Plan]:
    """Yield every single-fault plan."""
    for jobs in workloads:
        for inline in (True, False):
            calm, problems = visit(store, namespace, Plan(jobs, inline=inline))
            assert not problems, problems
            for kind in (*KINDS, *(RUN_KINDS if any(job in calm.flows for job in jobs) else ())):
                for at in range(1, calm.calls + 1):
                    yield from _at(jobs, kind, at, inline=inline)
            for kind in MESSAGE_KINDS:
                for at in range(1, 8):
                    yield Plan(jobs, (Fault(kind, at),), inline=inline, seed=at)


def _at(jobs: Sequence[str], kind: str, at: int, *, inline: bool) -> Iterator[Plan]:
    if kind == "roll back":
        for back in (2, 6):
            if at > back:
                yield Plan(jobs, (Fault(kind, at, back=at - back),), inline=inline)
    elif kind.startswith("die"):
        for whole in (False, True):
            yield Plan(jobs, (Fault(kind, at, whole_worker=whole),), inline=inline, seed=at)
    else:
        yield Plan(jobs, (Fault(kind, at),), inline=inline, seed=at)


def sample(plans: Sequence[Plan], count: int, seed: int) -> list[Plan]:
    """Return ``count`` of the plans, the same ones for the same seed."""
    return random.Random(seed).sample(list(plans), min(count, len(plans)))


def pairs(plans: Sequence[Plan], count: int, seed: int) -> list[Plan]:
    """Return plans with two faults each, put together from single ones of the same workload."""
    chosen = random.Random(seed)
    found: list[Plan] = []
    while len(found) < count:
        first = chosen.choice(plans)
        second = chosen.choice(plans)
        if (first.jobs, first.inline) == (second.jobs, second.inline) and "roll back" not in (
            first.faults[0].kind,
            second.faults[0].kind,
        ):
            found.append(
                Plan(first.jobs, (*first.faults, *second.faults), inline=first.inline, seed=chosen.randrange(1000))
            )
    return found
