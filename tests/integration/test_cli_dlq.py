"""``dispatch dlq``: the words of the API on the command line, with a dry run of whatever changes many."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from dispatch_celery.cli import progress
from dispatch_celery.cli.output import Output
from dispatch_celery.store.client import RedisStore
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


def test_groups_are_listed_and_worked_off(yard: Graveyard, line: CommandLine) -> None:
    """From the table to one cause, its preview, its replay."""
    for n in (1, 2):
        yard.dead(f"order {n} refused")
    other = yard.dead("no connection", kind="OSError")
    # They may have died within one millisecond.
    groups = sorted(line.json("dlq", "groups")["records"], key=lambda group: int(group["count"]))

    assert [(group["count"], group["names"]) for group in groups] == [(1, {"yard.pay": 1}), (2, {"yard.pay": 2})]
    assert groups[0]["sample"]["failure"]["type"] == "OSError"
    mark = groups[1]["fingerprint"]
    shown = line.ok("dlq", "groups")
    assert mark in shown
    assert "OSError: no connection" in shown
    assert line.json("dlq", "count", "--fingerprint", mark) == {"count": 2}
    dry = line.json("dlq", "replay-all", "--fingerprint", mark, "--dry-run")
    assert (dry["dry_run"], dry["count"], len(dry["sample"])) == (True, 2, 2)
    assert "2 dead letters would be replayed; nothing was changed" in line.ok(
        "dlq", "replay-all", "--error-class", "ValueError", "--dry-run"
    )
    assert yard.dlq.count(replayed=True) == 0
    done = line.json("dlq", "replay-all", "--fingerprint", mark, "--rate", "1/m")
    assert (done["count"], done["refused"]) == (2, {})
    assert yard.dlq.count(replayed=False) == 1
    assert [letter["id"] for letter in line.json("dlq", "list", "--text", "CONNECTION")["records"]] == [
        yard.dlq.get(other).id
    ]


def test_one_is_replayed_with_edits_and_noted(yard: Graveyard, line: CommandLine) -> None:
    """The arguments are one JSON object; notes are shown with the dead letter."""
    dead = yard.dead()
    line.ok("dlq", "note", dead, "amount was wrong", "--by", "ada")
    assert "note of ada" in line.ok("dlq", "get", dead)
    assert line.json("dlq", "get", dead)["notes"][0]["text"] == "amount was wrong"
    new = line.json("dlq", "replay", dead, "--arguments", '{"amount": 9}', "--queue", "slow")["replayed_as"]

    assert yard.dispatch.jobs.get(new).arguments == {"amount": 9}
    refused = line.call("dlq", "replay", dead, "--arguments", '{"amount": 8}')
    assert (refused.exit_code, "already_replayed" in refused.stderr) == (1, True)
    assert line.call("dlq", "replay", dead, "--arguments", "[1]").exit_code == 2


def test_one_is_shown_with_what_an_edit_must_give(yard: Graveyard, line: CommandLine) -> None:
    """Its arguments stand on one line of JSON, to be pasted; what is secret is masked, and never taken back."""
    arguments = {"user_token": "t-1", "amount": 3}
    dead = yard.kill(yard.dispatch.enqueue("yard.vault", **arguments).id, "refused")

    shown = line.ok("dlq", "get", dead)
    assert '\narguments: {"user_token": "***", "amount": 3}\n' in shown
    assert f"`celery dispatch dlq get dlq_{dead[4:]} --arguments` shows it, too." in shown
    job = line.json("dlq", "get", dead)["job"]
    assert (job["arguments"], job["arguments_masked"]) == ({"user_token": "***", "amount": 3}, True)
    assert '\narguments: {"user_token": "t-1", "amount": 3}\n' in line.ok("dlq", "get", dead, "--arguments")
    refused = line.call("dlq", "replay", dead, "--force", "--arguments", '{"user_token": "***", "amount": 4}')
    assert (refused.exit_code, "user_token holds ***" in refused.stderr) == (1, True)
    assert yard.dlq.count(replayed=True) == 0


def test_one_is_replayed_later(yard: Graveyard, line: CommandLine) -> None:
    """With the delay of the API, as a length of time."""
    dead = yard.dead()
    new = line.json("dlq", "replay", dead, "--delay", "10m")

    assert new["state"] == "scheduled"
    job = yard.dispatch.jobs.get(new["replayed_as"])
    assert job.due_at is not None
    assert (job.due_at - job.created_at).total_seconds() == 600
    assert line.call("dlq", "replay", dead, "--delay", "soon").exit_code == 2


def test_a_dry_run_of_one_checks_it_and_changes_nothing(yard: Graveyard, line: CommandLine) -> None:
    """The new job is shown; arguments, queue and name are refused as the replay would; a second replay is told."""
    dead, gone = yard.dead(), yard.kill(yard.dispatch.enqueue("yard.gone").id, "x", reason="unknown")
    edits = ("--arguments", '{"amount": 9}', "--queue", "slow", "--delay", "10m")

    shown = line.ok("dlq", "replay", dead, *edits, "--dry-run")
    assert f"{dead} would be replayed as a new job yard.pay in the queue slow, due in 10 min\n" in shown
    assert 'arguments: {"amount": 9}\nNothing was changed.' in shown
    found = line.json("dlq", "replay", dead, *edits, "--dry-run")
    assert (found["dry_run"], found["replayed_as"], found["delay"]) == (True, None, 600.0)
    for words, code in (
        ((dead, "--arguments", '{"amount": "much"}'), "payload_error"),
        ((dead, "--queue", "a b"), "configuration_error"),
        ((gone,), "unknown_job"),
        (("job_01m7z9zf2ge009w1ef2z6aj5bg",), "dead_letter_not_found"),
    ):
        refused, real = line.call("dlq", "replay", *words, "--dry-run"), line.call("dlq", "replay", *words)
        assert (refused.exit_code, f"[{code}]" in refused.stderr) == (1, True), refused.stderr
        assert refused.stderr == real.stderr
    nope = (
        "error [invalid_id]: 'nope' is no id of a dead letter: one looks like dlq_..., with 26 characters of base 32\n"
    )
    assert line.call("dlq", "get", "nope").stderr == nope
    assert line.json("dlq", "replay", gone, "--force", "--dry-run")["name"] == "yard.gone"
    assert yard.dlq.count(replayed=True) == 0

    new = line.json("dlq", "replay", dead, *edits)["replayed_as"]
    assert line.json("dlq", "replay", dead, *edits, "--dry-run")["replayed_as"] == new
    assert f"would return {new} and make nothing" in line.ok("dlq", "replay", dead, "--dry-run")
    other = line.call("dlq", "replay", dead, "--queue", "other", "--dry-run")
    assert (other.exit_code, "already_replayed" in other.stderr) == (1, True)


@pytest.mark.parametrize("more", [(), ("--json",), ("--dry-run",), ("--dry-run", "--json")], ids=" ".join)
def test_what_is_no_dead_letter_is_not_replayed(yard: Graveyard, line: CommandLine, more: tuple[str, ...]) -> None:
    """It never died, or was retried since; what was replayed once is told again, by the id of its job."""
    alive = yard.dispatch.enqueue("yard.pay", amount=1).id
    yard.dispatch.jobs.retry(retried := yard.dead())

    for one in (alive, retried):
        refused = line.call("dlq", "replay", one, *more)
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert refused.stderr.startswith(f"error [dead_letter_not_found]: {one} is no dead letter, or none any more: ")
        assert "it is pending" in refused.stderr
        assert yard.dispatch.dlq.replay(one).id == one
    dead = yard.dead()
    new = yard.dispatch.dlq.replay(dead).id
    assert new in line.ok("dlq", "replay", dead, *more)


def test_a_dry_run_of_many_checks_what_it_is_given(yard: Graveyard, line: CommandLine) -> None:
    """A rate that is none is refused, as by the replay; no more are counted than would be replayed."""
    yard.many_dead(3)

    refused = line.call("dlq", "replay-all", "--rate", "potato", "--dry-run")
    assert (refused.exit_code, "a rate is a number of jobs per second" in refused.stderr) == (1, True)
    assert line.json("dlq", "replay-all", "--limit", "2", "--dry-run")["count"] == 2
    shown = line.ok("dlq", "replay-all", "--limit", "2", "--dry-run")
    assert "2 dead letters of 3 that pass would be replayed; nothing was changed" in shown


def test_what_nobody_knows_is_refused_by_name(yard: Graveyard, line: CommandLine) -> None:
    """One job with the option that forces it, many with what was refused and why."""
    dead = yard.kill(yard.dispatch.enqueue("yard.gone").id, "x", reason="unknown")
    one = line.call("dlq", "replay", dead)

    assert (one.exit_code, "unknown_job" in one.stderr, "--force" in one.stderr) == (1, True, True)
    assert line.json("dlq", "replay-all")["refused"].keys() == {dead}
    assert "yard.gone" in line.ok("dlq", "replay-all")
    assert line.json("dlq", "list", "--origin", "unknown-job")["records"][0]["name"] == "yard.gone"


def test_messages_are_put_back_from_the_command_line(yard: Graveyard, line: CommandLine, namespace: str) -> None:
    """One by its id, all by filters; a job is not, and words that fit neither are refused."""
    queue = f"lane-{namespace}"
    letters = [yard.dlq.bury(b"x", queue=queue, reason="not JSON") for _ in range(3)]

    assert "is back in the queue" in line.ok("dlq", "put-back", letters[0])
    assert line.json("dlq", "put-back", "--all", "--dry-run")["count"] == 2
    assert line.json("dlq", "put-back", "--all", "--queue", queue) == {"count": 2, "refused": {}}
    assert yard.world.ask("LLEN", queue) == 3
    assert "put back" in line.ok("dlq", "get", letters[0])
    for words in ((), (letters[0], "--all"), ("--all", "--to", "q"), (letters[0], "--dry-run")):
        assert line.call("dlq", "put-back", *words).exit_code == 2
    assert "put-back" in line.ok("explain", letters[0])
    yard.world.ask("DEL", queue)


def test_a_purge_is_shown_before_it_is_done(yard: Graveyard, line: CommandLine) -> None:
    """The dry run counts what the purge then deletes."""
    yard.many_dead(3)
    yard.dead(kind="OSError")

    assert line.json("dlq", "purge", "--all", "--error-class", "ValueError", "--dry-run")["count"] == 3
    assert "3 dead letters would be deleted" in line.ok(
        "dlq", "purge", "--all", "--error-class", "ValueError", "--dry-run"
    )
    assert line.json("dlq", "purge", "--all", "--error-class", "ValueError", "--yes") == {"count": 3}
    assert yard.dlq.count() == 1


def test_a_bar_is_drawn_where_a_person_looks(yard: Graveyard, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, and never between the lines of JSON."""
    yard.many_dead(2)
    drawn = io.StringIO()
    monkeypatch.setattr(progress, "Console", lambda **_: Console(file=drawn, force_terminal=True, width=80))
    with progress.bar(Output(as_json=False), "replaying") as follower:
        assert follower is not None
        yard.dlq.select().replay(on_progress=follower)
    assert "2/2" in drawn.getvalue()
    with progress.bar(Output(as_json=True), "replaying") as follower:
        assert follower is None
