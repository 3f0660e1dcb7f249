"""What a server must hold when its jobs are as the model says, and what it holds: two sets of facts to compare.

A fact is a place, a name in it, and a value: a field of a record, or a member of an index and its score. The model's
facts follow from its jobs alone, so an index entry too many is found as surely as a missing one.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.support.invariants import Dump
from tests.support.model import Model
from tests.support.model_job import COUNTERS, ModelJob

Facts = dict[tuple[str, str], object]
_NUMBERS = ("created_at", "wake", "token_number", "due_at", "finished_at", "expires_at", *COUNTERS)
_WORDS = ("state", "lane", "name", "token", "holder", "closed", "replayed_as")
_APART = ("lanes", "known", "catalogue", "leader", "letters", "groups")
"""What says nothing of a job, and what ``check_state`` compares with the records themselves."""


def expected(model: Model) -> Facts:
    """Return every fact that follows from a model."""
    facts: Facts = {}
    for job in model.jobs.values():
        facts |= {(f"job:{job.id}", name): value for name, value in _record(job)}
        facts |= {(index, job.id): value for index, value in _indexes(job)}
    facts |= {("workers", worker): until for worker, until in model.leases.items()}
    facts |= {("condemned", worker): since for worker, since in model.condemned.items()}
    for name, (received, until) in model.messages.items():
        facts |= {("dead", name): received, ("expiry", name): until}
    return facts


def _record(job: ModelJob) -> Iterable[tuple[str, object]]:
    yield from (("state", job.state), ("lane", job.lane), ("name", job.name), ("closed", job.closed))
    yield from (("token", job.token), ("holder", job.holder), ("replayed_as", job.replayed_as), ("cancel", job.asked))
    yield from (("created_at", job.created_at), ("wake", job.wake), ("token_number", job.claims))
    yield from (("due_at", job.due_at or 0), ("finished_at", job.ended_at or 0), ("expires_at", job.expires_at or 0))
    yield from job.counts.items()


def _indexes(job: ModelJob) -> Iterable[tuple[str, object]]:
    yield f"state:{job.state}", job.created_at
    yield f"name:{job.state}:{job.name}", job.created_at
    if job.scope:
        yield f"scope:{job.scope}", job.created_at
    if job.ready_at is not None:
        yield f"lane:{job.lane}", job.ready_at
    if job.mark is not None:
        yield f"marks:{job.wake}", job.mark
    if job.due_at is not None:
        yield "timers", job.due_at
    if job.kept_until is not None:
        yield "expiry", job.kept_until
    if job.state == "failed":
        yield "dead", job.ended_at
    if job.unknown:
        yield "unknown", job.ended_at
    if job.state == "running":
        yield f"held:{job.holder}", job.holding


def observed(found: Dump) -> Facts:
    """Return the same facts as a dump of the server shows them."""
    facts: Facts = {}
    for job_id, record in found.jobs.items():
        place = f"job:{job_id}"
        facts |= {(place, name): record.get(name, "") for name in _WORDS}
        facts |= {(place, name): int(record.get(name, 0)) for name in _NUMBERS}
        facts[place, "cancel"] = "cancel" in record
    for index, members in found.ordered.items():
        if index not in _APART:
            facts |= dict(_entry(index, member, score) for member, score in members.items())
    for name, held in found.hashes.items():
        if name.startswith("held:"):
            facts |= {(name, job_id): holding for job_id, holding in held.items()}
    return facts


def _entry(index: str, member: str, score: float) -> tuple[tuple[str, str], object]:
    if index == "marks":
        job_id, _, wake = member.rpartition(":")
        return (f"marks:{wake}", job_id), int(score)
    return (index, member), int(score)


def differences(model: Facts, server: Facts) -> list[str]:
    """Return one sentence for each fact on which the two do not agree."""
    places = sorted(model.keys() | server.keys())
    return [
        f"{place} {name}: {server.get((place, name), 'nothing')!r} instead of {model.get((place, name), 'nothing')!r}"
        for place, name in places
        if model.get((place, name)) != server.get((place, name))
    ]
