"""``jobs/claim``, the five ends of a claim, ``progress`` and ``unhold``: what workers do to a job."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dispatch_celery.ids import WorkerId
from dispatch_celery.jobs.model import Claim, JobRef, JobState
from dispatch_celery.store.channel import Channel
from dispatch_celery.store.client import RedisStore
from tests.lua.world import ENDS, ERROR, LINE, START, Held, World
from tests.support.eventually import eventually

# -- claim


def test_a_claim_gives_the_job_and_a_token(world: World) -> None:
    """The record names holder, process and token; lane and mark are gone; the holding is listed."""
    ref, worker = world.enqueue(payload=b"[1]"), world.register()
    world.passes(5)
    held = world.claim(ref, worker, nonce="abc", pid=42)

    assert (held.token, held.claim.claimed_at, held.claim.payload) == ("1.abc", START + 5, b"[1]")
    record, found = world.record(ref), world.dump()
    assert (record["state"], record["holder"], record["pid"], record["token"]) == ("running", worker, "42", "1.abc")
    assert found.hashes[f"held:{worker}"] == {ref.id: "42 1.abc"}
    assert "marks" not in found.ordered
    assert "lane:q:0" not in found.ordered


def test_a_claim_sent_again_is_the_same_claim(world: World) -> None:
    """Its random part names it: later, after others have asked, it still answers the same."""
    held = world.running(nonce="mine")
    before = world.dump()
    world.passes(500)
    stranger = world.jobs.claim(held.ref, holder=world.register(), nonce="theirs", pid=1)

    assert stranger == ("LEFTOVER", ("running",))
    assert world.jobs.claim(held.ref, holder=held.holder, nonce="mine", pid=7) == ("CLAIMED", held.claim)
    assert world.dump().jobs == before.jobs


@pytest.mark.parametrize("nonce", ["min", "mine2", ".mine", "1.mine", ""])
def test_only_the_whole_random_part_names_a_claim(world: World, nonce: str) -> None:
    """A part of it, or more than it, is somebody else."""
    held = world.running(nonce="mine")

    assert world.jobs.claim(held.ref, holder=held.holder, nonce=nonce, pid=7)[0] == "LEFTOVER"


def test_every_claim_has_a_greater_number(world: World) -> None:
    """Numbers grow over releases, retries and reopening."""
    held = world.running(nonce="a")
    numbers = [held.token]
    for nonce, verb in (("b", "release"), ("c", "retry"), ("d", "fail")):
        world.end(verb, held)
        if verb == "retry":
            world.jobs.promote([(held.ref, JobState.RETRYING)], force=True)
        if verb == "fail":
            world.jobs.reopen(held.ref)
        held = world.claim(held.ref, held.holder, nonce=nonce)
        numbers.append(held.token)

    assert numbers == ["1.a", "2.b", "3.c", "4.d"]


def test_a_claim_tells_what_was_used_up(world: World) -> None:
    """Attempts, crashes, lost workers and snoozes are counted apart."""
    held = world.running(nonce="0")
    for n, counter in enumerate(["attempts", "crashes", "lost_workers", "snoozes", "snoozes"], 1):
        world.jobs.retry(held.ref, holder=held.holder, token=held.token, delay=0, counter=counter)
        world.jobs.promote([(held.ref, JobState.RETRYING)])
        held = world.claim(held.ref, held.holder, nonce=str(n))

    claim = held.claim
    assert (claim.attempts, claim.crashes, claim.lost_workers, claim.snoozes) == (1, 1, 1, 2)


@pytest.mark.parametrize("state", ["scheduled", "running", "retrying", "completed", "failed", "cancelled"])
def test_a_job_that_is_not_ready_is_a_leftover(world: World, state: str) -> None:
    """The answer names the state, and nothing changes."""
    ref, worker = world.at(state), world.register()
    before = world.dump()

    assert world.jobs.claim(ref, holder=worker, nonce="other", pid=1) == ("LEFTOVER", (state,))
    assert world.dump() == before


def test_a_wake_up_without_a_record_is_missing(world: World) -> None:
    """Nothing is made of it."""
    worker = world.register()
    before = world.dump()

    assert world.jobs.claim(world.job().ref, holder=worker, nonce="n", pid=1) == ("MISSING", ())
    assert world.dump() == before


def test_a_wake_up_of_another_name_or_lane_tells_the_right_one(world: World) -> None:
    """The claimer's keys would be the wrong ones: nothing changes."""
    ref, worker = world.enqueue(queue="a:b", priority=2), world.register()
    before = world.dump()

    for wrong in ({"name": "other"}, {"queue": "x"}, {"priority": 3}):
        moved = JobRef(**{"id": ref.id, "name": ref.name, "queue": ref.queue, "priority": 2, **wrong})  # type: ignore[arg-type]
        assert world.jobs.claim(moved, holder=worker, nonce="n", pid=1) == ("MOVED", ("mail", "a:b:2"))
    assert world.dump() == before


