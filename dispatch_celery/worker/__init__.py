"""Inside a Celery worker: from a wake-up message to a recorded outcome.

Purpose
    Celery brings messages and processes; this room turns a wake-up into a claim, runs the handler under it,
    and records exactly one outcome. The parts, in the order in which a job meets them:

    ``publisher``   builds the message that wakes a worker, as kombu itself would
    ``task``        the Celery task of a job: its verbs for callers, its tracer for workers
    ``executor``    the life of one attempt, a pipeline of short steps
    ``handlers``    calls sync functions here and coroutines on the process's one event loop
    ``page``        what the worker's processes share: lease, cancel marks, who executes what
    ``lifeline``    the thread that renews the lease, listens, leads, and watches children
    ``bootsteps``   where all of it is hung into Celery's worker

Who is authoritative
    The record in the state server. Neither the message, nor this process, nor Celery decides what a job is;
    a claim gives this process the right to say how one attempt ended, and only while its token is the one.

What happens on each failure
    ==========================================  ================================================================
    the message is lost                         its ready mark, or its lane, makes the leader publish it again
    the message comes twice, late, or shuffled  the claim answers LEFTOVER; it is dropped
    this process dies                           the main process sees its pidfd, the leader its worker's lease
    this process stops and comes back           its token is void: every write answers FENCED, ``Fenced`` unwinds
    the state server does not answer            nothing new is started; an outcome is kept and sent until answered
    the worker is stopped                       running jobs get their time, then are released; no attempt is used
    ==========================================  ================================================================
"""
