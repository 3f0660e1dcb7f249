"""What an async workflow makes several calls with: gather, map, race, first_ok."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Literal, TypeVar, overload

from dispatch_celery.workflows.context import Bound
from dispatch_celery.workflows.crowd import Crowd
from dispatch_celery.workflows.definition import WorkflowDefinition
from dispatch_celery.workflows.driver import Driver, Promise
from dispatch_celery.workflows.engine import Engine
from dispatch_celery.workflows.members import Outcome

__all__ = ["AsyncCrowds"]

R = TypeVar("R")
A = TypeVar("A")
B = TypeVar("B")
D = TypeVar("D")
E = TypeVar("E")


class AsyncCrowds:
    """The verbs of ``AsyncWorkflow`` that have members. Each is one promise; its members have their identities, too."""

    _engine: Engine
    _driver: Driver

    @overload
    def gather(self, a: Bound[A], /) -> Promise[tuple[A]]: ...
    @overload
    def gather(self, a: Bound[A], b: Bound[B], /) -> Promise[tuple[A, B]]: ...
    @overload
    def gather(self, a: Bound[A], b: Bound[B], c: Bound[D], /) -> Promise[tuple[A, B, D]]: ...
    @overload
    def gather(self, a: Bound[A], b: Bound[B], c: Bound[D], d: Bound[E], /) -> Promise[tuple[A, B, D, E]]: ...
    @overload
    def gather(self, *calls: Bound[A]) -> Promise[tuple[A, ...]]: ...
    def gather(self, *calls: Any) -> Promise[Any]:
        """Make several bound calls at once; their results in order. The first failure cancels the others.

        ``asyncio.gather`` of promises leaves them alone.
        """
        crowd = Crowd(self._engine, "gather", calls, self._driver.steps)
        return self._driver.crowd(crowd, lambda: tuple(crowd.all()))

    @overload
    def map(
        self,
        fn: WorkflowDefinition[[A], R],
        items: Iterable[A],
        /,
        *,
        max_parallel: int = ...,
        on_error: Literal["fail"] = ...,
    ) -> Promise[list[R]]: ...
    @overload
    def map(
        self,
        fn: WorkflowDefinition[[A], R],
        items: Iterable[A],
        /,
        *,
        max_parallel: int = ...,
        on_error: Literal["collect"],
    ) -> Promise[list[Outcome[R]]]: ...
    @overload
    def map(
        self,
        fn: Callable[[A], Coroutine[Any, Any, R]],
        items: Iterable[A],
        /,
        *,
        max_parallel: int = ...,
        on_error: Literal["fail"] = ...,
    ) -> Promise[list[R]]: ...
    @overload
    def map(
        self,
        fn: Callable[[A], Coroutine[Any, Any, R]],
        items: Iterable[A],
        /,
        *,
        max_parallel: int = ...,
        on_error: Literal["collect"],
    ) -> Promise[list[Outcome[R]]]: ...
    @overload
    def map(
        self,
        fn: Callable[[A], R],
        items: Iterable[A],
        /,
        *,
        max_parallel: int = ...,
        on_error: Literal["fail"] = ...,
    ) -> Promise[list[R]]: ...
    @overload
    def map(
        self, fn: Callable[[A], R], items: Iterable[A], /, *, max_parallel: int = ..., on_error: Literal["collect"]
    ) -> Promise[list[Outcome[R]]]: ...
    def map(
        self, fn: Any, items: Iterable[Any], /, *, max_parallel: int = 50, on_error: Literal["fail", "collect"] = "fail"
    ) -> Promise[list[Any]]:
        """Call a job, a workflow or a step for each item, at most ``max_parallel`` at a time; see ``Workflow.map``."""
        crowd = Crowd.of_map(self._engine, fn, items, self._driver.steps, max_parallel=max_parallel, on_error=on_error)
        return self._driver.crowd(crowd, crowd.all)

    def race(self, *calls: Bound[A]) -> Promise[tuple[int, A]]:
        """Make several bound calls; place and value of the first that ends; the others are cancelled."""
        crowd = Crowd(self._engine, "race", calls, self._driver.steps)
        return self._driver.crowd(crowd, crowd.first)

    def first_ok(self, *calls: Bound[A]) -> Promise[tuple[int, A]]:
        """Make several bound calls; place and value of the first that succeeds; the others are cancelled."""
        crowd = Crowd(self._engine, "first_ok", calls, self._driver.steps)
        return self._driver.crowd(crowd, crowd.first)
