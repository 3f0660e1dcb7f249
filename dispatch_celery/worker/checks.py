"""What is looked at before a worker starts, and by ``doctor``: settings of the server and of Celery that lose jobs.

INFO is read and not CONFIG, which hosted servers refuse. Each finding names the setting and the remedy.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dispatch_celery.config import Settings
from dispatch_celery.cron.census import CronCensus
from dispatch_celery.errors import UnsupportedServer
from dispatch_celery.store.client import Store
from dispatch_celery.store.replies import ask, text
from dispatch_celery.store.scripts import Call

__all__ = ["Finding", "check_celery", "check_cron", "check_server", "refuse_unsafe", "server_version"]

_REDIS: Final = (7, 0)
_VALKEY: Final = (7, 2)
_AMQP: Final = frozenset({"amqp", "amqps", "pyamqp"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One unsafe setting. ``fatal``: workers refuse to start with it."""

    setting: str
    problem: str
    remedy: str
    fatal: bool = False

    def __str__(self) -> str:
        return f"{self.setting}: {self.problem}. {self.remedy}"


def check_server(store: Store, settings: Settings) -> list[Finding]:
    """Return what is unsafe about the state server."""
    info = _info(store)
    found = [*_version(info), *_eviction(info, settings), *_durability(info), *_role(info), *_memory(info)]
    seconds, microseconds = (int(part) for part in ask(store, Call.command("TIME")))
    skew = abs(time.time() - seconds - microseconds / 1e6)
    if skew > 2:
        found.append(
            Finding(
                "clock",
                f"this machine and the state server disagree by {skew:.1f} s",
                "Run NTP on both; leases and timers follow the server, so only shown times are wrong",
            )
        )
    return found


def refuse_unsafe(findings: Sequence[Finding]) -> None:
    """Raise on the first fatal finding.

    Raises:
        UnsupportedServer: the server is too old, or would evict records.
    """
    for finding in findings:
        if finding.fatal:
            raise UnsupportedServer(str(finding))


def _info(store: Store) -> dict[str, str]:
    lines = text(ask(store, Call.command("INFO", "everything"))).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def server_version(info: Mapping[str, str]) -> tuple[str, str, tuple[int, int]]:
    """Return the server's name, its version, and the part that is compared."""
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info.get("redis_version", "0")
    found = re.match(r"(\d+)\.(\d+)", version)
    return name, version, (int(found[1]), int(found[2])) if found else (0, 0)


def _version(info: Mapping[str, str]) -> list[Finding]:
    name, version, number = server_version(info)
    least = _VALKEY if name == "Valkey" else _REDIS
    if number >= least:
        return []
    return [
        Finding(
            "server version",
            f"{name} {version} is older than {least[0]}.{least[1]}",
            "Use Redis >= 7.0 or Valkey >= 7.2",
            fatal=True,
        )
    ]


def _eviction(info: Mapping[str, str], settings: Settings) -> list[Finding]:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return []
    return [
        Finding(
            "maxmemory-policy",
            f"it is {policy}, so the server may delete records of jobs when memory runs short",
            "Set `maxmemory-policy noeviction` (dispatch_allow_eviction=True overrides this, and loses jobs)",
            fatal=not settings.allow_eviction,
        )
    ]


def _durability(info: Mapping[str, str]) -> list[Finding]:
    if info.get("aof_enabled") == "1":
        return []
    return [
        Finding(
            "appendonly",
            "it is off, so every job is lost when the server's process ends",
            "Set `appendonly yes` (with `appendfsync everysec` a killed server loses nothing, a power cut up to 1 s)",
        )
    ]


def _role(info: Mapping[str, str]) -> list[Finding]:
    if info.get("role", "master") == "master":
        return []
    return [Finding("role", "the server is a replica and refuses writes", "Point dispatch_redis_url at the primary")]


def _memory(info: Mapping[str, str]) -> list[Finding]:
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    found = []
    if limit and used > 0.8 * limit:
        found.append(
            Finding(
                "maxmemory",
                f"{used / limit:.0%} of {limit / 1_048_576:,.0f} MiB are used; a full server refuses new jobs",
                "Raise `maxmemory`, or shorten dispatch_retain_completed",
            )
        )
    if int(info.get("evicted_keys", 0)):
        found.append(Finding("evicted_keys", "the server has evicted keys since it started", "Look for lost jobs"))
    return found


def check_celery(conf: Mapping[str, Any]) -> list[Finding]:
    """Return what is unsafe about the app's Celery settings, as far as it touches jobs."""
    found = []
    if conf.get("task_time_limit"):
        found.append(
            Finding(
                "task_time_limit",
                "Celery kills a pool process at this limit, and a job in it counts as crashed",
                "Give jobs a timeout=, and plain tasks a time_limit each",
            )
        )
    if any("pickle" in str(kind) for kind in conf.get("accept_content") or ()):
        found.append(
            Finding(
                "accept_content",
                "workers accept pickle, so whoever can write to the broker can run code in them",
                "Remove pickle from accept_content",
            )
        )
    if str(conf.get("broker_url") or "").partition("://")[0] in _AMQP and not conf.get("task_queue_max_priority"):
        found.append(
            Finding(
                "task_queue_max_priority",
                "RabbitMQ ignores the priority of messages in queues that were declared without one",
                "If jobs have priorities, set it to 9 before their queues are first declared",
            )
        )
    if str(conf.get("worker_pool_start_method") or "fork") == "spawn":
        found.append(
            Finding(
                "worker_pool_start_method",
                "spawned children do not share memory with their worker",
                "Use fork, or another pool: jobs run under prefork with fork, threads, gevent and solo",
                fatal=True,
            )
        )
    return found


def check_cron(census: CronCensus) -> list[Finding]:
    """Return that cron entries wait and nobody fires them."""
    if not census.nobody_fires:
        return []
    return [
        Finding(
            "cron",
            f"entries wait to be fired, and no worker or beat has led cron for {census.unled:,.0f} s",
            "Start a worker with dispatch_cron on (DISPATCH_CRON), or `celery beat -S dispatch`",
        )
    ]
