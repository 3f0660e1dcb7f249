"""Which slots of an entry are fired now: those that are on time, and of the missed ones what the policy says.

A slot is on time until ``dispatch_cron_grace`` has passed; every slot that is on time is fired, whatever the policy.
The steps of a plan are one chain: each begins at the slot the one before has moved the entry to, so a chain that is
cut, by a crash or by another leader, is taken up where it ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from dispatch_celery.cron.model import Misfire
from dispatch_celery.cron.schedule import Window

__all__ = ["Step", "plan"]

_MOST: Final = 1_000
"""Slots on time that one plan fires; with a long grace and a schedule of seconds there may be more."""


@dataclass(frozen=True, slots=True)
class Step:
    """From one slot to another, and the one fired meanwhile; None: nothing is fired, no slot is left."""

    slot: int
    fired: int | None
    next: int | None


def plan(window: Window, slot: int, misfire: Misfire, *, now: int, grace: int, jitter: int = 0) -> list[Step]:
    """Return the steps from an entry's next slot, which is due, to its first slot in the future."""
    horizon = max(slot, now - jitter)
    floor = now - grace - jitter
    following = window.after(slot)
    if slot >= floor and (following is None or following > horizon):
        return [Step(slot, slot, following)]
    on_time = list(islice(_back(window, horizon + 1, max(slot, floor)), _MOST))
    edge = on_time[-1] if on_time else horizon + 1
    missed = _back(window, edge, slot)
    caught_up = list(islice(missed, {"skip": 0, "once": 1}.get(misfire.policy, misfire.limit)))
    fired = [*reversed(caught_up), *reversed(on_time)]
    after = window.after(horizon)
    if not fired:
        return [Step(slot, None, after)]
    starts = [slot, *fired[1:]]
    return [Step(start, one, then) for start, one, then in zip(starts, fired, [*fired[1:], after], strict=True)]


def _back(window: Window, moment: int, first: int) -> Iterator[int]:
    """Yield the slots before a moment, the latest first, down to one."""
    found = window.before(moment)
    while found is not None and found >= first:
        yield found
        found = window.before(found)
