"""How one cron entry is shown: to people, and as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from dispatch_celery.cli.explaining_crons import disabled_words
from dispatch_celery.cli.masking import Masking
from dispatch_celery.cli.moments import local, stamp, when
from dispatch_celery.cli.output import Output
from dispatch_celery.cli.payloads import ShownArguments
from dispatch_celery.clock import from_ms
from dispatch_celery.cron.model import CronEntry, CronState

__all__ = ["arguments_of", "cron_record", "print_entry"]

_NEXT: Final = {
    CronState.DISABLED: "would fire, were it enabled",
    CronState.ORPHANED: "would fire, were it declared",
}


def arguments_of(entry: CronEntry, masking: Masking, *, whole: bool, command: str) -> ShownArguments:
    """Return what an entry calls its job or workflow with."""
    template = entry.template
    return ShownArguments.of(
        masking,
        template.name,
        entry.arguments,
        version=template.version,
        whole=whole,
        reveal=f"{command} cron show {entry.id} --arguments",
    )


def print_entry(output: Output, entry: CronEntry, shown: ShownArguments, *, now: datetime, command: str) -> None:
    """Print one entry, with its arguments and its last fires."""
    if output.as_json:
        output.document(cron_record(entry) | shown.fields)
        return
    timetable = entry.timetable
    output.fields(
        [
            ("id", entry.id),
            ("name", entry.name),
            ("state", entry.state),
            ("disabled", disabled_words(entry, now, command)),
            ("orphaned", when(entry.orphaned_at, now)),
            ("schedule", f"{entry.schedule} ({entry.timezone})"),
            ("from", stamp(_date(timetable.start))),
            ("until", stamp(_date(timetable.end))),
            ("jitter", f"{timetable.jitter / 1000:g} s" if timetable.jitter else ""),
            (entry.template.kind, entry.template.name),
            ("queue", entry.template.queue),
            ("scope", entry.template.scope),
            ("misfire", str(entry.misfire)),
            ("overlap", entry.overlap),
            ("from code or api", entry.origin),
            ("revision", entry.revision),
            (_NEXT.get(entry.state, "next"), "; ".join(_at(one, entry.timezone) for one in entry.next_fires)),
            ("waits", "a slot waits for the end of the one before" if entry.queued_slot is not None else ""),
        ]
    )
    if entry.fires:
        output.line("")
        rows = [(stamp(fire.at), fire.outcome, stamp(fire.slot), fire.id) for fire in entry.fires]
        output.table(["at (UTC)", "outcome", "slot (UTC)", "created"], rows, empty="")
    output.line("")
    shown.print(output)


def _at(moment: datetime, zone: str) -> str:
    return f"{stamp(moment)} UTC{local(moment, zone)}"


def _date(stamp_ms: int | None) -> Any:
    return None if stamp_ms is None else from_ms(stamp_ms)


def cron_record(entry: CronEntry) -> dict[str, Any]:
    """Return an entry as JSON shows it: flat, without its arguments, which may hold secrets."""
    timetable, template = entry.timetable, entry.template
    return {
        "id": entry.id,
        "name": entry.name,
        "state": entry.state,
        "schedule": entry.schedule,
        "timezone": entry.timezone,
        "kind": template.kind,
        "target": template.name,
        "version": template.version or None,
        "queue": template.queue,
        "priority": template.priority,
        "scope": template.scope,
        "misfire": str(entry.misfire),
        "overlap": entry.overlap,
        "jitter": timetable.jitter / 1000,
        "start": _date(timetable.start),
        "end": _date(timetable.end),
        "origin": entry.origin,
        "revision": entry.revision,
        "next_fire_at": entry.next_fire_at,
        "next_fires": list(entry.next_fires),
        "last_fire_at": entry.last_fire_at,
        "last_id": entry.last_id or None,
        "queued_slot": _date(entry.queued_slot),
        "orphaned_at": entry.orphaned_at,
        "disabled_at": entry.disabled_at,
        "created_at": entry.created_at,
        "updated_at": entry.updated_at,
        "fires": [{"outcome": fire.outcome, "slot": fire.slot, "at": fire.at, "id": fire.id} for fire in entry.fires],
    }
