"""What befalls a server's machine: its disk is full to the last byte, its clock is set forwards and back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dispatch_celery.store.embedded import EmbeddedServer, find_server

__all__ = ["Clock", "Disk", "server_with_a_clock", "server_with_a_disk"]


class Disk:
    """A small disk, in memory, with a file on it that takes whatever room is left."""

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Leave no byte free."""
        with self._ballast.open("wb", buffering=0) as file:
            for size in (65_536, 1):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue

    def make_room(self) -> None:
        """Give everything back."""
        self._ballast.unlink()


@contextmanager
def server_with_a_disk(folder: Path) -> Iterator[tuple[EmbeddedServer, Disk]]:
    """Yield a durable server on a disk of its own; skip the test where none may be mounted."""
    place = folder / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"no disk may be mounted here, which takes root: {error}")
    try:
        with EmbeddedServer(data_dir=place) as server:
            yield server, Disk(place)
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True, capture_output=True, timeout=10)


class Clock:
    """The wall clock of one server, as far from the true one as the test says; what it measures time with stays."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    def set(self, hours: int) -> None:
        """Let it be so many hours ahead of the true one, or behind it."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{hours * 3_600:+d}\n")
        new.replace(self._file)


@contextmanager
def server_with_a_clock(folder: Path) -> Iterator[tuple[EmbeddedServer, Clock]]:
    """Yield a durable server whose clock can be set; skip the test where libfaketime is not installed."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        pytest.skip("no libfaketime in /usr/lib: apt-get install faketime")
    file, program = folder / "clock", folder / "server"
    clock = Clock(file)
    program.write_text(
        f"#!/bin/sh\nexport LD_PRELOAD='{library}' FAKETIME_TIMESTAMP_FILE='{file}' FAKETIME_NO_CACHE=1"
        f" FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1\nexec '{find_server().path}' \"$@\"\n"
    )
    program.chmod(0o755)
    with EmbeddedServer(binary=program) as server:
        yield server, clock
