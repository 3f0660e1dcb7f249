"""Short ways to a run that rests or has ended, and back to an earlier point of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dispatch_celery.work.model import WorkRef
from dispatch_celery.work.scripts import Answer
from dispatch_celery.workflows.held import RunClaim
from tests.lua.run_world import ENDS, RunWorld

__all__ = ["RESTS", "at_rest", "rewind"]

RESTS = ("parked", *ENDS)
"""The states from which a run is taken back."""


def rewind(
    world: RunWorld, ref: WorkRef, dropped: Sequence[str] = (), *, consumed: Sequence[str] = (), **changed: Any
) -> Answer:
    """Take a run back as a caller does that has just read it."""
    record = world.shown(ref)
    asked: dict[str, Any] = {
        "expected": record["state"],
        "op": "once",
        "revision": int(record.get("revision", 0)),
        "generation": int(record.get("generation", 0)),
        "discard": False,
        **changed,
    }
    expected = asked.pop("expected")
    return world.runs.rewind(ref, expected, dropped=dropped, consumed=consumed, **asked)


def at_rest(world: RunWorld, state: str, *, undos: Sequence[str] = (), **options: Any) -> RunClaim:
    """Return the last claim of a run in one of those states, which has recorded two steps."""
    claim = world.taken(nonce="a", **options)
    world.note(claim, "a#1", b'"kept"')
    world.intend(claim, *undos)
    world.note(claim, "b#1", b'"dropped"')
    assert (world.park(claim) if state == "parked" else world.finish(claim, state)).verdict == "DONE"
    return claim
