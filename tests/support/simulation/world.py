"""One run of the simulation: the parts, the course of events, the misfortunes and the verdict together."""

from __future__ import annotations

from tests.support.simulation.misfortunes import Misfortunes
from tests.support.simulation.verdict import Verdict

__all__ = ["World"]


class World(Misfortunes, Verdict):
    """One run of the simulation."""
