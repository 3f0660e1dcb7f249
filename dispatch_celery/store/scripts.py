"""Loads the Lua scripts of the package: resolves their includes, reads their headers, hashes their text.

A script opens with a header that tests hold against the code::

    -- PURPOSE  one sentence
    -- KEYS     record state_from state_to ...
    -- ARGV     now journal id ...
    -- RETURNS  ...
    -- ERRORS   CODE ...            (or none)
    -- TRANSITIONS pending>running  (or none)
    -- COST     O(log n)
    -- INCLUDE  clock guard         (fragments of lib/, in order)

Scripts are called by content hash, so two releases can work side by side. Names in KEYS and ARGV become
fields of two tables, so the body reads ``K.record`` and ``A.now``. A ``*list`` of keys begins at ``MORE``, one of
arguments at ``REST``. ``*parent`` becomes the table ``P``, where it is given: the keys of the run a job belongs to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import sha1
from importlib import resources
from importlib.resources.abc import Traversable

__all__ = ["HEADER_FIELDS", "PARENT_KEYS", "Call", "Script", "Word", "all_scripts", "load"]

Word = str | bytes | int

HEADER_FIELDS = ("PURPOSE", "KEYS", "ARGV", "RETURNS", "ERRORS", "TRANSITIONS", "COST", "INCLUDE")
PARENT_KEYS = (
    "record", "promises", "waits", "undos", "open", "from_state", "from_name", "to_state", "to_name", "lane", "lanes",
    "marks", "journal",
)  # fmt: skip
"""What ``*parent`` among the keys of a script holds: those of the run that a job or run belongs to, or nothing."""
_LISTS = ("KEYS", "ARGV", "ERRORS", "TRANSITIONS", "INCLUDE")
_FIELD = re.compile(r"^-- ([A-Z]+)\s+(.*)$")
_CONTINUED = re.compile(r"^--\s{2,}(\S.*)$")


@dataclass(frozen=True, kw_only=True)
class Script:
    """One verb: its name (``jobs/claim``), header, and the text the server runs."""

    name: str
    header: dict[str, str]
    body: str
    text: str
    sha: str

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The names of its fixed keys, in order; ``*name`` in the header takes any number more."""
        return tuple(name for name in _names(self.header["KEYS"]) if not name.startswith("*"))

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """The names of its fixed arguments, in order."""
        return tuple(name for name in _names(self.header["ARGV"]) if not name.startswith("*"))

    @property
    def transitions(self) -> frozenset[tuple[str, str]]:
        """The state changes it may make."""
        pairs = (word.split(">") for word in _names(self.header["TRANSITIONS"]))
        return frozenset((source, target) for source, target in pairs)

    @property
    def reads_only(self) -> bool:
        """Whether the server is told to refuse a write in it."""
        return self.text.startswith("#!lua flags=no-writes")


@dataclass(frozen=True, slots=True)
class Call:
    """One command to send: a script with its keys and arguments, or a plain command (``script`` is None)."""

    script: Script | None
    words: tuple[Word, ...]
    key_count: int = 0

    @classmethod
    def command(cls, *words: Word) -> Call:
        """Return a plain command."""
        return cls(None, words)

    @classmethod
    def of(
        cls,
        name: str,
        keys: Mapping[str, str],
        arguments: Mapping[str, Word],
        *,
        more_keys: Sequence[str] = (),
        rest: Sequence[Word] = (),
    ) -> Call:
        """Return a call of the script ``name`` with its declared keys and arguments, by name."""
        script = load(name)
        key_words = [keys[key] for key in script.keys]
        argument_words = [arguments[argument] for argument in script.arguments]
        return cls(script, (*key_words, *more_keys, *argument_words, *rest), len(key_words) + len(more_keys))

    @property
    def label(self) -> str:
        """What errors and logs call it."""
        return self.script.name if self.script else str(self.words[0])


def _names(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(text.split())


def _root() -> Traversable:
    return resources.files(__package__ or "dispatch_celery.store").joinpath("lua")


@cache
def load(name: str) -> Script:
    """Return the script ``<room>/<verb>``."""
    source = _root().joinpath(*f"{name}.lua".split("/")).read_text(encoding="utf-8")
    header, body = _split(source)
    fragments = [
        _root().joinpath("lib", f"{part}.lua").read_text(encoding="utf-8") for part in _names(header["INCLUDE"])
    ]
    flags = "#!lua flags=no-writes\n" if header.get("READS") == "only" else ""
    text = flags + _prelude(header) + "\n".join([*fragments, body])
    digest = sha1(text.encode(), usedforsecurity=False).hexdigest()
    return Script(name=name, header=header, body=body, text=text, sha=digest)


def all_scripts() -> list[Script]:
    """Return every script of the package, by name."""
    names = [
        f"{room.name}/{file.name.removesuffix('.lua')}"
        for room in _root().iterdir()
        if room.is_dir() and room.name != "lib"
        for file in room.iterdir()
        if file.name.endswith(".lua")
    ]
    return [load(name) for name in sorted(names)]


def _split(source: str) -> tuple[dict[str, str], str]:
    header: dict[str, str] = {}
    last = ""
    lines = source.splitlines()
    position = 0
    for position, line in enumerate(lines):  # noqa: B007 - the position after the header is what is wanted
        if match := _FIELD.match(line):
            last = match[1]
            header[last] = match[2].strip()
        elif last and (more := _CONTINUED.match(line)):
            field = "NOTES" if last in _LISTS else last  # under a list of names, an indented line explains them
            header[field] = f"{header.get(field, '')} {more[1]}".strip()
        else:
            break
    header.setdefault("INCLUDE", "none")
    return header, "\n".join(lines[position:])


def _prelude(header: dict[str, str]) -> str:
    """Return Lua that gives the declared positions their names."""
    keys = [name for name in _names(header["KEYS"]) if not name.startswith("*")]
    arguments = [name for name in _names(header["ARGV"]) if not name.startswith("*")]
    more = f"local MORE = {len(keys) + 1}\n" if len(keys) < len(_names(header["KEYS"])) else ""
    named_keys = ", ".join(f"{name} = KEYS[{n}]" for n, name in enumerate(keys, 1))
    named_arguments = ", ".join(f"{name} = ARGV[{n}]" for n, name in enumerate(arguments, 1))
    if "*parent" in _names(header["KEYS"]):
        named_parent = ", ".join(f"{name} = KEYS[MORE + {n}]" for n, name in enumerate(PARENT_KEYS))
        more += f"local P = KEYS[MORE] and {{{named_parent}}}\n"
    rest = f"local REST = {len(arguments) + 1}\n" if len(arguments) < len(_names(header["ARGV"])) else ""
    return f"local K = {{{named_keys}}}\nlocal A = {{{named_arguments}}}\n{more}{rest}"
