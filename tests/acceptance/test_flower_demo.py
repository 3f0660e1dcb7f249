"""A demo that is asked to ends with Flower on its data, and Ctrl-C ends all that it has started."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from tests.support.eventually import eventually
from tests.support.flower_pages import ask_flower
from tests.support.workers import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(120)]

SAID = re.compile(r"http://127\.0\.0\.1:(\d+)/dispatch, to demo with the password (\w+)")


def test_a_demo_stays_open_in_flower_until_it_is_interrupted(tmp_path: Path) -> None:
    """Its jobs and a live worker are shown at a free port; after SIGINT no process, port or file is left."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(("DISPATCH_", "CELERY_", "FLOWER"))}
    printed, temporary = tmp_path / "demo.log", tmp_path / "temporary"
    temporary.mkdir()
    with ExitStack() as stack:
        with suppress(OSError):  # another program of this machine may have it, which serves as well
            stack.enter_context(socket.create_server(("127.0.0.1", 5555)))
        demo = subprocess.Popen(
            [sys.executable, str(ROOT / "examples" / "tenant_databases" / "run.py")],
            cwd=tmp_path,
            env={**own, "FLOWER": "1", "TMPDIR": str(temporary)},
            stdout=stack.enter_context(printed.open("wb")),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        stack.callback(end, demo)
        said = eventually(lambda: SAID.search(printed.read_text()), within=60, every=0.1, what="Flower is there")
        assert "every database holds its own" in printed.read_text()
        port, user = int(said[1]), f"demo:{said[2]}"
        assert port in range(5556, 5655)
        assert ask_flower(port, "/dispatch").status == 401
        assert "completed" in ask_flower(port, "/dispatch", user=user).words
        jobs = ask_flower(port, "/api/dispatch/jobs", user=user).json["records"]
        page = ask_flower(port, f"/dispatch/jobs/{jobs[0]['id']}", user=user)
        assert (page.status, "orders.book" in page.words) == (200, True)
        workers = "/dispatch/workers"
        eventually(lambda: "after@tenant_databases" in ask_flower(port, workers, user=user).words, within=20)

        started = psutil.Process(demo.pid).children(recursive=True)
        assert len(started) >= 4, "Flower, the worker with its pool, and the server"
        demo.send_signal(signal.SIGINT)
        assert demo.wait(timeout=40) == 0, printed.read_text()
        eventually(lambda: not [one for one in started if one.is_running()], what="no process is left")
        assert list(temporary.iterdir()) == []
        with socket.socket() as refused:
            assert refused.connect_ex(("127.0.0.1", port)) != 0


def end(demo: subprocess.Popen[bytes]) -> None:
    """End a demo that went wrong, with all that it has started."""
    if demo.poll() is None:
        for one in (*psutil.Process(demo.pid).children(recursive=True), psutil.Process(demo.pid)):
            with suppress(psutil.NoSuchProcess):
                one.kill()
        demo.wait()