def test_a_worker_without_a_lease_claims_nothing(world: World) -> None:
    """Unknown, departed, and out of its lease to the millisecond: refused, and nothing changes."""
    ref, worker, gone = world.enqueue(), world.register(), world.register()
    world.cluster.depart(gone)
    world.passes(world.settings.lease)
    before = world.dump()

    for holder in (worker, gone, WorkerId.mint()):
        assert world.jobs.claim(ref, holder=holder, nonce="n", pid=1) == ("NOT_REGISTERED", ())
    assert world.dump() == before
    world.passes(-1)
    assert world.jobs.claim(ref, holder=worker, nonce="n", pid=1)[0] == "CLAIMED"


def test_a_condemned_worker_claims_nothing(world: World) -> None:
    """Once its lease was found run out, only a new registration helps."""
    ref, worker = world.enqueue(), world.register()
    world.passes(world.settings.lease)
    world.cluster.condemn()

    assert world.renew(worker) is None
    assert world.jobs.claim(ref, holder=worker, nonce="n", pid=1) == ("NOT_REGISTERED", ())


def test_an_expired_job_is_not_started(world: World) -> None:
    """From the moment of its expiry on; what the worker then does is a cancel."""
    ref, late, worker = world.enqueue(expires=100), world.enqueue(expires=100), world.register()
    world.passes(99)
    assert world.jobs.claim(ref, holder=worker, nonce="n", pid=1)[0] == "CLAIMED"

    world.passes(1)
    assert world.jobs.claim(late, holder=worker, nonce="n", pid=1) == ("EXPIRED", ())
    assert world.jobs.cancel(late, JobState.PENDING, "expired").verdict == "DONE"


# -- the five ends


@pytest.mark.parametrize(("verb", "state"), ENDS.items())
def test_an_end_is_recorded_and_the_holding_dropped(world: World, verb: str, state: str) -> None:
    """The record is in its new state and index, held by nobody, and keeps no token."""
    held = world.running()
    world.passes(30)

    assert world.end(verb, held).verdict == "DONE"

    found, record = world.dump(), world.record(held.ref)
    assert record["state"] == state
    assert f"held:{held.holder}" not in found.hashes
    assert held.ref.id in found.ordered[f"state:{state}"]
    assert not {"token", "holder", "pid", "progress"} & set(record)


@pytest.mark.parametrize("verb", ENDS)
@pytest.mark.parametrize("token", ["1.other", "2.nonce", "1.", "", "nonce", "1.nonce ", "0.nonce"])
def test_another_token_changes_nothing(world: World, verb: str, token: str) -> None:
    """Number and random part are compared as a whole."""
    held = world.running()
    before = world.dump()

    answer = world.end(verb, held, token=token)

    assert (answer.verdict, answer.detail, answer.recorded) == ("FENCED", "running", False)
    assert world.jobs.progress(held.ref.id, token, "{}").verdict == "FENCED"
    assert world.dump() == before


