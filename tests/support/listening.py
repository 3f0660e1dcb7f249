"""What a worker of the shop shows to others, written to a file as it is heard: one line of JSON for each notice.

A worker includes this module (``celery worker -I tests.support.listening``) and is told the file by ``SHOP_HEARD``.
Lines are appended in one write each, so that the processes of a pool may share the file.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from celery import signals

from dispatch_celery import Constant, Dispatch, Extension, Retry, current_job
from dispatch_celery.jobs.signals import SIGNALS
from dispatch_celery.workflows.signals import RUN_SIGNALS

MODULE = "tests.support.listening"
HOOKS = tuple(name for name in vars(Extension) if name.startswith("on_"))
EXECUTION = (
    *("task_prerun", "task_postrun", "task_success", "task_retry", "task_failure", "task_revoked"),
    *("task_internal_error", "task_rejected", "task_unknown"),
)
"""Celery's signals of an execution. ``task_received`` tells of a wake-up, and those may be doubled."""
PUBLICATION = ("before_task_publish", "after_task_publish")
outermost: ContextVar[str] = ContextVar("outermost", default="unset")
innermost: ContextVar[str] = ContextVar("innermost", default="unset")


class Notebook:
    """One file of notices: (who told, what, about whom)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def note(self, told_by: str, moment: str, about: str, **facts: Any) -> None:
        """Append one notice, whole."""
        line = json.dumps([told_by, moment, about, {"pid": os.getpid(), **facts}], default=str) + "\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def notices(
        self, told_by: str = "", about: str | None = None, moment: str = ""
    ) -> list[tuple[str, str, str, dict[str, Any]]]:
        """Return the notices that fit, in the order in which they were written; those about no job with ``""``."""
        if not self.path.exists():
            return []
        found = (tuple(json.loads(line)) for line in self.path.read_text().splitlines())
        return [
            notice
            for notice in found
            if told_by in ("", notice[0]) and moment in ("", notice[1]) and about in (None, notice[2])
        ]

    def story(self, about: str, *told_by: str) -> list[str]:
        """Return what was said of one job, in order: ``teller moment``."""
        return [f"{who} {what}" for who, what, _, _ in self.notices(about=about) if not told_by or who in told_by]


class Listener(Extension):
    """Notes every hook, whatever its arguments."""

    def __init__(self, notebook: Notebook) -> None:
        for hook in HOOKS:
            setattr(self, hook, self._noting(notebook, hook.removeprefix("on_").removeprefix("job_")))

    @staticmethod
    def _noting(notebook: Notebook, moment: str) -> Callable[..., None]:
        def hook(**facts: Any) -> None:
            about, told = _subject(facts)
            notebook.note("hook", moment, about, **told)

        return hook


class Clumsy(Extension):
    """Raises in every hook."""

    def __init__(self) -> None:
        for hook in HOOKS:
            setattr(self, hook, self._stumble)

    @staticmethod
    def _stumble(**facts: Any) -> None:
        raise RuntimeError(f"a hook stumbles over {sorted(facts)}")


class LogReader(logging.Handler):
    """Notes the structured fields of every line about a life cycle."""

    def __init__(self, notebook: Notebook) -> None:
        super().__init__()
        self._notebook = notebook

    def emit(self, record: logging.LogRecord) -> None:
        """Note one line, if it is structured."""
        fields = dict(getattr(record, "dispatch", {}))
        if fields:
            event = fields.pop("event").removeprefix("dispatch.").removeprefix("job.").replace("run.", "run_")
            about = fields.pop("job_id", "") or fields.pop("run_id", "")
            self._notebook.note("log", event, str(about), level=record.levelname, **fields)


def _subject(facts: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    work = facts.pop("job", None) or facts.pop("run", None)
    if work is not None:
        facts["name"] = work.name
    return (str(work.id) if work is not None else ""), facts


def listen_to_signals(notebook: Notebook, celerys: Iterable[str]) -> Callable[[], None]:
    """Note our signals and some of Celery's from now on; return what ends it."""
    connected: list[tuple[Any, Any]] = []

    def connect(signal: Any, receiver: Any) -> None:
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))

    for moment, (ours, _) in SIGNALS.items():
        connect(ours, _on_ours(notebook, moment))
    for moment, (ours, _) in RUN_SIGNALS.items():
        connect(ours, _on_ours(notebook, f"run_{moment}"))
    for moment in celerys:
        connect(getattr(signals, moment), _on_celerys(notebook, moment))

    def end() -> None:
        for signal, receiver in connected:
            signal.disconnect(receiver)

    return end


