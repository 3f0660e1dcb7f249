"""Every command against a real server, in this process: the states are made by the stores that workers use."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from celery import Celery
from celery.bin.base import CLIContext
from click.testing import CliRunner

from dispatch_celery import Constant, Dispatch, JobId, Retry, Secret, WorkerId, scope
from dispatch_celery.cli.main import dispatch as group
from dispatch_celery.cluster.store import ClusterStore
from dispatch_celery.jobs.model import Claim, JobRef
from dispatch_celery.jobs.outcome import attempt_line
from dispatch_celery.jobs.store import JobStore
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.embedded import EmbeddedServer
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.servertime import ServerTime
from dispatch_celery.work.model import Failure
from dispatch_celery.work.records import encode_failure
from tests.support.command_line import CommandLine


@dataclass
class Desk(CommandLine):
    """An app without a worker, its command line, and the hand of a worker that does one thing at a time."""

    store: RedisStore
    worker: WorkerId = field(default_factory=WorkerId.mint)

    def __post_init__(self) -> None:
        @self.dispatch.job(name="desk.pay", queue="desk", retry=Retry(2, Constant(60)), timeout=30)
        def pay(card: Secret[str]) -> str:
            return card

        self.pay = pay
        parts = (self.store, Keys(self.dispatch.settings.namespace), self.dispatch.settings, ServerTime())
        self.jobs, self.cluster = JobStore(*parts), ClusterStore(*parts)

    def register(self) -> None:
        """Let a worker live that consumes the queue and knows the job."""
        described = {
            "name": "w1@desk",
            "hostname": "desk",
            "pid": 7,
            "pool": "solo",
            "concurrency": 1,
            "queues": "desk",
        }
        self.cluster.register(self.worker, described, {"desk.pay": json.dumps({"max_attempts": 2, "timeout": 30_000})})

    def claim(self, job_id: JobId) -> tuple[JobRef, Claim]:
        """Take a job as the worker does."""
        ref = JobRef(id=job_id, name="desk.pay", queue="desk")
        _, claim = self.jobs.claim(ref, holder=self.worker, nonce="n1", pid=8)
        assert isinstance(claim, Claim)
        return ref, claim

    def fail(self, job_id: JobId, message: str = "card refused") -> None:
        """Take a job and let it fail for good."""
        ref, claim = self.claim(job_id)
        error = Failure(type="ValueError", message=message, traceback="Traceback: in pay")
        self.jobs.fail(
            ref,
            holder=self.worker,
            token=claim.token,
            error=encode_failure(error),
            reason="attempts used up",
            counter="attempts",
            attempt=attempt_line(1, "failed", "ValueError", message),
        )


@pytest.fixture
def make_desk(store: RedisStore, namespace: str) -> Iterator[Callable[..., Desk]]:
    """Return what makes an app with its command line."""
    made: list[Desk] = []

    def make(url: str, **conf: Any) -> Desk:
        app = Celery("desk", broker=url, set_as_current=False)
        app.conf.update(dispatch_namespace=namespace, **conf)
        made.append(Desk(app, Dispatch(app), store))
        return made[-1]

    yield make
    for desk in made:
        desk.dispatch.close()
        desk.app.close()


@pytest.fixture
def desk(make_desk: Callable[..., Desk], server_url: str) -> Desk:
    """Return the desk of this test, with a live worker."""
    made: Desk = make_desk(server_url)
    made.register()
    return made


def test_jobs_are_listed_by_every_filter(desk: Desk) -> None:
    """State, name, queue, tenant, error and time each choose; pages are joined by their cursor."""
    failed, waiting = desk.pay.enqueue("a"), desk.pay.options(delay=60).enqueue("b")
    with scope(app_id="web", org_id="acme"):
        scoped = desk.pay.enqueue("c")
    desk.fail(failed.id)

    def ids(*words: str) -> list[str]:
        return [record["id"] for record in desk.json("jobs", "list", *words)["records"]]

    assert set(ids()) == {failed.id, waiting.id, scoped.id}
    assert ids("--state", "scheduled") == [waiting.id]
    assert ids("--scope-app", "web", "--scope-org", "acme") == [scoped.id]
    assert ids("--error", "CARD REFUSED") == [failed.id]
    assert ids("--name", "desk.other") == ids("--queue", "other") == ids("--before", "1h") == []
    assert len(ids("--after", "1h", "--name", "desk.pay", "--queue", "desk")) == 3
    first = desk.json("jobs", "list", "--limit", "2")
    rest = ids("--limit", "2", "--cursor", first["next_cursor"])
    assert {*rest, *(record["id"] for record in first["records"])} == {failed.id, waiting.id, scoped.id}
    printed = desk.ok("jobs", "list", "--limit", "2")
    assert first["next_cursor"] in printed
    assert "ValueError: card refused" in desk.ok("jobs", "list")


def test_one_job_is_shown_without_its_secrets(desk: Desk) -> None:
    """Record, attempts and traceback are there; arguments and result only where they are asked for."""
    handle = desk.pay.enqueue("4111-1111")
    desk.fail(handle.id, "no \x1b[2J money")

    shown = desk.ok("jobs", "get", handle.id)
    assert "attempts used up" in shown
    assert "Traceback: in pay" in shown
    assert "4111" not in shown
    assert "\x1b" not in shown
    assert "4111" not in desk.ok("jobs", "get", handle.id, "--json")
    assert "4111-1111" in desk.ok("jobs", "get", handle.id, "--arguments")
    record = desk.json("jobs", "get", handle.id)
    assert (record["state"], record["attempts"][0]["outcome"], record["queue"]) == ("failed", "failed", "desk")
    assert {"arguments", "result"}.isdisjoint(record)
    assert desk.json("jobs", "get", handle.id, "--arguments", "--result")["arguments"] == {"card": "4111-1111"}


def test_jobs_are_moved_by_id(desk: Desk) -> None:
    """Run-now, cancel and retry print the state that follows, for people and for programs."""
    later, failed, held = desk.pay.options(delay=60).enqueue("a"), desk.pay.enqueue("b"), desk.pay.enqueue("c")
    desk.fail(failed.id)
    desk.claim(held.id)

    assert desk.json("jobs", "run-now", later.id) == {"id": later.id, "state": "pending"}
    assert "it will not run" in desk.ok("jobs", "cancel", later.id, "--reason", "not wanted")
    assert later.info().reason == "not wanted"
    assert desk.json("jobs", "cancel", held.id) == {"id": held.id, "state": "running"}
    assert desk.json("jobs", "retry", failed.id) == {"id": failed.id, "state": "pending"}
    counts = desk.json("jobs", "count")
    assert (counts["pending"], counts["running"], counts["cancelled"], counts["failed"]) == (1, 1, 1, 0)
    assert desk.json("jobs", "count", "--state", "running", "--name", "desk.pay") == {"running": 1}
    assert "cancelled" in desk.ok("jobs", "count")

    desk.dispatch.queues.pause(job="desk.pay")
    paused = desk.pay.options(delay=60).enqueue("d")
    assert desk.ok("jobs", "run-now", paused.id) == f"{paused.id} is limited: it waits for a permit\n"


def test_dead_letters_are_listed_shown_and_replayed(desk: Desk) -> None:
    """Failed jobs and raw messages are told apart; a replay is linked, and is made once."""
    first, second = desk.pay.enqueue("a"), desk.pay.enqueue("4111-1111")
    desk.fail(first.id)
    desk.fail(second.id, "other")
    raw = desk.dispatch.dlq.bury(b"\x1b[2J{}", queue="desk", reason="no task message")

    assert desk.json("dlq", "count") == {"count": 3}
    assert desk.ok("dlq", "count", "--error", "other") == "1 dead letter\n"
    (message,) = desk.json("dlq", "list", "--kind", "message")["records"]
    assert (message["id"], message["reason"]) == (raw, "no task message")
    assert "\x1b" not in desk.ok("dlq", "get", raw)
    assert desk.json("dlq", "get", raw)["raw"] == "G1sySnt9"
    assert "4111" not in desk.ok("dlq", "get", second.id) + desk.ok("dlq", "get", second.id, "--json")

    replay = desk.json("dlq", "replay", first.id)
    assert desk.json("dlq", "replay", first.id) == replay
    assert replay["replayed_as"] in desk.ok("dlq", "list")
    assert desk.json("dlq", "count", "--replayed") == {"count": 1}
    assert desk.json("dlq", "replay-all")["count"] == 1
    assert "None to replay" in desk.ok("dlq", "replay-all")


def test_purging_asks_first(desk: Desk) -> None:
    """Without --yes it asks and names the number; without an id or --all, or with both, it refuses."""
    handles = [desk.pay.enqueue(card) for card in "ab"]
    for handle in handles:
        desk.fail(handle.id)

    for words in ([], [handles[0].id, "--all"], [handles[0].id, "--queue", "desk"]):
        assert desk.call("dlq", "purge", *words).exit_code == 2
    refused = desk.call("dlq", "purge", "--all", answer="n\n")
    assert (refused.exit_code, "Delete 2 dead letters" in refused.stderr) == (1, True)
    assert desk.json("dlq", "count") == {"count": 2}
    assert "1 dead letter deleted" in desk.ok("dlq", "purge", handles[0].id, answer="y\n")
    assert desk.json("dlq", "purge", "--all", "--queue", "desk", "--yes") == {"count": 1}
    assert desk.json("stats")["jobs"]["failed"] == 0


def test_the_fleet_is_shown(desk: Desk) -> None:
    """A worker's line has its whole id and what it holds; stats put everything on one screen."""
    desk.claim(desk.pay.enqueue("a").id)
    waiting = desk.pay.enqueue("b")

    (line,) = [line for line in desk.ok("workers").splitlines() if desk.worker in line]
    assert all(word in line.split() for word in ("w1@desk", "desk", "7", "solo", "active", "1"))
    (record,) = desk.json("workers")["records"]
    assert (record["id"], record["holding"], record["queues"]) == (desk.worker, 1, ["desk"])
    stats = desk.json("stats")
    assert (stats["ready"], stats["dead_letters"], stats["jobs"]["running"]) == ({"desk": 1}, 0, 1)
    shown = desk.ok("stats")
    assert "0 dead letters" in shown
    assert desk.worker in shown
    assert desk.json("explain", waiting.id)["state"] == "pending"


