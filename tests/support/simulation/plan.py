"""What a simulated world is made of: its jobs, its misfortunes, and how it is wired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

START = 1_800_000_000_000
KINDS = ("die before", "die after", "lose reply", "zombie", "overlap", "cancel", "roll back")
RUN_KINDS = ("between", "fork", "rewind", "migrate")
"""What else may happen at a call in a world with runs."""
ASKED_KINDS = frozenset({"cancel", *RUN_KINDS})
"""What breaks no promise at any instant: nobody dies of it, and nothing is lost."""
MESSAGE_KINDS = ("drop message", "double message")


class ProcessDied(BaseException):
    """The simulated process is gone: nothing after this point runs in it."""


@dataclass(frozen=True)
class Fault:
    """One misfortune: at the ``at``-th call (or message); ``back`` is the call whose snapshot a roll back restores."""

    kind: str
    at: int
    back: int = 0
    whole_worker: bool = False


@dataclass
class Plan:
    """What a world is made of: jobs, faults, and how it is wired."""

    jobs: Sequence[str]
    faults: Sequence[Fault] = ()
    inline: bool = True
    seed: int = 0
