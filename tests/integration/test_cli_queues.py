"""The commands of queues against a real server, and what ``explain`` says of a job that a limit holds back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import Celery

from dispatch_celery import Dispatch, Limit, PerKey, QueueNotFound
from dispatch_celery.cluster.store import ClusterStore
from dispatch_celery.config import Settings
from dispatch_celery.ids import WorkerId
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.servertime import ServerTime
from tests.lua.world import World
from tests.support.command_line import CommandLine


@pytest.fixture
def line(namespace: str, server_url: str) -> Iterator[CommandLine]:
    """Return the command line of an app with one job."""
    app = Celery("desk", broker=server_url, set_as_current=False)
    app.conf.update(dispatch_namespace=namespace, task_default_queue="mail")
    dispatch = Dispatch(app)

    @dispatch.job(name="desk.send")
    def send(to: str) -> str:
        return to

    yield CommandLine(app, dispatch)
    dispatch.close()
    app.close()


def test_a_queue_is_limited_and_shown_in_the_words_of_the_limit(line: CommandLine) -> None:
    """Every amount can be given; what was set is what is listed."""
    shown = line.ok(
        *("queues", "limit", "mail", "--concurrency", "10", "--rate", "100/m", "--burst", "20"),
        *("--per-key", "scope.org_id", "--key-concurrency", "2", "--key-rate", "10/30s", "--weights", '{"big": 3}'),
    )
    line.ok("queues", "limit", "--job", "desk.send", "--rate", "5/s")

    assert "10 run at once and 100/m begin and 2 of each scope.org_id run at once and 10/30s of each" in shown
    assert "keys take turns (where others have one, 'big' 3)" in shown
    found = line.dispatch.queues.get("mail")
    each = PerKey(by="scope.org_id", concurrency=2, rate="10/30s", weights={"big": 3})
    assert found.limit == Limit(concurrency=10, rate="100/m", burst=20, per_key=each)
    assert [(one["kind"], one["name"]) for one in line.json("queues", "list")["records"]] == [
        ("queue", "mail"),
        ("job", "desk.send"),
    ]


def test_a_queue_is_paused_resumed_and_lifted(line: CommandLine) -> None:
    """Each is said; a queue that nobody knows is told by its code."""
    assert line.ok("queues", "pause", "mail") == "mail: paused\n"
    assert line.json("queues", "get", "mail")["paused"] is True
    assert line.ok("queues", "pause", "post", "--for", "15m").startswith("post: paused until 20")
    assert "paused until 20" in line.ok("queues", "get", "post")
    assert line.ok("queues", "pause", "post", "--reason", "the bank is away") == "post: paused (the bank is away)\n"
    assert line.json("queues", "get", "post")["pause_reason"] == "the bank is away"
    assert "is no length of time" in line.call("queues", "pause", "post", "--for", "tomorrow").output
    assert line.json("queues", "resume", "mail") == {"queue": "mail", "job": None, "state": "resumed"}
    assert line.ok("queues", "unlimit", "post") == "post: lifted\n"
    assert line.ok("queues", "unlimit", "mail") == "mail: no limit was set\n"
    assert line.json("queues", "resume", "mail")["state"] == "nothing was paused"

    unknown = line.call("queues", "get", "nobody")
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert "queue_not_found" in unknown.stderr
    with pytest.raises(QueueNotFound):
        line.dispatch.queues.get("nobody")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("mail", "--concurrency", "0"), "to let nothing run, pause the queue"),
        (("mail", "--rate", "0/s"), "would never let a job begin"),
        (("mail", "--rate", "often"), "write it like '100/m'"),
        (("mail", "--burst", "3"), "burst belongs to a rate"),
        (("mail",), "a limit needs concurrency, rate or per_key; to lift one, unlimit it\n"),
        ((), "say which: either a queue, or the jobs of one name (job=, on the command line --job)"),
        (("mail", "--job", "desk.send", "--rate", "1/s"), "say which"),
        (("mail", "--per-key", "weather"), "is not known"),
        (("mail", "--rate", "1/s", "--key-rate", "1/s"), "need --per-key"),
        (("mail", "--rate", "1/s", "--weights", '{"big": 3}'), "need --per-key"),
        (("mail", "--per-key", "key", "--weights", '{"big": 0}'), "the weight of 'big' must be between 0.001 and 1000"),
        (("mail", "--per-key", "key", "--weights", "big=3"), "give one JSON object of weights by key"),
    ],
)
def test_a_limit_that_cannot_be_meant_is_refused(line: CommandLine, words: tuple[str, ...], said: str) -> None:
    """With what to do instead; nothing is changed."""
    refused = line.call("queues", "limit", *words)

    assert refused.exit_code != 0
    assert said in refused.stderr
    assert line.json("queues", "list")["records"] == []


def test_explain_says_why_a_job_is_limited(line: CommandLine) -> None:
    """The limit in words, what is out, and what changes it; paused, how it goes on."""
    line.dispatch.queues.limit("mail", concurrency=2)
    handle = line.dispatch.enqueue("desk.send", to="ann")

    explained = line.ok("explain", handle.id)
    assert "is limited since" in explained
    assert "the queue 'mail' lets 2 run at once, and no permit is out" in explained
    assert "Start a worker" in explained
    assert line.json("jobs", "list", "--state", "limited")["records"][0]["limit"] == "queue:mail"

    line.dispatch.queues.pause("mail")
    assert "queues resume mail` lets it go on" in line.ok("explain", handle.id)


# -- names that nobody knows


def _beside(line: CommandLine, *words: str) -> str:
    """Return what is said on the standard error of a call that succeeds."""
    result = line.call(*words)
    assert result.exit_code == 0, result.output
    assert result.stdout
    return result.stderr


@pytest.mark.parametrize(
    "verb", [("pause",), ("resume",), ("unlimit",), ("limit", "--rate", "5/s"), ("pause", "--json")], ids=" ".join
)
def test_a_queue_that_nobody_knows_is_told(line: CommandLine, verb: tuple[str, ...]) -> None:
    """On the standard error, beside what was done, with the one that is meant; and not where it is known."""
    assert _beside(line, "queues", verb[0], "mial", *verb[1:]) == (
        "notice: nothing is ready in 'mial', no worker consumes it, and no definition names it; did you mean 'mail'?\n"
    )
    assert _beside(line, "queues", verb[0], "mail", *verb[1:]) == ""


def test_a_queue_is_known_by_whoever_has_to_do_with_it(line: CommandLine, namespace: str, store: RedisStore) -> None:
    """What waits in it, who consumes it, what workers publish, a declaration; and a limit that it has already."""
    World(store, namespace).enqueue(queue="waits")
    described = {"pid": 1, "name": "w", "queues": "consumed,second"}
    named = {"far.job": '{"queue": "far"}'}
    ClusterStore(store, Keys(namespace), Settings(namespace=namespace), ServerTime()).register(
        WorkerId.mint(), described, named
    )
    line.dispatch.job(name="desk.file", queue="declared")(lambda: None)
    line.dispatch.queues.limit("limited", rate="1/s")

    for queue in ("waits", "second", "far", "declared", "limited", "mail"):
        assert _beside(line, "queues", "pause", queue) == ""
    assert "did you mean" not in _beside(line, "queues", "pause", "zzz")


def test_what_has_its_limit_by_the_other_kind_of_name_is_told(line: CommandLine) -> None:
    """A job's name given as a queue's, and the reverse: nothing was lifted or resumed, and how it would be."""
    line.dispatch.queues.limit(job="desk.send", rate="5/s")
    line.dispatch.queues.pause("mail")

    lifted = line.call("queues", "unlimit", "desk.send")
    assert lifted.stdout == "desk.send: no limit was set\n"
    said = "notice: the job name 'desk.send' has a limit: `celery dispatch queues unlimit --job desk.send`\n"
    assert lifted.stderr == said
    assert line.dispatch.queues.get(job="desk.send").limit is not None
    resumed = line.call("queues", "resume", "--job", "mail")
    assert resumed.stdout == "jobs named mail: nothing was paused\n"
    assert resumed.stderr == "notice: the queue 'mail' is paused: `celery dispatch queues resume mail`\n"
    assert "did you mean --job desk.send?" in line.call("queues", "pause", "desk.send").stderr
    assert line.call("queues", "unlimit", "--job", "desk.send").stdout == "jobs named desk.send: lifted\n"


def test_a_job_name_that_nobody_knows_is_told(line: CommandLine) -> None:
    """As a queue is; what this app declares is known."""
    assert _beside(line, "queues", "pause", "--job", "desk.sned") == (
        "notice: neither this app nor a worker declares a job 'desk.sned'; did you mean 'desk.send'?\n"
    )
    assert _beside(line, "queues", "pause", "--job", "desk.send") == ""
    assert line.dispatch.queues.get(job="desk.sned").paused
