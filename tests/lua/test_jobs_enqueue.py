"""``jobs/enqueue``, ``cancel``, ``flag``, ``reopen``, ``delete``: what callers do to a job."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dispatch_celery.clock import from_ms
from dispatch_celery.errors import LeadershipLost
from dispatch_celery.ids import JobId
from dispatch_celery.jobs.model import JobState
from dispatch_celery.store.channel import Channel
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.scripts import Call
from tests.lua.world import START, World
from tests.support.eventually import eventually

DAY = 86_400_000


# -- enqueue


def test_a_new_job_is_ready_and_marked(world: World) -> None:
    """Its record, its indexes, its lane, and a mark until its wake-up is known to be published."""
    ref = world.enqueue(scope="app/org", priority=3, payload=b'{"a":"\\u0000"}')
    state = world.dump()

    assert world.record(ref)["state"] == "pending"
    assert state.ordered["state:pending"] == state.ordered["name:pending:mail"] == {ref.id: START}
    assert state.ordered["scope:app/org"] == {ref.id: START}
    assert state.ordered["lane:q:3"] == {ref.id: START}
    assert state.sets["lanes"] == {"q:3"}
    assert state.ordered["marks"] == {f"{ref.id}:1": START + 1_000}


@pytest.mark.parametrize("payload", [b"", b"\x00\xff\r\n", b"x" * 1_000_000, b'{"n":9007199254740993,"l":[]}'])
def test_a_payload_is_never_touched(world: World, payload: bytes) -> None:
    """The server stores bytes and gives the same bytes to the worker."""
    assert world.running(payload=payload).claim.payload == payload


@pytest.mark.parametrize(
    ("options", "state", "due"),
    [
        ({"delay": 5_000}, "scheduled", START + 5_000),
        ({"run_at": START + 7}, "scheduled", START + 7),
        ({"delay": 0}, "pending", None),
        ({"run_at": START}, "pending", None),
        ({"run_at": 1}, "pending", None),
        ({"delay": 10 * 365 * DAY}, "scheduled", START + 10 * 365 * DAY),
    ],
)
def test_a_due_time_that_has_not_come_is_a_timer(
    world: World, options: dict[str, int], state: str, due: int | None
) -> None:
    """A job for later has a timer and no mark; one whose time has come is ready."""
    ref = world.enqueue(**options)
    found = world.dump()

    assert found.jobs[ref.id]["state"] == state
    assert found.ordered.get("timers", {}) == ({} if due is None else {ref.id: due})
    assert bool(found.ordered.get("marks")) is (state == "pending")
    (job,) = world.records.jobs([ref.id])
    assert job is not None
    assert job.due_at == (None if due is None else from_ms(due))


def test_an_expiry_counts_from_now(world: World) -> None:
    """It is kept in the record as a moment of the server's clock."""
    assert world.record(world.enqueue(expires=3_000))["expires_at"] == str(START + 3_000)


def test_a_known_key_with_the_same_payload_is_the_first_job(world: World) -> None:
    """A second job with the key is not written; the answer names the first."""
    first = world.enqueue(key="order-1")
    before = world.dump()

    assert world.jobs.enqueue([world.job(key="order-1")]) == [["EXISTING", first.id]]
    assert world.dump() == before


def test_a_known_key_with_another_payload_is_a_conflict(world: World) -> None:
    """Nothing is written, and the answer names the first."""
    first = world.enqueue(key="order-1")
    before = world.dump()

    assert world.jobs.enqueue([world.job(key="order-1", payload=b'{"n":1}')]) == [["CONFLICT", first.id]]
    assert world.dump() == before


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled", "running", "scheduled"])
def test_a_key_holds_in_every_state(world: World, state: str) -> None:
    """Ended jobs keep their key as running ones do."""
    first = world.at(state, key="k")

    assert world.jobs.enqueue([world.job(key="k")]) == [["EXISTING", first.id]]


def test_a_key_belongs_to_scope_and_name(world: World) -> None:
    """The same text elsewhere is another key."""
    refs = [world.enqueue(key="k"), world.enqueue(key="k", scope="a/b"), world.enqueue(key="k", name="other")]

    assert len({ref.id for ref in refs}) == len(world.dump().jobs) == 3


def test_a_batch_is_one_trip_and_each_job_has_its_answer(world: World) -> None:
    """One conflict does not hold up the others."""
    world.enqueue(key="k")
    jobs = [world.job(), world.job(key="k", payload=b"1"), *(world.job() for _ in range(300))]

    answers = world.jobs.enqueue(jobs)

    assert [answer[0] for answer in answers] == ["CREATED", "CONFLICT", *["CREATED"] * 300]
    assert len(world.dump().jobs) == 302


def test_riders_follow_the_jobs(world: World) -> None:
    """The message and the clearing of the mark travel behind the script, in the same trip."""
    job = world.job()
    message = Call.command("LPUSH", f"{world.keys.tag}messages", "m")

    world.jobs.enqueue([job], [message, world.jobs.unmarking([(job.ref.id, "1")])])

    assert world.ask("LLEN", f"{world.keys.tag}messages") == 1
    assert "marks" not in world.dump().ordered


