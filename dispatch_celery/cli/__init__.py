"""The command line, ``celery -A app dispatch ...``: a thin face over the services, for people and for scripts.

Purpose
    Every command asks one service, and prints what it answers: a table for people, one JSON document with
    ``--json``. Nothing is decided here. The one thing worked out here is ``explain``, and its sentences are a pure
    function of what was read (``explaining``).

What is promised
    - ``--json`` is stable: ids and enums as text, times as ISO 8601, bytes as base64, nothing else on stdout.
    - Ids are printed whole, whatever the width of the terminal. Text from the store is printed without its control
      characters, so that no error message can move a terminal's cursor.
    - Arguments and results are shown only where they are asked for, because they may hold secrets. Those that an edit
      must give whole, of cron entries and dead letters, are always shown, with what is secret masked (``masking``).
      Passwords in URLs are never shown.
    - An error of this package is one line on stderr, with its code, and exit code 1.

Cost
    Celery imports every plugin at every call, so ``main`` imports nothing but click; a command's module is
    imported when the command is called.
"""
