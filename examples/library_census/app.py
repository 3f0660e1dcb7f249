"""The Celery app of the census, with one durable job. Run by: celery -A app worker."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from celery import Celery
from census import FileCensus, measure

from dispatch_celery import Constant, Dispatch, Retry, current_job

app = Celery("census", broker=os.environ.get("CENSUS_BROKER", "redis://127.0.0.1:6379/0"))
dispatch = Dispatch(app)

# The library holds files with odd escapes, whose warnings are not this program's.
warnings.simplefilter("ignore", SyntaxWarning)
warnings.simplefilter("ignore", DeprecationWarning)


@dispatch.job(name="census.count", retry=Retry(max_attempts=3, backoff=Constant(0.2)), timeout=60)
def count(path: Path, shaky: bool = False) -> FileCensus:
    """Count one file. A shaky one fails at its first attempt; one named in the bug list fails until it is fixed."""
    if shaky and current_job().attempt == 1:
        raise OSError(f"{path.name}: the disk hiccuped, as disks do")
    bug = Path(os.environ["CENSUS_BUG"])
    if bug.exists() and bug.read_text() == str(path):
        raise RuntimeError(f"{path.name}: this release of the census has a bug")
    return measure(path)
