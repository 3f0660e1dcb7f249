"""What middlewares of all processes share: one typed method per script of ``lua/middleware``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from dispatch_celery.clock import Duration
from dispatch_celery.codec import Codec
from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import ask, text
from dispatch_celery.store.scripts import Call, Word
from dispatch_celery.store.servertime import ServerTime

__all__ = ["BreakerLimits", "MiddlewareStore", "Pausing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerLimits:
    """When a circuit breaker opens, and for how long. Times in ms."""

    failures: int
    window: int
    cooldown: int
    probes: int
    hold: int

    @property
    def keep(self) -> int:
        """For how long a breaker that is open is remembered: well beyond the time when somebody must try it."""
        return 10 * self.cooldown + self.window + self.hold


class Pausing(Protocol):
    """Pauses a queue or the jobs of one name for a time, as ``dispatch.queues.pause`` does."""

    def __call__(
        self, queue: str | None = None, *, job: str | None = None, until: Duration | None = None, reason: str = ""
    ) -> object:
        """Pause it for so many seconds, and say why."""
        ...


class MiddlewareStore:
    """The scripts of one partition, typed; and the codecs of results."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        time: ServerTime,
        result_codec: Callable[[str], Codec | None],
        pause: Pausing,
    ) -> None:
        self._store = store
        self._keys = keys
        self._time = time
        self.result_codec = result_codec
        self.pause = pause

    def admit(self, breaker: str, owner: str, limits: BreakerLimits) -> tuple[str, int]:
        """Ask a breaker: ``CLOSED`` or ``PROBE``, and the server's time; or ``OPEN`` and for how many ms."""
        key = self._keys.breaker(breaker)
        arguments = {"now": self._time.word, "owner": owner, "max_probes": limits.probes, "hold": limits.hold}
        reply = ask(self._store, Call.of("middleware/admit", {"breaker": key, "probes": f"{key}:probes"}, arguments))
        return text(reply[0]), int(reply[1]) if len(reply) > 1 else 0

    def report(
        self, breaker: str, owner: str, limits: BreakerLimits, *, ok: bool | None, began: int | None = None
    ) -> tuple[str, int]:
        """Tell a breaker: ``CLOSED``, ``OPENED`` by this, or ``OPEN``, and for how many ms; ``NOTHING`` new.

        ``ok``: None for an end that says nothing; ``began``: the time that ``admit`` has told.
        """
        key = self._keys.breaker(breaker)
        keys = {"breaker": key, "probes": f"{key}:probes", "failures": f"{key}:failures"}
        arguments: dict[str, Word] = {
            "now": self._time.word,
            "owner": owner,
            "began": "" if began is None else began,
            "ok": "" if ok is None else int(ok),
            "threshold": limits.failures,
            "window": limits.window,
            "cooldown": limits.cooldown,
            "keep": limits.keep,
        }
        reply = ask(self._store, Call.of("middleware/report", keys, arguments))
        return text(reply[0]), int(reply[1]) if len(reply) > 1 else 0

    def begin(self, name: str, key: str, owner: str, *, attempt: int, hold: int) -> tuple[str, str, bytes]:
        """Begin what is done once: ``BEGUN``; ``DONE``, who has, and the result; ``BUSY``, who is, and for how long."""
        call = Call.of(
            "middleware/begin",
            {"once": self._keys.once(name, key)},
            {"now": self._time.word, "owner": owner, "attempt": attempt, "hold": hold},
        )
        reply = ask(self._store, call)
        return text(reply[0]), text(reply[1]) if len(reply) > 1 else "", reply[2] if len(reply) > 2 else b""

    def finish(self, name: str, key: str, owner: str, *, attempt: int, result: bytes | None, window: int) -> str:
        """End it: with a result, which is kept for ``window`` ms, or with none."""
        arguments: dict[str, Word] = {
            "owner": owner,
            "attempt": attempt,
            "done": int(result is not None),
            "window": window,
            "result": result or b"",
        }
        return text(ask(self._store, Call.of("middleware/finish", {"once": self._keys.once(name, key)}, arguments))[0])
