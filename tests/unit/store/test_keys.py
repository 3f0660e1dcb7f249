"""Every key is spelled once and carries the hash tag of its partition."""

from __future__ import annotations

import pytest

from dispatch_celery.store.keys import Keys

KEYS = Keys("shop", 7)
FIXED = (
    "lanes",
    "marks",
    "timers",
    "expiry",
    "dead",
    "unknown",
    "known",
    "catalogue",
    "workers",
    "condemned",
    "leader",
    "journal",
)


@pytest.mark.parametrize("name", FIXED)
def test_a_fixed_key_is_tag_and_name(name: str) -> None:
    """The part in braces decides the slot, so every key of a partition lives together."""
    assert getattr(KEYS, name) == f"{{shop:7}}:{name}"


@pytest.mark.parametrize(
    ("key", "spelled"),
    [
        (KEYS.record("job_1"), "job:job_1"),
        (KEYS.state("pending"), "state:pending"),
        (KEYS.name("pending", "mail.receipt"), "name:pending:mail.receipt"),
        (KEYS.scope("app/org"), "scope:app/org"),
        (KEYS.lane("q:3"), "lane:q:3"),
        (KEYS.raw("dlq_1"), "raw:dlq_1"),
        (KEYS.worker("wkr_1"), "worker:wkr_1"),
        (KEYS.held("wkr_1"), "held:wkr_1"),
    ],
)
def test_a_key_names_what_it_holds(key: str, spelled: str) -> None:
    """As the table in the module says."""
    assert key == "{shop:7}:" + spelled


def test_an_idempotency_key_is_a_digest() -> None:
    """Scope, name and key all count, and no text of a user becomes part of a key."""
    found = {
        KEYS.idempotency(*parts)
        for parts in [("a", "b", "c"), ("", "b", "c"), ("a", "", "c"), ("a", "b", ""), ("a\0b", "", "c")]
    }

    assert len(found) == 5
    assert KEYS.idempotency("a", "b", "c") == KEYS.idempotency("a", "b", "c")
    assert all(len(key) == len("{shop:7}:key:") + 40 for key in found)
    assert "secret" not in KEYS.idempotency("", "n", "secret")
