"""Doing something at a moment, to the millisecond, and finding the moment at which two things collide."""

from __future__ import annotations

import random
import time


def at(moment: float) -> None:
    """Return at a wall-clock time, at once if it has passed."""
    while (left := moment - time.time()) > 0:
        time.sleep(max(left - 0.0005, 0.0))


class Collision:
    """The delay at which the later of two racing things becomes the earlier one, found by going to and fro.

    Each trial tells who won; the next delay moves against him, and is spread at random over a few milliseconds.
    """

    def __init__(self, seed: int, *, first: float, step: float = 0.0005, spread: float = 0.0025) -> None:
        self.delay = first
        self._step = step
        self._spread = spread
        self._chance = random.Random(seed)

    def next(self) -> float:
        """Return the delay of the next trial, in seconds; less than none is before the moment."""
        return self.delay + self._chance.uniform(-self._spread, self._spread)

    def was_early(self, early: bool) -> None:  # noqa: FBT001 - the only thing there is to say
        """Take in whether what was delayed came before the other."""
        self.delay += self._step if early else -self._step
