"""Extensions observe the life cycle: a class of hooks that do nothing until overridden.

Each hook is called once per transition, after it was recorded, in the process that recorded it, in the order in which
the extensions were added. A hook that raises is logged and hurts nothing; one that hangs holds up its own extension and
nothing else (``lane``). The same moments are Celery signals in ``dispatch_celery.signals``.
"""

from dispatch_celery.extensions.base import Extension
from dispatch_celery.extensions.registry import ExtensionRegistry

__all__ = ["Extension", "ExtensionRegistry"]
