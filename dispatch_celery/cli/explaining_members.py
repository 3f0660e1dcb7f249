"""Says how a run waits for others: an event, a job, a child run, or several of them at once. Pure."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Final

from dispatch_celery.cli.phrases import GROUPS, RunSurroundings, count_of, group_of, kind_of, share_of
from dispatch_celery.cli.plain import one_line
from dispatch_celery.workflows.members import MEMBER_KINDS
from dispatch_celery.workflows.model import PromiseRecord, Run

__all__ = ["EVENT_KINDS", "advice_on", "call_of", "calls_of", "crowd_of", "member_of", "stands"]

EVENT_KINDS: Final = frozenset({"event", "any", "all"})
"""Kinds of waits that somebody ends by publishing."""
_NAMED: Final = 3
"""How many of the calls a run waits for are told by name."""


def stands(promise: PromiseRecord, around: RunSurroundings) -> str:
    """Return which job or child run a call is, and how that stands, in brackets; of several events, how many came."""
    topics = ", ".join(_topic(name, key) for name, key in around.topics.get(promise.identity, ())[:_NAMED])
    if promise.kind == "all":
        come = sum(one.identity.startswith(f"{promise.identity}/") for one in around.promises)
        return f" ({come:,} {'has' if come == 1 else 'have'} come{f'; missing: {topics}' if topics else ''})"
    if topics:
        return f" ({topics})"
    member = around.members.get(promise.identity)
    if member is None:
        return ""
    return f" ({member.id} is {member.state})" if member.state else f" ({member.id}, whose record is gone)"


def member_of(promises: Sequence[PromiseRecord], around: RunSurroundings) -> str:
    """Return the id of the first job or child run among calls that is known; empty where there is none."""
    return next((around.members[one.identity].id for one in promises if one.identity in around.members), "")


def crowd_of(awaited: Sequence[PromiseRecord], around: RunSurroundings) -> str:
    """Return how many of how many members of one group are left, and how they stand; empty where it is no group."""
    groups = {group_of(promise.identity) for promise in awaited}
    name = min(groups)
    if len(groups) != 1 or kind_of(name) not in GROUPS:
        return ""
    sent = [promise for promise in around.promises if promise.identity.startswith(f"{name}/")]
    found = Counter(_state_of(promise, around) for promise in awaited)
    states = ", ".join(f"{number:,} {state}" for state, number in sorted(found.items()))
    needed = len(awaited) - around.enough
    when = f"; it goes on when {needed:,} of them {'has' if needed == 1 else 'have'} ended" if around.enough else ""
    if share := share_of(sent):
        return f"{count_of(len(awaited), 'call')} of {one_line(name)}, which has done {share} ({states}){when}"
    return f"{len(awaited):,} of the {count_of(len(sent), 'call')} of {one_line(name)} so far ({states}){when}"


def calls_of(awaited: Sequence[PromiseRecord], around: RunSurroundings) -> str:
    """Return some calls by name, and how many more there are."""
    listed = ", ".join(f"{call_of(promise)}{stands(promise, around)}" for promise in awaited[:_NAMED])
    more = f" and {len(awaited) - _NAMED:,} more" if len(awaited) > _NAMED else ""
    return f"{count_of(len(awaited), 'call')}: {listed}{more}"


def advice_on(run: Run, around: RunSurroundings, awaited: Sequence[PromiseRecord]) -> str:
    """Return how what a run waits for can be looked at, or be made to happen; empty where nobody can."""
    event = next((promise for promise in awaited if promise.kind in EVENT_KINDS), None)
    if event is not None:
        return _publishing(run, around, event)
    member = member_of(awaited, around)
    if not member or any(promise.kind not in MEMBER_KINDS for promise in awaited):
        return ""
    what = "it" if len(awaited) == 1 else "the first of them"
    return f"`{around.command} explain {member}` tells what {what} waits for."


def _publishing(run: Run, around: RunSurroundings, awaited: PromiseRecord) -> str:
    told = awaited.identity.rpartition("/")[2].rpartition("#")[0] if awaited.kind == "event" else "NAME"
    (first, key), *_ = around.topics.get(awaited.identity) or [(told, "KEY")]
    name, which = shlex.quote(first), " NAME is one of those that its code waits for here." if first == "NAME" else ""
    under = f" --key {shlex.quote(key)}" if key else ""
    whose = f"under {key}" if key else "without a key"
    parts = (("--scope-app", run.scope.app_id), ("--scope-org", run.scope.org_id))
    tenant = "".join(f" {option} {shlex.quote(part)}" for option, part in parts if part)
    to_all = f"{around.command} events publish {name}{under}{tenant} --payload JSON"
    return (
        f"`{around.command} runs publish {run.id} {name} --payload JSON` gives it the event, whatever its key;"
        f" `{to_all}` all runs that wait {one_line(whose)}.{which}"
    )


def _topic(name: str, key: str) -> str:
    return one_line(f"{name} under the key {key!r}" if key else f"{name} without a key")


def _state_of(promise: PromiseRecord, around: RunSurroundings) -> str:
    member = around.members.get(promise.identity)
    return (member.state or "gone") if member is not None else promise.status


def call_of(promise: PromiseRecord) -> str:
    """Return a durable call, without saying ``sleep sleep#1``."""
    identity = one_line(promise.identity)
    if promise.kind in ("any", "all"):
        return f"{promise.kind} of the events of {identity}"
    return identity if identity.startswith((f"{promise.kind}#", f"{promise.kind}:")) else f"{promise.kind} {identity}"
