"""The verbs of runs for callers and operators, each room of them standing on the one before.

``reading`` asks, ``operating`` moves on what there is, ``starting`` begins, ``rewriting`` gives a run another past, and
``checking`` replays what is recorded against today's code.
"""

from __future__ import annotations

from dispatch_celery.workflows.checking import RunChecking

__all__ = ["RunService"]


class RunService(RunChecking):
    """Everything callers may do with runs. Safe for threads.

    Each verb has an ``a`` twin for event loops: the same, without holding the loop.
    """
