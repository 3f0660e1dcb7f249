"""Every key of the state, spelled once. All of them carry the hash tag of their partition.

======================================  =========  ==============================================================
key, after ``{<namespace>:0}:``         type       holds
======================================  =========  ==============================================================
``job:<id>``                            hash       the record of one job; also the channel its end is announced on
``run:<id>``                            hash       the same of a run
``run:<id>:promises``                   hash       its journal: identity to how that promise stands
``run:<id>:aside``                      hash       the journal of its generation before
``run:<id>:consumed``                   zset       events that earlier generations consumed, by when
``run:<id>:waits``                      set        the promises it waits for: the next one resolved wakes it
``run:<id>:due``                        zset       what of it has a due time: promises, its start, its deadline
``run:<id>:undos``                      hash       how its effects are undone: identity to how that undo stands
``run:<id>:open``                       zset       the undos not done yet, in the order of their effects
``state:<state>``                       zset       ids of the jobs in a state, by ``created_at``
``name:<state>:<name>``                 zset       the same, of one job name
``scope:<app>/<org>``                   zset       the ids of one tenant, in any state
``run-state:...`` and so on             zset       the same three, of runs
``lane:<queue>:<priority>``             zset       ready ids of a queue and priority, by last publication
``lanes``                               set        the lanes that may hold ids
``marks``                               zset       the outbox: ready ids not known to be published, by when to sweep
``timers``                              zset       ids with a due time; also the channel that wakes the leader
``expiry``                              zset       ended jobs, by when their record is deleted
``dead``                                zset       dead letters, by time of death: job ids, and ``dlq_`` raw messages
``letters``                             zset       dead letters by fingerprint and by name, without scores
``groups``                              zset       fingerprints, by the latest death of each
``alarm``                               string     there is one while the dead letters are known to be too many
``pace:<digest>``                       string     a choice that is replayed at a rate: when the next of it is due
``raw:<id>``                            hash       a message that never became a job
``key:<digest>``                        string     an idempotency key: job id and payload digest
``unknown``                             zset       dead letters that only lack a worker, by time of death
``known``                               zset       job names, by when a live worker last knew them
``catalogue``                           hash       job name to what by-name callers need of it
``workers``                             zset       incarnations, by end of lease
``condemned``                           zset       incarnations whose lease ran out; what they held is being recovered
``worker:<incarnation>``                hash       who a worker is; also the channel it listens on
``held:<incarnation>``                  hash       job id to ``<pid> <token>``: what a worker holds
``leader``                              hash       the leader's incarnation, term and lease
``topic:<digest>``                      zset       the events of a topic, by place; their records are ``evt:<id>``
``events``                              zset       every event that can be found, by time
``fanout``                              zset       ``<topic> <event>`` whose waiters are to be told, by when
``limits``                              hash       limits in force, ``queue:`` or ``job:<name>``: ``on`` or ``paused``,
                                                   with ``keyed`` where arguments tell jobs apart
``permits``                             zset       word for limits: requests and returns, by when; also rings the leader
``limits:names``                        zset       every limit, by when it was set
``limit:<limit>``                       hash       what a limit allows, its tokens, its place in turn
``limits:declared``                     hash       limit to how an app last declared it
``limit:<limit>:weights``               hash       keys that have more or fewer turns than one
``limit:<limit>:waiting``               zset       requests, in the order of keys and arrival
``limit:<limit>:turns``                 zset       keys that wait and may have a permit, by virtual time
``limit:<limit>:resting``               zset       keys whose own rate makes them wait, by when it does not
``limit:<limit>:holders``               zset       who has a permit, in the order of keys
``limit:<limit>:known``                 hash       job id to its request or permit: each is in one of the two, once
``limit:<limit>:buckets``               hash       tokens of keys that have a rate of their own
``grants``                              zset       permits to be handed to their jobs, by when they were granted
``cron:<id>``                           hash       one cron entry
``cron:<id>:fires``                     list       its last fires, the newest first, capped
``crons``                               zset       every cron entry, by ``created_at``
``cron-slots``                          zset       the enabled ones, by when the next is due; also the channel of edits
``cron-chores``                         zset       slots that wait for an end, and what is to be cancelled, by when
``cron-declared``                       zset       entries that code declares, by when a live process last did
``cron-leader``                         hash       who fires: id, term and lease
``cron-beat``                           hash       what ``beat_schedule`` has sent: its name to when it last ran
``breaker:<digest>``                    hash       a circuit breaker that is open: until when, and who opened it
``breaker:<digest>:failures``           zset       what has failed in a row, by when
``breaker:<digest>:probes``             zset       who tries whether it may close, by when he is given up
``once:<digest>``                       hash       work done once within a window: who does it, or its result
``server``                              hash       the server's ``run_id`` when it was last reconciled
``journal``                             stream     one entry per transition, capped; off unless ``dispatch_journal``
======================================  =========  ==============================================================
"""

