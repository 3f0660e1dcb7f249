"""The group ``dispatch`` that Celery's command line finds. Imports little: every ``celery`` call pays."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import click

from dispatch_celery.errors import DispatchError

__all__ = ["LazyGroup", "dispatch", "join_flower"]

logger = logging.getLogger(__name__)

_MEMBERS: Final[Mapping[str, str]] = {
    "cron": "dispatch_celery.cli.cron:cron",
    "dev": "dispatch_celery.cli.dev:dev",
    "dlq": "dispatch_celery.cli.dlq:dlq",
    "doctor": "dispatch_celery.cli.doctor:doctor",
    "events": "dispatch_celery.cli.events:events",
    "explain": "dispatch_celery.cli.explain:explain",
    "jobs": "dispatch_celery.cli.jobs:jobs",
    "queues": "dispatch_celery.cli.queues:queues",
    "runs": "dispatch_celery.cli.runs:runs",
    "stats": "dispatch_celery.cli.fleet:stats",
    "workers": "dispatch_celery.cli.fleet:workers",
}


_FLAG: Final = re.compile(r"\b([a-z_]+)=True\b")
"""How the API's errors name what is an option here."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, and whose errors are one line."""

    def __init__(self, *args: Any, members: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._members = members

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of the commands."""
        return sorted(self._members)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import a command."""
        place = self._members.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; print this package's errors as one line with their code."""
        try:
            return super().invoke(ctx)
        except DispatchError as error:
            said = _FLAG.sub(lambda flag: f"--{flag[1].replace('_', '-')}", str(error))
            words = "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in said)
            colour = False if getattr(ctx.obj, "no_color", False) else None
            click.echo(f"{click.style('error', fg='red')} [{error.code}]: {words}", err=True, color=colour)
            ctx.exit(1)


@click.group(cls=LazyGroup, members=_MEMBERS)
def dispatch() -> None:
    """Durable jobs and workflows: look at them, move them, explain them."""


def join_flower(words: Sequence[str]) -> None:
    """Add our pages where Celery's command line is about to run Flower, before that builds its application.

    Celery imports every plugin of its command line, Flower's as this one, before it reads its words. Where another
    command has a word ``flower``, that costs an import, and changes nothing.
    """
    if "flower" in words and find_spec("flower") is not None:
        try:
            import_module("dispatch_celery.flower").install()
        except Exception:
            logger.exception("Flower is shown without the pages of Dispatch")


join_flower(sys.argv[1:])
