"""Tells extensions, signals and the log of every transition; none of them can hurt it."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar, copy_context
from datetime import datetime
from difflib import get_close_matches
from functools import partial
from typing import Any, Final

from dispatch_celery.errors import ConfigurationError
from dispatch_celery.extensions.base import Extension
from dispatch_celery.extensions.lane import Lane
from dispatch_celery.extensions.moments import HOOKS, MOMENTS, RUN_MOMENTS, Moment
from dispatch_celery.work.model import WorkRef
from dispatch_celery.work.ports import Observer

__all__ = ["ExtensionRegistry"]

logger = logging.getLogger("dispatch_celery.lifecycle")

_STOPS: Final = 5.0
"""Seconds that what is still to be told is given when a worker stops."""
_LONGEST: Final = 60_000
"""Milliseconds after which an ``async`` hook is cancelled."""

_in_a_hook: Final[ContextVar[bool]] = ContextVar("dispatch_in_a_hook", default=False)

Awaiting = Callable[[Callable[[], Any], Callable[[], bool], int | None], Any]
"""Runs a coroutine on the process's event loop: what starts it, whether it is to stop, and its time in ms."""


class _Hook:
    """One hook of one extension, ready to be called."""

    def __init__(self, extension: Extension, method: Callable[..., Any], name: str, lane: Lane) -> None:
        self.extension = extension
        self.method = method
        self.name = f"{type(extension).__name__}.{name}"
        self.is_async = inspect.iscoroutinefunction(method)
        self.is_inline = extension.patience is None and not extension.background and not self.is_async
        self.lane = lane

    @property
    def patience(self) -> float:
        """Seconds to wait for it."""
        if self.extension.background or _in_a_hook.get() or (self.is_async and _on_a_loop()):
            # What a hook does may be told to hooks: they must not wait for each other, nor for the loop they stand on.
            return 0.0
        return Extension.patience or 0.0 if self.extension.patience is None else self.extension.patience


