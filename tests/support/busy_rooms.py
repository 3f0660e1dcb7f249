"""A limited queue, an entry that fires each second and dead letters that are replayed, all in use at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

from dispatch_celery import JobHandle, JobId, JobState, StoreUnavailable
from tests.support.eventually import eventually
from tests.support.history import check_history
from tests.support.invariants import Dump, dump
from tests.support.limit_invariants import most_with_a_permit
from tests.support.workers import Fleet, Worker

__all__ = ["MOST", "BusyRooms"]

MOST = 2
_ENTRY = "seconds"


class BusyRooms:
    """Callers who go on whatever happens, and remember what they were told."""

    def __init__(self, fleet: Fleet, *, misfire: str) -> None:
        self.fleet = fleet
        self.shop = fleet.shop
        self.queue = f"{self.shop.QUEUE}-few"
        self.limited: list[JobHandle[str]] = []
        self.dying: list[JobHandle[None]] = []
        self.replays: dict[JobId, JobId] = {}
        self.refused: list[str] = []
        self.other: list[BaseException] = []
        self._turn = 0
        self._stop = threading.Event()
        self.shop.dispatch.queues.limit(self.queue, concurrency=MOST, rate="20/s")
        arguments = {"name": "slot"}
        self.shop.dispatch.crons.register(_ENTRY, "* * * * * *", "shop.touch", arguments=arguments, misfire=misfire)

    def worker(self, name: str) -> Worker:
        """Start a worker of both queues."""
        return self.fleet.start(name, "-c", "3", "-Q", f"{self.shop.QUEUE},{self.queue}")

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Have a caller for the length of a block, who is told nothing but "not now"."""
        thread = threading.Thread(target=self._call, name="caller")
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(timeout=30)
        assert not thread.is_alive()
        assert self.other == []

    def _call(self) -> None:
        while not self._stop.wait(0.05):
            self._turn += 1
            try:
                (self._enqueue, self._die, self._replay)[self._turn % 3]()
            except StoreUnavailable as error:
                self.refused.append(str(error))
            except BaseException as error:  # noqa: BLE001 - the test reports it
                self.other.append(error)
                return

    def _enqueue(self) -> None:
        self.limited.append(self.shop.nap.options(queue=self.queue).enqueue(f"n{self._turn}", 0.1))

    def _die(self) -> None:
        if len(self.dying) - len(self.replays) < 5:
            self.dying.append(self.shop.broken.enqueue("no"))

    def _replay(self) -> None:
        for handle in self.dying:
            if handle.id not in self.replays and handle.state() == JobState.FAILED:
                self.replays[handle.id] = self.shop.dispatch.dlq.replay(handle.id).id
                return

    # -- looking

    def slots(self) -> list[int]:
        """Return the slots that were fired, in seconds, as the ids of their jobs tell them."""
        found = self._found().jobs
        return sorted(JobId.parse(one).time_ms // 1000 for one, job in found.items() if job["name"] == "shop.touch")

    def ended(self) -> int:
        """Return how many limited jobs have run to their end."""
        jobs = self._found().jobs.values()
        return sum(job["state"] == "completed" and job["name"] == "shop.nap" for job in jobs)

    def more(self, count: Callable[[], int], least: int, what: str) -> None:
        """Wait until there are so many more than now."""
        before = count()
        eventually(lambda: count() >= before + least, within=30, every=0.2, what=what)

    def goes_on(self) -> None:
        """Wait until each room has done something new."""
        self.more(lambda: len(self.limited), 3, "callers go on")
        self.more(self.ended, 3, "limited jobs run")
        self.more(lambda: len(self.slots()), 2, "slots are fired")
        self.more(lambda: len(self.replays), 1, "dead letters are replayed")

    def _found(self) -> Dump:
        parts = self.shop.dispatch._parts
        return dump(parts.store, parts.keys.tag)

    def check(self) -> None:
        """Fail unless what was acknowledged is there once, and every room has kept its promise."""
        self.shop.dispatch.crons.disable(_ENTRY)
        found = check_history(self.fleet, within=40)
        assert {handle.state() for handle in self.limited} == {JobState.COMPLETED}
        assert self.shop.dispatch.queues.get(self.queue).permits == 0
        few = {one for one, job in found.jobs.items() if job["name"] == "shop.nap"}
        assert most_with_a_permit(entry for entry in found.journal if entry["id"] in few) <= MOST
        self._check_letters(found)

    def _check_letters(self, found: Dump) -> None:
        dlq = self.shop.dispatch.dlq
        dead = [letter.job_id for letter in dlq.list(limit=1_000)]
        assert len(set(dead)) == len(dead)
        assert set(dead) == {one for one, job in found.jobs.items() if job["name"] == "shop.broken"}
        assert {handle.id for handle in self.dying} <= set(dead)
        made = [job.replay_of for job in self.shop.dispatch.jobs.list(name="shop.broken", limit=1_000) if job.replay_of]
        assert len(set(made)) == len(made)
        assert set(self.replays) <= set(made)
        assert {dlq.get(old).replayed_as for old in self.replays} == set(self.replays.values())

    def gaps(self) -> list[int]:
        """Return the seconds between each two slots, in order, where they are more than one."""
        return [later - earlier for earlier, later in pairwise(self.slots()) if later - earlier != 1]
