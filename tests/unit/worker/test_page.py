"""One page of memory: what a main process and its children tell each other."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

import pytest

from dispatch_celery.clock import monotonic_ms
from dispatch_celery.ids import JobId, WorkerId
from dispatch_celery.worker.page import Occupant, Page, PageSeat

JOB = str(JobId.adopt("one"))
TOKEN = f"12345678.{'a' * 24}"


def in_a_child(work: object) -> int:
    """Run ``work`` in a forked child; return its exit code."""
    pid = os.fork()
    if pid == 0:
        try:
            work()  # type: ignore[operator]  # a callable
        except BaseException:  # noqa: BLE001 - the child only answers yes or no
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_new_page_is_empty() -> None:
    """Nobody sits anywhere, and there is no lease."""
    page = Page(3)

    assert page.slots == 3
    assert list(page.occupants()) == []
    assert page.lease() == ("", 0, False)


def test_the_lease_is_read_as_it_was_written() -> None:
    """Incarnation, end and draining."""
    page, holder = Page(1), str(WorkerId.mint())
    page.set_lease(holder, 2**40, draining=True)

    assert page.lease() == (holder, 2**40, True)
    page.set_lease("", 0, draining=False)
    assert page.lease() == ("", 0, False)


def test_a_slot_is_read_as_it_was_written() -> None:
    """Who executes what, since when and until when; beside it an idle one and a free one."""
    page = Page(3)
    page.write(0, pid=41, job_id=JOB, token=TOKEN, deadline=99)
    page.write(1, pid=42)

    first, second = page.occupants()

    assert (first.slot, first.pid, first.job_id, first.token, first.deadline) == (0, 41, JOB, TOKEN, 99)
    assert 0 < first.started <= monotonic_ms()
    assert second == Occupant(slot=1, pid=42, job_id="", token="", started=0, deadline=0)
    page.clear(0)
    assert page.read(0) is None


def test_a_cancel_mark_is_for_one_token() -> None:
    """The next execution in the slot does not see the mark of the one before."""
    page = Page(2)
    page.write(0, pid=1, job_id=JOB, token=TOKEN)
    page.mark_cancelled(0, TOKEN)

    assert page.is_cancelled(0, TOKEN)
    assert not page.is_cancelled(0, "1.other")
    assert not page.is_cancelled(1, TOKEN)
    page.write(0, pid=1, job_id=JOB, token=TOKEN)
    assert not page.is_cancelled(0, TOKEN)


def test_neighbouring_slots_do_not_touch_each_other() -> None:
    """Every slot keeps its own words while others are written."""
    page = Page(8)
    for slot in range(8):
        page.write(slot, pid=slot, job_id=f"job_{slot}", token=f"{slot}.n")
    page.mark_cancelled(3, "3.n")
    page.clear(4)

    assert [occupant.slot for occupant in page.occupants()] == [0, 1, 2, 3, 5, 6, 7]
    assert [page.is_cancelled(slot, f"{slot}.n") for slot in range(8)] == [slot == 3 for slot in range(8)]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_shares_the_page() -> None:
    """A child reads lease and cancel marks of its parent, and the parent what the child executes."""
    page = Page(2)
    page.set_lease("wkr_1", 77, draining=False)
    page.write(1, pid=9, job_id=JOB, token="1.a")  # noqa: S106 - no secret
    page.mark_cancelled(1, "1.a")

    def child() -> None:
        assert page.lease() == ("wkr_1", 77, False)
        assert page.is_cancelled(1, "1.a")
        page.write(0, pid=os.getpid(), job_id=JOB, token=TOKEN)

    assert in_a_child(child) == 0
    occupant = page.read(0)
    assert occupant is not None
    assert (occupant.job_id, occupant.token) == (JOB, TOKEN)
    assert occupant.pid != os.getpid()


def test_a_reader_sees_whole_slots_only() -> None:
    """While a slot is written again and again, what is read belongs together."""
    page, stopped = Page(1), threading.Event()

    def write() -> None:
        n = 0
        while not stopped.is_set():
            n += 1
            page.write(0, pid=n, job_id=f"job_{n}", token=f"{n}.t", deadline=n)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = [occupant for _ in range(5_000) if (occupant := page.read(0)) is not None]
    finally:
        stopped.set()
        writer.join()

    assert seen
    assert all(
        one.pid < 0 or (one.job_id, one.token, one.deadline) == (f"job_{one.pid}", f"{one.pid}.t", one.pid)
        for one in seen
    )


def test_a_seat_takes_a_slot_for_each_execution() -> None:
    """A thread occupies, is seen and asked, and leaves."""
    page = Page(1)
    seat = PageSeat(page)
    assert seat.current() is None
    assert not seat.cancelled()

    seat.occupy(JOB, TOKEN, timeout_ms=5_000)
    occupant = seat.current()
    assert occupant is not None
    assert (occupant.pid, occupant.job_id, occupant.token) == (os.getpid(), JOB, TOKEN)
    assert monotonic_ms() < occupant.deadline <= monotonic_ms() + 5_000
    page.mark_cancelled(occupant.slot, TOKEN)
    assert seat.cancelled()

    seat.vacate()
    seat.vacate()
    assert list(page.occupants()) == []
    seat.occupy(JOB, "2.b", timeout_ms=None)
    assert not seat.cancelled()


def test_threads_sit_in_different_slots() -> None:
    """Each sees its own execution; one more than there are slots is refused."""
    page = Page(4)
    seat = PageSeat(page)
    everybody = threading.Barrier(5)
    seen: list[str] = []

    def work(n: int) -> None:
        seat.occupy(f"job_{n}", f"{n}.t", timeout_ms=None)
        everybody.wait(10)
        current = seat.current()
        seen.append(current.job_id if current else "")
        everybody.wait(10)
        seat.vacate()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    everybody.wait(10)
    with pytest.raises(RuntimeError, match="more executions than the 4 slots"):
        seat.occupy("job_x", "x.t", timeout_ms=None)
    everybody.wait(10)
    for thread in threads:
        thread.join()

    assert sorted(seen) == ["job_0", "job_1", "job_2", "job_3"]
    assert list(page.occupants()) == []


def test_a_pool_child_sits_in_one_slot_for_its_life() -> None:
    """It is seen when idle, and what is to happen at its first execution happens once."""
    page, first = Page(2), []
    seat = PageSeat(page)
    seat.sit(1, at_first=lambda: first.append(True))
    assert [(one.slot, one.pid, one.job_id) for one in page.occupants()] == [(1, os.getpid(), "")]

    for n in range(2):
        seat.occupy(JOB, f"{n}.t", timeout_ms=None)
        assert [(one.slot, one.job_id) for one in page.occupants()] == [(1, JOB)]
        seat.vacate()

    assert first == [True]
    assert [(one.slot, one.job_id) for one in page.occupants()] == [(1, "")]


@pytest.mark.parametrize(
    ("holder", "left", "draining", "trusted"),
    [
        ("wkr_1", 10_000, False, True),
        ("", 10_000, False, False),
        ("wkr_1", -1, False, False),
        ("wkr_1", 10_000, True, False),
    ],
)
def test_a_lease_is_trusted_by_the_processs_own_clock(holder: str, left: int, draining: bool, trusted: bool) -> None:  # noqa: FBT001 - a table's columns
    """Without a holder, after its end, or while draining, nothing new is started."""
    page = Page(1)
    page.set_lease(holder, monotonic_ms() + left, draining=draining)
    seat = PageSeat(page)

    assert seat.trusted() is trusted
    assert seat.wait_trusted(0) is trusted
    assert (seat.holder, seat.draining) == (holder, draining)


def test_a_seat_waits_for_a_lease() -> None:
    """A registration that comes in time lets the claim go on."""
    page = Page(1)
    seat = PageSeat(page)
    found: list[bool] = []
    waiter = threading.Thread(target=lambda: found.append(seat.wait_trusted(10_000)))
    waiter.start()

    page.set_lease("wkr_1", monotonic_ms() + 60_000, draining=False)
    waiter.join()

    assert found == [True]


def test_only_the_handler_may_be_interrupted() -> None:
    """The mark ends with the block, also by an error, and is the thread's own."""
    seat = PageSeat(Page(1))
    others: list[bool] = []

    with suppress(KeyError), seat.interruptible():
        assert seat.may_interrupt
        thread = threading.Thread(target=lambda: others.append(seat.may_interrupt))
        thread.start()
        thread.join()
        raise KeyError

    assert not seat.may_interrupt
    assert others == [False]
