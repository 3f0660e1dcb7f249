"""``dispatch runs children``: the child runs of a run, and theirs, drawn as a tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click
from rich.text import Text
from rich.tree import Tree

from dispatch_celery.cli.jobs import SECRET, error_of
from dispatch_celery.cli.output import style_of
from dispatch_celery.cli.phrases import count_of, named
from dispatch_celery.cli.plain import one_line, printable
from dispatch_celery.cli.session import Session, with_session
from dispatch_celery.ids import RunId
from dispatch_celery.workflows.model import Run
from dispatch_celery.workflows.service import RunService

__all__ = ["Family", "show_children"]


@dataclass(frozen=True, kw_only=True)
class Family:
    """A run and its children, by the id of their parent."""

    run: Run
    children: Mapping[RunId, Sequence[Run]]
    complete: bool
    """False where there are more than were asked for."""

    @classmethod
    def read(cls, runs: RunService, run: Run, *, deep: bool, limit: int) -> Family:
        """Read up to ``limit`` child runs, generation by generation, so that those near the root are not left out."""
        children: dict[RunId, Sequence[Run]] = {}
        parents, left = [run], limit
        for parent in parents:
            found = runs.children(parent.id)
            children[parent.id] = found[:left]
            if len(found) > left:
                return cls(run=run, children=children, complete=False)
            left -= len(found)
            parents += found if deep else []
        return cls(run=run, children=children, complete=True)

    @property
    def all(self) -> list[Run]:
        """Every child that was read, those nearer to the root first."""
        return [child for found in self.children.values() for child in found]

    def tree(self) -> Tree:
        """Return it as it is drawn."""
        tree = Tree(_label(self.run))
        branches = {self.run.id: tree}
        for parent, found in self.children.items():
            for child in found:
                branches[child.id] = branches[parent].add(_label(child))
        return tree

    def summary(self) -> str:
        """Return how many there are in each state."""
        found = Counter(child.shown for child in self.all)
        states = ", ".join(f"{number:,} {state}" for state, number in found.items())
        more = "" if self.complete else "; there are more: raise --limit"
        return f"{count_of(len(self.all), 'child run')}{f': {states}' if states else ''}{more}"


@click.command("children", short_help="Draw the child runs of a run, as a tree.")
@click.argument("run_id", metavar="ID")
@click.option("--recursive", is_flag=True, help="Also children of children.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=200, show_default=True, help="The most child runs to read."
)
@with_session
def show_children(session: Session, run_id: str, *, recursive: bool, limit: int) -> None:
    """Draw the child runs that a run has started and that are still kept, as a tree."""
    runs, output = session.dispatch.runs, session.output
    family = Family.read(runs, runs.get(run_id), deep=recursive, limit=limit)
    if output.as_json:
        document = {"run": family.run, "records": family.all, "complete": family.complete}
        output.document(document, without=(*SECRET, "traceback"))
        return
    if family.all:
        output.tree(family.tree())
    output.line(family.summary())


def _label(run: Run) -> Text:
    """Return a run on one line: which, how it stands, and why or what it says of itself."""
    why = error_of(run.failure) or one_line(run.reason or run.status, 80)
    return Text.assemble(
        f"{printable(named(run))}: ",
        (run.shown, style_of(run.shown)),
        f", {printable(why)}" if why else "",
        overflow="fold",
    )
