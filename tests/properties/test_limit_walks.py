"""Limits over random histories: never exceeded, nothing leaked, nobody forgotten, wherever the leader dies."""

from __future__ import annotations

import pytest

from dispatch_celery.store.client import RedisStore
from tests.support.limit_walk import Walk


def _walk(store: RedisStore, namespace: str, seeds: range) -> None:
    for seed in seeds:
        walk = Walk(store, f"{namespace}-{seed}", seed)
        problems = walk.play()
        assert not problems, f"seed {seed} after {len(walk.log)} steps ({' '.join(walk.log[-8:])}): {problems[:3]}"


@pytest.mark.parametrize("part", range(4))
def test_no_limit_is_exceeded_and_no_job_is_forgotten(store: RedisStore, namespace: str, part: int) -> None:
    """After every step of a walk the limits agree with the records, and at its end every job has ended."""
    _walk(store, namespace, range(part * 3, part * 3 + 3))


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(4))
def test_no_limit_is_exceeded_in_many_walks(store: RedisStore, namespace: str, part: int) -> None:
    """The same on 200 more walks."""
    _walk(store, namespace, range(1_000 + part * 50, 1_050 + part * 50))
