"""What the main process does with a message for a job: pass a wake-up on, adopt a plain Celery call.

A message with our header goes Celery's way: acknowledged early, claimed by the process that runs it. One
without it comes from an old release, ``send_task``, beat, Flower or another language. It is *adopted*: made
a job and published as a wake-up, before it is acknowledged. Its job's id derives from the Celery id, so a
redelivery is the same job. Only such messages cost the main process a round trip.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from celery import Celery
from celery.exceptions import InvalidTaskError
from celery.utils.time import maybe_iso8601
from celery.worker.strategy import default, hybrid_to_proto2

from dispatch_celery.errors import DispatchError, JobNotUnique, PayloadError, StoreUnavailable
from dispatch_celery.jobs.definition import Call
from dispatch_celery.jobs.options import JobOptions
from dispatch_celery.work import spans
from dispatch_celery.worker.guard import give_back, settle
from dispatch_celery.worker.messages import HEADER, envelope_of, ref_of
from dispatch_celery.worker.task import JobTask, job_id_of, lenient_call

__all__ = ["adopt", "job_strategy", "run_strategy"]

logger = logging.getLogger(__name__)

_TRY_AGAIN: Final = 1.0
_CANVAS: Final = ("callbacks", "errbacks", "chain", "chord")


def job_strategy(task: JobTask, app: Celery, consumer: Any) -> Any:
    """Return the handler of messages for one job; Celery's hook ``Task.Strategy``."""
    wake = default(task, app, consumer)
    name = task.name

    def handle(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any) -> Any:
        if ref_of(name, message.headers.get(HEADER)) is not None:
            _check(message)
            return wake(message, body, ack, reject, callbacks)
        return _adopt_and_ack(task, consumer, message, body)

    return handle


def run_strategy(task: Any, app: Celery, consumer: Any) -> Any:
    """Return the handler of messages for one workflow.

    A message without our header names no run: it is buried. One for a version that this worker does not know goes
    back before anything claims it, as one for an unknown name does.
    """
    wake = default(task, app, consumer)
    name = task.name

    def handle(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any) -> Any:
        ref = ref_of(name, message.headers.get(HEADER))
        if ref is None:
            raise InvalidTaskError(f"{name} is a workflow, which a plain call cannot start: start() it")
        _check(message)
        engine = task.engine()
        if not engine.knows(ref):
            return settle(consumer, message, lambda: give_back(engine, message, ref))
        return wake(message, body, ack, reject, callbacks)

    return handle


def _adopt_and_ack(task: JobTask, consumer: Any, message: Any, body: Any) -> None:
    try:
        adopt(task, message, body)
    except StoreUnavailable as error:
        logger.warning("a plain call of %s waits for the state server: %s", task.name, error)
        consumer.timer.call_after(_TRY_AGAIN, _adopt_and_ack, (task, consumer, message, body))
        return
    except DispatchError as error:
        logger.error("a plain call of %s cannot be a job: %s", task.name, error)  # noqa: TRY400 - its message says all
        task.engine().bury(queue=_queue_of(message), raw=envelope_of(message), reason=f"{error.code}: {error}")
    message.ack()


def adopt(task: JobTask, message: Any, body: Any) -> None:
    """Make a job of a plain task message, once.

    Raises:
        PayloadError: its arguments are not the job's.
        StoreUnavailable: nothing was stored; try again.
    """
    args, kwargs, embed, headers = _content(message, body)
    task_id = headers.get("id") or message.properties.get("correlation_id") or message.delivery_tag
    call = lenient_call(task.definition, args, kwargs)
    options = JobOptions(
        run_at=_moment(headers.get("eta")), expires=_moment(headers.get("expires")), queue=_queue_of(message)
    )
    canvas: dict[str, Any] = {name: embed[name] for name in _CANVAS if embed.get(name)}
    if headers.get("group"):
        canvas |= {"group_id": headers["group"], "group_index": headers.get("group_index")}
    canvas |= {name: headers[name] for name in ("root_id", "parent_id") if headers.get(name)}
    job_id = job_id_of(str(task_id))
    extra: dict[str, Any] = {} if task_id == job_id else {"celery_id": str(task_id)}
    if canvas:
        extra["canvas"] = canvas
    if carrier := spans.brought(headers):
        extra[spans.TRACE] = carrier
    adopted = Call(task.definition, call.payload, call.summary, options)
    try:
        found = task.engine().write_call(adopted, job_id=job_id, extra=extra)
    except JobNotUnique as error:
        logger.warning("a plain call of %s is dropped: %s", task.name, error)
        return
    logger.info("adopted a plain call of %s as %s", task.name, found)


def _content(message: Any, body: Any) -> tuple[tuple[Any, ...], dict[str, Any], Mapping[str, Any], Mapping[str, Any]]:
    """Return the arguments, Celery's embed and the headers of a plain task message, of either protocol.

    Raises:
        PayloadError: the body is none. Anybody may write to a queue, and decoding fails in every way there is.
    """
    try:
        if body is None and "args" not in message.payload:
            args, kwargs, embed = message.payload
            headers = message.headers
        else:
            (args, kwargs, embed), headers, _, _ = hybrid_to_proto2(message, message.payload)
        return tuple(args), dict(kwargs), dict(embed or {}), dict(headers or {})
    except Exception as error:  # noqa: BLE001 - see above
        raise PayloadError(f"the message cannot be read: {type(error).__name__}: {str(error)[:200]}") from None


def _moment(value: Any) -> datetime | None:
    if not value:
        return None
    try:
        moment: datetime = maybe_iso8601(value)
    except (ValueError, TypeError) as error:
        raise DispatchError(f"{value!r} is no ISO 8601 time: {error}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _queue_of(message: Any) -> str | None:
    info = message.delivery_info or {}
    return info.get("routing_key") or None


def _check(message: Any) -> None:
    """Refuse a wake-up that Celery would fall over: any error but this one ends its worker, or keeps the message.

    Raises:
        InvalidTaskError: it is no task message; ``guard`` buries it.
    """
    payload = message.payload
    if not isinstance(payload, list | tuple) or len(payload) != 3:
        raise InvalidTaskError("its body is not arguments, keywords and embed")
    if not isinstance(message.headers.get("id"), str):
        raise InvalidTaskError("it has no id")
    limits = message.headers.get("timelimit") or (None, None)
    if not isinstance(limits, list | tuple) or [*limits] != [None, None]:
        # Time limits are the job's own; a wake-up of ours carries none.
        raise InvalidTaskError(f"its time limits are {limits!r:.100}")
