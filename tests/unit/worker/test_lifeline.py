"""The thread that keeps a worker's lease goes on, whatever its parts do."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from dispatch_celery.cluster.model import Pulse
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


def test_a_renewal_in_between_does_not_cost_the_one_at_the_end_of_a_cut_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has cut the lease of a silent leader asks for the lead when it ends, whenever he renews before."""
    now = 1
    renewed: list[int] = []
    cut: list[int] = []
    leader = str(WorkerId.mint())

    def renew(*_: Any, **__: Any) -> Pulse:
        renewed.append(now)
        nothing: dict[str, Any] = {"due": {}, "condemned": 0, "lanes": 0, "unknown": 0}
        return Pulse(now=now, leader=leader, term="1.a", leader_until=now, running=1, **nothing)

    cluster: Any = SimpleNamespace(
        register=lambda *_: 0,
        renew=renew,
        listeners=lambda names: dict.fromkeys(names, 0),
        suspect=lambda *_: cut.append(now),
        still_know=lambda *_: None,
    )
    keeper: Any = SimpleNamespace(leads=False, leader=leader, on_pulse=lambda *_: None, ring=lambda *_, **__: None)
    lifeline = Lifeline(
        cluster=cluster,
        recovery=SimpleNamespace(recover=None),  # type: ignore[arg-type]  # there is nothing to recover
        overseer=SimpleNamespace(look=lambda: 60_000, forced=False, descriptors=[]),  # type: ignore[arg-type]  # it sees nothing
        keeper=keeper,
        page=Page(1),
        keys=Keys("test"),
        settings=Settings(renew_every=0.7, liveness_every=60),
        channel=SimpleNamespace(listen=lambda _: None, descriptor=0),  # type: ignore[arg-type]  # it hears nothing
        observer=lambda *_, **__: None,
        describe=lambda: ({}, {}),
        on_forced=None,
    )
    monkeypatch.setattr("dispatch_celery.worker.lifeline.monotonic_ms", lambda: now)
    lifeline.register()
    while len(renewed) < 3:
        now += lifeline._round()

    (suspected,) = cut
    assert renewed[1] < suspected + 1_000 <= renewed[2] < renewed[1] + 700
