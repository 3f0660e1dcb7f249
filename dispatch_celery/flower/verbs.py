"""What buttons and programs may have done. One function a verb; each does what it says, or says why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from dispatch_celery.app import Dispatch
from dispatch_celery.cli.masking import line
from dispatch_celery.dlq.model import DeadLetter
from dispatch_celery.errors import ConfigurationError, QueueNotFound
from dispatch_celery.flower.asking import Asked, Done, refuse_stale
from dispatch_celery.flower.desk import Desk
from dispatch_celery.jobs.model import JobState
from dispatch_celery.workflows.model import RunState

__all__ = ["VERBS", "Verb", "serves"]

Verb = Callable[[Desk, str, Asked], Done]


def serves(dispatch: Dispatch, kind: str, verb: str) -> bool:
    """Return whether this release of the app's services has a verb."""
    service = kind.replace("dead-letters", "dlq")
    found = getattr(dispatch, service) if hasattr(type(dispatch), service) else None
    return hasattr(found, verb.replace("-", "_"))


# -- jobs


def _check_job(desk: Desk, job_id: str, asked: Asked, *words: str) -> None:
    asked.only("expected", *words)
    if asked.expected:
        job = desk.dispatch.jobs.get(job_id)
        refuse_stale(job_id, {"state": str(job.state), "replayed_as": job.replayed_as}, asked)


def _cancel_job(desk: Desk, job_id: str, asked: Asked) -> Done:
    _check_job(desk, job_id, asked, "reason")
    state = desk.dispatch.jobs.cancel(job_id, reason=asked.text("reason") or "cancelled in Flower")
    words = "its worker was told to stop it" if state == JobState.RUNNING else "it will not run"
    return Done(message=f"{job_id} is {state}: {words}.", about=job_id)


def _retry_job(desk: Desk, job_id: str, asked: Asked) -> Done:
    _check_job(desk, job_id, asked)
    handle = desk.dispatch.jobs.retry(job_id)
    if handle.id != job_id:
        return Done(message=f"{job_id} was replayed before, as {handle.id}: nothing was done.", about=handle.id)
    return Done(message=f"{job_id} runs again, its attempts counted anew.", about=job_id)


def _run_job_now(desk: Desk, job_id: str, asked: Asked) -> Done:
    _check_job(desk, job_id, asked)
    state = desk.dispatch.jobs.run_now(job_id)
    words = "it waits for a permit" if state == JobState.LIMITED else "it waits for nothing but a worker"
    return Done(message=f"{job_id} is {state}: {words}.", about=job_id)


# -- runs


def _check_run(desk: Desk, run_id: str, asked: Asked, *words: str) -> None:
    asked.only("expected", *words)
    if asked.expected:
        run = desk.dispatch.runs.get(run_id)
        refuse_stale(run_id, {"state": run.shown, "generation": run.generation}, asked)


def _cancel_run(desk: Desk, run_id: str, asked: Asked) -> Done:
    _check_run(desk, run_id, asked, "reason", "discard_undo")
    reason = asked.text("reason") or "cancelled in Flower"
    state = desk.dispatch.runs.cancel(run_id, reason=reason, discard_undo=asked.flag("discard_undo"))
    words = {
        RunState.RUNNING: "its worker was told to stop it",
        RunState.CANCELLED: "it will not go on",
    }
    return Done(message=f"{run_id} is {state}: {words.get(state, 'it undoes what it did first')}.", about=run_id)


def _compensate_run(desk: Desk, run_id: str, asked: Asked) -> Done:
    _check_run(desk, run_id, asked, "reason")
    state = desk.dispatch.runs.compensate(run_id, reason=asked.text("reason") or "compensated in Flower")
    words = {
        RunState.RUNNING: "its worker was told to stop it, and undoes what it has done",
        RunState.CANCELLED: "nothing was left to undo",
    }
    done = words.get(state, "the next free worker undoes what it has done")
    return Done(message=f"{run_id} is {state}: {done}.", about=run_id)


