"""Extensions that speak, hang or dawdle, for a worker that includes this module (``-I tests.support.chatty``).

``SHOP_CHATTY`` names the notebook; ``SHOP_HOOKS`` says what they do: ``hang``, ``slow``, ``background`` or ``async``.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path

from dispatch_celery import Extension
from dispatch_celery.jobs.model import JobRef
from tests.support import shop
from tests.support.listening import Notebook

MODULE = "tests.support.chatty"

notebook = Notebook(Path(os.environ["SHOP_CHATTY"]))


class Hanging(Extension):
    """Never comes back from its first hook in a process, and from those of a worker."""

    patience = 0.2

    def on_job_started(self, job: JobRef) -> None:
        """Hang."""
        notebook.note("hanging", "started", job.id)
        threading.Event().wait()

    def on_job_recovered(self, job: JobRef, holder: str, why: str) -> None:
        """Hang, where a thread of the worker's main process would."""
        notebook.note("hanging", "recovered", job.id)
        threading.Event().wait()

    def on_leader_changed(self, leader: str) -> None:
        """Hang."""
        notebook.note("hanging", "leader_changed", "")
        threading.Event().wait()


class Slow(Extension):
    """Takes its time over each job, and is waited for."""

    slow_after = 0.1

    def on_job_completed(self, job: JobRef, elapsed: float) -> None:
        """Dawdle."""
        time.sleep(0.3)
        notebook.note("slow", "completed", job.id)


class Background(Extension):
    """Takes its time over each job, and is not waited for."""

    background = True

    def on_job_completed(self, job: JobRef, elapsed: float) -> None:
        """Dawdle."""
        time.sleep(0.1)
        notebook.note("background", "completed", job.id)


class Awaiting(Extension):
    """Hears on the event loop of the process."""

    async def on_job_completed(self, job: JobRef, elapsed: float) -> None:
        """Take a turn of the loop."""
        await asyncio.sleep(0.01)
        notebook.note("async", "completed", job.id, thread=threading.current_thread().name)


class Witness(Extension):
    """Hears everything beside them."""

    def on_job_completed(self, job: JobRef, elapsed: float) -> None:
        """Write it down."""
        notebook.note("witness", "completed", job.id)


_KINDS = {"hang": Hanging, "slow": Slow, "background": Background, "async": Awaiting}

shop.dispatch.add_extension(_KINDS[os.environ["SHOP_HOOKS"]]())
shop.dispatch.add_extension(Witness())