from __future__ import annotations

from functools import cached_property
from hashlib import sha256

__all__ = ["Keys"]


class Keys:
    """The keys of one partition of one namespace."""

    def __init__(self, namespace: str, partition: int = 0) -> None:
        self.tag = f"{{{namespace}:{partition}}}:"

    def record(self, work_id: str) -> str:
        """Return the key of a job's or a run's record: an id says of which kind it is."""
        return f"{self.tag}{work_id[:3]}:{work_id}"

    def state(self, state: str, kind: str = "") -> str:
        """Return the index of a state, of jobs or of another kind of work (``run-``)."""
        return f"{self.tag}{kind}state:{state}"

    def name(self, state: str, name: str, kind: str = "") -> str:
        """Return the index of a name in a state."""
        return f"{self.tag}{kind}name:{state}:{name}"

    def scope(self, path: str, kind: str = "") -> str:
        """Return the index of a tenant."""
        return f"{self.tag}{kind}scope:{path}"

    def promises(self, run_id: str) -> str:
        """Return the journal of a run."""
        return f"{self.record(run_id)}:promises"

    def aside(self, run_id: str) -> str:
        """Return the journal of a run's generation before."""
        return f"{self.record(run_id)}:aside"

    def consumed(self, run_id: str) -> str:
        """Return the events that earlier generations of a run consumed."""
        return f"{self.record(run_id)}:consumed"

    def waits(self, run_id: str) -> str:
        """Return what a run waits for."""
        return f"{self.record(run_id)}:waits"

    def due(self, run_id: str) -> str:
        """Return what of a run has a due time."""
        return f"{self.record(run_id)}:due"

    def undos(self, run_id: str) -> str:
        """Return how the effects of a run are undone."""
        return f"{self.record(run_id)}:undos"

    def open_undos(self, run_id: str) -> str:
        """Return which of them are still to be done, should the run not complete."""
        return f"{self.record(run_id)}:open"

    def topic(self, digest: str) -> str:
        """Return the events of a topic."""
        return f"{self.tag}topic:{digest}"

    def waiters(self, digest: str) -> str:
        """Return who waits at a topic."""
        return f"{self.tag}waiters:{digest}"

    def lane(self, lane: str) -> str:
        """Return the ready ids of ``<queue>:<priority>``."""
        return f"{self.tag}lane:{lane}"

    def raw(self, dead_letter_id: str) -> str:
        """Return the key of a raw dead letter."""
        return f"{self.tag}raw:{dead_letter_id}"

    def pace(self, digest: str) -> str:
        """Return the line of the replays of one choice at one rate."""
        return f"{self.tag}pace:{digest}"

    def idempotency(self, scope: str, name: str, key: str) -> str:
        """Return the key of an idempotency key; a digest, because its text is the user's."""
        digest = sha256(f"{scope}\0{name}\0{key}".encode()).hexdigest()[:40]
        return f"{self.tag}key:{digest}"

    def cron(self, cron_id: str) -> str:
        """Return a cron entry."""
        return f"{self.tag}cron:{cron_id}"

    def cron_fires(self, cron_id: str) -> str:
        """Return the last fires of a cron entry."""
        return f"{self.cron(cron_id)}:fires"

    def breaker(self, name: str) -> str:
        """Return a circuit breaker; a digest, because its name is the user's."""
        return f"{self.tag}breaker:{sha256(name.encode()).hexdigest()[:40]}"

    def once(self, name: str, key: str) -> str:
        """Return the key of work that is done once within a window; a digest, as above."""
        digest = sha256(f"{name}\0{key}".encode()).hexdigest()[:40]
        return f"{self.tag}once:{digest}"

    def worker(self, incarnation: str) -> str:
        """Return a worker's description, and the channel it listens on."""
        return f"{self.tag}worker:{incarnation}"

    def held(self, incarnation: str) -> str:
        """Return what a worker holds."""
        return f"{self.tag}held:{incarnation}"

    def _fixed(self, name: str) -> str:
        return self.tag + name

    @cached_property
    def lanes(self) -> str:
        """The lanes that may hold ids."""
        return self._fixed("lanes")

    @cached_property
    def marks(self) -> str:
        """The outbox."""
        return self._fixed("marks")

    @cached_property
    def timers(self) -> str:
        """Ids with a due time."""
        return self._fixed("timers")

    @cached_property
    def expiry(self) -> str:
        """Ended jobs by when they are deleted."""
        return self._fixed("expiry")

    @cached_property
    def dead(self) -> str:
        """Dead letters."""
        return self._fixed("dead")

    @cached_property
    def letters(self) -> str:
        """Dead letters, filed by fingerprint and by name."""
        return self._fixed("letters")

    @cached_property
    def groups(self) -> str:
        """Fingerprints of dead letters."""
        return self._fixed("groups")

    @cached_property
    def alarm(self) -> str:
        """Whether it was told that there are too many dead letters."""
        return self._fixed("alarm")

    @cached_property
    def unknown(self) -> str:
        """Dead letters that only lack a worker."""
        return self._fixed("unknown")

    @cached_property
    def known(self) -> str:
        """Job names by when a live worker last knew them."""
        return self._fixed("known")

    @cached_property
    def catalogue(self) -> str:
        """What by-name callers need of a job."""
        return self._fixed("catalogue")

    @cached_property
    def workers(self) -> str:
        """Incarnations by end of lease."""
        return self._fixed("workers")

    @cached_property
    def condemned(self) -> str:
        """Incarnations being recovered."""
        return self._fixed("condemned")

    @cached_property
    def leader(self) -> str:
        """The leader."""
        return self._fixed("leader")

    @cached_property
    def events(self) -> str:
        """Every event that can be found."""
        return self._fixed("events")

    @cached_property
    def fanout(self) -> str:
        """Topics whose waiters are to be told."""
        return self._fixed("fanout")

    def limit(self, limit: str, part: str = "") -> str:
        """Return what is kept of a limit (``queue:<name>``, ``job:<name>``), or a part of it."""
        return f"{self.tag}limit:{limit}{part and ':'}{part}"

    @cached_property
    def limits(self) -> str:
        """The limits in force here."""
        return self._fixed("limits")

    @cached_property
    def limit_names(self) -> str:
        """Every limit."""
        return self._fixed("limits:names")

    @cached_property
    def limits_declared(self) -> str:
        """Limits as apps last declared them."""
        return self._fixed("limits:declared")

    @cached_property
    def permits(self) -> str:
        """Requests and returns on their way to their limit."""
        return self._fixed("permits")

    @cached_property
    def grants(self) -> str:
        """Permits on their way to their job."""
        return self._fixed("grants")

    @cached_property
    def crons(self) -> str:
        """Every cron entry."""
        return self._fixed("crons")

    @cached_property
    def cron_slots(self) -> str:
        """Cron entries by when they are fired next."""
        return self._fixed("cron-slots")

    @cached_property
    def cron_chores(self) -> str:
        """What cron has left to do beside its slots."""
        return self._fixed("cron-chores")

    @cached_property
    def cron_declared(self) -> str:
        """Cron entries by when code last declared them."""
        return self._fixed("cron-declared")

    @cached_property
    def cron_leader(self) -> str:
        """Who fires cron entries."""
        return self._fixed("cron-leader")

    @cached_property
    def cron_beat(self) -> str:
        """What ``beat_schedule`` has sent."""
        return self._fixed("cron-beat")

    @cached_property
    def server(self) -> str:
        """The server as last seen."""
        return self._fixed("server")

    @cached_property
    def journal(self) -> str:
        """The transition stream."""
        return self._fixed("journal")
