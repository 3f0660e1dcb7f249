"""What every durable call of a run stands on: identities, the journal, the writes of its holder, and the way out.

A call takes its identity in program order and is compared with what is recorded. A call that must wait unwinds the
function with ``Suspended``; what it waits for is registered when the function has left.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NoReturn

from pydantic_core import from_json, to_json

from dispatch_celery.clock import monotonic_ms, wall_ms
from dispatch_celery.errors import Fenced, NonDeterminism, StoreUnavailable, Suspended, WorkflowMisuse
from dispatch_celery.jobs.outcome import failure_of
from dispatch_celery.retry import Retry
from dispatch_celery.work import spans
from dispatch_celery.workflows.definition import WorkflowDefinition
from dispatch_celery.workflows.held import Awaited
from dispatch_celery.workflows.holder import Anew, Holder, Unwound
from dispatch_celery.workflows.journal import Branch, Entry, Journal, digest_of
from dispatch_celery.workflows.limits import NO_LIMITS, JournalLimits
from dispatch_celery.workflows.members import Fleet
from dispatch_celery.workflows.saga import Saga
from dispatch_celery.workflows.steps import Runner, step_here
from dispatch_celery.workflows.topics import Topics
from dispatch_celery.workflows.waiting import Figure, Wait

__all__ = ["Asked", "ServerClock", "Slice"]


logger = logging.getLogger(__name__)

_LONGEST_ERROR: Final = 500
"""Characters of an error that a parked run keeps."""


class Asked:
    """One durable call of the code: its identity, and what is recorded of it by now."""

    def __init__(self, identity: str, head: dict[str, Any], journal: Journal) -> None:
        self.identity = identity
        self.head = head
        self._journal = journal

    @property
    def entry(self) -> Entry | None:
        """What is recorded of it; None where nothing is."""
        return self._journal.get(self.identity)


class ServerClock:
    """The state server's time as of a claim, carried on by this process's own monotonic clock."""

    def __init__(self, claimed_at: int) -> None:
        self._claimed_at = claimed_at
        self._since = monotonic_ms()

    def __call__(self) -> int:
        """Return it, in ms since 1970."""
        return self._claimed_at + monotonic_ms() - self._since


class Slice:
    """One slice of a run: from its claim to its next rest."""

    def __init__(
        self,
        holder: Holder,
        *,
        runner: Runner,
        fleet: Fleet,
        topics: Topics,
        step_retry: Retry,
        max_payload: int,
        limits: JournalLimits = NO_LIMITS,
        announce: Callable[..., None] = lambda *_, **__: None,
        is_shutdown: Callable[[BaseException], bool] = lambda _: False,
        clock: Callable[[], int] = wall_ms,
        on_loop: bool = False,
    ) -> None:
        self.holder = holder
        self.claim = holder.claim
        self.journal = Journal(holder.claim.entries, holder.claim.consumed)
        self.saga = Saga(holder, runner, self.journal, fleet, is_shutdown=is_shutdown)
        self.root = Branch()
        self.definition: WorkflowDefinition[..., Any] | None = None
        """Whose code it runs."""
        self.branch: Callable[[], Branch] = self._root
        """The branch that the next call belongs to: the only one, or that of the running task."""
        self._on_loop = on_loop
        self._seen = max((entry.seq for entry in self.journal.all), default=0)
        self._runner = runner
        self._fleet = fleet
        self.topics = topics
        self.looked: dict[tuple[str, int], int] = {}
        """Of a topic, from where a wait looks at it first: up to where all of that is consumed."""
        self._step_retry = step_retry
        self.max_payload = max_payload
        """The largest arguments or result of a step, in bytes: a step's definition knows no app."""
        self._limits = limits
        self._announce = announce
        self._clock = clock
        self._is_shutdown = is_shutdown
        self._left: BaseException | None = None
        self._closed = False
        self._mismatch: NonDeterminism | None = None
        self._awaited: Sequence[Awaited] = ()
        self._enough: int | None = None
        self._fast = False
        self._progress = ""
        self._step = ""
        self._told = ""
        self.figure: Figure | None = None
        """How far the map has come that is under way."""

    # -- durable calls

    def ask(self, name: str, kind: str, arguments: bytes, branch: Branch | None = None) -> Asked:
        """Give a durable call its identity, and compare it with what is recorded.

        Raises:
            WorkflowMisuse: it is made inside a step.
            NonDeterminism: something else is recorded.
        """
        self.refuse_in_step(f"a durable call ({kind} {name})")
        if self._left is not None:
            # Somebody caught what was to unwind him, or is on his way out (``finally``): what he does from here on must
            # not become durable, and what unwinds him stays what it was.
            raise self._left
        if self._closed:
            raise Suspended
        digest = digest_of(arguments)
        try:
            identity, place, recorded = self.journal.ask(branch or self.branch(), name, kind, digest)
        except NonDeterminism as mismatch:
            # The workflow's own ``except Exception`` may catch it: nothing it does from here on must become durable.
            self._mismatch, self._left = mismatch, Suspended()
            raise
        if recorded is None:
            self._limits.check(self.journal, self.claim.ref)
        head = {"k": kind, "d": digest, "o": place}
        if self.claim.generation:
            head["g"] = self.claim.generation
        if recorded is None and (trace := spans.here()):
            head["tr"] = trace
        return Asked(identity, head, self.journal)

    def fact(self, kind: str, make: Callable[[], Any], *, name: str | None = None) -> Any:
        """Return a value that is made once and recorded: a time, a decision."""
        asked = self.ask(name or kind, kind, b"")
        if asked.entry is not None:
            return from_json(asked.entry.payload)
        self.may_act()
        return from_json(self._record(asked.identity, "value", asked.head, to_json(make())).payload)

    def now(self) -> int:
        """Return the time in ms since 1970 by the state server's clock, recorded at its first use."""
        return int(self.fact("now", self._clock))

    def derived(self, kind: str) -> bytes:
        """Return 32 bytes that follow from the call's identity, so that nothing needs to be recorded.

        What comes after it tells in which generation, or in which run before a fork, it was made first.
        """
        after = self.journal.after(self.branch())
        origin = self.claim.generation if after is None else after.head.get("g", 0)
        if not isinstance(origin, str):
            origin = f"{self.claim.ref.id}\0{origin}"
        return sha256(f"{origin}\0{self.ask(kind, kind, b'').identity}".encode()).digest()

    def patched(self, change: str) -> bool:
        """Return whether this run takes the changed code: one that passed this place before the change does not."""
        name = re.sub(r"[\s/#]", ".", f"patched-{change}")
        recorded = self.journal.at(self.branch())
        if self.replaying and (recorded is None or recorded.identity != self.branch().peek(name)):
            return False
        return bool(self.fact("patched", lambda: True, name=name))

    def tell(self, status: str) -> None:
        """Say for people what the run does; not durable, so that another wording changes nothing."""
        mute = self._left is not None or self._closed or not self.holder.trusted
        if mute or self.replaying or status == self._told:
            return
        try:
            self.holder.tell(status)
        except StoreUnavailable as error:
            logger.debug("the status of %s is not told: %s", self.claim.ref.id, error)
        else:
            self._told = status

    @property
    def anew(self) -> Anew | None:
        """The wish to begin anew, once the code has said it."""
        return self._left if isinstance(self._left, Anew) else None

    @property
    def replaying(self) -> bool:
        """Whether the code is still among what is recorded."""
        return self.journal.recorded_after(self.branch())

    def settle(self, asked: Asked, payload: bytes) -> None:
        """Record a decision."""
        self.may_act()
        self._record(asked.identity, "value", asked.head, payload)

    def resolve(self, asked: Asked, status: str, head: Mapping[str, Any], payload: bytes) -> Entry:
        """Record how a wait ended; return what is recorded, which is another end if its time was up before."""
        self.may_act()
        return self._record(asked.identity, status, head, payload)

    def refuse_in_step(self, what: str) -> None:
        """Refuse what belongs in the workflow's body.

        Raises:
            WorkflowMisuse: a step runs.
        """
        if step := self._step or step_here(self.claim.ref.id):
            raise WorkflowMisuse(
                f"{what} inside the step {step}: a step is recorded as a whole; make the call in the workflow's body"
            )

    # -- the ends of a slice

    def check_end(self, error: BaseException | None = None) -> None:
        """Look, when the function has returned or raised ``error``, whether it may.

        Raises:
            NonDeterminism: its journal holds something else, or more, than the code asked for.
            WorkflowMisuse: it has swallowed the suspension of its run.
        """
        if self._mismatch is not None:
            raise self._mismatch
        if self._left is not None:
            raise WorkflowMisuse(
                "the workflow went on after it was suspended: an 'except:' or 'except BaseException:' in it swallows"
                " the control signal; catch Exception instead"
            )
        try:
            self.journal.check_end(self.root)
        except NonDeterminism as early:
            if error is None:
                raise
            raised = failure_of(error)
            words = f"{raised.type}: {raised.message}"[:_LONGEST_ERROR]
            raise NonDeterminism(f"{early}\nit ended with {words}") from error

    def check_rest(self) -> None:
        """Look, when the function was suspended, whether it was for what it waits for.

        Raises:
            NonDeterminism: it had swallowed that its code has changed, and was stopped at its next call.
        """
        if self._mismatch is not None:
            raise self._mismatch

    def begin(self) -> None:
        """Be ready for the function to run from the top."""
        self.root, self._left, self._awaited = Branch(in_order=not self._on_loop), None, ()
        self.figure, self._progress = None, ""
        self._closed = False
        self.branch = self._root
        self.journal.begin()

    def rest(self) -> bool:
        """Register what the unwound function waits for; return False if some of it is there: it is to run again.

        Only now, for what unwinds on the way out (``finally``, ``with``) belongs to this claim.

        Raises:
            Unwound: the run was cancelled meanwhile.
            Fenced: somebody else decides about it by now.
        """
        there = self.holder.suspend(self._awaited, enough=self._enough, fast=self._fast, progress=self._progress)
        if there is not None and self._on_loop:
            # What else has been resolved meanwhile is to be seen as well: the order of delivery depends on it.
            self.look_again()
        for entry in there or ():
            self.journal.keep(entry)
        return there is None

    def look_again(self) -> None:
        """See what others have resolved since the run was claimed."""
        entries = self.holder.journal()
        self._seen = max((entry.seq for entry in entries), default=0)
        for entry in entries:
            self.journal.keep(entry)

    # -- for a driver of tasks

    def _root(self) -> Branch:
        return self.root

    def close(self) -> None:
        """Make nothing durable any more: what runs now is on its way out."""
        self._closed = True

    def suspend(self, waits: Sequence[Wait]) -> None:
        """Let the run rest until one of these has what it lacks; it may be woken before."""
        awaited = [one for wait in waits for one in wait.awaited]
        need = min(wait.need for wait in waits)
        self._progress = (
            "" if self.figure is None else self.figure.dump(awaited=len(awaited) if len(waits) == 1 else None)
        )
        self._suspend(awaited, enough=len(awaited) - need, fast=any(wait.fast for wait in waits))

    @property
    def has_left(self) -> bool:
        """Whether the function was unwound, and nothing may become durable any more."""
        return self._left is not None or self._closed

    @staticmethod
    def entry(asked: Asked) -> Entry:
        """Return what is recorded of a call that is resolved."""
        found = asked.entry
        assert found is not None  # noqa: S101 - it is asked for when it is there
        return found

    # -- within

    def may_act(self) -> None:
        """Refuse to go beyond what is recorded when the run was cancelled or its worker may not act any more."""
        if self.claim.cancel:
            self._leave(Unwound("cancelled"))
        if self.holder.cancelled:
            self.claim.cancel = "cancelled by request"
            self._leave(Unwound("cancelled"))
        if not self.holder.trusted:
            self._leave(Unwound("released"))

    def _seed(self, asked: Asked) -> str:
        return f"{self.claim.ref.id}:{self.claim.generation}:{asked.identity}"

    def _leave(self, signal: BaseException) -> NoReturn:
        self._left = signal
        raise signal

    def _record(self, identity: str, status: str, head: Mapping[str, Any], payload: bytes) -> Entry:
        if self._on_loop:
            head = {**head, "v": self._seen}
        try:
            entry = self.holder.record(identity, status, head, payload, progress=self._progress_with(identity))
        except Fenced as fenced:
            self._left = fenced
            raise
        self.journal.keep(entry)
        return entry

    def _progress_with(self, identity: str) -> str:
        """Return how far the map has come of which this is one more member; empty where it is none."""
        if self.figure is None or not identity.startswith(f"{self.figure.identity}/"):
            return ""
        return self.figure.dump(more=1)

    def _suspend(self, awaited: Sequence[Awaited], *, enough: int | None = None, fast: bool = False) -> None:
        """Unwind the function; what it waits for is registered when it has left (``rest``)."""
        self.may_act()
        self._awaited, self._enough, self._fast = awaited, enough, fast
        self._leave(Suspended())
