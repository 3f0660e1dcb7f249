"""The commands that look into runs: lists by every filter, one call in full, children, generations."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from celery import Celery

from dispatch_celery import Dispatch, Retry, RunId, Workflow, scope
from dispatch_celery.testing import Kit
from tests.support.command_line import CommandLine

app = Celery("looked", broker="redis://127.0.0.1:1/0", set_as_current=False)
dispatch = Dispatch(app)
paid = dispatch.event("paid", int)


def refund(_: dict[str, str] | None, card: str) -> None:
    """Take back."""


@dispatch.step(retry=Retry(1), undo=refund)
def charge(card: str) -> dict[str, str]:
    """Return what may be a secret, or fail."""
    if card == "stolen":
        raise ValueError("no money")
    return {"card": card}


@dispatch.workflow(name="leaf")
def leaf(wf: Workflow, n: int) -> int:
    """Rest."""
    wf.status(f"leaf {n}")
    wf.sleep(timedelta(hours=1))
    return n


@dispatch.workflow(name="branch")
def branch(wf: Workflow, n: int) -> int:
    """Have two children."""
    return sum(wf.gather(leaf.bind(n), leaf.bind(n + 1)))


@dispatch.workflow(name="root")
def root(wf: Workflow) -> int:
    """Have two children that have children."""
    return sum(wf.gather(branch.bind(1), branch.bind(3)))


@dispatch.workflow(name="order")
def order(wf: Workflow, card: str) -> str:
    """Charge, and rest."""
    wf.status(f"charges {len(card)} letters")
    wf.step(charge, card)
    wf.sleep(timedelta(hours=1))
    return "done"


@dispatch.workflow(name="desk")
def desk(wf: Workflow, seen: int) -> int:
    """Wait for a payment, and begin anew."""
    wf.run_child(leaf, seen)
    wf.wait_for_event(paid, key="k")
    wf.continue_as_new(seen + 1)


@pytest.fixture
def kit(server_url: str) -> Iterator[Kit]:
    """Return a world of the app, executed by the test."""
    with Kit(dispatch, server_url) as kit:
        yield kit


@pytest.fixture
def line(kit: Kit) -> CommandLine:
    """Return the app's command line."""
    return CommandLine(app, dispatch)


def test_runs_are_listed_by_every_filter(kit: Kit, line: CommandLine) -> None:
    """Queue, tenant, time and text of what stopped them, as jobs are; what a run says of itself is in its row."""
    with scope(app_id="shop", org_id="acme"):
        failed = order.options(queue="slow").start("stolen")
    kit.drain()
    waiting = order.start("4111")
    kit.drain()

    def ids(*words: str) -> list[str]:
        return [record["id"] for record in line.json("runs", "list", *words)["records"]]

    assert ids("--queue", "slow") == ids("--error", "NO money") == [failed.id]
    assert ids("--scope-app", "shop", "--scope-org", "acme") == ids("--scope-app", "shop") == [failed.id]
    assert ids("--name", "order", "--state", "waiting", "--queue", "celery") == [waiting.id]
    assert ids("--after", "1m") == ids("--after", "1m", "--name", "order") == [waiting.id, failed.id]
    assert ids("--before", "1m") == ids("--after", "2999-01-01") == []
    listed = line.ok("runs", "list")
    assert "ValueError: no money" in listed
    assert "charges 4 letters" in listed
    assert line.json("runs", "count", "--state", "failed") == {"failed": 1}


def test_a_run_says_what_it_does_and_where_it_comes_from(kit: Kit, line: CommandLine) -> None:
    """Its status, its parent, the run it was forked from, and how often it has begun anew."""
    run = desk.start(0)
    kit.drain()
    (child,) = dispatch.runs.children(run.id)
    assert line.ok("explain", child.id).splitlines()[0].endswith(f" Its status: leaf 0. It is a child of {run.id}.")
    fork = line.json("runs", "fork", run.id)["id"]
    dispatch.events.publish(paid, 1, key="k")
    kit.advance(timedelta(hours=1))

    fields = dict(row.split(maxsplit=1) for row in line.ok("runs", "get", child.id).splitlines())
    assert (fields["status"].strip(), fields["parent"].strip()) == ("leaf 0", run.id)
    assert f"forked from    {run.id}" in line.ok("runs", "get", fork)
    assert "generation     1" in line.ok("runs", "get", run.id)
    assert line.json("runs", "get", run.id)["generation"] == 1
    assert "(desk, version 1, generation 1) is waiting since" in line.ok("explain", run.id)
    assert f"It was forked from {run.id}, whose effects it does not undo." in line.ok("explain", fork)


