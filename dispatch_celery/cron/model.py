"""What a cron entry is: its policies, what it creates, what it has fired; and how it is stored."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

from dispatch_celery.clock import from_ms
from dispatch_celery.cron.schedule import Reader, Schedule, Window, parse_schedule
from dispatch_celery.errors import ConfigurationError, DispatchError
from dispatch_celery.ids import CronId, JobId, RunId, TypedId
from dispatch_celery.scope import Scope
from dispatch_celery.store.replies import text
from dispatch_celery.work.model import SCHEMA

__all__ = ["CronEntry", "CronFire", "CronState", "Misfire", "Overlap", "Template", "Timetable", "check_name"]

_LONGEST_NAME: Final = 200
_MOST_CAUGHT_UP: Final = 1_000


class CronState(StrEnum):
    """Whether an entry fires."""

    ENABLED = "enabled"
    """It fires at its next slot."""
    DISABLED = "disabled"
    """Somebody has paused it."""
    ORPHANED = "orphaned"
    """It came from code, and no live process declares it any more."""
    FINISHED = "finished"
    """Its end date has passed: there is no slot left."""


class Overlap(StrEnum):
    """What happens to a slot when what the entry created last has not ended."""

    ALLOW = "allow"
    """It is fired."""
    SKIP = "skip"
    """It is passed over."""
    CANCEL_PREVIOUS = "cancel_previous"
    """It is fired, and the one before is cancelled."""
    QUEUE_ONE = "queue_one"
    """It waits for the end of the one before; further ones are passed over meanwhile."""


@dataclass(frozen=True, slots=True)
class Misfire:
    """What happens to slots that nobody could fire for ``dispatch_cron_grace``: ``skip``, ``once`` or ``all(n)``."""

    policy: str
    limit: int = 1
    """Of ``all``, how many are fired at most: the latest."""

    @classmethod
    def parse(cls, words: str | Misfire) -> Misfire:
        """Return a policy by its name: ``skip``, ``once``, ``all(10)``.

        Raises:
            ConfigurationError: there is none of that name.
        """
        if isinstance(words, Misfire):
            words = str(words)
        found = re.fullmatch(r"(skip|once)|all\((\d{1,4})\)", words) if isinstance(words, str) else None
        if found is None or (found[2] and not 1 <= int(found[2]) <= _MOST_CAUGHT_UP):
            raise ConfigurationError(
                f"misfire must be 'skip', 'once', or 'all(n)' with 1 to {_MOST_CAUGHT_UP:,} slots, not {words!r}"
            )
        return cls(found[1]) if found[1] else cls("all", int(found[2]))

    def __str__(self) -> str:
        return f"all({self.limit})" if self.policy == "all" else self.policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What an entry creates at each slot: a job, or a run of a workflow; everything but its id."""

    name: str
    queue: str
    spec: Mapping[str, Any]
    payload: bytes
    priority: int = 0
    scope: str = ""
    version: int = 0
    """Of a run, the version of its workflow; a job has none."""
    timeout: int | None = None
    """Of a run, in ms."""

    @property
    def kind(self) -> str:
        """``job`` or ``workflow``."""
        return "workflow" if self.version else "job"

    @property
    def id_kind(self) -> type[TypedId]:
        """The kind of id it is created under."""
        return RunId if self.version else JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """When an entry fires: a schedule within its dates, and how much later at most."""

    schedule: str
    zone: str = "UTC"
    start: int | None = None
    end: int | None = None
    jitter: int = 0
    """Milliseconds."""

    def window(self, readers: Mapping[str, Reader]) -> Window:
        """Return its schedule, which knows the moments."""
        schedule: Schedule = parse_schedule(self.schedule, zone=self.zone, anchor=self.start, readers=readers)
        return Window(schedule=schedule, start=self.start, end=self.end)

    def due(self, cron_id: str, slot: int) -> int:
        """Return when a slot is to be fired: later by a part of the jitter that only entry and slot decide."""
        if not self.jitter:
            return slot
        return slot + int.from_bytes(sha256(f"{cron_id} {slot}".encode()).digest()[:6]) % (self.jitter + 1)

    @property
    def fields(self) -> dict[str, str]:
        """As it is stored."""
        return {
            "schedule": self.schedule,
            "zone": self.zone,
            "start": "" if self.start is None else str(self.start),
            "end": "" if self.end is None else str(self.end),
            "jitter": str(self.jitter),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CronFire:
    """One line of an entry's history: what became of a slot."""

    outcome: str
    """``fired``, ``triggered`` by hand, ``queued``, ``overlapped``, or ``passed`` over as missed."""
    slot: datetime | None
    at: datetime
    id: JobId | RunId | None
    """Of what was created."""

    @classmethod
    def load(cls, line: str) -> CronFire:
        """Return a stored line."""
        outcome, slot, at, work_id = line.split(" ")
        typed = None if not work_id else RunId(work_id) if work_id.startswith(RunId.prefix) else JobId(work_id)
        return cls(outcome=outcome, slot=None if slot == "-" else from_ms(int(slot)), at=from_ms(int(at)), id=typed)


@dataclass(frozen=True, slots=True, kw_only=True)
class CronEntry:
    """An entry as it was when it was read."""

    id: CronId
    name: str
    timetable: Timetable
    template: Template
    misfire: Misfire
    overlap: Overlap
    origin: str
    """``code`` or ``api``."""
    revision: int
    """Counts its edits."""
    is_enabled: bool
    next_slot: int | None
    next_due: int | None
    last_id: str
    """Of what a slot has created last."""
    triggered_id: str
    """Of what was created last by hand."""
    last_slot: int | None
    queued_slot: int | None
    orphaned_at: datetime | None
    last_fire_at: datetime | None
    created_at: datetime
    updated_at: datetime
    disabled_at: datetime | None = None
    """When it was disabled; None where it is not, or was by a release that did not note it."""
    fires: Sequence[CronFire] = ()
    next_fires: Sequence[datetime] = field(default=())
    """The next five moments of its schedule, whether it is enabled or not."""

    @property
    def state(self) -> CronState:
        """Whether it fires."""
        if self.orphaned_at is not None:
            return CronState.ORPHANED
        if not self.is_enabled:
            return CronState.DISABLED
        return CronState.FINISHED if self.next_slot is None else CronState.ENABLED

    @property
    def schedule(self) -> str:
        """The rule, as it was registered."""
        return self.timetable.schedule

    @property
    def timezone(self) -> str:
        """The zone in which the rule is read."""
        return self.timetable.zone

    @property
    def scope(self) -> Scope:
        """The tenant of what it creates."""
        return Scope.from_path(self.template.scope)

    @property
    def arguments(self) -> Any:
        """What it calls its job or workflow with."""
        return json.loads(self.template.payload)

    @property
    def next_fire_at(self) -> datetime | None:
        """When it fires next; None where it does not."""
        return from_ms(self.next_due) if self.next_due is not None and self.state == CronState.ENABLED else None

    @classmethod
    def load(cls, cron_id: str, fields: Mapping[str, bytes], lines: Sequence[Any] = ()) -> CronEntry:
        """Return a stored entry.

        Raises:
            DispatchError: a newer release has written it.
        """
        words = {name: text(value) for name, value in fields.items() if name != "payload"}
        if int(words["schema"]) > SCHEMA:
            raise DispatchError(
                f"cron entry {cron_id} has schema {words['schema']}, this release reads {SCHEMA}: upgrade this process"
            )
        is_enabled = words["enabled"] == "1"
        return cls(
            id=CronId(cron_id),
            name=words["name"],
            timetable=_timetable(words),
            template=_template(words, fields["payload"]),
            misfire=Misfire.parse(words["misfire"]),
            overlap=Overlap(words["overlap"]),
            origin=words["origin"],
            revision=int(words["revision"]),
            is_enabled=is_enabled,
            next_slot=_number(words, "next_slot"),
            next_due=_number(words, "next_due"),
            last_id=words.get("last_id", ""),
            triggered_id=words.get("triggered_id", ""),
            last_slot=_number(words, "last_slot"),
            queued_slot=_number(words, "queued_slot"),
            orphaned_at=_moment(words, "orphaned_at"),
            last_fire_at=_moment(words, "last_at"),
            created_at=from_ms(int(words["created_at"])),
            updated_at=from_ms(int(words["updated_at"])),
            disabled_at=None if is_enabled else _moment(words, "disabled_at"),
            fires=tuple(CronFire.load(text(line)) for line in lines),
        )


def _timetable(words: Mapping[str, str]) -> Timetable:
    return Timetable(
        schedule=words["schedule"],
        zone=words["zone"],
        start=_number(words, "start"),
        end=_number(words, "end"),
        jitter=int(words["jitter"]),
    )


def _template(words: Mapping[str, str], payload: bytes) -> Template:
    return Template(
        name=words["target"],
        queue=words["queue"],
        priority=int(words["priority"]),
        spec=json.loads(words["spec"]),
        payload=payload,
        scope=words["scope"],
        version=int(words["version"]),
        timeout=_number(words, "timeout"),
    )


def _number(words: Mapping[str, str], name: str) -> int | None:
    return int(float(words[name])) if words.get(name) else None


def _moment(words: Mapping[str, str], name: str) -> datetime | None:
    number = _number(words, name)
    return None if number is None else from_ms(number)


def check_name(name: Any) -> str:
    """Return an entry's name.

    Raises:
        ConfigurationError: it is empty, too long, or has characters that cannot be printed.
    """
    if not isinstance(name, str) or not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable():
        raise ConfigurationError(f"a cron entry's name must be 1 to {_LONGEST_NAME} printable characters, not {name!r}")
    return name
