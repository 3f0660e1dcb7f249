"""A Redis Cluster of three masters on loopback, and a Sentinel beside a server, for one suite."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dispatch_celery.config import Settings
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.embedded import EmbeddedServer, find_server
from dispatch_celery.store.replies import ask, text
from dispatch_celery.store.scripts import Call
from tests.support.eventually import eventually

_SLOTS = 16_384
_NODE = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")


def _free_port() -> int:
    """Return a free port below those the system gives out: the bus of a node is at its port and 10,000."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe, socket.socket() as bus:
            try:
                probe.bind(("127.0.0.1", port))
                bus.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            return port


def _ask(server: EmbeddedServer, *words: str | int) -> object:
    port = RedisStore(Settings(), server.url)
    try:
        return ask(port, Call.command(*words))
    finally:
        port.close()


@contextmanager
def cluster_of_three() -> Iterator[str]:
    """Yield the URL of a cluster of three masters with all slots between them."""
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(EmbeddedServer(port=_free_port(), append_only=False, options=_NODE)) for _ in range(3)
        ]
        for n, node in enumerate(nodes):
            first, last = n * _SLOTS // 3, (n + 1) * _SLOTS // 3 - 1
            _ask(node, "CLUSTER", "ADDSLOTSRANGE", first, last)
            _ask(node, "CLUSTER", "SET-CONFIG-EPOCH", n + 1)
        for node in nodes[1:]:
            _ask(nodes[0], "CLUSTER", "MEET", "127.0.0.1", node.port)

        def whole() -> bool:
            infos = [text(_ask(node, "CLUSTER", "INFO")) for node in nodes]
            return all("cluster_state:ok" in info and "cluster_known_nodes:3" in info for info in infos)

        eventually(whole, within=20, every=0.1, what="the cluster is whole")
        yield nodes[0].url.replace("redis://", "redis+cluster://")


@contextmanager
def sentinel_beside(server: EmbeddedServer, folder: Path) -> Iterator[str]:
    """Yield the URL of a Sentinel that watches a server under the name ``shop``."""
    config = folder / "sentinel.conf"
    config.write_text(f"sentinel monitor shop 127.0.0.1 {server.port} 1\n")
    # A server reads a file given first; the rest of its command line overrides it.
    with _Sentinel(config) as sentinel:
        eventually(
            lambda: str(server.port) in str(_ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "shop")),
            within=10,
            what="the sentinel knows the server",
        )
        yield f"sentinel://127.0.0.1:{sentinel.port}/0?master_name=shop"


class _Sentinel(EmbeddedServer):
    """A Sentinel process."""

    def __init__(self, config: Path) -> None:
        super().__init__(append_only=False, binary=find_server().path)
        self._config = config

    def arguments(self) -> list[str]:
        """Return a Sentinel's few options in place of a server's."""
        return [
            str(self._config),
            "--sentinel",
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self.data_dir),
        ]
