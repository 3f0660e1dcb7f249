"""Lends an app other parts for a while: a namespace of its own on another server, no broker, another clock.

The parts of an app are built at first use and kept (``Parts``). Those that are there are set aside, the ones that say
where the state is are put in their place, and the rest is built out of these when it is asked for. Afterwards
everything is as it was, also after an error.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Final

from dispatch_celery.app import Dispatch
from dispatch_celery.config import Settings
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.parts import Parts
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import ask
from dispatch_celery.store.scripts import Call
from dispatch_celery.testing.virtual import VirtualClock
from dispatch_celery.work.model import WakeUp

__all__ = ["Trip", "WatchedStore", "bound"]

_NO_END: Final = 100 * 365 * 86_400_000
"""The lease of the one worker there is, in ms: it must outlive every jump of the clock."""

Trip = Callable[[Sequence[Call], Callable[[], list[Any]]], list[Any]]
"""Makes one round trip by calling the second argument, or does not."""


class WatchedStore(RedisStore):
    """The way to the state server, with somebody who sees every trip and may end the process before or after it."""

    watch: Trip | None = None

    def execute(self, calls: Sequence[Call]) -> list[Any]:
        """Send calls in one round trip; return one reply or ``DispatchError`` each, in order."""
        if self.watch is None:
            return super().execute(calls)
        return self.watch(calls, lambda: RedisStore.execute(self, calls))


class _Unpublished:
    """The publisher of a world without messages: who executes here looks at the state."""

    def riders(self, wakeups: Sequence[WakeUp]) -> list[Call]:  # noqa: ARG002 - the port's signature
        return []

    def publish(self, wakeups: Sequence[WakeUp]) -> None:
        pass

    def announce(self, wakeups: Sequence[WakeUp]) -> None:
        pass

    def waiting(self, queue: str) -> int | None:  # noqa: ARG002 - the port's signature
        return None

    def close(self) -> None:
        pass


@contextmanager
def bound(dispatch: Dispatch, url: str, clock: VirtualClock) -> Iterator[Parts]:
    """Let an app work in a new namespace of a server for a block; yield its parts. The namespace is deleted."""
    if not isinstance(dispatch, Dispatch):
        raise ConfigurationError(f"the testing kit needs your Dispatch object, not {dispatch!r}")
    parts = dispatch._parts  # noqa: SLF001 - the kit is another composition root of the same parts
    settings = parts.settings.model_copy(
        update={"namespace": f"test-{secrets.token_hex(6)}", "redis_url": url, "lease": _NO_END}
    )
    kept = _set_aside(parts)
    store = WatchedStore(settings, url)
    vars(parts).update(settings=settings, store=store, publisher=_Unpublished())
    try:
        with clock.ruling(parts.time), _not_eager(parts):
            yield parts
    finally:
        try:
            _delete(store, settings)
        finally:
            parts.close()
            _set_aside(parts)
            vars(parts).update(kept)


def _set_aside(parts: Parts) -> dict[str, Any]:
    """Take out every part that has been built."""
    names = [name for name in vars(parts) if isinstance(getattr(type(parts), name, None), cached_property)]
    return {name: vars(parts).pop(name) for name in names}


@contextmanager
def _not_eager(parts: Parts) -> Iterator[None]:
    """Have jobs stored although the app's tests are set up to run them where they are enqueued."""
    conf = parts.app.conf
    eager = conf.task_always_eager
    conf.task_always_eager = False
    try:
        yield
    finally:
        conf.task_always_eager = eager


def _delete(store: RedisStore, settings: Settings) -> None:
    pattern, cursor = f"{Keys(settings.namespace).tag}*", b"0"
    while True:
        cursor, found = ask(store, Call.command("SCAN", cursor, "MATCH", pattern, "COUNT", 1_000))
        if found:
            ask(store, Call.command("UNLINK", *found))
        if cursor == b"0":
            return
