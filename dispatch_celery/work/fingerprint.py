"""What tells one cause of failure from another: a short digest that is the same each time the same thing goes wrong.

The rule, which is documented for users and changes only with a new first word in ``_RULE``:

1. *With a traceback*: the error's class, the user's own frames in order (file name and function, each once; the last
   25), and the source line of the innermost of them. Line numbers, folders and the message are left out, so a deploy
   that moves code, and an order number in a message, start no new group.
2. *Without one* (a crash, an unknown name, a payload that does not fit, a message nobody could read): the reason, the
   error's class, the name, and the message as ``settled`` leaves it.

A frame is the user's own unless it lies in this package, in the standard library or among installed packages, or is of
a middleware that only passed the call on: adding one starts no new group.
"""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import pairwise
from pathlib import Path, PureWindowsPath
from typing import Final

from dispatch_celery.work.layers import layer_of
from dispatch_celery.work.model import Failure

__all__ = ["fingerprint_of", "settled"]

_RULE: Final = "1"
_LENGTH: Final = 16
_FRAMES: Final = 25
_LONGEST: Final = 300
_BEGIN: Final = "Traceback (most recent call last):"
_GROUP: Final = re.compile(r"^ *\+ Exception Group Traceback ", re.MULTILINE)
_BESIDE: Final = re.compile(r"^ +\| ?|^ *\+ Exception Group (?=Traceback )")
"""What stands before the lines of an exception group and of what is in it."""
_BETWEEN: Final = re.compile(r"^ +\+(?:-\+)?-{16}(?: (?:\d+|\.{3}) -{16}|-{20})$")
_MORE: Final = re.compile(r"and \d+ more exceptions?$")
_CLASS: Final = re.compile(r"^([^\W\d][\w.<>]*)(?::|$)", re.MULTILINE)
_FRAME: Final = re.compile(r'^ {2}File "([^"]+)", line \d+, in (.+)$')
_FOREIGN: Final = re.compile(r"[\\/](?:site|dist)-packages[\\/]|^<frozen |^<__array_function__")
_OURS: Final = tuple(f"{folder}/" for folder in (str(Path(__file__).parents[1]), sysconfig.get_path("stdlib")))
_VARYING: Final = (
    (re.compile(r"(?i)\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\b[a-z]{2,12}_[0-9a-hjkmnp-tv-z]{26}\b"), "<id>"),
    (re.compile(r"(?i)\b0x[0-9a-f]+\b"), "<address>"),
    (re.compile(r"(?i)\b(?=[0-9a-f]*\d)[0-9a-f]{12,}\b"), "<id>"),
    (re.compile(r"\d+(?:[.,:]\d+)*"), "<n>"),
    (re.compile(r"\s+"), " "),
)


def fingerprint_of(failure: Failure | None, *, name: str, reason: str) -> str:
    """Return the fingerprint of a dead letter: 16 hexadecimal characters."""
    kind = failure.type if failure else ""
    trace, members = _ungrouped(failure.traceback) if failure else ("", ())
    frames, line = _own_frames(trace)
    if frames:
        parts = [kind, *frames, line, *members]
    else:
        parts = [settled(reason), kind, name, settled(failure.message) if failure else "", *members]
    return sha256("\0".join((_RULE, *parts)).encode("utf-8", "backslashreplace")).hexdigest()[:_LENGTH]


def settled(message: str) -> str:
    """Return a message without what differs from one time to the next: ids, addresses, numbers, white space."""
    words = message[: 4 * _LONGEST]
    for pattern, instead in _VARYING:
        words = pattern.sub(instead, words)
    return words.strip()[:_LONGEST]


def _ungrouped(traceback: str) -> tuple[str, Sequence[str]]:
    """Return the traceback of an exception group as that of any other, and what tells those in it, each once."""
    if not _GROUP.search(traceback):
        return traceback, ()
    parts: list[list[str]] = [[]]
    place = 0
    for line in traceback.splitlines():
        if not _BETWEEN.match(line):
            parts[place].append(_BESIDE.sub("", line))
        elif line.endswith("-" * 36):  # the end of a group: what follows is of the whole
            place = 0
        else:
            place = len(parts)
            parts.append([])
    whole, *members = ("\n".join(part) for part in parts)
    told = {"\1".join(_told(member)) for member in members if not _MORE.match(member)}
    return whole, sorted(told)


def _told(member: str) -> Iterable[str]:
    """Return the class of an exception in a group, as far as it can be read, its frames, and its source line."""
    frames, line = _own_frames(member)
    kind = _CLASS.search(member.rpartition(_BEGIN)[2])
    return (kind[1] if kind else "", *frames, line)


def _own_frames(traceback: str) -> tuple[tuple[str, ...], str]:
    """Return the user's frames, each once, and the source line of the innermost."""
    found: list[tuple[str, str]] = []
    passing: int | None = None
    for line, below in pairwise([*traceback.splitlines(), ""]):
        if line == _BEGIN:
            passing = None
        frame = _FRAME.match(line)
        if frame is None:
            continue
        layer = layer_of(frame[1], frame[2])
        if layer:
            if passing is not None:
                del found[passing:]
            passing = len(found) if layer == "middleware" else None
        elif not _is_foreign(frame[1]):
            source = below.strip() if below.startswith("    ") else ""
            found.append((f"{PureWindowsPath(frame[1]).name}:{frame[2]}", source))
    names = list(dict.fromkeys(name for name, _ in found))
    return tuple(names[-_FRAMES:]), found[-1][1] if found else ""


def _is_foreign(path: str) -> bool:
    return bool(_FOREIGN.search(path)) or path.startswith(_OURS)
