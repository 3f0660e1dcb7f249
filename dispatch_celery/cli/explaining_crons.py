"""What there is to say of a cron entry: when it fires, or why it does not, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from shlex import quote
from typing import Final

from dispatch_celery.cli.explaining_limits import standing
from dispatch_celery.cli.moments import local, stamp, when
from dispatch_celery.cli.phrases import Explanation, Surroundings, count_of
from dispatch_celery.cron.census import CronCensus
from dispatch_celery.cron.model import CronEntry, CronState
from dispatch_celery.queues.model import Queue

__all__ = ["comes_back", "disabled_words", "enable_words", "explain_entry", "nobody_fires", "since_disabled"]

_LATE: Final = timedelta(seconds=10)
"""For how long nobody may fire when a leader has died: until then a slot that is due is no sign of trouble."""

_START: Final = "Start a worker, or `celery beat -S dispatch`; with dispatch_cron off, only a beat fires."

_NOT_FIRED: Final[Mapping[str, str]] = {
    "overlapped": "what it created before had not ended (overlap {overlap})",
    "passed": "nobody could fire it in time (misfire {misfire})",
}


def explain_entry(
    entry: CronEntry, around: Surroundings, *, paused: Sequence[Queue] = (), census: CronCensus | None = None
) -> Explanation:
    """Say of an entry what it waits for; ``paused`` is what holds back the work that it creates."""
    call = f"{around.command} cron"
    if entry.state == CronState.DISABLED:
        return Explanation(
            explanation=f"{entry.name} does not fire: {_disabled_by_hand(entry, around.now)}.",
            advice=f"Let it go on with `{call} enable {entry.id}`; it counts from then.",
            since=entry.disabled_at or entry.updated_at,
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
    unfired = _unfired(entry, entry.next_fire_at, around, census)
    if unfired is not None:
        return unfired
    queued = f" A slot waits for the end of {entry.last_id}." if entry.queued_slot is not None else ""
    at = f"{when(entry.next_fire_at, around.now)}{local(entry.next_fire_at, entry.timezone)}"
    return Explanation(
        explanation=f"{entry.name} fires {at}.{queued}{_last(entry)}{_held(paused)}",
        advice=_resume(paused, around) or f"Nothing has to be done; `{call} trigger {entry.id}` runs it now.",
        since=entry.last_fire_at,
        next_at=entry.next_fire_at,
    )


def nobody_fires(census: CronCensus, now: datetime) -> str:
    """Return that entries wait for nobody, as a part of a sentence; empty where somebody leads, or may in a moment."""
    if not census.nobody_fires:
        return ""
    return f"nobody fires: no worker or beat leads cron since {when(now - timedelta(seconds=census.unled), now)}"


def _without(around: Surroundings) -> str:
    """Return that there are workers which do not fire, as a sentence; empty where each may have begun just now."""
    some = [worker for worker in around.live if worker.registered_at < around.now - _LATE]
    if not some:
        return ""
    return f" {count_of(len(some), 'live worker')} {'do' if len(some) > 1 else 'does'} not fire: dispatch_cron is off."


def _unfired(
    entry: CronEntry, due: datetime | None, around: Surroundings, census: CronCensus | None
) -> Explanation | None:
    """Say of an entry that it is due now, or that nobody fires it; None where it fires when it is due."""
    if due is None:
        return None
    if due <= around.now - _LATE:
        return Explanation(
            explanation=f"{entry.name} should have fired {when(due, around.now)}: nobody fires.",
            advice=_START,
            since=due,
        )
    if census is not None and census.nobody_fires:
        return Explanation(
            explanation=f"{entry.name} is due {when(due, around.now)}{local(due, entry.timezone)}, but"
            f" {nobody_fires(census, around.now)}.{_without(around)}",
            advice=_START,
            since=around.now - timedelta(seconds=census.unled),
        )
    if due < around.now:
        return Explanation(
            explanation=f"{entry.name} is due since {when(due, around.now)}, and fires at any moment.",
            advice=f"Nothing has to be done; if `{around.command} explain {entry.id}` tells the same moment for longer"
            " than ten seconds, nobody fires.",
            since=due,
        )
    return None


def _last(entry: CronEntry) -> str:
    """Return why the last slot was not fired, as a sentence; empty where it was."""
    last = entry.fires[0] if entry.fires else None
    why = "" if last is None else _NOT_FIRED.get(last.outcome, "")
    if last is None or not why:
        return ""
    because = why.format(overlap=entry.overlap, misfire=entry.misfire)
    return f" Its slot {stamp(last.slot)} UTC was not fired: {because}."


def _held(paused: Sequence[Queue]) -> str:
    """Return where the work that an entry creates is held back, as a sentence."""
    where = [f"{_named(queue)} is {standing(queue)}" for queue in paused]
    return f" What it creates waits: {' and '.join(where)}." if where else ""


def _named(queue: Queue) -> str:
    return f"the queue {queue.name!r}" if queue.kind == "queue" else f"the job name {queue.name!r}"


def _resume(paused: Sequence[Queue], around: Surroundings) -> str:
    words = [f"`{around.command} queues resume {'--job ' * (one.kind == 'job')}{one.name}`" for one in paused]
    return f"{' and '.join(words)} lets it go on." if words else ""


def since_disabled(entry: CronEntry) -> str:
    """Return since when an entry is disabled, for a table; empty where it is not."""
    if entry.state != CronState.DISABLED:
        return ""
    return f"disabled since {stamp(entry.disabled_at)}" if entry.disabled_at else "disabled"


def enable_words(entry: CronEntry, command: str) -> str:
    """Return how an entry is enabled, as a part of a sentence."""
    return f"`{command} cron enable {quote(entry.name)}` lets it fire again"


def disabled_words(entry: CronEntry, now: datetime, command: str) -> str:
    """Return that an entry is disabled, since when, and how it is enabled; empty where it is not."""
    if entry.state != CronState.DISABLED:
        return ""
    return f"{_disabled_by_hand(entry, now)}; {enable_words(entry, command)}"


def _disabled_by_hand(entry: CronEntry, now: datetime) -> str:
    """Return who disabled an entry and when, as far as that is known: people do, and they are not asked their names."""
    if entry.disabled_at is None:
        return f"somebody has disabled it, before its last edit {when(entry.updated_at, now)} or with it"
    return f"somebody has disabled it {when(entry.disabled_at, now)}"


def comes_back(entry: CronEntry, command: str) -> str:
    """Return that an entry comes back when it is deleted, and what to do instead; empty where it does not."""
    if entry.origin != "code" or entry.state == CronState.ORPHANED:
        return ""
    return (
        f"It is declared in code, and comes back with the next worker or beat that declares it:"
        f" disable it instead (`{command} cron disable {quote(entry.name)}`), or take its declaration out of the code."
    )
