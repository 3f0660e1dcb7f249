"""What an async workflow hears and says: waits for events, and publish."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from typing_extensions import TypeForm

from dispatch_celery.clock import Duration, to_ms
from dispatch_celery.events.model import Event, Received
from dispatch_celery.ids import EventId
from dispatch_celery.jobs.options import check_duration
from dispatch_celery.workflows.context import Workflow
from dispatch_celery.workflows.driver import Driver, Promise
from dispatch_celery.workflows.engine import Engine
from dispatch_celery.workflows.held import Awaited
from dispatch_celery.workflows.inbox import EventWait, Inbox
from dispatch_celery.workflows.waiting import Wait

__all__ = ["AsyncEvents"]

T = TypeVar("T")


class AsyncEvents:
    """The verbs of ``AsyncWorkflow`` about events."""

    _engine: Engine
    _driver: Driver
    _sync: Workflow

    @overload
    def wait_for_event(
        self,
        event: Event[T],
        /,
        *,
        key: str | None = ...,
        timeout: None = ...,
        where: Callable[[T], bool] | None = ...,
        lookback: Duration = ...,
    ) -> Promise[T]: ...
    @overload
    def wait_for_event(
        self,
        event: Event[T],
        /,
        *,
        key: str | None = ...,
        timeout: Duration,
        where: Callable[[T], bool] | None = ...,
        lookback: Duration = ...,
    ) -> Promise[T | None]: ...
    @overload
    def wait_for_event(
        self,
        event: str,
        /,
        *,
        key: str | None = ...,
        type: TypeForm[T],
        timeout: None = ...,
        where: Callable[[T], bool] | None = ...,
        lookback: Duration = ...,
    ) -> Promise[T]: ...
    @overload
    def wait_for_event(
        self,
        event: str,
        /,
        *,
        key: str | None = ...,
        type: TypeForm[T],
        timeout: Duration,
        where: Callable[[T], bool] | None = ...,
        lookback: Duration = ...,
    ) -> Promise[T | None]: ...
    def wait_for_event(
        self,
        event: Any,
        /,
        *,
        key: str | None = None,
        type: Any = Any,  # noqa: A002 - the word of the whole API
        timeout: Duration | None = None,
        where: Callable[[Any], bool] | None = None,
        lookback: Duration = 0,
    ) -> Promise[Any]:
        """Rest until an event is published; see ``Workflow.wait_for_event``."""
        limit = _milliseconds(timeout)
        wait = self.event(event, key=key, type=type, where=where, lookback=lookback)
        inbox, driver = Inbox(self._engine), self._driver
        asked = inbox.ask(wait)
        return Promise(
            asked.identity,
            lambda: driver.resolved(
                asked, lambda: inbox.taken(asked, wait), act=lambda: _wait(inbox.look(asked, [wait], limit))
            ),
        )

    def event(
        self,
        event: Event[Any] | str,
        /,
        *,
        key: str | None = None,
        type: Any = Any,  # noqa: A002 - the word of the whole API
        where: Callable[[Any], bool] | None = None,
        lookback: Duration = 0,
    ) -> EventWait:
        """Return one of the events to give to ``wait_for_any`` or ``wait_for_all``; see ``wait_for_event``."""
        return self._sync.event(event, key=key, type=type, where=where, lookback=lookback)

    def wait_for_any(self, *events: EventWait, timeout: Duration | None = None) -> Promise[Received[Any] | None]:
        """Rest until one of several events is published; which, with its payload; None when time is up."""
        limit, inbox, driver = _milliseconds(timeout), Inbox(self._engine), self._driver
        asked = inbox.ask_any(events)
        return Promise(
            asked.identity,
            lambda: driver.resolved(
                asked, lambda: inbox.first_taken(asked, events), act=lambda: _wait(inbox.look(asked, events, limit))
            ),
        )

    def wait_for_all(self, *events: EventWait, timeout: Duration | None = None) -> Promise[list[Received[Any]] | None]:
        """Rest until each of several events is published; see ``Workflow.wait_for_all``."""
        limit, inbox, driver = _milliseconds(timeout), Inbox(self._engine), self._driver
        asked, members = inbox.ask_all(events)
        return Promise(
            asked.identity,
            lambda: driver.resolved(
                asked,
                lambda: inbox.all_taken(asked, members, events),
                act=lambda: _wait(inbox.look_for_all(asked, members, events, limit)),
            ),
        )

    @overload
    def publish(self, event: Event[T], payload: T, /, *, key: str | None = ...) -> EventId: ...
    @overload
    def publish(self, event: str, payload: Any = ..., /, *, key: str | None = ...) -> EventId: ...
    def publish(self, event: Any, payload: Any = None, /, *, key: str | None = None) -> EventId:
        """Publish an event in the run's scope, exactly once, at once; nothing is to be awaited."""
        return self._sync.publish(event, payload, key=key)


def _milliseconds(timeout: Duration | None) -> int | None:
    check_duration("timeout", timeout)
    return None if timeout is None else to_ms(timeout)


def _wait(awaited: Awaited | None) -> Wait | None:
    return None if awaited is None else Wait([awaited])