def _resume_run(desk: Desk, run_id: str, asked: Asked) -> Done:
    _check_run(desk, run_id, asked)
    state = desk.dispatch.runs.resume(run_id)
    return Done(message=f"{run_id} is {state}: the next free worker replays it with today's code.", about=run_id)


def _retry_undo(desk: Desk, run_id: str, asked: Asked) -> Done:
    _check_run(desk, run_id, asked)
    state = desk.dispatch.runs.retry_undo(run_id)
    return Done(message=f"{run_id} is {state}: the undo that was given up is tried again.", about=run_id)


def _skip_undo(desk: Desk, run_id: str, asked: Asked) -> Done:
    _check_run(desk, run_id, asked, "identity")
    identity = asked.must_have("identity")
    state = desk.dispatch.runs.skip_undo(run_id, identity)
    words = "what the run is parked for remains" if state == RunState.PARKED else "the run goes on with its undos"
    return Done(message=f"The undo {identity} of {run_id} is skipped; {words}.", about=run_id)


def _rewind_run(desk: Desk, run_id: str, asked: Asked) -> Done:
    _check_run(desk, run_id, asked, "identity", "discard_undo", "key")
    place = asked.text("identity")
    state = desk.dispatch.runs.rewind(
        run_id, place, discard_undo=asked.flag("discard_undo"), idempotency_key=asked.text("key")
    )
    back = f"to before {place}" if place else "to its start"
    return Done(message=f"{run_id} is taken back {back}, and is {state}.", about=run_id)


def _fork_run(desk: Desk, run_id: str, asked: Asked) -> Done:
    _check_run(desk, run_id, asked, "identity", "key")
    place = asked.text("identity")
    handle = desk.dispatch.runs.fork(run_id, place, idempotency_key=asked.text("key"))
    from_ = f"what {run_id} recorded before {place}" if place else f"all that {run_id} has recorded"
    return Done(message=f"{handle.id} is started with {from_}.", about=handle.id)


# -- dead letters


def _check_letter(desk: Desk, letter_id: str, asked: Asked, *words: str) -> DeadLetter:
    asked.only("expected", *words)
    letter = desk.dispatch.dlq.get(letter_id)
    refuse_stale(letter_id, {"replayed_as": letter.replayed_as}, asked)
    return letter


def _replay_letter(desk: Desk, letter_id: str, asked: Asked) -> Done:
    asked.only("expected", "edits")
    edits = asked.edits()
    letter = _check_letter(desk, letter_id, asked, "edits") if asked.expected or edits else None
    if letter is None or letter.job is None or not edits:
        handle = desk.dispatch.dlq.replay(letter_id)
        if handle.id.endswith(letter_id.partition("_")[2]):
            return Done(message=f"{handle.id} is no dead letter, or none any more: nothing was done.", about=handle.id)
        return Done(message=f"{letter_id} runs again as the new job {handle.id}.", about=handle.id)
    handle = desk.dispatch.dlq.replay(letter_id, arguments={**letter.job.arguments, **edits})
    changed = ", ".join(line(name, 80) for name in edits)
    return Done(message=f"{letter_id} runs again as the new job {handle.id}, with another {changed}.", about=handle.id)


def _purge_letter(desk: Desk, letter_id: str, asked: Asked) -> Done:
    letter = _check_letter(desk, letter_id, asked)
    count = desk.dispatch.dlq.purge(letter.id)
    words = "is deleted with its record" if count else "was not there any more: nothing was done"
    return Done(message=f"{letter_id} {words}.", more={"purged": count})


def _put_back(desk: Desk, letter_id: str, asked: Asked) -> Done:
    _check_letter(desk, letter_id, asked)
    cast("Any", desk.dispatch.dlq).put_back(letter_id)
    return Done(message=f"{letter_id} is put back into its queue, as it came.", about=letter_id)


