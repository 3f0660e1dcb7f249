"""A run's durable calls as a picture: one row each, with a bar where it lies in the time of the run. Pure.

What a bar shows is only what is recorded (``cli.stretches``): of a rest the begin is taken from the call before it. The
picture is drawn in parts of a hundred, so it fits any width; its template makes SVG of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from dispatch_celery.cli.branches import Line, arranged, counted, undos_heading
from dispatch_celery.cli.moments import when
from dispatch_celery.cli.phrases import GROUPS, MADE_AT_ONCE, Member, hint_of, is_under_way, step_of
from dispatch_celery.cli.stretches import Stretch, Times
from dispatch_celery.clock import from_ms
from dispatch_celery.workflows.model import ENDED, PromiseRecord, Run, RunState

__all__ = ["Bar", "Drawing", "TimelineRow", "draw", "place_of"]

_THINNEST: Final = 0.4
_TICKS: Final = 5
_YEAR_9999: Final = 253_370_764_800_000
_MOST_ROWS: Final = 500
_STEPS: Final = tuple(
    timedelta(seconds=seconds)
    for seconds in (
        *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800),
        *(3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000, 7776000, 31536000),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Where a bar lies, in parts of a hundred of the whole time, and what it looks like."""

    start: float
    width: float
    look: str
    is_mark: bool = False
    """Whether it took no time: a mark and no bar."""
    is_open: bool = False
    """Whether it goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineRow:
    """One durable call."""

    identity: str
    label: str
    depth: int
    kind: str
    status: str
    """How it stands, in the word of a page."""
    look: str
    begun: datetime | None
    ended: datetime | None
    took: str
    attempts: int
    worker: str
    member: Member | None
    words: str
    """What came of it, or what it waits for."""
    error: str
    due: datetime | None
    bar: Bar | None
    can_skip: bool = False
    """Whether it is an undo that can be struck off."""

    @property
    def can_go_back(self) -> bool:
        """Whether a run can be taken back to before it: it is a recorded call, and no undo."""
        return self.kind not in GROUPS and not self.identity.startswith("undo:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """The whole picture."""

    calls: Sequence[TimelineRow]
    undos: Sequence[TimelineRow]
    undos_heading: str
    ticks: Sequence[tuple[float, str]]
    """Places on the axis and what stands there."""
    took: str
    left_out: int
    """How many rows would be too many."""


def draw(
    run: Run,
    promises: Sequence[PromiseRecord],
    *,
    now: datetime,
    since: datetime | None,
    members: Mapping[str, Member],
    last_errors: Mapping[str, str],
    until: datetime | None = None,
) -> Drawing:
    """Return the picture of a run's present generation; ``until`` is when it stopped to go on by itself."""
    times = Times(run=run, now=now, members=members, since=since, until=until)
    calls, undos = arranged(promises)
    stretches = times.of_calls(promises)
    for one in calls:
        found = [stretches[member.identity] for member in one.members if member.identity in stretches]
        group = times.of_group(one.promise, found)
        if group is not None:
            stretches[one.promise.identity] = group
    artist = _Artist(run, times, stretches, members, last_errors)
    return Drawing(
        calls=[artist.row(one) for one in calls[:_MOST_ROWS]],
        undos=[artist.row(one) for one in undos[:_MOST_ROWS]],
        undos_heading=undos_heading(run.state, undos).capitalize(),
        ticks=_ticks(times.end - times.start),
        took=times.whole.took,
        left_out=max(0, len(calls) - _MOST_ROWS) + max(0, len(undos) - _MOST_ROWS),
    )


