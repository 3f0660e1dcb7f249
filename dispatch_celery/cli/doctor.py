"""``dispatch doctor``: every unsafe setting of the state server and of Celery, each with its remedy."""

from __future__ import annotations

import click

from dispatch_celery.cli.output import text_column
from dispatch_celery.cli.session import Session, with_session

__all__ = ["doctor"]


@click.command()
@with_session
def doctor(session: Session) -> None:
    """Look for settings that lose jobs. Exits with 1 if workers would refuse to start with one of them."""
    findings = session.dispatch.doctor()
    name, version = session.insight.server()
    fatal = any(finding.fatal for finding in findings)
    if session.output.as_json:
        server = {"name": name, "version": version, "url": session.insight.url}
        session.output.document({"ok": not fatal, "server": server, "findings": findings})
    else:
        session.output.line(f"{name} {version} at {session.insight.url}")
        rows = [
            ("fatal" if finding.fatal else "warning", finding.setting, finding.problem, finding.remedy)
            for finding in findings
        ]
        session.output.table(
            ["", "setting", text_column("problem"), text_column("remedy")], rows, empty="Nothing to complain about."
        )
    if fatal:
        session.context.exit(1)
