"""The embedded server: starts anywhere, keeps what it was told, and leaves nothing behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dispatch_celery.errors import ConfigurationError
from dispatch_celery.store.embedded import EmbeddedServer, binary, directory, find_server
from tests.support.eventually import eventually
from tests.support.servers import alive, ask_server, processes_in

_SECRET = "hush-hush"  # noqa: S105 - of a server that lives for one test


def test_many_servers_start_at_once() -> None:
    """Parallel starts never take each other's port."""
    servers = [EmbeddedServer(append_only=False) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(EmbeddedServer.start, servers))
    try:
        assert len({server.port for server in servers}) == 6
        assert all(ask_server(server, "PING") == b"PONG" for server in servers)
    finally:
        for server in servers:
            server.stop()


def test_data_survives_a_kill(killable_server: EmbeddedServer) -> None:
    """What was acknowledged is there after SIGKILL and a restart on the same port."""
    ask_server(killable_server, "SET", "k", "v")
    port = killable_server.port

    killable_server.kill()
    killable_server.restart()

    assert killable_server.port == port
    assert ask_server(killable_server, "GET", "k") == b"v"


def test_never_evicts(server: EmbeddedServer) -> None:
    """The eviction policy is the one that loses nothing."""
    assert ask_server(server, "CONFIG", "GET", "maxmemory-policy") == [b"maxmemory-policy", b"noeviction"]


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


def test_any_password_opens_and_none_is_shown() -> None:
    """A password of odd characters works in the URL, and is neither in the repr nor in the log."""
    odd = "a b@/:'\"%"
    with EmbeddedServer(append_only=False, password=odd) as server:
        assert ask_server(server, "PING") == b"PONG"
        assert odd not in repr(server)
        assert odd not in server.log_tail(1_000)


@pytest.mark.parametrize("die_with_parent", [True, False])
def test_no_command_line_shows_the_password(die_with_parent: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    """Neither the server's nor its watchdog's: any user of the machine could read them."""
    words: dict[str, Any] = {"options": ("--set-proc-title", "no"), "die_with_parent": die_with_parent}
    with EmbeddedServer(append_only=False, password=_SECRET, **words) as server:
        shown = Path(f"/proc/{server.pid}/cmdline").read_text()
        assert str(server.data_dir) in shown
        assert _SECRET not in shown
        assert not any(_SECRET in line for line in processes_in(server.data_dir))


def test_says_which_server_it_found() -> None:
    """A binary that was found knows its version."""
    assert "v=" in find_server().version


def test_two_servers_never_share_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second start on one directory is refused with the directory's name."""
    monkeypatch.setattr(directory, "_LIMIT", 0.1)
    with EmbeddedServer(data_dir=tmp_path), pytest.raises(ConfigurationError, match=str(tmp_path)):
        EmbeddedServer(data_dir=tmp_path).start()


def test_a_missing_server_names_three_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any server the error says how to get one."""
    monkeypatch.setattr(binary, "_bundled", lambda: None)
    monkeypatch.setenv("PATH", "")

    with pytest.raises(ConfigurationError, match=r"dispatch-celery\[dev\](.|\n)*redis-server(.|\n)*dispatch_redis_url"):
        find_server()


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

    assert not alive(pid)
    assert not directory.exists()


def test_pauses_and_resumes(killable_server: EmbeddedServer) -> None:
    """A paused server answers nothing, and goes on when resumed."""
    killable_server.pause()
    try:
        stat = Path(f"/proc/{killable_server.pid}/stat")
        eventually(lambda: stat.read_text().split()[2] == "T", within=5, what="the process has stopped")
    finally:
        killable_server.resume()

    assert ask_server(killable_server, "PING") == b"PONG"


def test_restarts_a_paused_server_at_once(killable_server: EmbeddedServer) -> None:
    """A paused server is woken to end gently: its log tells of an orderly shutdown."""
    killable_server.pause()

    killable_server.restart()

    assert "Received SIGTERM" in killable_server.log_tail(1_000)