@pytest.mark.parametrize("verb", ENDS)
@pytest.mark.parametrize("first", ENDS)
def test_an_end_after_another_one_is_fenced(world: World, verb: str, first: str) -> None:
    """A recorded outcome never changes; the same one sent again is as good as done."""
    held = world.running()
    world.end(first, held)
    before = world.dump()

    answer = world.end(verb, held)

    assert answer.verdict == ("REPEATED" if verb == first else "FENCED")
    assert world.dump() == before


@pytest.mark.parametrize("verb", ENDS)
def test_the_holder_before_cannot_end_what_another_holds(world: World, verb: str) -> None:
    """A worker that comes back from the dead finds itself fenced."""
    zombie = world.running(nonce="a")
    world.end("release", zombie)
    world.claim(zombie.ref, world.register(), nonce="b")
    before = world.dump()

    # Its own release, sent again, was recorded; whatever else it says comes too late.
    assert world.end(verb, zombie).verdict == ("REPEATED" if verb == "release" else "FENCED")
    assert world.dump() == before


@pytest.mark.parametrize("verb", ENDS)
def test_an_end_without_a_record_is_fenced(world: World, verb: str) -> None:
    """A record that is gone is not made again."""
    held = world.running()
    world.ask("DEL", world.keys.record(held.ref.id))
    before = world.dump()

    assert world.end(verb, held).detail == "missing"
    assert world.dump() == before
    world.ask("DEL", *world.ask("KEYS", f"{world.keys.tag}*"))


@pytest.mark.parametrize("verb", ENDS)
def test_the_end_of_a_lease_fences_nobody_by_itself(world: World, verb: str) -> None:
    """As long as nobody has taken the job back, its holder's word counts."""
    held = world.running()
    world.passes(world.settings.lease + 1)
    assert world.cluster.condemn()[1] == [held.holder]

    assert world.end(verb, held).verdict == "DONE"


@pytest.mark.parametrize("verb", ["retry", "release", "fail"])
def test_a_job_asked_to_cancel_goes_nowhere_else(world: World, verb: str) -> None:
    """The answer says so, and nothing changes: what is recorded is the cancel."""
    held = world.asked_to_cancel()
    before = world.dump()

    assert world.end(verb, held).verdict == "CANCELLING"
    assert world.dump() == before
    assert world.end("obey", held).verdict == "DONE"
    assert world.record(held.ref)["reason"] == "enough"


def test_a_job_asked_to_cancel_may_still_complete(world: World) -> None:
    """What is done is done."""
    held = world.asked_to_cancel()

    assert world.end("complete", held).verdict == "DONE"
    assert "cancel" not in world.record(held.ref)


def test_a_result_is_stored_as_it_came(world: World) -> None:
    """Bytes in, the same bytes out; it can be read as a record."""
    held = world.running()
    world.jobs.complete(held.ref, holder=held.holder, token=held.token, result=b'{"big":9007199254740993,"l":[]}')
    (job,) = world.records.jobs([held.ref.id])

    assert job is not None
    assert job.result == {"big": 9007199254740993, "l": []}
    assert [attempt.outcome for attempt in job.attempts] == ["completed"]


@pytest.mark.parametrize("verb", ["complete", "fail", "obey"])
def test_the_end_of_a_job_is_announced(world: World, store: RedisStore, verb: str) -> None:
    """Who waits for a result listens on the record's name."""
    held, channel = world.running(), Channel(store)
    channel.listen([world.keys.record(held.ref.id)])
    try:
        world.end(verb, held)
        assert eventually(channel.read, what="the end is announced") == [(world.keys.record(held.ref.id), ENDS[verb])]
    finally:
        channel.close()


