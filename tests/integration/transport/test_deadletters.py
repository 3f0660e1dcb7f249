"""Messages nobody can read: to the sink, byte for byte, and only then out of `unacked`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dispatch_celery.transport import deadletters
from tests.integration.transport.rig import STOCK, Desk, desk, raw, unreadable
from tests.support.eventually import eventually


class Sink:
    """Keeps letters in memory; refuses them while told to."""

    def __init__(self) -> None:
        self.letters: list[tuple[str, bytes]] = []
        self.refusals = 0
        self.open = True

    def __call__(self, *, queue: str, raw: bytes, reason: str) -> None:
        """Keep a letter."""
        assert reason
        if not self.open:
            self.refusals += 1
            raise ConnectionError("the store is down")
        self.letters.append((queue, raw))


@pytest.fixture
def sink() -> Iterator[Sink]:
    """Return a sink that is in place for the test."""
    made = Sink()
    before = deadletters.current_sink()
    deadletters.set_sink(made)
    yield made
    deadletters.set_sink(before)


@pytest.mark.parametrize("kind", unreadable())
def test_the_bytes_reach_the_sink_and_the_next_message_its_consumer(ours: Desk, sink: Sink, kind: str) -> None:
    """Whatever is wrong with a message, it is kept as it was, and consuming goes on."""
    bad = unreadable()[kind]
    ours.push("q", bad, raw(1))
    ours.consume("q")
    ours.drain(1)[0].ack()

    assert sink.letters == [("q", bad)]
    assert ours.unacked == {}


def test_a_refused_message_stays_until_it_is_kept(ours: Desk, sink: Sink) -> None:
    """While the sink raises, the message is in ``unacked``; it is offered again, and not in a busy loop."""
    sink.open = False
    ours.push("q", b"rubbish", b"more rubbish", raw(1))
    ours.consume("q")
    ours.drain(1)[0].ack()
    assert len(ours.unacked) == 2
    ours.idle(0.5)
    assert sink.refusals == 1

    sink.open = True
    eventually(lambda: len(sink.letters) == 2 or ours.idle(0.2))
    assert {letter for _, letter in sink.letters} == {b"rubbish", b"more rubbish"}
    assert ours.unacked == {}


def test_a_flood_of_refused_messages_does_not_fill_the_memory(ours: Desk, sink: Sink) -> None:
    """Beyond a limit they are left to ``unacked`` alone."""
    sink.open = False
    ours.push("q", *[b"rubbish"] * (deadletters.LIMIT + 20), raw(1))
    ours.consume("q")
    ours.drain(1)[0].ack()

    assert len(ours.unacked) == deadletters.LIMIT + 20
    assert len(ours.channel.intake.parking.letters) == deadletters.LIMIT


def test_a_refused_message_outlives_its_worker(ours: Desk, sink: Sink, server_url: str) -> None:
    """After a crash, or a lost connection, the next channel hands the very bytes to the sink."""
    sink.open = False
    ours.push("q", b"\xff\x00rubbish", raw(1))
    ours.consume("q")
    ours.drain(1)[0].ack()
    ours.connection.collect()

    sink.open = True
    with desk(server_url, ours.prefix) as next_one:
        next_one.consume("q")
        eventually(lambda: sink.letters or next_one.idle(0.2))
    assert [queue for queue, _ in sink.letters] == ["q"]
    assert b"rubbish" in sink.letters[0][1]
    assert ours.unacked == {}


def test_a_plain_worker_can_put_an_unreadable_message_back(ours: Desk, sink: Sink, server_url: str) -> None:
    """Its sweep meets an envelope it can read; one of ours then opens it."""
    sink.open = False
    ours.push("q", b"[not json", raw(1))
    ours.consume("q")
    ours.drain(1)[0].ack()
    (tag,) = ours.unacked
    ours.channel.intake.parking.letters.clear()
    with desk(server_url, ours.prefix, transport=STOCK) as plain:
        plain.channel.qos.restore_by_tag(tag.decode())
    assert ours.unacked == {}

    sink.open = True
    sink_again = eventually(lambda: sink.letters or ours.idle(0.2))
    assert sink_again == [("q", b"[not json")]


def test_an_entry_that_cannot_be_restored_is_buried(ours: Desk, sink: Sink) -> None:
    """Rubbish in ``unacked`` itself neither ends the sweep nor stays for ever."""
    ours.server.hset(ours.key("unacked"), "bad", b'[{"broken, "", "q"]')
    ours.server.zadd(ours.key("unacked_index"), {"bad": 1})
    ours.server.hset(ours.key("unacked"), "good", b"[" + raw(1, queue="q") + b', "", "q"]')
    ours.server.zadd(ours.key("unacked_index"), {"good": 2})
    ours.channel.qos.restore_visible(interval=1)

    assert sink.letters == [("q", b'{"broken')]
    assert (ours.unacked, ours.length("q")) == ({}, 1)


def test_without_a_sink_the_log_is_told(ours: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """The message is dropped, but not in silence."""
    deadletters.set_sink(None)  # an app of another test may have left its own
    ours.push("q", b"rubbish", raw(1))
    ours.consume("q")
    ours.drain(1)

    assert "undecodable message of queue q" in caplog.text
    assert "rubbish" in caplog.text