def _on_ours(notebook: Notebook, moment: str) -> Callable[..., None]:
    def receive(sender: Any, signal: Any, **facts: Any) -> None:
        about, told = _subject(facts)
        notebook.note("signal", moment, about, **told)
        if os.environ.get("SHOP_CLUMSY"):
            raise RuntimeError("a receiver stumbles")

    return receive


def _on_celerys(notebook: Notebook, moment: str) -> Callable[..., None]:
    def receive(sender: Any = None, **facts: Any) -> None:
        request = facts.get("request") or getattr(sender, "request", None)
        about = facts.get("task_id") or (facts.get("headers") or {}).get("id") or getattr(request, "id", "")
        told = {name: facts[name] for name in ("state", "exception", "reason", "result") if name in facts}
        notebook.note("celery", moment, str(about), **told)

    return receive


def attach(dispatch: Dispatch, notebook: Notebook) -> None:
    """Listen on every seam of an app, and add jobs that tell what reached them."""
    if os.environ.get("SHOP_CLUMSY"):
        dispatch.add_extension(Clumsy())
    dispatch.add_extension(Listener(notebook))
    lifecycle = logging.getLogger("dispatch_celery.lifecycle")
    lifecycle.addHandler(LogReader(notebook))
    listen_to_signals(notebook, EXECUTION)
    _add_middleware(dispatch, notebook)
    _add_jobs(dispatch, notebook)


def _add_middleware(dispatch: Dispatch, notebook: Notebook) -> None:
    def wrap(name: str, variable: ContextVar[str]) -> Callable[..., Any]:
        def middleware(context: Any, call_next: Callable[[], Any]) -> Any:
            notebook.note("middleware", f"{name} in", context.id)
            mark = variable.set(f"{name} {context.id}")
            try:
                return call_next()
            finally:
                variable.reset(mark)
                notebook.note("middleware", f"{name} out", context.id)

        return middleware

    def wrap_async(name: str, variable: ContextVar[str]) -> Callable[..., Any]:
        async def middleware(context: Any, call_next: Callable[[], Any]) -> Any:
            notebook.note("middleware", f"{name} in", context.id)
            mark = variable.set(f"{name} {context.id}")
            try:
                return await call_next()
            finally:
                variable.reset(mark)
                notebook.note("middleware", f"{name} out", context.id)

        return middleware

    dispatch.add_middleware(wrap("first", outermost))
    dispatch.add_middleware(wrap_async("async first", innermost))
    dispatch.add_middleware(wrap("second", ContextVar("unread")))
    dispatch.add_middleware(wrap_async("async second", ContextVar("unread")))


def _add_jobs(dispatch: Dispatch, notebook: Notebook) -> None:
    def tell() -> list[str]:
        notebook.note("handler", "runs", current_job().id)
        return [outermost.get(), innermost.get()]

    @dispatch.job(name="listening.tell", retry=Retry(1, Constant(0.1)))
    def tell_sync() -> list[str]:
        """Return the context variables that reach a sync handler."""
        return tell()

    @dispatch.job(name="listening.atell", retry=Retry(1, Constant(0.1)))
    async def tell_async() -> list[str]:
        """Return the context variables that reach a coroutine."""
        return tell()


if os.environ.get("SHOP_HEARD"):
    from tests.support import shop

    attach(shop.dispatch, Notebook(Path(os.environ["SHOP_HEARD"])))
