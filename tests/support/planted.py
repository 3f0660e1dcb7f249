"""Bugs planted in the scripts of limits and cron, each with the quick check that must notice it.

The crash explorer knows neither room. So a check is a test of the Lua suites, called with a world whose scripts have
the bug; ``tests/properties/planted.toml`` lists them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest

from dispatch_celery.store.client import Store
from dispatch_celery.store.scripts import Script, all_scripts
from tests.lua.run_world import RunWorld
from tests.support.invariants import clean
from tests.support.mutants import Mutant, mutated

__all__ = ["Planted", "broken_promise", "planted"]

_LIST: Final = Path(__file__).parents[1] / "properties" / "planted.toml"


@dataclass(frozen=True, kw_only=True)
class Planted:
    """One bug: in a script or a fragment, ``before`` became ``after``."""

    bug: str
    file: str
    before: str
    after: str
    check: str
    """A module of ``tests/lua`` and a test in it."""
    case: Mapping[str, Any] = field(default_factory=dict)

    def mutant(self) -> Mutant:
        """Return the bug with every script it is in; fail if the line it breaks is not there any more."""
        scripts = [script for script in all_scripts() if self._is_in(script)]
        assert scripts, f"{self.bug}: there is no {self.file}"
        found = Mutant(self.bug, tuple(script.name for script in scripts), self.before, self.after)
        for script in scripts:
            mutated(script, found)
        return found

    def _is_in(self, script: Script) -> bool:
        room, _, name = self.file.partition("/")
        return name in script.header["INCLUDE"].split() if room == "lib" else script.name == self.file


def planted() -> list[Planted]:
    """Return every planted bug."""
    return [Planted(**entry) for entry in tomllib.loads(_LIST.read_text())["planted"]]


def broken_promise(store: Store, namespace: str, bug: Planted) -> str:
    """Return what the check of a bug says where scripts are sent through ``store``; empty where all is as it should be.

    A script that does not run at all is no bug of the kind that is looked for: what it raises is raised here.
    """
    module, _, name = bug.check.partition(".")
    test: Callable[..., None] = getattr(import_module(f"tests.lua.{module}"), name)
    world = RunWorld(store, namespace)
    try:
        test(world, **bug.case)
        return "; ".join(world.problems())
    except (AssertionError, LookupError, pytest.fail.Exception) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        clean(store, world.keys.tag)
