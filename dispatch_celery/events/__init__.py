"""Events: named, typed and keyed facts that runs wait for.

Purpose
    Somebody says that something has happened; every run that waits for it goes on, also one that begins to wait later.

Who is authoritative
    The topic (scope, name, key) says what was published and in which order. The run says what it has consumed: an event
    is taken by the script that records it in the run's journal, once, and by nothing else.

::

    publish --> topic (ordered, kept for ``retain_events``) --note--> waiters are nudged --> each run looks for itself

What happens on each failure
    - The publisher dies after storing: the note stays, and the leader tells the waiters.
    - A run is told twice, or late: it looks, and finds nothing new.
    - A run begins to wait while something is published: it registers first and looks then, so one of the two sees it.
    - A run that waits is gone: the one who tells it strikes it off.
"""
