"""Taking messages: atomically, in order, within the window, and from whoever sent them."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from time import monotonic

import pytest
from kombu.transport import redis as stock

from dispatch_celery.store.embedded import EmbeddedServer
from dispatch_celery.transport import claims
from dispatch_celery.transport.scripts import load
from tests.integration.transport.rig import STOCK, Desk, desk, envelope, raw
from tests.support.eventually import eventually


def arguments(messages: list[object]) -> list[object]:
    """Return the first argument of each message."""
    return [message.payload[0][0] for message in messages]


def test_a_taken_message_is_recorded_as_kombu_does(ours: Desk) -> None:
    """In ``unacked`` under its tag, as ``[envelope, exchange, routing key]``, with a score."""
    sent = envelope(1, queue="q")
    ours.push("q", json.dumps(sent).encode())
    ours.consume("q")
    ours.drain(1)

    tag = sent["properties"]["delivery_tag"].encode()
    assert {key: json.loads(entry) for key, entry in ours.unacked.items()} == {tag: [sent, "", "q"]}
    assert ours.server.zscore(ours.key("unacked_index"), tag) > 1.7e9
    assert ours.length("q") == 0


def test_kombu_itself_can_put_a_message_of_ours_back(ours: Desk, server_url: str) -> None:
    """A plain worker's sweep restores what one of ours has left behind."""
    sent = envelope(1, queue="q")
    ours.push("q", json.dumps(sent).encode())
    ours.consume("q")
    ours.drain(1)

    with desk(server_url, ours.prefix, transport=STOCK) as plain:
        plain.channel.qos.restore_by_tag(sent["properties"]["delivery_tag"])

    assert ours.length("q") == 1
    assert ours.unacked == {}


def test_an_acknowledged_message_is_gone(ours: Desk) -> None:
    """Neither its record nor its score remains."""
    ours.push("q", raw(1), raw(2))
    ours.consume("q")
    for message in ours.drain(2):
        message.ack()

    assert ours.unacked == {}
    assert not ours.server.exists(ours.key("unacked_index"))


def test_a_requeued_message_comes_again(ours: Desk) -> None:
    """``requeue`` puts it back into its list, marked as redelivered."""
    ours.push("q", raw(1, queue="q"))
    ours.consume("q")
    ours.drain(1)[0].requeue()
    again = ours.drain(2)[1]

    assert again.headers["redelivered"] is True


def test_urgent_steps_come_first(ours: Desk) -> None:
    """Priority steps are emptied in order; within a step, first in is first out."""
    ours.push("q\x06\x169", raw(5), raw(6))
    ours.push("q\x06\x163", raw(3), raw(4))
    ours.push("q", raw(1), raw(2))
    ours.consume("q")

    assert arguments(ours.drain(6)) == [1, 2, 3, 4, 5, 6]


def test_queues_share_a_claim(ours: Desk) -> None:
    """A full queue does not keep another waiting."""
    ours.push("a", *(raw(f"a{number}") for number in range(40)))
    ours.push("b", *(raw(f"b{number}") for number in range(4)))
    ours.consume("a", "b", prefetch=20)
    came = arguments(ours.drain(20))

    assert [name for name in came if str(name).startswith("b")] == ["b0", "b1", "b2", "b3"]


def test_the_priority_strategy_empties_one_queue_before_the_next(server_url: str, namespace: str) -> None:
    """``queue_order_strategy`` is obeyed."""
    with desk(server_url, f"{namespace}:", queue_order_strategy="priority") as ordered:
        ordered.push("a", *(raw(f"a{number}") for number in range(10)))
        ordered.push("b", *(raw(f"b{number}") for number in range(10)))
        ordered.consume("b", "a", prefetch=15)

        assert arguments(ordered.drain(15)) == [f"b{n}" for n in range(10)] + [f"a{n}" for n in range(5)]


def test_the_window_is_never_exceeded(ours: Desk) -> None:
    """No more than the prefetch count is taken out of the list, and the next only when there is room."""
    ours.push("q", *(raw(number) for number in range(10)))
    ours.consume("q", prefetch=4)
    first = ours.drain(4)[0]
    ours.idle(0.3)
    assert (len(ours.unacked), ours.length("q")) == (4, 6)

    first.ack()
    ours.drain(5)
    assert len(ours.unacked) == 4


def test_a_push_by_anyone_wakes_at_once(ours: Desk) -> None:
    """A bare LPUSH by a stranger is noticed in milliseconds, far inside the interval of the probe."""
    ours.consume("q", "r")
    ours.idle(0.3)
    for number in range(5):
        pushed = threading.Timer(0.05, ours.push, ("r" if number % 2 else "q\x06\x166", raw(number)))
        pushed.start()
        started = monotonic()
        ours.drain(number + 1)
        assert monotonic() - started < 1.0
        pushed.join()


def test_waiting_costs_less_than_a_command_a_second(killable_server: EmbeddedServer) -> None:
    """An idle consumer of two queues sends the server next to nothing."""
    with desk(killable_server.url, "") as quiet:
        quiet.consume("q", "r")
        quiet.idle(0.3)
        before = quiet.server.info("commandstats")["cmdstat_evalsha"]["calls"]
        quiet.idle(2.5)

        assert quiet.server.info("commandstats")["cmdstat_evalsha"]["calls"] - before <= 1
        assert "cmdstat_brpop" not in quiet.server.info("commandstats")


def test_no_record_is_made_where_nothing_will_be_acknowledged(ours: Desk) -> None:
    """A ``no_ack`` consumer, such as that of replies, leaves nothing behind."""
    ours.push("q", raw(1))
    ours.consume("q", no_ack=True)
    ours.drain(1)

    assert ours.unacked == {}


