"""The dead-letter service: replays with edits, bulk work in batches, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dispatch_celery import (
    AlreadyReplayed,
    BulkProgress,
    ConfigurationError,
    DeadLetterNotFound,
    DeadLetterOrigin,
    DispatchError,
    JobId,
    JobNotCancellable,
    JobState,
    PayloadError,
    StateConflict,
)
from dispatch_celery.errors import UnknownJob
from dispatch_celery.signals import job_enqueued
from dispatch_celery.store.client import RedisStore
from dispatch_celery.worker.messages import envelope_of
from tests.support.graveyard import Graveyard


@pytest.fixture
def yard(store: RedisStore, namespace: str, server_url: str) -> Iterator[Graveyard]:
    """Return an app with no worker."""
    made = Graveyard(server_url, store, namespace)
    yield made
    made.close()


# -- one, with edits


def test_a_replay_with_edits_is_a_new_job_linked_both_ways(yard: Graveyard) -> None:
    """Its arguments and its queue are the edited ones; what people see of them, too."""
    dead = yard.dead()
    new = yard.dlq.replay(dead, arguments={"amount": 7, "card": "amex"}, queue="slow").info()

    assert (new.arguments, new.queue, new.state) == ({"amount": 7, "card": "amex"}, "slow", JobState.PENDING)
    assert (new.replay_of, yard.dlq.get(dead).replayed_as) == (dead, new.id)
    assert yard.dispatch.jobs.get(dead).arguments == {"amount": 1}
    (stored,) = yard.world.records.stored([new.id])
    assert stored is not None
    assert "amex" in stored.spec["summary"]
    assert yard.world.problems() == []


def test_a_replay_with_edits_has_their_key(yard: Graveyard) -> None:
    """A limit that tells jobs apart tells it by what it does now."""
    yard.pay.limit_key = lambda arguments: str(arguments["amount"])
    dead = yard.dead()

    edited, same = yard.dlq.replay(dead, arguments={"amount": 7}), yard.dlq.replay(yard.dead())

    for new, key in ((edited, "7"), (same, "1")):
        (stored,) = yard.world.records.stored([new.id])
        assert stored is not None
        assert stored.spec["limit_key"] == key


def test_edits_are_checked_where_the_job_is_declared(yard: Graveyard) -> None:
    """Nothing is replayed by a refusal."""
    dead = yard.dead()
    for wrong in ({"amount": "3"}, {"amount": 1, "colour": "red"}, {}):
        with pytest.raises(PayloadError):
            yard.dlq.replay(dead, arguments=wrong)

    assert yard.dlq.get(dead).replayed_as == ""


def test_a_second_replay_is_the_first_unless_something_else_is_asked_for(yard: Graveyard) -> None:
    """The same edits, or none, return the first one's job; other edits are told which job that is."""
    dead = yard.dead()
    first = yard.dlq.replay(dead, arguments={"amount": 7})

    assert yard.dlq.replay(dead, arguments={"amount": 7}).id == yard.dlq.replay(dead).id == first.id
    for asked in ({"arguments": {"amount": 8}}, {"queue": "slow"}, {"arguments": {"amount": 7}, "queue": "slow"}):
        with pytest.raises(AlreadyReplayed, match="nothing was done") as told:
            yard.dlq.replay(dead, **asked)
        assert told.value.replayed_as == first.id
    assert yard.dispatch.jobs.count(state="pending")[JobState.PENDING] == 1


def test_edits_of_a_job_that_was_retried_meanwhile_are_refused(yard: Graveyard) -> None:
    """It runs again as it was: a plain replay returns it, one with edits is told."""
    dead = yard.dead()
    yard.dispatch.jobs.retry(dead)

    assert yard.dlq.replay(dead).id == dead
    with pytest.raises(AlreadyReplayed, match="retried itself"):
        yard.dlq.replay(dead, arguments={"amount": 8})


def test_a_replay_tells_that_a_job_was_enqueued(yard: Graveyard) -> None:
    """Extensions and signals hear of the new job as of any other."""
    told: list[str] = []

    dead = yard.dead()

    def hear(job: Any, **_: Any) -> None:
        told.append(job.id)

    job_enqueued.connect(hear, weak=False)
    try:
        new = yard.dlq.replay(dead)
    finally:
        job_enqueued.disconnect(hear)
    assert told == [new.id]


