"""A real Valkey or Redis server of one's own, for development and tests: started, stopped, killed, paused.

Promises
    - It listens on loopback only, on a free port, with ``noeviction``, and with an append-only file unless told.
    - It dies with the process that started it, also by ``kill -9`` at any moment, unless told otherwise
      (``watchdog``).
    - Two servers never share a directory (``directory``). The server itself holds the lock too, so an owner's death
      does not free the directory before the server's.
    - Its password stands in no command line, where any user of the machine could read it.
    - Many may start at once. ``start`` takes an answer for its own server's only when the process id in it says so:
      between the choice of a port and the bind, the port may become another server's.

Not for production: bring your own server there, and set ``dispatch_redis_url``.
"""

from __future__ import annotations

from dispatch_celery.store.embedded.binary import ServerBinary, find_server
from dispatch_celery.store.embedded.server import EmbeddedServer

__all__ = ["EmbeddedServer", "ServerBinary", "find_server"]
