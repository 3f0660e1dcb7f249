"""Instruments that cost the work they measure next to nothing: what can be done at a collection is done there."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from opentelemetry.context import Context, get_current
from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation

__all__ = ["Tally", "Timings"]

_IN_A_ROW: Final = 64
"""Times that are held back, at most."""

_Timing = tuple[Histogram, float, Mapping[str, str], Context]


class Tally:
    """A counter that is observed: counting is one addition here, and the SDK is asked at each collection only."""

    def __init__(
        self,
        meter: Meter,
        name: str,
        unit: str,
        words: str,
        labels: tuple[str, ...],
        *others: Callable[[CallbackOptions], Iterable[Observation]],
    ) -> None:
        """Make the counter; ``others`` are asked at each collection, too."""
        self._labels = labels
        self._counts: dict[tuple[str, ...], int] = {}
        self._lock = threading.Lock()
        self._pid = os.getpid()
        meter.create_observable_counter(name, [self._observe, *others], unit, words)

    def add(self, *values: str) -> None:
        """Count one."""
        if self._pid != os.getpid():
            # What a parent has counted before the fork, the parent tells.
            self._counts, self._lock, self._pid = {}, threading.Lock(), os.getpid()
        with self._lock:
            self._counts[values] = self._counts.get(values, 0) + 1

    def _observe(self, _options: CallbackOptions) -> list[Observation]:
        if self._pid != os.getpid():
            return []
        with self._lock:
            counts = list(self._counts.items())
        return [Observation(count, dict(zip(self._labels, values, strict=True))) for values, count in counts]


class Timings:
    """Times on their way to histograms: held back, and recorded many in a row.

    A record of the SDK that comes between other work takes three times as long as one that follows another: 14 us, and
    5, by a profile of a drain and a loop. Each keeps the context it was taken in, for exemplars.
    """

    def __init__(self) -> None:
        self._held: list[_Timing] = []
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def add(self, histogram: Histogram, seconds: float, attributes: Mapping[str, str]) -> None:
        """Hold one back."""
        if self._pid != os.getpid():
            # What a parent has held back at the fork, the parent records.
            self._held, self._lock, self._pid = [], threading.Lock(), os.getpid()
        with self._lock:
            self._held.append((histogram, seconds, attributes, get_current()))
            enough = len(self._held) >= _IN_A_ROW
        if enough:
            self.flush()

    def flush(self, _options: CallbackOptions | None = None) -> Sequence[Observation]:
        """Record what was held back. Observes nothing: it is asked at a collection, so that nothing is told late."""
        if self._pid == os.getpid():
            with self._lock:
                held, self._held = self._held, []
            for histogram, seconds, attributes, context in held:
                histogram.record(seconds, attributes, context)
        return ()
