"""Pages that are read while what they show goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dispatch_celery.jobs.listing import JobFilter, JobListing
from dispatch_celery.store.scripts import Call
from tests.lua.world import World


def test_a_job_that_moves_on_while_a_page_is_read_is_on_it_once(world: World) -> None:
    """Its page is made of a read for each state: it is found where it was, and where it is."""
    refs = [world.enqueue() for _ in range(3)]

    class Moving:
        """A port on which a job ends behind the read of those that are ready."""

        def execute(self, calls: Sequence[Call]) -> list[Any]:
            replies: list[Any] = list(world.port.execute(calls))
            if world.keys.name("pending", "mail") in calls[0].words and world.record(refs[1])["state"] == "pending":
                world.end("complete", world.claim(refs[1], world.register()))
            return replies

    page = JobListing(Moving(), world.keys, world.records).page(JobFilter(name="mail"), limit=50, cursor=None)

    assert sorted(job.id for job in page) == sorted(ref.id for ref in refs)
    assert {job.id: str(job.state) for job in page}[refs[1].id] == "completed"
