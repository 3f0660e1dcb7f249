"""What is played in simulated worlds: jobs and workflows, declared once for all of them.

A definition costs far more than a world, so handlers and workflows act in whatever world is on the stage.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from dispatch_celery.jobs.definition import JobDefinition
from dispatch_celery.jobs.registry import Registry
from dispatch_celery.workflows.definition import WorkflowDefinition
from dispatch_celery.workflows.registry import WorkflowRegistry
from tests.support.simulation.crowds import crowd_kinds
from tests.support.simulation.families import family_kinds
from tests.support.simulation.flows import flow_kinds
from tests.support.simulation.kinds import job_kinds
from tests.support.simulation.sagas import saga_kinds
from tests.support.simulation.talks import talk_kinds
from tests.support.simulation.tasks import task_kinds

if TYPE_CHECKING:
    from tests.support.simulation.ground import Ground


class Stage:
    """The definitions of simulated jobs and workflows, and the world in which they act now."""

    def __init__(self) -> None:
        self.world: Ground | None = None
        self.registry = Registry()
        self.workflows = WorkflowRegistry()
        self.kinds = job_kinds(self)
        for name, (handler, policy, _) in self.kinds.items():
            self.registry.add(
                JobDefinition(handler, name=name, enqueuer=lambda: self._played.service, queue="q", retry=policy)
            )
        self.flows = {
            **flow_kinds(self),
            **saga_kinds(self),
            **family_kinds(self),
            **talk_kinds(self),
            **crowd_kinds(self),
            **task_kinds(self),
        }
        for name, (flow, _) in self.flows.items():
            self.workflows.add(
                WorkflowDefinition(flow, name=name, starter=lambda: self._played.flow_service, queue="q")
            )

    @property
    def _played(self) -> Ground:
        assert self.world is not None, "no world is on the stage"
        return self.world

    def effect(self, what: str) -> int:
        """Count an effect in the world of the moment."""
        return self._played.effect(what)

    def say(self, what: str, word: str) -> None:
        """Take note, in the world of the moment, of what a body has seen."""
        self._played.say(what, word)


@cache
def stage() -> Stage:
    """Return the stage of this process."""
    return Stage()
