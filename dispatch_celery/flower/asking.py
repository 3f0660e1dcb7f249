"""What comes with a request for a verb, and what is answered: nothing that was asked for goes without notice.

A page may be older than what it shows. So a button sends what its page said (``expected``), and where that is not so
any more, nothing is done and the person is told. A program that sends none gets what the verb of the service does. A
word that a verb does not take is refused: what it was to change cannot be taken back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from dispatch_celery.cli.masking import refuse_masks
from dispatch_celery.errors import ConfigurationError, StateConflict

__all__ = ["Asked", "Done", "refuse_stale"]

_LONGEST: Final = 500


@dataclass(frozen=True)
class Asked:
    """What came with a request: a JSON object."""

    values: Mapping[str, Any]

    def text(self, name: str) -> str | None:
        """Return a text; None where there is none.

        Raises:
            ConfigurationError: it is no text, or too long.
        """
        found = self.values.get(name)
        if found is None or found == "":
            return None
        if not isinstance(found, str) or len(found) > _LONGEST:
            raise ConfigurationError(f"{name} must be text of at most {_LONGEST} characters")
        return found

    def must_have(self, name: str) -> str:
        """Return a text that has to be there.

        Raises:
            ConfigurationError: it is not.
        """
        found = self.text(name)
        if found is None:
            raise ConfigurationError(f"{name} is missing")
        return found

    def flag(self, name: str) -> bool:
        """Return whether something is said to be so.

        Raises:
            ConfigurationError: it is neither said to be so nor not to be.
        """
        found = self.values.get(name)
        if found is not None and not isinstance(found, bool):
            raise ConfigurationError(f"{name} must be true or false, not {str(found)[:80]!r}")
        return found is True

    def only(self, *names: str) -> None:
        """See that nothing else came with the request.

        Raises:
            ConfigurationError: something did, which would be taken no notice of.
        """
        _refuse_unknown(self.values, names, "asked for")

    def edits(self) -> dict[str, Any] | None:
        """Return the arguments that are to take the place of others, by name; None where none are to.

        A form sends them as the text that a person has written, so that no browser rounds a number in it.

        Raises:
            ConfigurationError: they are no JSON object, name nothing, or hold the mask of what is hidden.
        """
        found = self.values.get("edits")
        if found is None:
            return None
        if isinstance(found, str):
            try:
                found = json.loads(found)
            except (ValueError, RecursionError) as error:
                why = error if isinstance(error, ValueError) else "it is nested too deeply"
                raise ConfigurationError(f"the arguments to change are no JSON: {why}") from None
        if not isinstance(found, dict) or not found:
            raise ConfigurationError('the arguments to change are one JSON object with their names: {"name": value}')
        refuse_masks(found)
        return found

    @property
    def expected(self) -> Mapping[str, Any]:
        """What the page said of the record."""
        found = self.values.get("expected") or {}
        if not isinstance(found, Mapping):
            raise ConfigurationError("expected must be an object: what the page said of the record")
        return found


@dataclass(frozen=True, kw_only=True)
class Done:
    """What was done, in a sentence; ``about`` is the record to look at now, ``more`` what else a program wants."""

    message: str
    about: str = ""
    more: Mapping[str, Any] | None = None


def refuse_stale(some_id: str, is_now: Mapping[str, Any], asked: Asked) -> None:
    """Refuse what was decided on a page that is not true any more.

    Raises:
        ConfigurationError: something is expected of the record that it does not have.
        StateConflict: it is not as the page said.
    """
    _refuse_unknown(asked.expected, tuple(is_now), "expected of it")
    for name, then in asked.expected.items():
        now = is_now[name]
        if str(then) != str(now):
            raise StateConflict(
                f"{some_id} {_said(name, now, 'is', 'has')} by now, and {_said(name, then, 'was', 'had')} on your page:"
                " nothing was done. Look again."
            )


def _said(name: str, value: Any, is_: str, has: str) -> str:
    """Return what a record is or has, in words."""
    if isinstance(value, bool):
        return f"{is_} {'' if value else 'not '}{name}"
    return f"{is_} {value}" if name == "state" else f"{has} {name.replace('_', ' ')} {value or 'none'}"


def _refuse_unknown(words: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    for word in words:
        if word not in known:
            near = get_close_matches(str(word), known, n=1)
            meant = f": did you mean {near[0]!r}?" if near else "."
            takes = f" It takes {', '.join(known)}." if known else " It takes nothing."
            raise ConfigurationError(f"{str(word)[:80]!r} cannot be {what}{meant} Nothing was done.{takes}")
