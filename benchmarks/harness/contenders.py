"""Who competes: each system with its environment, made on demand, and its pools."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent.parent
SYSTEMS = HERE / "systems"
ENVIRONMENTS = HERE / ".environments"

BASE = "celery"
OURS = "ours"
STOCK = "ours-stock"
HUEY = "huey"

DEFAULTS = "prefork-defaults"
"""Prefork with the prefetch Celery chooses; the others hold sixteen messages a worker."""

_CELERY_POOLS = {"prefork": "prefork -c 2", "solo": "two solo workers"}
_ALL_POOLS = {**_CELERY_POOLS, DEFAULTS: "prefork -c 2, default prefetch"}
_PEER_POOLS = {"processes": "two processes"}

PROFILER = "profiler"


@dataclass(frozen=True, eq=False)
class Contender:
    """One system as it takes part."""

    key: str
    label: str
    module: str
    crash: str
    needs: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    pools: dict[str, str] = field(default_factory=lambda: dict(_CELERY_POOLS))
    flows: tuple[str, ...] = ()
    """The measurements of workflows it takes part in; none, and it is a system of jobs."""
    appendfsync: str = "everysec"
    """How often the server puts on disk what this system writes."""
    postgres: bool = False
    """Whether its state is in PostgreSQL, in a database of its own."""

    @property
    def python(self) -> str:
        """The interpreter it runs in."""
        return interpreter(self.key) if self.needs else sys.executable

    @property
    def is_celery(self) -> bool:
        """Whether its workers are Celery's."""
        return not self.needs

    @property
    def usual(self) -> str:
        """The pool of the measurements that are taken in one pool only."""
        return next(iter(self.pools))


_KEPT = "its jobs run again elsewhere"
_LOST = "the jobs it had taken are lost"

CONTENDERS = (
    Contender(BASE, "plain Celery, stock transport, ignore_result", "plain_celery", _LOST, pools=_ALL_POOLS),
    Contender(STOCK, "ours, stock transport", "ours", _KEPT, environment={"DISPATCH_TRANSPORT": "0"}),
    Contender(OURS, "ours, our transport", "ours", _KEPT, environment={"DISPATCH_TRANSPORT": "1"}, pools=_ALL_POOLS),
    Contender(
        "dramatiq",
        "dramatiq",
        "dramatiq_peer",
        "its messages are delivered again, after a minute",
        ("dramatiq[redis]", "hiredis"),
        pools=_PEER_POOLS,
    ),
    Contender(HUEY, "huey", "huey_peer", _LOST, ("huey", "redis", "hiredis"), pools=_PEER_POOLS),
    Contender(
        "taskiq",
        "taskiq with taskiq-redis' list queue",
        "taskiq_peer",
        _LOST,
        ("taskiq", "taskiq-redis", "hiredis"),
        pools=_PEER_POOLS,
    ),
)

ELSEWHERE, WIDE, SPREAD, KEYED = "ours-elsewhere", "ours-wide", "ours-spread", "ours-keyed"
EXTENDED, INLINE, MEASURED = "ours-extended", "ours-inline", "ours-measured"
NOTHING, PARKED = "nothing there", "jobs that wait for a permit"


def _operated(key: str, label: str, watch: str = "") -> Contender:
    return Contender(key, f"ours, {label}", "ours", _KEPT, environment={"BENCH_WATCH": watch} if watch else {})


OPERATED = (
    _operated(ELSEWHERE, "another queue is limited"),
    _operated(WIDE, "its queue limited to 100 at once"),
    _operated(SPREAD, "its queue limited to a million a second"),
    _operated(KEYED, "its queue limited to 100 at once and 50 of one tenant"),
    _operated(EXTENDED, "an extension told of each job", "extension"),
    _operated(INLINE, "one that touches memory only (patience = None)", "inline"),
    _operated(MEASURED, "OpenTelemetry's instruments installed", "measures"),
)
"""Ours as it is operated, each against ours as it is."""

FLOWS = "flows"
ALWAYS = "flows-always"
CANVAS = "canvas"
DBOS = "dbos"
ABSURD = "absurd"

_EACH = ("steps", "one", "drain")

WORKFLOWS = (
    Contender(
        CANVAS,
        "plain Celery's canvas",
        "canvas_flows",
        "the chain stops: its task under way is lost",
        flows=(*_EACH, "fan"),
    ),
    Contender(
        FLOWS,
        "our workflows",
        "ours_flows",
        "its runs go on elsewhere",
        flows=(*_EACH, "fan", "events", "replay", "sleepers"),
    ),
    Contender(
        ALWAYS,
        "our workflows, fsync at every write",
        "ours_flows",
        "its runs go on elsewhere",
        pools={"prefork": "prefork -c 2"},
        flows=_EACH,
        appendfsync="always",
    ),
    Contender(
        DBOS,
        "DBOS",
        "dbos_flows",
        "its workflows wait until the same executor starts again",
        ("dbos", "psycopg"),
        pools={
            "tuned": "two processes, queue looked at every 50 ms, 8 at once",
            "queue": "two processes, queue and results looked at each second, 32 at once",
            "inline": "run by the process that starts it, without a queue",
            "threads": "two processes, a thread for each",
        },
        flows=(*_EACH, "fan", "events", "replay", "sleepers"),
        postgres=True,
    ),
    Contender(
        ABSURD,
        "Absurd",
        "absurd_flows",
        "its tasks run again when their claim ends, after two minutes",
        ("absurd-sdk", "absurdctl", "psycopg"),
        pools={
            "tuned": "two processes, queue looked at every 20 ms, 32 taken at once",
            "processes": "two processes, queue looked at every 250 ms, one taken at once",
        },
        flows=(*_EACH, "fan", "events", "replay", "sleepers"),
        postgres=True,
    ),
)
EVERYBODY = (*CONTENDERS, *OPERATED, *WORKFLOWS)


def named(key: str) -> Contender:
    """Return a contender by its key."""
    return next(contender for contender in EVERYBODY if contender.key == key)


def interpreter(environment: str) -> str:
    """Return the interpreter of an environment, whether it is there or not."""
    return str(ENVIRONMENTS / environment / "bin" / "python")


def prepare(contender: Contender) -> str | None:
    """Make a peer's environment if it is not there; return why it cannot take part, or None."""
    return install(contender.key, contender.needs) if contender.needs else None


def install(environment: str, needs: tuple[str, ...]) -> str | None:
    """Have packages in an environment of their own; return why that cannot be, or None."""
    python = interpreter(environment)
    if _has(python, needs):
        return None
    print(f"making the environment of {environment} ...", flush=True)
    steps = (
        [sys.executable, "-m", "venv", "--clear", str(ENVIRONMENTS / environment)],
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *needs],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    return None if _has(python, needs) else "it was installed and is not there"


def _has(python: str, needs: tuple[str, ...]) -> bool:
    return Path(python).exists() and bool(_versions(python, needs))


@cache
def versions(contender: Contender) -> str:
    """Return the versions of what a contender is made of; empty where it is not installed."""
    return _versions(contender.python, contender.needs or ("celery", "kombu", "redis", "hiredis"))


def _versions(python: str, needs: tuple[str, ...]) -> str:
    names = [need.partition("[")[0] for need in needs]
    code = f"from importlib.metadata import version\nprint(', '.join(f'{{n}} {{version(n)}}' for n in {names!r}))"
    try:
        return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
