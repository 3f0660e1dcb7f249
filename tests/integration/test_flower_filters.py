"""Filters that mean nothing are refused in words, not by a server that fails."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dispatch_celery.errors import ConfigurationError
from dispatch_celery.flower.bulk import BULK
from dispatch_celery.flower.desk import Desk, desk_of
from dispatch_celery.flower.documents import DOCUMENTS
from dispatch_celery.flower.pages.model import Query
from dispatch_celery.flower.verbs import Asked
from dispatch_celery.store.client import RedisStore
from tests.support.graveyard import Graveyard


@pytest.fixture
def desk(store: RedisStore, namespace: str, server_url: str) -> Iterator[Desk]:
    """Return what Flower reads from, of an app with no worker."""
    yard = Graveyard(server_url, store, namespace)
    yield desk_of(yard.app)
    yard.close()


@pytest.mark.parametrize("kind", ["jobs", "runs", "crons"])
def test_a_state_that_there_is_not_is_named(desk: Desk, kind: str) -> None:
    """With those that there are."""
    with pytest.raises(ConfigurationError, match=r"state must be one of .*, not 'nope'"):
        DOCUMENTS[kind][1](desk, Query({"state": "nope"}))


@pytest.mark.parametrize("verb", ["replay", "purge"])
def test_a_filter_that_is_no_text_is_refused(desk: Desk, verb: str) -> None:
    """JSON can spell half a character; nothing that is stored has one."""
    asked = {"filters": {"name": "\ud800"}, "before": desk.now().isoformat()}
    with pytest.raises(ConfigurationError, match="half a character"):
        BULK[verb](desk, Asked(asked))
