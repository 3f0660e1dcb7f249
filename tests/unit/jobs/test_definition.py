"""Declarations: a job is a function with a name, and what cannot work is refused where it is declared."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from dispatch_celery.config import Settings
from dispatch_celery.errors import ConfigurationError, PayloadError
from dispatch_celery.jobs.definition import Call, JobDefinition, named_call
from dispatch_celery.jobs.eager import EagerJobs
from dispatch_celery.jobs.registry import Registry
from dispatch_celery.retry import Constant, Retry

SETTINGS = Settings()


def _enqueuer() -> EagerJobs:
    return EagerJobs(
        lambda definition, context, _: definition(**context.arguments),
        propagate=False,
        max_payload=SETTINGS.max_payload,
        default_retry=SETTINGS.default_retry,
    )


def define(fn: Any, **options: Any) -> JobDefinition[..., Any, Any]:
    return JobDefinition(fn, **{"name": "shop.job", "enqueuer": _enqueuer, **options})


def double(n: int, times: int = 2) -> int:
    """Double a number."""
    return n * times


async def fetch(n: int) -> int:
    return n


def test_a_definition_is_still_its_function() -> None:
    """Calling it runs the function here; name, module and docstring are the function's."""
    job = define(double)

    assert job(3) == 6
    assert (job.__name__, job.__module__, job.__doc__) == ("double", __name__, "Double a number.")
    assert repr(job) == "<job shop.job(n: 'int', times: 'int' = 2) -> 'int'>"
    assert (job.is_async, define(fetch).is_async) == (False, True)


def test_a_definition_holds_its_policy_or_the_default() -> None:
    """Without a policy of its own, a job has the app's."""
    policy = Retry(7, Constant(1))

    assert define(double, retry=policy).retry_policy == policy
    assert define(double).retry_policy == SETTINGS.default_retry
    assert define(double, timeout=1.5).timeout_ms == 1_500


def test_bind_checks_a_call_and_does_nothing() -> None:
    """A bound call holds the checked payload and what people may see of it."""
    call = define(double).bind(3, times=4)

    assert isinstance(call, Call)
    assert (call.payload, call.summary) == (b'{"n":3,"times":4}', "n=3, times=4")
    with pytest.raises(PayloadError, match=r"shop\.job: arguments: n: "):
        define(double).bind("3")


