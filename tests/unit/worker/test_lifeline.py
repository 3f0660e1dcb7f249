"""The thread that keeps a worker's lease goes on, whatever its parts do."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from dispatch_celery.config import Settings
from dispatch_celery.ids import WorkerId
from dispatch_celery.store.keys import Keys
from dispatch_celery.worker.lifeline import Lifeline
from dispatch_celery.worker.page import Page


def test_an_unknown_error_does_not_end_the_thread() -> None:
    """An overseer that breaks is asked again a second later; the lease is renewed meanwhile."""
    looks: list[str] = []
    again = threading.Event()

    def look() -> int:
        looks.append("look")
        if len(looks) == 1:
            raise RuntimeError("a defect")
        again.set()
        return 1_000

    overseer: Any = SimpleNamespace(look=look, forced=False, descriptors=[])
    cluster: Any = SimpleNamespace(register=lambda *_: 0)
    channel: Any = SimpleNamespace(listen=lambda _: None, descriptor=None, read=list, close=lambda: None)
    unused: Any = SimpleNamespace(stop=lambda: None)
    lifeline = Lifeline(
        cluster=cluster,
        recovery=unused,
        overseer=overseer,
        keeper=unused,
        page=Page(1),
        keys=Keys("test"),
        settings=Settings(liveness_hint=False),
        channel=channel,
        observer=lambda *_, **__: None,
        describe=lambda: ({}, {}),
        on_forced=None,
    )
    thread = threading.Thread(target=lifeline.run, daemon=True)
    thread.start()
    try:
        assert again.wait(10)
        assert WorkerId.parse(lifeline.holder)
    finally:
        lifeline.stop()
        thread.join(10)
    assert not thread.is_alive()
