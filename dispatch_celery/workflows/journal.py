r"""The journal of a run as its holder sees it: what is recorded, and whether the code still asks for the same.

An entry is stored as ``<status> <seq> <ms> <head>\n<payload>``. The server reads the first three; the head is JSON:
``k`` the kind, ``d`` the digest of the arguments, ``o`` the place in its branch, ``tr`` the place in a trace from which
it was asked for, where somebody follows it, and what a timeline shows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from dispatch_celery.errors import NonDeterminism

__all__ = [
    "ANY",
    "MEMBER_KINDS",
    "Branch",
    "Entry",
    "Journal",
    "branch_of",
    "consumed_by",
    "delivery_order",
    "digest_of",
    "last_trace",
    "rest_of",
]

RESOLVED: Final = frozenset({"value", "error", "timeout"})
DERIVED: Final = frozenset({"uuid", "random"})
"""Calls whose value follows from their identity: they are never recorded, and leave gaps among the places."""
MEMBER_KINDS: Final = frozenset({"job", "child"})
"""Kinds of promises that somebody else resolves."""


_BEFORE: Final = 5
_SHOWN: Final = 20

ANY: Final = ""
"""The digest of a call whose arguments are not compared: a fork took it over, perhaps from another input."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One promise as it is stored."""

    identity: str
    status: str
    seq: int
    at: int
    """When it was resolved, in ms since 1970; of an open one, when it is due (0: never)."""
    head: Mapping[str, Any]
    payload: bytes

    @classmethod
    def parse(cls, identity: str, data: bytes) -> Entry:
        """Return a stored entry."""
        first, _, payload = data.partition(b"\n")
        status, seq, at, head = first.split(b" ", 3)
        return cls(identity, status.decode(), int(seq), int(at), json.loads(head), payload)

    def dump(self) -> bytes:
        """Return it as it is stored."""
        return b"%s %d %d %s" % (self.status.encode(), self.seq, self.at, rest_of(self.head, self.payload))

    @property
    def is_resolved(self) -> bool:
        """Whether its outcome is known, and will never change."""
        return self.status in RESOLVED

    @property
    def is_taken_over(self) -> bool:
        """Whether another run has made it: the one that this run was forked from."""
        return isinstance(self.head.get("g"), str)

    @property
    def shown(self) -> str:
        """How a person is told of it."""
        return f"{self.head.get('k')} {self.identity}"


def rest_of(head: Mapping[str, Any], payload: bytes = b"") -> bytes:
    """Return the part of an entry that only Python reads."""
    return json.dumps(head, separators=(",", ":")).encode() + b"\n" + payload


def digest_of(arguments: bytes) -> str:
    """Return what is compared of a call's arguments."""
    return sha256(arguments).hexdigest()[:12]


class Branch:
    """One line of program order in a run. Gathered members have branches of their own below it."""

    def __init__(self, path: str = "", *, in_order: bool = True) -> None:
        self.path = path
        self.in_order = in_order
        """Whether each call is recorded before the next is made; not where several are under way at once."""
        self._counts: dict[str, int] = {}
        self.place = 0

    def take(self, name: str) -> tuple[str, int]:
        """Return the identity of the next call of this name, and its place in the branch."""
        count = self._counts[name] = self._counts.get(name, 0) + 1
        place, self.place = self.place, self.place + 1
        return f"{self.path}{name}#{count}", place

    def peek(self, name: str) -> str:
        """Return the identity that the next call of this name would take."""
        return f"{self.path}{name}#{self._counts.get(name, 0) + 1}"


