"""Declarations: a workflow is a function with a name and a version, a step one with a name and a policy."""

from __future__ import annotations

import functools
import warnings
from datetime import timedelta
from typing import Any, cast

import pytest
from celery import Celery

from dispatch_celery import Dispatch
from dispatch_celery.errors import ConfigurationError, PayloadError, WorkflowMisuse, WorkflowNotFound
from dispatch_celery.retry import Constant, Retry
from dispatch_celery.workflows.context import Workflow
from dispatch_celery.workflows.definition import RunCall, Starter, WorkflowDefinition
from dispatch_celery.workflows.registry import WorkflowRegistry
from dispatch_celery.workflows.step_definition import StepDefinition
from dispatch_celery.workflows.steps import step_call


class Shop:
    """A starter that keeps what it is given."""

    max_payload = 100
    default_step_retry = Retry(1)

    def __init__(self) -> None:
        self.started: list[RunCall[Any]] = []

    def start_call(self, call: RunCall[Any]) -> Any:
        """Keep a call."""
        self.started.append(call)
        return call


SHOP = Shop()


def define(fn: Any, **options: Any) -> WorkflowDefinition[..., Any]:
    chosen = {"name": "shop.flow", "starter": lambda: cast("Starter", SHOP), **options}
    return WorkflowDefinition(fn, **chosen)


def flow(wf: Workflow, order: int, *, copy: bool = False) -> str:
    """Do what a flow does."""
    return f"{wf.info.id} {order} {copy}"


def charge(n: int, times: int = 2) -> int:
    """Charge a sum."""
    return n * times


async def fetch(n: int) -> int:
    return n


def test_a_workflow_has_the_face_of_its_function() -> None:
    """Name, module, docstring and parameters are the function's; workers know it by name and version."""
    definition = define(flow, version=3)

    assert (definition.__name__, definition.__module__, definition.__doc__) == ("flow", __name__, flow.__doc__)
    assert repr(definition) == (
        "<workflow shop.flow v3(wf: 'Workflow', order: 'int', *, copy: 'bool' = False) -> 'str'>"
    )
    assert definition.known_as == "shop.flow@3"


@pytest.mark.parametrize("name", ["a", "shop.flow", "größe", "x" * 200])
def test_a_workflows_name_is_printable(name: str) -> None:
    """Any name people can read and brokers can carry."""
    assert define(flow, name=name).name == name


