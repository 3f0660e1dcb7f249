"""Prints answers: one JSON document, or tables for people that keep ids whole at any width.

On a terminal, long texts wrap between words; a table whose ids and words need more than the terminal has is
printed as wide as it must be. Elsewhere nothing wraps and nothing is coloured.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

import click
from rich import box
from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text
from rich.tree import Tree

from dispatch_celery.cli.plain import plain, printable

__all__ = ["Columns", "Output", "number_column", "style_of", "text_column", "whole_column"]

_ENDLESS: Final = 100_000
_STYLES: Final = {
    **dict.fromkeys(("completed", "active"), "green"),
    **dict.fromkeys(("failed", "parked", "lost", "fatal", "parks", "fails", "unknown"), "red"),
    **dict.fromkeys(("running", "pending"), "cyan"),
    **dict.fromkeys(("retrying", "scheduled", "limited", "waiting", "compensating", "draining", "warning"), "yellow"),
    "cancelled": "dim",
}

Cell = object
Columns = Sequence[Column | str]


def whole_column(header: str) -> Column:
    """Return a column that is never wrapped or cut: for ids, names, times."""
    return Column(header, no_wrap=True)


def text_column(header: str) -> Column:
    """Return a column that wraps where the terminal is narrow."""
    return Column(header, min_width=10, overflow="fold")


def number_column(header: str) -> Column:
    """Return a column of numbers."""
    return Column(header, justify="right", no_wrap=True)


class Output:
    """Where a command's answer goes."""

    def __init__(self, *, as_json: bool, no_color: bool = False) -> None:
        self.as_json = as_json
        self.console = Console(no_color=no_color or None, highlight=False, markup=False, emoji=False)
        if not self.console.is_terminal:
            self.console.width = _ENDLESS

    def document(self, value: Any, *, without: Sequence[str] = ()) -> None:
        """Print one JSON document."""
        click.echo(json.dumps(plain(value, without=without), indent=2))

    def line(self, words: str, *, style: str = "") -> None:
        """Print one paragraph; the terminal wraps it."""
        self.console.print(Text(printable(words), style=style), soft_wrap=True)

    def lines(self, lines: Iterable[Text]) -> None:
        """Print lines that are made for the width of the terminal already."""
        for line in lines:
            self.console.print(line, soft_wrap=True)

    def table(self, columns: Columns, rows: Iterable[Sequence[Cell]], *, empty: str) -> None:
        """Print a table, or one line where there is nothing in it. A column given as text is a whole one."""
        made = [whole_column(column) if isinstance(column, str) else column.copy() for column in columns]
        table = Table(*made, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for row in rows:
            table.add_row(*[_shown(cell) for cell in row])
        for column in table.columns:
            if column.no_wrap:
                column.min_width = max((cell.cell_len for cell in column.cells if isinstance(cell, Text)), default=0)
        if table.row_count:
            self._print(table)
        else:
            self.line(empty, style="dim")

    def tree(self, tree: Tree) -> None:
        """Print a tree."""
        self._print(tree)

    def fields(self, pairs: Iterable[tuple[str, Cell]]) -> None:
        """Print names and values, one pair a line; without those that have no value."""
        grid = Table.grid(Column(no_wrap=True, style="bold"), Column(min_width=30, overflow="fold"), padding=(0, 2))
        for name, value in pairs:
            if value not in (None, ""):
                grid.add_row(name, _shown(value))
        self._print(grid)

    def _print(self, renderable: RenderableType) -> None:
        console = self.console
        room = console.options.update(max_width=_ENDLESS)
        needed = Measurement.get(console, room, renderable).minimum
        before = console.width
        console.width = max(before, needed)
        console.print(renderable)
        console.width = before


def style_of(word: str) -> str:
    """Return how a state is shown; plain for any other word."""
    return _STYLES.get(word, "")


def _shown(cell: Cell) -> Text:
    words = "" if cell is None else printable(str(cell))
    return Text(words, style=style_of(words), overflow="fold")
