"""A master that is elsewhere now: behind a Sentinel and on a cluster, an open store follows it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dispatch_celery.config import Settings
from dispatch_celery.errors import StoreUnavailable
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.embedded import EmbeddedServer
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.listener import Listener
from dispatch_celery.store.replies import ask
from dispatch_celery.store.scripts import Call
from tests.lua.world import World
from tests.support.cluster import Cluster, Sentinel, three_masters
from tests.support.eventually import eventually
from tests.support.servers import ask_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Return a cluster of three masters whose slots may be moved."""
    with three_masters() as running:
        yield running


def _open(url: str, namespace: str) -> RedisStore:
    return RedisStore(Settings(namespace=namespace, command_timeout=2), url)


def _answered(store: RedisStore, *words: str) -> Any:
    """Return an answer, or None while there is none."""
    try:
        return ask(store, Call.command(*words))
    except StoreUnavailable:
        return None


def _other(cluster: Cluster, node: EmbeddedServer) -> EmbeddedServer:
    return next(other for other in cluster.nodes if other is not node)


def test_namespaces_live_on_different_masters(cluster: Cluster, namespace: str) -> None:
    """Each has all its keys on one node, every node has some of them, and no store needs to be told."""
    for node in cluster.nodes:
        name = next(name for n in range(1_000) if cluster.owner(name := f"{namespace}-{n}") is node)
        store = _open(cluster.url, name)
        world = World(store, name)
        assert world.end("complete", world.running(key="k", scope="a/b")).verdict == "DONE"
        assert world.problems() == []
        keys = world.ask("KEYS", f"{world.keys.tag}*")
        assert keys
        assert ask_server(node, "EXISTS", *keys) == len(keys)
        store.close()


def test_an_end_is_announced_on_a_cluster(cluster: Cluster, namespace: str) -> None:
    """A listener hears it, though the slot has moved since it subscribed."""
    store = _open(cluster.url, namespace)
    world = World(store, namespace)
    held, listener, rung = world.running(), Listener(store), threading.Semaphore(0)
    with listener.watch(world.keys.record(held.ref.id), rung.release):
        assert rung.acquire(timeout=10)  # the subscription stands
        cluster.move(namespace, _other(cluster, cluster.owner(namespace)))

        assert world.end("complete", held).verdict == "DONE"

        assert rung.acquire(timeout=10)
    listener.close()
    store.close()


def test_a_moved_slot_is_followed_without_a_word(cluster: Cluster, namespace: str) -> None:
    """A job that is under way when its slot moves ends on the new node; nobody sees that it moved."""
    store = _open(cluster.url, namespace)
    world = World(store, namespace)
    held, old = world.running(key="k"), cluster.owner(namespace)
    new = _other(cluster, old)

    cluster.move(namespace, new)

    assert world.end("complete", held).verdict == "DONE"
    assert cluster.owner(namespace) is new
    assert ask_server(new, "EXISTS", world.keys.record(held.ref.id)) == 1
    assert world.problems() == []
    store.close()


def test_idle_connections_to_the_old_node_are_ended(cluster: Cluster, namespace: str) -> None:
    """A move costs one repetition, not one for each connection that is open."""
    store = _open(cluster.url, namespace)
    old, nothing = cluster.owner(namespace), Call.command("BLPOP", f"{Keys(namespace).tag}none", 1)
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(ask, store, nothing) for _ in range(3)]
        eventually(lambda: _connected(old, "blpop") == 3, what="three connections are open")
    assert [each.result() for each in waiting] == [None] * 3

    cluster.move(namespace, _other(cluster, old))

    assert ask(store, Call.command("SET", Keys(namespace).tag, "v")) == b"OK"
    eventually(lambda: _connected(old, "blpop", "set") == 0, what="none is left")
    store.close()


def _connected(node: EmbeddedServer, *verbs: str) -> int:
    """Return how many connections have one of these as their last command."""
    clients = ask_server(node, "CLIENT", "LIST").decode().splitlines()
    return sum(f" cmd={verb} " in client for client in clients for verb in verbs)


