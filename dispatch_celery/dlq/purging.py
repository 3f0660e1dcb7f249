"""Purges: dead letters deleted for good, each once, with the records of their jobs."""

from __future__ import annotations

from collections.abc import Sequence

from dispatch_celery.dlq.model import DeadLetter
from dispatch_celery.ids import JobId
from dispatch_celery.jobs.model import JobState
from dispatch_celery.jobs.records import JobRecords
from dispatch_celery.jobs.store import JobStore

__all__ = ["Purges"]


class Purges:
    """Deletes dead letters. Safe for threads."""

    def __init__(self, records: JobRecords, jobs: JobStore) -> None:
        self._records = records
        self._jobs = jobs

    def batch(self, letters: Sequence[DeadLetter], *, term: str = "") -> int:
        """Delete some dead letters in few trips; return how many this call deleted. ``term``: of the leader's duty."""
        return self.members([letter.job_id or letter.id for letter in letters], term=term)

    def members(self, ids: Sequence[str], *, term: str = "") -> int:
        """Do as ``batch``, with members of the index: job ids, and ids of raw messages."""
        messages = [one for one in ids if not one.startswith(JobId.prefix)]
        found = self._records.stored([one for one in ids if one.startswith(JobId.prefix)])
        refs = [one.ref for one in found if one is not None and one.state == JobState.FAILED]
        gone = sum(self._jobs.unbury_many(messages))
        answers = self._jobs.delete_many(refs, JobState.FAILED, term=term, force=True)
        return gone + sum(answer.verdict == "DONE" for answer in answers)