@dataclass(frozen=True)
class _Artist:
    """Makes rows."""

    run: Run
    times: Times
    stretches: Mapping[str, Stretch]
    members: Mapping[str, Member]
    last_errors: Mapping[str, str]

    def row(self, line: Line) -> TimelineRow:
        """Return one row."""
        promise = line.promise
        stretch, look = self.stretches.get(promise.identity), _look(promise)
        is_instant = promise.kind in MADE_AT_ONCE
        failure = promise.failure
        return TimelineRow(
            identity=promise.identity,
            label=line.label,
            depth=line.depth,
            kind=promise.kind,
            status=_WORDS.get(promise.status, promise.status) if promise.kind != "undo" else _undo_word(promise),
            look=look,
            begun=None if stretch is None or is_instant else stretch.begun,
            ended=promise.resolved_at,
            took="" if stretch is None or is_instant else stretch.took,
            attempts=promise.attempts,
            worker=promise.worker,
            member=self.members.get(promise.identity),
            words=self._words(line),
            error=f"{failure.type}: {failure.message}" if failure else self.last_errors.get(promise.identity, ""),
            due=None if promise.resolved_at or self.run.state in ENDED else promise.due_at,
            bar=self._bar(promise, stretch, look),
            can_skip=promise.kind == "undo" and not promise.resolved_at and self.run.state == RunState.PARKED,
        )

    def _bar(self, promise: PromiseRecord, stretch: Stretch | None, look: str) -> Bar | None:
        whole = self.times.end - self.times.start
        if stretch is None or whole <= timedelta():
            return None
        start = min(max(0.0, (stretch.begun - self.times.start) / whole * 100), 100 - _THINNEST)
        width = min(max(_THINNEST, (stretch.ended - stretch.begun) / whole * 100), 100 - start)
        return Bar(
            start=round(start, 3),
            width=round(width, 3),
            look=f"{look} rest" if stretch.is_rest else look,
            is_mark=promise.kind in MADE_AT_ONCE,
            is_open=promise.resolved_at is None and self.run.state not in ENDED and is_under_way(promise),
        )

    def _words(self, line: Line) -> str:
        promise = line.promise
        if line.is_counted:
            return f"{f'{line.share} have ended; ' if line.share else ''}{counted(line.members)}"
        if line.share:
            return f"{line.share} have ended"
        if promise.value is not None:
            return _value(promise)
        goes_on = self.run.state not in ENDED and promise.resolved_at is None
        return _waits(promise, when(promise.due_at, self.times.now)) if goes_on else ""


def _waits(promise: PromiseRecord, due: str) -> str:
    """Return what a call waits for."""
    words = {
        "sleeping": f"sleeps until {due}",
        "retrying": f"attempt {promise.attempts + 1} {f'is due {due}' if due else 'comes next'}",
        "awaiting": f"waits; its timeout is due {due}" if due else "waits, with no limit",
    }
    return words.get(promise.status, "")


def place_of(run: Run) -> str:
    """Return what a running run does now, which is recorded when it ends."""
    return step_of(run.progress) if run.progress and run.state == RunState.RUNNING else ""


def _value(promise: PromiseRecord) -> str:
    """Return a value where it is this package's own, else only what kind of value it is."""
    if promise.kind == "now" and isinstance(promise.value, int) and 0 < promise.value < _YEAR_9999:
        return from_ms(promise.value).isoformat(timespec="milliseconds")
    if promise.kind in GROUPS and isinstance(promise.value, int):
        return "all have ended" if promise.value < 0 else f"call {promise.value + 1} of it decided it"
    if promise.kind in MADE_AT_ONCE:
        return str(promise.value)
    return hint_of(promise.value)


_LOOKS: Final = {
    "value": "done",
    "error": "failed",
    "timeout": "failed",
    "stuck": "failed",
    "retrying": "retrying",
    "sleeping": "waiting",
    "awaiting": "waiting",
    "undone": "undone",
    "skipped": "skipped",
}


_WORDS: Final = {"value": "done", "open": "under way"}


def _undo_word(promise: PromiseRecord) -> str:
    """Return how an undo stands; one that nobody has asked for yet is no work under way."""
    return "not undone" if promise.status == "open" else promise.status


def _look(promise: PromiseRecord) -> str:
    if promise.kind == "undo":
        return _LOOKS.get(promise.status, "to-undo")
    return _LOOKS.get(promise.status, "open")


def _ticks(whole: timedelta) -> list[tuple[float, str]]:
    """Return round times on the axis, some five of them."""
    if whole <= timedelta():
        return []
    step = next((one for one in _STEPS if whole / one <= _TICKS), _STEPS[-1])
    count = min(int(whole / step), 2 * _TICKS)
    return [(round(number * step / whole * 100, 3), _short(number * step)) for number in range(count + 1)]


def _short(length: timedelta) -> str:
    seconds = length.total_seconds()
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if seconds >= size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds * 1000:g} ms" if seconds else "0"
