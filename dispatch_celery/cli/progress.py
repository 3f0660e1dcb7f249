"""A bar on the standard error while a bulk operation works, where a person looks; the answer is printed elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dispatch_celery.cli.output import Output
from dispatch_celery.dlq.selection import BulkProgress

__all__ = ["bar"]

Follower = Callable[[BulkProgress], object]


@contextmanager
def bar(output: Output, words: str) -> Iterator[Follower | None]:
    """Give what follows a bulk operation; None where nobody looks, so that nothing is counted for it."""
    console = Console(stderr=True, no_color=output.console.no_color)
    if output.as_json or not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task(words, total=None)
        yield lambda progress: shown.update(task, total=progress.total, completed=progress.done)
