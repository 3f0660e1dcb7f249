"""What tests ask of a server beside the product: a plain command, its processes, a user with few rights, TLS."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dispatch_celery.config import Settings
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.embedded import EmbeddedServer
from dispatch_celery.store.replies import ask
from dispatch_celery.store.scripts import Call


def ask_server(server: EmbeddedServer, *words: str | int) -> Any:
    """Send one plain command, past any namespace and cluster."""
    port = RedisStore(Settings(), server.url)
    try:
        return ask(port, Call.command(*words))
    finally:
        port.close()


def user_url(server: EmbeddedServer, *rules: str, database: int = 0) -> str:
    """Make the user ``bob`` with these rules and no others; return the server's URL with his credentials."""
    ask_server(server, "ACL", "SETUSER", "bob", "reset", "on", ">pw", *rules)
    return f"redis://bob:pw@127.0.0.1:{server.port}/{database}"


def alive(pid: int) -> bool:
    """Return whether a process exists and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def processes_in(folder: Path) -> list[str]:
    """Return the command lines of the processes that name a folder or work in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in words or str((process / "cwd").readlink()).startswith(str(folder)):
                found.append(words)
    return found


@dataclass(frozen=True)
class Certificates:
    """An authority, and a certificate of it for 127.0.0.1."""

    authority: Path
    certificate: Path
    key: Path

    @property
    def options(self) -> tuple[str, ...]:
        """What a server is told of them. It asks no certificate of its clients."""
        files = {"tls-cert-file": self.certificate, "tls-key-file": self.key, "tls-ca-cert-file": self.authority}
        words = [word for name, path in files.items() for word in (f"--{name}", str(path))]
        return (*words, "--tls-auth-clients", "no")


def make_certificates(folder: Path) -> Certificates:
    """Make an authority and a certificate with the ``openssl`` program."""
    made = Certificates(folder / "ca.crt", folder / "server.crt", folder / "server.key")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    authority = ("-keyout", f"{folder}/ca.key", "-out", str(made.authority), "-subj", "/CN=authority")
    signed = ("-CA", str(made.authority), "-CAkey", f"{folder}/ca.key", "-addext", "subjectAltName=IP:127.0.0.1")
    for words in (
        (*curve, *authority),
        (*curve, *signed, "-keyout", str(made.key), "-out", str(made.certificate), "-subj", "/CN=server"),
    ):
        subprocess.run(["openssl", "req", "-x509", *words], check=True, capture_output=True)
    return made


@contextmanager
def tls_server(binary: Path, certificates: Certificates, *options: str) -> Iterator[tuple[EmbeddedServer, int]]:
    """Yield a server that listens with TLS too, and the port of that."""
    port = free_port()
    words = ("--tls-port", str(port), *certificates.options, *options)
    with EmbeddedServer(binary=binary, append_only=False, options=words) as server:
        yield server, port


def server_with_tls(certificates: Certificates) -> Path | None:
    """Return a program at hand that was built with TLS. The bundled one is not."""
    for name in ("valkey-server", "redis-server"):
        path = shutil.which(name)
        with suppress(ConfigurationError):
            if path is not None:
                with tls_server(Path(path), certificates):
                    return Path(path)
    return None


def free_port() -> int:
    """Return a free port below those the system gives out: a node of a cluster also takes the one 10,000 above."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe, socket.socket() as bus:
            try:
                probe.bind(("127.0.0.1", port))
                bus.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            return port
