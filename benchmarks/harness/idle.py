"""What idle workers cost the server: the commands they send, and the commands it executes for them.

Both are counted over the same time. What a worker sends is seen by ``MONITOR``, which marks what scripts call; what
was executed, inside of scripts too, is the difference of ``INFO commandstats``.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections import Counter

from harness.bench import Bench
from harness.book import Book
from harness.contenders import Contender

SETTLE = 6.0
"""Seconds for the first renewals, and what is asked for while work runs: they are not idleness."""

_WINDOWS = 5
_OWN = ("info", "monitor")

FLEETS = {"alone": 1, "two": 2}
"""Alone, a worker of ours leads; of two, one does."""


def idle(bench: Bench, contender: Contender, book: Book, seconds: float) -> None:
    """Count what one worker alone and each of two does a second, on average."""
    for fleet, workers in FLEETS.items():
        bench.flush()
        with bench.workers(contender, "prefork", count=workers) as crew:
            bench.warm(contender, crew.log)
            time.sleep(SETTLE)
            _watch(bench, contender, book, fleet, seconds)


def _watch(bench: Bench, contender: Contender, book: Book, fleet: str, seconds: float) -> None:
    workers, window = FLEETS[fleet], seconds / _WINDOWS
    before = _executed(bench)
    sent = sent_in(bench, seconds)
    done = _executed(bench)
    done.subtract(before)
    book.round = 0
    book.add("idle_executed", contender.key, done.total() / workers / seconds, pool=fleet)
    for command, count in Counter(name for _, name in sent).items():
        book.add(f"idle_commands_{fleet}", contender.key, count / workers / seconds, pool=command)
    for number in range(_WINDOWS):
        book.round = number
        found = sum(1 for moment, _ in sent if number * window <= moment < (number + 1) * window)
        book.add("idle_sent", contender.key, found / workers / window, pool=fleet)


def _executed(bench: Bench) -> Counter[str]:
    """Return how often the server has executed each command so far."""
    stats = bench.client.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): int(figures["calls"]) for name, figures in stats.items()}
    return Counter({name: count for name, count in calls.items() if name not in _OWN})


def sent_in(bench: Bench, seconds: float) -> list[tuple[float, str]]:
    """Return the commands that clients send in so many seconds, and when; what scripts call is not among them."""
    seen = b""
    with socket.create_connection(("127.0.0.1", bench.server.port)) as monitor:
        monitor.settimeout(0.05)
        monitor.sendall(b"MONITOR\r\n")
        started = time.time()
        while time.time() < started + seconds:
            with contextlib.suppress(TimeoutError):
                seen += monitor.recv(65536)
    # +1700000000.123456 [0 127.0.0.1:50000] "BRPOP" "celery" ...
    told = [line.split(b" ", 4) for line in seen.split(b"\r\n") if line.startswith(b"+") and b'"' in line]
    found = [(float(words[0][1:]) - started, words[3].strip(b'"').decode()) for words in told if words[2] != b"lua]"]
    return [(moment, name.upper()) for moment, name in found if name.lower() not in _OWN]
