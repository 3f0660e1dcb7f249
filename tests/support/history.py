"""The verdict on a whole fleet: every invariant over its state, its journal, and its effects."""

from __future__ import annotations

from tests.support.eventually import eventually
from tests.support.invariants import Dump, check_journal, check_quiet, check_state, dump
from tests.support.join_invariants import check_joins
from tests.support.limit_invariants import check_limits
from tests.support.run_invariants import check_run_history, check_runs, check_runs_quiet
from tests.support.workers import Fleet


def check_history(
    shop: Fleet, *, max_crashes: int = 5, quiet: bool = True, one_history: bool = True, within: float = 30
) -> Dump:
    """Fail with the first sentences of what is broken; return the state for a test's own questions.

    ``one_history``: whether the server has lost nothing, so that its journal tells all that has happened.
    """
    dispatch = shop.shop.dispatch
    tag = dispatch._parts.keys.tag

    def rest() -> bool:
        found = dump(dispatch._parts.store, tag)
        left = check_quiet(found) + check_runs_quiet(found)
        assert not left, "\n".join(left[:20])
        return True

    if quiet:
        eventually(rest, within=within, every=0.1, what="everything has come to rest")
    found = dump(dispatch._parts.store, tag)
    problems = check_state(found, max_attempts=5, max_crashes=max_crashes) + check_runs(found) + check_joins(found)
    problems += check_limits(found)
    if one_history:
        problems += check_journal(found) + check_run_history(found)
    assert not problems, "\n".join(problems)
    return found
