"""``dispatch explain`` of names: cron entries, queues, jobs, workflows, events, workers; and of what nobody knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from celery import Celery
from kombu import Queue

from dispatch_celery import Dispatch, Limit, RunId, WorkerId, Workflow, scope
from dispatch_celery.cluster.store import ClusterStore
from dispatch_celery.events.model import Place
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.jobs.store import JobStore
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.servertime import ServerTime
from tests.support.command_line import CommandLine


@dataclass
class Floor(CommandLine):
    """An app with one of everything, and the hand of a worker."""

    jobs: JobStore
    cluster: ClusterStore

    def register(self, name: str = "w1@host") -> WorkerId:
        """Let a worker live that consumes the queue ``mail`` and knows the job."""
        worker = WorkerId.mint()
        described = {"name": name, "hostname": "host", "pid": 7, "pool": "solo", "concurrency": 2, "queues": "mail"}
        self.cluster.register(worker, described, {"mail.send": "{}"})
        return worker


@pytest.fixture
def floor(store: RedisStore, namespace: str, server_url: str) -> Iterator[Floor]:
    """Return the command line of an app with a job and a workflow, without a worker."""
    app = Celery("floor", broker=server_url, set_as_current=False)
    app.conf.update(dispatch_namespace=namespace, task_default_queue="post")
    dispatch = Dispatch(app)

    @dispatch.job(name="mail.send", queue="mail")
    def send(to: str = "") -> str:
        return to

    @dispatch.workflow(name="order", queue="mail")
    def order(wf: Workflow) -> None: ...

    parts = (store, Keys(namespace), dispatch.settings, ServerTime())
    yield Floor(app, dispatch, JobStore(*parts), ClusterStore(*parts))
    dispatch.close()
    app.close()


def test_a_cron_entry_is_explained_by_its_name(floor: Floor) -> None:
    """When it fires; that what it creates waits in a paused queue; that it is disabled."""
    floor.dispatch.crons.register("nightly mail", "@daily", "mail.send")

    told = floor.json("explain", "nightly mail")
    assert told["name"] == "nightly mail"
    (record,) = told["records"]
    assert (record["kind"], record["state"]) == ("cron entry", "enabled")
    assert record["explanation"].startswith("nightly mail fires 20")
    floor.dispatch.queues.pause("mail")
    paused = floor.ok("explain", "nightly mail")
    assert "What it creates waits: the queue 'mail' is paused." in paused
    assert "`celery dispatch queues resume mail` lets it go on." in paused
    floor.dispatch.crons.disable("nightly mail")
    assert "does not fire: somebody has disabled it" in floor.ok("explain", "nightly mail")


def test_a_queue_is_explained_by_its_name(floor: Floor) -> None:
    """What is ready in it, its pause and limit, and who takes from it."""
    floor.dispatch.enqueue("mail.send", to="ann")

    alone = floor.json("explain", "mail")["records"][0]
    assert (alone["kind"], alone["state"]) == ("queue", "open")
    assert alone["explanation"].startswith("1 job or run is ready in the queue 'mail'. ")
    assert "No worker is live, so nobody takes from it." in alone["explanation"]
    assert "worker -Q mail`" in alone["advice"]
    floor.register()
    assert "1 live worker consumes it (0 of 2 slots are busy)." in floor.ok("explain", "mail")
    floor.dispatch.queues.limit("mail", concurrency=3)
    floor.dispatch.queues.pause("mail", until=timedelta(hours=1))
    paused = floor.json("explain", "mail")["records"][0]
    assert paused["state"] == "paused"
    assert "It is paused until 20" in paused["explanation"]
    assert "It lets 3 run at once: 0 permits out, 0 jobs waiting for one." in paused["explanation"]
    assert paused["next_at"] is not None
    assert paused["advice"] == "`celery dispatch queues resume mail` lets it go on."


def test_a_queue_of_the_app_is_explained_although_nothing_is_in_it(floor: Floor) -> None:
    """Its default one, one of Celery's, one that a definition names or the app limits; and how a worker is started."""
    floor.app.conf.task_queues = [Queue("letters")]
    floor.dispatch._parts.declared_limits["queue:parcels"] = Limit(concurrency=1)

    for queue in ("post", "letters", "mail", "parcels"):
        (alone,) = floor.json("explain", queue)["records"]
        assert (alone["kind"], alone["state"]) == ("queue", "open")
        assert alone["explanation"] == (
            f"Nothing is ready in the queue {queue!r}. No worker is live, so nobody takes from it."
        )
        assert f"worker -Q {queue}`" in alone["advice"]
    floor.register()
    assert "No live worker consumes it, so nobody takes from it." in floor.ok("explain", "post")
    assert "did you mean 'parcels' (queue)" in floor.call("explain", "parcel").stderr


def test_a_job_whose_queue_nobody_consumes_is_explained(floor: Floor) -> None:
    """Its name is known to a live worker, which takes from another queue; by its default queue, too."""
    floor.dispatch.job(name="stamp")(lambda: None)
    floor.dispatch.job(name="seal", queue="wax")(lambda: None)
    known = {"name": "w2@host", "hostname": "host", "pid": 8, "pool": "solo", "concurrency": 2, "queues": "mail"}
    floor.cluster.register(WorkerId.mint(), known, {"seal": "{}", "stamp": "{}", "mail.send": "{}"})

    for name, queue in (("stamp", "post"), ("seal", "wax")):
        (told,) = floor.json("explain", name)["records"]
        assert f"declared for the queue {queue!r}" in told["explanation"]
        assert "No live worker consumes that queue, so nobody takes what is in it." in told["explanation"]
        assert told["advice"].endswith(f"worker -Q {queue}`.")
    assert "Nothing to do" in floor.ok("explain", "mail.send")


