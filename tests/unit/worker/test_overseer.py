"""What the overseer sees of its processes: deaths, also those of children it has never looked at."""

from __future__ import annotations

import os
from typing import Any, Self

import pytest

from dispatch_celery.config import Settings
from dispatch_celery.errors import StoreUnavailable
from dispatch_celery.worker import overseer as module
from dispatch_celery.worker.overseer import Overseer
from dispatch_celery.worker.page import Page

HOLDER = "wrk_00000000000000000000000000"


class Books:
    """Who holds what, as the state server would say, and which processes were released."""

    def __init__(self) -> None:
        self.holding: set[int] = set()
        self.released: list[int] = []
        self.silent = False

    def processes(self, holder: str) -> set[int]:
        """Return the processes that hold something."""
        assert holder == HOLDER
        if self.silent:
            raise StoreUnavailable("not now")
        return set(self.holding)

    def release_process(self, holder: str, pid: int, *, why: str) -> int:
        """Note that a process was released."""
        assert (holder, why) == (HOLDER, f"process {pid} died")
        self.released.append(pid)
        self.holding.discard(pid)
        return 1


def overseer(page: Page, books: Any) -> Overseer:
    """An overseer of children whose executors are never asked."""
    unused: Any = None
    return Overseer(
        page=page,
        executor=unused,
        runs=unused,
        records=unused,
        recovery=books,
        settings=Settings(),
        holder=lambda: HOLDER,
        children=True,
    )


def a_dead_process() -> int:
    """Return the id of a process that has ended and was waited for."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_a_death_is_seen_where_a_newcomer_has_the_slot_already() -> None:
    """A child takes work, dies and is replaced between two looks: what it held is released at the next one."""
    page, books = Page(2), Books()
    watcher = overseer(page, books)
    watcher.look()
    dead = a_dead_process()
    books.holding = {dead, os.getpid()}
    page.write(0, pid=os.getppid())

    watcher.look()

    assert books.released == [dead]


def test_a_newcomer_is_looked_into_when_the_server_answers_again() -> None:
    """A silent server delays it, and does not make it forgotten."""
    page, books = Page(1), Books()
    watcher = overseer(page, books)
    dead = a_dead_process()
    books.holding, books.silent = {dead}, True
    page.write(0, pid=os.getppid())

    watcher.look()
    assert books.released == []
    books.silent = False
    watcher.look()

    assert books.released == [dead]


def test_nobody_is_asked_while_nobody_comes() -> None:
    """The question costs a trip: without a newcomer it is not put."""
    page, books = Page(1), Books()
    watcher = overseer(page, books)
    page.write(0, pid=os.getppid())
    watcher.look()
    books.silent, books.holding = True, {a_dead_process()}

    assert watcher.look() == 1_000
    assert books.released == []


def test_a_process_that_is_waited_for_while_it_is_looked_at_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel opens its entry and then answers ESRCH: that is a death, not an error of the thread that looks."""

    class Vanishing:
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_error: object) -> None:
            return None

        def read(self) -> bytes:
            raise ProcessLookupError(3, "No such process")

    page, books = Page(1), Books()
    watcher = overseer(page, books)
    page.write(0, pid=os.getppid())
    watcher.look()
    monkeypatch.setattr(module, "open", lambda *_: Vanishing(), raising=False)

    watcher.look()

    assert books.released == [os.getppid()]