def test_one_call_is_inspected_without_its_secrets(kit: Kit, line: CommandLine) -> None:
    """When, where and how it ended; the value is hinted at, and shown where it is asked for."""
    run, failed = order.start("4111-1111"), order.start("stolen")
    kit.drain()

    shown = line.ok("runs", "inspect", run.id, "charge#1")
    assert "value     an object of 1 field" in shown
    assert "4111" not in shown + line.ok("runs", "inspect", run.id, "charge#1", "--json")
    assert '"card": "4111-1111"' in line.ok("runs", "inspect", run.id, "charge#1", "--value")
    found = line.json("runs", "inspect", run.id, "charge#1", "--value")
    assert (found["run_id"], found["promise"]["value"]) == (run.id, {"card": "4111-1111"})
    told = line.ok("runs", "inspect", failed.id, "charge#1")
    assert "error     ValueError: no money" in told
    assert 'raise ValueError("no money")' in told
    undo = line.ok("runs", "inspect", run.id, "undo:charge#1")
    assert f"value   {__name__}:refund" in undo
    assert "due     20" in line.ok("runs", "inspect", run.id, "sleep#1")
    missing = line.call("runs", "inspect", run.id, "charge#2")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert missing.stderr.startswith("error [promise_not_found]: ")
    assert "charge#1" in missing.stderr


def test_a_call_that_sent_something_names_it(kit: Kit, line: CommandLine) -> None:
    """The child run of a call, and how it stands."""
    run = desk.start(0)
    kit.drain()

    (child,) = dispatch.runs.children(run.id)
    assert f"member  {child.id} (waiting)" in line.ok("runs", "inspect", run.id, "leaf#1")
    assert line.json("runs", "inspect", run.id, "leaf#1")["member"]["id"] == child.id


def test_children_are_drawn_as_a_tree(kit: Kit, line: CommandLine) -> None:
    """Those of a run, with what they say of themselves; with --recursive those below, as many as --limit allows."""
    run = root.start()
    kit.drain()
    first, second = dispatch.runs.children(run.id)
    leaves = [leaf.id for one in (first, second) for leaf in dispatch.runs.children(one.id)]

    drawn = line.ok("runs", "children", run.id).splitlines()
    assert drawn == [
        f"{run.id} (root, version 1): waiting",
        f"├── {first.id} (branch, version 1): waiting",
        f"└── {second.id} (branch, version 1): waiting",
        "2 child runs: 2 waiting",
    ]
    whole = line.ok("runs", "children", run.id, "--recursive").splitlines()
    assert whole[1:4] == [
        f"├── {first.id} (branch, version 1): waiting",
        f"│   ├── {leaves[0]} (leaf, version 1): waiting, leaf 1",
        f"│   └── {leaves[1]} (leaf, version 1): waiting, leaf 2",
    ]
    assert whole[-1] == "6 child runs: 6 waiting"
    records = line.json("runs", "children", run.id, "--recursive")
    assert [one["id"] for one in records["records"]] == [first.id, second.id, *leaves]
    assert (records["complete"], "arguments" in records["records"][0]) == (True, False)
    some = line.json("runs", "children", run.id, "--recursive", "--limit", "3")
    assert ([one["id"] for one in some["records"]], some["complete"]) == ([first.id, second.id, leaves[0]], False)
    assert "3 child runs: 3 waiting; there are more: raise --limit" in line.ok(
        "runs", "children", run.id, "--recursive", "--limit", "3"
    )
    assert line.ok("runs", "children", leaves[0]) == "0 child runs\n"


def test_what_was_set_aside_is_drawn(kit: Kit, line: CommandLine) -> None:
    """The calls of the generation before, with the children they sent; those of the present one stand by themselves."""
    run = desk.start(0)
    kit.drain()
    assert "it has begun once only" in line.ok("runs", "timeline", run.id, "--previous")
    (child,) = dispatch.runs.children(run.id)
    dispatch.events.publish(paid, 7, key="k")
    kit.advance(timedelta(hours=1))

    previous = line.ok("runs", "timeline", run.id, "--previous")
    assert "what generation 0 had recorded until 20" in previous
    assert f"    {child.id}: a number\n" in previous
    assert [row.split()[:3] for row in previous.splitlines() if row.startswith("event")] == [
        ["event", "paid#1", "value"]
    ]
    present = line.ok("runs", "timeline", run.id)
    assert ("; generation 1 began 20" in present, "paid#1" in present) == (True, False)
    found = line.json("runs", "timeline", run.id, "--previous", "--values")
    assert [(one["identity"], one["value"]) for one in found["records"]] == [("leaf#1", 0), ("paid#1", 7)]
    assert found["members"]["leaf#1"]["id"] == child.id


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("rewind", str(RunId.mint())), "run_not_found"),
        (("fork", str(RunId.mint())), "run_not_found"),
        (("migrate", str(RunId.mint()), "1"), "run_not_found"),
        (("check-code", "--run", str(RunId.mint())), "run_not_found"),
        (("children", str(RunId.mint())), "run_not_found"),
        (("inspect", str(RunId.mint()), "a#1"), "run_not_found"),
        (("rewind", "nonsense"), "invalid_id"),
        (("inspect", "nonsense", "a#1"), "invalid_id"),
    ],
)
def test_an_id_that_names_nothing_is_one_line(words: tuple[str, ...], code: str, line: CommandLine) -> None:
    """On stderr, with exit code 1, and nothing on stdout."""
    result = line.call("runs", *words)

    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith(f"error [{code}]: ")
