"""Dead letters of RabbitMQ go back into their queues: byte for byte, once, for the release that knows them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import Connection, Queue

from dispatch_celery import DeadLetterId, DeadLetterOrigin, Dispatch, StateConflict, StoreUnavailable
from dispatch_celery.worker.messages import envelope_of
from tests.support.eventually import eventually
from tests.support.proxy import Proxy
from tests.support.rabbitmq import HOST, PORT, publish, require_rabbitmq, waiting
from tests.support.workers import Fleet, fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


class Post:
    """An app whose broker is RabbitMQ, and queues of one test."""

    def __init__(self, state: str, namespace: str, proxy: Proxy) -> None:
        self.broker = require_rabbitmq()
        through = f"amqp://guest:guest@{HOST}:{proxy.port}//"
        self.app = Celery("post", broker=through, set_as_current=False)
        self.app.conf.update(dispatch_namespace=namespace, dispatch_redis_url=state, broker_connection_timeout=1)
        self.dispatch = Dispatch(self.app)
        self.queue, self.other, self.exchange = f"lane-{namespace}", f"other-{namespace}", f"floor-{namespace}"
        with Connection(self.broker) as connection, connection.channel() as channel:
            channel.exchange_declare(self.exchange, "topic", durable=True, auto_delete=False)
            for name in (self.queue, self.other):
                channel.queue_declare(name, durable=True, auto_delete=False)
            channel.queue_bind(self.queue, self.exchange, "of.#")

    @property
    def dlq(self) -> Any:
        """The verbs of dead letters."""
        return self.dispatch.dlq

    def send(self, body: bytes, **options: Any) -> None:
        """Send any message at all."""
        with Connection(self.broker) as connection, connection.Producer() as producer:
            producer.publish(body, **options)

    def take(self) -> Any:
        """Take one message off the queue, as a worker does."""
        with Connection(self.broker) as connection, connection.channel() as channel:
            queue = Queue(self.queue, channel=channel)
            return eventually(lambda: queue.get(no_ack=True), what="a message")

    def look(self, queue: str = "") -> tuple[Any, ...]:
        """Take one message off a queue; return all that its sender said."""
        with Connection(self.broker) as connection, connection.channel() as channel:
            channel.auto_decode = False
            message = eventually(lambda: channel.basic_get(queue or self.queue, no_ack=True), what="a message")
        route = (message.delivery_info["exchange"], message.delivery_info["routing_key"])
        return message.body, message.properties, route

    def close(self) -> None:
        """Delete the queues, and close connections."""
        with Connection(self.broker) as connection, connection.channel() as channel:
            for name in (self.queue, self.other):
                channel.queue_delete(name)
            channel.exchange_delete(self.exchange)
        self.dispatch.close()
        self.app.close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """Return a proxy between the app and RabbitMQ."""
    require_rabbitmq()
    with Proxy((HOST, PORT)) as running:
        yield running


@pytest.fixture
def post(server_url: str, namespace: str, proxy: Proxy) -> Iterator[Post]:
    """Return an app on RabbitMQ, without a worker."""
    made = Post(server_url, namespace, proxy)
    yield made
    proxy.set_mode("pass")
    made.close()


FULL: dict[str, Any] = {
    "content_type": "application/x-own",
    "content_encoding": "binary",
    "headers": {"task": "shop.old", "id": "1", "nested": {"a": [1, None, True, 2.5]}, "word": "Ünïcode"},
    "correlation_id": "corr",
    "reply_to": "back",
    "priority": 3,
    "message_id": "m-1",
    "type": "kind",
    "app_id": "app",
    "expiration": 600,
    "delivery_mode": 1,
    "timestamp": 1_800_000_000,
}
FULL["headers"]["x-death"] = [{"time": datetime(2027, 3, 1, tzinfo=UTC), "count": 2}]


@pytest.mark.parametrize(
    ("body", "options"),
    [
        (b'[[1], {"b": "\xc3\xa9"}, {}]', FULL),
        (b"\x80\x05\xff\x00binary", FULL),
        (b"\xe9t\xe9", {"content_type": "text/plain", "content_encoding": "latin-1"}),
        (b"", {}),
        (b"{nope", {"content_type": "application/json", "content_encoding": "utf-8"}),
    ],
    ids=["text", "binary", "latin", "nothing", "bare"],
)
@pytest.mark.parametrize("way", ["queue", "exchange"])
def test_a_message_goes_back_as_it_came_once(post: Post, way: str, body: bytes, options: dict[str, Any]) -> None:
    """Body byte for byte, headers, properties and route; the second time nothing is sent; forced, it is."""
    route = {"exchange": "", "routing_key": post.queue}
    if way == "exchange":
        route = {"exchange": post.exchange, "routing_key": "of.many.words"}
    post.send(body, **route, **options)
    expected = post.look()
    post.send(body, **route, **options)
    letter = post.dlq.bury(
        envelope_of(post.take()),
        queue=post.queue,
        reason="unknown task",
        name="shop.old",
        origin=DeadLetterOrigin.UNKNOWN_TASK,
    )

    told = post.dlq.put_back(letter)

    assert post.look() == expected
    assert post.dlq.put_back(letter) == told
    assert waiting(post.queue) == 0
    post.dlq.put_back(letter, force=True)
    assert post.look() == expected
    post.dlq.put_back(letter, queue=post.other, force=True)
    assert post.look(post.other)[:2] == expected[:2]
    assert (waiting(post.queue), waiting(post.other)) == (0, 0)


def _letters(post: Post, count: int) -> list[DeadLetterId]:
    route = {"exchange": "", "routing_key": post.queue}
    post.send(b"[]", content_type="application/json", content_encoding="utf-8", **route)
    raw = envelope_of(post.take())
    return [post.dlq.bury(raw, queue=post.queue, reason="r") for _ in range(count)]


@pytest.mark.parametrize("mode", ["refuse", "hole"])
def test_a_broker_that_is_away_leaves_nothing_in_doubt(post: Post, proxy: Proxy, mode: str) -> None:
    """Also where it was there for the message before: the verb ends within its time, and works when it is back."""
    first, second = _letters(post, 2)
    post.dlq.put_back(first)
    proxy.set_mode(mode)
    if mode == "refuse":
        proxy.reset_all()

    with pytest.raises(StoreUnavailable):
        post.dlq.put_back(second)
    proxy.set_mode("pass")
    assert post.dlq.put_back(second).replayed_as
    assert waiting(post.queue) == 2


def test_ten_clients_put_a_message_back_once(post: Post) -> None:
    """Whoever comes while it is under way is told so."""
    (letter,) = _letters(post, 1)

    def put_back(_: int) -> str:
        try:
            return str(post.dlq.put_back(letter).replayed_as)
        except StateConflict as error:
            return str(error)

    with ThreadPoolExecutor(10) as clients:
        answers = set(clients.map(put_back, range(10)))

    assert len({answer for answer in answers if "may have been put back" not in answer}) == 1
    assert waiting(post.queue) == 1


def test_a_compressed_message_goes_back_readable(post: Post) -> None:
    """It was kept as it is read; whoever takes it finds the same."""
    body = b'[["' + b"long " * 500 + b'"], {}, {}]'
    route = {"exchange": "", "routing_key": post.queue}
    post.send(body, content_type="application/json", content_encoding="utf-8", compression="zlib", **route)
    letter = post.dlq.bury(envelope_of(post.take()), queue=post.queue, reason="r")

    post.dlq.put_back(letter)

    assert post.look()[0] == body


def test_a_queue_that_is_gone_is_said_to_be_gone(post: Post) -> None:
    """Nothing is lost in an exchange that drops what nobody takes: the dead letter may be put back later."""
    (letter,) = _letters(post, 1)
    with Connection(post.broker) as connection, connection.channel() as channel:
        channel.queue_delete(post.queue)

    with pytest.raises(StateConflict, match=post.queue):
        post.dlq.put_back(letter)
    with Connection(post.broker) as connection, connection.channel() as channel:
        channel.queue_declare(post.queue, durable=True, auto_delete=False)
    assert post.dlq.put_back(letter).replayed_as
    assert waiting(post.queue) == 1


def test_an_exchange_that_is_gone_is_said_to_be_gone(post: Post) -> None:
    """The queue is there: the message may be put into it without its exchange."""
    post.send(b"[]", exchange=post.exchange, routing_key="of.x", content_type="application/json")
    letter = post.dlq.bury(envelope_of(post.take()), queue=post.queue, reason="r")
    with Connection(post.broker) as connection, connection.channel() as channel:
        channel.exchange_delete(post.exchange)

    with pytest.raises(StateConflict, match=post.exchange):
        post.dlq.put_back(letter)
    assert post.dlq.put_back(letter, queue=post.queue).replayed_as
    assert waiting(post.queue) == 1


@pytest.fixture
def rabbit(namespace: str, server_url: str, tmp_path: Path) -> Iterator[Fleet]:
    """Return a fleet whose broker is RabbitMQ."""
    url = require_rabbitmq()
    with fleet(namespace, url, tmp_path, state=server_url) as made:
        yield made
        with Connection(url) as connection, connection.channel() as channel:
            channel.queue_delete(made.shop.QUEUE)


def test_a_plain_task_of_the_next_release_is_run_after_the_deploy(rabbit: Fleet) -> None:
    """Its message became a dead letter; the new release is put it back, and runs it once with its arguments."""
    shop = rabbit.shop
    old = rabbit.start("w1", "-P", "solo")
    shop.app.send_task("shop.plain_novelty", args=[7], kwargs={"word": "seven"})
    publish(require_rabbitmq(), shop.QUEUE, b"\x80\xffrubbish", task="shop.plain")
    dlq = shop.dispatch.dlq
    eventually(lambda: dlq.count() == 2, within=20, what="both are dead letters")
    assert old.terminate() == 0
    rabbit.start("w2", "-P", "solo", SHOP_NEW_RELEASE="1")

    assert dlq.select(origin="unknown-task").put_back().changed == 1
    eventually(lambda: rabbit.effects("novelty-7-seven"), within=20, what="it ran")
    assert dlq.select(origin="message").put_back().changed == 1
    eventually(lambda: dlq.count() == 3, within=20, what="rubbish is rubbish to the new release, too")
    assert shop.add.enqueue(1).result(timeout=20) == 2
    assert len(rabbit.effects("novelty-7-seven")) == 1
    assert {letter.replayed_as != "" for letter in dlq.list(origin="message")} == {True, False}
    assert waiting(shop.QUEUE) == 0
