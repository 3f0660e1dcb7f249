"""Calls that are sent twice: how to come to where each is made, and what it is answered the first and second time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tests.lua.world import World

__all__ = ["Act", "Case", "named"]

W = TypeVar("W", bound=World)
Act = Callable[[], Any]


@dataclass
class Case(Generic[W]):
    """A script, how to come to where it is called, and what it answers the first and the second time."""

    script: str
    prepare: Callable[[W], Act]
    first: Any
    second: Any
    note: str = ""


def named(case: Case[Any]) -> str:
    """Return what a test of a case is called."""
    return f"{case.script} {case.note}".strip()
