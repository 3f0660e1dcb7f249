"""Extensions and signals hear of every transition, and none of them can hurt it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from dispatch_celery import signals
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.extensions.base import Extension
from dispatch_celery.extensions.registry import ExtensionRegistry
from dispatch_celery.ids import JobId
from dispatch_celery.jobs.model import JobRef

REF = JobRef(id=JobId.adopt("one"), name="mail", queue="q")
NOW = datetime(2027, 1, 15, tzinfo=UTC)
ERROR = ValueError("x")
MOMENTS: list[tuple[str, dict[str, Any], list[Any]]] = [
    ("enqueued", {}, []),
    ("started", {"attempt": 1}, []),
    ("completed", {"elapsed": 0.5, "result": 3}, [0.5]),
    ("retrying", {"attempt": 1, "next_run_at": NOW, "error": ERROR}, [1, NOW]),
    ("failed", {"error": ERROR, "failure": None}, [ERROR]),
    ("dead_lettered", {"error": None, "failure": None}, [None]),
    ("cancelled", {}, []),
    ("recovered", {"holder": "w", "why": "gone"}, ["w", "gone"]),
    ("reopened", {}, []),
]


def hearing(heard: list[Any]) -> Extension:
    """Return an extension that writes down what its hooks are given."""

    def hook(name: str) -> Any:
        def heard_of(_self: Extension, *args: Any, **facts: Any) -> None:
            heard.append((name, *args, *facts.values()))

        heard_of.__name__ = name
        return heard_of

    hooks = {name: hook(name) for name in dir(Extension) if name.startswith("on_")}
    return type("Hearing", (Extension,), hooks)()  # type: ignore[no-any-return]  # it is one


@pytest.mark.parametrize(("moment", "facts", "given"), MOMENTS, ids=[moment for moment, _, _ in MOMENTS])
def test_a_hook_is_given_what_it_declares(moment: str, facts: dict[str, Any], given: list[Any]) -> None:
    """The job, and the facts its signature names; the base class takes them all."""
    heard: list[Any] = []
    registry = ExtensionRegistry()
    registry.add(hearing(heard))
    registry.add(Extension())

    registry(moment, REF, **facts)

    assert heard == [(f"on_job_{moment}", REF, *given)]


@pytest.mark.parametrize(
    ("moment", "facts"),
    [("worker_joined", {"worker": "w"}), ("worker_lost", {"worker": "w"}), ("leader_changed", {"leader": "w"})],
)
def test_moments_of_workers_have_no_job(moment: str, facts: dict[str, str]) -> None:
    """Their hooks are named after them."""
    heard: list[Any] = []
    registry = ExtensionRegistry()
    registry.add(hearing(heard))

    registry(moment, None, **facts)
    registry("shutdown", None)

    assert heard == [(f"on_{moment}", "w"), ("on_shutdown",)]


@pytest.mark.parametrize(("moment", "facts", "given"), MOMENTS, ids=[moment for moment, _, _ in MOMENTS])
def test_the_same_moment_is_a_signal(moment: str, facts: dict[str, Any], given: list[Any]) -> None:
    """Sent once, from the job's name, with the facts its table lists."""
    heard: list[Any] = []

    def receive(sender: Any = None, signal: Any = None, **carried: Any) -> None:
        heard.append((sender, *carried.values()))

    signal = getattr(signals, f"job_{moment}")
    signal.connect(receive)
    try:
        ExtensionRegistry()(moment, REF, **facts)
    finally:
        signal.disconnect(receive)

    expected = [1] if moment == "started" else given
    assert heard == [("mail", REF, *expected)]