@pytest.mark.parametrize("scope", ["", "app/org"])
def test_a_family_is_written_as_its_members_would_be(world: World, store: RedisStore, scope: str) -> None:
    """Jobs that share all but their arguments go through one script, and leave what the other script leaves."""
    jobs = [world.job(scope=scope, payload=b"%d" % n, priority=3) for n in range(3)]
    alone = World(store, f"{world.keys.tag[1:-4]}x")
    alone.time.now = world.now
    keyed = [replace(job, ref=replace(job.ref, idempotency_key=f"k{n}"), digest="d") for n, job in enumerate(jobs)]

    assert [answer[0] for answer in world.jobs.enqueue(jobs)] == ["CREATED"] * 3
    assert [answer[0] for answer in alone.jobs.enqueue(keyed)] == ["CREATED"] * 3

    together, apart = world.dump(), alone.dump()
    assert (together.jobs, together.ordered) == (apart.jobs, apart.ordered)
    alone.ask("DEL", *alone.ask("KEYS", f"{alone.keys.tag}*"))


def test_a_family_sent_again_writes_only_what_is_missing(world: World) -> None:
    """Members that are there already are told by their state; the others are written."""
    jobs = [world.job() for _ in range(4)]
    world.jobs.enqueue(jobs[:2])
    worker = world.register()
    world.claim(jobs[0].ref, worker)

    answers = world.jobs.enqueue(jobs)

    assert [answer[:2] for answer in answers] == [
        ["REPEATED", "running"],
        ["REPEATED", "pending"],
        ["CREATED", "pending"],
        ["CREATED", "pending"],
    ]


# -- cancel and flag


@pytest.mark.parametrize("state", ["scheduled", "pending", "retrying"])
def test_a_job_nobody_holds_is_cancelled_at_once(world: World, state: str) -> None:
    """Lane, mark and timer go; the record is kept with the reason for its retention."""
    ref = world.at(state)
    world.passes(10)

    assert world.jobs.cancel(ref, JobState(state), "enough").verdict == "DONE"

    found, record = world.dump(), world.record(ref)
    assert (record["state"], record["reason"], record["finished_at"]) == ("cancelled", "enough", str(START + 10))
    assert "due_at" not in record
    assert not any(found.ordered.get(name) for name in ("timers", "marks", "lane:q:0"))
    assert found.ordered["expiry"] == {ref.id: START + 10 + world.settings.retain_cancelled}


@pytest.mark.parametrize("state", ["running", "completed", "failed", "cancelled"])
def test_other_states_are_not_cancelled_here(world: World, state: str) -> None:
    """The answer names the state, and nothing changes."""
    ref, before = world.at(state), world.dump()
    before = world.dump()

    assert world.jobs.cancel(ref, JobState(state), "enough").detail == state
    assert world.dump() == before


def test_a_cancel_that_saw_another_state_changes_nothing(world: World) -> None:
    """The keys of the caller's state would be the wrong ones."""
    ref = world.at("pending")
    before = world.dump()

    assert world.jobs.cancel(ref, JobState.SCHEDULED, "enough").verdict == "STATE"
    assert world.jobs.cancel(world.job().ref, JobState.PENDING, "enough").verdict == "MISSING"
    assert world.dump() == before


def test_a_running_job_is_asked_to_cancel(world: World, store: RedisStore) -> None:
    """The flag is in the record and in the holding, and its worker is told on its channel."""
    held = world.running()
    channel = Channel(store)
    channel.listen([world.keys.worker(held.holder)])
    try:
        assert world.jobs.flag(held.ref, held.holder, "enough").verdict == "ASKED"
        heard = eventually(channel.read, what="the worker is told")
    finally:
        channel.close()

    assert heard == [(world.keys.worker(held.holder), f"cancel {held.ref.id} {held.token}")]
    assert world.record(held.ref)["cancel"] == "enough"
    assert world.cluster.held(held.holder) == {held.ref.id: f"7 {held.token} cancel"}


def test_the_first_reason_stays(world: World) -> None:
    """Whoever asks again adds nothing."""
    held = world.asked_to_cancel()
    before = world.dump()

    assert world.jobs.flag(held.ref, held.holder, "another").verdict == "ASKED"
    assert world.dump() == before


@pytest.mark.parametrize("state", ["pending", "retrying", "completed"])
def test_a_job_that_does_not_run_there_is_not_flagged(world: World, state: str) -> None:
    """Another state, another holder, no record: the answer tells, and nothing changes."""
    ref, worker, held = world.at(state), world.register(), world.running()
    before = world.dump()

    assert world.jobs.flag(ref, worker, "x").verdict == "STATE"
    assert world.jobs.flag(held.ref, worker, "x").verdict == "STATE"
    assert world.jobs.flag(world.job().ref, worker, "x").verdict == "STATE"
    assert world.dump() == before


