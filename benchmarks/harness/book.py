"""What was measured: samples by measure and contender, and how they compare round by round."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence

Place = tuple[str, str]
"""A contender's key and the pool it worked in; ``""`` where no pool is involved."""


class Book:
    """Every sample, with the round it was taken in: a round that failed for one contender shifts no other."""

    def __init__(self) -> None:
        self._samples: dict[str, dict[Place, list[tuple[int, float]]]] = defaultdict(lambda: defaultdict(list))
        self.notes: list[str] = []
        self.round = 0

    def add(self, measure: str, contender: str, value: float, *, pool: str = "") -> None:
        """Write one sample of the present round."""
        self._samples[measure][contender, pool].append((self.round, value))

    def samples(self, measure: str, contender: str, pool: str = "") -> list[float]:
        """Return the samples of one place."""
        return [value for _, value in self._samples[measure][contender, pool]]

    def places(self, measure: str) -> list[Place]:
        """Return who was measured."""
        return [place for place, samples in self._samples[measure].items() if samples]

    def knows(self, contender: str) -> bool:
        """Return whether anything was measured of somebody."""
        return any(
            key == contender and samples for places in self._samples.values() for (key, _), samples in places.items()
        )

    def median(self, measure: str, contender: str, pool: str = "") -> float | None:
        """Return the middle sample."""
        samples = self.samples(measure, contender, pool)
        return statistics.median(samples) if samples else None

    def ratios(self, measure: str, mine: Place, base: Place) -> list[float]:
        """Return, for each round both took part in, what the one measured as a multiple of the other."""
        others = dict(self._samples[measure][base])
        pairs = [(value, others.get(number)) for number, value in self._samples[measure][mine]]
        return [own / other for own, other in pairs if other]


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest sample that ``share`` of the samples do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]
