"""Layers never point up: the contracts of import-linter hold, and nothing dodges them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT, sources

CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


@cache
def report() -> str:
    """Return what import-linter says of the package."""
    program = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([program, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", [contract["name"] for contract in CONTRACTS])
def test_a_contract_is_kept(name: str) -> None:
    """Every contract that is configured was checked and is kept."""
    assert re.search(rf"^{re.escape(name)} KEPT$", report(), re.MULTILINE), report()


def test_the_layers_name_every_room() -> None:
    """The order of floors is exhaustive: a new room has to be given its floor."""
    layers = next(contract for contract in CONTRACTS if contract["type"] == "layers")
    named = {room.strip() for floor in layers["layers"] for room in re.split(r"[|:]", floor)}
    rooms = {source.path.relative_to(ROOT).parts[1].removesuffix(".py") for source in sources()}

    assert layers["exhaustive"]
    assert rooms - {"__init__", "__main__"} <= named


def test_no_import_hides_in_a_function() -> None:
    """An arrow that wants to point up is turned round, not hidden."""
    hidden = [
        source.at(node)
        for source in sources()
        for function in source.functions()
        for node in ast.walk(function)
        if (isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("dispatch_celery")))
        or (isinstance(node, ast.Import) and any(name.name.startswith("dispatch_celery") for name in node.names))
    ]

    assert hidden == []


def test_no_import_is_for_type_checkers_only() -> None:
    """Annotations are read at run time, and ``TYPE_CHECKING`` would hide an arrow from the linter."""
    hidden = [
        source.shown for source in sources() if re.search(r"^if (typing\.)?TYPE_CHECKING", source.text, re.MULTILINE)
    ]

    assert hidden == []


def test_only_absolute_imports() -> None:
    """A line of code names the room it uses."""
    relative = [
        source.at(node)
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]

    assert relative == []
