"""What is played in simulated worlds: jobs and workflows, declared once for all of them.

A definition costs far more than a world, so handlers and workflows act in whatever world is on the stage.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from dispatch_celery.jobs.definition import JobDefinition
from dispatch_celery.jobs.registry import Registry
from dispatch_celery.workflows.definition import WorkflowDefinition
from dispatch_celery.workflows.registry import WorkflowRegistry
from tests.support.simulation.crowds import crowd_kinds
from tests.support.simulation.families import family_kinds
from tests.support.simulation.flows import FlowExpectation, flow_kinds
from tests.support.simulation.kinds import job_kinds
from tests.support.simulation.rewrites import rewrite_kinds, second_versions
from tests.support.simulation.sagas import saga_kinds
from tests.support.simulation.talks import talk_kinds
from tests.support.simulation.tasks import task_kinds

if TYPE_CHECKING:
    from tests.support.simulation.ground import Ground


class _Deployed(WorkflowRegistry):
    """The workflows of all worlds, but for the versions that the world on the stage has no workers for any more."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage

    def get(self, name: str, version: int) -> WorkflowDefinition[..., Any] | None:
        """Return one version of a name, if it is deployed."""
        return None if version in self._stage.played.undeployed else super().get(name, version)


class Stage:
    """The definitions of simulated jobs and workflows, and the world in which they act now."""

    def __init__(self) -> None:
        self.world: Ground | None = None
        self.registry = Registry()
        self.workflows = _Deployed(self)
        self._declared: dict[str, WorkflowDefinition[..., Any]] = {}
        self.kinds = job_kinds(self)
        for name, (handler, policy, _) in self.kinds.items():
            self.registry.add(
                JobDefinition(handler, name=name, enqueuer=lambda: self.played.service, queue="q", retry=policy)
            )
        self.flows = {
            **flow_kinds(self),
            **saga_kinds(self),
            **family_kinds(self),
            **talk_kinds(self),
            **crowd_kinds(self),
            **task_kinds(self),
            **rewrite_kinds(self),
        }
        second = second_versions(self)
        for name, (flow, expected) in self.flows.items():
            self._declare(flow, name, 1, expected)
            self._declare(second.get(name, flow), name, 2, expected)

    def _declare(self, flow: Callable[..., Any], name: str, version: int, expected: FlowExpectation) -> None:
        definition: WorkflowDefinition[..., Any] = WorkflowDefinition(
            flow,
            name=name,
            version=version,
            starter=lambda: self.played.flow_service,
            queue="q",
            timeout=expected.timeout,
        )
        self.workflows.add(definition)
        self._declared[definition.known_as] = definition

    def child(self, name: str) -> WorkflowDefinition[..., Any]:
        """Return the first version of a workflow, deployed or not: what runs and their children begin as."""
        return self._declared[f"{name}@1"]

    @property
    def played(self) -> Ground:
        assert self.world is not None, "no world is on the stage"
        return self.world

    def effect(self, what: str) -> int:
        """Count an effect in the world of the moment."""
        return self.played.effect(what)

    @property
    def rolled_back(self) -> bool:
        """Whether the server of the world of the moment has come back with an older state."""
        return self.played.rolled_back

    def say(self, what: str, word: str) -> None:
        """Take note, in the world of the moment, of what a body has seen."""
        self.played.say(what, word)


@cache
def stage() -> Stage:
    """Return the stage of this process."""
    return Stage()
