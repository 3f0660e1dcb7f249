"""How pages say things: times, lengths, numbers and states. What is made here is HTML of our own words only. Pure."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any, Final

from dispatch_celery.cli.masking import block, line
from dispatch_celery.cli.moments import span, stamp
from dispatch_celery.cli.phrases import count_of
from dispatch_celery.cli.plain import one_line
from dispatch_celery.work.model import Failure

__all__ = ["Telling"]

_LOOKS: Final = {
    **dict.fromkeys(("completed", "active", "done", "undone", "enabled", "fired", "triggered"), "good"),
    **dict.fromkeys(
        ("failed", "parked", "lost", "error", "timeout", "stuck", "crashed", "worker lost", "orphaned"), "bad"
    ),
    **dict.fromkeys(("running", "under way"), "busy"),
    **dict.fromkeys(
        ("retrying", "limited", "waiting", "compensating", "draining", "sleeping", "awaiting", "snoozed"), "slow"
    ),
}
"""How a state looks; any other is quiet. The word itself is always there."""


class Telling:
    """What templates call."""

    line = staticmethod(line)
    block = staticmethod(block)
    span = staticmethod(span)
    stamp = staticmethod(stamp)
    count = staticmethod(count_of)

    @staticmethod
    def json(value: Any) -> str:
        """Return plain values as JSON, for an attribute."""
        return json.dumps(value)

    @staticmethod
    def time(at: datetime | None) -> str:
        """Return a time as HTML: exact, and made relative by the page's script."""
        if at is None:
            return '<span class="dc-none">—</span>'
        utc = at.astimezone(UTC)
        exact = f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z"
        return f'<time class="dc-time" datetime="{exact}">{stamp(utc)}</time>'

    @staticmethod
    def state(word: Any) -> str:
        """Return a state as HTML: its colour, and its word."""
        words = str(word)
        return f'<span class="dc-state dc-{_LOOKS.get(words, "quiet")}">{escape(words)}</span>'

    @staticmethod
    def marked(text: str, longest: int = 2_000) -> str:
        """Return a sentence as HTML, what stands between backticks as code."""
        parts = escape(line(text, longest)).split("`")
        if len(parts) % 2 == 0:
            return "`".join(parts)
        return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))

    @staticmethod
    def number(value: float) -> str:
        """Return a number with separators."""
        return f"{value:,.0f}" if value >= 10 or float(value).is_integer() else f"{value:,.1f}"

    @staticmethod
    def took(begun: datetime | None, ended: datetime | None) -> str:
        """Return how long something took; empty where that is not known."""
        if begun is None or ended is None:
            return ""
        length = max(ended - begun, timedelta())
        return f"{length / timedelta(milliseconds=1):.0f} ms" if length < timedelta(seconds=1) else span(length)

    @staticmethod
    def failure(failure: Failure | None, longest: int = 160) -> str:
        """Return an error on one line; empty for none."""
        return "" if failure is None else line(one_line(f"{failure.type}: {failure.message}", 2 * longest), longest)

    @staticmethod
    def tail(some_id: Any) -> str:
        """Return the end of an id, which tells two of one minute apart."""
        return str(some_id)[-6:]
