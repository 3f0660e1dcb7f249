"""Celery's beat as one more carrier of cron: ``celery -A app beat -S dispatch``, any number of them, or ``worker -B``.

Each beat asks for the cron lead once a second; a beat is given it before a worker, because only beats send
``beat_schedule``. Whoever leads fires the entries of ``dispatch.crons`` and sends what is due of ``beat_schedule``;
the others wait, answer remote control, and take over when the lead has run out. A lost lead or server ends no beat.

An entry of ``beat_schedule`` is noted before it is sent, under an id derived from its name and last run, and again
after. So each run is sent once; if a beat dies in between, the next sends it again under the same id. A job of ours is
then the same job; for a plain Celery task it is the same message twice at worst, never none.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Protocol
from uuid import UUID

from celery import Celery
from celery.beat import Scheduler

from dispatch_celery.clock import monotonic_ms
from dispatch_celery.cron.firing import Firing
from dispatch_celery.cron.lead_store import LeadStore
from dispatch_celery.cron.registrar import Registrar
from dispatch_celery.errors import ConfigurationError, DispatchError, LeadershipLost, StoreUnavailable
from dispatch_celery.ids import CronId, JobId
from dispatch_celery.store.client import RedisStore
from dispatch_celery.work.ports import Observer
from dispatch_celery.worker.task import JobTask

__all__ = ["BeatParts", "DispatchScheduler", "install_beat"]

logger = logging.getLogger(__name__)

_LOOK: Final = 1.0
_DECLARED_EVERY: Final = 60_000
_BEAT: Final = 2
"""How a beat ranks among those who ask for the lead; a worker's leader ranks 1."""


class BeatParts(Protocol):
    """What beat asks of the app's composition."""

    @property
    def observer(self) -> Observer:
        """Who is told of what is fired."""
        ...

    def make_store(self) -> RedisStore:
        """Return a way to the state server of beat's own."""
        ...

    def make_cron_store(self, store: RedisStore) -> LeadStore:
        """Return the scripts of cron over it."""
        ...

    def make_registrar(self, store: RedisStore) -> Registrar:
        """Return the way in for the entries that code declares."""
        ...

    def make_firing(self, store: RedisStore, observer: Observer, *, rank: int = 1) -> Firing:
        """Return the duty of whoever fires cron entries."""
        ...


def install_beat(app: Celery, find_parts: Callable[[], BeatParts]) -> None:
    """Let a beat of an app find what it needs."""
    app.dispatch_beat = find_parts


class _Carrier:
    """What one process of beat works with, made when it first ticks: in a worker's ``-B``, after the fork."""

    def __init__(self, parts: BeatParts) -> None:
        self.port = parts.make_store()
        self.store = parts.make_cron_store(self.port)
        self.registrar = parts.make_registrar(self.port)
        self.firing = parts.make_firing(self.port, parts.observer, rank=_BEAT)
        self._declared_at: int | None = None

    def look(self) -> float:
        """Declare what code declares, fire what is due; return the seconds until the next look."""
        now = monotonic_ms()
        if self._declared_at is None:
            self.registrar.declare()
            self._declared_at = now
        elif now - self._declared_at >= _DECLARED_EVERY:
            self.registrar.touch()
            self._declared_at = now
        return min(self.firing.run_once() / 1000, _LOOK)

    def close(self) -> None:
        """Let another beat lead at once."""
        try:
            self.firing.resign()
        except DispatchError as error:  # its lead ends by itself soon
            logger.debug("could not resign: %s", error)
        self.port.close()


