"""The recorded world that catches each planted bug; run as a module, it searches for them and records them anew.

A world is named by the number of the call its fault strikes at, so a change in how many calls a job takes moves
the worlds: ``python -m tests.support.killers`` then finds others, and takes the quickest of the first few. With
``--missing`` it looks only for those that have none.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from dispatch_celery.config import Settings
from dispatch_celery.store.client import RedisStore, Store
from dispatch_celery.store.embedded import EmbeddedServer
from tests.support.mutants import MUTANTS, RUN_MUTANTS, Mutant, MutantStore
from tests.support.scenarios import FLOWS, WORKLOADS, sample, scenarios, visit
from tests.support.simulation import Fault, Plan

SEED = 20_261_121
_RECORD = Path(__file__).parents[1] / "properties" / "killers.json"
_CANDIDATES = 2


def killers() -> dict[str, Plan]:
    """Return the recorded world of each mutant."""
    return {name: _plan_of(data) for name, data in json.loads(_RECORD.read_text()).items()}


def _plan_of(data: dict[str, object]) -> Plan:
    faults = tuple(Fault(**fault) for fault in data["faults"])  # type: ignore[attr-defined]  # read from our own file
    return Plan(tuple(data["jobs"]), faults, inline=bool(data["inline"]), seed=int(data["seed"]))  # type: ignore[call-overload]  # as above


def killed(store: Store, namespace: str, mutant: Mutant, plan: Plan) -> bool:
    """Return whether a world with the mutant in it breaks a promise."""
    try:
        _, problems = visit(store, namespace, plan, stack=lambda inner: MutantStore(inner, mutant))
    except (KeyError, ValueError, AssertionError) as error:
        # A broken reply can break the engine itself: that is being noticed, too.
        return "has no" not in str(error)
    return bool(problems)


def worlds(store: Store, namespace: str, mutant: Mutant) -> list[Plan]:
    """Return the worlds in which a mutant is looked for: the calm ones, then a sample of those with a fault."""
    workloads = FLOWS if mutant.of_runs else WORKLOADS
    calm = [Plan(jobs, inline=inline) for jobs in workloads for inline in (True, False)]
    return calm + sample(list(scenarios(store, namespace, workloads)), 3_000, SEED)


def _killing(store: Store, mutant: Mutant, plans: list[Plan]) -> Iterator[tuple[float, Plan]]:
    for plan in plans:
        begun = time.perf_counter()
        if killed(store, "killers", mutant, plan) and not visit(store, "killers", plan)[1]:
            yield time.perf_counter() - begun, plan


def _record() -> None:
    logging.disable(logging.CRITICAL)
    found = {}
    with TemporaryDirectory() as folder, EmbeddedServer(append_only=False, options=("--unixsocket", f"{folder}/s")):
        store = RedisStore(Settings(), f"unix://{folder}/s")
        plans: dict[bool, list[Plan]] = {}
        known = {name: asdict(plan) for name, plan in killers().items()} if "--missing" in sys.argv else {}
        for mutant in (*MUTANTS, *RUN_MUTANTS):
            if mutant.name in known:
                found[mutant.name] = known[mutant.name]
                continue
            if mutant.of_runs not in plans:
                plans[mutant.of_runs] = worlds(store, "killers", mutant)
            caught = list(islice(_killing(store, mutant, plans[mutant.of_runs]), _CANDIDATES))
            if not caught:
                click.echo(f"         {mutant.name}: nothing catches it")
                continue
            took, plan = min(caught, key=lambda one: one[0])
            click.echo(f"{took:6.2f} s  {mutant.name}: {plan}")
            found[mutant.name] = asdict(plan)
            _RECORD.write_text(json.dumps({**known, **found}, indent=1) + "\n")
        store.close()


if __name__ == "__main__":
    if set(sys.argv[1:]) - {"--missing"}:
        sys.exit("python -m tests.support.killers [--missing]: record the world that catches each planted bug")
    _record()
