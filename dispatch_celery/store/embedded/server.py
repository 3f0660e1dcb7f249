"""One server process, from the choice of a port to its end."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote
from weakref import WeakSet

from dispatch_celery.errors import ConfigurationError
from dispatch_celery.store.embedded.binary import find_server
from dispatch_celery.store.embedded.directory import DataDirectory
from dispatch_celery.store.embedded.watchdog import OwnedProcess

__all__ = ["EmbeddedServer"]

_START_LIMIT: Final = 10.0
_PORT_TRIES: Final = 10

_ANSWERED: Final = re.compile(rb"process_id:\d+\r|^-", re.MULTILINE)


class EmbeddedServer:
    """One server process. Not safe for threads; may be started, killed and restarted again and again."""

    def __init__(
        self,
        *,
        data_dir: Path | None = None,
        port: int | None = None,
        append_only: bool = True,
        password: str | None = None,
        options: Sequence[str] = (),
        binary: Path | None = None,
        die_with_parent: bool = True,
    ) -> None:
        self._directory = DataDirectory(data_dir)
        self._fixed_port = port
        self._append_only = append_only
        self._password = password
        self._options = tuple(options)
        self._binary = binary
        self._die_with_parent = die_with_parent
        self._port = port or 0
        self._process: OwnedProcess | None = None
        _servers.add(self)

    def __repr__(self) -> str:
        return f"<EmbeddedServer on port {self._port}, {'running' if self.running else 'stopped'}>"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port it listens on; kept over restarts."""
        return self._port

    @property
    def url(self) -> str:
        """Its URL, with the password if it has one."""
        secret = f":{quote(self._password, safe='')}@" if self._password else ""
        return f"redis://{secret}127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int:
        """The server's process id."""
        if self._process is None:
            raise ConfigurationError("the embedded server is not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.running

    @property
    def data_dir(self) -> Path:
        """Where it keeps its files."""
        return self._directory.path

    def start(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            ConfigurationError: no server is to be had, another one uses the directory, or it does not start;
                the last lines of its log say why.
        """
        if self.running:
            return self
        binary = self._binary or find_server().path
        fresh = not self._directory.made
        try:
            self._directory.take()
            self._start_on_some_port(binary)
        except BaseException:
            self._end(signal.SIGKILL)
            self._directory.leave(remove=fresh)
            raise
        return self

    def stop(self) -> None:
        """Stop it gently, by force if it takes too long; a temporary directory goes with it. Idempotent."""
        self._end(signal.SIGTERM)
        self._directory.leave(remove=True)

    def kill(self) -> None:
        """End it with SIGKILL; its files stay."""
        self._end(signal.SIGKILL)

    def restart(self) -> Self:
        """Start it again on the same port and files, after ``kill`` or a stop of the process."""
        self._end(signal.SIGTERM)
        self._fixed_port = self._port
        return self.start()

    def pause(self) -> None:
        """Stop its process with SIGSTOP: connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of its log."""
        log = self.data_dir / "server.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.is_file() else "(no log)"

    def arguments(self) -> list[str]:
        """Return the options it is started with, before those that were given."""
        return [
            *("--port", str(self._port), "--bind", "127.0.0.1", "--protected-mode", "yes", "--daemonize", "no"),
            *("--dir", str(self.data_dir), "--save", "", "--maxmemory-policy", "noeviction"),
            *("--appendonly", "yes" if self._append_only else "no", "--appendfsync", "everysec"),
        ]

    def _start_on_some_port(self, binary: Path) -> None:
        for left in reversed(range(_PORT_TRIES)):
            self._port = self._fixed_port or self._port or _free_port()
            self._spawn(binary)
            if self._answers():
                return
            self._end(signal.SIGKILL)
            log = self.log_tail()
            taken = "in use" in log or "Failed listening" in log
            if not taken or self._fixed_port is not None or not left:
                raise ConfigurationError(f"the embedded server {binary} did not start:\n{log}")
            self._port = 0

    def _spawn(self, binary: Path) -> None:
        """Start the process. A last argument ``-`` makes it read more options from its input: the password."""
        told = f"requirepass {_escaped(self._password)}\n".encode() if self._password else b""
        with (self.data_dir / "server.log").open("ab") as log:
            self._process = OwnedProcess(
                [str(binary), *self.arguments(), *self._options, *(["-"] if told else [])],
                log=log,
                told=told,
                inherited=self._directory.inherited,
                doomed=self._directory.doomed,
                die_with_parent=self._die_with_parent,
            )
        (self.data_dir / "server.pid").write_text(str(self.pid))

    def _answers(self) -> bool:
        limit = time.monotonic() + _START_LIMIT
        while time.monotonic() < limit and self.running:
            if self._pong(self.pid):
                return True
            time.sleep(0.005)
        return False

    def _pong(self, pid: int) -> bool:
        """Return whether the process with this id is the one that answers, and has loaded its data."""
        secret = [("AUTH", self._password)] if self._password else []
        words = b"".join(_packed(*command) for command in (*secret, ("PING",), ("INFO", "server")))
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1.0) as connection:
                connection.sendall(words)
                answer = b""
                while not _ANSWERED.search(answer) and (part := connection.recv(4096)):
                    answer += part
        except OSError:
            return False
        return b"+PONG" in answer and b"process_id:%d\r" % pid in answer

    def _end(self, how: signal.Signals) -> None:
        """End the process, also a paused one, and wait for it."""
        process, self._process = self._process, None
        if process is not None:
            process.end(how)

    def _let_go(self) -> None:
        """Become, in a forked child, a stopped server: hold nothing of the parent's, and end nothing of it."""
        process, self._process = self._process, None
        if process is not None:
            process.let_go()
        self._directory.let_go()


_servers: WeakSet[EmbeddedServer] = WeakSet()


def _let_all_go() -> None:
    for server in list(_servers):
        server._let_go()  # noqa: SLF001 - the module's own class


os.register_at_fork(after_in_child=_let_all_go)


def _escaped(text: str) -> str:
    """Return a text as a line of configuration takes it: every byte by its number, so none means anything else."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in text.encode()) + '"'


def _packed(*words: str) -> bytes:
    """Return a command as the protocol's array; the inline form has no way to write some passwords."""
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
