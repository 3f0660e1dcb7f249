"""Undos: functions found again by their names, with policies and parameters that can be stored."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from dispatch_celery import Dispatch
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.jobs.options import StoredRetry
from dispatch_celery.retry import Constant, Exponential, Linear, Retry
from dispatch_celery.workflows.step_definition import StepDefinition
from dispatch_celery.workflows.undo import DEFAULT_UNDO_RETRY, Undo, find_undo


def charge(account: str, amount: int = 1, *, note: str = "") -> str:
    """Return a receipt."""
    return f"{account}{amount}{note}"


def refund(receipt: str | None, account: str, amount: int, *, note: str) -> None:
    """Give it back."""


async def arefund(receipt: str | None, account: str, amount: int, *, note: str) -> None:
    """Give it back on a loop."""


class Bank:
    """A class with functions that can and cannot be found by name."""

    @staticmethod
    def refund(receipt: str | None, account: str, amount: int, *, note: str) -> None:
        """Give it back."""

    def __call__(self, receipt: str | None, account: str, amount: int, *, note: str) -> None:
        """Give it back."""

    def give(self, receipt: str | None, account: str, amount: int, *, note: str) -> None:
        """Give it back."""


def made(fn: Any, **options: Any) -> Undo:
    """Return what a step of ``charge`` with this undo has."""
    undone_by = StepDefinition(charge, undo=fn, **options).undone_by
    assert undone_by is not None
    return undone_by


# -- names


@pytest.mark.parametrize("fn", [refund, arefund, Bank.refund])
def test_an_undo_has_the_name_of_its_function(fn: Any) -> None:
    """Module and qualified name, under which it is found again."""
    assert made(fn).name == f"{__name__}:{fn.__qualname__}"
    assert find_undo(made(fn).name) is fn


@pytest.mark.parametrize(
    "fn",
    [
        lambda *_: None,
        functools.partial(refund, note=""),
        Bank(),
        Bank().give,
        Bank,
        print,
        StepDefinition(refund),
        "refund",
        3,
    ],
    ids=["lambda", "partial", "callable", "method", "class", "builtin", "step", "text", "number"],
)
def test_what_has_no_name_of_its_own_is_no_undo(fn: Any) -> None:
    """It could not be found again in another process; it is refused where it is declared, by every way to do so."""
    step = StepDefinition(charge)
    for declare in (
        Undo.of,
        step.undo,
        lambda fn: StepDefinition(charge, undo=fn),
        lambda fn: Dispatch().step(undo=fn)(charge),
    ):
        with pytest.raises(ConfigurationError, match="an undo is found by its name, so it must be a function with one"):
            declare(fn)
    assert step.undone_by is None


def _starred(receipt: str | None, *rest: Any) -> None: ...


def _open(receipt: str | None, account: str, amount: int, **rest: Any) -> None: ...


@pytest.mark.parametrize(("fn", "star"), [(_starred, r"\*rest"), (_open, r"\*\*rest")])
def test_an_undo_names_its_parameters(fn: Any, star: str) -> None:
    """Arguments are stored by name, so ``*`` and ``**`` hold none."""
    with pytest.raises(ConfigurationError, match=rf"the undo {fn.__name__} cannot take .{star}.*: name its parameters"):
        made(fn)


def test_a_nested_function_is_found_while_its_process_lives() -> None:
    """The process that declared it has it, though no module does."""

    def nested(receipt: str | None, account: str, amount: int, *, note: str) -> None: ...

    assert "<locals>" in made(nested).name
    assert find_undo(made(nested).name) is nested


def _module(monkeypatch: pytest.MonkeyPatch, **functions: Any) -> str:
    """Return the name of a module of which nothing was ever declared."""
    module = ModuleType("some_shop")
    module.__dict__.update(functions)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module.__name__


def test_a_function_that_nobody_declares_any_more_is_found_in_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step may be gone, its undo only has to be where it was."""
    name = _module(monkeypatch, refund=refund, Bank=Bank)

    assert find_undo(f"{name}:refund") is refund
    assert find_undo(f"{name}:Bank.refund") is Bank.refund


