"""What a person sees in a real Flower: jobs under their names, masked arguments, and true states."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dispatch_celery import JobState
from tests.support.eventually import eventually
from tests.support.workers import ROOT, Fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

PASSWORD = "correct-horse-battery-staple"  # noqa: S105 - made up, to be looked for


class Flower:
    """One Flower that watches a fleet, read over HTTP."""

    def __init__(self, shop: Fleet) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.log = shop.folder / "flower.log"
        command = [sys.executable, "-m", "celery", "-A", "tests.support.shop", "flower"]
        command += [f"--port={self.port}", "--address=127.0.0.1"]
        environment = {**os.environ, **shop.environment, "FLOWER_UNAUTHENTICATED_API": "true"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def page(self, path: str) -> str:
        """Return what Flower answers; an error's page too."""
        assert self.process.poll() is None, self.log.read_text()
        url = f"http://127.0.0.1:{self.port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.read().decode()
        except OSError as error:
            return f"no answer yet: {error}"

    def json(self, path: str) -> Any:
        """Return an answer of the API; nothing while it is none."""
        try:
            return json.loads(self.page(path))
        except ValueError:
            return {}

    def task(self, job_id: str) -> dict[str, Any]:
        """Return what Flower knows of one job."""
        found: dict[str, Any] = self.json(f"/api/task/info/{job_id}")
        return found

    def shows(self, job_id: str, state: str) -> dict[str, Any]:
        """Wait until a job is shown in a state."""

        def shown() -> dict[str, Any]:
            task = self.task(job_id)
            assert task.get("state") == state, task
            return task

        return eventually(shown, within=10, every=0.05, what=f"{job_id} is shown as {state}")

    def sees_a_worker(self) -> None:
        """Wait until it hears the events of a worker."""
        eventually(lambda: self.json("/workers?json=1").get("data"), within=30, every=0.1, what="events arrive")

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@contextmanager
def _watched(shop: Fleet, *arguments: str, **environment: str) -> Iterator[Flower]:
    """Start Flower and a worker that sends events."""
    flower = Flower(shop)
    try:
        shop.start("w1", *(arguments or ("-c", "2")), "-E", **environment)
        flower.sees_a_worker()
        yield flower
    finally:
        flower.close()


@pytest.fixture
def flower(shop: Fleet) -> Iterator[Flower]:
    """Return a Flower that watches one prefork worker."""
    with _watched(shop) as running:
        yield running


def test_jobs_are_shown_under_their_names_with_true_states(shop: Fleet, flower: Flower) -> None:
    """A job has its name, its arguments by name, its result or error, and Celery's word for its state."""
    jobs = shop.shop
    done, failed = jobs.add.enqueue(2, b=5), jobs.end.enqueue("fail")
    used_up, adopted = jobs.flaky.enqueue("f", 9), jobs.app.send_task("shop.add", args=[5, 6])

    task = flower.shows(done.id, "SUCCESS")
    assert (task["name"], task["args"], task["kwargs"], task["result"]) == ("shop.add", "()", "{a=2, b=5}", "7")
    task = flower.shows(failed.id, "FAILURE")
    assert task["name"] == "shop.end"
    assert "it is hopeless" in task["exception"]
    assert "raise Fail" in task["traceback"]
    task = flower.shows(used_up.id, "FAILURE")
    assert (task["retries"], "attempt 3 fails" in task["exception"]) == (2, True)
    task = flower.shows(adopted.id, "SUCCESS")
    assert (task["name"], task["kwargs"]) == ("shop.add", "{a=5, b=6}")


def test_a_retry_is_shown_while_it_waits(shop: Fleet, flower: Flower) -> None:
    """Between two attempts a job is RETRY with its error, and SUCCESS when the last one has succeeded."""
    handle = shop.shop.flaky.options(retry=shop.shop.Retry(2, shop.shop.Constant(60))).enqueue("slow", 1)

    task = flower.shows(handle.id, "RETRY")
    assert (handle.state(), "attempt 1 fails" in task["exception"]) == (JobState.RETRYING, True)
    shop.shop.dispatch.jobs.run_now(handle.id)
    assert flower.shows(handle.id, "SUCCESS")["result"] == "2"