def test_two_messages_with_one_tag_are_two(ours: Desk) -> None:
    """A copy pushed by hand has the tag of the first; acknowledging one does not drop the other."""
    twin = raw(1)
    ours.push("q", twin, twin)
    ours.consume("q")
    first, _ = ours.drain(2)
    assert len(ours.unacked) == 2

    first.ack()
    assert len(ours.unacked) == 1


def test_what_kombu_does_not_need_may_be_absent(ours: Desk) -> None:
    """A message without tag and delivery info, made by hand, is delivered and acknowledged."""
    bare = envelope(7)
    bare["properties"] = {"body_encoding": "base64"}
    ours.push("q", json.dumps(bare).encode())
    ours.consume("q")
    message = ours.drain(1)[0]

    assert message.delivery_info == {"exchange": "", "routing_key": "q"}
    message.ack()
    assert ours.unacked == {}


def test_one_message_can_be_got(ours: Desk) -> None:
    """``basic_get`` takes and records in one step, and answers None for an empty queue."""
    ours.push("q", raw(1))
    message = ours.channel.basic_get("q")
    assert len(ours.unacked) == 1

    message.ack()
    assert ours.unacked == {}
    assert ours.channel.basic_get("q") is None


def test_without_emulation_nothing_is_recorded(server_url: str, namespace: str) -> None:
    """``ack_emulation=False`` is kombu's way to say: lose it with the process."""
    with desk(server_url, f"{namespace}:", ack_emulation=False) as careless:
        careless.push("q", raw(1), raw(2))
        careless.consume("q", prefetch=1)
        careless.drain(1)[0].ack()
        careless.drain(2)

        assert careless.unacked == {}


def test_a_forgotten_script_is_taught_again(ours: Desk) -> None:
    """SCRIPT FLUSH, and the next message comes all the same."""
    ours.consume("q")
    ours.idle(0.2)
    ours.server.script_flush()
    ours.push("q", raw(1))

    ours.drain(1)[0].ack()
    assert ours.unacked == {}


def test_a_full_server_means_later(killable_server: EmbeddedServer) -> None:
    """Under ``noeviction`` a full server lets messages be taken, or the consumer waits; it does not fail."""
    with desk(killable_server.url, "") as patient:
        patient.push("q", raw(1))
        patient.server.config_set("maxmemory", 1)
        patient.consume("q")
        taken = patient.drain(1)
        patient.server.config_set("maxmemory", 0)

        taken[0].ack()
        assert patient.unacked == {}


def test_the_client_is_made_once(ours: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands share one client object, also between threads that ask for it at the same time."""
    clients: set[int] = set()
    ours.channel._client = ours.channel._pool = None
    together = threading.Barrier(5)
    made = stock.Channel._create_client

    def slowly(*args: object, **kwargs: object) -> object:
        with suppress(threading.BrokenBarrierError):
            together.wait(0.2)
        return made(*args, **kwargs)

    monkeypatch.setattr(stock.Channel, "_create_client", slowly)

    def look() -> None:
        with ours.channel.conn_or_acquire() as client:
            client.ping()
            clients.add(id(client))

    threads = [threading.Thread(target=look) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(clients) == 1


def test_every_script_opens_with_its_contract() -> None:
    """Purpose, keys, arguments, answer and cost are stated before the code."""
    for name in ("claim", "giveback", "touch", "retire"):
        header = [
            line.split()[1] for line in load(name).text.splitlines() if line.startswith("-- ") and line[3:4] != " "
        ]
        assert header[:7] == ["PURPOSE", "KEYS", "ARGV", "RETURNS", "ERRORS", "TRANSITIONS", "COST"], name


def test_ready_events_reach_a_consumer_added_later(ours: Desk) -> None:
    """A queue consumed from while another one is waited for is looked at, too."""
    ours.consume("q")
    ours.idle(0.2)
    ours.push("r", raw(1))
    ours.consume("r")

    assert arguments(ours.drain(1)) == [1]
    eventually(lambda: ours.length("r") == 0)


def test_who_always_comes_too_late_holds_back_and_still_comes(ours: Desk, server_url: str) -> None:
    """A worker that loses every race asks less often than it is woken, and takes what the quick one cannot."""
    with desk(server_url, ours.prefix) as rival:
        ours.consume("q")
        ours.idle(0.2)
        taking = ours.channel.intake.claims
        for number in range(40):
            ours.push("q", raw(number))
            rival.server.rpop(rival.key("q"))
            ours.idle(0.01)
        assert taking._vain > 3
        assert taking._number < 30

        ours.push("q", raw("at last"))
        assert arguments(ours.drain(1)) == ["at last"]
        assert taking._vain == 0


def test_who_stands_aside_lets_the_one_who_holds_back_take_it(
    ours: Desk, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that could not use what it took leaves the next message to others, also to one that always loses."""
    monkeypatch.setattr(claims, "_ASIDE", 30.0)
    with desk(server_url, ours.prefix) as rival:
        for one in (ours, rival):
            one.consume("q")
            one.idle(0.2)
        rival.channel.intake.claims._vain = 10  # holds back by up to a tenth of a second
        ours.channel.stand_aside()
        ours.push("q", raw("for whom it may concern"))
        ours.idle(0.3)

        assert arguments(rival.drain(1)) == ["for whom it may concern"]


def test_who_stands_aside_alone_takes_it_a_moment_later(ours: Desk) -> None:
    """Nothing waits for more than that moment where nobody else is idle."""
    ours.consume("q")
    ours.idle(0.2)
    ours.channel.stand_aside()
    ours.push("q", raw(1))

    assert arguments(ours.drain(1)) == [1]