def test_a_decorated_undo_is_found_with_its_decorators(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is around it, a transaction or a log, is part of it, whether this process has declared it or not."""

    @functools.wraps(refund)
    def within_a_transaction(*args: Any, **kwargs: Any) -> None:
        refund(*args, **kwargs)

    name = _module(monkeypatch, refund=within_a_transaction)

    assert find_undo(f"{name}:refund") is within_a_transaction


def test_a_function_that_became_a_step_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its function is called, as the step's own plain call would."""
    name = _module(monkeypatch, refund=StepDefinition(refund))

    assert find_undo(f"{name}:refund") is refund


@pytest.mark.parametrize(
    "name",
    [
        "no_such_module:refund",
        f"{__name__}:gone",
        f"{__name__}:Bank.gone",
        f"{__name__}:Bank",
        f"{__name__}:gone.<locals>.nested",
        f"{__name__}:refund.<locals>.nested",
        f"{__name__}:",
        ":refund",
        "",
    ],
)
def test_a_function_that_is_gone_is_not_found(name: str) -> None:
    """Nothing is imported for it, and nothing else is taken for it."""
    assert find_undo(name) is None


def test_nothing_is_imported_for_an_undo() -> None:
    """A worker runs what its app has imported, and no more."""
    sys.modules.pop("this", None)

    assert find_undo("this:anything") is None
    assert "this" not in sys.modules


# -- policies


@pytest.mark.parametrize(
    "policy",
    [Retry(7, Constant(3), give_up_on=(KeyError,)), Retry(2, Linear(1)), Retry(9, Exponential(1, jitter=False))],
)
def test_a_policy_travels_with_the_undo(policy: Retry) -> None:
    """Whoever undoes it later, without the step, tries as often and waits as long."""
    stored = StoredRetry(made(refund, undo_retry=policy).retry)

    assert stored.max_attempts == policy.max_attempts
    assert [stored.delay(n) for n in (1, 2, 3)] == [policy.delay(n) for n in (1, 2, 3)]
    assert [stored.gives_up(error) for error in (KeyError("x"), ValueError("x"))] == [
        policy.gives_up(error) for error in (KeyError("x"), ValueError("x"))
    ]


def test_an_undo_without_a_policy_is_tried_for_some_minutes() -> None:
    """Ten times; an undo matters more than a step."""
    assert made(refund).retry == Undo.of(refund).retry == StoredRetry.dump(DEFAULT_UNDO_RETRY)
    assert StoredRetry(made(refund).retry).max_attempts == 10


class Own:
    """A backoff of a user's."""

    def delay(self, attempt: int, /) -> float:
        """Return seconds."""
        return float(attempt)


def test_a_policy_that_cannot_be_stored_is_refused() -> None:
    """The message names the step and its option: an undo cannot look its policy up where the step is gone."""
    with pytest.raises(ConfigurationError, match=r"undo_retry.*Own.*Constant, Linear or Exponential") as refused:
        StepDefinition(charge, undo=refund, undo_retry=Retry(3, Own()))
    assert "options(retry=" not in str(refused.value)


@pytest.mark.parametrize("policy", [3, Constant(3), "3"])
def test_what_is_no_policy_is_refused(policy: Any) -> None:
    """As for a step's own ``retry``."""
    with pytest.raises(ConfigurationError, match="charge: undo_retry must be a Retry"):
        StepDefinition(charge, undo=refund, undo_retry=policy)


def test_an_undo_has_the_time_of_its_step() -> None:
    """Or none; ``add_undo`` gives none."""
    assert (made(refund, timeout=1.5).timeout_ms, made(refund).timeout_ms, Undo.of(refund).timeout_ms) == (
        1_500,
        None,
        None,
    )


# -- parameters


def _few(receipt: str | None, account: str) -> None: ...


def _many(receipt: str | None, account: str, amount: int, note: str, more: int) -> None: ...


def _defaulted(receipt: str | None, account: str, amount: int, note: str, more: int = 3) -> None: ...


def _none() -> None: ...


@pytest.mark.parametrize("fn", [_few, _many, _defaulted, _none])
def test_an_undo_with_another_number_of_parameters_is_refused(fn: Any) -> None:
    """It takes the result, then what the step takes; the message shows both."""
    step = StepDefinition(charge)
    with pytest.raises(
        ConfigurationError,
        match=rf"charge: its undo {fn.__name__} must take the step's result and then \['account', 'amount', 'note'\]",
    ):
        step.undo(fn)
    assert step.undone_by is None


def _renamed(paid: str | None, who: str, much: int, *, note: str) -> None: ...


def _result_named_like_an_argument(account: str | None, name: str, amount: int, *, note: str) -> None: ...


def test_renamed_parameters_are_mapped_by_their_places() -> None:
    """Only those that the undo calls otherwise."""
    assert StepDefinition(charge, undo=refund).renamed == {}
    assert StepDefinition(charge, undo=_renamed).renamed == {"account": "who", "amount": "much"}
    assert StepDefinition(charge, undo=_result_named_like_an_argument).renamed == {"account": "name"}
    assert StepDefinition(charge).renamed == {}


def test_keyword_only_parameters_are_mapped_by_their_names() -> None:
    """They have no place: in another order they are the same."""

    def send(*, sender: str, receiver: str) -> None: ...

    def send_back(result: None, *, receiver: str, sender: str) -> None: ...

    assert StepDefinition(send, undo=send_back).renamed == {}


def test_keyword_only_parameters_of_other_names_are_refused() -> None:
    """There is no telling which of them is which."""

    def send(*, sender: str, receiver: str) -> None: ...

    def send_back(result: None, *, source: str, target: str) -> None: ...

    with pytest.raises(ConfigurationError, match=r"send: its undo .*send_back must take"):
        StepDefinition(send, undo=send_back)


def test_a_step_that_takes_any_arguments_has_no_undo() -> None:
    """What they are called is not known before the call, so the undo could not name them."""

    def note(account: str, **more: int) -> None: ...

    def forget(result: None, account: str, more: int) -> None: ...

    with pytest.raises(ConfigurationError, match=r"note: .*\*\*more.*has no undo"):
        StepDefinition(note, undo=forget)


# -- declaring


def test_an_undo_is_declared_with_the_step_or_under_it() -> None:
    """As an option, as a decorator of its own, with the step's policy for it; the function stays what it is."""
    dispatch = Dispatch()
    with_option = dispatch.step(undo=refund, undo_retry=Retry(2))(charge)
    under: StepDefinition[..., Any, Any] = dispatch.step(undo_retry=Retry(2))(charge)
    returned: Callable[..., Any] = under.undo(refund)

    assert returned is refund
    assert with_option.undone_by == under.undone_by
    assert with_option.undone_by is not None
    assert StoredRetry(with_option.undone_by.retry).max_attempts == 2
    assert with_option.options(name="x").definition.undone_by == with_option.undone_by