def test_a_running_job_is_shown_as_started(shop: Fleet, flower: Flower) -> None:
    """A job that runs is STARTED, and one that no worker has received yet is not shown."""
    handle, later = shop.shop.hold.enqueue("held"), shop.shop.add.options(delay=60).enqueue(1)

    assert flower.shows(handle.id, "STARTED")["name"] == "shop.hold"
    assert flower.task(later.id) == {}
    (shop.folder / "go").touch()
    flower.shows(handle.id, "SUCCESS")


def test_secrets_are_nowhere(shop: Fleet, flower: Flower) -> None:
    """No page and no answer of Flower contains a secret argument, which is shown as stars."""
    handle = shop.shop.secret.enqueue("ada", password=PASSWORD)
    assert handle.result(timeout=10) == f"ada:{len(PASSWORD)}"

    task = flower.shows(handle.id, "SUCCESS")
    assert task["kwargs"] == "{user='ada', password=***}"
    table = "/tasks/datatable?draw=1&start=0&length=100&order[0][column]=0&order[0][dir]=asc&columns[0][data]=name"
    node = next(iter(flower.json("/api/workers?refresh=true")), "")
    pages = [f"/task/{handle.id}", "/tasks", table, "/workers", f"/worker/{node}", "/broker", "/metrics"]
    pages += ["/api/tasks", f"/api/task/info/{handle.id}", f"/api/task/result/{handle.id}", "/api/workers"]
    texts = {path: flower.page(path) for path in pages}
    assert all("password" in texts[path] for path in (table, pages[0], "/api/tasks"))
    assert [path for path, text in texts.items() if PASSWORD in text] == []
    assert PASSWORD not in flower.log.read_text() + "".join(worker.words for worker in shop._workers)


def test_a_killed_pool_process_leaves_a_true_state(shop: Fleet, flower: Flower) -> None:
    """A job whose process was killed once is SUCCESS in the end, and never shown as failed."""
    handle = shop.shop.die.enqueue("once", "kill", 1)

    task = flower.shows(handle.id, "SUCCESS")
    assert (task["result"], task["failed"], task["exception"]) == ("1", None, None)


@pytest.mark.faults
def test_poison_is_shown_as_a_failure(shop: Fleet) -> None:
    """A job that killed its process too often is FAILURE."""
    with _watched(shop, DISPATCH_MAX_CRASHES="1") as flower:
        handle = shop.shop.die.enqueue("always", "kill", 99)
        eventually(lambda: handle.state() == JobState.FAILED, within=20)
        flower.shows(handle.id, "FAILURE")


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_cancelled_job_is_shown_as_revoked(pool: str, shop: Fleet) -> None:
    """A job that was cancelled while it ran is REVOKED."""
    with _watched(shop, "-P", pool, "-c", "2") as flower:
        handle = shop.shop.hold.enqueue("held")
        eventually(lambda: shop.effects("held"), what="it runs")
        handle.cancel()
        eventually(lambda: handle.state() == JobState.CANCELLED, within=15)
        (shop.folder / "go").touch()
        flower.shows(handle.id, "REVOKED")


@pytest.mark.faults
def test_a_job_past_its_time_is_shown_as_a_failure(shop: Fleet) -> None:
    """A timed-out job whose code could not be stopped is FAILURE."""
    with _watched(shop, "-P", "threads", "-c", "2") as flower:
        handle = shop.shop.hold.options(timeout=0.3, retry=shop.shop.Retry(1)).enqueue("held")
        eventually(lambda: handle.state() == JobState.FAILED, within=15)
        (shop.folder / "go").touch()
        flower.shows(handle.id, "FAILURE")
