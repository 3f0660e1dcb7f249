"""What a job of the benchmark does, the same in every system. Standard library only: it runs in every environment.

An effect is one ``INCR`` over a bare socket, on another database of the same server. A redis-py client would cost
each system the same 100 microseconds, and so hide the differences that are to be seen.
"""

from __future__ import annotations

import os
import socket
import threading
import time

EFFECTS_DB = 1
COUNTER = "effects"
PROCESSES = "processes"
STAMPS = "stamps"
STARTS = "starts"
PASSES = "passes"

_HOST = os.environ.get("BENCH_HOST", "127.0.0.1")
_PORT = int(os.environ.get("BENCH_PORT", "0"))
_NAP = 0.005


class _Wire(threading.local):
    """One connection for each thread of each process."""

    pid = 0
    sock: socket.socket

    def ask(self, *words: str) -> bytes:
        """Send one command; return the first bytes of its reply."""
        if self.pid != os.getpid():
            self.sock = socket.create_connection((_HOST, _PORT))
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.pid = os.getpid()
            self.ask("SELECT", str(EFFECTS_DB))
            self.ask("SADD", PROCESSES, str(self.pid))
        parts = [f"*{len(words)}\r\n", *(f"${len(word.encode())}\r\n{word}\r\n" for word in words)]
        self.sock.sendall("".join(parts).encode())
        return self.sock.recv(4096)


_wire = _Wire()


def noop(number: int) -> int:
    """Leave an effect and do nothing else; return the number."""
    _wire.ask("INCR", COUNTER)
    return number


def nap(number: int) -> int:
    """Wait for five milliseconds, as a job that asks a neighbour does."""
    time.sleep(_NAP)
    return noop(number)


def stamp(sent: int) -> int:
    """Note how many nanoseconds ago this job was sent. One machine has one monotonic clock for all its processes."""
    late = time.monotonic_ns() - sent
    _wire.ask("RPUSH", STAMPS, str(late))
    return sent


def tick(number: int) -> int:  # noqa: ARG001 - steps of one kind are told apart by their numbers
    """Return this moment in nanoseconds and do nothing else: what lies between two of them is not the step's."""
    return time.monotonic_ns()


def enter() -> None:
    """Note that a workflow's function was entered, from its top."""
    _wire.ask("RPUSH", PASSES, str(time.monotonic_ns()))


def last(key: str) -> int:
    """Return the last of the numbers that were noted."""
    return int(_wire.ask("LINDEX", key, "-1").split(b"\r\n")[1])


def done() -> int:
    """Return how many effects there are."""
    answer = _wire.ask("GET", COUNTER)
    return 0 if answer == b"$-1\r\n" else int(answer.split(b"\r\n")[1])


def hold(number: int) -> int:
    """Note who runs this and since when, and run until told to stop; a second attempt ends at once."""
    _wire.ask("RPUSH", STARTS, f"{number} {os.getpid()} {os.getppid()} {time.monotonic_ns()}")
    if _wire.ask("INCR", f"attempts:{number}") != b":1\r\n":
        return number
    while _wire.ask("EXISTS", f"free:{number}") != b":1\r\n":
        time.sleep(0.01)
    return number


JOBS = {"noop": noop, "nap": nap, "stamp": stamp}
