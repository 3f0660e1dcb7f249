"""The invariants of limits, as functions over a whole dump of a namespace: what a limit knows, and what records say.

Between the two lie rows that are still to be taken in, so that each side may be ahead of the other by just those.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from dispatch_celery.queues.model import PerKey
from tests.support.invariants import Dump

__all__ = ["check_limits", "most_with_a_permit", "permits_of"]


def permits_of(record: dict[str, str]) -> dict[str, str]:
    """Return what permits a job has: limit to the number of the request that each answered."""
    return dict(line.rsplit("=", 1) for line in record.get("permits", "").split("\n") if line)


def key_of(by: str, record: Mapping[str, str]) -> str:
    """Return the key that a limit is to tell a job by."""
    return PerKey(by=by).key_of(json.loads(record["spec"]), json.loads(record["payload"])) if by and record else ""


def most_with_a_permit(journal: Iterable[Mapping[str, str]]) -> int:
    """Return how many jobs had a permit at once, at most: from when they are let go to the end of an attempt."""
    having: set[str] = set()
    most = 0
    for entry in journal:
        if entry["to"] in ("pending", "running"):
            having.add(entry["id"])
        elif entry["from"] in ("pending", "running"):
            having.discard(entry["id"])
        most = max(most, len(having))
    return most


def check_limits(state: Dump) -> list[str]:
    """Return what is broken at this instant."""
    wrong = [problem for limit in state.ordered.get("limits:names", {}) for problem in _check_limit(state, limit)]
    return wrong + [problem for job_id in state.jobs for problem in _check_job(state, job_id)]


def _check_limit(state: Dump, limit: str) -> Iterator[str]:
    rule = state.hashes[f"limit:{limit}"]
    waiting, holders = (set(state.ordered.get(f"limit:{limit}:{part}", {})) for part in ("waiting", "holders"))
    known = state.hashes.get(f"limit:{limit}:known", {})
    said = {line.split(" ", 2)[2]: line.split(" ", 1)[0] for line in known.values()}
    if said != {**dict.fromkeys(waiting, "waits"), **dict.fromkeys(holders, "holds")}:
        yield f"10: {limit} knows {said}, and has {waiting} waiting and {holders} holding"
    if "concurrency" in rule and len(holders) > int(rule["concurrency"]):
        yield f"10: {limit} has {len(holders)} permits out of {rule['concurrency']}"
    out = Counter(member.split("\t")[0] for member in holders)
    if "key_concurrency" in rule:
        yield from (
            f"10: {limit} has {count} permits out for the key {key!r}, which may have {rule['key_concurrency']}"
            for key, count in out.items()
            if count > int(rule["key_concurrency"])
        )
    eligible = {*state.ordered.get(f"limit:{limit}:turns", {}), *state.ordered.get(f"limit:{limit}:resting", {})}
    for key in {member.split("\t")[0] for member in waiting} - eligible:
        if not {"review", "rekey"} & set(rule) and (
            "key_concurrency" not in rule or out[key] < int(rule["key_concurrency"])
        ):
            yield f"10: {limit} lets the key {key!r} wait without a turn"
    for job_id, line in known.items():
        standing, number, member = line.split(" ", 2)
        record = state.jobs.get(job_id, {})
        on_its_way = f"return {job_id} {number} {limit}" in state.ordered.get("permits", {})
        given = f"{job_id} {number} {limit}" in state.ordered.get("grants", {})
        has = permits_of(record).get(limit) == number
        asks = (record.get("limit"), record.get("asks")) == (limit, number)
        current = (has or asks) and not {"rekey", "lifted"} & set(rule)
        if current and member.split("\t")[0] != key_of(rule.get("by", ""), record):
            yield f"10: {limit} knows {job_id} by {member!r} instead of {key_of(rule.get('by', ''), record)!r}"
        if standing == "holds" and not (has or given or on_its_way):
            yield f"10: {limit} has leaked a permit to {job_id}"
        asks_anew = f"ask {job_id} {record.get('asks')} {limit}" in state.ordered.get("permits", {})
        if standing == "waits" and not (asks or asks_anew or on_its_way):
            yield f"10: {limit} keeps a place for {job_id}, which does not ask"


def _check_job(state: Dump, job_id: str) -> Iterator[str]:
    record = state.jobs[job_id]
    rows = state.ordered.get("permits", {})
    for limit, number in permits_of(record).items():
        line = state.hashes.get(f"limit:{limit}:known", {}).get(job_id, "")
        if f"limit:{limit}" in state.hashes and not line.startswith(f"holds {number} "):
            yield f"10: {job_id} has a permit of {limit} that this does not know of"
        if record["state"] not in ("pending", "running", "limited"):
            yield f"10: {job_id} is {record['state']} and has a permit of {limit}"
    if (record["state"] == "limited") != ("limit" in record):
        yield f"10: {job_id} is {record['state']} and waits for {record.get('limit')}"
    if record["state"] == "limited":
        limit, number = record["limit"], record["asks"]
        line = state.hashes.get(f"limit:{limit}:known", {}).get(job_id, "")
        if f" {number} " not in line and f"ask {job_id} {number} {limit}" not in rows:
            yield f"12: {job_id} waits for {limit}, which does not know of it"
