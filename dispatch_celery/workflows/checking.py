"""Whether today's code fits what runs have recorded: a replay that executes nothing and writes nothing."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, cast

from dispatch_celery.errors import NonDeterminism, OutcomeError, Suspended
from dispatch_celery.ids import RunId
from dispatch_celery.store.replies import text
from dispatch_celery.work.model import WorkRef
from dispatch_celery.work.records import decode_spec, make_ref
from dispatch_celery.workflows.body import call_body
from dispatch_celery.workflows.definition import WorkflowDefinition
from dispatch_celery.workflows.engine import Engine
from dispatch_celery.workflows.held import RunClaim
from dispatch_celery.workflows.holder import Anew, Holder, Unwound
from dispatch_celery.workflows.journal import Entry
from dispatch_celery.workflows.listing import RunFilter
from dispatch_celery.workflows.model import ENDED, Run, RunState
from dispatch_celery.workflows.rewriting import RunRewriting

__all__ = ["CodeCheck", "CodeReport", "CodeVerdict", "RunChecking"]

_PAGE: Final = 200


class CodeVerdict(StrEnum):
    """What would become of a run if a worker took it with this code."""

    FITS = "fits"
    """It would go on where it is."""
    PARKS = "parks"
    """Its journal holds something else than the code asks for."""
    FAILS = "fails"
    """The code raises an error that it has not recorded."""
    UNKNOWN = "unknown"
    """This app does not declare its version: it would wait for a worker that does, and be parked in the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeCheck:
    """One run, and what would become of it."""

    id: RunId
    name: str
    version: int
    state: RunState
    verdict: CodeVerdict
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeReport:
    """What a check has found."""

    checks: Sequence[CodeCheck]
    complete: bool
    """False where there were more runs than the limit."""

    @property
    def bad(self) -> list[CodeCheck]:
        """The runs that would not go on."""
        return [check for check in self.checks if check.verdict != CodeVerdict.FITS]

    def __iter__(self) -> Iterator[CodeCheck]:
        return iter(self.checks)

    def __len__(self) -> int:
        return len(self.checks)


class _Nowhere:
    """Where a replay sits that may do nothing."""

    def trusted(self) -> bool:
        """Return False: whatever goes beyond what is recorded unwinds."""
        return False

    def cancelled(self) -> bool:
        """Return False: nobody can reach it."""
        return False


class RunChecking(RunRewriting):
    """The verbs that look before a deploy."""

    def check_code(
        self,
        *,
        run_id: RunId | str | None = None,
        name: str | None = None,
        version: int | None = None,
        limit: int = 1_000,
    ) -> CodeReport:
        """Replay the runs that have not ended against the code of this process, and tell which would park, and why.

        Nothing is executed and nothing is written: a replay stops where it would go beyond what is recorded. Run it
        with the new code before a deploy. ``version`` replays them as if they were migrated to it.

        Raises:
            RunNotFound: ``run_id`` names none.
        """
        runs = [self.get(run_id)] if run_id is not None else self._live(name, limit + 1)
        checks = [self._checked(run, version) for run in runs[:limit] if run.state not in ENDED]
        return CodeReport(checks=tuple(checks), complete=len(runs) <= limit)

    def _live(self, name: str | None, most: int) -> builtins.list[Run]:
        found: dict[str, Run] = {}  # one that moves on meanwhile may be met twice
        for state in (state for state in RunState if state not in ENDED):
            cursor: str | None = None
            while len(found) < most:
                page = self._listing.page(RunFilter(state=state, name=name), limit=_PAGE, cursor=cursor)
                found |= {run.id: run for run in page}
                cursor = page.next_cursor
                if cursor is None:
                    break
        return builtins.list(found.values())[:most]

    def _checked(self, run: Run, version: int | None) -> CodeCheck:
        wanted = run.version if version is None else version
        definition = self._registry.get(run.name, wanted)
        verdict, detail = CodeVerdict.UNKNOWN, f"this app does not declare version {wanted} of {run.name}"
        if definition is not None:
            raw, entries, _ = self._recorded(run.id)
            # One that has ended meanwhile, or undoes, asks its code for nothing any more.
            over = not raw or "undoing" in raw
            verdict, detail = (CodeVerdict.FITS, "") if over else self._replayed(definition, run.id, raw, entries)
        return CodeCheck(id=run.id, name=run.name, version=run.version, state=run.state, verdict=verdict, detail=detail)

    def _replayed(
        self,
        definition: WorkflowDefinition[..., Any],
        run_id: RunId,
        raw: Mapping[str, bytes],
        entries: builtins.list[Entry],
    ) -> tuple[CodeVerdict, str]:
        engine = self._engine(definition, _claim_of(run_id, raw, entries))
        engine.begin()
        try:
            try:
                call_body(definition, engine)
            except (Suspended, Unwound, Anew):
                engine.check_rest()
            except Exception as error:
                engine.check_end(error)
                raise
            else:
                engine.check_end()
        except NonDeterminism as changed:
            return CodeVerdict.PARKS, str(changed)
        except OutcomeError:
            return CodeVerdict.FITS, ""  # its recorded failure is its end
        except Exception as error:  # noqa: BLE001 - whatever the code raises is what would become of the run
            return CodeVerdict.FAILS, f"{type(error).__name__}: {error}"
        return CodeVerdict.FITS, ""

    def _engine(self, definition: WorkflowDefinition[..., Any], claim: RunClaim) -> Engine:
        engine = Engine(
            Holder(claim, store=self._store, seat=cast("Any", _Nowhere())),
            runner=cast("Any", None),  # nothing is run, and nobody is sent
            fleet=cast("Any", None),
            topics=self._events,
            step_retry=self.default_step_retry,
            max_payload=self.max_payload,
            on_loop=definition.is_async,
        )
        engine.definition = definition
        return engine

    # -- the same on an event loop, written by .ci/make_twins.py

    async def acheck_code(
        self,
        *,
        run_id: RunId | str | None = None,
        name: str | None = None,
        version: int | None = None,
        limit: int = 1000,
    ) -> CodeReport:
        """Do as ``check_code``, without holding the event loop."""
        return await asyncio.to_thread(self.check_code, run_id=run_id, name=name, version=version, limit=limit)


def _claim_of(run_id: RunId, raw: Mapping[str, bytes], entries: list[Entry]) -> RunClaim:
    """Return what a worker would be given that took the run now."""
    spec = decode_spec(run_id, raw["spec"])
    return RunClaim(
        ref=make_ref(WorkRef, run_id, text(raw["name"]), text(raw["lane"]), spec),
        holder="",
        token="0",  # noqa: S106 - no claim has it
        claimed_at=0,
        payload=raw.get("payload", b"{}"),
        spec=raw["spec"],
        revision=int(raw.get("revision", 0)),
        generation=int(raw.get("generation", 0)),
        crashes=0,
        lost_workers=0,
        cancel="",
        created_at=int(raw["created_at"]),
        entries=entries,
    )
