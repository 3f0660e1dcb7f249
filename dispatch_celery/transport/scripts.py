"""The transport's Lua, called by hash.

Promises: a script the server does not know is sent in full, once, and the call is made again; every script may be
sent twice with one effect (``claim`` under a new id is a new claim, and its record tells which one was answered).

They are not in ``store``: they work on the broker's keys, whose layout is kombu's and not ours, and the broker may
be another server than the one that keeps the state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib import resources
from typing import Any

__all__ = ["Script", "Word", "load"]

Word = str | bytes | int


@dataclass(frozen=True, slots=True)
class Script:
    """One script: its text and the hash the server knows it by."""

    name: str
    text: str
    sha: str

    def words(self, keys: Sequence[str], arguments: Sequence[Word]) -> tuple[Word, ...]:
        """Return the command that calls it."""
        return ("EVALSHA", self.sha, len(keys), *keys, *arguments)

    def call(self, client: Any, keys: Sequence[str], arguments: Sequence[Word] = ()) -> Any:
        """Call it through a synchronous client whose keys are not prefixed; load it first if need be."""
        try:
            return client.execute_command(*self.words(keys, arguments))
        except Exception as error:
            # The class belongs to redis-py, which only the store may import; its name has been stable for ten years.
            if type(error).__name__ != "NoScriptError":
                raise
            client.execute_command("SCRIPT", "LOAD", self.text)
            return client.execute_command(*self.words(keys, arguments))


@cache
def load(name: str) -> Script:
    """Return the script of that name."""
    text = resources.files(__package__ or "dispatch_celery.transport").joinpath("lua", f"{name}.lua").read_text("utf-8")
    return Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())
