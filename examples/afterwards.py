"""What a demo leaves running where it is asked to: `make demo FLOWER=1` ends with Flower on the data of the demo.

The server of the demo lives on, a worker is started anew, and Flower shows both, until Ctrl-C ends all of it. Only this
machine reaches it, and its password is another one each time.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["stay"]

HOST = "127.0.0.1"
PORTS = range(5555, 5655)
PATIENCE = 30.0


def stay(code: int, app: Path, logs: Path) -> int:
    """Where `FLOWER` is set, show the app of a folder in Flower until Ctrl-C. Return the code of the demo.

    Call it before the demo's server is stopped, with the environment in which the app finds it.
    """
    if os.environ.get("FLOWER", "0") in ("", "0"):
        return code
    port, password = free_port(), secrets.token_hex(4)
    log = logs / "flower.log"
    flower = ["flower", f"--address={HOST}", f"--port={port}"]
    try:
        with (
            interrupts(),
            running(app, logs / "worker.log", "worker", "-n", f"after@{app.name}", "-c", "2", "-l", "INFO"),
            running(app, log, *flower, FLOWER_BASIC_AUTH=f"demo:{password}") as process,
        ):
            await_answer(process, port, log)
            print(f"\nFlower shows it at http://{HOST}:{port}/dispatch, to demo with the password {password}")
            print("A worker is at work there too. Ctrl-C stops everything.", flush=True)
            process.wait()
            print(f"Flower has ended:\n{log.read_text()[-3000:]}")
    except KeyboardInterrupt:
        print("\nstopped")
    return code


def free_port() -> int:
    """Return the first port that nobody listens on."""
    for port in PORTS:
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((HOST, port))
            except OSError:
                continue
            return port
    raise SystemExit(f"no port from {PORTS.start} to {PORTS.stop - 1} is free for Flower")


@contextmanager
def running(app: Path, log: Path, *words: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of Celery, in a session of its own: Ctrl-C is for this process, which ends what it has started."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "app", *words],
            cwd=app,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def interrupts() -> Iterator[None]:
    """Have a closed terminal and SIGTERM end the block as Ctrl-C does; a second one does not end its ending."""

    def end(*_: object) -> None:
        for one in asked:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt

    asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for one in asked:
        signal.signal(one, end)
    yield


def await_answer(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until Flower answers."""
    limit = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < limit:
        try:
            urllib.request.urlopen(f"http://{HOST}:{port}/healthcheck", timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"Flower does not answer:\n{log.read_text()[-3000:]}")
