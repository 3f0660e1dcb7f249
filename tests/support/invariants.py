"""The invariants of the state, as functions over a whole dump of a namespace (ARCHITECTURE 8, the job part).

``check_state`` may be called at any instant between two calls; ``check_quiet`` only when nothing is under way.
Both return sentences; an empty list is a pass. Each sentence begins with the number of its invariant.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any

from dispatch_celery.jobs.model import TRANSITIONS
from dispatch_celery.store.client import Store
from dispatch_celery.store.scripts import Call, Script

_WHOLE = """
local found = {}
for n, key in ipairs(redis.call('KEYS', ARGV[1])) do
  local kind, value = redis.call('TYPE', key)['ok'], false
  if kind == 'hash' then value = redis.call('HGETALL', key)
  elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'set' then value = redis.call('SMEMBERS', key)
  elseif kind == 'string' then value = redis.call('GET', key)
  elseif kind == 'stream' then value = redis.call('XRANGE', key, '-', '+') end
  found[n] = {key, kind, value}
end
return found
"""
_SWEEP = "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('UNLINK', key) end"


def _script(name: str, text: str) -> Script:
    digest = sha1(text.encode(), usedforsecurity=False).hexdigest()
    return Script(name=name, header={}, body=text, text=text, sha=digest)


_DUMP, _CLEAN = _script("tests/dump", _WHOLE), _script("tests/clean", _SWEEP)

STATES = ("scheduled", "limited", "pending", "running", "retrying", "completed", "failed", "cancelled")


@dataclass
class Dump:
    """Everything one namespace holds."""

    jobs: dict[str, dict[str, str]] = field(default_factory=dict)
    runs: dict[str, dict[str, str]] = field(default_factory=dict)
    ordered: dict[str, dict[str, float]] = field(default_factory=dict)
    sets: dict[str, set[str]] = field(default_factory=dict)
    hashes: dict[str, dict[str, str]] = field(default_factory=dict)
    strings: dict[str, str] = field(default_factory=dict)
    journal: list[dict[str, str]] = field(default_factory=list)


def _pairs(flat: list[Any]) -> dict[str, str]:
    return {flat[n].decode(): flat[n + 1].decode("utf-8", "replace") for n in range(0, len(flat), 2)}


def dump(store: Store, tag: str) -> Dump:
    """Read a namespace whole, in one trip; for small ones only."""
    found = Dump()
    (keys,) = store.execute([Call(_DUMP, (f"{tag}*",))])
    for key, kind, value in sorted(keys):
        _take(found, key.decode().removeprefix(tag), kind.decode(), value)
    return found


def clean(store: Store, tag: str) -> None:
    """Delete a namespace whole."""
    store.execute([Call(_CLEAN, (f"{tag}*",))])


def _take(found: Dump, name: str, kind: str, reply: list[Any]) -> None:
    """Put one key's value where it belongs."""
    if kind == "hash":
        room, _, rest = name.partition(":")
        is_record = room in ("job", "run") and ":" not in rest
        if is_record:
            {"job": found.jobs, "run": found.runs}[room][rest] = _pairs(reply)
        else:
            found.hashes[name] = _pairs(reply)
    elif kind == "zset":
        found.ordered[name] = {member: float(score) for member, score in _pairs(reply).items()}
    elif kind == "set":
        found.sets[name] = {member.decode() for member in reply}
    elif kind == "string":
        found.strings[name] = reply.decode()
    elif kind == "stream":
        found.journal = [_pairs(fields) for _, fields in reply]


def check_state(state: Dump, *, max_attempts: int, max_crashes: int) -> list[str]:
    """Return what is broken at this instant."""
    wrong: list[str] = []
    for job_id, record in state.jobs.items():
        wrong += _check_indexes(state, job_id, record)
        wrong += _check_holding(state, job_id, record)
        wrong += _check_readiness(state, job_id, record)
        if record["state"] in ("pending", "retrying") and "cancel" in record:
            wrong.append(f"2: {job_id} was asked to cancel and is {record['state']}")
        if int(record.get("attempts", 0)) > max_attempts:
            wrong.append(f"5: {job_id} has used {record['attempts']} attempts of {max_attempts}")
        if int(record.get("crashes", 0)) > max_crashes:
            wrong.append(f"5: {job_id} has crashed {record['crashes']} times of {max_crashes}")
        if (record["state"] == "failed") != (job_id in state.ordered.get("dead", {})):
            wrong.append(
                f"6: {job_id} is {record['state']} and {'in' if record['state'] != 'failed' else 'not in'} the dead"
            )
    wrong += _check_strays(state)
    wrong += _check_files(state)
    return wrong


def _check_files(state: Dump) -> list[str]:
    """Every dead letter with a fingerprint is filed under it and under its name, and nothing else is."""
    filed: dict[str, float] = {}
    latest: dict[str, float] = {}
    for member in state.ordered.get("dead", {}):
        fields = state.jobs.get(member) or state.hashes.get(f"raw:{member}", {})
        if "fingerprint" not in fields:
            continue
        died = float(fields.get("finished_at") or fields["received_at"])
        name, mark = fields["name"], fields["fingerprint"]
        filed |= {f"f {mark} {name} {died:013.0f} {member}": 0, f"n {name} {died:013.0f} {member}": 0}
        latest[mark] = max(died, latest.get(mark, 0))
    wrong = [] if filed == state.ordered.get("letters", {}) else [f"6: filed are {state.ordered.get('letters')}"]
    groups = state.ordered.get("groups", {})
    return wrong + ([] if latest == groups else [f"6: the groups are {groups} instead of {latest}"])


