"""A process that dies with its owner, at whatever moment the owner is killed.

A small shell, the watchdog, reads from a pipe and kills when the pipe ends. ``PR_SET_PDEATHSIG`` instead would fire
when the *thread* that started the process ends, and exists on Linux only.

The watchdog is started first. The process starts as another small shell that has the pipe too: it tells the watchdog
its own id, and then becomes the program, which closes the pipe. So there is no moment at which the program runs and
the watchdog does not know it::

    owner      ---- pipe ----> watchdog         pid 4711      ... end of pipe: kill 4711
      |                           ^
      +--- shell 4711 ------------+
             `-- exec program 4711

Forked children of the owner must let go of the pipe: they would keep it open after their parent's death.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Final

__all__ = ["OwnedProcess"]

_STOP_LIMIT: Final = 5.0

_LAUNCHER: Final = 'echo "pid $$"; exec "$0" "$@" >&2'

# "done" means: you are not needed any more. The end of the pipe without it: the owner has died.
_WATCHDOG: Final = """
pid=
while read -r word number; do
    case "$word" in
        pid) pid=$number ;;
        done) exit 0 ;;
    esac
done
if test -n "$pid"; then
    kill -CONT "$pid"
    kill -TERM "$pid"
    tries=0
    while kill -0 "$pid" && test "$tries" -lt 20; do sleep 0.1; tries=$((tries + 1)); done
    kill -KILL "$pid"
fi
test -z "$1" || rm -rf "$1"
"""


class OwnedProcess:
    """A child in a session of its own, with a watchdog unless it is to outlive its owner."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        log: IO[bytes],
        told: bytes = b"",
        inherited: tuple[int, ...] = (),
        doomed: str = "",
        die_with_parent: bool = True,
    ) -> None:
        """Start it. ``told`` is what it reads from its input; ``doomed`` is a directory to remove after its owner."""
        self._watchdog = _watchdog(doomed) if die_with_parent else None
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the caller's program
                list(words) if self._watchdog is None else ["/bin/sh", "-c", _LAUNCHER, *words],
                stdin=subprocess.PIPE if told else subprocess.DEVNULL,
                stdout=log if self._watchdog is None else self._watchdog.stdin,
                stderr=log,
                start_new_session=True,
                pass_fds=inherited,
            )
        except BaseException:
            self._dismiss()
            raise
        if self._process.stdin is not None:
            with suppress(BrokenPipeError), self._process.stdin as its_input:
                its_input.write(told)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def watched(self) -> bool:
        """Whether a watchdog guards it."""
        return self._watchdog is not None

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._process.poll() is None

    def end(self, how: signal.Signals) -> None:
        """End it if it lives, also when it is paused, by force after a while; wait for it, and dismiss the watchdog."""
        if self.running:
            os.kill(self.pid, signal.SIGCONT)
            os.kill(self.pid, how)
        try:
            self._process.wait(_STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._dismiss()

    def let_go(self) -> None:
        """Have no part in it any more, in a forked child: neither end it nor keep it alive."""
        self._process.returncode = 0
        if self._watchdog is not None:
            self._watchdog.returncode = 0
            if self._watchdog.stdin is not None:
                self._watchdog.stdin.close()

    def _dismiss(self) -> None:
        if self._watchdog is not None and self._watchdog.stdin is not None:
            with suppress(OSError):
                self._watchdog.stdin.write(b"done\n")
                self._watchdog.stdin.close()
            self._watchdog.wait()


def _watchdog(doomed: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - a constant script
        ["/bin/sh", "-c", _WATCHDOG, "dispatch-watchdog", doomed],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        bufsize=0,
    )
