"""Who competes: each system with its environment, made on demand, and its pools."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent.parent
SYSTEMS = HERE / "systems"
ENVIRONMENTS = HERE / ".envs"

BASE = "celery"
OURS = "ours"
STOCK = "ours-stock"
SILENT = "ours-silent"

_CELERY_POOLS = {"prefork": "prefork -c 2", "solo": "two solo workers"}
_PEER_POOLS = {"processes": "two processes"}


@dataclass(frozen=True, eq=False)
class Contender:
    """One system as it takes part."""

    key: str
    label: str
    module: str
    needs: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    pools: dict[str, str] = field(default_factory=lambda: dict(_CELERY_POOLS))
    durable: bool = False

    @property
    def python(self) -> str:
        """The interpreter it runs in."""
        if not self.needs:
            return sys.executable
        return str(ENVIRONMENTS / self.key / "bin" / "python")

    @property
    def is_celery(self) -> bool:
        """Whether its workers are Celery's."""
        return not self.needs


CONTENDERS = (
    Contender(BASE, "plain Celery, stock transport, ignore_result", "plain_celery"),
    Contender(STOCK, "ours, stock transport", "ours", environment={"DISPATCH_TRANSPORT": "0"}, durable=True),
    Contender(OURS, "ours, our transport", "ours", environment={"DISPATCH_TRANSPORT": "1"}, durable=True),
    Contender(
        SILENT,
        "ours, our transport, counted by its own records",
        "ours",
        environment={"DISPATCH_TRANSPORT": "1", "BENCH_SILENT": "1"},
        durable=True,
    ),
    Contender("dramatiq", "dramatiq", "dramatiq_peer", ("dramatiq[redis]", "hiredis"), pools=dict(_PEER_POOLS)),
    Contender("huey", "huey", "huey_peer", ("huey", "redis", "hiredis"), pools=dict(_PEER_POOLS)),
    Contender(
        "taskiq",
        "taskiq with taskiq-redis",
        "taskiq_peer",
        ("taskiq", "taskiq-redis", "hiredis"),
        pools=dict(_PEER_POOLS),
    ),
)


def prepare(contender: Contender) -> str | None:
    """Make a peer's environment if it is not there; return why it cannot take part, or None."""
    if not contender.needs or _imports(contender):
        return None
    folder = ENVIRONMENTS / contender.key
    print(f"making the environment of {contender.key} ...", flush=True)
    steps = (
        [sys.executable, "-m", "venv", str(folder)],
        [contender.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *contender.needs],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    return None if _imports(contender) else "it is installed and cannot be imported"


def _imports(contender: Contender) -> bool:
    if not Path(contender.python).exists():
        return False
    names = [need.partition("[")[0].replace("-", "_") for need in contender.needs]
    done = subprocess.run([contender.python, "-c", f"import {', '.join(names)}"], capture_output=True, check=False)
    return done.returncode == 0


@cache
def versions(contender: Contender) -> str:
    """Return the versions of what a contender is made of."""
    names = [need.partition("[")[0] for need in contender.needs] or ["celery", "kombu", "redis", "hiredis"]
    code = f"from importlib.metadata import version\nprint(', '.join(f'{{n}} {{version(n)}}' for n in {names!r}))"
    return subprocess.run([contender.python, "-c", code], capture_output=True, text=True, check=False).stdout.strip()
