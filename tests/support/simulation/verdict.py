"""The verdict: every promise that a world at rest has broken, as sentences."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.support.invariants import Dump, check_journal, check_quiet, check_state, dump
from tests.support.run_invariants import check_run_history, check_runs, check_runs_quiet
from tests.support.simulation.crowds import BESIDE, ONE_LEFT
from tests.support.simulation.families import TAKEN_BACK
from tests.support.simulation.ground import Ground
from tests.support.simulation.plan import START
from tests.support.simulation.rewrites import REBUILT, WISHES
from tests.support.simulation.sagas import UNDOABLE

FORKED = {"flow_stuck": {"parked", "failed"}, "flow_mended": {"completed", "failed"}}
"""How forks may end whose kind ends otherwise: what they took over they do not undo, and nobody takes them back."""

TIMELESS = {"flow_outlived": {"completed"}}
"""How runs may end whose time was up, and that were taken back after that: they have no time any more."""


class Verdict(Ground):
    """A world that tells what is wrong with it."""

    def problems(self) -> list[str]:
        """Return every broken promise, as sentences."""
        state = dump(self.real, self.keys.tag)
        wrong = self.broken + check_state(state, max_attempts=3, max_crashes=3) + check_quiet(state)
        wrong += check_runs(state) + check_runs_quiet(state) + self._excesses(state) + self._run_ends(state)
        if not self.rolled_back:
            wrong += check_journal(state) + check_run_history(state)
        for n, (kind, job) in enumerate(zip(self._job_kinds, self.new_jobs, strict=True)):
            record = state.jobs.get(job.ref.id)
            if record is not None:
                wrong += self._check_end(kind, f"{kind}-{n}", record)
            elif job.ref.id in self.acknowledged and not self.rolled_back and kind != "twin":
                wrong.append(f"12: {kind}-{n} was acknowledged and is gone")
        return wrong

    def _run_ends(self, state: Dump) -> list[str]:
        wrong = []
        for run in self.new_runs:
            record = state.runs.get(run.ref.id)
            if record is None:
                if run.ref.id in self.acknowledged and not self.rolled_back:
                    wrong.append(f"12: {run.ref.name} was acknowledged and is gone")
                continue
            wrong += self._run_end(run.ref.id, run.ref.name, json.loads(run.payload)["flow"], record)
        for run_id, (kind, flow) in self.forks.items():
            if run_id in state.runs:
                wrong += self._fork_end(kind, flow, state.runs[run_id])
            elif not self.rolled_back:
                wrong.append(f"12: the fork {flow} was acknowledged and is gone")
        return wrong

    def _run_end(self, run_id: str, kind: str, name: str, record: Mapping[str, str]) -> list[str]:
        wrong, expected = [], self.flows[kind][1]
        rewound = run_id in self.rewound
        taken_back = rewound or "rewound" in record
        cancels = [fault for fault in self.plan.faults if fault.kind in ("cancel", "rewind")]
        may_be_cancelled = self.cancelled and (not rewound or len(cancels) > 1)
        states = {expected.state, *(("cancelled",) if may_be_cancelled else ())}
        states |= TIMELESS.get(kind, set()) if taken_back else set()
        states |= {"failed"} if kind in REBUILT and self.cancelled else set()  # before it had failed for the first time
        if record["state"] not in states:
            why = record.get("error", record.get("detail", record.get("reason", "")))[:300]
            wrong.append(f"11: {name} ended as {record['state']} ({why})")
        if run_id in self.runs_to_cancel and record["state"] == "completed" and not (self.rolled_back or taken_back):
            wrong.append(f"11: {name} completed after its cancel was accepted")
        if not taken_back:
            wrong += self._not_undone(name, kind, record["state"])
        took = ((self.time.now or 0) - START) // 1_000
        if not self.plan.faults and took > expected.within:
            wrong.append(f"8: {name} was over after {took} s, {expected.within} are enough")
        slices = int(record.get("token_number", 0))
        if {fault.kind for fault in self.plan.faults} == {"lose reply"} and slices > expected.slices:
            wrong.append(f"11: {name} was claimed {slices} times, {expected.slices} are enough")
        wish = WISHES.get(kind)
        if {fault.kind for fault in self.plan.faults} == {"lose reply"} and wish and wish.verb == "rewind":
            generation = int(record.get("generation", 0))
            wrong += [f"11: {name} was taken back {generation} times"] if generation != 1 else []
        again = rewound or (self.undeployed and expected.state == "parked")  # a parked run goes on when it is migrated
        times = 1 + max(len(cancels), 1) if again else 1
        for step, executions in expected.effects.items():
            seen = self.effects.get(f"{name}/{step}", 0)
            allowed = executions * times + len(self.plan.faults) + (4 if self.rolled_back else 0)
            if seen > allowed:
                wrong.append(f"4: step {step} of {name} ran {seen} times, {allowed} allowed")
            never = (
                executions and seen == 0 and step not in expected.perhaps and not (self.cancelled or self.rolled_back)
            )
            if record["state"] == "completed" and never:
                wrong.append(f"11: {name} is completed and its step {step} never ran")
        return wrong

    def _fork_end(self, kind: str, flow: str, record: Mapping[str, str]) -> list[str]:
        """Return what is wrong with a fork: it must end as its kind does, and does no step more often."""
        expected = self.flows[kind][1]
        wrong = []
        if record["state"] not in FORKED.get(kind, {expected.state}) and not self.cancelled:
            wrong.append(f"11: the fork {flow} ended as {record['state']} ({record.get('error', '')[:300]})")
        for step, executions in expected.effects.items():
            done = flow.endswith("/fork") and step in WISHES[kind].taken
            seen, allowed = self.effects.get(f"{flow}/{step}", 0), (0 if done else executions) + len(self.plan.faults)
            if seen > allowed + (4 if self.rolled_back else 0):
                wrong.append(f"4: step {step} of the fork {flow} ran {seen} times, {allowed} allowed")
        return wrong

    def _not_undone(self, name: str, kind: str, state: str) -> list[str]:
        """Return the effects that a run has left and had to undo, or undone and had to leave."""
        wrong = []
        effects = {**UNDOABLE, **TAKEN_BACK, **BESIDE}.get(kind, ())
        if kind in ONE_LEFT and state == "completed":
            counts = {one: [self.effects.get(f"{name}/{what}{one}", 0) for what in ("", "undo-")] for one in effects}
            left = [one for one, (done, undone) in counts.items() if done and not undone]
            return (
                [f"5: {name} has left {left}, not one of {counts}"] if len(left) != 1 and not self.rolled_back else []
            )
        for effect in effects:
            done, undone = (self.effects.get(f"{name}/{what}{effect}", 0) for what in ("", "undo-"))
            if state in ("failed", "cancelled") and done and not undone and not self.rolled_back:
                wrong.append(f"5: {name} is {state}, and {effect} happened and is not undone")
            if state == "completed" and undone and kind not in {"flow_amends", *REBUILT}:
                wrong.append(f"5: {name} is completed, and {effect} was undone")
        return wrong

    def _check_end(self, kind: str, name: str, record: dict[str, str]) -> list[str]:
        wrong = []
        expected = self.kinds[kind][2]
        if record["state"] not in set(expected.states) | ({"cancelled"} if self.cancelled else set()):
            why = record.get("error", record.get("reason", ""))[:200]
            wrong.append(f"11: {name} ended as {record['state']} ({why})")
        seen = self.effects.get("twin" if kind == "twin" else name, 0)
        allowed = expected.executions + len(self.plan.faults) + (3 if self.rolled_back else 0)
        if seen > allowed:
            wrong.append(f"11: the effect of {name} was seen {seen} times, {allowed} allowed")
        if record["state"] == "completed" and seen == 0:
            wrong.append(f"11: {name} is completed and its effect was never seen")
        return wrong

    def _excesses(self, state: Dump) -> list[str]:
        """Return what was done more often than anything that happened explains."""
        wrong = []
        kinds = {fault.kind for fault in self.plan.faults}
        let_go = {
            "lose reply",
            "between",
        } <= kinds  # who was not told that he had let go was fenced when he asked again
        if self.fenced and not let_go and not kinds & {"zombie", "overlap", "roll back", "die before", "die after"}:
            wrong.append(f"3: a worker was fenced {self.fenced} times although nobody else could hold its job")
        twins = [job_id for job_id, record in state.jobs.items() if record["name"] == "twin"]
        if len(twins) > 1:
            wrong.append(f"11: one idempotency key made {len(twins)} jobs")
        if self.registrations != 2 and not kinds & {"zombie", "overlap", "roll back", "die before", "die after"}:
            wrong.append(f"2: {self.registrations} registrations of two workers that always renewed")
        for effect, before in self.obliged.items():
            if self.effects.get(effect, 0) > before and not kinds & {"zombie", "overlap"}:
                wrong.append(f"11: {effect} was executed again after its cancel was accepted")
        if kinds == {"lose reply"}:
            for kind, job in zip(self._job_kinds, self.new_jobs, strict=True):
                claims = int(state.jobs.get(job.ref.id, {}).get("token_number", 0))
                seen = self.effects.get(self._effect_name(kind, job), 0)
                if kind != "twin" and claims > seen:
                    wrong.append(f"11: {kind} was claimed {claims} times and executed {seen} times")
        return wrong
