"""The sources of the package and of its tests, parsed once, for the tests of their shape."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "dispatch_celery"
TESTS = ROOT / "tests"

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One Python file."""

    path: Path
    text: str

    @property
    def shown(self) -> str:
        """Its path from the root."""
        return str(self.path.relative_to(ROOT))

    @property
    def module(self) -> str:
        """Its name as a module."""
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return _parsed(self.text)

    def at(self, node: ast.stmt | ast.expr) -> str:
        """Return ``path:line`` of a node."""
        return f"{self.shown}:{node.lineno}"

    def functions(self) -> Iterator[Function]:
        """Yield every function, at any depth."""
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def public(self) -> Iterator[Function | ast.ClassDef]:
        """Yield public functions and classes of the module, and public methods of its public classes."""
        for node in self.tree.body:
            if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
                yield node
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield from (one for one in node.body if isinstance(one, Function) and not one.name.startswith("_"))


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


@cache
def sources(folder: Path = PACKAGE) -> tuple[Source, ...]:
    """Return every Python file of a folder."""
    found = sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)
    return tuple(Source(path, path.read_text(encoding="utf-8")) for path in found)
