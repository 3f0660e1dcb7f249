"""The testing kit: a user's own jobs and workflows, run within a test by the real engine, under a clock of its own.

Purpose
    A test starts what the app starts, lets the kit execute it, lets days pass, and looks at the outcome. Nothing is
    imitated but the worker's process tree, the broker and the time: scripts, records, codecs, executors, policies and
    the state server are those of production.

Who is authoritative
    The state, as always. What is ready is read from the state, and no messages are sent: nothing is lost in a test, and
    nothing waits.

What a ``Kit`` does to the app
    ::

        Dispatch --- settings, store, publisher ... ---> the app's own server and broker
            +------- while a kit is open --------------> a namespace of the test's own on the server for tests

    It lends the app other parts and takes them back when it closes. So the code under test, which enqueues and starts
    through its own module's ``Dispatch``, needs to know nothing of tests.

What is not played
    Celery's tracer, signals and canvas; plain Celery tasks; retention; timeouts of functions that are no coroutines;
    gathered steps at the same time: they run in turn.

The pytest plugin (``plugin``) is no entry point of the package: pytest would load it, and with it Celery, in every
suite of the environment, before the suite's own set-up. A suite that wants it names it in its ``conftest.py``.
"""

from __future__ import annotations

from dispatch_celery.testing.kit import Kit, crash_everywhere
from dispatch_celery.testing.report import Crash, CrashReport
from dispatch_celery.testing.world import Executed, NotAtRest

__all__ = ["Crash", "CrashReport", "Executed", "Kit", "NotAtRest", "crash_everywhere"]