def test_a_retry_waits_for_its_time(world: World) -> None:
    """The counter it uses up, the error, and a timer that is due after the delay."""
    held = world.running()
    answer = world.jobs.retry(
        held.ref, holder=held.holder, token=held.token, delay=700, counter="attempts", error=ERROR
    )

    record = world.record(held.ref)
    assert (answer.verdict, answer.detail) == ("DONE", str(START + 700))
    assert (record["attempts"], record["error"], record["due_at"]) == ("1", ERROR, str(START + 700))
    assert world.dump().ordered["timers"] == {held.ref.id: START + 700}


def test_only_an_earlier_due_time_rings_the_leader(world: World, store: RedisStore) -> None:
    """The leader sleeps until the first due time it knows."""
    channel = Channel(store)
    channel.listen([world.keys.timers])
    try:
        for delay in (500, 900, 300):
            world.enqueue(delay=delay)
        world.ask("PUBLISH", world.keys.timers, "end")
        heard: list[str] = []
        eventually(lambda: heard.extend(word for _, word in channel.read()) or "end" in heard)
    finally:
        channel.close()

    assert heard == ["due", "due", "end"]


@pytest.mark.parametrize(("counter", "field"), [("", None), ("crashes", "crashes"), ("lost_workers", "lost_workers")])
def test_a_released_job_is_ready_at_once(world: World, counter: str, field: str | None) -> None:
    """A new wake, a mark, and one more crash or lost worker; a graceful stop counts as nothing."""
    held = world.running()
    answer = world.jobs.release(held.ref, holder=held.holder, token=held.token, counter=counter)

    record, found = world.record(held.ref), world.dump()
    assert (answer.verdict, answer.detail) == ("DONE", "2")
    assert found.ordered["marks"] == {f"{held.ref.id}:2": START + 1_000}
    assert {name for name in ("attempts", "crashes", "lost_workers") if name in record} == ({field} if field else set())
    again = world.jobs.release(held.ref, holder=held.holder, token=held.token, counter=counter)
    assert (again.verdict, again.detail) == ("REPEATED", "2")


def test_a_failed_job_is_a_dead_letter_from_the_same_moment(world: World) -> None:
    """Reason, error and the used-up attempt are in the record, its id among the dead."""
    held = world.running()
    world.passes(9)
    world.end("fail", held)

    record, found = world.record(held.ref), world.dump()
    assert (record["reason"], record["error"], record["attempts"]) == ("why", ERROR, "1")
    assert found.ordered["dead"] == {held.ref.id: START + 9}
    assert found.ordered["expiry"] == {held.ref.id: START + 9 + world.settings.retain_failed}


@pytest.mark.parametrize(("verb", "state"), [("complete", "completed"), ("fail", "failed"), ("obey", "cancelled")])
def test_a_key_lives_as_long_as_its_record_and_at_least_a_day(
    store: RedisStore, namespace: str, verb: str, state: str
) -> None:
    """Whichever is longer."""
    for kept in (60.0, 3 * 86_400.0):
        world = World(store, f"{namespace}-{kept:.0f}", **{f"retain_{state}": kept})
        held = world.running(key="k")
        world.passes(1_000)
        world.end(verb, held)

        until = int(world.ask("PEXPIRETIME", world.jobs.idempotency(held.ref)))

        assert until == max(world.now + int(kept * 1000), START + 86_400_000)
        assert world.problems() == []


# -- history


def test_the_history_tells_each_attempt(world: World) -> None:
    """When, where and how, in order; the running one is added by whoever reads."""
    held = world.running(nonce="0")
    for n in range(1, 4):
        world.passes(10)
        line = json.dumps({"number": n, "outcome": "retrying", "type": "E", "message": f'"{n}" %s %d \\ \n é'})[1:]
        world.jobs.retry(held.ref, holder=held.holder, token=held.token, delay=0, counter="attempts", attempt=line)
        world.jobs.promote([(held.ref, JobState.RETRYING)])
        held = world.claim(held.ref, held.holder, nonce=str(n))
    (job,) = world.records.jobs([held.ref.id])

    assert job is not None
    assert [(one.number, one.outcome) for one in job.attempts] == [
        *((n, "retrying") for n in (1, 2, 3)),
        (4, "running"),
    ]
    assert job.attempts[0].failure is not None
    assert job.attempts[0].failure.message == '"1" %s %d \\ \n é'
    assert {one.worker for one in job.attempts} == {held.holder}