def _note(desk: Desk, letter_id: str, asked: Asked) -> Done:
    asked.only("reason", "by")
    cast("Any", desk.dispatch.dlq).note(letter_id, asked.must_have("reason"), by=asked.text("by") or "Flower")
    return Done(message=f"The note on {letter_id} is kept.", about=letter_id)


# -- cron entries and queues, of an app that has them


def _check_cron(desk: Desk, cron_id: str, asked: Asked) -> int | None:
    """Return the revision that the page has shown."""
    asked.only("expected")
    revision = asked.expected.get("revision")
    if revision is not None and type(revision) is not int:
        raise ConfigurationError("the revision that is expected of an entry is a whole number: nothing was done")
    if asked.expected:
        entry = cast("Any", desk.dispatch).crons.get(cron_id)
        refuse_stale(cron_id, {"state": str(entry.state), "revision": entry.revision}, asked)
    return revision


def _trigger(desk: Desk, cron_id: str, asked: Asked) -> Done:
    _check_cron(desk, cron_id, asked)
    made = str(cast("Any", desk.dispatch).crons.trigger(cron_id))
    return Done(message=f"{made} is created, beside the schedule.", about=made)


def _switch(verb: str, words: str) -> Verb:
    def act(desk: Desk, cron_id: str, asked: Asked) -> Done:
        revision = _check_cron(desk, cron_id, asked)
        getattr(cast("Any", desk.dispatch).crons, verb)(cron_id, revision=revision)
        return Done(message=f"The entry {words}.")

    return act


def _delete_cron(desk: Desk, cron_id: str, asked: Asked) -> Done:
    crons, revision = cast("Any", desk.dispatch).crons, _check_cron(desk, cron_id, asked)
    entry = crons.get(cron_id)
    crons.delete(cron_id, revision=revision)
    is_declared = entry.origin == "code" and entry.orphaned_at is None
    back = ". Code declares it: it comes back when a worker starts; disable it instead" if is_declared else ""
    return Done(message=f"The entry is deleted{back}.")


def _hold(verb: str, words: str) -> Verb:
    def act(desk: Desk, place: str, asked: Asked) -> Done:
        asked.only("expected")
        kind, _sep, name = place.partition(":")
        if kind not in ("queue", "job"):  # a queue by its name alone
            kind, name = "queue", place
        queues = desk.dispatch.queues
        if asked.expected:
            refuse_stale(place, {"paused": _is_paused(desk, **{kind: name})}, asked)
        getattr(queues, verb)(**{kind: name})
        return Done(message=f"{'Jobs named' if kind == 'job' else 'The queue'} {name}: {words}.")

    return act


def _is_paused(desk: Desk, **place: str) -> bool:
    try:
        return desk.dispatch.queues.get(**place).paused
    except QueueNotFound:  # nothing waits in it any more, and nobody holds it
        return False


VERBS: Final[Mapping[tuple[str, str], Verb]] = {
    ("jobs", "cancel"): _cancel_job,
    ("jobs", "retry"): _retry_job,
    ("jobs", "run-now"): _run_job_now,
    ("runs", "cancel"): _cancel_run,
    ("runs", "compensate"): _compensate_run,
    ("runs", "resume"): _resume_run,
    ("runs", "retry-undo"): _retry_undo,
    ("runs", "skip-undo"): _skip_undo,
    ("runs", "rewind"): _rewind_run,
    ("runs", "fork"): _fork_run,
    ("dead-letters", "replay"): _replay_letter,
    ("dead-letters", "purge"): _purge_letter,
    ("dead-letters", "put-back"): _put_back,
    ("dead-letters", "note"): _note,
    ("crons", "trigger"): _trigger,
    ("crons", "enable"): _switch("enable", "fires at its next slot"),
    ("crons", "disable"): _switch("disable", "fires no more until somebody enables it"),
    ("crons", "delete"): _delete_cron,
    ("queues", "pause"): _hold("pause", "paused"),
    ("queues", "resume"): _hold("resume", "resumed"),
}
"""By what they are done with, and their name in an address."""
