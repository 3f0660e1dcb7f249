"""What by-name callers learn of jobs that are declared elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from dispatch_celery.errors import StoreUnavailable
from dispatch_celery.jobs.catalogue import Catalogue, CatalogueEntry
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.scripts import Call


class Server:
    """A port that answers what it is told, and counts."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.trips = 0

    def execute(self, calls: Sequence[Call]) -> list[Any]:
        """Answer every call alike."""
        self.trips += 1
        return [self.answer for _ in calls]


@pytest.mark.parametrize(
    "entry",
    [CatalogueEntry(), CatalogueEntry(queue="mail", priority=9, max_attempts=5, timeout=30_000)],
)
def test_an_entry_travels(entry: CatalogueEntry) -> None:
    """What a worker publishes is what a caller reads."""
    assert CatalogueEntry.parse(entry.dump()) == entry


def test_another_release_is_understood() -> None:
    """Fields it added are passed over; fields it left out have their defaults."""
    assert CatalogueEntry.parse('{"queue": "q", "colour": "red"}') == CatalogueEntry(queue="q")


def test_an_answer_is_remembered_for_a_while() -> None:
    """One trip a name and half a minute, whether the job is known or not."""
    for answer, expected in ((b'{"queue": "q"}', CatalogueEntry(queue="q")), (None, None)):
        now = [100.0]
        server = Server(answer)
        catalogue = Catalogue(server, Keys("n"), clock=lambda now=now: now[0])

        assert [catalogue.get("a.b"), catalogue.get("a.b")] == [expected, expected]
        assert server.trips == 1
        now[0] += 31
        catalogue.get("a.b")
        assert server.trips == 2


def test_what_is_remembered_is_bounded() -> None:
    """A caller with endless names keeps no endless memory."""
    catalogue = Catalogue(Server(None), Keys("n"))

    for n in range(2_500):
        catalogue.get(f"job.{n}")

    assert len(catalogue._known) <= 1_000


def test_a_server_that_is_away_is_told() -> None:
    """The error is the store's; nothing is guessed."""
    with pytest.raises(StoreUnavailable):
        Catalogue(Server(StoreUnavailable("away")), Keys("n")).get("a.b")
