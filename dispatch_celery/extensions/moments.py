"""Every moment of the life cycle: its signal, the hook of that name, and what each of them is given."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dispatch_celery.extensions.base import Extension
from dispatch_celery.jobs.signals import SIGNALS
from dispatch_celery.workflows.signals import RUN_SIGNALS

__all__ = ["HOOKS", "MOMENTS", "RUN_MOMENTS", "Moment"]

HOOKS: Final[Mapping[str, tuple[str, ...]]] = {
    name: tuple(inspect.signature(hook).parameters)[1:]
    for name, hook in vars(Extension).items()
    if name.startswith("on_")
}
"""Every hook and the names of its arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One kind of transition, as it is told."""

    signal: Any
    facts: tuple[str, ...]
    hook: str
    given: tuple[str, ...]
    """Of the facts, those that the hook takes."""
    subject: str
    """What it is about: ``job``, ``run``, or nothing that is work."""


def _moments(signals: Mapping[str, tuple[Any, tuple[str, ...]]]) -> dict[str, Moment]:
    return {
        moment: Moment(
            signal=signal,
            facts=facts,
            hook=f"on_{signal.name}",
            given=tuple(fact for fact in facts if fact in HOOKS.get(f"on_{signal.name}", ())),
            subject=next((kind for kind in ("job", "run") if kind in signal.providing_args), ""),
        )
        for moment, (signal, facts) in signals.items()
    }


MOMENTS: Final = _moments(SIGNALS)
"""What happens to jobs, workers and events, by the word that transitions report it with."""
RUN_MOMENTS: Final = _moments(RUN_SIGNALS)
"""The same of runs."""
