"""The thread that keeps a worker's claim to what it holds: it renews, listens, oversees, and leads if need be.

A real thread with connections of its own, so that no task, pool or broker trouble delays a renewal. It stands
still while the pool forks (``fork_gate``). If it dies, or cannot reach the server for a lease, the worker starts
nothing new, and what it holds goes to others: silence is always safe.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from dispatch_celery.clock import monotonic_ms
from dispatch_celery.cluster.keeper import Keeper
from dispatch_celery.cluster.model import Pulse, WorkerState
from dispatch_celery.cluster.recovery import Recovery
from dispatch_celery.cluster.store import ClusterStore
from dispatch_celery.config import Settings
from dispatch_celery.errors import DispatchError, StoreUnavailable
from dispatch_celery.ids import WorkerId, mint_nonce
from dispatch_celery.store.channel import Channel
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.scripts import Word
from dispatch_celery.work.ports import Observer
from dispatch_celery.worker.overseer import Overseer
from dispatch_celery.worker.page import Page

__all__ = ["Lifeline", "fork_gate"]

logger = logging.getLogger(__name__)

_STILL_KNOWN: Final = 60_000
_CUT: Final = 1_000
_COME_BACK: Final = 500
"""Milliseconds after a lost connection until the server is asked whether it is still the same."""
_SECOND_LOOK: Final = 150
_STUMBLE: Final = 1_000

fork_gate: Final = threading.Lock()
"""Held by this module's threads while they work, and by a fork: no child is born with a half-held lock."""

os.register_at_fork(before=fork_gate.acquire, after_in_parent=fork_gate.release, after_in_child=fork_gate.release)