class ExtensionRegistry:
    """The extensions of one app, in the order they were added. Is the ``Observer`` of every floor below."""

    def __init__(
        self,
        *,
        awaiting: Awaiting = lambda start, _is_cancelled, _timeout: asyncio.run(start()),
        is_shutdown: Callable[[BaseException], bool] = lambda _: False,
    ) -> None:
        self._awaiting = awaiting
        self._is_shutdown = is_shutdown
        self._hooks: dict[str, tuple[_Hook, ...]] = {}
        self._lanes: list[Lane] = []
        self._aside = Lane("housekeeping")

    def add(self, extension: Extension) -> None:
        """Add one; only the hooks that it overrides are ever called.

        Raises:
            ConfigurationError: it is no extension, has a method ``on_...`` that is no hook (nobody would call it), or a
                hook that cannot be called with what hooks are given.
        """
        if not isinstance(extension, Extension):
            raise ConfigurationError(f"an extension is an instance of a subclass of Extension, not {extension!r}")
        _refuse_unknown_hooks(extension)
        lane = Lane(type(extension).__name__)
        self._lanes.append(lane)
        for name in HOOKS:
            method = getattr(extension, name)
            if getattr(method, "__func__", method) is not getattr(Extension, name):
                _refuse_other_parameters(type(extension).__name__, name, method)
                self._hooks[name] = (*self._hooks.get(name, ()), _Hook(extension, method, name, lane))

    def __call__(self, moment: str, ref: WorkRef | None, /, **facts: Any) -> None:
        """Log a transition, send its signal, call its hooks."""
        self._log(moment, ref, facts)
        if moment == "shutdown":
            self._aside.flush(_STOPS)
        told = (RUN_MOMENTS if ref is not None and ref.kind else MOMENTS).get(moment)
        if told is not None and (told.signal.receivers or told.hook in self._hooks):
            self._tell(told, ref, facts)
        if moment == "shutdown":
            self.flush(_STOPS)

    def aside(self) -> Observer:
        """Return this observer for threads that must not be held up: it logs at once, and tells in another thread."""
        return self._put_aside

    def _put_aside(self, moment: str, ref: WorkRef | None, /, **facts: Any) -> None:
        self._log(moment, ref, facts)
        told = (RUN_MOMENTS if ref is not None and ref.kind else MOMENTS).get(moment)
        if told is not None and (told.signal.receivers or told.hook in self._hooks):
            self._aside.hand(partial(self._tell, told, ref, facts))

    def _tell(self, told: Moment, ref: WorkRef | None, facts: Mapping[str, Any]) -> None:
        subject = {told.subject: ref} if told.subject else {}
        if told.signal.receivers:
            carried = {name: facts[name] for name in told.facts if name in facts}
            sender = ref.name if ref is not None else next(iter(carried.values()), "")
            told.signal.send(sender=sender, **subject, **carried)
        hooks = self._hooks.get(told.hook, ())
        if hooks:
            given: dict[str, Any] = {**subject, **{name: facts[name] for name in told.given if name in facts}}
            for hook in hooks:
                self._call(hook, given)

    def _call(self, hook: _Hook, given: dict[str, Any]) -> None:
        if hook.is_inline:
            self._made(hook, given)
            return
        call = partial(copy_context().run, self._made_in_lane, hook, given)
        patience = hook.patience
        if not hook.lane.hand(call, patience=patience) and patience:
            logger.warning("the hook %s is not done after %g s: nobody waits for it any longer", hook.name, patience)

    def _made_in_lane(self, hook: _Hook, given: dict[str, Any]) -> None:
        _in_a_hook.set(True)
        self._made(hook, given)

    def _made(self, hook: _Hook, given: dict[str, Any]) -> None:
        """Call a hook; tell of it in the log where it raises or takes long."""
        began = time.perf_counter()
        try:
            if hook.is_async:
                self._awaiting(partial(hook.method, **given), bool, _LONGEST)
            else:
                hook.method(**given)
        except (Exception, asyncio.CancelledError):
            logger.exception("the hook %s failed", hook.name)
        except SystemExit as error:
            if self._is_shutdown(error):
                raise
            logger.exception("the hook %s wanted to end the process", hook.name)
        elapsed = time.perf_counter() - began
        if elapsed > hook.extension.slow_after:
            logger.warning("the hook %s took %.3f s (pid %d): hand over what is slow", hook.name, elapsed, os.getpid())

    def flush(self, within: float) -> bool:
        """Wait until every hook that was handed over has ended, for so many seconds; return whether they have."""
        limit = time.monotonic() + within
        lanes = [self._aside, *self._lanes]
        ended = [lane.flush(max(0.0, limit - time.monotonic())) for lane in lanes]  # each of them, also after a failure
        return all(ended)

    def close(self, within: float = _STOPS) -> None:
        """End the threads of this process, when what they still have to tell is told; the next notice starts them."""
        limit = time.monotonic() + within
        for lane in (self._aside, *self._lanes):
            lane.close(max(0.0, limit - time.monotonic()))

    @staticmethod
    def _log(moment: str, ref: WorkRef | None, facts: dict[str, Any]) -> None:
        level = logging.WARNING if moment in ("failed", "fenced", "recovered", "worker_lost") else logging.INFO
        if not logger.isEnabledFor(level):
            return
        kind = "" if ref is None else ref.id[:3]
        fields: dict[str, Any] = {"event": f"dispatch.{kind}.{moment}" if kind else f"dispatch.{moment}"}
        if ref is not None:
            fields |= {f"{kind}_id": ref.id, f"{kind}_name": ref.name, "queue": ref.queue, "scope": ref.scope}
        fields |= {
            name: facts[name]
            for name in ("attempt", "elapsed", "holder", "worker", "leader", "cron", "name", "slot", "limit")
            if facts.get(name) is not None
        }
        if isinstance(fields.get("slot"), datetime):
            fields["slot"] = fields["slot"].isoformat()
        shown = " ".join(f"{name}={value}" for name, value in fields.items() if value != "")
        logger.log(level, "%s", shown, extra={"dispatch": fields})


def _refuse_unknown_hooks(extension: Extension) -> None:
    kind = type(extension)
    for name in dir(kind):
        if not name.startswith("on_") or name in HOOKS or not callable(inspect.getattr_static(kind, name)):
            continue
        near = get_close_matches(name, HOOKS, n=1)
        hint = f"did you mean {near[0]}?" if near else "call it something that does not begin with on_"
        raise ConfigurationError(f"{kind.__name__}.{name} is no hook, so nothing would ever call it: {hint}")


def _refuse_other_parameters(kind: str, name: str, method: Callable[..., Any]) -> None:
    try:
        inspect.signature(method).bind(**dict.fromkeys(HOOKS[name]))
    except TypeError as error:
        written = ", ".join(("self", *HOOKS[name]))
        raise ConfigurationError(
            f"{kind}.{name} cannot be called ({error}): a hook is given its arguments by name: write"
            f" def {name}({written})"
        ) from None


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
