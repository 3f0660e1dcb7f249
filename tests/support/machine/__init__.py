"""A state machine over the typed stores and the model: the same verb on both, then every fact compared.

The rules choose among few jobs, so that they meet each other, and prefer what does something: a ready job to claim, a
running one to end. Every other draw is careless or late, as callers and zombies are. What a rule needs and does not
find, it makes.
"""

from __future__ import annotations

from tests.support.machine.callers import CallerRules
from tests.support.machine.leader import LeaderRules
from tests.support.machine.workers import WorkerRules

__all__ = ["JobMachine"]


class JobMachine(CallerRules, WorkerRules, LeaderRules):
    """All rules together."""
