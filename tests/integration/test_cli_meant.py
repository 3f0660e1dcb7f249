"""What the command line says beside an error or an empty list: the name that may be meant."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dispatch_celery import WorkerId, Workflow
from dispatch_celery.cluster.store import ClusterStore
from dispatch_celery.config import Settings
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.servertime import ServerTime
from tests.support.command_line import CommandLine
from tests.support.graveyard import Graveyard


@pytest.fixture
def yard(store: RedisStore, namespace: str, server_url: str) -> Iterator[Graveyard]:
    """Return an app with no worker."""
    made = Graveyard(server_url, store, namespace)
    yield made
    made.close()


@pytest.fixture
def line(yard: Graveyard) -> CommandLine:
    """Return its command line."""
    return CommandLine(yard.app, yard.dispatch)


@pytest.mark.parametrize("verb", ["show", "next", "enable", "disable", "trigger", "delete"])
def test_an_entry_that_may_be_meant_is_named(line: CommandLine, verb: str) -> None:
    """By every verb that takes a name; not where none is like it."""
    line.dispatch.crons.register("nightly", "@daily", "yard.pay", arguments={"amount": 1})

    refused = line.call("cron", verb, "nigthly")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error [cron_not_found]: there is no cron entry 'nigthly'")
    assert refused.stderr.endswith("; did you mean 'nightly'?\n")
    assert "did you mean" not in line.call("cron", verb, "zzz").stderr


@pytest.mark.parametrize(
    "words",
    [
        ("jobs", "list"),
        ("jobs", "list", "--json"),
        ("dlq", "list"),
        ("dlq", "replay-all"),
        ("dlq", "replay-all", "--json"),
        ("dlq", "replay-all", "--dry-run"),
    ],
    ids=" ".join,
)
def test_a_filter_that_nobody_knows_is_told_where_nothing_passes(line: CommandLine, words: tuple[str, ...]) -> None:
    """A name or a queue; what is known, and has nothing, is not."""
    name = "neither this app nor a worker declares a job 'yard.pya'; did you mean 'yard.pay'?"
    assert line.call(*words, "--name", "yard.pya").stderr == f"notice: {name}\n"
    assert "did you mean 'yard'?" in line.call(*words, "--queue", "yrad").stderr
    assert line.call(*words, "--name", "yard.pay", "--queue", "yard").stderr == ""
    assert line.call(*words, "--name", "yard.pya").exit_code == 0


def test_what_passes_a_filter_is_known(yard: Graveyard, line: CommandLine) -> None:
    """A job whose name nobody declares any more is listed without a word."""
    yard.kill(yard.dispatch.enqueue("yard.gone").id, "x", reason="unknown")

    for words in (("jobs", "list"), ("dlq", "list"), ("dlq", "replay-all", "--dry-run"), ("dlq", "replay-all")):
        assert line.call(*words, "--name", "yard.gone").stderr == ""


def test_a_workflow_that_may_be_meant_is_named(line: CommandLine) -> None:
    """Where no run passes."""

    @line.dispatch.workflow(name="bury")
    def bury(wf: Workflow) -> None: ...

    said = "notice: neither this app nor a worker declares a workflow 'burry'; did you mean 'bury'?\n"
    assert line.call("runs", "list", "--name", "burry").stderr == said
    assert line.call("runs", "list", "--name", "bury").stderr == ""


def test_a_replay_into_a_queue_that_nobody_consumes_is_told(
    yard: Graveyard, line: CommandLine, store: RedisStore, namespace: str
) -> None:
    """By the dry run and by the replay, with the queue that may be meant."""
    dead = yard.dead()
    said = "notice: no live worker consumes 'yrad': what is replayed waits in it; did you mean 'yard'?\n"

    assert line.call("dlq", "replay", dead, "--queue", "yrad", "--dry-run").stderr == said
    assert line.call("dlq", "replay", dead, "--queue", "yrad").stderr == said
    described = {"pid": 1, "name": "w", "queues": "slow"}
    cluster = ClusterStore(store, Keys(namespace), Settings(namespace=namespace), ServerTime())
    cluster.register(WorkerId.mint(), described, {})
    assert line.call("dlq", "replay", yard.dead(), "--queue", "slow").stderr == ""
