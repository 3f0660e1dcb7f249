"""What scripts take for the time: the server's own clock, or in tests a number that only a test moves."""

from __future__ import annotations

__all__ = ["ServerTime"]


class ServerTime:
    """One object shared by every typed store of a process."""

    __slots__ = ("now",)

    def __init__(self, now: int | None = None) -> None:
        self.now = now
        """Milliseconds since 1970; None, outside of tests, means the server's ``TIME``."""

    @property
    def word(self) -> str | int:
        """The first argument of every script that asks for the time."""
        return "" if self.now is None else self.now
