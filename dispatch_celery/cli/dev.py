"""``dispatch dev``: a server, a worker and what belongs to them in one terminal, for as long as it is open.

The URLs reach the processes by environment: Celery prefers ``CELERY_BROKER_URL`` (and its ``READ`` and ``WRITE``
kin) to an app's own broker, as this package prefers ``DISPATCH_REDIS_URL``. So an app needs no setting for development.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import click

from dispatch_celery.app import Dispatch
from dispatch_celery.cli.processes import Crew, Ended, Event
from dispatch_celery.cli.session import app_option, find_dispatch
from dispatch_celery.cluster.model import WorkerState
from dispatch_celery.cluster.service import WorkerService
from dispatch_celery.cluster.store import ClusterStore
from dispatch_celery.config import redact_url
from dispatch_celery.errors import ConfigurationError, StoreUnavailable
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.embedded import EmbeddedServer
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.servertime import ServerTime
from dispatch_celery.worker.task import JobTask

__all__ = ["dev"]

_READY_LIMIT: Final = 60.0
_PORTS: Final = range(1, 65_536)
_BROKER_VARIABLES: Final = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where everything of one ``dev`` runs."""

    app: str
    url: str
    own: bool
    """Whether its server is started here."""
    environment: Mapping[str, str]
    data: Path

    def celery(self, *words: str) -> list[str]:
        """Return a Celery command line on this app."""
        return [sys.executable, "-m", "celery", "-A", self.app, *words]


@click.command()
@click.option(
    "--port", type=click.IntRange(1, 65_535), help="The embedded server's port; by default that of the last time."
)
@click.option("--data", type=click.Path(path_type=Path), default=".dispatch", show_default=True, help="Its files.")
@click.option("-c", "--concurrency", type=click.IntRange(1), help="The worker's slots.")
@click.option("-P", "--pool", help="The worker's pool.")
@click.option(
    "-Q", "--queues", help="The worker's queues; by default all that this app, its jobs and its workflows name."
)
@click.option("-l", "--loglevel", default="INFO", show_default=True, help="The worker's log level.")
@click.option("--beat/--no-beat", default=None, help="Also run beat; by default where the app has a beat_schedule.")
@click.option("--flower/--no-flower", default=False, show_default=True, help="Also run Flower, on this machine only.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def dev(
    context: click.Context, /, *, port: int | None, data: Path, command: tuple[str, ...], flower: bool, **options: Any
) -> None:
    """Run a server and a worker in this terminal; with `-- CMD`, run CMD beside them and leave with its exit code.

    The server is a Valkey or Redis of its own, with its files under .dispatch/, so jobs are kept until the next time,
    and on the same port as the last time where that is free.
    Worker and CMD get its URL as DISPATCH_REDIS_URL and as CELERY_BROKER_URL, which Celery prefers to the app's own
    broker. If DISPATCH_REDIS_URL is set already, that server is used, and CELERY_BROKER_URL is kept where it is set.
    Ctrl-C stops everything; a second one, by force. Code is not reloaded: start it again after a change.
    """
    dispatch, app = find_dispatch(context), app_option(context)
    if not app:
        raise ConfigurationError("name the app: celery -A module dispatch dev")
    if flower and find_spec("flower") is None:
        raise ConfigurationError("Flower is not installed: pip install 'dispatch-celery[flower]'")
    stream = sys.stderr if command else sys.stdout
    crew = Crew(stream, colour=False if context.obj.no_color else None)
    with _server(port, data) as (url, own):
        stage = Stage(app=app, url=url, own=own, environment=_environment(url, own=own), data=data)
        crew.say(f"the server is {redact_url(url)}{f', its files are in {data}' if own else ' (DISPATCH_REDIS_URL)'}")
        grace = dispatch.settings.shutdown_grace / 1000 + 10
        with crew.on_watch():
            try:
                code = _perform(crew, stage, dispatch, command, flower=flower, **options)
            except StoreUnavailable as error:
                if own:
                    raise
                raise ConfigurationError(
                    f"{error}. DISPATCH_REDIS_URL is set in this shell: start that server, or"
                    " `unset DISPATCH_REDIS_URL CELERY_BROKER_URL`, and dev starts one of its own"
                ) from error
            finally:
                crew.say("stopping; once more stops by force")
                crew.stop(grace)
    context.exit(code)


@contextmanager
def _server(port: int | None, data: Path) -> Iterator[tuple[str, bool]]:
    """Yield the state server's URL, and whether it is our own."""
    if not data.exists():
        data.mkdir(parents=True)
        (data / ".gitignore").write_text("*\n")
    chosen = os.environ.get("DISPATCH_REDIS_URL")
    if chosen:
        yield chosen, False
        return
    last = data / "port"
    with EmbeddedServer(data_dir=data.resolve(), port=port or _free_again(last)) as server:
        last.write_text(f"{server.port}\n")
        yield server.url, True


