"""What the leader does, in a thread of its own so that a long round never delays a lease.

Purpose
    One worker of the fleet at a time keeps house: due timers, swept marks, lost wake-ups, dead workers,
    retention. Any worker can; the one that renews its lease first after a lead has ended becomes the leader.

Who is authoritative
    The record ``leader`` in the state server: incarnation, term, end of lease. A term is a number that grows
    with every reign and a random part; the leader's scripts compare both and refuse with LEADERSHIP_LOST.
    Correctness never depends on it: every duty is safe when two leaders do it at once.

States
    ::

        follower --(a renewal names my term)--> leader --(it names another, or my lease is old)--> follower

What happens on each failure
    - The leader dies: its lead ends with its lease, or at once when others see that nobody listens for it.
    - The leader stalls, or the server did: a stall is not death. If the last good answer is older than a
      renewal, or the server's clock and this process's disagree by more than a second, every worker gets one full lease
      before anybody is condemned.
    - A duty fails: it is logged, and tried again after a growing pause; the others go on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from dispatch_celery.clock import monotonic_ms
from dispatch_celery.cluster.model import Pulse
from dispatch_celery.cluster.store import ClusterStore
from dispatch_celery.config import Settings
from dispatch_celery.errors import DispatchError
from dispatch_celery.service import Pace, Service

__all__ = ["Keeper"]

logger = logging.getLogger(__name__)

_LONGEST: Final = 60_000
_DISAGREEMENT: Final = 1_000


class Keeper:
    """The leader's thread, idle in a follower."""

    def __init__(
        self,
        cluster: ClusterStore,
        settings: Settings,
        duties: Callable[[Callable[[], str]], list[Service]],
        *,
        on_change: Callable[[str], None],
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._on_change = on_change
        self._leading = ""
        self._leader = ""
        self._trusted_until = 0
        self._last: tuple[int, int] | None = None
        self._spare = False
        self._stopped = False
        self._bell = threading.Event()
        self._pace = Pace(duties(self.term), longest=_LONGEST)

    def term(self) -> str:
        """Return the term this worker reigns in; one that nobody has, when it does not."""
        return self._leading or "none"

    @property
    def leads(self) -> bool:
        """Whether this worker leads, by its own clock."""
        return bool(self._leading) and monotonic_ms() < self._trusted_until

    @property
    def leader(self) -> str:
        """The incarnation that leads, as last heard."""
        return self._leader

    def on_pulse(self, holder: str, pulse: Pulse, sent: int) -> None:
        """Take in a renewal's answer; ``sent`` is the monotonic time at which it was asked for."""
        mine = pulse.leader == holder and pulse.leader_until > pulse.now
        if self._stalled(pulse, sent):
            self._spare = True
        self._last = (sent, pulse.now)
        self._leading = pulse.term if mine else ""
        self._trusted_until = sent + (pulse.leader_until - pulse.now) if mine else 0
        if pulse.leader != self._leader:
            self._leader = pulse.leader
            self._on_change(pulse.leader)
        if mine:
            self._expect(pulse)

    def _stalled(self, pulse: Pulse, sent: int) -> bool:
        if self._last is None:
            return False
        own, theirs = sent - self._last[0], pulse.now - self._last[1]
        return own > 2 * self._settings.renew_every or abs(own - theirs) > _DISAGREEMENT

    def _expect(self, pulse: Pulse) -> None:
        """Call the duties when the pulse says that there will be something to do."""
        now = monotonic_ms()
        for name, due in (
            ("timers", "timers"),
            ("marks", "marks"),
            ("retention", "expiry"),
            ("dead workers", "leases"),
        ):
            moment = pulse.due[due]
            if moment is not None:
                self._pace.expect(name, now + max(0, moment - pulse.now))
        if pulse.lanes:
            self._pace.expect("wake-ups", now + 1_000)
        if pulse.condemned or pulse.running:
            self._pace.expect("dead workers", now)
        if pulse.permits:
            self._pace.expect("permits", now)
        if pulse.unknown:
            self._pace.expect("revival", now + 1_000)
        self._bell.set()

    def ring(self, duty: str, *, within: int = 0) -> None:
        """Make one duty due; a follower ignores it."""
        if self._leading:
            self._pace.expect(duty, monotonic_ms() + within)
            self._bell.set()

    def run(self) -> None:
        """Do what is due until stopped: the body of the thread."""
        while not self._stopped:
            pause = self.run_once()
            self._bell.wait(pause / 1000)
            self._bell.clear()

    def run_once(self) -> int:
        """Do what is due now; return the milliseconds until something may be due again."""
        if not self.leads:
            return _LONGEST
        if self._spare:
            try:
                count = self._cluster.spare(term=self.term())
                logger.warning("the leader or the server stalled: %d workers are given one full lease", count)
                self._spare = False
            except DispatchError as error:
                logger.warning("workers could not be spared yet: %s", error)
                return 250
        return self._pace.run_due(monotonic_ms())

    def stop(self) -> None:
        """End ``run``."""
        self._stopped = True
        self._bell.set()
