"""The buttons of a page: what each asks for, what a person is asked first, and what the page said then. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from dispatch_celery.cli.masking import line
from dispatch_celery.dlq.model import DeadLetter
from dispatch_celery.jobs.model import Job, JobState
from dispatch_celery.queues.model import Queue
from dispatch_celery.workflows.model import Run

__all__ = ["Button", "of_call", "of_cron", "of_job", "of_letter", "of_queue", "of_run"]


@dataclass(frozen=True, kw_only=True)
class Button:
    """One button."""

    label: str
    path: Sequence[str]
    """Where it is asked for, below the API."""
    ask: str = ""
    """What the person is asked first; empty where nothing is lost by it."""
    yes: str = ""
    """What the person says to that; by default the label."""
    look: str = "plain"
    body: Mapping[str, Any] = field(default_factory=dict)
    wants_reason: bool = False
    wants_key: bool = False
    """Whether each press brings a key of its own, so that a repeated request is done once."""
    edits: str = ""
    """What is said above the field for arguments to change; empty where none can be."""
    option: str = ""
    """The name of a choice the person has, and its words."""
    option_words: str = ""

    @property
    def sent(self) -> str:
        """What it sends, as JSON."""
        return json.dumps(self.body)


_JOB: Final[Mapping[str, Mapping[str, Any]]] = {
    "cancel": {
        "label": "Cancel",
        "look": "danger",
        "ask": "Cancel this job? It cannot be taken up again.",
        "yes": "Cancel the job",
        "wants_reason": True,
    },
    "retry": {
        "label": "Retry",
        "look": "primary",
        "ask": "Run this job again under the same id, attempts counted anew?",
    },
    "run-now": {"label": "Run now", "look": "primary"},
    "replay": {"label": "Replay as a new job", "ask": "Run this dead letter again as a new job?"},
    "edit": {
        "label": "Edit and replay",
        "yes": "Replay",
        "ask": "Run this dead letter again as a new job with other arguments? Write those that change, as one JSON"
        " object. The others stay as they were, also those that are hidden here.",
    },
    "put-back": {
        "label": "Put back",
        "ask": "Put this message back into its queue, as it came? The dead letter stays until it is purged.",
    },
    "purge": {
        "label": "Purge",
        "look": "danger",
        "ask": "Delete this dead letter with its record? Nobody can bring it back.",
    },
}
_RUN: Final[Mapping[str, Mapping[str, Any]]] = {
    "cancel": {
        "label": "Cancel",
        "look": "danger",
        "ask": "Cancel this run? What it has done is undone first, where it can be.",
        "yes": "Cancel the run",
        "wants_reason": True,
        "option": "discard_undo",
        "option_words": "Leave its effects as they are: undo nothing (only while no worker holds it)",
    },
    "compensate": {
        "label": "Undo",
        "look": "danger",
        "ask": "Undo what this run has done, the last effect first, and end it as cancelled?",
        "wants_reason": True,
    },
    "resume": {"label": "Resume", "look": "primary", "ask": "Let this run go on: replay it with today's code?"},
    "retry-undo": {"label": "Retry undo", "look": "primary", "ask": "Try the undo again that was given up?"},
    "rewind": {
        "label": "Rewind",
        "ask": "Take this run back to its start? Everything it recorded happens again.",
        "option": "discard_undo",
        "option_words": "Leave effects that are not undone as they are",
        "wants_key": True,
    },
    "fork": {
        "label": "Fork",
        "ask": "Start a new run that takes over every outcome recorded so far, and goes on from there?",
        "wants_key": True,
    },
}


def of_job(job: Job, verbs: Sequence[str]) -> list[Button]:
    """Return the buttons of a job."""
    expected = {"state": str(job.state), "replayed_as": job.replayed_as}
    found = []
    for verb in verbs:
        room = "dead-letters" if verb == "replay" else "jobs"
        more = dict(_JOB[verb])
        if verb == "cancel" and job.state == JobState.RUNNING:
            more["ask"] = "Cancel this job? Its worker is told to stop it, and what it did so far stays done."
        found.append(Button(path=(room, str(job.id), verb), body={"expected": expected}, **more))
    return found


def of_letter(letter: DeadLetter, verbs: Sequence[str]) -> list[Button]:
    """Return the buttons of a dead letter."""
    body = {"expected": {"replayed_as": letter.replayed_as}}
    found = []
    for verb in verbs:
        if verb == "retry":
            body = {"expected": {"state": "failed", "replayed_as": letter.replayed_as}}
            found.append(Button(path=("jobs", str(letter.job_id), verb), body=body, **_JOB[verb]))
        elif verb == "edit":
            place = ("dead-letters", str(letter.id), "replay")
            found.append(Button(path=place, body=body, edits=_names_of(letter), **_JOB[verb]))
        else:
            found.append(Button(path=("dead-letters", str(letter.id), verb), body=body, **_JOB[verb]))
    return found


def _names_of(letter: DeadLetter) -> str:
    names = ", ".join(letter.job.arguments) if letter.job else ""
    return line(f"Arguments to change, of {names}" if names else "Arguments to give: it had none")


def of_run(run: Run, verbs: Sequence[str], *, must_discard: bool) -> list[Button]:
    """Return the buttons of a run."""
    found = []
    for verb in verbs:
        more, body = dict(_RUN[verb]), {"expected": _expected(run)}
        if verb == "cancel" and must_discard:
            more |= {
                "label": "Give up undoing",
                "yes": "Give up undoing",
                "ask": "End this run as it is? Effects that are not undone stay as they are.",
                "option": "",
            }
            body["discard_undo"] = True  # type: ignore[assignment]  # JSON
        found.append(Button(path=("runs", str(run.id), verb), body=body, **more))
    return found


def of_call(run: Run, identity: str, *, can_rewind: bool, can_skip: bool) -> list[Button]:
    """Return the buttons of one durable call of a run."""
    body = {"expected": _expected(run), "identity": identity}
    if can_skip:
        ask = "Strike this undo off, because it is not needed or was done by hand? The run goes on with the next."
        return [Button(label="Skip", path=("runs", str(run.id), "skip-undo"), body=body, ask=ask, look="danger")]
    fork = Button(
        label="Fork here",
        path=("runs", str(run.id), "fork"),
        body=body,
        wants_key=True,
        ask="Start a new run that takes over what was recorded before this call, and makes it anew?",
    )
    rewind = Button(
        label="Rewind to here",
        path=("runs", str(run.id), "rewind"),
        body=body,
        wants_key=True,
        ask="Take this run back to before this call? It, and what followed, happens again.",
        option="discard_undo",
        option_words="Leave effects that are not undone as they are",
    )
    return [rewind, fork] if can_rewind else [fork]


def of_cron(cron: Any) -> list[Button]:
    """Return the buttons of a cron entry: an edit is of the revision that the page has shown."""
    body, place = {"expected": {"revision": cron.revision}}, ("crons", str(cron.id))
    run_now = Button(
        label="Run now", path=(*place, "trigger"), body=body, ask=f"Run {cron.name} now, beside its schedule?"
    )
    if cron.orphaned_at is not None:
        ask = f"Delete {cron.name}, which no code declares any more? Its history goes with it."
        return [Button(label="Delete", path=(*place, "delete"), body=body, ask=ask, look="danger")]
    if not cron.is_enabled:
        return [run_now, Button(label="Enable", path=(*place, "enable"), body=body, look="primary")]
    ask = f"Disable {cron.name}? It fires no more until somebody enables it."
    return [run_now, Button(label="Disable", path=(*place, "disable"), body=body, ask=ask)]


def of_queue(queue: Queue) -> list[Button]:
    """Return the buttons of a queue, or of the jobs of one name."""
    place, body = ("queues", f"{queue.kind}:{queue.name}"), {"expected": {"paused": queue.paused}}
    if queue.paused:
        return [Button(label="Resume", path=(*place, "resume"), body=body, look="primary")]
    what = f"the queue {queue.name}" if queue.kind == "queue" else f"jobs named {queue.name}"
    ask = f"Pause {what}? What is ready waits until somebody resumes it."
    return [Button(label="Pause", path=(*place, "pause"), body=body, ask=ask)]


def _expected(run: Run) -> dict[str, Any]:
    return {"state": run.shown, "generation": run.generation}
