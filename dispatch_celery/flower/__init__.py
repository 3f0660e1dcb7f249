"""Pages in Flower: what ``celery -A app flower`` shows of jobs, runs, events, dead letters and workers.

Purpose
    A person who runs this in production looks here first, and acts from here. A page reads through the services of
    ``Dispatch`` and through the same explanations as the command line; it never speaks to the state server by itself.

How it gets there, without a fork
    This package's plugin of Celery's command line is loaded before Flower builds its application. Where the command
    is ``flower`` it calls ``install()``: our rules come in front of Flower's, and a loader before its templates, so
    that its bar of menus shows one more. ``install()`` in a ``flowerconfig.py`` does the same. Workers and web
    processes import neither Flower nor Tornado by this.

What is promised
    - Nobody sees or does more than Flower lets him: its login, its ``read_only``, its rules for the API. Where Flower
      is open to everybody, pages can be read and nothing can be done. On top, an action is refused that comes from
      another site, that is no JSON, or that was decided on a page which is not true any more.
    - Names, payloads and errors are shown as text, with what is secret masked (``cli.masking``), and cut where
      they are large. Our pages allow no script but the one file of this package.
    - No request waits without an end: reads and verbs run in a bounded pool of threads (``offload``) and are given up
      with a page that says so.
    - Where something of Flower has moved (``host``), its pages work on, ours stay where they are and say what is
      missing. Where it can not be told any more who is logged in, they are closed.

Rooms: ``pages`` reads what is shown, ``verbs`` does what buttons ask for, ``handlers`` is all that Tornado sees.
"""

from dispatch_celery.flower.installing import install

__all__ = ["install"]
