"""How fast plain Celery tasks pass through a worker, on kombu's transport and on ours: drain rate and latency.

    python benchmarks/transport_probe.py drain --pool prefork --runs 3
    python benchmarks/transport_probe.py latency --pool prefork

Runs are interleaved, on a server of their own; the median is printed. A task leaves its mark by one INCR or RPUSH on
another database, as in reference/performance-notes.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import redis
from celery import Celery

from dispatch_celery.store.embedded import EmbeddedServer

ROOT = Path(__file__).parent.parent
URL = os.environ.get("PROBE_URL", "redis://127.0.0.1:1/0")
if os.environ.get("PROBE_OURS"):
    from dispatch_celery.transport import install

    install()

app = Celery("probe", broker=URL)
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)
MARKS = redis.Redis.from_url(URL.replace("/0", "/1"))


@app.task(name="nothing")
def nothing() -> None:
    MARKS.incr("done")


@app.task(name="stamp")
def stamp(sent: float) -> None:
    MARKS.rpush("latency", time.time() - sent)


def worker(url: str, pool: str, *, ours: bool) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PROBE_URL": url, "PROBE_OURS": "1" if ours else ""}
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.transport_probe", "worker", "-P", pool, "-c", "2"]
    command += ["-l", "ERROR", "--without-mingle", "--without-gossip", "--without-heartbeat"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=30)


def drain(server: EmbeddedServer, pool: str, count: int, *, ours: bool) -> float:
    marks = redis.Redis(port=server.port, db=1)
    marks.flushall()
    with Celery("producer", broker=server.url) as producer_app, producer_app.connection_for_write() as connection:
        producer = producer_app.amqp.Producer(connection)
        for _ in range(count):
            producer_app.send_task("nothing", producer=producer, ignore_result=True)
    process = worker(server.url, pool, ours=ours)
    while not (first := int(marks.get("done") or 0)):
        time.sleep(0.002)
    started = time.perf_counter()
    while int(marks.get("done") or 0) < count:
        time.sleep(0.005)
    rate = (count - first) / (time.perf_counter() - started)
    stop(process)
    return rate


def latency(server: EmbeddedServer, pool: str, count: int, *, ours: bool) -> float:
    marks = redis.Redis(port=server.port, db=1)
    marks.flushall()
    process = worker(server.url, pool, ours=ours)
    with Celery("producer", broker=server.url) as producer_app, producer_app.connection_for_write() as connection:
        producer = producer_app.amqp.Producer(connection)
        for number in range(count + 1):
            producer_app.send_task("stamp", (time.time(),), producer=producer, ignore_result=True)
            while not number and not marks.llen("latency"):  # the first one waits for the worker to start
                time.sleep(0.01)
            time.sleep(random.uniform(0.01, 0.03))
    while marks.llen("latency") <= count:
        time.sleep(0.01)
    values = [float(value) * 1000 for value in marks.lrange("latency", 1, -1)]
    stop(process)
    return statistics.median(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["drain", "latency"])
    parser.add_argument("--pool", default="prefork")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--count", type=int, default=0)
    options = parser.parse_args()
    measure, count, unit = (drain, 6000, "/s") if options.what == "drain" else (latency, 150, " ms p50")
    seen: dict[bool, list[float]] = {False: [], True: []}
    with EmbeddedServer(append_only=False) as server:
        for _ in range(options.runs):
            for ours in (False, True):
                seen[ours].append(measure(server, options.pool, options.count or count, ours=ours))
    for ours, values in seen.items():
        shown = ", ".join(f"{value:,.2f}" for value in values)
        print(f"{options.pool:8} {'ours' if ours else 'stock':6} {statistics.median(values):,.2f}{unit}   ({shown})")


if __name__ == "__main__":
    main()