def test_a_hook_that_raises_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged by name, and the others hear as ever."""
    heard: list[Any] = []

    class Broken(Extension):
        """Fails."""

        def on_job_cancelled(self, job: JobRef) -> None:  # noqa: ARG002 - the hook's parameter
            """Fail."""
            raise RuntimeError("out of order")

    registry = ExtensionRegistry()
    registry.add(Broken())
    registry.add(hearing(heard))
    with caplog.at_level(logging.ERROR):
        registry("cancelled", REF)

    assert heard == [("on_job_cancelled", REF)]
    assert "the hook Broken.on_job_cancelled failed" in caplog.text


@pytest.mark.parametrize("bad", [3, Extension, lambda: None])
def test_only_an_instance_is_an_extension(bad: Any) -> None:
    """The class itself is refused, too."""
    with pytest.raises(ConfigurationError, match="instance of a subclass of Extension"):
        ExtensionRegistry().add(bad)


class Misspelt(Extension):
    """Has a hook's name almost right."""

    def on_job_complete(self, job: JobRef, elapsed: float) -> None:
        """Would never be called."""


class Invented(Extension):
    """Has a name that is like no hook's."""

    async def on_zzz(self) -> None:
        """Would never be called."""


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Misspelt, r"Misspelt\.on_job_complete is no hook.*did you mean on_job_completed\?"),
        (type("Heir", (Misspelt,), {}), r"Heir\.on_job_complete is no hook"),
        (Invented, r"Invented\.on_zzz is no hook.*does not begin with on_"),
    ],
)
def test_what_looks_like_a_hook_and_is_none_is_refused(kind: type[Extension], words: str) -> None:
    """Nobody would ever call it; the error names the hook that is meant, where one is near."""
    with pytest.raises(ConfigurationError, match=words):
        ExtensionRegistry().add(kind())


class Short(Extension):
    """Has a hook that takes less than it is given."""

    def on_job_completed(self, job: Any) -> None:  # type: ignore[override]  # as people write it
        """Would raise each time."""


class Renamed(Extension):
    """Has a hook that calls its argument otherwise."""

    async def on_worker_joined(self, name: str) -> None:  # type: ignore[override]  # as people write it
        """Would raise each time."""


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Short, r"Short\.on_job_completed cannot be called .*write def on_job_completed\(self, job, elapsed\)"),
        (Renamed, r"Renamed\.on_worker_joined cannot be called .*write def on_worker_joined\(self, worker\)"),
    ],
)
def test_a_hook_that_cannot_be_called_is_refused(kind: type[Extension], words: str) -> None:
    """It would raise for each job; the error says how it is written."""
    with pytest.raises(ConfigurationError, match=words):
        ExtensionRegistry().add(kind())


def test_a_hook_may_take_whatever_it_is_given() -> None:
    """By defaults, or by ``**facts``."""

    class Loose(Extension):
        def on_job_completed(self, job: Any, elapsed: float = 0.0, *, more: str = "") -> None:
            pass

        def on_job_failed(self, **facts: Any) -> None:  # type: ignore[override]  # as people write it
            pass

    ExtensionRegistry().add(Loose())


def test_other_methods_are_the_extensions_own() -> None:
    """Public ones, private ones, and what is no method although its name begins like one."""

    class Own(Extension):
        """Keeps a book."""

        on_call = "ann"

        def count(self) -> int:
            """Return how many."""
            return 0

        def _on_anything(self) -> None:
            """Do something."""

    ExtensionRegistry().add(Own())


def test_the_line_of_a_fire_names_the_entry_and_its_slot(caplog: pytest.LogCaptureFixture) -> None:
    """Beside its id; one that was run by hand has no slot."""
    registry = ExtensionRegistry()
    facts = {"cron": "cron_1", "name": "nightly", "id": REF.id, "late": 0.0}
    with caplog.at_level(logging.INFO, "dispatch_celery.lifecycle"):
        registry("cron_fired", None, slot=NOW, **facts)
        registry("cron_fired", None, slot=None, **facts)

    line = "event=dispatch.cron_fired cron=cron_1 name=nightly"
    assert [record.getMessage() for record in caplog.records] == [f"{line} slot=2027-01-15T00:00:00+00:00", line]
    assert [record.__dict__["dispatch"].get("slot") for record in caplog.records] == [NOW.isoformat(), None]
