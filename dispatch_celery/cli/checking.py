"""``dispatch runs check-code``: whether today's code fits what runs have recorded, told to people and to pipelines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import click

from dispatch_celery.cli.output import Columns, Output, number_column, text_column
from dispatch_celery.cli.phrases import count_of
from dispatch_celery.cli.plain import one_line
from dispatch_celery.cli.session import Session, with_session
from dispatch_celery.workflows.checking import CodeCheck, CodeReport, CodeVerdict
from dispatch_celery.workflows.model import RunState

__all__ = ["check_code", "misfit_of"]

_BAD: Final = 1
_PARTIAL: Final = 3
_SAID: Final = {
    CodeVerdict.PARKS: "would park",
    CodeVerdict.FAILS: "would fail",
    CodeVerdict.UNKNOWN: "would find no code",
}


@click.command("check-code", short_help="Tell which runs would not go on with this code.")
@click.option("--run", "run_id", metavar="ID", help="Only this run, with all that is told of it.")
@click.option("--name", help="Only runs of this workflow.")
@click.option("--version", type=click.IntRange(1), help="As if they were migrated to it; with --run or --name.")
@click.option("--limit", type=click.IntRange(1), default=1_000, show_default=True, help="The most runs to look at.")
@with_session
def check_code(session: Session, *, run_id: str | None, name: str | None, version: int | None, limit: int) -> None:
    """Replay the runs that have not ended against the code of this app, and tell which would not go on, and why.

    Nothing is executed and nothing is written. Run it with the new code, before workers have it. Exit code 0: all would
    go on; 1: some would not; 3: all that were looked at would, but there are more than --limit.
    """
    if version is not None and run_id is None and name is None:
        raise click.UsageError("--version replays runs as if they were migrated to it: say which, with --run or --name")
    report = session.dispatch.runs.check_code(run_id=run_id, name=name, version=version, limit=limit)
    output = session.output
    if output.as_json:
        output.document({"checks": report.checks, "bad": len(report.bad), "complete": report.complete})
    else:
        _print(output, report, version=version, in_full=run_id is not None)
    session.context.exit(_BAD if report.bad else 0 if report.complete else _PARTIAL)


def misfit_of(check: CodeCheck) -> str:
    """Return what would become of a run that would not go on, and why, as the end of a sentence."""
    return f"{_SAID[check.verdict]}: {_reason(check)}"


def _print(output: Output, report: CodeReport, *, version: int | None, in_full: bool) -> None:
    if report.bad:
        columns: Columns = ["id", "name", number_column("version"), "state", "verdict", text_column("why")]
        rows = [
            (check.id, check.name, check.version, check.state, check.verdict, _reason(check)) for check in report.bad
        ]
        output.table(columns, rows, empty="")
    for check in report.bad if in_full else ():
        output.line(f"{check.detail.rstrip()}\n")
    output.line(_summary(report, version))


def _reason(check: CodeCheck) -> str:
    """Return why a run would not go on, without the sequences that follow."""
    return one_line(check.detail.partition("\n")[0], 300)


def _summary(report: CodeReport, version: int | None) -> str:
    found = Counter(check.verdict for check in report)
    said = [f"{found[CodeVerdict.FITS]:,} would go on"]
    said += [f"{found[verdict]:,} {words}" for verdict, words in _SAID.items() if found[verdict]]
    parked = _parked(report.bad)
    more = "" if report.complete else "; there are more: raise --limit, or choose with --name"
    already = f" ({parked:,} {'is' if parked == 1 else 'are'} parked already)" if parked else ""
    of = "" if version is None else f", as version {version}"
    return f"{count_of(len(report), 'run')} looked at{of}: {', '.join(said)}{already}{more}."


def _parked(checks: Sequence[CodeCheck]) -> int:
    return sum(check.state == RunState.PARKED for check in checks)
