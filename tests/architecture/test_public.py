"""What can be imported, and the tree of errors."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
from functools import cache

import pytest

import dispatch_celery
from dispatch_celery import errors
from dispatch_celery.errors import DispatchError, StepFailed
from tests.architecture.sources import ROOT, Source, sources

MODULES = [source for source in sources() if not source.path.parts[-1].startswith("__main__")]


def _all(source: Source) -> list[str] | None:
    for node in source.tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return None


def _order(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest: the order ruff keeps, too."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@cache
def _imported(name: str) -> object:
    return importlib.import_module(name)


@pytest.mark.parametrize("source", [one for one in MODULES if _all(one) is not None], ids=lambda one: one.module)
def test_all_is_sorted_and_can_be_imported(source: Source) -> None:
    """Every name of ``__all__`` exists, once, in order."""
    names = _all(source) or []

    assert names == sorted(set(names), key=_order)
    assert [name for name in names if not _offers(source.module, name)] == []


def _offers(module: str, name: str) -> bool:
    return hasattr(_imported(module), name) or importlib.util.find_spec(f"{module}.{name}") is not None


def test_the_front_door_lists_what_it_imports() -> None:
    """``dispatch_celery`` has no logic: what it imports is what it offers."""
    (source,) = [one for one in MODULES if one.module == "dispatch_celery"]
    imported = {
        name.asname or name.name
        for node in source.tree.body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for name in node.names
    }

    assert imported == set(dispatch_celery.__all__)


def test_the_front_door_offers_every_promised_error() -> None:
    """The names of the API are a contract."""
    promised = (
        "PayloadError PayloadTooLarge IdempotencyConflict InvalidId JobNotFound RunNotFound WorkflowNotFound"
        " CronNotFound DeadLetterNotFound EventNotFound JobAlreadyComplete JobNotCancellable JobFailed JobCancelled"
        " RunFailed RunCancelled RunParked StepFailed ResultTimeout WorkflowMisuse NonDeterminism NotInJob NotInStep"
        " LeadershipLost ConfigurationError StoreUnavailable UnsupportedServer DispatchError Fenced Suspended"
    )

    assert set(promised.split()) <= set(dispatch_celery.__all__)


def test_a_module_lists_what_others_import_of_it() -> None:
    """``__all__`` tells what a module is to the rest of the package."""
    listed = {source.module: names for source in MODULES if (names := _all(source)) is not None}
    missing = {
        f"{node.module}.{name.name}"
        for source in MODULES
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and node.module in listed
        for name in node.names
        if name.name not in listed[node.module]
    }

    assert sorted(missing) == []


def _drawn() -> set[tuple[str, str]]:
    """Return the pairs of parent and child that the docstring of ``errors`` draws."""
    pairs, path = set(), []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^    ((?:\|   |    )*)(\+-- )?(\w+)(?:\s{2,}.*)?$", line)
        if not match:
            continue
        depth = len(match[1]) // 4 + (1 if match[2] else 0)
        path = [*path[:depth], match[3]]
        if depth:
            pairs.add((path[depth - 1], match[3]))
    return pairs


def test_the_drawn_tree_is_the_tree_of_classes() -> None:
    """Every class of ``errors`` is drawn under its first base of the tree."""
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]
    real = {(kind.__bases__[0].__name__, kind.__name__) for kind in classes if kind is not DispatchError}

    assert _drawn() == real
    assert {kind.__name__ for kind in classes} == set(errors.__all__)


def _tree(kind: type[DispatchError]) -> list[type[DispatchError]]:
    return [kind, *(one for child in kind.__subclasses__() for one in _tree(child))]


def _ours() -> list[type[DispatchError]]:
    for source in MODULES:
        if source.path.is_relative_to(ROOT / "dispatch_celery" / "flower"):
            continue
        _imported(source.module)
    # What a workflow catches is made of StepFailed and the step's own class, under the latter's name.
    made = {kind for kind in _tree(StepFailed) if len(kind.__bases__) > 1}
    return list({kind for kind in _tree(DispatchError) if kind.__module__.startswith("dispatch_celery")} - made)


def test_every_error_has_a_code_of_its_own() -> None:
    """Programs tell errors apart by their code, whatever room raises them."""
    codes = [kind.code for kind in _ours() if "code" in vars(kind)]
    bare = [kind.__name__ for kind in _ours() if kind.__module__ == errors.__name__ and "code" not in vars(kind)]

    assert bare == []
    assert sorted(codes) == sorted(set(codes))


def test_every_error_is_in_the_one_tree() -> None:
    """No room has errors of its own, but for the one that is also Celery's: the drawing shows all there is."""
    elsewhere = sorted(kind.__name__ for kind in _ours() if kind.__module__ != errors.__name__)

    assert elsewhere == ["AttemptTimeout"]