class Journal:
    """What is recorded of a run, and what its code has asked for so far."""

    def __init__(self, entries: Sequence[Entry], consumed: frozenset[str] = frozenset()) -> None:
        self.events: set[str] = set(consumed)
        """The events that the run has consumed, in this generation and in those before."""
        self.size = 0
        """How many bytes its outcomes have."""
        self._places: dict[tuple[str, int], Entry] = {}
        self._last: dict[str, int] = {}
        self._entries: dict[str, Entry] = {}
        self._asked: list[str] = []
        for entry in entries:
            self.keep(entry)

    def begin(self) -> None:
        """Forget what the code has asked for: it runs from the top."""
        self._asked.clear()

    def ask(self, branch: Branch, name: str, kind: str, digest: str) -> tuple[str, int, Entry | None]:
        """Return the identity and place of the code's next call, and what is recorded of it.

        Raises:
            NonDeterminism: something else is recorded at this place, or nothing but what comes after it.
        """
        identity, place = branch.take(name)
        self._asked.append(f"{kind} {identity}")
        recorded = self._places.get((branch.path, place))
        if recorded is None:
            if branch.in_order and kind not in DERIVED and not self._may_be_new(branch, kind):
                raise NonDeterminism(f"the code calls {kind} {identity}, which is not recorded.\n{self._sequences()}")
            return identity, place, None
        same = recorded.identity == identity and recorded.head["k"] == kind
        if not same or recorded.head["d"] not in (digest, ANY):
            why = "" if not same else " with other arguments"
            raise NonDeterminism(
                f"the code calls {kind} {identity}{why} where {recorded.shown} is recorded.\n{self._sequences()}"
            )
        return identity, place, recorded

    @property
    def all(self) -> list[Entry]:
        """Everything that is recorded."""
        return list(self._entries.values())

    @property
    def waiting(self) -> list[Entry]:
        """The waits for events that are not over."""
        return [entry for entry in self._entries.values() if entry.status == "awaiting"]

    @property
    def asked(self) -> int:
        """How many durable calls the code has made since it ran from the top."""
        return len(self._asked)

    def after(self, branch: Branch) -> Entry | None:
        """Return what is recorded next in a branch, at the place of the code's next call or beyond."""
        places = range(branch.place, self._last.get(branch.path, -1) + 1)
        return next(
            (self._places[branch.path, place] for place in places if (branch.path, place) in self._places), None
        )

    def _may_be_new(self, branch: Branch, kind: str) -> bool:
        """Return whether a call may be made that is not recorded: the next one; or a member that a fork sends anew."""
        behind = self.after(branch)
        return behind is None or (kind in MEMBER_KINDS and behind.is_taken_over)

    def get(self, identity: str) -> Entry | None:
        """Return what is recorded of one durable call."""
        return self._entries.get(identity)

    def at(self, branch: Branch) -> Entry | None:
        """Return what is recorded at the place that the code's next call in a branch would have."""
        return self._places.get((branch.path, branch.place))

    def recorded_after(self, branch: Branch) -> bool:
        """Return whether anything is recorded at that place or after it."""
        return self._last.get(branch.path, -1) >= branch.place

    def check_end(self, branch: Branch) -> None:
        """Refuse an end of the code before the end of what is recorded.

        Raises:
            NonDeterminism: there is more recorded in this branch than was asked for.
        """
        if self.recorded_after(branch):
            left = [
                entry for (path, place), entry in self._places.items() if path == branch.path and place >= branch.place
            ]
            first = min(left, key=lambda entry: int(entry.head["o"]))
            raise NonDeterminism(f"the code ended where {first.shown} is recorded.\n{self._sequences()}")

    def keep(self, entry: Entry) -> None:
        """Take in what is recorded."""
        path, place = branch_of(entry.identity), int(entry.head["o"])
        before = self._entries.get(entry.identity)
        self.size += len(entry.payload) - (len(before.payload) if before is not None else 0)
        self._places[path, place] = self._entries[entry.identity] = entry
        self._last[path] = max(place, self._last.get(path, -1))
        self.events |= consumed_by([entry])

    def _sequences(self) -> str:
        """Return what is recorded and what the code asks for, from a little before they part."""
        recorded = [entry.shown for _, entry in sorted(self._places.items(), key=lambda item: item[0])]
        asked = [call for call in self._asked if call.partition(" ")[0] not in DERIVED]
        alike = next((n for n, pair in enumerate(zip(recorded, asked, strict=False)) if pair[0] != pair[1]), None)
        first = max(0, (min(len(recorded), len(asked)) if alike is None else alike) - _BEFORE)
        return f"recorded: {_window(recorded, first)}\ncode:     {_window(asked, first)}"


def delivery_order(entry: Entry) -> tuple[int, int]:
    """Return what resolved promises are sorted by: how far their maker could see, then their own place."""
    seen = entry.head.get("v")
    return (entry.seq, 0) if seen is None else (int(seen), entry.seq)


def consumed_by(entries: Iterable[Entry]) -> frozenset[str]:
    """Return the events that some promises were resolved with; one that did not fit stays for others."""
    return frozenset(str(entry.head["ev"]) for entry in entries if "ev" in entry.head and "bad" not in entry.head)


def _window(calls: Sequence[str], first: int) -> str:
    """Return some of a sequence, and how much is left out: a parked run keeps it."""
    before = [f"... {first:,} alike"] if first else []
    left = len(calls) - first - _SHOWN
    return ", ".join([*before, *calls[first : first + _SHOWN], *([f"... {left:,} more"] if left > 0 else [])])


def last_trace(entries: Iterable[Entry]) -> str:
    """Return where, in which trace, the last recorded call of a run was made; empty where nobody has followed it."""
    traced = [entry for entry in entries if "tr" in entry.head]
    return str(max(traced, key=lambda entry: (int(entry.head["o"]), entry.seq)).head["tr"]) if traced else ""


def branch_of(identity: str) -> str:
    """Return the path of the branch that a durable call belongs to; empty for the function's own."""
    head, slash, _ = identity.rpartition("/")
    return head + slash
