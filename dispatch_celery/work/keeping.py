"""When work that was taken back may go on: at once, after a pause, or not at all.

Crashes and lost workers are counted apart: work whose own process died may be the cause (``max_crashes``), work that
merely shared a lost worker hardly is (``max_lost_workers``). The first recovery is at once; a crash after a crash
waits 1, 2, 4, ... seconds, so that poison does not take the fleet down with it.
"""

from __future__ import annotations

from typing import Final

from dispatch_celery.config import Settings
from dispatch_celery.work.records import Stored

__all__ = ["pause_after_crash", "why_poison"]

_LONGEST_PAUSE: Final = 60_000


def pause_after_crash(counter: str, crashes: int) -> int:
    """Return how many ms work waits that has crashed ``crashes`` times before: first nothing, then 1, 2, 4 ... s."""
    if counter != "crashes" or crashes == 0:
        return 0
    return int(min(1_000 * 2 ** (crashes - 1), _LONGEST_PAUSE))


def why_poison(stored: Stored, settings: Settings, *, counter: str, why: str) -> str:
    """Return why work must not be tried again after this end, in words; empty where it may be.

    ``counter`` is ``crashes``, ``lost_workers``, or empty where nothing is to be counted.
    """
    limit = {"crashes": settings.max_crashes, "lost_workers": settings.max_lost_workers}.get(counter)
    if limit is None:
        return ""
    count = int(getattr(stored, counter)) + 1
    return "" if count < limit else f"{why}: {count} {counter.replace('_', ' ')} in all"
