"""The misfortunes: what happens at the n-th call instead of, before or after it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from dispatch_celery.errors import DispatchError, StoreUnavailable
from dispatch_celery.ids import WorkerId
from dispatch_celery.store.scripts import Call
from tests.support.simulation.actors import SimWorker
from tests.support.simulation.clients import UNHELD, Migrator, Rewinder
from tests.support.simulation.course import Course
from tests.support.simulation.plan import ASKED_KINDS, KINDS, RUN_KINDS, Fault, ProcessDied

_WATCHED = 40
"""Calls after what was asked for, at each of which the state must hold."""
_TURNS = 30


class Misfortunes(Course):
    """A world in which calls may go wrong."""

    def strike(self, calls: Sequence[Call]) -> list[Any]:
        """Make one call, with whatever happens at its number."""
        if self.quiet_faults:
            return self._send(calls)
        self.calls += 1
        number = self.calls
        self.labels.append("+".join(call.label for call in calls[:3]))
        if any(fault.kind == "roll back" and fault.back == number for fault in self.plan.faults):
            self.snapshots[number] = (self._snapshot(), self.time.now or 0)
        for fault in self.plan.faults:
            if fault.at == number and fault.kind in (*KINDS, *RUN_KINDS):
                self.whole_worker = fault.whole_worker
                self.watched = _WATCHED if fault.kind in ASKED_KINDS else 0
                return self._suffer(fault, calls)
        return self._send(calls)

    def _suffer(self, fault: Fault, calls: Sequence[Call]) -> list[Any]:
        if fault.kind == "die before":
            raise ProcessDied
        if fault.kind == "die after":
            self._send(calls)
            raise ProcessDied
        if fault.kind == "lose reply":
            self._send(calls)
            raise StoreUnavailable("the reply was lost")
        if fault.kind == "zombie":
            self._sleep_past_lease()
        elif fault.kind == "overlap":
            return self._overlap(calls)
        elif fault.kind == "between":
            self._let_others_act()
        elif fault.kind in ASKED_KINDS:
            self.quiet_faults = True
            self._ask_for(fault.kind)
            self.quiet_faults = False
        elif fault.kind == "roll back" and fault.back in self.snapshots:
            self._restore(fault.back)
        return self._send(calls)

    def _sleep_past_lease(self) -> None:
        """The acting process stops; everybody else goes on for longer than a lease; then it continues."""
        sleeper = self.actor
        self.sleep(self.settings.lease / 1000 + 1)
        self.quiet_faults = True
        if sleeper is not None:
            sleeper.asleep = True
        if not any(not worker.asleep for worker in self.workers):
            self.workers.append(SimWorker(self, next(self.pids)))
        self.run_to_rest(limit=60)
        if sleeper is not None:
            sleeper.asleep = False
        self.actor = sleeper
        self.quiet_faults = False

    def _let_others_act(self) -> None:
        """Everybody else does what there is to do, in no time, before the acting process goes on."""
        sleeper = self.actor
        self.quiet_faults = True
        if sleeper is not None:
            sleeper.asleep = True
        for _ in range(_TURNS):
            if not self._everybody_once():
                break
        if sleeper is not None:
            sleeper.asleep = False
        self.actor = sleeper
        self.quiet_faults = False

    def _ask_for(self, kind: str) -> None:
        """Ask the same of everything there is."""
        flows = [(run, json.loads(run.payload)["flow"]) for run in self.new_runs]
        if kind in ("cancel", "rewind"):
            self._cancel_everything()
        if kind == "rewind":
            key = f"from outside, the {len(self.clients)}th time"  # another fault is another wish
            self.clients += [Rewinder(self, run.ref.id, key) for run, _ in flows]
            self.rewound = {run.ref.id for run, _ in flows}
        elif kind == "fork":
            for run, flow in flows:
                if run.ref.name == "flow_says":  # who hears it would hear its fork, too
                    continue
                with suppress(DispatchError):
                    side = f"{flow}/side{len(self.forks)}"
                    fork = self.flow_service.fork(run.ref.id, arguments={"flow": side})
                    self.forks[fork.id] = (run.ref.name, side)
        elif kind == "migrate":
            self.undeployed = {1}
            self.known = [name.replace("@1", "@2") for name in self.known]
            for worker in self.workers:
                if worker.holder:
                    told = {"pid": worker.pid, "name": "sim"}
                    self.cluster.register(WorkerId(worker.holder), told, dict.fromkeys(self.known, "{}"))
            self.clients.append(Migrator(self, UNHELD))
            self.clients[-1].ask()

    def _overlap(self, calls: Sequence[Call]) -> list[Any]:
        """The acting process sleeps past its lease, and its call arrives while another one runs the same job."""
        self.late_call = calls
        self._sleep_past_lease()
        if self.late_call is not None:
            self.late_replies = self._send(self.late_call)
            self.late_call = None
        return self.late_replies

    def _cancel_everything(self) -> None:
        for run in self.new_runs:
            with suppress(DispatchError):
                self.flow_service.cancel(run.ref.id)
                self.runs_to_cancel.add(run.ref.id)
        for kind, job in zip(self._job_kinds, self.new_jobs, strict=True):
            effect = self._effect_name(kind, job)
            try:
                if self.service.cancel(job.ref.id) == "running":
                    self.obliged[effect] = self.effects.get(effect, 0)
            except DispatchError:
                continue
        self.cancelled = True

    def _snapshot(self) -> list[tuple[bytes, bytes]]:
        (keys,) = self.real.execute([Call.command("KEYS", f"{self.keys.tag}*")])
        values = self.real.execute([Call.command("DUMP", key) for key in keys])
        return list(zip(keys, values, strict=True))

    def _restore(self, number: int) -> None:
        saved, _ = self.snapshots[number]
        (keys,) = self.real.execute([Call.command("KEYS", f"{self.keys.tag}*")])
        calls = [Call.command("DEL", key) for key in keys]
        calls += [Call.command("RESTORE", key, 0, value) for key, value in saved]
        if calls:
            self.real.execute(calls)
        self.rolled_back = True
