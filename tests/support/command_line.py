"""The command line of one app, called in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from celery import Celery
from celery.bin.base import CLIContext
from click.testing import CliRunner, Result

from dispatch_celery import Dispatch, Workflow
from dispatch_celery.cli.main import dispatch as group

__all__ = ["CommandLine", "order_desk"]


@dataclass
class CommandLine:
    """An app, and what its ``celery dispatch`` answers. No terminal: nothing wraps, nothing is coloured."""

    app: Celery
    dispatch: Dispatch

    def call(self, *words: str, answer: str | None = None) -> Result:
        """Call the command line."""
        context = CLIContext(app=self.app, no_color=True, workdir=None)
        return CliRunner().invoke(group, list(words), obj=context, input=answer)

    def ok(self, *words: str, answer: str | None = None) -> str:
        """Call it, and return what it prints if it succeeds."""
        result = self.call(*words, answer=answer)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.stdout

    def json(self, *words: str) -> Any:
        """Call it with ``--json``."""
        return json.loads(self.ok(*words, "--json"))


@contextmanager
def order_desk(namespace: str, server_url: str) -> Iterator[CommandLine]:
    """Yield the command line of an app that declares one workflow, ``order``."""
    app = Celery("desk", broker=server_url, set_as_current=False)
    app.conf.update(dispatch_namespace=namespace, dispatch_journal=100_000)
    dispatch = Dispatch(app)

    @dispatch.workflow(name="order", queue="q")
    def order(wf: Workflow, card: str, amount: int = 1) -> str:
        return card

    yield CommandLine(app, dispatch)
    dispatch.close()
    app.close()
