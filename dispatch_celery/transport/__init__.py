"""kombu's Redis transport, taught to lose nothing, to survive a restart of Redis, and to work in batches.

Purpose. Celery 5.7 on Redis pops a message before it records it (``kill -9`` in between loses it), puts running tasks
back when a connection breaks (they run twice), ends the worker when Redis restarts or a message cannot be read, and
spends most of its time on three round trips for each message. These are properties of kombu's Redis transport, so
this package subclasses it. Keys and messages are kombu's own: producers, workers and Flower without it work beside it
on the same queues. Nothing of the product's correctness rests on it; it is faster and breaks less.

Who is authoritative. Redis says where a message is: in its list, or in ``unacked`` since one script moved it there.
The `ledger` says what this process has to do with it: held, done, orphaned. It outlives channels and connections.
Celery's books say how far a held message has come, and are read only to give back what nobody can have begun.

::

    list --claim--> unacked + buffer --deliver--> held by Celery --ack--> gone
     ^                   |                            |
     +---- giveback -----+         +---- orphaned ----+   (its connection broke and Celery dropped it,
     +-----------------------------+                       or the worker stops before beginning it)

What happens when
    - *the worker is killed*: what it held is in ``unacked``; any worker's sweep finds it after the visibility timeout.
      An acknowledgement may be up to 50 ms late, and its message then comes again.
    - *Redis restarts, or the connection is cut*: what runs goes on and is acknowledged over the next connection. What
      Celery prefetched and dropped goes back to its list, as soon as nothing refers to it any more. A claim without an
      answer is looked up by its record, and its messages, which nobody has seen, go back as well.
    - *Redis hangs*: a claim without an answer for ``socket_timeout`` (10 s) means a lost connection.
    - *Redis refuses* (out of memory, a failed save, a busy script): claims are tried again each second.
    - *the worker stops*: claims end at once; what no process has begun goes back at once (threads: when they are done).
    - *a message cannot be read*: its bytes go to the sink given to `install`, and only then leave ``unacked``.
    - *a task runs longer than the visibility timeout*: its score is refreshed each third of it.

Waiting costs nothing: under ``CLIENT TRACKING`` the server pushes a word when a list the worker has looked at changes,
whoever changed it (`wire`). Two prices are known. Every idle worker is told, and all but one claim in vain, where
BRPOP wakes one; those who lose often hold back (`claims`). And a plain worker blocked in BRPOP on the same queue is
served before ours, while it has room.

Reading order: `wire` (the connection), `claims` (taking), `intake` (delivering), `ledger` and `qos` (remembering),
`channel`, `poller` and `transports` (where they meet kombu), `books` (Celery's side), `deadletters`, `install`.
"""

from __future__ import annotations

from dispatch_celery.transport.deadletters import UndecodableSink
from dispatch_celery.transport.install import install, installed, uninstall

__all__ = ["UndecodableSink", "books", "install", "installed", "uninstall"]
