"""The worker command of both Celery systems: nothing in it favours one."""

from __future__ import annotations

import os

from protocol import executable

SLOTS = {"prefork": 2, "solo": 1}
AHEAD = 16
"""Messages a worker holds, whatever its pool, unless Celery's default is asked for (four for each slot)."""


def celery_worker(module: str, pool: str) -> list[str]:
    """Return the command; the process that becomes the worker lends it a name of its own."""
    kind, _, defaults = pool.partition("-")
    slots = SLOTS[kind]
    size = ["-P", kind, "-c", str(slots), *([] if defaults else [f"--prefetch-multiplier={AHEAD // slots}"])]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "ERROR"]
    return [executable("celery"), "-A", module, "worker", "-n", f"bench{os.getpid()}@%h", *size, *quiet]
