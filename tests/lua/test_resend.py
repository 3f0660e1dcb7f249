"""Every script can be sent twice with one effect, and to a server that has lost its scripts (ARCHITECTURE 1.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dispatch_celery.dlq.pacing import Pace
from dispatch_celery.errors import StoreUnavailable
from dispatch_celery.events.model import Place
from dispatch_celery.events.store import EventStore
from dispatch_celery.ids import DeadLetterId, EventId, JobId, WorkerId
from dispatch_celery.jobs.model import JobRef, JobState
from dispatch_celery.middleware.store import BreakerLimits, MiddlewareStore
from dispatch_celery.queues.model import PerKey
from dispatch_celery.queues.records import dump
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.scripts import Call, all_scripts
from tests.lua.lost_replies import LosesReplies
from tests.lua.resending import Act, Case, named
from tests.lua.world import ENDS, ERROR, START, World


def _enqueue(world: World, **options: Any) -> Act:
    job = world.job(**options)
    return lambda: world.jobs.enqueue([job])[0][0]


def _claim(world: World) -> Act:
    ref, worker = world.enqueue(), world.register()
    return lambda: world.jobs.claim(ref, holder=worker, nonce="n", pid=1)[0]


def _end(verb: str) -> Callable[[World], Act]:
    def prepare(world: World) -> Act:
        held = world.running()
        return lambda: world.end(verb, held).verdict

    return prepare


def _cancel(state: str) -> Callable[[World], Act]:
    def prepare(world: World) -> Act:
        ref = world.at(state, key="k")
        return lambda: world.jobs.cancel(ref, JobState(state), "x").verdict

    return prepare


def _flag(world: World) -> Act:
    held = world.running()
    return lambda: world.jobs.flag(held.ref, held.holder, "x").verdict


def _reopen(world: World) -> Act:
    ref = world.at("failed", key="k")
    return lambda: world.jobs.reopen(ref).verdict


def _delete(world: World) -> Act:
    ref = world.at("completed")
    return lambda: world.jobs.delete(ref, JobState.COMPLETED, force=True).verdict


def _progress(world: World) -> Act:
    held = world.running()
    return lambda: world.jobs.progress(held.ref.id, held.token, "{}").verdict


def _unhold(world: World) -> Act:
    held, other = world.running(), world.register()
    world.ask("HSET", world.keys.held(other), held.ref.id, "1 0.old")
    return lambda: world.jobs.unhold(held.ref.id, other, "1 0.old").verdict


def _due(world: World) -> Act:
    world.at("scheduled")
    return lambda: world.jobs.due(world.keys.timers, 5)[0]


def _promote(world: World) -> Act:
    ref = world.at("scheduled")
    world.passes(10_000)
    return lambda: world.jobs.promote([(ref, JobState.SCHEDULED)])[0].verdict


def _rewake(world: World) -> Act:
    ref = world.enqueue()
    world.passes(5_000)
    return lambda: world.jobs.rewake(ref, str(START)).verdict


def _rearm(world: World) -> Act:
    ref = world.at("scheduled")
    world.ask("ZREM", world.keys.timers, ref.id)
    return lambda: world.jobs.rearm(ref).verdict


def _give_back(world: World) -> Act:
    ref = world.enqueue()
    return lambda: world.jobs.give_back(ref, pause=1_000).verdict


def _abandon(world: World) -> Act:
    ref = world.enqueue(key="k")
    return lambda: world.jobs.abandon(ref, error=ERROR, reason="unknown").verdict


def _tidy(world: World) -> Act:
    ref = world.at("running")
    return lambda: world.jobs.tidy(ref.lane)


def _unexpire(world: World) -> Act:
    ref = world.enqueue()
    world.ask("ZADD", world.keys.expiry, world.now, ref.id)
    return lambda: world.jobs.unexpire(ref.id)


def _bury(world: World) -> Act:
    letter = DeadLetterId.mint()
    return lambda: world.letters.bury(b"raw", queue="q", reason="r", dead_letter_id=letter) == letter


def _unbury(world: World) -> Act:
    letter = world.letters.bury(b"raw", queue="q", reason="r")
    return lambda: world.jobs.unbury(letter)


def _replay(world: World) -> Act:
    dead, new = world.at("failed"), world.job(scope="a/b")
    return lambda: world.letters.replay(dead.id, new).verdict


def _replay_at_a_pace(world: World) -> Act:
    dead, new = world.at("failed"), world.job()
    pace = Pace(line="a", interval=1_000)
    return lambda: world.letters.replay_many([(dead.id, new, "")], pace)[0].verdict


def _groups(world: World) -> Act:
    world.at("failed")
    marks = list(world.dump().ordered["groups"])
    return lambda: world.letters.tallies(marks)[0].count


def _refile(world: World) -> Act:
    ref = world.at("failed")
    world.ask("DEL", world.keys.letters, world.keys.groups)
    return lambda: world.letters.refile(ref.id, name="mail", fingerprint="f")


def _note(world: World) -> Act:
    ref = world.at("failed")
    return lambda: world.letters.note(ref.id, "random", "ada", "words")


def _put_back(world: World) -> Act:
    letter = world.letters.bury(b"raw", queue="q", reason="r")
    return lambda: world.letters.put_back(letter, "asker", "ask")[0]


def _alert(world: World) -> Act:
    world.at("failed")
    return lambda: world.letters.alert(0, told=True)


def _register(world: World) -> Act:
    worker = WorkerId.mint()
    return lambda: world.cluster.register(worker, {"pid": 1}, {"mail": "{}"})


def _renew(world: World) -> Act:
    worker = world.register()
    return lambda: world.renew(worker, volunteer=True).term  # type: ignore[union-attr]  # it is registered


def _depart(world: World, *, holding: bool = False) -> Act:
    worker = world.running().holder if holding else world.leader()[0]
    return lambda: world.cluster.depart(worker)


def _suspect(world: World) -> Act:
    worker, _ = world.leader()
    return lambda: world.cluster.suspect(worker, 1_000)


def _condemn(world: World) -> Act:
    world.register()
    world.passes(60_000)
    return lambda: len(world.cluster.condemn()[1])


def _spare(world: World) -> Act:
    world.register()
    world.passes(60_000)
    return world.cluster.spare


def _forget(world: World) -> Act:
    held = world.running()
    world.cluster.depart(held.holder)
    world.end("complete", held)
    return lambda: world.cluster.forget(held.holder)


def _publish(world: World) -> Act:
    events = EventStore(world.jobs.port, world.keys, world.settings, world.time)
    event = EventId.mint(time_ms=START)
    return lambda: events.publish(event, Place("said", "key"), b'"word"')[0]


def _limited(world: World) -> JobRef:
    world.limit(concurrency=5)
    return world.enqueue()


def _claim_limited(world: World) -> Act:
    ref = world.enqueue()
    world.limit(concurrency=5)
    worker = world.register()
    return lambda: world.jobs.claim(ref, holder=worker, nonce="n", pid=7)[0]


def _promote_limited(world: World) -> Act:
    ref = world.at("scheduled")
    world.limit(concurrency=5)
    world.passes(10_000)
    return lambda: world.jobs.promote([(ref, "scheduled")])[0].verdict


def _cancel_limited(world: World) -> Act:
    ref = _limited(world)
    return lambda: world.jobs.cancel(ref, "limited", "x").verdict


def _permit(world: World) -> Act:
    ref = _limited(world)
    assert world.settle() == [ref.id]
    return lambda: world.limits.permit([(ref, "queue:q", "1", False)])[0].verdict


def _complete_limited(world: World) -> Act:
    _permit(world)()
    (job_id,) = world.dump().ordered["state:pending"]
    (stored,) = world.records.stored([job_id])
    assert stored is not None
    held = world.claim(JobRef(id=JobId(job_id), name="mail", queue="q"), world.register())
    return lambda: world.end("complete", held).verdict


def _replace(world: World) -> Act:
    ref = world.at("scheduled")
    return lambda: world.jobs.replace(ref.id, world.job(delay=7_000)).verdict


def _replace_limited(world: World) -> Act:
    ref = _limited(world)
    return lambda: world.jobs.replace(ref.id, world.job(payload=b'{"to": "b"}')).verdict


def _settle(world: World) -> Act:
    ref = _limited(world)
    words = [("ask", str(ref.id), "1", "")]
    return lambda: world.limits.settle("queue:q", words, batch=10).given  # type: ignore[union-attr]  # it is there


def _rekey(world: World) -> Act:
    world.limit(concurrency=1)
    refs = [world.enqueue(scope="a"), world.enqueue(scope="b")]
    world.settle()
    world.limit(concurrency=1, per_key=PerKey(by="scope"))
    mark = world.ask("HGET", world.keys.limit("queue:q"), "rekey").decode()
    return lambda: world.limits.rekey("queue:q", "scope", mark, "0", [(ref.id, "1", ref.scope) for ref in refs])


def _dissolve(world: World) -> Act:
    world.limit(concurrency=5)
    world.limits.set("queue:q", dump(None))
    return lambda: world.limits.dissolve("queue:q")


LIMITS = BreakerLimits(failures=1, window=60_000, cooldown=60_000, probes=1, hold=60_000)
"""Of a breaker that the first failure opens."""


def shared(world: World) -> MiddlewareStore:
    """Return what middlewares share in a world."""
    return MiddlewareStore(world.jobs.port, world.keys, world.time, lambda _name: None, pause=lambda *_, **__: None)


def _admit(world: World) -> Act:
    shared(world).report("bank", "a", LIMITS, ok=False)
    world.passes(60_000)
    return lambda: shared(world).admit("bank", "b", LIMITS)[0]


def _report(world: World) -> Act:
    return lambda: shared(world).report("bank", "a", LIMITS, ok=False)[0]


def _begin(world: World) -> Act:
    return lambda: shared(world).begin("mail", "k", "job_1", attempt=1, hold=60_000)[0]


def _finish(world: World) -> Act:
    _begin(world)()
    return lambda: shared(world).finish("mail", "k", "job_1", attempt=1, result=b"1", window=60_000)


CASES: list[Case[World]] = [
    Case("jobs/claim", _claim_limited, "LIMITED", "LEFTOVER", "limited"),
    Case("jobs/promote", _promote_limited, "LIMITED", "LEFTOVER", "limited"),
    Case("jobs/cancel", _cancel_limited, "DONE", "STATE", "limited"),
    Case("jobs/complete", _complete_limited, "DONE", "REPEATED", "limited"),
    Case("jobs/permit", _permit, "READY", "REPEATED"),
    Case("jobs/replace", _replace, "DONE", "DONE"),
    Case("jobs/replace", _replace_limited, "DONE", "DONE", "limited"),
    Case("queues/settle", _settle, 1, 0),
    Case("queues/rekey", _rekey, True, False),
    Case("queues/dissolve", _dissolve, True, False),
    Case("middleware/admit", _admit, "PROBE", "PROBE"),
    Case("middleware/report", _report, "OPENED", "OPENED"),
    Case("middleware/begin", _begin, "BEGUN", "BEGUN"),
    Case("middleware/finish", _finish, "KEPT", "KEPT"),
    Case("events/publish", _publish, "STORED", "REPEATED"),
    Case("jobs/enqueue_many", _enqueue, "CREATED", "REPEATED"),
    Case("jobs/enqueue", lambda world: _enqueue(world, key="k", scope="a/b"), "CREATED", "REPEATED", "keyed"),
    Case("jobs/enqueue", lambda world: _enqueue(world, delay=5_000), "CREATED", "REPEATED", "for later"),
    Case("jobs/claim", _claim, "CLAIMED", "CLAIMED"),
    *(Case(f"jobs/{verb}", _end(verb), "DONE", "REPEATED") for verb in ENDS),
    *(Case("jobs/cancel", _cancel(state), "DONE", "STATE", state) for state in ("scheduled", "pending", "retrying")),
    Case("jobs/flag", _flag, "ASKED", "ASKED"),
    Case("jobs/reopen", _reopen, "READY", "STATE"),
    Case("jobs/delete", _delete, "DONE", "STATE"),
    Case("jobs/progress", _progress, "DONE", "DONE"),
    Case("jobs/unhold", _unhold, "DONE", "DONE"),
    Case("jobs/due", _due, 10_000, 10_000),
    Case("jobs/promote", _promote, "READY", "LEFTOVER"),
    Case("jobs/rewake", _rewake, "READY", "LEFTOVER"),
    Case("jobs/rearm", _rearm, "ARMED", "LEFTOVER"),
    Case("jobs/giveback", _give_back, "WAITING", "WAITING"),
    Case("jobs/abandon", _abandon, "DONE", "STATE"),
    Case("jobs/tidy", _tidy, None, None),
    Case("jobs/unexpire", _unexpire, "DONE", "DONE"),
    Case("dlq/bury", _bury, True, True),
    Case("dlq/unbury", _unbury, True, False),
    Case("dlq/replay", _replay, "CREATED", "EXISTING"),
    Case("dlq/replay", _replay_at_a_pace, "CREATED", "EXISTING", "at a pace"),
    Case("dlq/groups", _groups, 1, 1),
    Case("dlq/refile", _refile, True, True),
    Case("dlq/note", _note, "DONE", "REPEATED"),
    Case("dlq/putback", _put_back, "YOURS", "YOURS"),
    Case("dlq/alert", _alert, ("TOLD", 1), ("TOLD", 1)),
    Case("cluster/register", _register, START, START),
    Case("cluster/renew", _renew, "1.n", "1.n"),
    Case("cluster/depart", _depart, True, True),
    Case("cluster/depart", lambda world: _depart(world, holding=True), False, False, "holding"),
    Case("cluster/suspect", _suspect, None, None),
    Case("cluster/condemn", _condemn, 1, 1),
    Case("cluster/spare", _spare, 1, 1),
    Case("cluster/forget", _forget, True, True),
]


def test_every_script_is_among_the_cases() -> None:
    """A new script is sent twice here, too; those of runs in ``test_runs_resend.py``, of cron in ``test_cron.py``."""
    others = {script.name for script in all_scripts() if not script.name.startswith(("runs/", "cron/"))}
    # A limit is set anew each time: its revision says how often.
    assert {case.script for case in CASES} == others - {"queues/limit"}


@pytest.mark.parametrize(
    "case",
    CASES,
    ids=named,
)
def test_a_script_sent_twice_has_one_effect(world: World, case: Case[World]) -> None:
    """The first answer, then the stated second one, and the same state after both."""
    act = case.prepare(world)
    assert act() == case.first
    after = world.dump()

    assert act() == case.second
    assert world.dump() == after


@pytest.mark.parametrize("case", CASES, ids=named)
def test_a_lost_reply_is_asked_for_again(store: RedisStore, namespace: str, case: Case[World]) -> None:
    """Whoever gets no answer sends the same again, and gets the answer of a second time."""
    port = LosesReplies(store)
    world = World(port, namespace)
    act = case.prepare(world)

    port.loses = True
    with pytest.raises(StoreUnavailable, match="the reply was lost"):
        act()

    assert act() == case.second
    assert world.problems() == []


@pytest.mark.parametrize("case", CASES, ids=named)
def test_a_server_that_lost_its_scripts_is_sent_their_text(world: World, case: Case[World]) -> None:
    """After SCRIPT FLUSH the answer is the same as ever."""
    act = case.prepare(world)
    world.ask("SCRIPT", "FLUSH")

    assert act() == case.first
    assert world.problems() == []


def test_a_batch_survives_the_loss_of_scripts(world: World) -> None:
    """Messages that went before their jobs are swept: the marks stay."""
    world.enqueue()
    world.jobs.clear_marks([(job_id, "1") for job_id in world.dump().jobs])
    jobs = [world.job() for _ in range(3)]
    riders = [Call.command("PING"), world.jobs.unmarking([(job.ref.id, "1") for job in jobs])]
    world.ask("SCRIPT", "FLUSH")

    assert [answer[0] for answer in world.jobs.enqueue(jobs, riders)] == ["CREATED"] * 3
    assert world.dump().ordered["marks"].keys() == {f"{job.ref.id}:1" for job in jobs}


def test_a_first_batch_comes_before_its_messages(world: World) -> None:
    """A connection sends each script's text once, so what follows it on a new server finds its work done."""
    jobs = [world.job() for _ in range(3)]
    world.ask("SCRIPT", "FLUSH")

    world.jobs.enqueue(jobs, [world.jobs.unmarking([(job.ref.id, "1") for job in jobs])])

    assert "marks" not in world.dump().ordered
