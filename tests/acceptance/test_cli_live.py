"""``celery -A app dispatch``, the plugin as Celery finds it: beside a real worker, and ``dev`` with its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dispatch_celery import JobState
from dispatch_celery.store.embedded import EmbeddedServer
from tests.support.eventually import eventually
from tests.support.workers import ROOT, Fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

CELERY = [sys.executable, "-m", "celery", "-A", "tests.support.shop"]


def run(shop: Fleet, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a shell does."""
    environment = {**os.environ, **shop.environment}
    return subprocess.run(
        [*CELERY, "dispatch", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_running_job_is_explained_and_cancelled(shop: Fleet) -> None:
    """The holder is the real worker; the failed job beside it has its traceback; the cancel reaches the handler."""
    worker = shop.start("w1")
    failed, nap = shop.shop.end.enqueue("fail"), shop.shop.nap.enqueue("n", 30)
    eventually(lambda: (nap.state(), failed.state()) == (JobState.RUNNING, JobState.FAILED))

    explained = run(shop, "explain", nap.id)
    (me,) = shop.shop.dispatch.workers.list()
    assert f"worker {me.name} ({me.id} on {me.hostname}, process " in explained.stdout
    assert "attempt 1 of 2; its timeout ends the attempt" in explained.stdout
    assert f"celery -A tests.support.shop dispatch jobs cancel {nap.id}" in explained.stdout
    (line,) = [line for line in run(shop, "workers").stdout.splitlines() if me.id in line]
    assert {"leader", "prefork", str(worker.pid), "active"} <= set(line.split())
    assert 'raise Fail("it is hopeless")' in run(shop, "jobs", "get", failed.id).stdout
    assert json.loads(run(shop, "jobs", "cancel", nap.id, "--json").stdout) == {"id": nap.id, "state": "running"}
    eventually(lambda: nap.state() == JobState.CANCELLED)


def test_help_names_every_command_and_imports_none_of_them_for_others(shop: Fleet) -> None:
    """``celery --help`` names the plugin without loading rich; ``dispatch --help`` names the commands."""
    plugin = "import sys, celery.bin.celery; from dispatch_celery.cli import main; print('rich' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", plugin], cwd=ROOT, capture_output=True, text=True, check=True)

    assert loaded.stdout == "False\n"
    words = run(shop, "--help").stdout.split()
    assert {"dev", "dlq", "doctor", "explain", "jobs", "runs", "stats", "workers"} <= set(words)


COMMAND = """
import os, sys
from tests.support.shop import add, dispatch
print(add.enqueue(20, b=22).result(timeout=20), os.environ["DISPATCH_REDIS_URL"] == os.environ["CELERY_BROKER_URL"])
print(sum(1 for _ in dispatch.workers.list()), dispatch.doctor())
sys.exit(7)
"""


def test_dev_runs_a_command_beside_a_server_and_a_worker(shop: Fleet, tmp_path: Path) -> None:
    """The app's own broker does not exist; output and exit code are the command's; nothing stays behind."""
    environment = {**os.environ, **shop.environment, "SHOP_BROKER": "redis://127.0.0.1:1/0"}
    environment.pop("DISPATCH_REDIS_URL", None)
    data = tmp_path / "dev"
    done = subprocess.run(
        [*CELERY, "dispatch", "dev", "-P", "solo", "--data", str(data), "--", sys.executable, "-c", COMMAND],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert done.returncode == 7, done.stderr
    assert done.stdout == "42 True\n1 []\n"
    assert "dev    | the worker is ready" in done.stderr
    assert "worker | " in done.stderr
    assert "Warm shutdown" in done.stderr
    assert {"appendonlydir", ".gitignore"} <= {entry.name for entry in data.iterdir()}
    with pytest.raises(ProcessLookupError):
        os.kill(int((data / "server.pid").read_text()), 0)


@pytest.mark.faults
def test_dev_uses_the_server_it_is_told_and_stops_at_ctrl_c(shop: Fleet, server: EmbeddedServer) -> None:
    """With DISPATCH_REDIS_URL set no server is started; a first signal ends the worker gently, and the server stays."""
    environment = {**os.environ, **shop.environment, "DISPATCH_REDIS_URL": server.url}
    log = shop.folder / "dev.log"
    with log.open("wb") as output:
        dev = subprocess.Popen(
            [*CELERY, "dispatch", "dev", "-c", "1", "--data", str(shop.folder / "dev")],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        eventually(lambda: "the worker is ready" in log.read_text(), within=30, what=log.read_text())
        assert shop.shop.add.enqueue(1).result(timeout=10) == 2
        dev.send_signal(signal.SIGINT)
        assert dev.wait(timeout=20) == 0
    finally:
        dev.kill()
        dev.wait()
    assert f"the server is {server.url} (DISPATCH_REDIS_URL)" in log.read_text()
    assert "Warm shutdown" in log.read_text()
    assert list(shop.shop.dispatch.workers.list()) == []
    assert server.running


@pytest.mark.faults
def test_dev_tells_other_terminals_where_its_server_is(shop: Fleet, tmp_path: Path) -> None:
    """Once the worker is ready; in a terminal that still has it after the server's end, dev says what to do."""
    environment = {**os.environ, **shop.environment, "SHOP_BROKER": "redis://127.0.0.1:1/0"}
    environment.pop("DISPATCH_REDIS_URL", None)
    log = tmp_path / "dev.log"
    words = [*CELERY, "dispatch", "dev", "-P", "solo", "--data", str(tmp_path / "dev")]
    with log.open("wb") as output:
        dev = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        eventually(lambda: "for another terminal: export " in log.read_text(), within=30, what="the worker is ready")
        dev.send_signal(signal.SIGINT)
        assert dev.wait(timeout=20) == 0
    finally:
        dev.kill()
        dev.wait()
    told = log.read_text().partition("for another terminal: export ")[2].split()[:2]
    exported = dict(word.split("=", 1) for word in told)
    assert exported.keys() == {"DISPATCH_REDIS_URL", "CELERY_BROKER_URL"}
    again = subprocess.run(
        words, cwd=ROOT, env={**environment, **exported}, capture_output=True, text=True, timeout=50, check=False
    )
    assert again.returncode == 1
    assert f"the state server at {exported['DISPATCH_REDIS_URL']} does not answer" in again.stderr
    assert "`unset DISPATCH_REDIS_URL CELERY_BROKER_URL`, and dev starts one of its own" in again.stderr
