"""Limits that hold across the whole fleet: how many jobs of a queue or name run at once, and how many begin in a time.

Purpose
    A job that a limit concerns is ``limited`` where it would be ``pending``. It waits as a row, without a message and
    without a worker, until its limit hands it a *permit*; it has that until its attempt has ended.

Who is authoritative
    The limit (``limit:<name>``) knows who waits and who has a permit, and hands out the next one. The job's record
    knows what it asked for (``limit``, ``asks``) and what it was given (``permits``). Both may live in different
    partitions, so they never write into each other: word goes from one to the other in rows.

    ::

        job                       permits (outbox)              limit
        ---                       ----------------              -----
        limited ---------------->  ask id n     ------------->  waiting
                                                                   |  its key's turn, below every limit
        pending <----------------  (jobs/permit) <-- grants <--  holders
        ended, retrying -------->  return id n  ------------->  (forgotten; the next one's turn)

    The leader carries the rows (``permits.Permits``), in batches, rung by the first row. Each is deleted after it was
    taken in, so it is handed over at least once; the number ``n`` of the request makes a second time, or one too late,
    change nothing.

What happens on each failure
    - A worker dies: its job goes back to ``pending`` with the permit it has, or ends and returns it.
    - The leader dies: the rows wait for the next one, which begins with every limit.
    - A permit reaches a job that is not waiting any more: it is given back.
    - A limit is gone when a request reaches it: the job goes without a permit, and asks again if one is set meanwhile.
    - What keys are told by is changed while the leader tells a limit keys: it takes none in, and is told again. Those
      it knew already get their keys in slices, and until the last of them nothing is handed out.
    - The server comes back without its last second: rows, records and limits come back as they were together.
"""