# -- reopen


def test_a_failed_job_is_reopened_with_its_counts_anew(world: World) -> None:
    """The same id is ready again; error, attempts and crashes are gone, and the token's number goes on."""
    held = world.running(key="k")
    world.jobs.retry(held.ref, holder=held.holder, token=held.token, delay=0, counter="crashes")
    (answer,) = world.jobs.promote([(held.ref, JobState.RETRYING)])
    again = world.claim(held.ref, held.holder, nonce="second")
    world.end("fail", again)

    assert world.jobs.reopen(held.ref).verdict == "READY"

    record = world.record(held.ref)
    assert (record["state"], record["token_number"]) == ("pending", "2")
    assert not {"error", "reason", "finished_at", "attempts", "crashes"} & set(record)
    assert world.ask("PTTL", world.jobs.idempotency(held.ref)) == -1
    assert world.claim(held.ref, held.holder, nonce="third").token.startswith("3.")
    assert answer.verdict == "READY"


@pytest.mark.parametrize("state", ["scheduled", "pending", "running", "retrying", "completed", "cancelled"])
def test_only_a_failed_job_is_reopened(world: World, state: str) -> None:
    """The answer names the state, and nothing changes."""
    ref = world.at(state)
    before = world.dump()

    assert (world.jobs.reopen(ref).verdict, world.jobs.reopen(ref).detail) == ("STATE", state)
    assert world.jobs.reopen(world.job().ref).detail == "missing"
    assert world.dump() == before


# -- delete


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
def test_an_ended_job_is_deleted_when_its_time_has_passed(world: World, state: str) -> None:
    """Before that nothing happens; afterwards nothing names it any more."""
    ref = world.at(state, scope="a/b")
    kept = getattr(world.settings, f"retain_{state}")
    world.passes(kept - 1)
    assert world.jobs.delete(ref, JobState(state)).verdict == "STATE"

    world.passes(1)
    assert world.jobs.delete(ref, JobState(state)).verdict == "DONE"

    found = world.dump()
    assert found.jobs == {}
    assert ref.id not in json.dumps(found.ordered)


@pytest.mark.parametrize("state", ["scheduled", "pending", "running", "retrying"])
def test_a_job_that_has_not_ended_is_never_deleted(world: World, state: str) -> None:
    """Not even by force."""
    ref = world.at(state)
    before = world.dump()

    assert world.jobs.delete(ref, JobState(state), force=True).verdict == "STATE"
    assert world.jobs.delete(ref, JobState.FAILED, force=True).verdict == "STATE"
    assert world.dump() == before


def test_an_operator_deletes_before_the_time_has_passed(world: World) -> None:
    """With force, and only in the state that was seen."""
    ref = world.at("failed")

    assert world.jobs.delete(ref, JobState.COMPLETED, force=True).verdict == "STATE"
    assert world.jobs.delete(ref, JobState.FAILED, force=True).verdict == "DONE"
    assert world.dump().jobs == {}


def test_a_lost_record_leaves_no_expiry(world: World) -> None:
    """An expiry without a record is taken away instead of being found for ever."""
    ref = world.at("completed")
    world.jobs.delete(ref, JobState.COMPLETED, force=True)
    world.ask("ZADD", world.keys.expiry, 1, ref.id)

    assert world.jobs.delete(ref, JobState.COMPLETED).detail == "missing"
    assert "expiry" not in world.dump().ordered


def test_a_leader_of_another_term_deletes_nothing(world: World) -> None:
    """The script compares the term's number and random part."""
    _, term = world.leader()
    ref = world.at("completed")
    before = world.dump()

    for wrong in ("none", f"{term}x", "2." + term.partition(".")[2], "1."):
        with pytest.raises(LeadershipLost):
            world.jobs.delete(ref, JobState.COMPLETED, term=wrong, force=True)
    assert world.dump() == before
    assert world.jobs.delete(ref, JobState.COMPLETED, term=term, force=True).verdict == "DONE"


def test_a_purged_job_does_not_swallow_the_next_one(world: World) -> None:
    """A key lives as long as the record and at least a day; then the same work can be enqueued again."""
    ref = world.at("failed", key="k")
    world.passes(2 * DAY)
    world.jobs.delete(ref, JobState.FAILED, force=True)

    left = int(world.ask("PEXPIRETIME", world.jobs.idempotency(ref)))
    assert left <= max(world.now, START + world.settings.retain_key)


def test_ids_of_callers_are_kept_apart(world: World) -> None:
    """A write under an id that exists changes nothing, whoever sends it."""
    job_id = JobId.mint()
    world.enqueue(job_id=job_id)
    before = world.dump()

    assert world.jobs.enqueue([world.job(job_id=job_id, name="other", payload=b"1")]) == [["REPEATED", "pending"]]
    assert world.dump() == before
