"""Actors that take turns: each runs real code up to its next call of the server, and a seed says whose call is next.

So any order of calls can happen that could happen between processes, and the same seed makes the same one again.
Between two calls an actor is alone: what processes do in memory does not concern the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any, Final

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]  # it has no stubs

from dispatch_celery.store.client import Store
from dispatch_celery.store.scripts import Call, Word

__all__ = ["Turns"]

_LATEST: Final = 20
"""The turn by which everybody has begun."""


class Turns:
    """A port whose callers take turns while a play is on; to everybody else it is the port behind it."""

    def __init__(self, inner: Store, after_each: Callable[[Call], None], now: Callable[[], Word]) -> None:
        self._inner = inner
        self._now = now
        self._after_each = after_each
        self._names: dict[greenlet, str] = {}
        self.trace: list[str] = []

    def execute(self, calls: Sequence[Call]) -> list[Any]:
        """Send each call when it is one's turn: those of one trip are no unit, others may come in between."""
        if getcurrent() not in self._names:
            return self._inner.execute(calls)
        replies: list[Any] = []
        for call in calls:
            self.pause(call.label)
            replies += self._inner.execute([self._as_of_now(call)])
            self._after_each(call)
        return replies

    def _as_of_now(self, call: Call) -> Call:
        """Return a call with the time at which it is sent: the server's clock does not wait for who thinks."""
        if call.script is None or "now" not in call.script.arguments:
            return call
        at = call.key_count + call.script.arguments.index("now")
        return replace(call, words=(*call.words[:at], self._now(), *call.words[at + 1 :]))

    def pause(self, what: str) -> None:
        """Wait for one's turn to do something that is no call."""
        me = getcurrent()
        assert me.parent is not None
        me.parent.switch()
        self.trace.append(f"{self._names[me]}: {what}")

    def play(self, actors: Mapping[str, Callable[[], object]], chance: Random, *, mortal: Mapping[str, float]) -> None:
        """Let all of them act until each is done, or has died: ``mortal`` says how likely that is at each turn.

        Some begin later and are faster than others, differently in each play: else nobody would overtake anybody.
        """
        self.trace = []
        living = {name: greenlet(act) for name, act in sorted(actors.items())}
        self._names = {actor: name for name, actor in living.items()}
        speed = {name: 10 ** chance.uniform(-2, 0) for name in living}
        begins = {name: chance.randrange(_LATEST) for name in living}
        turn = 0
        while living:
            here = [name for name in living if begins[name] <= turn] or [min(living, key=lambda name: begins[name])]
            (name,) = chance.choices(here, [speed[one] for one in here])
            if chance.random() < mortal.get(name, 0):
                self.trace.append(f"{name} dies")
                living[name].throw()
            else:
                living[name].switch()
            if living[name].dead:
                del living[name]
            turn += 1
        self._names = {}