def test_explain_reads_what_surrounds_a_job(desk: Desk) -> None:
    """Its place in the queue, its holder and its limits come from the server; a dead letter is its job."""
    first, second = desk.pay.enqueue("a"), desk.pay.enqueue("b")

    waiting = desk.ok("explain", second.id)
    assert "with 1 job of its priority ahead" in waiting
    assert "1 live worker consumes it" in waiting
    desk.claim(first.id)
    running = desk.json("explain", first.id)
    assert f"w1@desk ({desk.worker} on desk, process 8)" in running["explanation"]
    assert "attempt 1 of 2" in running["explanation"]
    assert running["worker"] == desk.worker
    assert running["next_at"]
    desk.fail(second.id)
    assert desk.json("explain", second.id.replace("job_", "dlq_"))["state"] == "failed"
    raw = desk.dispatch.dlq.bury(b"x", queue="desk", reason="no task message")
    assert desk.json("explain", raw)["kind"] == "message"


def test_an_unknown_name_is_explained(desk: Desk) -> None:
    """Once a worker has given its wake-up back, it says since when nobody knows the name."""
    handle = desk.dispatch.enqueue("desk.novelty", x=1)
    ref = JobRef(id=handle.id, name="desk.novelty", queue=handle.info().queue)
    desk.jobs.give_back(ref, pause=1_000)

    assert "no live worker has known its name since" in desk.ok("explain", handle.id)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("jobs", "get", str(JobId.mint())), "job_not_found"),
        (("jobs", "get", "nonsense"), "invalid_id"),
        (("dlq", "get", str(JobId.mint())), "dead_letter_not_found"),
        (("explain", "run_1"), "invalid_id"),
        (("jobs", "list", "--cursor", "x"), "configuration_error"),
    ],
)
def test_an_error_is_one_line_with_its_code(words: tuple[str, ...], code: str, desk: Desk) -> None:
    """On stderr, with exit code 1, and nothing on stdout."""
    result = desk.call(*words)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error [{code}]: ")
    assert result.stderr.count("\n") == 1


