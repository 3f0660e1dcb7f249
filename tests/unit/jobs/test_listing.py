"""Filters of jobs: what they keep, and what they refuse before anything is read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from dispatch_celery.errors import ConfigurationError
from dispatch_celery.ids import JobId
from dispatch_celery.jobs.listing import JobFilter
from dispatch_celery.jobs.model import Job, JobState
from dispatch_celery.scope import Scope
from dispatch_celery.work.model import Failure

NOW = datetime(2027, 1, 15, tzinfo=UTC)
JOB = Job(
    id=JobId.adopt("one"),
    name="mail",
    queue="q",
    priority=0,
    state=JobState.FAILED,
    arguments={},
    scope=Scope(app_id="shop"),
    created_at=NOW,
    failure=Failure(type="OSError", message="Disk FULL"),
)


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ({}, True),
        ({"state": "failed"}, True),
        ({"state": JobState.PENDING}, False),
        ({"name": "mail", "queue": "q"}, True),
        ({"name": "mail", "queue": "other"}, False),
        ({"scope": Scope(app_id="shop")}, True),
        ({"scope": Scope(app_id="shop", org_id="a")}, False),
        ({"error": "oserror"}, True),
        ({"error": "disk full"}, True),
        ({"error": "network"}, False),
    ],
)
def test_a_filter_keeps_what_fits_all_of_it(filters: dict[str, Any], kept: bool) -> None:  # noqa: FBT001 - a table's column
    """Every filter must fit; an error's text is looked for in any case."""
    assert JobFilter(**filters).keeps(JOB) is kept


def test_a_job_without_an_error_has_none_to_find() -> None:
    """A filter by error text keeps failures only."""
    assert not JobFilter(error="").keeps(replace(JOB, failure=None))


@pytest.mark.parametrize(
    ("filters", "why"),
    [
        ({"state": "fialed"}, "state must be one of scheduled, limited, pending, running"),
        ({"created_after": datetime(2027, 1, 1)}, "has no time zone"),  # noqa: DTZ001 - the point of the test
        ({"created_after": "2h"}, "created_after is a datetime with its zone, not '2h'"),
        ({"created_before": datetime(2027, 1, 1)}, "has no time zone"),  # noqa: DTZ001 - as above
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused(filters: dict[str, Any], why: str) -> None:
    """A typing error finds no empty page, but words."""
    with pytest.raises(ConfigurationError, match=why):
        JobFilter(**filters)