def test_a_job_that_nobody_knows_is_not_replayed_unless_forced(yard: Graveyard) -> None:
    """No live worker and not this process: it stays a dead letter, in bulk too, until somebody knows it."""
    handle = yard.dispatch.enqueue("yard.gone", n=1)
    dead = yard.kill(handle.id, "nobody knows it", reason="unknown")
    with pytest.raises(UnknownJob, match=r"yard\.gone.*force=True"):
        yard.dlq.replay(dead)
    done = yard.dlq.select().replay()

    assert (done.changed, list(done.refused)) == (0, [dead])
    assert yard.dlq.get(dead).replayed_as == ""
    yard.world.register(**{"yard.gone": "{}"})
    assert yard.dlq.replay(dead).info().replay_of == dead
    other = yard.kill(yard.dispatch.enqueue("yard.lost").id, "x", reason="unknown")
    assert yard.dlq.replay(other, force=True).state() == JobState.PENDING


# -- many


def test_replays_go_on_past_a_thousand_replayed_entries(yard: Graveyard) -> None:
    """Defect 30 of the forerunner: replayed entries stay, and are passed over however many there are."""
    yard.many_dead(1_050)

    assert len(yard.dlq.replay_all()) == 1_000
    assert len(yard.dlq.replay_all()) == 50
    assert yard.dlq.replay_all() == []
    late = yard.dead()
    assert [handle.info().replay_of for handle in yard.dlq.replay_all()] == [late]
    assert yard.dlq.count(replayed=True) == 1_051


def test_a_bulk_replay_that_was_interrupted_is_finished_by_the_next(yard: Graveyard) -> None:
    """Whole batches are done; the second call does the rest, and nothing twice."""
    yard.many_dead(250)
    seen: list[BulkProgress] = []

    def stop(progress: BulkProgress) -> None:
        seen.append(progress)
        if progress.done == 200:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        yard.dlq.select(name="yard.pay").replay(on_progress=stop)
    rest = yard.dlq.select(name="yard.pay").replay(on_progress=seen.append)

    assert [(one.total, one.done, one.changed) for one in seen] == [(250, 100, 100), (250, 200, 200), (50, 50, 50)]
    assert rest == seen[-1]
    assert yard.dispatch.jobs.count(state="pending")[JobState.PENDING] == 250
    assert yard.world.problems() == []


def test_a_rate_spreads_the_due_times(yard: Graveyard) -> None:
    """The first is ready at once, the others are scheduled; the caller is not held up."""
    yard.many_dead(4)
    handles = yard.dlq.replay_all(rate="10/m")
    jobs = [handle.info() for handle in handles]

    assert [job.state for job in jobs] == [JobState.PENDING, *[JobState.SCHEDULED] * 3]
    due = [job.due_at - jobs[0].created_at for job in jobs if job.due_at]
    assert due == [timedelta(seconds=6), timedelta(seconds=12), timedelta(seconds=18)]
    assert yard.world.problems() == []


def _dues(yard: Graveyard) -> list[float]:
    """Return when each replay is due, in seconds after the first one was."""
    found = yard.world.dump()
    replays = {job_id: job for job_id, job in found.jobs.items() if job["state"] != "failed"}
    timers = found.ordered.get("timers", {})
    dues = sorted(timers.get(job_id, int(job["created_at"])) for job_id, job in replays.items())
    return [(due - dues[0]) / 1000 for due in dues]


