"""Files, functions and names keep to the house rules."""

from __future__ import annotations

import ast
import re
import sys

import pytest

from dispatch_celery.config import Settings
from tests.architecture.sources import PACKAGE, TESTS, sources

_VAGUE = {"utils", "util", "common", "helpers", "helper", "manager", "misc", "base_utils"}


def test_every_folder_is_a_package() -> None:
    """A folder of Python files has an ``__init__.py``."""
    folders = {source.path.parent for source in sources()}

    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_no_file_is_over_500_lines() -> None:
    """Python and Lua alike."""
    files = [path for kind in ("*.py", "*.lua") for path in PACKAGE.rglob(kind)]
    lengths = {str(path.relative_to(PACKAGE)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}

    assert {name: length for name, length in lengths.items() if length > 500} == {}


def test_no_function_is_over_60_lines() -> None:
    """From its name to its last line."""
    long = {
        f"{source.at(function)} {function.name}": length
        for source in sources()
        for function in source.functions()
        if (length := (function.end_lineno or 0) - function.lineno + 1) > 60
    }

    assert long == {}


def test_no_module_has_a_vague_name_or_shadows_the_standard_library() -> None:
    """A newcomer who runs ``ls`` knows the product."""
    names = {source.path.stem for source in sources()} | {source.path.parent.name for source in sources()}
    top_level = {source.path.stem for source in sources() if source.path.parent == PACKAGE}

    assert names & _VAGUE == set()
    assert top_level & set(sys.stdlib_module_names) <= {"__main__"}


def test_every_module_says_what_it_promises() -> None:
    """A docstring opens every module; a room without one promises nothing."""
    assert [source.shown for source in sources() if source.text.strip() and not ast.get_docstring(source.tree)] == []


def test_every_public_name_has_a_docstring() -> None:
    """Functions, classes, and the public methods of public classes."""
    bare = [
        f"{source.at(node)} {node.name}"
        for source in sources()
        for node in source.public()
        if not ast.get_docstring(node) and not any(one.endswith(("overload", ".setter")) for one in _decorators(node))
    ]

    assert bare == []


def _decorators(node: ast.AST) -> set[str]:
    return {ast.unparse(one) for one in getattr(node, "decorator_list", [])}


def test_every_test_says_what_it_shows() -> None:
    """One sentence; the name says it in short."""
    bare = [
        f"{source.at(function)} {function.name}"
        for source in sources(TESTS)
        for function in source.functions()
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]

    assert bare == []


@pytest.mark.parametrize("folder", [PACKAGE, TESTS], ids=["package", "tests"])
def test_nothing_is_left_to_be_done(folder: object) -> None:
    """No note to oneself lands."""
    note = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
    found = [f"{source.shown}: {hit[0]}" for source in sources(folder) for hit in note.finditer(source.text)]  # type: ignore[arg-type]

    assert found == []


def test_every_exception_to_a_rule_has_its_reason() -> None:
    """``noqa`` and ``type: ignore`` name what they silence, and say why."""
    bare = re.compile(r"# noqa(?!: [A-Z]+\d)|# type: ignore(?!\[)|# noqa: [A-Z0-9, ]+$|# type: ignore\[[\w, -]+\]$")
    found = [
        f"{source.shown}:{number}"
        for source in sources()
        for number, line in enumerate(source.text.splitlines(), 1)
        if bare.search(line.rstrip())
    ]

    assert found == []


def test_every_setting_is_described() -> None:
    """The table of settings in the docs is made of these sentences."""
    bare = [name for name, field in Settings.model_fields.items() if not (field.description or "").endswith(".")]

    assert bare == []


def test_every_setting_has_a_default() -> None:
    """Nothing has to be set before the first job."""
    assert [name for name, field in Settings.model_fields.items() if field.is_required()] == []
