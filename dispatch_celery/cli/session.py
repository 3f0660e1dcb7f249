"""What every command starts from: the app's ``Dispatch``, and where the answer goes."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any, Concatenate, ParamSpec, cast

import click

from dispatch_celery.app import Dispatch
from dispatch_celery.cli.insight import Insight
from dispatch_celery.cli.masking import Masking
from dispatch_celery.cli.output import Output
from dispatch_celery.cli.payloads import masking_of
from dispatch_celery.errors import ConfigurationError

__all__ = ["Session", "app_option", "find_dispatch", "with_session"]

P = ParamSpec("P")


@dataclass
class Session:
    """One call of one command."""

    context: click.Context
    dispatch: Dispatch
    output: Output

    @cached_property
    def insight(self) -> Insight:
        """Reads that no service offers."""
        insight = Insight(self.dispatch)
        self.context.call_on_close(insight.close)
        return insight

    @cached_property
    def masking(self) -> Masking:
        """What masks payloads, by the app's settings and declarations."""
        return masking_of(self.dispatch)

    @property
    def command(self) -> str:
        """How to call this command line again: what advice begins with."""
        app = app_option(self.context)
        return f"celery -A {shlex.quote(app)} dispatch" if app else "celery dispatch"


def app_option(context: click.Context) -> str:
    """Return what ``celery -A`` was given; empty where Celery was given an object, or found the app itself."""
    app = context.find_root().params.get("app")
    return app if isinstance(app, str) else ""


def find_dispatch(context: click.Context) -> Dispatch:
    """Return the ``Dispatch`` of the app that Celery's command line has loaded.

    Raises:
        ConfigurationError: the app has none.
    """
    app = context.obj.app
    if not isinstance(getattr(app, "dispatch", None), Dispatch):
        # It may be made in a module that only workers import (``include``, ``imports``, Django's autodiscovery).
        app.loader.import_default_modules()
    found = getattr(app, "dispatch", None)
    if not isinstance(found, Dispatch):
        raise ConfigurationError(
            "this Celery app has no Dispatch: name the app with `celery -A module dispatch ...`,"
            " and make one beside it with `dispatch = Dispatch(app)`"
        )
    return found


def with_session(command: Callable[Concatenate[Session, P], None]) -> Callable[P, None]:
    """Give a command its session and the option ``--json``; close connections when it has ended."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
    @wraps(command)
    def run(*args: Any, as_json: bool, **kwargs: Any) -> None:
        context = click.get_current_context()
        dispatch = find_dispatch(context)
        context.call_on_close(dispatch.close)
        output = Output(as_json=as_json, no_color=bool(getattr(context.obj, "no_color", False)))
        command(Session(context, dispatch, output), *args, **kwargs)

    return cast("Callable[P, None]", run)
