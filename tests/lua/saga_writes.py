"""The two writes by which a holder notes what is to be undone, and how that went."""

from __future__ import annotations

from typing import Any

from dispatch_celery.workflows.held import RunClaim
from tests.lua.run_world import RunWorld, rest

__all__ = ["WRITES", "write", "writer"]

WRITES = ("intend", "undone", "retrying", "stuck")
"""Intents, and the ways an undo can go."""


def write(world: RunWorld, verb: str, claim: RunClaim) -> str:
    """Send one of the holder's two writes about ``a#1``."""
    if verb == "intend":
        return world.runs.intend(claim, "a#1", rest("undo"), promise=rest("undo"))[0]
    return world.runs.undo(claim, "a#1", verb, rest("undo"))[0]


def writer(world: RunWorld, verb: str, **options: Any) -> RunClaim:
    """Return a claim under which that write is right."""
    claim = world.taken(**options)
    if verb != "intend":
        world.intend(claim, "a#1")
    return claim
