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
           |                   ^     |
           +----> pending -----+     +-----> parked  (only a person can go on: resume)
                     ^                          |
                     +--------------------------+

What happens on each failure
    - A process dies in a step: the step runs again under the same idempotency key; what was recorded does not.
    - It dies between an effect and its record: the same. At least once is all that can be had.
    - It dies while the run sleeps: nobody holds a sleeping run; the deadline is stored, and does not start again.
    - The code changed under a run: the identities of its journal are compared with what the code asks for, one by
      one; at the first difference the run is parked with both, nothing having been executed.
    - The run kills its processes: parked after ``dispatch_max_crashes`` without a step in between.
"""
