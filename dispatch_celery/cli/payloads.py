"""The arguments that an edit must give whole, as commands show them: on one line of JSON, with what is secret masked.

Promises: what is printed can be pasted where a command takes ``JSON``; where something is masked in it, that is said,
and an edit that brings a mask back is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dispatch_celery.app import Dispatch
from dispatch_celery.cli.masking import EVERYTHING, MASK, Masking, refuse_masks
from dispatch_celery.cli.output import Output
from dispatch_celery.errors import ConfigurationError

__all__ = ["ShownArguments", "as_json_line", "masking_of", "refuse_pasted_masks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownArguments:
    """Some work's arguments as they are shown, and whether something is masked in them."""

    values: Mapping[str, Any]
    are_masked: bool
    reveal: str
    """The command that shows them whole."""

    @classmethod
    def of(
        cls, masking: Masking, name: str, arguments: Mapping[str, Any], *, version: int = 0, whole: bool, reveal: str
    ) -> ShownArguments:
        """Return the arguments of a job, or of a workflow's version; ``whole``: with what is secret."""
        values = arguments if whole else masking.arguments(name, arguments, version)
        return cls(values=values, are_masked=values != arguments, reveal=reveal)

    @property
    def fields(self) -> dict[str, Any]:
        """As ``--json`` has them."""
        return {"arguments": self.values, "arguments_masked": self.are_masked}

    def print(self, output: Output) -> None:
        """Print them on a line of their own, and below it what is masked."""
        output.line(f"arguments: {as_json_line(self.values)}")
        if self.are_masked:
            output.line(f"{MASK} stands for what is hidden; `{self.reveal}` shows it, too.", style="dim")


def as_json_line(value: Any) -> str:
    """Return JSON on one line that a terminal shows as it is: what cannot be printed is escaped as JSON does."""
    return "".join(
        letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in json.dumps(value, ensure_ascii=False)
    )


def refuse_pasted_masks(arguments: Mapping[str, Any] | None, reveal: str) -> None:
    """Refuse arguments that were copied with a mask in them; ``reveal`` is the command that shows what it hides.

    Raises:
        ConfigurationError: the mask would take the place of what it hides.
    """
    refuse_masks(arguments or {}, remedy=f"`{reveal}` shows it: write all of it")


def masking_of(dispatch: Dispatch) -> Masking:
    """Return what masks the payloads of an app, by its settings and declarations."""
    return Masking(dispatch.settings.masked_fields, _Hints(dispatch))


class _Hints:
    """The annotations of what an app declares, by name; nothing for what only other processes do."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._parts = dispatch._parts  # noqa: SLF001 - no service tells of declarations

    def __call__(self, name: str, version: int) -> Mapping[str, Any]:
        parts = self._parts
        declared = parts.workflows.get(name, version) if version else parts.registry.declared(name)
        if declared is None:
            return {}
        try:
            return declared.typed.hints
        except ConfigurationError:  # annotations that nobody can resolve: everything may be secret
            return EVERYTHING
