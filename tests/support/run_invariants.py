"""The invariants of runs, as functions over a whole dump of a namespace (ARCHITECTURE 8)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from dispatch_celery.workflows.model import TRANSITIONS
from tests.support.invariants import Dump

STATES = ("pending", "running", "waiting", "parked", "completed", "failed", "cancelled")
_MEMBER = re.compile(r"(^|/)(gather|map|race|first_ok)#\d+/[^/]+$")
"""Of several steps at once, who has lost is undone when that is decided, whoever began after it."""
ENDED = ("completed", "failed", "cancelled")
_EVENT = re.compile(r'"ev":"(evt_\w+)"')


def check_runs(state: Dump) -> list[str]:
    """Return what is broken about runs at this instant."""
    wrong: list[str] = []
    for run_id, record in state.runs.items():
        wrong += _check_indexes(state, run_id, record)
        wrong += _check_holding(state, run_id, record)
        wrong += _check_times(state, run_id, record)
        wrong += _check_undos(state, run_id, record)
        wrong += _check_events(state, run_id)
        wrong += _check_waiters(state, run_id)
        in_lane = run_id in state.ordered.get(f"lane:{record['lane']}", {})
        if in_lane != (record["state"] == "pending"):
            wrong.append(f"7: {run_id} is {record['state']} and {'in' if in_lane else 'not in'} its lane")
    wrong += [
        f"7: {run_id} is looked for, and is {state.runs[run_id]['state']}"
        for run_id in state.ordered.get("unknown", {})
        if run_id in state.runs and state.runs[run_id].get("reason") != "unknown"
    ]
    for name, members in state.ordered.items():
        if name.startswith(("run-state:", "run-name:", "run-scope:")):
            wrong += [f"7: {name} names {one}, which has no record" for one in members if one not in state.runs]
    return wrong


def _check_indexes(state: Dump, run_id: str, record: dict[str, str]) -> list[str]:
    wrong = []
    for prefix, suffix in (("run-state:", ""), ("run-name:", f":{record['name']}")):
        found = [name for name in STATES if run_id in state.ordered.get(f"{prefix}{name}{suffix}", {})]
        if found != [record["state"]]:
            wrong.append(f"1: {run_id} is {record['state']} and indexed under {prefix}{found}")
    return wrong


def _check_holding(state: Dump, run_id: str, record: dict[str, str]) -> list[str]:
    holders = [name for name, held in state.hashes.items() if name.startswith("held:") and run_id in held]
    expected = [f"held:{record.get('holder')}"] if record["state"] == "running" else []
    if holders != expected:
        return [f"2: {run_id} is {record['state']} under {record.get('holder')} and held by {holders}"]
    if record["state"] != "running" and "token" in record:
        return [f"2: {run_id} is {record['state']} and keeps the token {record['token']}"]
    return []


def _check_times(state: Dump, run_id: str, record: dict[str, str]) -> list[str]:
    wrong = []
    due = state.ordered.get(f"run:{run_id}:due", {})
    timer = state.ordered.get("timers", {}).get(run_id)
    if timer != (min(due.values()) if due else None) and record["state"] != "running":
        wrong.append(f"7: {run_id} has the timer {timer} and due {due}")
    waits = state.sets.get(f"run:{run_id}:waits", set())
    if record["state"] == "waiting" and "cancel" in record and "pause" not in due:
        wrong.append(f"8: {run_id} was asked to cancel and waits")
    if record["state"] == "waiting" and not waits and not set(due) & {"start", "pause"}:
        wrong.append(f"8: {run_id} waits for nothing")
    if record["state"] != "waiting" and waits:
        wrong.append(f"8: {run_id} is {record['state']} and waits for {sorted(waits)}")
    promises = state.hashes.get(f"run:{run_id}:promises", {})
    for identity in waits:
        status = promises.get(identity, "").partition(" ")[0]
        if status not in ("sleeping", "awaiting", "retrying", "open"):
            wrong.append(f"8: {run_id} waits for {identity}, which is {status or 'nothing'}")
        elif status in ("sleeping", "retrying") and identity not in due:
            wrong.append(f"8: {run_id} waits for {identity}, which nothing will resolve")
    wrong += [
        f"7: {identity} of {run_id} is due, and nothing is recorded of it"
        for identity in due
        if identity not in promises and identity not in ("start", "pause", "deadline")
    ]
    wrong += [
        f"7: {identity} of {run_id} is resolved and has a due time"
        for identity in due
        if promises.get(identity, "").startswith(("value", "error", "timeout"))
    ]
    if record["state"] in ENDED and (due or timer):
        wrong.append(f"7: {run_id} is {record['state']} and has something due")
    if (run_id in state.ordered.get("expiry", {})) != (record["state"] in ENDED):
        wrong.append(f"7: {run_id} is {record['state']} and {'not ' if record['state'] in ENDED else ''}to be deleted")
    return wrong


def _check_undos(state: Dump, run_id: str, record: dict[str, str]) -> list[str]:
    listed = set(state.ordered.get(f"run:{run_id}:open", {}))
    undos = state.hashes.get(f"run:{run_id}:undos", {})
    still = {identity for identity, entry in undos.items() if entry.split(" ", 1)[0] in ("open", "retrying", "stuck")}
    wrong = [] if still == listed else [f"5: {run_id} has to undo {sorted(still)} and lists {sorted(listed)}"]
    if record["state"] in ("failed", "cancelled") and listed:
        wrong.append(f"5: {run_id} is {record['state']} and {sorted(listed)} is not undone")
    if "undoing" in record and record["state"] == "completed":
        wrong.append(f"5: {run_id} was undoing and is completed")
    return wrong


def _check_events(state: Dump, run_id: str) -> list[str]:
    """Return the events that a run has consumed twice: in one generation, or in one and another."""
    heads = [entry.partition("\n")[0] for entry in state.hashes.get(f"run:{run_id}:promises", {}).values()]
    taken = [found[1] for head in heads if '"bad"' not in head and (found := _EVENT.search(head))]
    taken += state.ordered.get(f"run:{run_id}:consumed", {})
    return [f"4: {run_id} has consumed {event} twice" for event in set(taken) if taken.count(event) > 1]


def _check_waiters(state: Dump, run_id: str) -> list[str]:
    """Return where a run waits for an event without being registered there."""
    promises, wrong = state.hashes.get(f"run:{run_id}:promises", {}), []
    for identity in state.sets.get(f"run:{run_id}:waits", set()):
        status, _, rest = promises.get(identity, "").partition(" ")
        head = rest.partition("\n")[0].partition("{")
        topics = json.loads("{" + head[2]).get("p", {}) if status == "awaiting" else {}
        wrong += [
            f"8: {run_id} waits for {identity} at {topic}, and is not registered there"
            for topic in topics
            if not any(name.startswith(f"{run_id} {identity}") for name in state.hashes.get(f"waiters:{topic}", {}))
        ]
    return wrong


@dataclass
class _History:
    """What the journal of transitions has told so far of one run."""

    run_id: str
    at: str = "new"
    token: str = ""
    number: int = 0
    recorded: set[str] = field(default_factory=set)
    intended: list[str] = field(default_factory=list)
    turned: int = 0
    generation: int = 0
    given_up: set[str] = field(default_factory=set)
    """What was to be undone when the run was taken back, perhaps on a person's word that it is left."""
    wrong: list[str] = field(default_factory=list)

    def take(self, entry: dict[str, str]) -> None:
        """Go on with one entry."""
        if entry["event"] == "dispatch.run.promise":
            self._promise(entry["to"], entry["token"])
        elif not entry["from"] and entry["event"] != "dispatch.run.migrated":
            self._undo(entry["event"].rpartition(".")[2], entry["to"], entry["token"])
        elif entry["from"]:
            self._move(entry["from"], entry["to"], entry["token"])
            if entry["event"] in ("dispatch.run.continued", "dispatch.run.rewound"):
                self._begin()

    def _begin(self) -> None:
        """Begin the next generation: what was recorded may be recorded again."""
        self.generation += 1
        self.turned = 0
        self.recorded.clear()
        self.given_up |= set(self.intended)

    def _promise(self, identity: str, token: str) -> None:
        if token != self.token:
            self.wrong.append(f"3: {identity} of {self.run_id} was recorded under {token} while {self.token} held it")
        if identity in self.recorded:
            self.wrong.append(f"4: {identity} of {self.run_id} was recorded twice")
        self.recorded.add(identity)

    def _undo(self, event: str, identity: str, token: str) -> None:
        if event == "compensating":
            self.turned += 1
            return
        if token != self.token:
            self.wrong.append(f"3: {event} {identity} of {self.run_id} under {token} while {self.token} held it")
        if event == "intended":
            self.given_up.discard(identity)
            self.intended = [*(one for one in self.intended if one != identity), identity]
        elif event == "skipped":
            if identity not in self.intended:
                self.wrong.append(f"5: {identity} of {self.run_id} was skipped, and nobody had intended it")
            self.intended = [one for one in self.intended if one != identity]
        elif event == "undone":
            last = self._last_of(identity)
            if identity not in self.intended:
                self.wrong.append(f"5: {identity} of {self.run_id} was undone, and nobody had intended it")
            elif identity != last and not (_MEMBER.search(identity) and not self.turned):
                self.wrong.append(f"5: {identity} of {self.run_id} was undone before {last}")
            self.intended = [one for one in self.intended if one != identity]

    def _last_of(self, identity: str) -> str:
        """Return what is to be undone first: this, or what was intended after it."""
        return next((one for one in reversed(self.intended) if one == identity or one not in self.given_up), "")

    def _move(self, source: str, target: str, token: str) -> None:
        if target not in TRANSITIONS.get(source, frozenset()):
            self.wrong.append(f"4: {self.run_id} went {source} > {target}, which is no transition")
        if self.at != source:
            self.wrong.append(f"4: {self.run_id} was {self.at} and went {source} > {target}")
        if source == "running" and token != self.token:
            self.wrong.append(f"3: {self.run_id} was moved on by {token}, while {self.token} held it")
        self.at = target
        self.token = token if target == "running" else ""
        if target == "running":
            number = int(token.partition(".")[0])
            if number <= self.number:
                self.wrong.append(f"3: {self.run_id} was claimed as {number} after {self.number}")
            self.number = number


