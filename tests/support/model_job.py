"""One job of the model, and an idempotency key: everything that is known of them, in plain fields."""

from __future__ import annotations

from dataclasses import dataclass, field

GRACE = 1_000
WAITING = frozenset({"scheduled", "retrying"})
ENDED = frozenset({"completed", "failed", "cancelled"})
OUTCOMES = {"complete": "completed", "retry": "retrying", "release": "pending", "fail": "failed", "obey": "cancelled"}
COUNTERS = ("attempts", "snoozes", "crashes", "lost_workers")


@dataclass
class ModelJob:
    """One job."""

    id: str
    name: str
    lane: str
    scope: str
    key: str
    state: str = "pending"
    created_at: int = 0
    expires_at: int | None = None
    due_at: int | None = None
    ready_at: int | None = None
    mark: int | None = None
    wake: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    claims: int = 0
    token: str = ""
    holder: str = ""
    pid: int = 0
    asked: bool = False
    closed: str = ""
    ended_at: int | None = None
    kept_until: int | None = None
    replayed_as: str = ""
    unknown: bool = False

    @property
    def holding(self) -> str:
        """What its holder has written down for it."""
        return f"{self.pid} {self.token}{' cancel' if self.asked else ''}"

    def ready(self, now: int) -> None:
        """Let it wait for a worker, its wake-up to be published."""
        self.state, self.due_at = "pending", None
        self.wake += 1
        self.ready_at, self.mark = now, now + GRACE

    def end(self, state: str, now: int, retain: int) -> None:
        """End it; its record is kept for a while."""
        self.state, self.due_at, self.ready_at, self.mark = state, None, None, None
        self.ended_at, self.kept_until = now, now + retain


@dataclass
class Key:
    """An idempotency key: whose it is, and until when; None as long as its job is alive."""

    job: str
    digest: str
    until: int | None = None
