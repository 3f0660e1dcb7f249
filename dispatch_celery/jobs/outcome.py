"""How an attempt can end: a closed set. Handlers return, or raise one of four exceptions; the rest is an error.

========================  ============================  ==================  =======================
ends with                 counts as an attempt          then                recorded as
========================  ============================  ==================  =======================
a return value            yes                           completed           the result
any other exception       yes                           retried or failed   the error
``RetryAfter(30)``        yes                           retried in 30 s     the error
``Snooze(30)``            no (``dispatch_max_snoozes``)  runs again in 30 s  a snooze
``Fail("why")``           yes                           failed, at once     a dead letter
``Cancel("why")``         no                            cancelled           the reason
the worker stops          no                            ready again         nothing
the process dies          no (``dispatch_max_crashes``)  ready again         a crash
========================  ============================  ==================  =======================
"""

from __future__ import annotations

import json
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any, Final, Protocol

from dispatch_celery.clock import Duration, to_ms
from dispatch_celery.errors import PayloadError
from dispatch_celery.retry import MAX_DELAY
from dispatch_celery.work.layers import layer_of
from dispatch_celery.work.model import Failure

__all__ = [
    "Cancel",
    "Cancelled",
    "Completed",
    "Fail",
    "Failed",
    "Outcome",
    "RetryAfter",
    "Retrying",
    "Snooze",
    "attempt_line",
    "classify_error",
    "failure_of",
]

_HERE: Final = str(Path(__file__).parent.parent)
_LONGEST_MESSAGE: Final = 2_000
_LONGEST_TRACEBACK: Final = 16_000


def _bounded(delay: Duration) -> int:
    milliseconds = to_ms(delay)
    if not 0 <= milliseconds <= MAX_DELAY * 1000:
        raise ValueError(f"a delay must be between 0 seconds and ten years, not {delay!r}")
    return milliseconds


class RetryAfter(Exception):
    """Raise to end this attempt and run again after ``delay`` seconds. Uses up an attempt."""

    def __init__(self, delay: Duration, why: str = "") -> None:
        super().__init__(why or f"retry after {delay}")
        self.delay_ms = _bounded(delay)


class Snooze(Exception):
    """Raise to run again after ``delay`` seconds, as if this attempt had not been. Bound: ``dispatch_max_snoozes``."""

    def __init__(self, delay: Duration, why: str = "") -> None:
        super().__init__(why or f"snooze for {delay}")
        self.delay_ms = _bounded(delay)


class Fail(Exception):
    """Raise to fail the job for good, whatever attempts are left: it becomes a dead letter."""


class Cancel(Exception):
    """Raise to cancel the job: it ends without a result and without a dead letter."""


@dataclass(frozen=True, slots=True)
class Completed:
    """The handler returned ``value``, stored as ``result``."""

    value: Any
    result: bytes


@dataclass(frozen=True, slots=True)
class Retrying:
    """Run again after ``delay`` ms; ``counter`` names what this end uses up."""

    delay: int
    counter: str
    failure: Failure
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """No further attempt: a dead letter."""

    reason: str
    failure: Failure
    counter: str = "attempts"
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Ended on request, of a person or of the handler itself."""

    reason: str


Outcome = Completed | Retrying | Failed | Cancelled


def failure_of(error: BaseException) -> Failure:
    """Return an exception as plain, bounded data. Works for one that cannot be printed or pickled."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = str(error)
    except BaseException as unprintable:  # noqa: BLE001 - the user's __str__ may raise anything, SystemExit too
        message = f"<its message cannot be printed: {type(unprintable).__name__}>"
    try:
        lines = "".join(traceback.format_exception(type(error), error, _outside(error.__traceback__)))
    except BaseException:  # noqa: BLE001 - as above, for a cause or a note
        lines = "".join(traceback.format_tb(error.__traceback__))
    return Failure(type=name, message=_clean(message, _LONGEST_MESSAGE), traceback=_clean(lines, _LONGEST_TRACEBACK))


class Policy(Protocol):
    """What decides about another attempt: a ``Retry``, or one that came with the job."""

    @property
    def max_attempts(self) -> int:
        """How many executions there may be."""
        ...

    def gives_up(self, error: BaseException) -> bool:
        """Return whether this error ends the job."""
        ...

    def delay(self, attempt: int) -> float:
        """Return seconds until the next attempt."""
        ...


def classify_error(error: BaseException, failure: Failure, attempt: int, policy: Policy) -> Outcome:
    """Decide what an error means for a job whose ``attempt``-th try ended with it."""
    last = attempt >= policy.max_attempts
    reason = ""
    if isinstance(error, Fail):
        reason = "failed by its handler"
    elif isinstance(error, PayloadError):
        reason = "payload"
    elif last:
        reason = "attempts used up"
    elif not isinstance(error, RetryAfter) and policy.gives_up(error):
        reason = "given up"
    if reason:
        return Failed(reason, failure, error=error)
    if isinstance(error, RetryAfter):
        return Retrying(error.delay_ms, "attempts", failure, error)
    try:
        delay = to_ms(policy.delay(attempt))
    except Exception as broken:  # noqa: BLE001 - a user's Backoff may raise anything
        return Failed("backoff", failure_of(broken), error=error)
    return Retrying(delay, "attempts", failure, error)


def _outside(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback from where it leaves this package for the user's own code, or a middleware is called."""
    frame = trace
    while frame is not None and _is_inside(frame.tb_frame.f_code):
        frame = frame.tb_next
    return frame or trace


def _is_inside(code: CodeType) -> bool:
    return code.co_filename.startswith(_HERE) and not layer_of(code.co_filename, code.co_name)


def _clean(words: str, longest: int) -> str:
    """Return text that UTF-8 can hold, cut in the middle: a traceback's first and last lines say most."""
    words = words.encode("utf-8", "backslashreplace").decode()
    if len(words) <= longest:
        return words
    half = longest // 2
    return f"{words[:half]}\n... {len(words) - longest:,} characters left out ...\n{words[-half:]}"


def attempt_line(number: int, outcome: str, kind: str, message: str) -> str:
    """Return the rest of a history line: the script puts the times and the worker before it."""
    return json.dumps({"number": number, "outcome": outcome, "type": kind, "message": message[:500]})[1:]