class DispatchScheduler(Scheduler):  # type: ignore[misc]  # Celery ships no types
    """Beat's scheduler class, named ``dispatch`` on the command line and in ``beat_scheduler``."""

    max_interval = _LOOK

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._carrier: _Carrier | None = None
        self._term = ""
        self._claimed: dict[str, tuple[int, str]] = {}
        self._unsent: dict[str, Any] = {}
        self._failures = 0
        super().__init__(*args, **kwargs)
        self.max_interval = min(float(self.max_interval), _LOOK)

    def setup_schedule(self) -> None:
        """Take in ``beat_schedule``, and Celery's own clean-up where the result backend needs it."""
        self.merge_inplace(self.app.conf.beat_schedule)
        self.install_default_entries(self.data)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Look once; a server that does not answer, or a lost lead, only delays the next look."""
        try:
            pause = self._look(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever it is, beat goes on and answers remote control
            self._failures += 1
            if self._failures == 1:
                logger.warning("beat will try again: %s: %s", type(error).__name__, error)
            self._term = ""
            return _LOOK
        self._failures = 0
        return pause

    def _look(self, *args: Any, **kwargs: Any) -> float:
        carrier = self._carrier = self._carrier or _Carrier(self._parts())
        carrier.firing.eager = bool(self.schedule)
        pause = carrier.look()
        term = carrier.firing.term
        if not term:
            self._term = ""
            return pause
        if term != self._term:
            self._take_over(carrier, term)
        for name in list(self._unsent):
            self.apply_entry(self._unsent[name], producer=self.producer)
        return min(pause, float(super().tick(*args, **kwargs)))

    def _parts(self) -> BeatParts:
        find: Callable[[], BeatParts] | None = getattr(self.app, "dispatch_beat", None)
        if find is None:
            raise ConfigurationError(
                "this Celery app has no Dispatch: make one beside it with `dispatch = Dispatch(app)`, or run beat with"
                " another scheduler"
            )
        return find()

    def _take_over(self, carrier: _Carrier, term: str) -> None:
        """Go on where the leader before has ended: each entry at its last run, and what it had not sent yet."""
        self._claimed.clear()
        self._unsent.clear()
        sent = carrier.store.sent()
        for name, entry in self.schedule.items():
            if name not in sent:
                carrier.store.sending(name, None, _stamp(entry.last_run_at), "", term=term)
                continue
            last, work_id = sent[name]
            entry.last_run_at = self._moment(last)
            if work_id:
                self._claimed[name] = (last, work_id)
                self._unsent[name] = entry
        self._heap = None
        self._term = term

    def _moment(self, stamp: int) -> datetime:
        return datetime.fromtimestamp(stamp / 1000, self.app.timezone)

    def reserve(self, entry: Any) -> Any:
        """Note that an entry is about to be sent; where another beat has, it is not sent by this one."""
        carrier = self._carrier
        following = super().reserve(entry)
        if carrier is None:
            return following
        last, then = _stamp(entry.last_run_at), _stamp(following.last_run_at)
        work_id = self._id_of(entry, last)
        if carrier.store.sending(entry.name, last, then, work_id, term=self._term):
            self._claimed[entry.name] = (then, work_id)
            self._unsent[entry.name] = entry
        else:
            self._claimed.pop(entry.name, None)
            self._term = ""  # read again what others have sent
        return following

    def _id_of(self, entry: Any, last: int) -> str:
        identity = f"beat {entry.name}"
        if isinstance(self.app.tasks.get(entry.task), JobTask):
            return JobId.derive(CronId.adopt(identity), f"run {last}", time_ms=last)
        return str(UUID(bytes=sha256(f"{identity}\0{last}".encode()).digest()[:16], version=4))

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002 - Celery's signature
        """Send an entry under the id of its run; note that it was sent."""
        if advance:  # somebody sends it by hand: not one of its runs
            return super().apply_async(Scheduler.reserve(self, entry), producer=producer, advance=False, **kwargs)
        claimed, carrier = self._claimed.get(entry.name), self._carrier
        if claimed is None or carrier is None:
            return None
        last, work_id = claimed
        sent = copy.copy(entry)
        sent.options = {**entry.options, "headers": {**(entry.options.get("headers") or {})}}
        sent.options.setdefault("task_id", work_id)
        result = super().apply_async(sent, producer=producer, advance=False, **kwargs)
        self._unsent.pop(entry.name, None)
        self._claimed.pop(entry.name, None)
        try:
            carrier.store.was_sent(entry.name, last, work_id, term=self._term)
        except (LeadershipLost, StoreUnavailable) as error:  # the next leader sends it again, under the same id
            logger.warning("%s was sent, and could not be noted: %s", entry.name, error)
        return result

    def close(self) -> None:
        """Resign, so that another beat goes on at once. Celery calls it twice."""
        super().close()
        carrier, self._carrier = self._carrier, None
        if carrier is not None:
            carrier.close()

    @property
    def info(self) -> str:
        """What beat's banner says."""
        return "    . entries -> beat_schedule, and those of dispatch.crons"


def _stamp(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
