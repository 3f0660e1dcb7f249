"""The tables of the page: which measures, under which titles, and the words that say how they were taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.contenders import ABSURD, BASE, CANVAS, DBOS, OURS


@dataclass(frozen=True)
class Row:
    """One measure as it is printed."""

    measure: str
    title: str
    form: str
    compared: bool = True
    base: str = BASE
    """Whose figure is one in the last column."""
    words: Mapping[str, str] = field(default_factory=dict)
    """What there is to say of who has no figure here."""


def _flow(measure: str, title: str, form: str, *, compared: bool = True, **words: str) -> Row:
    return Row(measure, title, form, compared, base=DBOS, words=words)


_NO_WAIT = {CANVAS: "it has no events"}
_NO_REST = {CANVAS: "it has no rest that survives its worker"}

WORKFLOW_ROWS = (
    _flow("flow_step_p50", "One extra step of a workflow, p50, ms", "{:.3f}"),
    _flow("flow_step_p99", "One extra step of a workflow, p99, ms", "{:.2f}"),
    _flow("flow_undone_p50", "One extra step with an undo, p50, ms", "{:.3f}"),
    _flow("flow_one_p50", "A queued workflow of one step, to its result, p50, ms", "{:.2f}"),
    _flow("flow_one_p99", "A queued workflow of one step, to its result, p99, ms", "{:.2f}"),
    _flow("flow_start_p50", "A queued workflow of one step, to the first line of the step, p50, ms", "{:.2f}"),
    _flow("flow_start_p99", "A queued workflow of one step, to the first line of the step, p99, ms", "{:.2f}"),
    _flow("flow_enqueue", "Workflows started one by one, a second", "{:,.0f}"),
    _flow("flow_drain", "Drain a backlog of workflows of five steps, steps/s", "{:,.0f}"),
    _flow("flow_fan", "One workflow with 1,000 members, to its result, s", "{:.2f}"),
    _flow("flow_map", "The same with `wf.map`, 50 under way at most, s", "{:.2f}", compared=False),
    _flow("flow_event_p50", "An event to the waiting workflow's result, p50, ms", "{:.2f}", **_NO_WAIT),
    _flow("flow_woken_p50", "An event to the first line of the step after the wait, p50, ms", "{:.2f}", **_NO_WAIT),
    _flow("flow_replay", "Replay of a workflow with 1,000 recorded steps, ms", "{:,.1f}", **_NO_WAIT),
    _flow("flow_memory", "What one sleeping workflow takes in the store, bytes", "{:,.0f}", **_NO_REST),
    _flow(
        "flow_idle",
        "Commands (transactions) that idle workers send, a second in all",
        "{:.2f}",
        compared=False,
        **_NO_REST,
    ),
    _flow("flow_sleepers", "Sleepers due in one instant: all done after, s", "{:.1f}", compared=False, **_NO_REST),
    _flow(
        "flow_takeover",
        "A worker killed that executes a workflow, to the first line of the next attempt elsewhere, s",
        "{:.2f}",
        compared=False,
        **{
            CANVAS: "the chain stops there",
            DBOS: "never elsewhere: its workflows go on when the same executor starts again",
            ABSURD: "when the task's claim of 120 s has run out (not waited for)",
        },
    ),
)

PAGES: Mapping[str, str] = {
    "overview": "the overview",
    "jobs": "jobs",
    "jobs_older": "jobs, the second page",
    "jobs_indexed": "jobs by state and name",
    "jobs_sifted": "jobs by queue, which no index serves",
    "jobs_none": "jobs by an error that none has",
    "job": "a job",
    "runs": "runs",
    "run": "a run",
    "events": "events",
    "letters": "dead letters",
    "letters_sifted": "dead letters by reason, which no index serves",
    "workers": "workers",
}
"""What is asked for, as it is measured (behind ``pages_``) and as it is printed."""

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
    (
        "Dead letters (ours)",
        (
            Row("letters_first", "First page of fifty, ms", "{:.1f}", compared=False),
            Row("letters_name", "The same by name, ms", "{:.1f}", compared=False),
            Row("letters_cause", "The same by fingerprint, ms", "{:.1f}", compared=False),
            Row("letters_sifted", "The same by queue, which no index serves, ms", "{:.1f}", compared=False),
            Row("letters_groups", "First page of fifty groups, ms", "{:.1f}", compared=False),
        ),
    ),
    (
        "Limits, extensions and measures (ours)",
        (
            Row("operated_noop", "Drain a backlog of no-ops, jobs/s", "{:,.0f}", base=OURS),
            Row("operated_cpu", "Processor time of the workers per no-op, µs", "{:,.0f}", base=OURS),
            Row("operated_server", "Processor time of the server per no-op, µs", "{:,.0f}", base=OURS),
            Row("parked_commands", "Commands executed a second by one worker", "{:.2f}", compared=False),
            Row("parked_released", "Jobs let go one by one, in order, jobs/s", "{:,.0f}", compared=False),
        ),
    ),
    (
        "Cron (ours, one worker leads)",
        (
            Row("crons_spread_p50", "Entries due over a minute: lateness p50, ms", "{:.0f}", compared=False),
            Row("crons_spread_p99", "Entries due over a minute: lateness p99, ms", "{:.0f}", compared=False),
            Row("crons_instant_p50", "Entries due in one second: lateness p50, ms", "{:,.0f}", compared=False),
            Row("crons_instant_p99", "Entries due in one second: lateness p99, ms", "{:,.0f}", compared=False),
        ),
    ),
    (
        "Pages in Flower (ours)",
        tuple(
            Row(f"pages_{page}", f"{title[0].upper()}{title[1:]}, ms", "{:.0f}", compared=False)
            for page, title in PAGES.items()
        ),
    ),
    ("Workflows", WORKFLOW_ROWS),
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
- **Limits** that are measured hold nobody up: each job asks for its permit when it is enqueued, and gives it back. The
  drain is that of the same backlog without any, in the same round and pool.
- **Memory** is the difference of `used_memory` with the backlog queued, messages included.
- **Idle**: one worker alone, which leads, and two, one of which does; per worker. Sent is what clients
  send; executed counts what scripts call too. The mean is judged, for what comes seldom counts as well.
- **Recovery** is from `kill -9` of all the worker's processes to the first line of the second attempt elsewhere; every
  second worker killed is the leader. Timers are done when their message is in the queue.
- **Pages** of a real Flower are asked for one after the other by one visitor, over HTTP, to the last byte; no worker
  runs, and the first answer of each, which compiles its template, is left out. The slowest is judged."""

