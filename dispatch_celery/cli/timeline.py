"""Draws a run's durable calls, one row each: how it stands, when, how long, and what came of it. Pure.

A bar is in proportion to the whole time of the run, from its first claim to its end or to now; of a run that has begun
anew, of its generation. What is not recorded is not drawn as if it were (``stretches``). Members of a group stand below
it (``branches``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from dispatch_celery.cli.branches import Line, arranged, counted, undos_heading
from dispatch_celery.cli.moments import when
from dispatch_celery.cli.phrases import GROUPS, MADE_AT_ONCE, Member, hint_of, named, step_of
from dispatch_celery.cli.plain import one_line, plain, printable
from dispatch_celery.cli.stretches import Stretch, Times
from dispatch_celery.clock import from_ms
from dispatch_celery.workflows.model import ENDED, PromiseRecord, Run, RunState

__all__ = ["Timeline"]

_HEAD: Final = ("kind", "call", "status", "begun", "resolved", "took", "tries", "worker")
_TO_THE_RIGHT: Final = frozenset({"begun", "took", "tries"})
_STYLES: Final = {
    "value": "green",
    "error": "red",
    "timeout": "red",
    "stuck": "red",
    "sleeping": "yellow",
    "retrying": "yellow",
    "awaiting": "yellow",
}
_PLAIN: Final[Mapping[str, str]] = {}
_NARROWEST_BAR: Final = 6
_USUAL_BAR: Final = 10
_WIDEST_BAR: Final = 40
_NARROWEST_CALL: Final = 8
_WIDEST_CALL: Final = 40
_LONGEST_NAME: Final = 400
_LONGEST_VALUE: Final = 200
_YEAR_9999: Final = 253_370_764_800_000
_WORKER_TAIL: Final = 6
"""The last characters of a worker's id: those that tell two of one minute apart."""


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """What is drawn, and how: ``width`` in cells, values only where they are asked for."""

    run: Run
    promises: Sequence[PromiseRecord]
    now: datetime
    width: int
    since: datetime | None = None
    """When the generation that is drawn began, or what a fork has taken over, as far as that is recorded."""
    is_previous: bool = False
    """Whether it is the generation before, which is set aside and goes on no more."""
    last_errors: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, Member] = field(default_factory=dict)
    with_values: bool = False
    ascii_only: bool = False

    def lines(self) -> Iterator[Text]:
        """Yield the lines, each made for the width; identities are whole even where they are longer."""
        yield from self._heading()
        if self.promises:
            yield from self._table()
        if not self.is_previous:
            yield from self._ending()

    def _table(self) -> Iterator[Text]:
        calls, undos = arranged(self.promises)
        stretches = self._times.of_calls(self.promises)
        for line in calls:
            found = [stretches[member.identity] for member in line.members if member.identity in stretches]
            group = self._times.of_group(line.promise, found)
            if group is not None:
                stretches[line.promise.identity] = group
        rows = [self._cells(line, stretches.get(line.promise.identity)) for line in (*calls, *undos)]
        widths = [max(map(cell_len, column)) for column in zip(_HEAD, *rows, strict=True)]
        bar = self._fit(widths)
        if calls:
            yield Text("")
            yield _aligned((*_HEAD, self._times.scale(bar)), widths, style="bold")
        for place, (line, cells) in enumerate(zip((*calls, *undos), rows, strict=True)):
            if place == len(calls):
                yield Text("")
                yield Text(f"{undos_heading(self.run.state, undos)}, the last effect first", "bold")
            stretch = stretches.get(line.promise.identity)
            yield from self._row(line, cells, widths, self._times.bar(stretch, bar, ascii_only=self.ascii_only))

    @cached_property
    def _times(self) -> Times:
        until = None
        if self.is_previous:
            ends = [promise.resolved_at for promise in self.promises if promise.resolved_at is not None]
            until = max(ends, default=self.since)
        return Times(run=self.run, now=self.now, members=self.members, since=self.since, until=until)

    # -- above the rows

    def _heading(self) -> Iterator[Text]:
        run = self.run
        yield Text(printable(one_line(f"{named(run)}: {run.shown}", 500)), "bold")
        if self.is_previous:
            yield Text(self._set_aside())
            return
        told = {"status": run.status, "child of": run.parent, "forked from": run.forked_from}
        yield from (Text(printable(one_line(f"{name}: {words}", 500))) for name, words in told.items() if words)
        if run.started_at is None:
            yield Text(f"created {when(run.created_at, self.now)}; no worker has taken it yet")
            return
        whole = Stretch(run.started_at, max(run.started_at, run.finished_at or self.now)).took
        so_far = "in all" if run.finished_at else "so far"
        anew = (
            f"; generation {run.generation} began {when(self.since, self.now)}" if self.since and run.generation else ""
        )
        calls = "" if self.promises else "; no call is recorded yet"
        yield Text(f"began {when(run.started_at, self.now)}, {whole} {so_far}{anew}{calls}")

    def _set_aside(self) -> str:
        """Return which generation is drawn, where it is not the one that goes on."""
        run, what = self.run, f"generation {self.run.generation - 1}"
        if not run.generation:
            return "it has begun once only: nothing of it was set aside"
        if not self.promises:
            return f"{what} had recorded nothing"
        return f"what {what} had recorded until {when(self._times.end, self.now)}; undos are not kept"

    # -- one row

    def _cells(self, line: Line, stretch: Stretch | None) -> tuple[str, ...]:
        promise, clock = line.promise, self._times.clock
        begun = "" if promise.begun_at is None else clock(promise.begun_at)
        if stretch is not None and promise.kind not in MADE_AT_ONCE:
            begun = f"{'' if stretch.is_exact else '~'}{clock(stretch.begun)}"
        return (
            _shown(promise.kind),
            f"{'  ' * line.depth}{_shown(line.label)}",
            _shown(promise.status),
            begun,
            "" if promise.resolved_at is None else clock(promise.resolved_at),
            "" if stretch is None or promise.kind in MADE_AT_ONCE else stretch.took,
            str(promise.attempts or ""),
            _shown(promise.worker[-_WORKER_TAIL:]),
        )

    def _row(self, line: Line, cells: Sequence[str], widths: Sequence[int], bar: str) -> Iterator[Text]:
        look = _STYLES.get(line.promise.status, "")
        if cell_len(cells[1]) > widths[1]:
            yield Text(f"{cells[0].ljust(widths[0])} {cells[1]}")
            cells = ("", "", *cells[2:])
        yield _aligned((*cells, bar), widths, looks={"status": look, "": look})
        if line.is_counted:
            yield self._counted(line)
        elif line.share:
            yield Text(f"    {line.share} have ended", "yellow")
        for words, look in self._outcome(line.promise):
            outcome = Text("    " + printable(one_line(words, _LONGEST_VALUE)), style=look)
            outcome.truncate(self.width, overflow="crop" if self.ascii_only else "ellipsis")
            yield outcome

    def _counted(self, line: Line) -> Text:
        """Return the one line that stands for many members: how many stand how, and a bar of those that are over."""
        share = f"{line.share} have ended; " if line.share else ""
        words = Text(f"    {share}{printable(one_line(counted(line.members), _LONGEST_VALUE))} ")
        room = min(_WIDEST_BAR, self.width - words.cell_len)
        if room >= _NARROWEST_BAR:
            solid, light = "#-" if self.ascii_only else "█░"
            over = sum(member.resolved_at is not None for member in line.members) * room // line.total
            words.append(solid * over, "green").append(light * (room - over), "yellow")
        words.truncate(self.width, overflow="crop" if self.ascii_only else "ellipsis")
        return words

    def _outcome(self, promise: PromiseRecord) -> Iterator[tuple[str, str]]:
        """Yield what came of a call, or what it waits for: lines and their styles."""
        failure, due = promise.failure, when(promise.due_at, self.now)
        member = self.members.get(promise.identity)
        who = f"{member.id}: " if member is not None else ""
        error = f"{failure.type}: {failure.message}" if failure else self.last_errors.get(promise.identity)
        if error:
            yield f"{who}{error}", "red"
        elif promise.value is not None:
            yield f"{who}{self._value(promise)}", "dim"
        elif member is not None:
            yield f"{who}{_state_of(member, promise)}", "dim" if promise.resolved_at else "yellow"
        if self.is_previous or self.run.state in ENDED:
            return
        if promise.status == "retrying":
            yield f"attempt {promise.attempts + 1} {f'is due {due}' if due else 'comes next'}", "yellow"
        elif promise.status == "sleeping":
            yield f"until {due}", "yellow"
        elif promise.status == "awaiting":
            yield f"waits; its timeout is due {due}" if due else "waits, with no limit", "yellow"

    def _value(self, promise: PromiseRecord) -> str:
        if promise.kind == "now" and isinstance(promise.value, int) and 0 < promise.value < _YEAR_9999:
            return from_ms(promise.value).isoformat(timespec="milliseconds")
        if promise.kind in GROUPS and isinstance(promise.value, int):
            return "all have ended" if promise.value < 0 else f"call {promise.value + 1} of it decided it"
        if self.with_values or promise.kind in MADE_AT_ONCE:
            return json.dumps(plain(promise.value), ensure_ascii=False)
        return hint_of(promise.value)

    def _ending(self) -> Iterator[Text]:
        """Yield what no row can tell: the call under way, which is not recorded yet; what stopped the run."""
        run = self.run
        words, look = one_line(run.reason, _LONGEST_VALUE), ""
        if run.state == RunState.RUNNING:
            place = f", at {step_of(run.progress)}" if run.progress else ""
            words = f"It runs on {run.worker}{place}; the call it makes now is recorded when it ends."
        elif run.failure is not None:
            words, look = one_line(f"{run.failure.type}: {run.failure.message}", _LONGEST_VALUE), "red"
        if words:
            yield Text("")
            yield Text(printable(words), style=look)

    def _fit(self, widths: list[int]) -> int:
        """Cut the column of identities to what is left, and return the width of the bars."""
        others = sum(widths) - widths[1] + len(widths)
        room = max(_NARROWEST_CALL, min(_WIDEST_CALL, self.width - others - _USUAL_BAR))
        widths[1] = min(widths[1], room)
        return max(_NARROWEST_BAR, min(_WIDEST_BAR, self.width - others - widths[1]))


def _shown(words: str) -> str:
    return printable(one_line(words, _LONGEST_NAME))


def _state_of(member: Member, promise: PromiseRecord) -> str:
    """Return how a member stands: its own state as long as its run waits for it."""
    if promise.resolved_at is not None:
        return "null" if promise.status == "value" else promise.status
    return member.state or "its record is gone"


def _aligned(
    cells: Sequence[str], widths: Sequence[int], *, style: str = "", looks: Mapping[str, str] = _PLAIN
) -> Text:
    """Return cells below each other's heads; the last, the bar, has neither a head nor a width."""
    *columns, bar = cells
    line = Text(style=style)
    for name, cell, width in zip(_HEAD, columns, widths, strict=True):
        space = " " * (width - cell_len(cell))
        line.append(f"{space}{cell} " if name in _TO_THE_RIGHT else f"{cell}{space} ", looks.get(name))
    return line.append(bar, looks.get(""))