def test_a_job_and_a_workflow_are_explained_by_their_names(floor: Floor) -> None:
    """How many there are in each state, who declares it, and what holds it back."""
    floor.dispatch.enqueue("mail.send", to="ann")

    alone = floor.ok("explain", "mail.send")
    assert "'mail.send' is a job, declared for the queue 'mail': 1 pending." in alone
    assert "No live worker has declared it so far, so nobody executes it." in alone
    floor.register()
    floor.dispatch.queues.limit(job="mail.send", rate="5/s")
    floor.dispatch.queues.pause("mail")
    held = floor.ok("explain", "mail.send")
    assert "No live worker" not in held
    assert "The queue 'mail' is paused. The job name lets 5/s begin: 0 permits out" in held
    assert "`celery dispatch queues resume mail` lets it go on." in held
    floor.dispatch.start("order")
    workflow = floor.json("explain", "order")["records"][0]
    assert (workflow["kind"], workflow["id"]) == ("workflow", "order")
    assert "'order' is a workflow, declared for the queue 'mail': 1 pending." in workflow["explanation"]


def test_an_event_is_explained_by_its_name(floor: Floor) -> None:
    """Who waits for it, under which key and in which scope; when it was published last."""
    runs = [RunId.mint() for _ in range(7)]
    for run in runs:
        floor.dispatch.events.look([(Place("paid"), 0)], waiter=f"{run} event#1 0", run="{}")
    floor.dispatch.events.look([(Place("paid", "o-1", "web/acme"), 0)], waiter=f"{runs[0]} event#1 0", run="{}")

    (record,) = floor.json("explain", "paid")["records"]
    assert (record["kind"], record["state"]) == ("event", "awaited")
    assert record["explanation"].startswith("7 runs wait for 'paid' without a key: run_")
    assert record["explanation"].count("run_") == 5
    assert record["explanation"].endswith(" and 2 more.")
    assert "`celery dispatch events publish paid --payload JSON` lets them go on." in record["advice"]
    keyed = floor.ok("explain", "paid", "--key", "o-1", "--scope-app", "web", "--scope-org", "acme")
    assert f"1 run waits for 'paid' under the key 'o-1' in the scope web/acme: {runs[0]}." in keyed
    assert "0 runs wait for 'paid' under the key 'o-2'." in floor.ok("explain", "paid", "--key", "o-2")

    with scope(app_id="web", org_id="acme"):
        event = floor.dispatch.events.publish("shipped", {}, key="o-1")
    shipped = floor.ok("explain", "shipped")
    assert "0 runs wait for 'shipped' without a key. It was published last 20" in shipped
    assert f"({event}, key 'o-1')" in shipped
    by_id = floor.json("explain", event)
    assert (by_id["id"], by_id["kind"]) == (event, "event")
    assert "It was published 20" in by_id["explanation"]


def test_a_worker_is_explained_by_its_name_or_id(floor: Floor) -> None:
    """Whether it lives, what it holds, and that a lost one is being recovered."""
    worker = floor.register()
    handle = floor.dispatch.enqueue("mail.send", to="ann")
    floor.jobs.claim(JobRef(id=handle.id, name="mail.send", queue="mail"), holder=worker, nonce="n1", pid=8)

    (record,) = floor.json("explain", "w1@host")["records"]
    assert (record["id"], record["kind"], record["state"]) == (worker, "worker", "active")
    assert f"The worker w1@host ({worker} on host, process 7) is alive: its lease stands until" in record["explanation"]
    assert f"It holds 1 job in 2 slots: {handle.id}." in record["explanation"]
    assert "It takes from mail." in record["explanation"]
    assert floor.json("explain", worker)["id"] == worker
    floor.cluster.suspect(worker, 0)
    assert "is lost: its lease ran out" in floor.ok("explain", "w1@host")


def test_a_name_of_several_things_tells_of_each(floor: Floor) -> None:
    """A cron entry has its job's name by default: both are explained, each under its own heading."""
    entry = floor.dispatch.crons.register("mail.send", "@daily", "mail.send")

    told = floor.ok("explain", "mail.send")
    assert told.startswith(f"cron entry {entry.id}: enabled\nmail.send fires 20")
    assert "\n\njob mail.send: open\n'mail.send' is a job" in told
    assert [one["kind"] for one in floor.json("explain", "mail.send")["records"]] == ["cron entry", "job"]


def test_what_nobody_knows_is_refused_with_what_is_close(floor: Floor) -> None:
    """It is said what can be explained, and which names are like it; a name may begin as an id does."""
    floor.register()
    floor.dispatch.crons.register("nightly", "@daily", "mail.send")
    floor.dispatch.crons.register("job_nightly", "@daily", "mail.send")

    for near, said in (
        ("nigthly", "did you mean 'nightly' (cron entry)"),
        ("mail.sned", "did you mean 'mail.send' (job)"),
        ("w1@hots", "did you mean 'w1@host' (worker)"),
        ("ordre", "did you mean 'order' (workflow)"),
    ):
        refused = floor.call("explain", near)
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert refused.stderr.startswith(f"error [not_found]: nothing is known by '{near}': explain takes the id of a ")
        assert said in refused.stderr
    assert "did you mean" not in floor.call("explain", "zzz").stderr
    assert "is no id of a job: one looks like job_..." in floor.call("explain", "job_x").stderr
    assert "job_nightly fires" in floor.ok("explain", "job_nightly")
    assert "nothing is known by" in floor.call("explain", "x" * 300).stderr