def test_a_replay_that_was_interrupted_goes_on_at_its_rate(yard: Graveyard) -> None:
    """Behind the last due time it gave, and not at once again; two that share the work share the rate."""
    yard.many_dead(250)

    def stop(_: BulkProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        yard.dlq.select(name="yard.pay").replay(rate="10/m", on_progress=stop)
    yard.dlq.replay_all(name="yard.pay", rate="10/m", limit=50, died_after=datetime(2001, 1, 1, tzinfo=UTC))
    yard.dlq.select(name="yard.pay").replay(rate=" 10 / m")

    assert _dues(yard) == [6.0 * place for place in range(250)]
    assert yard.world.problems() == []


@pytest.mark.parametrize("other", [{"rate": "20/m"}, {"queue": "slow"}])
def test_another_choice_has_a_rate_of_its_own(yard: Graveyard, other: dict[str, str]) -> None:
    """Another rate, or another queue to go into."""
    yard.many_dead(4)
    chosen = yard.dlq.select(name="yard.pay")
    chosen.replay(rate="10/m", limit=2)
    chosen.replay(**{"rate": "10/m", **other}, limit=2)  # type: ignore[arg-type]  # all of them are words

    assert [round(due) for due in _dues(yard)] == [0, 0, 3 if "rate" in other else 6, 6]


def test_one_replay_may_be_due_later(yard: Graveyard) -> None:
    """A delay is the new job's own: whoever asks again gets that job, whatever the delay."""
    dead = yard.dead()
    new = yard.dlq.replay(dead, delay=60)
    job = new.info()

    assert (job.state, job.due_at - job.created_at) == (JobState.SCHEDULED, timedelta(seconds=60))
    assert yard.dlq.replay(dead, delay=5).id == new.id
    with pytest.raises(ConfigurationError, match="delay"):
        yard.dlq.replay(yard.dead(), delay=-1)
    assert yard.world.problems() == []


@pytest.mark.parametrize("rate", ["fast", "0/s", "10", "-1/s", "10/d", 10])
def test_a_rate_that_is_none_is_refused_before_anything_is_done(yard: Graveyard, rate: Any) -> None:
    """The error shows one that would do."""
    yard.dead()
    with pytest.raises(ConfigurationError, match="10/s"):
        yard.dlq.select().replay(rate=rate)

    assert yard.dlq.count(replayed=True) == 0


def test_what_fits_no_bulk_work_is_refused_before_it_begins(yard: Graveyard) -> None:
    """A queue that can be none, a limit below one."""
    yard.dead()
    chosen = yard.dlq.select()
    for attempt in (
        lambda: chosen.replay(queue="no queue:"),
        lambda: chosen.replay(limit=0),
        lambda: chosen.purge(limit=-1),
        lambda: yard.dlq.replay_all(limit=0),
    ):
        with pytest.raises(ConfigurationError):
            attempt()

    assert (yard.dlq.count(), yard.dlq.count(replayed=True)) == (1, 0)


def test_a_preview_changes_nothing(yard: Graveyard) -> None:
    """It counts, and shows the latest few."""
    dead = yard.many_dead(7)
    before = yard.world.dump()
    found = yard.dlq.select(name="yard.pay").preview(sample=2)

    assert (found.count, len(found.sample)) == (7, 2)
    assert {letter.job_id for letter in found.sample} <= set(dead)
    assert yard.world.dump() == before


def test_a_purge_deletes_what_passes_and_nothing_else(yard: Graveyard) -> None:
    """Jobs with their records and messages alike, in batches; limits hold."""
    yard.many_dead(150)
    kept = yard.dead("another", kind="TypeError")
    raw = yard.dlq.bury(b"{", queue="yard", reason="no JSON")

    assert yard.dlq.select(error_class="ValueError").purge(limit=120).changed == 120
    assert yard.dlq.purge(error_class="ValueError") == 30
    assert {letter.id for letter in yard.dlq.list()} == {yard.dlq.get(kept).id, raw}
    assert yard.dlq.purge(origin="message") == 1
    assert yard.dlq.purge() == 1
    assert yard.dlq.count() == 0
    assert yard.world.problems() == []


def test_an_unknown_filter_is_refused_with_the_nearest(yard: Graveyard) -> None:
    """By every verb that takes filters, before anything is read or changed."""
    for verb in (yard.dlq.list, yard.dlq.count, yard.dlq.groups, yard.dlq.select, yard.dlq.replay_all, yard.dlq.purge):
        with pytest.raises(ConfigurationError, match=r"no filter 'nmae'; did you mean name\?"):
            verb(nmae="x")
    with pytest.raises(ConfigurationError, match="origin must be one of job, unknown-job"):
        yard.dlq.list(origin="mars")
    with pytest.raises(ConfigurationError, match="not both"):
        yard.dlq.purge(JobId.mint(), name="x")


# -- at once


@pytest.mark.parametrize("turn", range(5))
def test_ten_clients_at_one_entry_have_one_effect(yard: Graveyard, turn: int) -> None:
    """A-17: of replays, purges and cancels at once, at most one job comes of it, and one purge deletes."""
    dead = yard.dead()
    verbs = [yard.dlq.replay, yard.dlq.purge, yard.dispatch.jobs.cancel] * 3 + [yard.dlq.replay]
    order = verbs[turn:] + verbs[:turn]

    def act(verb: Any) -> Any:
        try:
            return verb.__name__, verb(dead)
        except (DeadLetterNotFound, JobNotCancellable, DispatchError) as error:
            return verb.__name__, error

    with ThreadPoolExecutor(10) as clients:
        answers = list(clients.map(act, order))

    purged = [answer for name, answer in answers if name == "purge" and answer == 1]
    new = {answer.id for name, answer in answers if name == "replay" and not isinstance(answer, DispatchError)}
    refused = [answer for name, answer in answers if name == "cancel"]
    assert len(purged) == 1
    assert len(new) <= 1
    assert dead not in new
    assert all(isinstance(answer, DispatchError) for answer in refused)
    assert yard.dispatch.jobs.count(state="pending")[JobState.PENDING] == len(new)
    assert yard.dlq.count() == 0
    assert yard.world.problems() == []


# -- messages


def _sent(yard: Graveyard, queue: str) -> list[dict[str, Any]]:
    """Return what is in a queue, without what a broker mints anew."""
    found = [json.loads(raw) for raw in yard.world.ask("LRANGE", queue, 0, -1)]
    for message in found:
        del message["properties"]["delivery_tag"]
    return found


def _received(yard: Graveyard, queue: str) -> Any:
    """Take one message off a queue, as a worker does."""
    with yard.app.connection_for_read() as connection, connection.channel() as channel:
        message = yard.app.amqp.queues[queue](channel).get(no_ack=True)
    assert message is not None
    return message


@pytest.fixture
def lane(yard: Graveyard, namespace: str) -> Iterator[str]:
    """Return a queue of this test's own."""
    name = f"lane-{namespace}"
    yield name
    yard.world.ask("DEL", name, f"_kombu.binding.{name}")


@pytest.mark.parametrize("body", [b'[[1], {"b": "\xc3\xa9"}, {}]', b"\x80\x05\xff\x00binary"])
def test_a_message_goes_back_as_it_came_once(yard: Graveyard, lane: str, body: bytes) -> None:
    """Body byte for byte, headers and properties; the second time nothing is sent; forced, it is."""
    with yard.app.producer_or_acquire() as producer:
        producer.publish(
            body,
            routing_key=lane,
            exchange="",
            content_type="application/x-own",
            content_encoding="binary",
            headers={"task": "shop.old", "id": "1", "nested": {"a": [1, None]}},
            correlation_id="corr",
            priority=3,
        )
    key = next(key.decode() for key in yard.world.ask("KEYS", f"{lane}*"))
    (before,) = _sent(yard, key)
    if key != lane:
        yard.world.ask("RENAME", key, lane)
    raw = envelope_of(_received(yard, lane))
    letter = yard.dlq.bury(
        raw, queue=lane, reason="unknown task", name="shop.old", origin=DeadLetterOrigin.UNKNOWN_TASK
    )

    told = yard.dlq.put_back(letter)

    assert _sent(yard, key) == [before]
    assert told.replayed_as.startswith("20")
    assert yard.dlq.put_back(letter) == told
    assert len(_sent(yard, key)) == 1
    assert yard.dlq.select(kind="message").put_back().done == 0
    yard.dlq.put_back(letter, force=True)
    assert len(_sent(yard, key)) == 2
    yard.world.ask("DEL", key)
    yard.dlq.put_back(letter, queue=lane, force=True)
    assert [message["body"] for message in _sent(yard, key)] == [before["body"]]
    yard.world.ask("DEL", key)


@pytest.mark.parametrize("kind", ["direct", "topic", "fanout"])
def test_a_message_that_came_through_an_exchange_goes_back_into_its_queue(
    yard: Graveyard, lane: str, server_url: str, kind: str
) -> None:
    """An operator's process knows nothing of the exchange, and Redis says nothing of a message that no queue takes."""
    bind = "import sys; from kombu import Connection, Exchange, Queue; url, name, kind = sys.argv[1:]\n"
    bind += "queue = Queue(name, Exchange('x' + name, kind), routing_key='of.new')\n"
    bind += "with Connection(url) as connection: queue(connection.channel()).declare()"
    subprocess.run([sys.executable, "-c", bind, server_url, lane, kind], check=True, timeout=60)
    kept = {
        "headers": {"task": "shop.tax", "id": "1"},
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "properties": {"delivery_mode": 2, "priority": 0},
        "delivery_info": {"exchange": f"x{lane}", "routing_key": "of.new"},
        "body": "[[],{},{}]",
    }
    letter = yard.dlq.bury(
        json.dumps(kept).encode(), queue=lane, reason="unknown", name="shop.tax", origin=DeadLetterOrigin.UNKNOWN_TASK
    )

    yard.dlq.put_back(letter)

    assert yard.world.ask("LLEN", lane) == 1
    yard.world.ask("DEL", f"_kombu.binding.x{lane}")


def test_bytes_that_nobody_could_read_go_back_as_they_are(yard: Graveyard, lane: str) -> None:
    """A broker's own bytes, not JSON even, are pushed into the list they came from."""
    letter = yard.dlq.bury(b"\x00rubbish", queue=lane, reason="not JSON")
    done = yard.dlq.select(origin="message").put_back()

    assert done.changed == 1
    assert yard.world.ask("LRANGE", lane, 0, -1) == [b"\x00rubbish"]
    assert yard.dlq.get(letter).replayed_as


def test_a_message_that_was_kept_in_part_is_not_put_back(yard: Graveyard, lane: str) -> None:
    """Cut, or with headers that are no JSON: the refusal says so, and nothing is in doubt afterwards."""
    cut = yard.dlq.bury((b'{"headers": ' + b"x" * 2_000_000)[:1_048_576], queue=lane, reason="large")
    words = json.dumps({"headers": {}, "content_type": "", "properties": {}, "delivery_info": {}, "body": ""})
    rough = yard.dlq.bury(words.replace("{", '{"approximate": true, ', 1).encode(), queue=lane, reason="rough")

    for letter, why in ((cut, "in part"), (rough, "in words only")):
        for _ in range(2):
            with pytest.raises(StateConflict, match=why):
                yard.dlq.put_back(letter)
    assert yard.dlq.select(kind="message").put_back().refused.keys() == {cut, rough}
    assert yard.world.ask("EXISTS", lane) == 0


def test_a_message_whose_sender_died_half_way_is_not_sent_twice(yard: Graveyard, lane: str) -> None:
    """Nobody knows whether it is in its queue: the next one is told since when, and may force it."""
    letter = yard.dlq.bury(b"x", queue=lane, reason="r")
    assert yard.world.letters.put_back(letter, "died", "ask")[0] == "YOURS"

    with pytest.raises(StateConflict, match=r"may have been put back.*force=True"):
        yard.dlq.put_back(letter)
    assert yard.dlq.put_back(letter, force=True).replayed_as
    assert yard.world.letters.put_back(letter, "died", "done")[0] == "DONE"
    assert yard.world.ask("LLEN", lane) == 1


def test_jobs_are_replayed_and_messages_are_put_back(yard: Graveyard) -> None:
    """Each verb names the other."""
    dead, raw = yard.dead(), yard.dlq.bury(b"x", queue="q", reason="r")

    with pytest.raises(StateConflict, match="replay it"):
        yard.dlq.put_back(yard.dlq.get(dead).id)
    with pytest.raises(StateConflict, match=r"dlq\.put_back"):
        yard.dlq.replay(raw)


# -- notes


def test_a_note_is_read_with_its_dead_letter(yard: Graveyard) -> None:
    """Who, when, what; texts are found in it; a bad one is refused."""
    dead = yard.dead()
    noted = yard.dlq.note(dead, "  asked the bank\n", by="ada")

    assert [(note.by, note.text) for note in noted.notes] == [("ada", "asked the bank")]
    assert yard.dlq.note(dead, "again").notes[-1].by != ""
    assert [letter.job_id for letter in yard.dlq.list(text="THE BANK")] == [dead]
    assert list(yard.dlq.list(text="the moon")) == []
    for wrong in ("", "  ", "x" * 2_001):
        with pytest.raises(ConfigurationError, match="2,000 characters"):
            yard.dlq.note(dead, wrong)
    with pytest.raises(DeadLetterNotFound):
        yard.dlq.note(JobId.mint(), "x")