def test_a_server_that_is_away_is_one_line_without_its_password(make_desk: Callable[..., Desk]) -> None:
    """No traceback, no secret."""
    result = make_desk("redis://user:hunter2@127.0.0.1:1/0").call("stats")

    assert result.exit_code == 1
    assert result.stderr.startswith("error [store_unavailable]: the state server at redis://user:***@127.0.0.1:1/0")
    assert "hunter2" not in result.output


def test_an_app_without_dispatch_is_told_what_to_write() -> None:
    """The error names the two lines that are missing."""
    app = Celery("bare", broker="memory://", set_as_current=False)
    result = CliRunner().invoke(group, ["stats"], obj=CLIContext(app=app, no_color=True, workdir=None))

    assert result.exit_code == 1
    assert "dispatch = Dispatch(app)" in result.stderr


def test_the_doctor_fails_on_what_workers_refuse(make_desk: Callable[..., Desk], desk: Desk) -> None:
    """A server that evicts is fatal and has its remedy; a warning alone is not."""
    healthy = desk.json("doctor")
    assert (healthy["ok"], [finding["setting"] for finding in healthy["findings"]]) == (True, ["appendonly"])
    assert healthy["server"]["version"] in desk.ok("doctor")
    with EmbeddedServer(append_only=False, options=("--maxmemory-policy", "allkeys-lru")) as server:
        result = make_desk(server.url).call("doctor")
        assert (result.exit_code, "fatal" in result.stdout, "noeviction" in result.stdout) == (1, True, True)
        report = json.loads(make_desk(server.url).call("doctor", "--json").stdout)
        assert report["ok"] is False
