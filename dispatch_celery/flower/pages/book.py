"""Every page, in the order of the menu. A page whose service this app does not have is not shown and not answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dispatch_celery.app import Dispatch
from dispatch_celery.flower.pages.crons import CRON, CRONS
from dispatch_celery.flower.pages.dead_letters import DEAD_LETTER, DEAD_LETTERS
from dispatch_celery.flower.pages.events import EVENT, EVENTS
from dispatch_celery.flower.pages.jobs import JOB, JOBS
from dispatch_celery.flower.pages.model import Page
from dispatch_celery.flower.pages.overview import OVERVIEW
from dispatch_celery.flower.pages.queues import QUEUES
from dispatch_celery.flower.pages.runs import RUN, RUNS
from dispatch_celery.flower.pages.workers import WORKERS

__all__ = ["ALL_PAGES", "menu_of"]

ALL_PAGES: Final[Sequence[Page]] = (
    *(OVERVIEW, JOBS, JOB, RUNS, RUN, EVENTS, EVENT),
    *(DEAD_LETTERS, DEAD_LETTER, CRONS, CRON, QUEUES, WORKERS),
)


def menu_of(dispatch: Dispatch | None) -> list[Page]:
    """Return the pages that one can go to from anywhere; none in an app without a ``Dispatch``."""
    return [page for page in ALL_PAGES if dispatch is not None and page.in_menu and page.is_served(dispatch)]
