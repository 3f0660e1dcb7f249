"""The verdict on a whole fleet: every invariant over its state, its journal, and its effects."""

from __future__ import annotations

from tests.support.eventually import eventually
from tests.support.invariants import Dump, check_journal, check_quiet, check_state, dump
from tests.support.workers import Fleet


def check_history(shop: Fleet, *, max_crashes: int = 5, quiet: bool = True) -> Dump:
    """Fail with the first sentences of what is broken; return the state for a test's own questions."""
    dispatch = shop.shop.dispatch
    tag = dispatch._parts.keys.tag

    def rest() -> bool:
        return not check_quiet(dump(dispatch._parts.store, tag))

    if quiet:
        eventually(rest, within=30, every=0.1, what="everything has come to rest")
    found = dump(dispatch._parts.store, tag)
    problems = check_state(found, max_attempts=5, max_crashes=max_crashes) + check_journal(found)
    assert problems == []
    return found
