"""Real workers of the workflows' app, and the workflows as their callers see them, for one test each."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from tests.support.workers import ROOT, Fleet, Worker

APP = "tests.support.flows"


class FlowWorker(Worker):
    """A worker of this app."""

    def __init__(
        self, name: str, arguments: list[str], environment: dict[str, str], folder: Path, app: str = APP
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        node = f"{name}@{environment['DISPATCH_NAMESPACE']}"
        command = [sys.executable, "-m", "celery", "-A", app, "worker", "-n", node, "-l", "INFO"]
        command += ["--without-mingle", "--without-gossip", *arguments]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **environment}, stdout=log, stderr=log, start_new_session=True
            )


class FlowFleet(Fleet):
    """The workers of one test, and the workflows as their callers see them."""

    def __init__(self, namespace: str, broker: str, folder: Path, app: str = APP) -> None:
        super().__init__(namespace, broker, folder)
        self.app = app
        for name in {APP, app}:
            sys.modules.pop(name, None)
        self.flows: ModuleType = importlib.import_module(app)

    def start(self, name: str = "w1", *arguments: str, wait: bool = True, **environment: str) -> Worker:
        worker = FlowWorker(
            name, list(arguments) or ["-c", "2"], {**self.environment, **environment}, self.folder, self.app
        )
        self._workers.append(worker)
        return worker.wait_ready() if wait else worker

    def keys(self) -> list[str]:
        """Return the idempotency keys that steps left, in order."""
        words = [line.split(" ", 1)[0] for line in self.effects_file.read_text().splitlines()]
        return [word.removeprefix("key=") for word in words if word.startswith("key=")]


@contextmanager
def flow_fleet(namespace: str, broker: str, folder: Path, app: str = APP) -> Iterator[FlowFleet]:
    """Make a fleet and end it with the test."""
    made = FlowFleet(namespace, broker, folder, app)
    try:
        yield made
    finally:
        made.close()
