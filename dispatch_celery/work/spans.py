"""Follows work from process to process: a small port that telemetry plugs itself into.

What makes work stores a *carrier* with it, ``trace`` in its spec: where in which trace it was made. What executes it
restores that. Nothing here knows what a carrier says, and without a follower none of it costs more than a look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Protocol

from dispatch_celery.work.model import WorkRef

__all__ = ["TRACE", "Ended", "Follower", "around", "brought", "carried", "follow", "followed", "here", "made"]

TRACE: Final = "trace"
"""The name of the carrier in a spec."""

_W3C: Final = ("traceparent", "tracestate", "baggage")
"""What the standard propagators write into the headers of a message: https://www.w3.org/TR/trace-context/"""

Ended = Callable[[str, BaseException | None], None]
"""Told how an execution came out, and of the error where there is one."""


class Follower(Protocol):
    """Follows the work of this process."""

    def made(self, ref: WorkRef, spec: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the carrier of work about to be stored; empty for none."""
        ...

    def here(self) -> str:
        """Return where in which trace we are, in one word; empty for nowhere."""
        ...

    def around(
        self, ref: WorkRef, spec: Mapping[str, Any], *, attempt: int, waited: int, earlier: str
    ) -> AbstractContextManager[Ended]:
        """Follow one execution: an attempt of a job, a slice of a run.

        ``earlier`` says where the slice before was; ``waited`` for how many ms the job was ready.
        """
        ...

    def carried(self, spec: Mapping[str, Any]) -> None:
        """Go on, in this context, where some work was made; the caller throws the context away."""
        ...


_follower: Follower | None = None


def follow(follower: Follower | None) -> None:
    """Let a follower follow the work of this process from now on; None: nobody."""
    global _follower  # noqa: PLW0603 - a process has one, as it has one log and one set of Celery signals
    _follower = follower


def followed() -> bool:
    """Whether anybody follows the work of this process."""
    return _follower is not None


def made(ref: WorkRef, spec: MutableMapping[str, Any]) -> None:
    """Store a carrier with work that is about to be written."""
    if _follower is not None and TRACE not in spec:
        carrier = _follower.made(ref, spec)
        if carrier:
            spec[TRACE] = dict(carrier)


def brought(headers: Mapping[str, Any]) -> dict[str, str]:
    """Return the carrier that a message from elsewhere has brought along; empty where nobody follows."""
    if _follower is None or "traceparent" not in headers:
        return {}
    return {name: headers[name] for name in _W3C if isinstance(headers.get(name), str)}


def here() -> str:
    """Return where in which trace we are; empty where nobody follows."""
    return "" if _follower is None else _follower.here()


def carried(spec: Mapping[str, Any]) -> None:
    """Go on, in this context, where some work was made."""
    if _follower is not None and TRACE in spec:
        _follower.carried(spec)


def around(
    ref: WorkRef, spec: Mapping[str, Any], *, attempt: int = 1, waited: int = 0, earlier: str = ""
) -> AbstractContextManager[Ended]:
    """Follow one execution; give what is to be told of its end."""
    if _follower is None:
        return _UNFOLLOWED
    return _follower.around(ref, spec, attempt=attempt, waited=waited, earlier=earlier)


def _unheard(_outcome: str, _error: BaseException | None) -> None:
    """Hear of an end that nobody follows."""


_UNFOLLOWED: Final[AbstractContextManager[Ended]] = nullcontext(_unheard)
