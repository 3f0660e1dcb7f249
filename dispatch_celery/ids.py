"""Typed ids: ``job_01h...`` is a TypeID (a prefix and 26 characters of base 32) over a UUIDv7.

The twelve ``rand_a`` bits of the UUID hold the partition (ARCHITECTURE 1.7), so an id alone says where its
record lives. The time in an id is the minting process's own and is never compared: lists sort by
``created_at``. A *derived* id is a function of its owner, so that a redelivery mints the same one again.

Format: TypeID specification 0.3 (Crockford's alphabet, lower case); UUIDv7: RFC 9562, 5.7.
"""

from __future__ import annotations

import os
import re
from hashlib import sha256
from typing import ClassVar, Self

from dispatch_celery.clock import wall_ms
from dispatch_celery.errors import InvalidId

__all__ = ["CronId", "DeadLetterId", "EventId", "JobId", "RunId", "TypedId", "WorkerId", "mint_nonce"]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_LENGTH = 26
_BASE_32 = re.compile(rf"[0-7][{_ALPHABET}]{{25}}").fullmatch
# The version is in the tenth character after the first, the variant in the thirteenth.
_UUID_7 = re.compile(r".{10}[ef].{2}[89abrstv].{12}").fullmatch
_RANDOM_BITS = 62
_RANDOM_MASK = (1 << _RANDOM_BITS) - 1
_VERSION = 0x7 << 76
_VARIANT = 0b10 << 62


def _encode(value: int) -> str:
    return "".join([_PAIRS[(value >> shift) & 1023] for shift in range(120, -1, -10)])


def _assemble(time_ms: int, partition: int, random_bits: int) -> int:
    return (time_ms & 0xFFFFFFFFFFFF) << 80 | _VERSION | (partition & 0xFFF) << 64 | _VARIANT | random_bits


def mint_nonce() -> str:
    """Return 64 random bits as text: the part of a token or operation id that its caller mints."""
    return os.urandom(8).hex()


class TypedId(str):
    """An id of one kind. Equal to its text; ``parse`` refuses text of another kind."""

    __slots__ = ()
    prefix: ClassVar[str] = ""
    _of: ClassVar[str] = ""
    """What it is the id of, in words."""

    @classmethod
    def mint(cls, *, partition: int = 0, time_ms: int | None = None) -> Self:
        """Return a new id in a partition."""
        if not 0 <= partition < 1 << 12:
            raise InvalidId(f"a partition is a number from 0 to 4095, not {partition}")
        random_bits = int.from_bytes(os.urandom(8)) & _RANDOM_MASK
        moment = wall_ms() if time_ms is None else time_ms
        return cls(f"{cls.prefix}_{_encode(_assemble(moment, partition, random_bits))}")

    @classmethod
    def derive(cls, owner: TypedId, identity: str, *, time_ms: int | None = None) -> Self:
        """Return the id that ``owner`` gives to ``identity``: its time, its partition, 62 bits of SHA-256.

        ``time_ms``: of what has a moment of its own, such as a slot of a cron entry.
        """
        moment = owner.time_ms if time_ms is None else time_ms
        digest = sha256(f"{owner}\0{identity}".encode()).digest()
        bits = int.from_bytes(digest[:8]) & _RANDOM_MASK
        return cls(f"{cls.prefix}_{_encode(_assemble(moment, owner.partition_number, bits))}")

    @classmethod
    def adopt(cls, foreign: str, *, partition: int = 0) -> Self:
        """Return the id of a foreign name, such as a Celery task id. It carries no time: 110 bits are a hash."""
        digest = sha256(f"{cls.prefix}\0{foreign}".encode("utf-8", "surrogatepass")).digest()
        time_bits = int.from_bytes(digest[:6])
        return cls(
            f"{cls.prefix}_{_encode(_assemble(time_bits, partition, _RANDOM_MASK & int.from_bytes(digest[6:14])))}"
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return ``text`` as an id of this kind.

        Raises:
            InvalidId: the prefix is another one, or the rest is no UUIDv7 in base 32.
        """
        if type(text) is cls:
            return text
        prefix, _, rest = text.rpartition("_") if isinstance(text, str) else ("", "", "")
        if prefix != cls.prefix or not _BASE_32(rest):
            raise InvalidId(
                f"{str(text)[:80]!r} is no id of {cls._of}: one looks like {cls.prefix}_..., with {_LENGTH}"
                " characters of base 32"
            )
        if not _UUID_7(rest):
            raise InvalidId(f"{text[:80]!r} is no id of {cls._of}: its 26 characters are no UUID of version 7")
        return cls(text)

    @property
    def _number(self) -> int:
        number = 0
        for character in self[-_LENGTH:]:
            number = number << 5 | _VALUES[character]
        return number

    @property
    def partition_number(self) -> int:
        """The partition its record lives in."""
        return (self._number >> 64) & 0xFFF

    @property
    def time_ms(self) -> int:
        """The minting process's wall clock, in milliseconds; meaningless in an adopted id."""
        return self._number >> 80


class JobId(TypedId):
    """The id of a job."""

    __slots__ = ()
    prefix = "job"
    _of = "a job"


class RunId(TypedId):
    """The id of a run."""

    __slots__ = ()
    prefix = "run"
    _of = "a run"


class CronId(TypedId):
    """The id of a cron entry."""

    __slots__ = ()
    prefix = "cron"
    _of = "a cron entry"


class EventId(TypedId):
    """The id of an event."""

    __slots__ = ()
    prefix = "evt"
    _of = "an event"


class WorkerId(TypedId):
    """The id of one registration of a worker: its *incarnation*."""

    __slots__ = ()
    prefix = "wkr"
    _of = "a worker"


class DeadLetterId(TypedId):
    """The id of a dead letter. A failed job's has the same 26 characters as the job's."""

    __slots__ = ()
    prefix = "dlq"
    _of = "a dead letter"

    @classmethod
    def of_job(cls, job_id: JobId) -> DeadLetterId:
        """Return the id under which a failed job is found among the dead letters."""
        return cls(f"{cls.prefix}_{job_id[-_LENGTH:]}")

    @property
    def job_id(self) -> JobId:
        """The job this would be the dead letter of; a raw message's has none behind it."""
        return JobId(f"{JobId.prefix}_{self[-_LENGTH:]}")
