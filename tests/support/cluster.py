"""A Redis Cluster of three masters on loopback, and a Sentinel beside a server, for one suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.crc import key_slot

from dispatch_celery.store.embedded import EmbeddedServer
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import text, words
from tests.support.eventually import eventually
from tests.support.servers import ask_server, free_port

_SLOTS = 16_384
_NODE = (
    *("--cluster-enabled", "yes", "--cluster-node-timeout", "2000"),
    # One master may die without taking the other slots with it.
    *("--cluster-require-full-coverage", "no", "--shutdown-timeout", "0"),
)


@dataclass(frozen=True)
class Cluster:
    """Three masters with all slots between them."""

    nodes: Sequence[EmbeddedServer]

    @property
    def url(self) -> str:
        """The URL, by way of the first node."""
        return self.nodes[0].url.replace("redis://", "redis+cluster://")

    def owner(self, namespace: str) -> EmbeddedServer:
        """Return the node that holds a namespace, as it says itself."""
        return next(node for node in self.nodes if node.running and _serves(node, slot_of(namespace)))

    def move(self, namespace: str, target: EmbeddedServer) -> None:
        """Move the slot of a namespace, with its keys, from its owner to another node."""
        slot, source = slot_of(namespace), self.owner(namespace)
        names = {node.port: text(ask_server(node, "CLUSTER", "MYID")) for node in self.nodes}
        ask_server(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", names[source.port])
        ask_server(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", names[target.port])
        while keys := words(ask_server(source, "CLUSTER", "GETKEYSINSLOT", slot, 100)):
            ask_server(source, "MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "KEYS", *keys)
        for node in (target, source, *self.nodes):
            ask_server(node, "CLUSTER", "SETSLOT", slot, "NODE", names[target.port])

    @contextmanager
    def replica(self, master: EmbeddedServer) -> Iterator[EmbeddedServer]:
        """Yield a node that follows one of the masters, and takes its place when it dies."""
        with _node() as node:
            ask_server(node, "CLUSTER", "MEET", "127.0.0.1", master.port)
            name = text(ask_server(master, "CLUSTER", "MYID"))
            eventually(lambda: name in text(ask_server(node, "CLUSTER", "NODES")), what="it knows its master")
            ask_server(node, "CLUSTER", "REPLICATE", name)
            eventually(
                lambda: "master_link_status:up" in text(ask_server(node, "INFO", "replication")),
                within=20,
                what="it follows its master",
            )
            yield node


def slot_of(namespace: str) -> int:
    """Return the slot a namespace lives in."""
    return key_slot(Keys(namespace).tag.encode())


def _node() -> EmbeddedServer:
    return EmbeddedServer(port=free_port(), append_only=False, options=_NODE)


def _serves(node: EmbeddedServer, slot: int) -> bool:
    """Return whether a node says that a slot is its own."""
    (mine,) = [line for line in text(ask_server(node, "CLUSTER", "NODES")).splitlines() if "myself" in line]
    spans = [span.partition("-") for span in mine.split()[8:] if not span.startswith("[")]
    return any(int(first) <= slot <= int(last or first) for first, _, last in spans)


@contextmanager
def three_masters() -> Iterator[Cluster]:
    """Yield a cluster that every one of its masters finds whole."""
    with ExitStack() as stack:
        nodes = [stack.enter_context(_node()) for _ in range(3)]
        for n, node in enumerate(nodes):
            first, last = n * _SLOTS // 3, (n + 1) * _SLOTS // 3 - 1
            ask_server(node, "CLUSTER", "ADDSLOTSRANGE", first, last)
            ask_server(node, "CLUSTER", "SET-CONFIG-EPOCH", n + 1)
        for node in nodes[1:]:
            ask_server(nodes[0], "CLUSTER", "MEET", "127.0.0.1", node.port)

        def whole() -> bool:
            infos = [text(ask_server(node, "CLUSTER", "INFO")) for node in nodes]
            known = "cluster_known_nodes:3", f"cluster_slots_ok:{_SLOTS}", "cluster_state:ok"
            return all(word in info for info in infos for word in known)

        eventually(whole, within=20, every=0.1, what="the cluster is whole")
        yield Cluster(nodes)


@contextmanager
def cluster_of_three() -> Iterator[str]:
    """Yield the URL of a cluster of three masters."""
    with three_masters() as cluster:
        yield cluster.url


class Sentinel(EmbeddedServer):
    """A Sentinel process that watches a server under the name ``shop``."""

    def __init__(self, folder: Path, watched: int, **options: Any) -> None:
        super().__init__(append_only=False, **options)
        self._config = folder / "sentinel.conf"
        self._config.write_text(f"sentinel monitor shop 127.0.0.1 {watched} 1\n")

    @property
    def state_url(self) -> str:
        """The state's URL by way of this Sentinel."""
        return f"sentinel://127.0.0.1:{self.port}/0?master_name=shop"

    def arguments(self) -> list[str]:
        """Return a Sentinel's few options in place of a server's."""
        # A server reads a file given first; the rest of its command line overrides it.
        own = ("--sentinel", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.data_dir))
        return [str(self._config), *own]

    def knows(self, port: int) -> bool:
        """Return whether the master is the server at this port."""
        return str(port).encode() in ask_server(self, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "shop")


@contextmanager
def sentinel_beside(server: EmbeddedServer, folder: Path) -> Iterator[str]:
    """Yield the URL of a Sentinel that watches a server."""
    with Sentinel(folder, server.port) as sentinel:
        eventually(lambda: sentinel.knows(server.port), what="the sentinel knows the server")
        yield sentinel.state_url
