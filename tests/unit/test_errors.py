"""One tree of errors, each with a stable code; signals that no ``except Exception`` swallows."""

from __future__ import annotations

import pytest

from dispatch_celery import errors
from dispatch_celery.errors import (
    DispatchError,
    Fenced,
    IdempotencyConflict,
    InvalidId,
    JobFailed,
    JobNotFound,
    JobTimeout,
    ResultTimeout,
    Suspended,
)


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name not in ("Fenced", "Suspended")])
def test_every_error_is_a_dispatch_error_with_a_code(name: str) -> None:
    """``except DispatchError`` catches all of them, and each says which it is in a stable word."""
    kind = getattr(errors, name)

    assert issubclass(kind, DispatchError)
    assert kind.code.isidentifier()
    assert kind.code.islower()


@pytest.mark.parametrize("signal", [Fenced, Suspended])
def test_signals_pass_through_except_exception(signal: type[BaseException]) -> None:
    """Neither user code nor a retry policy can swallow them."""
    assert not issubclass(signal, Exception)


@pytest.mark.parametrize("kind", [ResultTimeout, JobTimeout])
def test_timeouts_are_also_the_builtin_one(kind: type[Exception]) -> None:
    """``except TimeoutError`` works."""
    assert issubclass(kind, TimeoutError)


def test_missing_records_are_lookup_errors_and_bad_ids_value_errors() -> None:
    """The builtin families hold."""
    assert issubclass(JobNotFound, LookupError)
    assert issubclass(InvalidId, ValueError)


def test_errors_carry_what_a_program_needs() -> None:
    """Ids and remote tracebacks are attributes, not only words."""
    conflict = IdempotencyConflict("taken", existing_id="job_a", refused_id="job_b")
    failed = JobFailed("bad", id="job_a", error_type="ValueError", error_message="x", remote_traceback="tb")

    assert (conflict.existing_id, conflict.refused_id) == ("job_a", "job_b")
    assert (failed.id, failed.error_type, failed.error_message, failed.remote_traceback) == (
        "job_a",
        "ValueError",
        "x",
        "tb",
    )
