"""What survives a connection: acknowledgements, running messages, unseen messages, unanswered claims."""

from __future__ import annotations

import gc
import json
import os
import socket
from time import monotonic

import pytest
import redis

from dispatch_celery.transport import ledger
from dispatch_celery.transport.scripts import load
from tests.integration.transport.rig import Desk, desk, raw
from tests.support.eventually import eventually


def test_a_message_of_a_lost_connection_can_be_acknowledged(ours: Desk, server_url: str) -> None:
    """The old channel keeps the acknowledgement, and the next one tells it."""
    ours.push("q", raw(1, queue="q"))
    ours.consume("q")
    message = ours.drain(1)[0]
    ours.connection.collect()
    message.ack()
    assert len(ours.unacked) == 1

    with desk(server_url, ours.prefix) as next_one:
        next_one.consume("q")
        next_one.idle(0.3)
        assert ours.unacked == {}


def test_what_is_still_held_is_not_put_back(ours: Desk, server_url: str) -> None:
    """A message someone may be running stays in flight over a reconnect."""
    ours.push("q", raw(1, queue="q"))
    ours.consume("q")
    held = ours.drain(1)[0]
    ours.connection.collect()

    with desk(server_url, ours.prefix) as next_one:
        next_one.consume("q")
        next_one.idle(1.5)
        assert len(ours.unacked) == 1
    held.ack()


def test_what_nobody_holds_is_put_back(ours: Desk, server_url: str) -> None:
    """A message that was prefetched and dropped goes back as soon as nothing refers to it."""
    ours.push("q", raw(1, queue="q"), raw(2, queue="q"))
    ours.consume("q")
    held = ours.drain(2)[0]
    ours.connection.collect()
    ours.got.clear()
    gc.collect()

    with desk(server_url, ours.prefix) as next_one:
        next_one.consume("q")
        again = next_one.drain(1)
        assert [message.payload[0] for message in again] == [[2]]
        again[0].ack()
        held.ack()
        eventually(lambda: next_one.unacked == {} or next_one.idle(0.1))


def test_closing_puts_back_what_is_not_acknowledged(ours: Desk) -> None:
    """In the order it had, behind nothing."""
    ours.push("q", *(raw(number, queue="q") for number in range(6)))
    ours.consume("q", prefetch=3)
    ours.drain(3)[1].ack()
    ours.connection.close()

    waiting = [json.loads(message)["headers"] for message in reversed(ours.server.lrange(ours.key("q"), 0, -1))]
    assert [bool(headers.get("redelivered")) for headers in waiting] == [True, True, False, False, False]
    assert ours.unacked == {}


def test_closing_puts_back_unseen_messages_unchanged(ours: Desk) -> None:
    """What was claimed and not delivered is, byte for byte and in order, where it was."""
    messages = [raw(number, queue="q") for number in range(8)]
    ours.push("q\x06\x163", *messages)
    ours.consume("q")
    seen = len(ours.drain(3))
    for message in ours.got:
        message.ack()
    ours.connection.close()

    assert ours.server.lrange(ours.key("q\x06\x163"), 0, -1) == list(reversed(messages[seen:]))
    assert ours.unacked == {}


def test_a_cut_connection_is_made_anew(ours: Desk) -> None:
    """CLIENT KILL goes unnoticed by the consumer: what it holds it holds, and the next message comes."""
    ours.push("q", raw(1, queue="q"))
    ours.consume("q")
    first = ours.drain(1)[0]
    line = ours.channel.intake.claims.line
    line.socket.shutdown(socket.SHUT_RDWR)
    ours.channel.intake.claims._opened_at = 0.0
    ours.push("q", raw(2, queue="q"))
    second = ours.drain(2)[1]

    assert ours.channel.intake.claims.line is not line
    first.ack()
    second.ack()
    assert ours.unacked == {}


def test_the_messages_of_an_unanswered_claim_come_back(ours: Desk) -> None:
    """A claim was applied and its answer lost: nobody has seen its messages, so they are put back and taken again."""
    ours.consume("q")
    ours.idle(0.3)
    ours.push("q", raw(1, queue="q"), raw(2, queue="q"))
    claims = ours.channel.intake.claims
    claims._send(2, monotonic())
    eventually(lambda: len(ours.unacked) == 2)
    claims.drop()

    for message in ours.drain(2):
        message.ack()
    assert [message.payload[0] for message in ours.got] == [[1], [2]]
    assert ours.unacked == {}


def test_a_claim_of_a_retired_consumer_takes_nothing(ours: Desk) -> None:
    """A copy that was still on its way when its connection was given up cannot take a message nobody would see."""
    ours.consume("q")
    ours.idle(0.3)
    keys, claims = ours.channel.ledger.keys, ours.channel.intake.claims
    record, late = keys.record(claims._consumer), f"{claims._consumer}:99"
    load("retire").call(ours.server, [record])
    ours.push("r", raw(1))

    with pytest.raises(redis.ResponseError, match="FENCED"):
        load("claim").call(ours.server, [keys.unacked, keys.index, record, ours.key("r")], [late, 1, 1, "0", 1, "r"])
    assert ours.length("r") == 1


def test_a_forked_child_starts_with_empty_books() -> None:
    """What the parent holds is the parent's to acknowledge and to touch."""
    keys = ledger.Keys("u", "i")
    mine = ledger.ledger_of(("here",), keys)
    mine.ack("tag")
    child = os.fork()
    if child == 0:
        os._exit(0 if not ledger.ledger_of(("here",), keys).acks else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert ledger.ledger_of(("here",), keys) is mine


@pytest.mark.slow
def test_scores_of_held_messages_are_refreshed(server_url: str, namespace: str) -> None:
    """The sweep of another worker finds nothing to take from one that lives, however long it holds a message."""
    with (
        desk(server_url, f"{namespace}:", visibility_timeout=2) as busy,
        desk(server_url, f"{namespace}:", visibility_timeout=2) as other,
    ):
        busy.push("q", raw(1, queue="q"))
        busy.consume("q")
        busy.drain(1)
        busy.idle(3.5)
        other.channel.qos.restore_visible(interval=1)

        assert busy.length("q") == 0
        assert len(busy.unacked) == 1


def test_what_a_dead_worker_held_is_taken_up(server_url: str, namespace: str) -> None:
    """A message nobody refreshes goes back to its list after the visibility timeout."""
    with desk(server_url, f"{namespace}:", visibility_timeout=1) as living:
        tag = "left-behind"
        living.server.hset(living.key("unacked"), tag, b"[" + raw(1, queue="q") + b', "", "q"]')
        living.server.zadd(living.key("unacked_index"), {tag: 1})
        living.channel.qos.restore_visible(interval=1)

        assert living.length("q") == 1
        assert living.unacked == {}