@pytest.mark.parametrize(
    ("options", "why"),
    [
        *[
            ({"name": name}, "a workflow's name must be 1 to 200 printable")
            for name in ("", "a b", "a\n", "x" * 201, 3, None)
        ],
        ({"name": "a@2"}, "cannot hold '@'"),
        *[
            ({"version": version}, "version must be an integer of at least 1")
            for version in (0, -1, 1.0, "2", True, None)
        ],
        ({"queue": "a b"}, "queue must be"),
        ({"priority": 10}, "priority must be"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": "3"}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
    ],
)
def test_a_workflow_that_cannot_work_is_refused(options: dict[str, Any], why: str) -> None:
    """The error names what is wrong and what it should be."""
    with pytest.raises(ConfigurationError, match=why):
        define(flow, **options)


def _nothing() -> None: ...


def _named_only(*, wf: Workflow) -> None: ...


def _starred(wf: Workflow, *orders: int) -> None: ...


def _all_starred(*everything: Any) -> None: ...


async def _async(wf: Workflow) -> None: ...


@pytest.mark.parametrize(
    ("fn", "why"),
    [
        (_nothing, r"takes its Workflow first: def _nothing\(wf: Workflow"),
        (_named_only, "takes its Workflow first"),
        (_all_starred, "takes its Workflow first"),
        (_starred, r"'\*orders' cannot be stored by name"),
        (functools.partial(flow, order=1), "a workflow is a function"),
        (Workflow, "a workflow is a function"),
        (3, "a workflow is a function"),
        (None, "a workflow is a function"),
    ],
)
def test_what_cannot_be_a_workflow_is_refused(fn: Any, why: str) -> None:
    """Its function is plain, takes its Workflow first, and names its other parameters."""
    with pytest.raises(ConfigurationError, match=why):
        define(fn)


def test_bind_checks_a_call_and_starts_nothing() -> None:
    """A bound call holds the checked arguments, without the Workflow, and what people may see of them."""
    SHOP.started.clear()
    call = define(flow).bind(3, copy=True)

    assert (call.payload, call.summary) == (b'{"order":3,"copy":true}', "order=3, copy=True")
    assert SHOP.started == []


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        (("3",), {}),
        ((), {}),
        ((3, 4), {}),
        ((3,), {"copies": True}),
        ((3,), {"copy": 1}),
        ((), {"order": 3, "wf": None}),
        ((3,), {"order": 3}),
    ],
)
def test_a_call_that_does_not_fit_is_refused_before_it_is_stored(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Wrong types, unknown, doubled and missing arguments fail in bind and in start alike."""
    SHOP.started.clear()
    for verb in (define(flow).bind, define(flow).start, define(flow).options(delay=3).start):
        with pytest.raises(PayloadError, match=r"shop\.flow"):
            verb(*args, **kwargs)
    assert SHOP.started == []


def test_options_travel_with_the_call() -> None:
    """Each start has its own; the definition keeps none."""
    definition = define(flow, timeout=timedelta(minutes=1), queue="slow", priority=3)
    SHOP.started.clear()

    definition.options(delay=3, idempotency_key="k", timeout=5).start(1)
    definition.start(1)

    with_options, without = SHOP.started
    assert (with_options.options.delay_ms, with_options.options.idempotency_key) == (3_000, "k")
    assert without.options.is_empty
    assert (definition.timeout_ms, definition.queue, definition.priority) == (60_000, "slow", 3)


def test_options_are_checked_before_anything_is_started() -> None:
    """A wrong option fails in ``options``, not in ``start``."""
    with pytest.raises(ConfigurationError, match="give delay or run_at"):
        define(flow).options(delay=3, run_at=3)  # type: ignore[arg-type]


def test_workflows_are_declared_bare_and_with_options() -> None:
    """Bare, the name is module and function; with options, it is theirs, and the app may come later."""
    dispatch = Dispatch()

    bare = dispatch.workflow(flow)
    named = dispatch.workflow(name="checkout", version=2, timeout=60)(flow)

    assert (bare.name, bare.version, bare.timeout_ms) == (f"{__name__}.flow", 1, None)
    assert (named.name, named.version, named.timeout_ms) == ("checkout", 2, 60_000)


def test_a_name_is_a_workflow_or_a_job() -> None:
    """One name cannot be both, whichever was declared first."""
    dispatch = Dispatch()
    dispatch.job(name="taken")(charge)

    with pytest.raises(ConfigurationError, match="'taken' is a job already"):
        dispatch.workflow(name="taken")(flow)


@pytest.mark.parametrize("app_comes_first", [True, False])
def test_versions_of_a_name_are_one_task(app_comes_first: bool) -> None:  # noqa: FBT001 - a case
    """Celery, which knows names only, has nothing to warn of when the app is finalised."""

    def other(wf: Workflow) -> None: ...

    app = Celery("versions", broker="memory://", set_as_current=False)
    dispatch = Dispatch(app) if app_comes_first else Dispatch()
    dispatch.workflow(name="checkout", version=1)(flow)
    dispatch.workflow(name="checkout", version=2)(other)
    if not app_comes_first:
        dispatch.init_app(app)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        app.finalize()

    assert "checkout" in app.tasks
    assert [str(one.message) for one in told] == []


def test_a_version_belongs_to_one_function() -> None:
    """A second function of one version is refused; other versions stand beside, and the highest is the latest."""

    def other(wf: Workflow) -> None: ...

    registry = WorkflowRegistry()
    for version in (1, 10, 2):
        registry.add(define(flow, version=version))

    with pytest.raises(ConfigurationError, match=r"version 2 of the workflow 'shop\.flow' is flow already"):
        registry.add(define(other, version=2))
    registry.add(define(flow, version=2))
    assert registry.latest("shop.flow").version == 10
    assert (registry.get("shop.flow", 2) is not None, registry.get("shop.flow", 3)) == (True, None)
    with pytest.raises(WorkflowNotFound, match=r"no workflow 'nobody'; it has: shop\.flow"):
        registry.latest("nobody")


def test_a_step_is_still_its_function() -> None:
    """A plain call runs it here; bare or with options, it knows its name and its policy."""
    dispatch = Dispatch()
    bare = dispatch.step(charge)
    named = dispatch.step(name="pay", retry=Retry(7, Constant(1)), timeout=1.5)(fetch)

    assert (bare(3), bare.options(name="x")(3), bare.__doc__) == (6, 6, "Charge a sum.")
    assert (bare.name, bare.retry, bare.timeout_ms, bare.is_async) == ("charge", None, None, False)
    assert (named.name, named.retry, named.timeout_ms, named.is_async) == ("pay", Retry(7, Constant(1)), 1_500, True)
    assert (bare.options(name="x").name, bare.options().name) == ("x", "charge")
    assert StepDefinition(lambda: 3).name == "lambda"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        *[({"name": name}, "a step's name must be 1 to 200 printable") for name in ("", "a\n", "x" * 201, 3, "\ud800")],
        *[({"name": name}, "cannot hold '/', '#' or spaces") for name in ("a/b", "a#1", "a b")],
        *[({"retry": retry}, "charge: retry must be a Retry") for retry in (3, Constant(3), "3")],
        *[({"timeout": timeout}, "timeout") for timeout in (-1, "3", True, float("nan"))],
    ],
)
def test_a_step_that_cannot_work_is_refused(options: dict[str, Any], why: str) -> None:
    """Names that an identity cannot hold and policies that are none fail where they are declared."""
    with pytest.raises(ConfigurationError, match=why):
        StepDefinition(charge, **options)


@pytest.mark.parametrize("fn", [int, 3, None, functools.partial(charge, 3), _all_starred])
def test_what_cannot_be_a_step_is_refused_where_it_is_declared(fn: Any) -> None:
    """Classes, values and ``*args`` are no steps, as they are no jobs."""
    with pytest.raises(ConfigurationError):
        StepDefinition(fn)


@pytest.mark.parametrize("name", ["", "a/b", "a#1", 3])
def test_a_step_is_renamed_by_the_same_rules(name: Any) -> None:
    """Options are held to what a declaration is held to."""
    with pytest.raises(ConfigurationError, match="a step's name"):
        StepDefinition(charge).options(name=name)


def test_a_call_of_a_step_is_bound_and_checked() -> None:
    """Steps, renamed steps and plain functions are calls; arguments must fit."""
    step: StepDefinition[..., Any, Any] = StepDefinition(charge, name="pay")

    assert [step_call(fn, (3,), {}).name for fn in (step, step.options(name="x"), charge)] == ["pay", "x", "charge"]
    assert step_call(step, (3,), {"times": 1}).encode(1_000) == b'{"n":3,"times":1}'
    with pytest.raises(PayloadError, match="step pay"):
        step_call(step, ("3",), {}).encode(1_000)
    with pytest.raises(PayloadError, match="step pay"):
        step_call(step, (), {})
    with pytest.raises(WorkflowMisuse, match="takes a step, a function or a plain Celery task"):
        step_call(print, (), {})
