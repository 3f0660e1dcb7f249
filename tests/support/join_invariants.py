"""The invariants of runs and their members, over a whole dump: each has its own promise, resolved once, by its end.

Also of promises among themselves: no two outcomes have one place in the order of a run.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

from tests.support.invariants import Dump

ENDED = ("completed", "failed", "cancelled")
TOLD = {"completed": "result", "failed": "error", "cancelled": "reason"}
RESOLVED = ("value", "error", "timeout")


@dataclass(frozen=True)
class _Promise:
    status: str
    place: int
    member: str
    told: str

    @classmethod
    def of(cls, text: str) -> _Promise:
        first, _, told = text.partition("\n")
        status, place, _, head = first.split(" ", 3)
        return cls(status, int(place), str(json.loads(head).get("m", "")), told)


def check_joins(state: Dump) -> list[str]:
    """Return what is broken between runs and what they have sent."""
    wrong: list[str] = []
    taken: Counter[tuple[str, str]] = Counter()
    for member_id, record in (*state.jobs.items(), *state.runs.items()):
        parent = json.loads(record.get("spec", "{}")).get("parent")
        if parent is None:
            continue
        taken[parent["id"], parent["at"]] += 1
        if parent["id"] not in state.runs:
            wrong.append(f"12: {member_id} belongs to {parent['id']}, which has no record")
            continue
        stored = state.hashes.get(f"run:{parent['id']}:promises", {}).get(parent["at"])
        if stored is None:
            wrong.append(f"8: {parent['id']} has no promise {parent['at']} for {member_id}")
        else:
            wrong += _check_join(member_id, record, _Promise.of(stored), parent["at"])
    wrong += [f"4: {run_id} has sent {count} members for {at}" for (run_id, at), count in taken.items() if count > 1]
    for name, promises in state.hashes.items():
        if name.startswith("run:") and name.endswith(":promises"):
            wrong += _check_places(name.split(":")[1], state, promises)
    return wrong


def _check_join(member_id: str, record: dict[str, str], promise: _Promise, at: str) -> list[str]:
    how = record["state"]
    if promise.member != member_id:
        return [f"4: {at} waits for {promise.member}, and {member_id} was sent for it"]
    # A child that had completed and was then taken back ends a second time; its promise keeps the first end.
    if "undoing_for" in record and promise.status == "value":
        return []
    if how not in ENDED:
        return [] if promise.status == "open" else [f"4: {member_id} is {how} and its promise has a {promise.status}"]
    told = record.get(TOLD[how], "")
    expected = ("value", told) if how == "completed" else ("error", f"{how} {member_id}\n{told}")
    if promise.status == "open":
        return [f"8: {member_id} is {how} and its run was not told: {at} is open"]
    if (promise.status, promise.told) != expected:
        return [
            f"4: {member_id} is {how} with {told[:80]!r}, and its run was told {promise.status} {promise.told[:80]!r}"
        ]
    return []


def _check_places(run_id: str, state: Dump, promises: dict[str, str]) -> list[str]:
    resolved = {at: one for at, text in promises.items() if (one := _Promise.of(text)).status in RESOLVED}
    places = Counter(promise.place for promise in resolved.values())
    wrong = [f"4: {count} outcomes of {run_id} have the place {place}" for place, count in places.items() if count > 1]
    last = int(state.runs.get(run_id, {}).get("seq", 0))
    wrong += [
        f"4: {at} of {run_id} has the place {one.place} of {last}" for at, one in resolved.items() if one.place > last
    ]
    return wrong
