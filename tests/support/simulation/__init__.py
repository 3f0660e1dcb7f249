"""The real engine and the real Lua in one thread, under a clock that only the simulation moves.

A world has producers, workers, a leader and a broker. Every call any of them makes to the state server is
counted, and a ``Fault`` strikes at the n-th: the caller dies before or after it, its reply is lost, the caller
sleeps past its lease and comes back as a zombie, somebody cancels, the server falls back to a snapshot; the others
act in between, somebody forks or takes back every run, a second version is deployed. The broker may lose or double
the n-th message. Then the world runs on until everything has come to rest.
"""

from __future__ import annotations

from tests.support.simulation.plan import KINDS, MESSAGE_KINDS, RUN_KINDS, Fault, Plan
from tests.support.simulation.world import World

__all__ = ["KINDS", "MESSAGE_KINDS", "RUN_KINDS", "Fault", "Plan", "World"]
