"""Real `celery worker` processes of the test app, and the caller's side of it, for one test each."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import psutil

from tests.support.eventually import eventually

ROOT = Path(__file__).parent.parent.parent

QUICK = {
    "DISPATCH_LEASE": "3",
    "DISPATCH_RENEW_EVERY": "0.5",
    "DISPATCH_LEADER_LEASE": "2",
    "DISPATCH_CANCEL_GRACE": "1",
}
"""Leases short enough for a test, long enough for two busy cores."""


class Worker:
    """One worker: its main process, in a session of its own, and its log."""

    def __init__(
        self,
        name: str,
        arguments: list[str],
        environment: dict[str, str],
        folder: Path,
        app: str = "tests.support.shop",
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        # Node names are exclusive on RabbitMQ, also between tests that run side by side.
        node = f"{name}@{environment['DISPATCH_NAMESPACE']}"
        command = [sys.executable, "-m", "celery", "-A", app, "worker", "-n", node, "-l", "INFO"]
        command += ["--without-mingle", "--without-gossip", *arguments]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **environment}, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """The main process."""
        return self.process.pid

    @property
    def words(self) -> str:
        """Everything it has logged."""
        return self.log.read_text(errors="replace")

    def wait_ready(self) -> Worker:
        """Wait until it consumes."""

        def ready() -> bool:
            assert self.process.poll() is None, self.words[-3000:]
            return " ready." in self.words

        eventually(ready, within=30, what=f"{self.name} is ready")
        return self

    def children(self) -> list[int]:
        """Return its pool processes."""
        return [child.pid for child in psutil.Process(self.pid).children(recursive=True)]

    def signal(self, number: int) -> None:
        """Signal all its processes."""
        os.killpg(self.pid, number)

    def kill(self) -> None:
        """End all its processes at once."""
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
        self.process.wait()

    def terminate(self, within: float = 30) -> int:
        """Stop it as a deploy does; return its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(timeout=within)


class Fleet:
    """The workers of one test, and the app as its callers see it."""

    def __init__(self, namespace: str, broker: str, folder: Path, state: str | None = None) -> None:
        self.folder = folder
        self.effects_file = folder / "effects.txt"
        self.environment = {
            "DISPATCH_NAMESPACE": namespace,
            "SHOP_BROKER": broker,
            "SHOP_EFFECTS": str(self.effects_file),
            "DISPATCH_JOURNAL": "100000",
            **QUICK,
        }
        if state is not None:
            self.environment["DISPATCH_REDIS_URL"] = state
        self._workers: list[Worker] = []
        self.shop = self._fresh_app()

    def _fresh_app(self) -> ModuleType:
        """Import the app anew, under this test's environment."""
        before = {name: os.environ.get(name) for name in self.environment}
        os.environ.update(self.environment)
        try:
            sys.modules.pop("tests.support.shop", None)
            shop = importlib.import_module("tests.support.shop")
            assert shop.dispatch.settings.namespace == self.environment["DISPATCH_NAMESPACE"]
            return shop
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value

    def start(
        self,
        name: str = "w1",
        *arguments: str,
        wait: bool = True,
        app: str = "tests.support.shop",
        **environment: str,
    ) -> Worker:
        """Start a worker; by default prefork with two processes."""
        worker = Worker(name, list(arguments) or ["-c", "2"], {**self.environment, **environment}, self.folder, app)
        self._workers.append(worker)
        return worker.wait_ready() if wait else worker

    def effects(self, name: str) -> list[int]:
        """Return the process of each effect of a name, in order."""
        if not self.effects_file.exists():
            return []
        lines = (line.split() for line in self.effects_file.read_text().splitlines())
        return [int(pid) for found, pid, _ in lines if found == name]

    def close(self) -> None:
        """Stop every worker, and the caller's connections."""
        for worker in self._workers:
            worker.kill()
        self.shop.dispatch.close()
        self.shop.app.close()


@contextmanager
def fleet(namespace: str, broker: str, folder: Path, state: str | None = None) -> Iterator[Fleet]:
    """Make a fleet and end it with the test."""
    made = Fleet(namespace, broker, folder, state)
    try:
        yield made
    finally:
        made.close()
