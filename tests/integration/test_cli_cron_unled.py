"""What the command line says of cron entries that nobody can fire, and of those whose lead only changes hands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from celery import Celery

from dispatch_celery import Dispatch
from dispatch_celery.cluster.store import ClusterStore
from dispatch_celery.config import Settings
from dispatch_celery.cron.lead_store import LeadStore
from dispatch_celery.ids import WorkerId
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import ask
from dispatch_celery.store.scripts import Call
from dispatch_celery.store.servertime import ServerTime
from tests.support.command_line import CommandLine


@dataclass
class Clockwork(CommandLine):
    """An app with one entry, and the hands of a worker and of whoever leads."""

    store: RedisStore
    keys: Keys
    leads: LeadStore
    cluster: ClusterStore

    def age(self, seconds: int = 60) -> None:
        """Have the entry wait since a while ago."""
        key = self.keys.cron(self.dispatch.crons.get("nightly").id)
        ask(self.store, Call.command("HINCRBY", key, "updated_at", -1_000 * seconds))

    def ended(self, seconds: int) -> None:
        """Have the lead's lease end so long ago."""
        now = self.leads.time()
        ask(self.store, Call.command("HSET", self.keys.cron_leader, "until", now - 1_000 * seconds))

    def beside(self) -> str:
        """Return what the list says on the standard error."""
        return self.call("cron", "list").stderr

    def findings(self) -> list[str]:
        """Return what ``doctor`` says of cron."""
        return [one["problem"] for one in self.json("doctor")["findings"] if one["setting"] == "cron"]


@pytest.fixture
def line(store: RedisStore, namespace: str, server_url: str) -> Iterator[Clockwork]:
    """Return the command line of an app whose entry was registered just now, with no worker."""
    app = Celery("clockwork", broker=server_url, set_as_current=False)
    app.conf.update(dispatch_namespace=namespace, task_default_queue=namespace)
    dispatch = Dispatch(app)
    dispatch.job(name="report")(lambda: None)
    dispatch.crons.register("nightly", "@yearly", "report")
    parts = (store, Keys(namespace), Settings(namespace=namespace), ServerTime())
    yield Clockwork(app, dispatch, store, parts[1], LeadStore(*parts), ClusterStore(*parts))
    dispatch.close()
    app.close()


def test_an_entry_that_nobody_can_fire_is_told_before_it_is_due(line: Clockwork) -> None:
    """By ``explain``, beside the list, and by ``doctor``, each with what to do."""
    line.age()

    (told,) = line.json("explain", "nightly")["records"]
    assert told["explanation"].startswith("nightly is due 20")
    assert "but nobody fires: no worker or beat leads cron since 20" in told["explanation"]
    assert told["advice"].startswith("Start a worker, or `celery beat -S dispatch`")
    assert (told["next_at"], told["since"] is not None) == (None, True)
    assert line.beside().startswith("notice: nobody fires: no worker or beat leads cron since 20")
    (problem,) = line.findings()
    assert "no worker or beat has led cron for 6" in problem
    line.dispatch.crons.disable("nightly")
    assert (line.beside(), line.findings()) == ("", [])


def test_workers_that_do_not_fire_are_told(line: Clockwork) -> None:
    """Where they have had the time to take the lead."""
    line.age()
    worker = WorkerId.mint()
    line.cluster.register(worker, {"name": "w", "pid": 1, "queues": "q"}, {})
    assert "does not fire" not in line.ok("explain", "nightly")
    ask(line.store, Call.command("HINCRBY", line.keys.worker(worker), "registered_at", -60_000))

    assert "1 live worker does not fire: dispatch_cron is off." in line.ok("explain", "nightly")


def test_an_entry_that_was_registered_just_now_alarms_nobody(line: Clockwork) -> None:
    """A live worker needs a moment to take the lead; it is the same where there was a lead long ago."""
    for _ in range(2):
        assert line.json("explain", "nightly")["records"][0]["explanation"].startswith("nightly fires 20")
        assert (line.beside(), line.findings()) == ("", [])
        line.leads.lead("w", "n", lease=1_000)
        line.ended(3_600)


@pytest.mark.parametrize("ends", ["reigns", "ended", "resigned"])
def test_a_lead_that_changes_hands_alarms_nobody(line: Clockwork, ends: str) -> None:
    """Within ten seconds of the last lease's end, or of a leader that has left; then it does."""
    line.age()
    line.leads.lead("w", "n", lease=20_000 if ends == "reigns" else 1_000)
    if ends == "ended":
        line.ended(3)
    elif ends == "resigned":
        line.leads.lead("w", "n", lease=0)

    assert line.json("explain", "nightly")["records"][0]["explanation"].startswith("nightly fires 20")
    assert (line.beside(), line.findings()) == ("", [])
    line.ended(12)
    assert "nobody fires" in line.ok("explain", "nightly")
    assert "has led cron for 1" in line.findings()[0]
