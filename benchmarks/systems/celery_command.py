"""The worker command of both Celery systems: nothing in it favours one."""

from __future__ import annotations

import os

from protocol import executable

PREFETCH = {"prefork": 8, "solo": 16}
"""Per slot: sixteen messages in a worker, whatever its pool."""

SLOTS = {"prefork": 2, "solo": 1}


def celery_worker(module: str, pool: str) -> list[str]:
    """Return the command; the process that becomes the worker lends it a name of its own."""
    size = ["-P", pool, "-c", str(SLOTS[pool]), f"--prefetch-multiplier={PREFETCH[pool]}"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "ERROR"]
    return [executable("celery"), "-A", module, "worker", "-n", f"bench{os.getpid()}@%h", *size, *quiet]
