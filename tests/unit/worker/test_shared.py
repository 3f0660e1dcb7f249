"""``@shared_job``: a job of a reusable package, in every app of the process."""

from __future__ import annotations

from weakref import WeakSet

import pytest
from celery import Celery

from dispatch_celery import ConfigurationError, Dispatch, shared_job
from dispatch_celery.worker import shared


@pytest.fixture(autouse=True)
def nothing_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start without the apps and shared jobs of other tests."""
    monkeypatch.setattr(shared, "_jobs", {})
    monkeypatch.setattr(shared, "_hosts", WeakSet())


def _app(name: str) -> Celery:
    app = Celery(name, broker="memory://", set_as_current=False)
    app.conf.task_always_eager = True
    return app


def test_it_runs_in_an_app_made_later() -> None:
    """The package is imported first; the app does not have to know it."""

    @shared_job(name="lib.double")
    def double(n: int) -> int:
        return 2 * n

    app = _app("later")
    dispatch = Dispatch(app)

    assert double.enqueue(4).result() == 8
    assert double.delay(4).get() == 8
    assert "lib.double" in app.tasks
    assert dispatch.enqueue("lib.double", n=5).result() == 10


def test_it_runs_in_an_app_made_before() -> None:
    """The app is made first, the package imported afterwards; bare, it is named after module and function."""
    app = _app("before")
    dispatch = Dispatch(app)

    @shared_job
    async def triple(n: int) -> int:
        return 3 * n

    assert triple.name.endswith("triple")
    assert triple.enqueue(2).result() == 6
    assert triple.name in app.tasks
    dispatch.close()


def test_it_waits_for_an_app_to_be_joined() -> None:
    """A ``Dispatch()`` without an app hosts nothing until ``init_app``."""

    @shared_job(name="lib.late")
    def late() -> str:
        return "ran"

    dispatch = Dispatch()
    with pytest.raises(ConfigurationError, match="has no app yet"):
        late.enqueue()
    dispatch.init_app(_app("joined"))

    assert late.enqueue().result() == "ran"


def test_among_several_apps_the_current_one_is_meant() -> None:
    """Without a current one among them, the error says what to do."""

    @shared_job(name="lib.which")
    def which() -> str:
        return "ran"

    one, two = _app("one"), _app("two")
    kept = [Dispatch(one), Dispatch(two)]
    with pytest.raises(ConfigurationError, match="belongs to 2 apps"):
        which.enqueue()
    two.set_current()

    assert which.delay().get() == "ran"
    assert which.task is two.tasks["lib.which"]
    assert len(kept) == 2


def test_a_name_belongs_to_one_function() -> None:
    """The second declaration is refused where it is made."""
    dispatch = Dispatch(_app("names"))

    @dispatch.job(name="lib.taken")
    def first() -> None: ...

    with pytest.raises(ConfigurationError, match="is taken"):

        @shared_job(name="lib.taken")
        def second() -> None: ...
