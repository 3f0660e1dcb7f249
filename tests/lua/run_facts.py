"""What must hold of every run at every instant, as sentences about a whole dump of a namespace."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from dispatch_celery.workflows.model import ENDED, TRANSITIONS
from tests.support.invariants import Dump

__all__ = ["run_problems"]


def run_problems(state: Dump, discarded: Collection[str] = ()) -> list[str]:
    """Return where an index, a holding, a timer or the history disagrees with the record of a run.

    ``discarded`` are the runs that a person has cancelled with their effects left as they are: the records themselves
    do not tell them from runs that were cancelled without having been undone.
    """
    wrong = [problem for run_id in state.runs for problem in _of_one(state, run_id, discarded=run_id in discarded)]
    places: dict[str, Mapping[str, object]] = {**state.ordered, **state.hashes}
    for name, members in places.items():
        # A mark names a wake-up; who waited at a topic and is gone is struck off when he is to be told.
        if not name.startswith(("marks", "waiters:", "run:")):
            strays = [one for one in members if one[:4] == "run_" and one not in state.runs]
            wrong += [f"{name} names {one}, which has no record" for one in strays]
    parts = [name for name in (*places, *state.sets) if name.startswith("run:")]
    wrong += [f"{name} is left of a run that is gone" for name in parts if name.split(":")[1] not in state.runs]
    return wrong + _history_problems(state)


def _of_one(state: Dump, run_id: str, *, discarded: bool) -> list[str]:
    record = state.runs[run_id]
    now, due = record["state"], state.ordered.get(f"run:{run_id}:due", {})
    waits = state.sets.get(f"run:{run_id}:waits", set())
    lanes = _names(state.ordered, "lane:", run_id)
    timer = state.ordered.get("timers", {}).get(run_id)
    first = min(due.values()) if due else None
    listed = not lanes or record["lane"] in state.sets.get("lanes", set())
    expires = run_id in state.ordered.get("expiry", {})
    facts = {
        "not in the index of its state": _names(state.ordered, "run-state:", run_id) == [f"run-state:{now}"],
        "not in the index of its name": _names(state.ordered, "run-name:", run_id)
        == [f"run-name:{now}:{record['name']}"],
        "not in its lane, or in one": lanes == ([f"lane:{record['lane']}"] if now == "pending" else []),
        "in a lane that is not listed": listed,
        "waiting for nothing": now != "waiting" or bool(waits or due),
        f"not waiting, and waits for {waits}": now == "waiting" or not waits,
        f"over, and {due} is due": now not in ENDED or not due,
        f"timed at {timer}, and due at {first}": timer == first,
        "over without an expiry, or the other way round": expires == (now in ENDED),
        **_saga_facts(state, run_id, record, discarded=discarded),
    }
    wrong = [f"{run_id} is {now}: {fact}" for fact, is_so in facts.items() if not is_so]
    return wrong + _holding_problems(state, run_id, record)


def _saga_facts(state: Dump, run_id: str, record: Mapping[str, str], *, discarded: bool) -> dict[str, bool]:
    undos = state.hashes.get(f"run:{run_id}:undos", {})
    listed = set(state.ordered.get(f"run:{run_id}:open", {}))
    still = {identity for identity, entry in undos.items() if entry.split(" ", 1)[0] in ("open", "retrying", "stuck")}
    may_leave = record["state"] not in ("failed", "cancelled") or discarded
    return {
        f"to undo {sorted(still)}, and lists {sorted(listed)}": still == listed,
        f"over, and {sorted(still)} is not undone": may_leave or not still,
        "discarded, and not cancelled": not discarded or record["state"] == "cancelled",
        "undoing, and completed": not ("undoing" in record and record["state"] == "completed"),
    }


def _names(found: Mapping[str, Any], prefix: str, member: str) -> list[str]:
    return sorted(name for name, members in found.items() if name.startswith(prefix) and member in members)


def _holding_problems(state: Dump, run_id: str, record: Mapping[str, str]) -> list[str]:
    holders = _names(state.hashes, "held:", run_id)
    if record["state"] != "running":
        wrong = [f"{run_id} is {record['state']} and held by {holders}"] if holders else []
        return wrong + [
            f"{run_id} is {record['state']} and keeps {name}" for name in ("token", "holder") if name in record
        ]
    if holders != [f"held:{record.get('holder')}"]:
        return [f"{run_id} runs under {record.get('holder')} and is held by {holders}"]
    pid, token = state.hashes[holders[0]][run_id].split()[:2]
    if (pid, token) != (record["pid"], record["token"]) or token.partition(".")[0] != record["token_number"]:
        return [f"{run_id} runs as {record} and is held as {pid} {token}"]
    return []


def _history_problems(state: Dump) -> list[str]:
    wrong, at = [], dict[str, str]()
    for entry in state.journal:
        run_id, source, target = entry["id"], entry["from"], entry["to"]
        if not run_id.startswith("run_") or not source:
            continue
        if at.get(run_id, "new") != source or target not in TRANSITIONS[source]:
            wrong.append(f"{run_id} was {at.get(run_id, 'new')} and went {source} > {target}")
        at[run_id] = target
    ends = {run_id: now for run_id, now in at.items() if now != "gone"}
    if ends != {run_id: record["state"] for run_id, record in state.runs.items()}:
        wrong.append(f"the history ends in {ends}, the records say otherwise")
    return wrong
