"""When each durable call of a run was under way, as far as that is recorded, and the bars that show it. Pure.

Of a rest only the end is stored, so its begin is taken from the call before it in its branch, and marked ``~``. A job
or child run began when its own record says so; where that is gone, it is told as a rest is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil, floor
from typing import Final

from dispatch_celery.cli.moments import span
from dispatch_celery.cli.phrases import MADE_AT_ONCE, Member, is_under_way
from dispatch_celery.workflows.model import PromiseRecord, Run

__all__ = ["Stretch", "Times", "begin_of"]

_RESTS: Final = frozenset({"sleep", "event", "any", "all"})


@dataclass(frozen=True, slots=True)
class Stretch:
    """When a call was under way."""

    begun: datetime
    ended: datetime
    is_exact: bool = True
    is_rest: bool = False

    @property
    def took(self) -> str:
        """How long that was."""
        length = self.ended - self.begun
        words = f"{length / timedelta(milliseconds=1):.0f} ms" if length < timedelta(seconds=1) else span(length)
        return words if self.is_exact else f"~{words}"


def begin_of(promises: Sequence[PromiseRecord], before: Sequence[PromiseRecord]) -> datetime | None:
    """Return when a generation of a run began, as far as that is recorded: with its first call, where that has a begin.

    Else, as its first call is a rest, where the last call of the generation ``before`` ended.
    """
    begun = [at for promise in promises if (at := promise.begun_at or _made_at(promise)) is not None]
    ended = [promise.resolved_at for promise in promises if promise.resolved_at is not None]
    if begun and min(begun) <= min(ended, default=min(begun)):
        return min(begun)
    return max((promise.resolved_at for promise in before if promise.resolved_at), default=min(ended, default=None))


def _made_at(promise: PromiseRecord) -> datetime | None:
    return promise.resolved_at if promise.kind in MADE_AT_ONCE else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """The time of one run, from its first claim to its end or to now, and what lies in it; of a generation, its own."""

    run: Run
    now: datetime
    members: Mapping[str, Member]
    since: datetime | None = None
    """When the generation began, or what a fork has taken over; None for a run of one generation."""
    until: datetime | None = None
    """When it ended, if the run has begun anew since."""

    @property
    def start(self) -> datetime:
        """When a worker first took the run, or its generation began."""
        return self.since or self.run.started_at or self.run.created_at

    @property
    def end(self) -> datetime:
        """When the run or its generation ended, else now."""
        return self.until or self.run.finished_at or self.now

    @property
    def whole(self) -> Stretch:
        """All of it."""
        return Stretch(self.start, max(self.start, self.end))

    def of_calls(self, promises: Sequence[PromiseRecord]) -> dict[str, Stretch]:
        """Return when each call was under way, by identity; what is on record for later only is not there."""
        before: dict[str, datetime] = {}
        found = {}
        for promise in promises:
            branch = promise.identity.rpartition("/")[0]
            stretch = self._of(promise, before.get(branch, self.start))
            if stretch is not None:
                found[promise.identity] = stretch
            if promise.resolved_at is not None:
                before[branch] = promise.resolved_at
        return found

    def of_group(self, group: PromiseRecord, members: Sequence[Stretch]) -> Stretch | None:
        """Return when a group was under way: from its first member's begin on."""
        if not members:
            return None
        first = min(members, key=lambda stretch: stretch.begun)
        ended = group.resolved_at or (self.end if is_under_way(group) else max(one.ended for one in members))
        return Stretch(first.begun, max(first.begun, ended), is_exact=first.is_exact, is_rest=group.kind in _RESTS)

    def _of(self, promise: PromiseRecord, before: datetime) -> Stretch | None:
        if promise.resolved_at is None and not is_under_way(promise):
            return None
        ended = promise.resolved_at or self.end
        member = self.members.get(promise.identity)
        begun = promise.begun_at or (member.begun_at if member is not None else None)
        if begun is not None:
            return Stretch(begun, max(begun, ended), is_rest=promise.kind in _RESTS)
        if promise.kind in MADE_AT_ONCE:
            return Stretch(ended, ended)
        return Stretch(min(before, ended), ended, is_exact=False, is_rest=True)

    def clock(self, moment: datetime) -> str:
        """Return a moment, as short as the run's length allows."""
        start, end = self.start.astimezone(UTC), self.end.astimezone(UTC)
        if start.date() == end.date():
            return f"{moment.astimezone(UTC):%H:%M:%S}"
        return f"{moment.astimezone(UTC):{'%m-%d %H:%M' if end - start < timedelta(days=180) else '%Y-%m-%d'}}"

    def scale(self, width: int) -> str:
        """Return the head of the bars: the run's begin and its whole time."""
        whole = self.whole.took
        return f"0{whole.rjust(width - 1)}" if len(whole) < width - 1 else ""

    def bar(self, stretch: Stretch | None, width: int, *, ascii_only: bool) -> str:
        """Return a bar: solid for work, light for a rest, a line for what takes no time."""
        solid, light, line = "#-|" if ascii_only else "█░▏"
        whole = self.end - self.start
        if stretch is None or whole <= timedelta():
            return ""
        first = min(max(0, floor((stretch.begun - self.start) / whole * width)), width - 1)
        last = min(max(first + 1, ceil((stretch.ended - self.start) / whole * width)), width)
        if stretch.begun == stretch.ended:
            return " " * first + line
        return " " * first + (light if stretch.is_rest else solid) * (last - first)
