"""What the catalogue of durable functions asks of stored bytes: they are data, and never become code."""

from __future__ import annotations

import ast
import pickle

import pytest

from dispatch_celery.codec import Codec
from tests.architecture.sources import sources

_UNSAFE = {"pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle"}


def _unsafe(tree: ast.Module) -> set[str]:
    """Return what a module imports or calls that turns bytes or text into code."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names} & _UNSAFE
        elif isinstance(node, ast.ImportFrom):
            found |= {(node.module or "").partition(".")[0]} & _UNSAFE
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found |= {node.func.id} & {"eval", "exec"}
    return found


def test_nothing_that_is_stored_can_become_code() -> None:
    """DF-20: no module of the package unpickles, evaluates or executes what it reads."""
    assert {source.shown: unsafe for source in sources() if (unsafe := _unsafe(source.tree))} == {}


@pytest.mark.parametrize("text", ["import pickle", "from marshal import loads", "import dill.source", "eval('1')"])
def test_what_turns_bytes_into_code_is_noticed(text: str) -> None:
    """The test above fails when it should."""
    assert _unsafe(ast.parse(text))


class Bomb:
    """An object whose pickle has an effect when it is loaded."""

    def __reduce__(self) -> tuple[object, ...]:
        return pytest.fail, ("a payload was unpickled",)


def test_bytes_that_are_a_pickle_are_only_bytes() -> None:
    """DF-20: they come back as they went, and nothing of them is loaded."""
    codec = Codec(bytes, subject="result", limit=1_000)
    bomb = pickle.dumps(Bomb())

    assert codec.decode(codec.encode(bomb)) == bomb