@pytest.mark.parametrize("name", ["a", "mail.receipt", "shop:job", "größe", "x" * 200])
def test_a_name_is_printable_without_spaces(name: str) -> None:
    """Any name people can read and brokers can carry."""
    assert define(double, name=name).name == name


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"name": ""}, "a job's name must be 1 to 200 printable characters without spaces"),
        ({"name": "a b"}, "a job's name must be"),
        ({"name": "a\n"}, "a job's name must be"),
        ({"name": "\ud800"}, "a job's name must be"),
        ({"name": "x" * 201}, "a job's name must be"),
        ({"name": 3}, "a job's name must be"),
        ({"queue": "a b"}, "queue must be"),
        ({"queue": ""}, "queue must be"),
        ({"priority": 10}, "priority must be"),
        ({"priority": True}, "priority must be"),
        ({"retry": 3}, r"shop\.job: retry must be a Retry"),
        ({"retry": Constant(3)}, r"shop\.job: retry must be a Retry"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(options: dict[str, Any], why: str) -> None:
    """The error names what is wrong and what it should be."""
    with pytest.raises(ConfigurationError, match=why):
        define(double, **options)


@pytest.mark.parametrize("timeout", [-1, 1e12, "3", True, float("nan"), 10**400], ids=range(6))
def test_a_timeout_that_cannot_work_is_refused(timeout: Any) -> None:
    """A declared timeout is held to the same bounds as ``options(timeout=...)``."""
    with pytest.raises(ConfigurationError, match="timeout"):
        define(double, timeout=timeout)


def _starred(*parts: int) -> None: ...


@pytest.mark.parametrize("fn", [_starred, int, None, 3, "double", JobDefinition])
def test_what_is_no_function_by_name_is_refused(fn: Any) -> None:
    """Classes, values and ``*args`` are no jobs."""
    with pytest.raises(ConfigurationError):
        define(fn)


@pytest.mark.parametrize("fn", [functools.partial(double, times=3), type("Callable", (), {"__call__": double})()])
def test_a_callable_without_readable_annotations_is_refused_where_it_is_declared(fn: Any) -> None:
    """What can never be enqueued is told at once, or can be enqueued."""
    try:
        job = define(fn)
    except ConfigurationError:
        return
    assert job.bind(3).payload


def test_enqueue_many_takes_calls_tuples_and_mappings() -> None:
    """Each form is checked before any is stored."""
    job = define(double)

    handles = job.enqueue_many([job.bind(1), (2,), (3, 3), {"n": 4}])

    assert [handle.result() for handle in handles] == [2, 4, 9, 8]


def test_a_batch_with_options_takes_tuples_and_mappings() -> None:
    """The options hold for each of them."""
    handles = define(double).options(queue="slow").enqueue_many([(2,), {"n": 3}])

    assert [(handle.result(), handle.info().queue) for handle in handles] == [(4, "slow"), (6, "slow")]


def test_a_batch_with_options_takes_calls_and_refuses_the_rest() -> None:
    """As ``enqueue_many`` of the job itself."""
    job = define(double)

    assert [handle.result() for handle in job.options(queue="slow").enqueue_many([job.bind(2)])] == [4]  # type: ignore[list-item]
    with pytest.raises(PayloadError, match="takes calls, tuples or dicts"):
        job.options(queue="slow").enqueue_many([3])  # type: ignore[list-item]


@pytest.mark.parametrize("bad", [3, "n", None, [1]])
def test_enqueue_many_refuses_what_is_no_call(bad: Any) -> None:
    """The error names the job and the forms it takes."""
    with pytest.raises(PayloadError, match=r"shop\.job\.enqueue_many takes calls, tuples or dicts"):
        define(double).enqueue_many([bad])


def test_enqueue_many_refuses_a_call_of_another_job() -> None:
    """A mixed batch is another verb's work."""
    with pytest.raises(PayloadError, match="was given a call of other"):
        define(double).enqueue_many([define(double, name="other").bind(1)])


def test_options_are_checked_before_anything_is_enqueued() -> None:
    """A wrong option fails in ``options``, not in ``enqueue``."""
    with pytest.raises(ConfigurationError, match="give delay or run_at"):
        define(double).options(delay=3, run_at=3)


def test_a_call_by_name_is_checked_where_the_job_is_declared() -> None:
    """A declared job's types count; of another one only its worker knows them."""
    declared = named_call("shop.job", {"n": 3}, define(double), enqueuer=_enqueuer)
    unknown = named_call("billing.tax", {"order": {"id": 1}}, None, enqueuer=_enqueuer)

    assert (declared.payload, unknown.payload) == (b'{"n":3}', b'{"order":{"id":1}}')
    with pytest.raises(PayloadError, match="n: Input should be a valid integer"):
        named_call("shop.job", {"n": "3"}, define(double), enqueuer=_enqueuer)
    with pytest.raises(PayloadError):
        named_call("billing.tax", {"order": object()}, None, enqueuer=_enqueuer)


def _closure() -> Any:
    def inner() -> None: ...

    return inner


def test_a_name_belongs_to_one_function() -> None:
    """A second function of one name is refused, and the error shows both places."""
    registry = Registry()
    registry.add(define(double))

    with pytest.raises(ConfigurationError, match=r"'shop\.job' is taken by double .*; give fetch .* another name="):
        registry.add(define(fetch))
    assert registry.get("shop.job") is not None


def test_the_same_function_may_be_declared_again() -> None:
    """A module that is imported twice declares the same job; the later one counts."""
    registry = Registry()
    registry.add(define(_closure()))
    again = define(_closure())
    registry.add(again)

    assert registry.get("shop.job") is again
    assert list(registry) == [again]


def test_a_remote_job_is_declared_and_not_run_here() -> None:
    """Its name is known to callers and not to this process's worker."""
    registry = Registry()
    remote = define(double, remote=True)
    registry.add(remote)

    assert registry.declared("shop.job") is remote
    assert registry.get("shop.job") is None
    assert registry.get("nobody") is None


def test_two_functions_of_one_line_are_two() -> None:
    """A name is not silently handed to another function on the same line."""
    registry = Registry()
    first, second = (lambda a: a), (lambda b: b)
    registry.add(define(first))

    with pytest.raises(ConfigurationError, match="is taken"):
        registry.add(define(second))
