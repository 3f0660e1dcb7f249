"""A server that loses what it was told last: its files are put back to a copy, as after a power cut."""

from __future__ import annotations

import shutil
from pathlib import Path

from dispatch_celery.store.embedded import EmbeddedServer

_LOG = "appendonlydir"


def copy_of(server: EmbeddedServer, folder: Path) -> Path:
    """Copy the append-only files of a running server; the last command may be cut in the middle."""
    return Path(shutil.copytree(server.data_dir / _LOG, folder / "copy"))


def roll_back(server: EmbeddedServer, copy: Path) -> None:
    """Kill a server, and start it from a copy of its files."""
    server.kill()
    shutil.rmtree(server.data_dir / _LOG)
    shutil.copytree(copy, server.data_dir / _LOG)
    server.restart()
