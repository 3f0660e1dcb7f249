"""Bugs planted in the scripts of limits and cron: each is noticed by the quick check that is named beside it."""

from __future__ import annotations

import pytest

from dispatch_celery.store.client import RedisStore
from tests.support.mutants import MutantStore
from tests.support.planted import Planted, broken_promise, planted


@pytest.mark.parametrize("bug", planted(), ids=lambda bug: bug.bug)
def test_a_bug_planted_in_limits_and_cron_is_noticed(bug: Planted, store: RedisStore, namespace: str) -> None:
    """Its check fails with the bug, and passes without; a bug whose line has gone is an error."""
    mutant = bug.mutant()

    assert broken_promise(store, f"{namespace}-0", bug) == ""
    assert broken_promise(MutantStore(store, mutant), f"{namespace}-1", bug)
