r"""Cron: entries that create a job, or start a run, at the moments of a schedule.

Purpose
    An entry names a schedule, a job or workflow, and its arguments. Entries come from code (``@dispatch.cron``) and
    from the API (``dispatch.crons.register``), and live in the state server. Whoever holds the *cron lead* fires them:
    the workers' leader, or a ``celery beat`` with our scheduler class. Any number of either may be up.

Who is authoritative
    The entry's record. It names the next *slot*, the moment of the schedule that is to be fired next, and carries a
    revision that counts edits. The one script that fires compares both with what its caller computed from, creates the
    work under an id derived from (entry, slot), and moves the entry on to the slot after it. So two leaders, a script
    sent twice or a crash between any two commands cannot fire a slot twice, nor lose it, and what somebody computed
    from an entry that was edited meanwhile changes nothing.

States
    ::

        (registered) --> enabled <--> disabled
                            |  \
                            |   +--(no worker declares it any more)--> orphaned --(one does again)--> enabled
                            +--(its last slot has been fired)--> finished

What happens on each failure
    - The leader dies: its lead ends with its lease; the next one finds every entry at the slot it had.
    - The leader stalls and comes back: its term does not reign any more, and its scripts are refused.
    - It dies between creating work and publishing it: the ready mark is swept, as for any other work.
    - Everything was down: what was missed is treated by the entry's misfire policy.
    - An entry cannot be read (a newer release wrote it): it is logged and set aside; the others go on.
"""