class Lifeline:
    """One worker's lease, from registration to departure."""

    def __init__(
        self,
        *,
        cluster: ClusterStore,
        recovery: Recovery,
        overseer: Overseer,
        keeper: Keeper,
        page: Page,
        keys: Keys,
        settings: Settings,
        channel: Channel,
        observer: Observer,
        describe: Callable[[], tuple[Mapping[str, Word], Mapping[str, str]]],
        on_forced: Callable[[], None] | None,
        on_known: Callable[[], None] = lambda: None,
    ) -> None:
        self._cluster = cluster
        self._recovery = recovery
        self._overseer = overseer
        self._keeper = keeper
        self._page = page
        self._keys = keys
        self._bells = {keys.timers: "timers", keys.permits: "permits", keys.cron_slots: "cron"}
        self._settings = settings
        self._channel = channel
        self._observer = observer
        self._describe = describe
        self._on_forced = on_forced
        self._on_known = on_known
        self._nonce = mint_nonce()
        self.holder = ""
        self._candidate: WorkerId | None = None
        self.state = WorkerState.ACTIVE
        self._renew_at = 0
        self._look_at = 0
        self._ask_at = 0
        self._cut_ends = 0
        self._known_at = 0
        self._renewals = 0
        self._idle_holdings: set[str] = set()
        self._silent: set[str] = set()
        self._running = 0
        self._stopping = False
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_writer, False)

    # -- for the bootstep

    def register(self) -> None:
        """Register a new incarnation with a full lease.

        Raises:
            StoreUnavailable: the server does not answer.
        """
        # The same id until it is answered: a registration whose reply got lost is this one, sent twice.
        holder = self._candidate = self._candidate or WorkerId.mint()
        description, names = self._describe()
        sent = monotonic_ms()
        now = self._cluster.register(holder, description, names)
        self.holder, self._candidate = holder, None
        self._known_at = sent + _STILL_KNOWN
        self._trust(sent)
        self._renew_at = sent
        self._channel.listen([self._keys.worker(holder), *self._bells])
        logger.info("registered as %s (server time %d)", holder, now)
        self._observer("worker_joined", None, worker=holder)

    def drain(self, grace: int) -> None:
        """Stop starting things; what runs has ``grace`` ms. Safe in a signal handler."""
        self.state = WorkerState.DRAINING
        self._page.set_lease(self.holder, self._page.lease()[1], draining=True)
        self._overseer.drain(monotonic_ms() + grace)
        self.wake()

    @property
    def drained(self) -> bool:
        """Whether nothing runs any more."""
        return self._overseer.idle

    def wake(self) -> None:
        """Make the thread look at once."""
        with suppress(OSError):
            os.write(self._wake_writer, b"x")

    def keeper_run(self) -> None:
        """Keep house while this worker leads: the body of the second thread."""
        self._keeper.run()

    def stop(self) -> None:
        """End both threads."""
        self._stopping = True
        self._keeper.stop()
        self.wake()

    def depart(self) -> None:
        """Leave the fleet; what is still held is recovered by others at once."""
        if self.holder:
            self._page.set_lease("", 0, draining=True)
            self._cluster.depart(self.holder)
            self.holder = ""

    def close(self) -> None:
        """Close what the thread used."""
        self._channel.close()
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    # -- the thread

    def run(self) -> None:
        """Live: the body of the thread."""
        while not self._stopping:
            try:
                with fork_gate:
                    pause = self._round()
                self._wait(pause)
            except Exception:
                # A defect of ours must not end the thread: nothing would be renewed, and no death be seen.
                logger.exception("the lifeline goes on, a second later, after an error it does not know")
                self._look_at = self._ask_at = monotonic_ms() + _STUMBLE
                select.select([self._wake_reader], [], [], _STUMBLE / 1000)

    def _round(self) -> int:
        now = monotonic_ms()
        try:
            if now >= self._renew_at:
                self._renew_at = now + self._settings.renew_every
                if self._cut_ends > now:
                    # A renewal that falls between a cut and its end must not cost the one at its end.
                    self._renew_at = min(self._renew_at, self._cut_ends)
                self._renew()
            if self._settings.liveness_hint and now >= self._ask_at:
                self._ask_at = now + self._ask()
            if now >= self._look_at:
                self._look_at = now + self._overseer.look()
        except StoreUnavailable as error:
            logger.debug("the state server does not answer: %s", error)
            self._renew_at = min(self._renew_at, now + 250)
            self._look_at = self._ask_at = now + 250
        except DispatchError as error:
            logger.warning("the lifeline goes on after: %s", error)
            self._look_at = self._ask_at = now + 1_000
        if self._overseer.forced and self._on_forced is not None:
            # Code of this very process runs on without its token: it must not outlive the release.
            with suppress(DispatchError):
                self.depart()
            self._on_forced()
        return max(1, min(self._renew_at, self._look_at, self._ask_at) - monotonic_ms())

    def _wait(self, pause: int) -> None:
        """Sleep until something is due, a child dies, an announcement arrives, or somebody wakes us."""
        watched: list[Any] = [self._wake_reader, *(fd for fd in self._overseer.descriptors if fd >= 0)]
        listening = self._channel.descriptor
        if listening is not None:
            watched.append(listening)
        readable, _, _ = select.select(watched, [], [], pause / 1000)
        if self._wake_reader in readable:
            os.read(self._wake_reader, 4096)
            self._look_at = 0
        if any(fd in readable for fd in self._overseer.descriptors):
            self._look_at = 0
        if listening in readable or listening is None:
            self._hear()

    def _hear(self) -> None:
        """Read announcements; a lost connection may mean that others take us for dead, so renew at once."""
        try:
            announcements = self._channel.read()
        except StoreUnavailable:
            self._renew_at = 0
            self._keeper.ring("reconcile", within=_COME_BACK)
            with suppress(StoreUnavailable):
                if self.holder:
                    self._channel.listen([self._keys.worker(self.holder), *self._bells])
            return
        for channel, words in announcements:
            if channel in self._bells:
                self._keeper.ring(self._bells[channel])
            elif words.startswith("cancel "):
                _, job_id, token = words.split(" ")
                self._overseer.cancel(job_id, token)
                self._look_at = 0

    def _renew(self) -> None:
        if not self.holder:
            self.register()
            return
        sent = monotonic_ms()
        self._renewals += 1
        with_held = self._renewals % 2 == 0
        pulse = self._cluster.renew(
            self.holder,
            nonce=self._nonce,
            volunteer=self.state == WorkerState.ACTIVE,
            state=self.state,
            with_held=with_held,
        )
        if pulse is None:
            logger.warning("%s lost its lease; what it held is with others now", self.holder)
            self.holder = ""
            self._page.set_lease("", 0, draining=self.state == WorkerState.DRAINING)
            if self.state == WorkerState.ACTIVE:
                self.register()
            return
        self._trust(sent)
        self._running = pulse.running
        self._keeper.on_pulse(self.holder, pulse, sent)
        if with_held:
            self._compare(pulse)
        if sent >= self._known_at:
            self._known_at = sent + _STILL_KNOWN
            self._cluster.still_know(list(self._describe()[1]), pulse.now)
            self._on_known()

    def _trust(self, sent: int) -> None:
        """Publish how long the lease may be trusted: counted from the sending, less a margin for slow clocks."""
        margin = self._settings.lease // 10
        self._page.set_lease(
            self.holder, sent + self._settings.lease - margin, draining=self.state == WorkerState.DRAINING
        )

    def _compare(self, pulse: Pulse) -> None:
        """Compare what is held here with what is executed: twice unexecuted means that a claim's reply got lost."""
        idle: set[str] = set()
        for job_id, holding in pulse.held.items():
            _, token, *marks = holding.split(" ")
            if not self._overseer.is_executed(job_id, token):
                idle.add(f"{job_id} {token}")
            elif "cancel" in marks:
                self._overseer.cancel(job_id, token)
        forgotten, self._idle_holdings = idle & self._idle_holdings, idle
        crashed = {entry for entry in forgotten if self._overseer.is_dead(pulse.held[entry.split(" ")[0]])}
        for counter, entries in (("crashes", crashed), ("", forgotten - crashed)):
            if entries:
                why = "its process died" if counter else "claimed, but executed by nobody"
                ids = sorted(entry.split(" ")[0] for entry in entries)
                self._recovery.recover(self.holder, ids, counter=counter, why=why)

    def _ask(self) -> int:
        """Ask the server which workers have a connection; one that has none twice is suspected. Return the pause."""
        if not self._running or not self.holder or self._channel.descriptor is None:
            self._silent.clear()
            return self._settings.liveness_every
        others = self._cluster.registered() if self._keeper.leads else [self._keeper.leader]
        counts = self._cluster.listeners([name for name in others if name and name != self.holder])
        silent = {name for name, count in counts.items() if count == 0}
        gone, self._silent = silent & self._silent, silent
        for name in gone:
            logger.warning("nobody listens for worker %s: its lease is cut to %d ms", name, _CUT)
            self._cluster.suspect(name, _CUT)
            self._silent.discard(name)
            ends = monotonic_ms() + _CUT + 10
            if self._cut_ends < monotonic_ms():
                self._cut_ends = ends
            self._renew_at = min(self._renew_at, ends)
            self._keeper.ring("dead workers", within=_CUT + 10)
        return _SECOND_LOOK if self._silent else self._settings.liveness_every
