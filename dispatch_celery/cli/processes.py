"""Several processes in one terminal: their lines come out with a coloured name before them, and they stop together.

Promises
    - Each runs in a session of its own, so Ctrl-C reaches only this process, which then stops them in order.
    - None outlives ``stop``: SIGTERM, time to finish, then SIGKILL to that process and to what it started.
    - The foreground process has the terminal to itself: its input, its output, its Ctrl-C.

What happens (a process ends, a signal arrives) comes out of ``next_event``, one thing at a time.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Final, TextIO

import click

__all__ = ["Crew", "Ended", "Event"]

_COLOURS: Final = ("cyan", "magenta", "green", "blue")
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LAST_LINES: Final = 2.0


@dataclass(frozen=True, slots=True)
class Ended:
    """A process is over; a negative code is the signal that ended it, as in ``subprocess``."""

    name: str
    code: int


Event = Ended | signal.Signals


class Crew:
    """The processes. Not safe for threads; ``next_event`` and ``stop`` are called by the main one."""

    def __init__(self, stream: TextIO, *, colour: bool | None = None) -> None:
        self._stream = stream
        self._colour = colour
        self._colours = cycle(_COLOURS)
        self._background: dict[str, subprocess.Popen[bytes]] = {}
        self._readers: list[threading.Thread] = []
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._voice = threading.Lock()

    @contextmanager
    def on_watch(self) -> Iterator[None]:
        """Turn signals into events for a block."""
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        try:
            for number in _SIGNALS:
                signal.signal(number, self._signalled)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _signalled(self, number: int, _frame: Any) -> None:
        self._events.put(signal.Signals(number))

    def say(self, words: str, *, name: str = "dev", colour: str = "yellow") -> None:
        """Print one line under a name. Goes on where nobody reads any more: a full pipe would hold up its process."""
        with self._voice, suppress(OSError):
            click.echo(f"{click.style(f'{name:<6} |', fg=colour)} {words}", file=self._stream, color=self._colour)

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a process whose lines are printed under its name."""
        process = subprocess.Popen(  # noqa: S603 - our own command line
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._background[name] = process
        reader = threading.Thread(target=self._read, args=(name, process, next(self._colours)), daemon=True)
        self._readers.append(reader)
        reader.start()
        self._await(name, process)
        return process

    def run(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start the process that has the terminal. ``stop`` leaves it alone: its end is why the others stop."""
        process = subprocess.Popen(command, env=environment)  # noqa: S603 - the user's own command line
        self._await(name, process)
        return process

    def next_event(self, timeout: float | None = None) -> Event | None:
        """Return what happened next; None if nothing did in ``timeout`` seconds."""
        try:
            return self._events.get(timeout=timeout)
        except queue.Empty:
            return None

    def stop(self, grace: float) -> None:
        """End every background process: gently, by force after ``grace`` seconds or at the next signal. Idempotent."""
        running = [process for process in reversed(self._background.values()) if process.poll() is None]
        for process in running:
            process.terminate()
        limit = time.monotonic() + grace
        while any(process.poll() is None for process in running) and time.monotonic() < limit:
            if isinstance(self.next_event(timeout=0.1), signal.Signals):
                break
        for process in running:
            if process.poll() is None:
                self.say(f"process {process.pid} does not stop: it is killed")
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for reader in self._readers:
            reader.join(_LAST_LINES)
        self._background.clear()
        self._readers.clear()

    def _await(self, name: str, process: subprocess.Popen[bytes]) -> None:
        threading.Thread(target=lambda: self._events.put(Ended(name, process.wait())), daemon=True).start()

    def _read(self, name: str, process: subprocess.Popen[bytes], colour: str) -> None:
        if process.stdout is None:
            return
        with process.stdout as lines:
            for line in lines:
                self.say(
                    line.decode(sys.stdout.encoding or "utf-8", "replace").rstrip("\r\n"), name=name, colour=colour
                )
