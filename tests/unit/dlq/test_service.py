"""Filters of dead letters: what they keep, and what they refuse before anything is read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dispatch_celery.dlq.filters import DeadLetterFilter
from dispatch_celery.dlq.model import DeadLetter, DeadLetterKind
from dispatch_celery.dlq.store import shown
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.ids import DeadLetterId
from dispatch_celery.work.model import Failure

NOW = datetime(2027, 1, 15, tzinfo=UTC)
LETTER = DeadLetterId.adopt("one")
JOB = DeadLetter(
    id=LETTER,
    kind=DeadLetterKind.JOB,
    reason="attempts used up",
    died_at=NOW,
    queue="q",
    name="mail",
    failure=Failure(type="OSError", message="Disk FULL"),
    replayed_as="job_x",
)
RAW = DeadLetter(id=LETTER, kind=DeadLetterKind.MESSAGE, reason="no JSON", died_at=NOW, queue="q", raw=b"{")


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ({}, [True, True]),
        ({"kind": "job"}, [True, False]),
        ({"name": "mail"}, [True, False]),
        ({"queue": "q"}, [True, True]),
        ({"reason": "no JSON"}, [False, True]),
        ({"error": "disk full"}, [True, False]),
        ({"error": "json"}, [False, True]),
        ({"replayed": True}, [True, False]),
        ({"replayed": False}, [False, True]),
    ],
)
def test_a_filter_keeps_what_fits_all_of_it(filters: dict[str, Any], kept: list[bool]) -> None:
    """Of failed jobs the error is searched, of raw messages the reason."""
    assert [DeadLetterFilter(**filters).keeps(letter) for letter in (JOB, RAW)] == kept


@pytest.mark.parametrize(
    "filters",
    [{"kind": "jbo"}, {"died_after": datetime(2027, 1, 1)}, {"died_before": datetime(2027, 1, 1)}],  # noqa: DTZ001 - the point of the test
    ids=["kind", "died_after", "died_before"],
)
def test_a_filter_that_cannot_be_meant_is_refused(filters: dict[str, Any]) -> None:
    """As of jobs: a typing error finds no empty page, but words."""
    with pytest.raises(ConfigurationError):
        DeadLetterFilter(**filters)


@pytest.mark.parametrize(
    ("raw", "words"), [(b"text", "text"), (b"\xff", "base64:/w=="), (b"x" * 500, "x" * 200 + "..."), (b"", "")]
)
def test_a_raw_message_is_shown_to_people(raw: bytes, words: str) -> None:
    """Text where it is text, base64 where not, and never all of a long one."""
    assert shown(raw) == words
