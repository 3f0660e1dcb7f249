"""What is known of a file and of a whole tree. Nothing here knows of jobs: it is the work itself."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

# Caches come and go while Python runs; what is installed is not the library.
LEFT_OUT = {"__pycache__", "site-packages"}
LIBRARY = Path(sysconfig.get_path("stdlib"))


@dataclass(frozen=True)
class FileDigest:
    """What one file holds."""

    path: str
    size: int
    lines: int
    sha256: str


@dataclass(frozen=True)
class TreeDigest:
    """What a whole tree holds; two trees with the same digest are the same."""

    files: int = 0
    size: int = 0
    lines: int = 0
    sha256: str = ""


def files_under(root: Path, limit: int | None = None) -> list[Path]:
    """Return the files of a tree in a stable order; spread over it, if there is a limit."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and not LEFT_OUT & set(path.parts))
    return files if limit is None else files[:: max(1, len(files) // limit)][:limit]


def measure(path: Path) -> FileDigest:
    """Read one file."""
    content = path.read_bytes()
    return FileDigest(str(path), len(content), content.count(b"\n"), sha256(content).hexdigest())


def join(digests: Iterable[FileDigest]) -> TreeDigest:
    """Return the digest of the tree: sums, and a hash over all names and hashes in order."""
    files = size = lines = 0
    whole = sha256()
    for one in digests:
        files, size, lines = files + 1, size + one.size, lines + one.lines
        whole.update(f"{one.sha256}  {one.path}\n".encode())
    return TreeDigest(files, size, lines, whole.hexdigest())
