"""The set-up that the page on telemetry shows for prefork workers, as it stands there, in a real one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.acceptance.test_docs import files_of
from tests.support.collector import collector
from tests.support.eventually import eventually
from tests.support.workers import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SHOP = """
import os, signal, sys
from pathlib import Path
from celery import Celery
from dispatch_celery import Dispatch, telemetry
import observed

app = Celery("shop", broker=os.environ["SHOP_BROKER"])
app.conf.task_default_queue = os.environ["DISPATCH_NAMESPACE"]
dispatch = Dispatch(app)
telemetry.install(dispatch)

@dispatch.job(name="shop.send")
def send(n: int) -> int:
    return os.getpid()

@dispatch.job(name="shop.die")
def die(mark: str) -> None:
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
"""
CALLER = """
import sys
from shop import die, send
if sys.argv[1:]:
    die.enqueue(sys.argv[1]).result(timeout=60)
for n in range(20):
    send.enqueue(n).result(timeout=30)
"""


def _call(folder: Path, environment: Mapping[str, str], *arguments: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CALLER, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]


def test_every_child_of_prefork_tells_and_the_fleet_is_measured_once(
    tmp_path: Path, namespace: str, server_url: str
) -> None:
    """Spans come from each child, also from one that took another's place; gauges come from the main process only."""
    (tmp_path / "observed.py").write_text(files_of("docs/telemetry.md", server_url)["observed.py"])
    (tmp_path / "shop.py").write_text(SHOP)
    with collector() as backend, (tmp_path / "worker.log").open("wb") as log:
        environment = {
            **os.environ,
            "DISPATCH_NAMESPACE": namespace,
            "SHOP_BROKER": server_url,
            "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": backend.url,
            "OTEL_METRIC_EXPORT_INTERVAL": "100",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        command = [sys.executable, "-m", "celery", "-A", "shop", "worker", "-c", "1", "-l", "INFO"]
        worker = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        try:
            _call(tmp_path, environment)
            for measure in ("dispatch.leader", "messaging.process.duration"):
                eventually(lambda m=measure: backend.senders_of(m), within=20, what=measure)
            _call(tmp_path, environment, str(tmp_path / "died"))
            eventually(lambda: len(backend.spans) >= 2, within=20, what="both children have sent spans")
        finally:
            worker.terminate()
            worker.wait(timeout=40)

    assert len(backend.spans) == 2
    (leader,) = backend.senders_of("dispatch.leader")
    assert leader not in backend.spans
    assert "verriding of current" not in (tmp_path / "worker.log").read_text()
