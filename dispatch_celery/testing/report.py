"""What ``crash_everywhere`` found: one line per crash, and the assertions a test makes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Crash", "CrashReport"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """One world: the process was ended at one place, and everything ran on until it had come to rest."""

    number: int
    """Which write of the process it was, from 1; 0 for the world without a crash."""
    call: str
    """What that call writes: a script, and the durable call it records."""
    when: str
    """``before`` or ``after``; empty for the world without a crash."""
    reached: bool = True
    """Whether the process came to that call at all; it always does if the code does the same each time."""
    state: str
    result: Any = None
    failure: str = ""
    executions: Mapping[str, int] = field(default_factory=dict)
    """How often each step and job was called."""
    effects: Mapping[str, int] = field(default_factory=dict)
    """How often each ``kit.effect(name)`` was called."""

    @property
    def outcome(self) -> str:
        """The state, and the result or failure, as text."""
        return f"{self.state}: {self.failure}" if self.failure else f"{self.state} {self.result!r}"


@dataclass(frozen=True, slots=True)
class CrashReport:
    """Every crash of one workflow or job. ``print`` it for the table; each assertion shows it when it fails."""

    name: str
    undisturbed: Crash
    """The world without a crash: what the others are compared with."""
    crashes: Sequence[Crash]

    def __str__(self) -> str:
        head = ("#", "write", "crash", "outcome", "executions and effects")
        rows = [head, *(self._row(crash) for crash in (self.undisturbed, *self.crashes))]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head) - 1)]
        lines = [
            "  ".join([*(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)), row[-1]])
            for row in rows
        ]
        title = f"{self.name}: {len(self.crashes)} crashes at {len({one.number for one in self.crashes})} writes"
        return "\n".join([title, *(line.rstrip() for line in lines)])

    def _row(self, crash: Crash) -> tuple[str, str, str, str, str]:
        if not crash.number:
            outcome = crash.outcome
        elif not crash.reached:
            outcome = "never came here"
        else:
            outcome = "the same" if self._same(crash) else crash.outcome
        counts = [*_told(crash.executions), *_told(crash.effects)]
        return str(crash.number or "-"), crash.call, crash.when or "none", outcome[:80], ", ".join(counts)

    def _same(self, crash: Crash) -> bool:
        return (crash.state, crash.result, crash.failure) == (
            self.undisturbed.state,
            self.undisturbed.result,
            self.undisturbed.failure,
        )

    # -- assertions

    def assert_all_completed(self) -> None:
        """Every world completed, the one without a crash too, and each crash took place."""
        self._refuse("did not complete", (one for one in self._all() if not one.reached or one.state != "completed"))

    def assert_same_outcome(self) -> None:
        """Every world ended in the state, and with the result or error, of the one without a crash."""
        self._refuse("ended otherwise", (one for one in self.crashes if not one.reached or not self._same(one)))

    def assert_effects_exactly(self, times: int, *names: str) -> None:
        """Each effect, or each of these, happened so many times in every world. Effects: ``kit.effect(name)``."""
        self._count("effects", names, lambda count: count == times, f"not exactly {times} times")

    def assert_effects_at_most(self, times: int, *names: str) -> None:
        """No effect, or none of these, happened more often in any world."""
        self._count("effects", names, lambda count: count <= times, f"more than {times} times")

    def assert_executions_at_most(self, times: int, *names: str) -> None:
        """No step or job, or none of these, was called more often in any world."""
        self._count("executions", names, lambda count: count <= times, f"more than {times} times")

    def _all(self) -> list[Crash]:
        return [self.undisturbed, *self.crashes]

    def _count(self, what: str, names: Sequence[str], fits: Any, otherwise: str) -> None:
        seen: Counter[str] = Counter()
        for crash in self._all():
            seen.update(getattr(crash, what))
        unknown = sorted(set(names) - set(seen))
        if unknown or not seen:
            raise ValueError(
                f"{self.name} has no {what} {', '.join(unknown) or 'at all'}; seen: {', '.join(sorted(seen)) or 'none'}"
            )
        for name in names or sorted(seen):
            wrong = (crash for crash in self._all() if not fits(getattr(crash, what).get(name, 0)))
            self._refuse(f"had {name} {otherwise}", wrong)

    def _refuse(self, what: str, found: Iterable[Crash]) -> None:
        wrong = list(found)
        if wrong:
            places = ", ".join(
                f"{one.when} {one.number} ({one.call})" if one.number else "without a crash" for one in wrong
            )
            raise AssertionError(f"{len(wrong)} of {len(self._all())} worlds {what}: {places}\n{self}")


def _told(counts: Mapping[str, int]) -> list[str]:
    return [f"{name} {count}" for name, count in counts.items()]
