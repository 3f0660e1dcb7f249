"""The Celery app of the fan-out: one step, one job, one workflow. Run by: celery -A app worker."""

from __future__ import annotations

import os
from pathlib import Path

from celery import Celery
from tree import FileDigest, TreeDigest, files_under, join, measure

from dispatch_celery import Dispatch, Workflow

app = Celery("fan_out", broker=os.environ.get("FAN_OUT_BROKER", "redis://127.0.0.1:6379/0"))
dispatch = Dispatch(app)


@dispatch.step(name="list")
def list_files(root: Path, limit: int | None) -> list[Path]:
    """List the tree once: a step, since a directory may look otherwise when the run is replayed."""
    return files_under(root, limit)


@dispatch.job(name="fan_out.digest", timeout=60)
def digest(path: Path) -> FileDigest:
    """Read one file, on any worker."""
    return measure(path)


@dispatch.workflow(name="fan_out.tree")
def digest_tree(wf: Workflow, root: Path, limit: int | None, max_parallel: int) -> TreeDigest:
    """Map a job over the files of a tree, and join what it has found."""
    files = wf.step(list_files, root, limit)
    # No worker is held while the run waits for its jobs; their results come in the order of the files.
    return join(wf.map(digest, files, max_parallel=max_parallel))