def _check_indexes(state: Dump, job_id: str, record: dict[str, str]) -> list[str]:
    wrong = []
    for prefix, suffix in (("state:", ""), ("name:", f":{record['name']}")):
        found = [name for name in STATES if job_id in state.ordered.get(f"{prefix}{name}{suffix}", {})]
        if found != [record["state"]]:
            wrong.append(f"1: {job_id} is {record['state']} and indexed under {prefix}{found}")
    return wrong


def _check_holding(state: Dump, job_id: str, record: dict[str, str]) -> list[str]:
    holders = [name for name, held in state.hashes.items() if name.startswith("held:") and job_id in held]
    if record["state"] != "running":
        wrong = [f"2: {job_id} is {record['state']} and held by {holders}"] if holders else []
        if "token" in record:
            wrong.append(f"2: {job_id} is {record['state']} and keeps the token {record['token']}")
        return wrong
    if holders != [f"held:{record.get('holder')}"]:
        return [f"2: {job_id} runs under {record.get('holder')} and is held by {holders}"]
    number, _, nonce = record["token"].partition(".")
    if number != record["token_number"] or not nonce:
        return [f"3: {job_id} has the token {record['token']} and the number {record['token_number']}"]
    if record["token"] not in state.hashes[holders[0]][job_id].split():
        return [f"2: {job_id} runs under {record['token']} and is held as {state.hashes[holders[0]][job_id]}"]
    return []


def _check_readiness(state: Dump, job_id: str, record: dict[str, str]) -> list[str]:
    wrong = []
    in_lane = job_id in state.ordered.get(f"lane:{record['lane']}", {})
    if in_lane != (record["state"] == "pending"):
        wrong.append(f"7: {job_id} is {record['state']} and {'in' if in_lane else 'not in'} its lane")
    if in_lane and record["lane"] not in state.sets.get("lanes", set()):
        wrong.append(f"7: {job_id} waits in the lane {record['lane']}, which is not listed")
    timed = job_id in state.ordered.get("timers", {})
    if timed != (record["state"] in ("scheduled", "retrying")):
        wrong.append(f"7: {job_id} is {record['state']} and has {'a' if timed else 'no'} timer")
    expires = job_id in state.ordered.get("expiry", {})
    if expires != (record["state"] in ("completed", "failed", "cancelled")):
        wrong.append(f"7: {job_id} is {record['state']} and has {'an' if expires else 'no'} expiry")
    return wrong


def _check_strays(state: Dump) -> list[str]:
    wrong = []
    for name, members in state.ordered.items():
        if name.startswith(("state:", "name:", "lane:", "scope:")) or name in ("timers", "dead", "expiry", "unknown"):
            wrong += [f"7: {name} names {member}, which has no record" for member in members if _gone(state, member)]
    for name, held in state.hashes.items():
        if name.startswith("held:"):
            wrong += [
                f"2: {name} holds {job_id}, which has no record"
                for job_id in held
                if job_id not in state.jobs and job_id not in state.runs
            ]
    return wrong


def _gone(state: Dump, member: str) -> bool:
    return member not in state.jobs and member not in state.runs and f"raw:{member}" not in state.hashes


def check_journal(state: Dump) -> list[str]:
    """Return what the history of transitions breaks: moves the table does not have, gaps, tokens that go back."""
    wrong = []
    at: dict[str, str] = {}
    tokens: dict[str, int] = {}
    for entry in state.journal:
        job_id, source, target = entry["id"], entry["from"], entry["to"]
        if not job_id.startswith("job_"):
            continue
        if target not in TRANSITIONS.get(source, frozenset()):
            wrong.append(f"4: {job_id} went {source} > {target}, which is no transition")
        if at.get(job_id, "new") != source:
            wrong.append(f"4: {job_id} was {at.get(job_id, 'new')} and went {source} > {target}")
        at[job_id] = target
        if entry["event"] == "dispatch.job.started":
            number = int(entry["token"].partition(".")[0])
            if number <= tokens.get(job_id, 0):
                wrong.append(f"3: {job_id} was claimed as {number} after {tokens.get(job_id)}")
            tokens[job_id] = number
        elif entry["token"] and int(entry["token"].partition(".")[0]) != tokens.get(job_id):
            wrong.append(f"3: {job_id} was ended by {entry['token']} while {tokens.get(job_id)} held it")
    for job_id, record in state.jobs.items():
        if state.journal and at.get(job_id) != record["state"]:
            wrong.append(f"4: {job_id} is {record['state']} and its history ends in {at.get(job_id)}")
    return wrong


def check_quiet(state: Dump) -> list[str]:
    """Return what is left over when everything has come to rest."""
    wrong = [
        f"12: {job_id} has come to rest as {record['state']}"
        for job_id, record in state.jobs.items()
        if record["state"] not in ("completed", "failed", "cancelled")
    ]
    wrong += [f"12: the mark {member} is left" for member in state.ordered.get("marks", {})]
    wrong += [
        f"12: {name} still holds {sorted(held)}" for name, held in state.hashes.items() if name.startswith("held:")
    ]
    wrong += [f"12: {name} is condemned and not forgotten" for name in state.ordered.get("condemned", {})]
    return wrong