def test_the_history_is_bounded(world: World) -> None:
    """The oldest attempts go first; what is left can be read."""
    held = world.running(nonce="0")
    for n in range(1, 60):
        line = json.dumps({"number": n, "outcome": "snoozed", "type": "", "message": "m" * 1_000})[1:]
        world.jobs.retry(held.ref, holder=held.holder, token=held.token, delay=0, counter="snoozes", attempt=line)
        world.jobs.promote([(held.ref, JobState.RETRYING)])
        held = world.claim(held.ref, held.holder, nonce=str(n))
    (job,) = world.records.jobs([held.ref.id])

    assert len(world.record(held.ref)["history"]) <= 32_768
    assert job is not None
    assert [one.number for one in job.attempts][-3:] == [58, 59, 1]
    assert len(job.attempts) > 20


# -- progress and unhold


def test_progress_is_seen_while_it_lasts(world: World) -> None:
    """The last word counts, and the end takes it away."""
    held = world.running()
    for done in (1, 2):
        assert world.jobs.progress(held.ref.id, held.token, json.dumps({"done": done})).verdict == "DONE"
    (job,) = world.records.jobs([held.ref.id])

    assert job is not None
    assert job.progress == {"done": 2}
    world.end("complete", held)
    assert "progress" not in world.record(held.ref)
    assert world.jobs.progress(held.ref.id, held.token, "{}").detail == "completed"


def test_a_stale_holding_is_dropped(world: World) -> None:
    """A holding under an older token goes; the job's real holder is not touched."""
    held, other = world.running(nonce="a"), world.register()
    world.end("release", held)
    again = world.claim(held.ref, other, nonce="b")
    world.ask("HSET", world.keys.held(held.holder), held.ref.id, f"7 {held.token}")

    assert world.jobs.unhold(held.ref.id, held.holder, f"7 {held.token}").verdict == "DONE"
    assert world.cluster.held(held.holder) == {}
    assert world.cluster.held(other) == {again.ref.id: f"7 {again.token}"}


@pytest.mark.parametrize("suffix", ["", " cancel"])
def test_a_true_holding_stays(world: World, suffix: str) -> None:
    """What is held is not dropped, whether it was asked to cancel or not."""
    held = world.running()
    before = world.dump()

    assert world.jobs.unhold(held.ref.id, held.holder, f"7 {held.token}{suffix}").verdict == "HELD"
    assert world.jobs.unhold(held.ref.id, held.holder, "").verdict == "DONE"
    assert world.dump() == before


def _claims(world: World, ref: JobRef, count: int) -> list[Any]:
    worker = world.register()
    return [world.jobs.claim(ref, holder=worker, nonce=f"n{n}", pid=n)[1] for n in range(count)]


def test_of_many_claims_one_wins(world: World) -> None:
    """A doubled wake-up is answered once."""
    found = _claims(world, world.enqueue(), 5)

    assert [isinstance(one, Claim) for one in found] == [True, False, False, False, False]


def test_a_claim_keeps_its_line_of_history_out_of_other_records(world: World) -> None:
    """Two jobs of one worker end apart."""
    worker = world.register()
    first, second = (world.claim(world.enqueue(), worker, nonce=str(n)) for n in range(2))
    world.end("retry", first)
    before = world.record(second.ref)

    world.end("fail", Held(first.ref, worker, first.claim), token="9.x")  # noqa: S106 - no secret
    assert world.record(second.ref) == before
    assert LINE in world.record(first.ref)["history"]