def check_run_history(state: Dump) -> list[str]:
    """Return what the history breaks: moves the table does not have, gaps, writes under a token that did not hold."""
    runs: dict[str, _History] = {}
    for entry in state.journal:
        if entry["id"].startswith("run_"):
            runs.setdefault(entry["id"], _History(entry["id"])).take(entry)
    wrong = [problem for run in runs.values() for problem in run.wrong]
    for run_id, record in state.runs.items():
        at = runs[run_id].at if run_id in runs else "new"
        if state.journal and at != record["state"]:
            wrong.append(f"4: {run_id} is {record['state']} and its history ends in {at}")
        left = set(runs[run_id].intended) - runs[run_id].given_up if run_id in runs else set()
        if record["state"] in ("failed", "cancelled") and left:
            wrong.append(f"5: {run_id} is {record['state']} and has not undone {sorted(left)}")
        if run_id in runs and runs[run_id].generation != int(record.get("generation", 0)):
            wrong.append(f"4: {run_id} has begun {runs[run_id].generation} generations and says otherwise")
        if run_id in runs and runs[run_id].turned > 1:
            wrong.append(f"5: {run_id} has begun to undo {runs[run_id].turned} times")
    return wrong


def check_runs_quiet(state: Dump) -> list[str]:
    """Return the runs that have come to rest where they should not."""
    return [
        f"12: {run_id} has come to rest as {record['state']}"
        for run_id, record in state.runs.items()
        if record["state"] not in (*ENDED, "parked")
    ]
