"""How far work has come, as it tells itself: for people to see while it runs, and gone when its claim ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from dispatch_celery.errors import Fenced, PayloadError, StoreUnavailable
from dispatch_celery.work.scripts import Answer

__all__ = ["report_progress"]

_LONGEST: Final = 500


def report_progress(
    send: Callable[[str], Answer], *, held: str, done: float, total: float | None, message: str, **facts: Any
) -> None:
    """Record how far something held has come; one round trip. Skipped while the server does not answer.

    ``held`` is what is told of it once it is not; ``facts`` say what of it has come so far.

    Raises:
        Fenced: somebody else holds it by now.
        PayloadError: these are no numbers.
    """
    try:
        text = json.dumps({**facts, "done": done, "total": total, "message": message[:_LONGEST]}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise PayloadError(f"progress({done!r}, {total!r}): {error}") from None
    try:
        verdict = send(text).verdict
    except StoreUnavailable:
        return  # progress is for people: it must not use up an attempt
    if verdict == "FENCED":
        raise Fenced(held)
