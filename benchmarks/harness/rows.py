"""The tables of the page: which measures, under which titles, and the words that say how they were taken."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One measure as it is printed."""

    measure: str
    title: str
    form: str
    compared: bool = True


SECTIONS = (
    (
        "Throughput and memory",
        (
            Row("enqueue_one", "Enqueue one, jobs/s", "{:,.0f}"),
            Row("enqueue_many", "Enqueue many, jobs/s", "{:,.0f}"),
            Row("drain_noop", "Drain a backlog of no-ops, jobs/s", "{:,.0f}"),
            Row("cpu_noop", "Processor time of the workers per no-op, µs", "{:,.0f}"),
            Row("cpu_server", "Processor time of the server per no-op, µs", "{:,.0f}"),
            Row("drain_nap", "Drain a backlog of 5 ms jobs, jobs/s (400 is what two slots can do)", "{:,.0f}"),
            Row("memory", "Memory per queued small job, bytes", "{:,.0f}"),
        ),
    ),
    (
        "Latency",
        (
            Row("start_p50", "Enqueue to start at low load, p50, ms", "{:.2f}"),
            Row("start_p99", "Enqueue to start at low load, p99, ms", "{:.2f}"),
            Row("trip_p50", "Result round trip, p50, ms", "{:.2f}"),
            Row("trip_p99", "Result round trip, p99, ms", "{:.2f}"),
        ),
    ),
    (
        "Idle",
        (
            Row("idle_sent", "Commands sent, per second and worker", "{:.2f}", compared=False),
            Row("idle_executed", "Commands executed, those inside scripts too", "{:.2f}", compared=False),
        ),
    ),
    (
        "Recovery and timers (ours, our transport)",
        (
            Row("recovery_hint", "Killed worker, s", "{:.2f}", compared=False),
            Row("recovery_lease", "Killed worker, liveness hint off, s", "{:.2f}", compared=False),
            Row("recovery_child", "Killed pool process, s", "{:.2f}", compared=False),
            Row("timers_p50", "Timers due one after the other: lateness p50, ms", "{:.0f}", compared=False),
            Row("timers_p99", "Timers due one after the other: lateness p99, ms", "{:.0f}", compared=False),
            Row("timers_instant", "Timers due in one instant: all done after, s", "{:.2f}", compared=False),
        ),
    ),
)

METHOD = """Each figure is the median of the rounds, with the least and the most in brackets. Every round measures every
system in turn, in an order that rotates, on one server that is emptied before each measurement. A ratio is the median
of the ratios of the same round and pool; systems without Celery's pools are compared with `prefork`.

- **Durability.** One server and one persistence for all. Ours stores each job, its claim and its result; the others
  store a message. Results of the others are off but for the round trip; ours cannot be switched off.
- **A no-op** leaves one effect: an `INCR` on another database of the server, over a bare socket, in every system
  alike. Ours sends a claim script and an outcome script besides.
- **Drain**: the workers start on a full queue; time runs from when both slots have worked a job, and a tenth of the
  backlog is gone, to the last effect.
- **Slots**: two in every system. Celery workers hold sixteen messages ahead, or what is Celery's default where that is
  said; without gossip, mingle and heartbeat, the same for ours. Peers run two processes, dramatiq with four threads
  each (with one each for 5 ms jobs), and everything else as they come.
- **Enqueue many** is `enqueue_many`, a loop of `delay()`, dramatiq's group, huey's `map`, and taskiq's coroutines by
  the hundred.
- **Start** is from before the call that enqueues to the first line of the job, one job at a time, the workers idle.
- **Round trip** is from before that call to having the result, with each system's Redis backend as it comes. huey and
  taskiq look for a result at intervals, which is most of theirs.
- **Memory** is the difference of `used_memory` with the backlog queued, messages included.
- **Idle**: one worker alone, which leads, and two, one of which does; per worker. Sent is what clients
  send; executed counts what scripts call too. The mean is judged, for what comes seldom counts as well.
- **Recovery** is from `kill -9` of all the worker's processes to the first line of the second attempt elsewhere; every
  second worker killed is the leader. Timers are done when their message is in the queue."""
