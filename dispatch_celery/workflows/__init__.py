"""Durable workflows: plain functions of durable calls, that crashes and restarts cannot break.

Purpose
    A *run* is one execution of a workflow. Its function is run from the top whenever there is something to do for it;
    what it has done before is not done again, but read from its *journal*: one entry per durable call, a *promise*,
    under an identity that program order gives it. So the function itself is the only description of where it is.

Who is authoritative
    The record ``run:<id>`` and its journal. The process that holds a run writes under its token and a *revision*, the
    count of its own writes: one that missed a write of its own, or whose run is with another, is fenced.

States
    ::

        waiting <------------- running ----> completed | failed | cancelled
           |                   ^     |                  |
           +----> pending -----+     +-----> parked     |  (only a person goes on from here:
                     ^                          |       |   resume, migrate, rewind, compensate)
                     +--------------------------+-------+

    A run that has failed, was cancelled or is out of time, and has done what can be undone, is ``pending`` again in the
    phase ``undoing`` before it ends. ``rewind`` and ``continue_as_new`` begin a new *generation*: the journal is set
    aside, id, parent and consumed events stay.

What happens on each failure
    - A process dies in a step: the step runs again under the same idempotency key; what was recorded does not.
    - It dies between an effect and its record: the same. At least once is all that can be had.
    - It dies while the run sleeps: nobody holds a sleeping run; the deadline is stored, and does not start again.
    - The code changed under a run: the identities of its journal are compared with what the code asks for, one by
      one; at the first difference the run is parked with both, nothing having been executed.
    - The run kills its processes: parked after ``dispatch_max_crashes`` without a step in between.
    - It fails for good: what is on record as to be undone is undone, the last effect first, each until it succeeds or
      is given up; then the run is parked, and a person decides.

Where to look
    - What is stored: ``model`` ``journal`` ``records``; ``store`` has everybody's scripts, ``held`` and ``held_store``
      those of a run's holder.
    - What users declare: ``definition`` ``step_definition`` ``undo``; what they are given: ``context`` ``handle``
      ``async_context`` ``async_crowds`` ``async_events``.
    - One slice of a run, from its claim to its next rest, each floor on the one below: ``holder`` writes, ``slice``
      gives identities and unwinds, ``sending`` deals with the fleet, ``engine`` carries out. Beside it ``saga`` undoes,
      ``crowd`` decides a gather, map or race, ``underway`` runs steps at the same time, ``inbox`` waits for events.
      ``driver`` with ``replayloop`` runs an async function, ``body`` calls either kind; the worker's part is
      ``worker/runs.py``.
    - What callers and operators do, each on the one before: ``access`` ``reading`` ``operating`` ``starting``
      ``rewriting`` ``checking``, together ``service``.
    - What the leader does: ``keeping``.
"""