FLOW_METHOD = """Of the **workflows**, in the same way:

- **Durability.** Ours and canvas write to the one server with its append-only file, on disk every second, and in the
  rows that say so at every write, before it answers. DBOS and Absurd write to PostgreSQL with the settings named
  above, in a database that is made anew before each measurement. Canvas stores the message and the result of each
  task, and nothing else.
- **Pools.** Ours and canvas have two slots. DBOS and Absurd run two processes, once as they come, and once with the
  queue looked at as often, and as much taken from it at a time, as served them best here; the ratios are to DBOS with
  those.
- **One extra step** is the time between the starts of two consecutive no-op steps, 49 of each run, one run at a time.
  The steps return the moment they began. A chain's tasks hand the moments on.
- **A queued workflow** is measured from before the call that starts it, one at a time, the workers idle. Ours and
  canvas are told of its end; DBOS and Absurd look for it, at intervals that the pool says or that they come with. So
  there is the time to the first line of its step as well.
- **Drain** is as for jobs: the workers start on a backlog; each step leaves one effect, and all of them are counted.
  Canvas and Absurd get a third of the backlog, DBOS a sixth.
- **Members** are jobs of ours (`wf.gather`), workflows on a queue (DBOS), tasks of a second queue with two workers
  more (Absurd), and the header of a chord (canvas), a no-op with an effect each.
- **An event** is published when the run is known to rest (DBOS has no such state: it is given 50 ms), and measured
  from before that call. **Replay** is what 1,000 recorded steps before the wait add to that, for ours. Of DBOS it is
  what passes from the first line of a forked workflow's function to its first step that is not recorded; of Absurd,
  from before the task is taken to that.
- **Sleepers** have run one step. They are weighed with the workers gone: `used_memory`, or the size of the database,
  indexes and dead rows with it. DBOS gets a tenth of them, for it holds a thread for each; Absurd a quarter. Those that
  are due in one instant are done when the step after the rest has left its effect.
- **Takeover** is as for jobs, the killed worker being within a step; the liveness hint is on."""
