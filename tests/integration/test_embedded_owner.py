"""Who owns an embedded server: it lives as long as the process that started it, whatever happens to that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dispatch_celery.store.embedded import EmbeddedServer
from tests.support.eventually import eventually
from tests.support.servers import alive, ask_server, processes_in


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
    assert alive(pid)

    owner.kill()
    owner.wait()

    eventually(lambda: not alive(pid), within=5, what="the server is gone")
    owner.stdout.close()
    assert owner.stdin is not None
    owner.stdin.close()


@pytest.mark.parametrize("moment", [1, 2])
def test_dies_with_an_owner_that_is_killed_while_it_starts_it(moment: int, tmp_path: Path) -> None:
    """After each process that a start makes, its owner may be killed: no process and no file is left."""
    program = (
        "import os, signal, subprocess, sys\n"
        "from dispatch_celery.store.embedded import EmbeddedServer\n"
        "made, start = [], subprocess.Popen.__init__\n"
        "def dying(self, *words, **options):\n"
        "    start(self, *words, **options)\n"
        "    made.append(self)\n"
        "    if len(made) == int(sys.argv[1]):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "subprocess.Popen.__init__ = dying\n"
        "EmbeddedServer().start()\n"
    )
    owner = subprocess.run(
        [sys.executable, "-c", program, str(moment)], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False
    )

    assert owner.returncode == -signal.SIGKILL
    eventually(lambda: not list(tmp_path.iterdir()), within=10, what="the directory is gone")
    eventually(lambda: not processes_in(tmp_path), within=10, what="every process is gone")


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
        assert alive(pid)

        owner.kill()

        eventually(lambda: not alive(pid), within=5, what="the server is gone")


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
            assert not alive(pid)
            assert ask_server(heir, "PING") == b"PONG"


def test_outlives_its_owner_when_told(tmp_path: Path) -> None:
    """Without the watchdog a server stays after its owner's end."""
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from dispatch_celery.store.embedded import EmbeddedServer\n"
        "server = EmbeddedServer(data_dir=Path(sys.argv[1]), append_only=False, die_with_parent=False).start()\n"
        "assert not server._process.watched\n"
        "print(server.pid, flush=True)\n"
        "import os; os._exit(0)\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path)]
    pid = int(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)
    try:
        assert alive(pid)
    finally:
        os.kill(pid, 9)