def _free_again(last: Path) -> int | None:
    """Return the port of the last time, so that what other terminals were told stays true; None if it is taken."""
    try:
        port = int(last.read_text())
        if port not in _PORTS:
            return None
        with socket.create_server(("127.0.0.1", port)):
            return port
    except (OSError, ValueError):
        return None


def _environment(url: str, *, own: bool) -> dict[str, str]:
    """Return the environment of everything that is started."""
    broker = url if own else os.environ.get("CELERY_BROKER_URL", url)
    return {**os.environ, "DISPATCH_REDIS_URL": url, **dict.fromkeys(_BROKER_VARIABLES, broker)}


def _perform(
    crew: Crew,
    stage: Stage,
    dispatch: Dispatch,
    command: Sequence[str],
    *,
    flower: bool,
    beat: bool | None,
    **options: Any,
) -> int:
    """Start everything, wait for the end, and return the exit code."""
    words = _worker_words(options, dispatch)
    worker = crew.start("worker", stage.celery(*words), stage.environment)
    if beat if beat is not None else bool(dispatch.app.conf.beat_schedule):
        crew.start("beat", stage.celery("beat", "-S", "dispatch"), stage.environment)
    if flower:
        crew.start("flower", stage.celery("flower", "--address=127.0.0.1"), stage.environment)
    early = _until_ready(crew, stage, dispatch, worker)
    if early is not None:
        return _left(crew, early)
    crew.say("the worker is ready")
    if not command:
        if stage.own:
            crew.say(f"for another terminal: export DISPATCH_REDIS_URL={stage.url} CELERY_BROKER_URL={stage.url}")
        return _attend(crew)
    try:
        foreground = crew.run("command", command, stage.environment)
    except OSError as error:
        crew.say(f"cannot run {shlex.join(command)}: {error.strerror}")
        return 127
    return _follow(crew, foreground)


def _worker_words(options: Mapping[str, Any], dispatch: Dispatch) -> list[str]:
    app = dispatch.app
    app.loader.import_default_modules()
    jobs = (task for task in app.tasks.values() if isinstance(task, JobTask))
    named = {*app.amqp.queues, *(task.definition.queue for task in jobs if task.definition.queue)}
    flows = dispatch._parts.workflows  # noqa: SLF001 - a task is all versions of a name, and has none of their queues
    named |= {flow.queue for flow in flows if flow.queue}
    chosen = {**options, "queues": options["queues"] or ",".join(sorted(named))}
    return ["worker", "-n", "dev@%h", *(f"--{name}={value}" for name, value in chosen.items() if value is not None)]


def _until_ready(crew: Crew, stage: Stage, dispatch: Dispatch, worker: subprocess.Popen[bytes]) -> Event | None:
    """Wait until the worker is registered; return what came in between, if something did."""
    settings = dispatch.settings
    store = RedisStore(settings, stage.url, options=dict(dispatch.app.conf.broker_transport_options or {}))
    fleet = WorkerService(ClusterStore(store, Keys(settings.namespace), settings, ServerTime()))
    me = (socket.gethostname(), worker.pid, WorkerState.ACTIVE)
    limit = time.monotonic() + _READY_LIMIT
    try:
        while time.monotonic() < limit:
            if any((one.hostname, one.pid, one.state) == me for one in fleet.list()):
                return None
            event = crew.next_event(timeout=0.1)
            if isinstance(event, signal.Signals) or (event is not None and event.name == "worker"):
                return event
    finally:
        store.close()
    raise ConfigurationError(f"the worker has not registered in {_READY_LIMIT:g} s; its lines above may tell why")


def _attend(crew: Crew) -> int:
    """Wait for a signal, or for the worker's end."""
    while True:
        event = crew.next_event()
        if isinstance(event, signal.Signals) or (event is not None and event.name == "worker"):
            return _left(crew, event)
        crew.say(f"{event.name if event else 'something'} has ended; the rest goes on")


def _follow(crew: Crew, foreground: subprocess.Popen[bytes]) -> int:
    """Wait for the foreground command's end; signals are passed on, and the worker's end ends it."""
    signals = 0
    while True:
        event = crew.next_event()
        if isinstance(event, Ended) and event.name == "command":
            return event.code if event.code >= 0 else 128 - event.code
        if isinstance(event, Ended) and event.name == "worker":
            _left(crew, event)
            foreground.terminate()
        elif isinstance(event, signal.Signals):
            signals += 1
            # A terminal has sent its Ctrl-C to the command too; it alone decides what that means to it.
            if event != signal.SIGINT or signals > 1 or not sys.stdin.isatty():
                foreground.send_signal(event if signals == 1 else signal.SIGTERM if signals == 2 else signal.SIGKILL)


def _left(crew: Crew, event: Event) -> int:
    if isinstance(event, signal.Signals):
        return 0 if event == signal.SIGINT else 128 + event
    crew.say(f"the {event.name} has ended with code {event.code}")
    return 1
