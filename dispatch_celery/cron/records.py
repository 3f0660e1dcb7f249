"""What is handed to the store: an entry to be written, and the work that a slot creates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

from dispatch_celery.cron.model import CronEntry, Misfire, Overlap, Template, Timetable
from dispatch_celery.ids import CronId, TypedId
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.store.scripts import Word
from dispatch_celery.work.model import SCHEMA, WorkRef
from dispatch_celery.work.records import encode_spec
from dispatch_celery.workflows.model import RunRef

__all__ = ["Birth", "Registration"]


@dataclass(frozen=True, kw_only=True)
class Registration:
    """An entry to write. Its id is a function of its name, so that a name is registered once."""

    name: str
    timetable: Timetable
    template: Template
    misfire: Misfire
    overlap: Overlap

    @cached_property
    def id(self) -> CronId:
        """The id of the entry."""
        return CronId.adopt(self.name)

    @cached_property
    def fields(self) -> Mapping[str, Word]:
        """The entry as it is stored, without what only the scripts write."""
        template = self.template
        return {
            "schema": SCHEMA,
            "name": self.name,
            **self.timetable.fields,
            "target": template.name,
            "queue": template.queue,
            "priority": template.priority,
            "version": template.version,
            "timeout": "" if template.timeout is None else template.timeout,
            "scope": template.scope,
            "spec": encode_spec(template.spec),
            "payload": template.payload,
            "misfire": str(self.misfire),
            "overlap": self.overlap,
        }

    @cached_property
    def fingerprint(self) -> str:
        """A digest of its fields: two registrations with the same say the same."""
        return _digest(self.fields)

    @cached_property
    def when(self) -> str:
        """A digest of those that say when: an edit that leaves them keeps its next slot."""
        return _digest(self.timetable.fields)


def _digest(fields: Mapping[str, Word]) -> str:
    whole = sha256()
    for name, value in sorted(fields.items()):
        data = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
        whole.update(f"{name} {len(data)} ".encode() + data)
    return whole.hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """Work to create: what names it, and what its record holds."""

    ref: WorkRef
    spec: Mapping[str, Any]
    template: Template

    @classmethod
    def of(cls, entry: CronEntry, slot: int | None, *, work_id: TypedId | None = None) -> Birth:
        """Return the work of a slot, under the id derived from it; of no slot but now, under a new id."""
        template = entry.template
        if work_id is None:
            work_id = (
                template.id_kind.mint()
                if slot is None
                else template.id_kind.derive(entry.id, f"slot {slot}", time_ms=slot)
            )
        named: dict[str, Any] = {
            "id": work_id,
            "name": template.name,
            "queue": template.queue,
            "priority": template.priority,
            "scope": template.scope,
        }
        ref = RunRef(**named, version=template.version) if template.version else JobRef(**named)
        spec = {**template.spec, "cron": entry.id, **({} if slot is None else {"slot": slot})}
        return cls(ref=ref, spec=spec, template=template)

    @property
    def fields(self) -> list[Word]:
        """What its record holds beside what every new record does."""
        template = self.template
        version: list[Word] = ["version", template.version] if template.version else []
        return ["name", template.name, *version, "spec", encode_spec(self.spec), "payload", template.payload]
