"""What there is to say of a cron entry: when it fires, or why it does not, and what to do."""

from __future__ import annotations

from dispatch_celery.cli.moments import when
from dispatch_celery.cli.phrases import Explanation, Surroundings
from dispatch_celery.cron.model import CronEntry, CronState

__all__ = ["explain_entry"]


def explain_entry(entry: CronEntry, around: Surroundings) -> Explanation:
    """Say of an entry what it waits for."""
    call = f"{around.command} cron"
    if entry.state == CronState.DISABLED:
        return Explanation(
            explanation=f"{entry.name} does not fire: somebody has disabled it.",
            advice=f"Let it go on with `{call} enable {entry.id}`; it counts from then.",
            since=entry.updated_at,
        )
    if entry.state == CronState.ORPHANED:
        return Explanation(
            explanation=f"{entry.name} does not fire: no live worker or beat declares it in its code any more.",
            advice=f"Start one that does, keep it with `{call} enable {entry.id}`, or `{call} delete {entry.id}`.",
            since=entry.orphaned_at,
        )
    if entry.next_due is None:
        return Explanation(
            explanation=f"{entry.name} does not fire any more: its last slot has been.",
            advice=f"Register it again with a later end date, or `{call} delete {entry.id}`.",
            since=entry.last_fire_at,
        )
    if entry.next_fire_at is not None and entry.next_fire_at < around.now:
        return Explanation(
            explanation=f"{entry.name} should have fired {when(entry.next_fire_at, around.now)}: nobody fires.",
            advice="Start a worker, or `celery beat -S dispatch`; with dispatch_cron off, only a beat fires.",
            since=entry.next_fire_at,
        )
    queued = f" A slot waits for the end of {entry.last_id}." if entry.queued_slot is not None else ""
    return Explanation(
        explanation=f"{entry.name} fires {when(entry.next_fire_at, around.now)}.{queued}",
        advice=f"Nothing has to be done; `{call} trigger {entry.id}` runs it now.",
        since=entry.last_fire_at,
        next_at=entry.next_fire_at,
    )
