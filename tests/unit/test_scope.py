"""The tenant: in force for a block, stored as a path, refused when it could not be one."""

from __future__ import annotations

import asyncio
import threading

import pytest

from dispatch_celery.errors import ConfigurationError
from dispatch_celery.scope import Scope, current_scope, restored, scope


def test_a_scope_is_in_force_for_its_block() -> None:
    """Inside it is the current one, nested ones win, and afterwards it is as before."""
    assert current_scope() == Scope()
    with scope(app_id="shop", org_id="acme") as outer:
        assert current_scope() == outer == Scope(app_id="shop", org_id="acme")
        with scope(app_id="other"):
            assert current_scope() == Scope(app_id="other")
        assert current_scope() == outer
    assert current_scope() == Scope()


def test_a_scope_ends_with_an_exception() -> None:
    """A block that raises leaves nothing behind."""
    with pytest.raises(KeyError), scope(app_id="shop"):
        raise KeyError
    assert current_scope() == Scope()


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Scope(), ""),
        (Scope(app_id="shop"), "shop/"),
        (Scope(org_id="acme"), "/acme"),
        (Scope(app_id="shop", org_id="acme"), "shop/acme"),
        (Scope(app_id="a:b {c}", org_id="é"), "a:b {c}/é"),
    ],
)
def test_a_path_is_the_scope_again(value: Scope, path: str) -> None:
    """What is stored is restored as it was."""
    assert value.path == path
    assert Scope.from_path(path) == value
    with restored(Scope.from_path(path)):
        assert current_scope() == value


@pytest.mark.parametrize("bad", ["a/b", "a\nb", "\0", "\ud800", "x" * 201, 3, None])
@pytest.mark.parametrize("part", ["app_id", "org_id"])
def test_what_cannot_be_a_scope_is_refused(part: str, bad: object) -> None:
    """The error names the part, and no scope is put in force."""
    with pytest.raises(ConfigurationError, match=rf"scope\({part}=\.\.\.\)"), scope(**{part: bad}):  # type: ignore[arg-type]
        pass
    assert current_scope() == Scope()


def test_a_scope_does_not_leak_to_another_thread() -> None:
    """A thread begins without one."""
    seen: list[Scope] = []
    with scope(app_id="shop"):
        thread = threading.Thread(target=lambda: seen.append(current_scope()))
        thread.start()
        thread.join()

    assert seen == [Scope()]


def test_a_scope_follows_an_async_task() -> None:
    """A task made in a scope is in it, and one task's scope is not another's."""

    async def work(app_id: str) -> tuple[str, str]:
        before = current_scope().app_id
        with scope(app_id=app_id):
            return before, current_scope().app_id

    async def main() -> list[tuple[str, str]]:
        with scope(app_id="outer"):
            return await asyncio.gather(work("a"), work("b"))

    assert asyncio.run(main()) == [("outer", "a"), ("outer", "b")]
