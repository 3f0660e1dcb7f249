"""Real workers and beats of the cron app, for one test."""

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

from tests.support.eventually import eventually
from tests.support.workers import QUICK, ROOT

APP = "tests.support.cron_app"


class CronProcess:
    """One ``celery`` process, in a session of its own, and its log."""

    def __init__(self, name: str, words: list[str], environment: dict[str, str], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        command = [sys.executable, "-m", "celery", "-A", APP, *words]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **environment}, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def words(self) -> str:
        """Everything it has logged."""
        return self.log.read_text(errors="replace")

    def wait_for(self, words: str) -> CronProcess:
        """Wait until it has logged something."""

        def logged() -> bool:
            assert self.process.poll() is None, self.words[-3000:]
            return words in self.words

        eventually(logged, within=30, what=f"{self.name} has logged {words!r}")
        return self

    def kill(self) -> None:
        """End all its processes at once."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def terminate(self) -> int:
        """Stop it as a deploy does; return its exit code."""
        self.process.terminate()
        return self.process.wait(timeout=30)


class CronFleet:
    """The processes of one test, and the app as its callers see it."""

    def __init__(self, namespace: str, broker: str, folder: Path) -> None:
        self.folder = folder
        self.effects_file = folder / "effects.txt"
        self.environment = {
            "DISPATCH_NAMESPACE": namespace,
            "SHOP_BROKER": broker,
            "SHOP_EFFECTS": str(self.effects_file),
            **QUICK,
        }
        self.node = namespace
        self._started: list[CronProcess] = []
        self.module = self._fresh()
        self.dispatch = self.module.dispatch

    def _fresh(self) -> ModuleType:
        before = {name: os.environ.get(name) for name in self.environment}
        os.environ.update(self.environment)
        try:
            sys.modules.pop(APP, None)
            module = importlib.import_module(APP)
            assert module.dispatch.settings.namespace == self.environment["DISPATCH_NAMESPACE"]
            return module
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value

    def worker(self, name: str, *words: str, **environment: str) -> CronProcess:
        """Start a worker and wait until it consumes."""
        arguments = ["worker", "-n", f"{name}@{self.node}", "-c", "2", "-l", "INFO"]
        arguments += ["--without-mingle", "--without-gossip", *words]
        return self._start(name, arguments, environment).wait_for(" ready.")

    def beat(self, name: str, **environment: str) -> CronProcess:
        """Start a beat and wait until it ticks."""
        words = ["beat", "-S", "dispatch", "-l", "DEBUG", "--pidfile", str(self.folder / f"{name}.pid")]
        words += ["-n", f"{name}@{self.node}"]
        return self._start(name, words, environment).wait_for("Waking up")

    def _start(self, name: str, words: list[str], environment: dict[str, str]) -> CronProcess:
        process = CronProcess(name, words, {**self.environment, **environment}, self.folder)
        self._started.append(process)
        return process

    def effects(self, name: str) -> list[str]:
        """Return what each effect of a name was about, in order."""
        if not self.effects_file.exists():
            return []
        lines = (line.split() for line in self.effects_file.read_text().splitlines())
        return [about for found, about in lines if found == name]

    def close(self) -> None:
        """Stop every process, and the caller's connections."""
        for process in self._started:
            process.kill()
        self.dispatch.close()
        self.module.app.close()


@contextmanager
def cron_fleet(namespace: str, broker: str, folder: Path) -> Iterator[CronFleet]:
    """Make a fleet and end it with the test."""
    made = CronFleet(namespace, broker, folder)
    try:
        yield made
    finally:
        made.close()