@pytest.mark.faults
def test_a_replica_takes_a_dead_masters_place(namespace: str) -> None:
    """The node of the namespace, and of the URL, dies: the same store goes on with the replica that was promoted."""
    with three_masters() as cluster:
        doomed = cluster.owner(namespace)
        seed = doomed.url.replace("redis://", "redis+cluster://")
        store = _open(seed, namespace)
        with cluster.replica(doomed) as heir:
            world = World(store, namespace)
            held = world.running()
            replicated = world.ask("WAIT", 1, 5_000)
            assert replicated == 1

            doomed.kill()

            key = world.keys.record(held.ref.id)
            assert eventually(lambda: _answered(store, "HGET", key, "state"), within=30) == b"running"
            assert world.end("complete", held).verdict == "DONE"
            assert b"role:master" in ask_server(heir, "INFO", "replication")
        store.close()


def test_no_node_that_answers_is_no_answer(namespace: str) -> None:
    """A cluster that is away is told as such, with every node that was asked, and a listener waits for it."""
    with EmbeddedServer(append_only=False) as server:
        port = server.port
    store = _open(f"redis+cluster://127.0.0.1:{port};localhost:{port}", namespace)

    with pytest.raises(StoreUnavailable, match=rf"127\.0\.0\.1:{port} .*localhost:{port}"):
        ask(store, Call.command("PING"))
    listener = Listener(store)
    with listener.watch(Keys(namespace).timers, lambda: None):
        assert listener._thread is not None
        assert listener._thread.is_alive()
    listener.close()
    store.close()


@pytest.mark.faults
def test_a_sentinels_new_master_is_followed(namespace: str, tmp_path: Path) -> None:
    """After a failover the same store writes to the new master, with what the old one had."""
    with (
        EmbeddedServer(append_only=False) as old,
        EmbeddedServer(append_only=False, options=("--replicaof", f"127.0.0.1 {old.port}")) as new,
    ):
        direct = _open(old.url, namespace)
        held = World(direct, namespace).running()
        eventually(lambda: ask(direct, Call.command("WAIT", 1, 100)) == 1, within=20, what="the replica has it")
        direct.close()
        with Sentinel(tmp_path, old.port) as sentinel:
            ask_server(sentinel, "SENTINEL", "SET", "shop", "down-after-milliseconds", 500)
            store = _open(sentinel.state_url, namespace)
            world = World(store, namespace)
            eventually(lambda: _answered(store, "PING"), what="the sentinel knows the server")
            eventually(lambda: _fields(sentinel)[b"num-slaves"] == b"1", within=20, what="and its replica")

            old.kill()

            assert eventually(lambda: _answered(store, "SET", "k", "v"), within=30) == b"OK"
            assert world.end("complete", held).verdict == "DONE"
            assert ask_server(new, "HGET", world.keys.record(held.ref.id), "state") == b"completed"
            store.close()


def _fields(sentinel: Sentinel) -> dict[bytes, bytes]:
    words = ask_server(sentinel, "SENTINEL", "MASTER", "shop")
    return dict(zip(words[::2], words[1::2], strict=True))


def test_a_demoted_master_is_left_at_once(namespace: str, tmp_path: Path) -> None:
    """A write that finds its server demoted goes to the master the Sentinel names by now, in the same call."""
    with (
        EmbeddedServer(append_only=False) as old,
        EmbeddedServer(append_only=False, options=("--shutdown-timeout", "0")) as new,
        Sentinel(tmp_path, old.port) as sentinel,
    ):
        store = _open(sentinel.state_url, namespace)
        eventually(lambda: _answered(store, "SET", "k", "1"), what="the sentinel knows the server")

        ask_server(sentinel, "SENTINEL", "REMOVE", "shop")
        ask_server(sentinel, "SENTINEL", "MONITOR", "shop", "127.0.0.1", new.port, 1)
        eventually(
            lambda: _fields(sentinel)[b"role-reported"] == b"master" and _fields(sentinel)[b"flags"] == b"master",
            what="the sentinel has looked at the new master",
        )
        ask_server(old, "REPLICAOF", "127.0.0.1", new.port)

        assert ask(store, Call.command("SET", "k", "2")) == b"OK"
        assert ask_server(new, "GET", "k") == b"2"
        store.close()
