# ruff: noqa: INP001 - a program beside the pages it writes, not a package
"""Writes the marked sections of the pages that are made from the code; with ``--check`` only compares them.

A section stands between ``<!-- made: NAME -->`` and ``<!-- end: NAME -->``. ``--check`` also looks for every test that
a page names, and exits with 1 when a page is stale or a test is not there.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
import textwrap
import tomllib
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, get_args

from dispatch_celery import errors
from dispatch_celery.cluster.model import WorkerState
from dispatch_celery.config import Milliseconds, Settings
from dispatch_celery.extensions.base import Extension
from dispatch_celery.extensions.moments import MOMENTS, RUN_MOMENTS, Moment
from dispatch_celery.jobs import signals as job_signals
from dispatch_celery.jobs.model import TRANSITIONS, JobState
from dispatch_celery.retry import describe
from dispatch_celery.store import keys
from dispatch_celery.telemetry import metrics, prometheus
from dispatch_celery.workflows import signals as run_signals
from dispatch_celery.workflows.model import TRANSITIONS as RUN_TRANSITIONS
from dispatch_celery.workflows.model import RunState

DOCS: Final = Path(__file__).parent
ROOT: Final = DOCS.parent
_TEST: Final = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
_ENV: Final = "DISPATCH_"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _list(entries: Sequence[tuple[str, str]]) -> str:
    """Return a list of a head line and wrapped words each: for what no line of a table could hold."""
    return "\n".join(
        f"- {head}:\n{textwrap.fill(words, 118, initial_indent='  ', subsequent_indent='  ')}"
        for head, words in entries
    )


def _plain(text: str | None) -> str:
    """Return a docstring as one Markdown line."""
    return " ".join((text or "").split()).replace("``", "`")


def _documented(kind: type) -> dict[str, str]:
    """Return the string that follows each assignment in a class body: how members are documented here."""
    (found,) = ast.parse(inspect.getsource(kind)).body
    body = found.body if isinstance(found, ast.ClassDef) else []
    words: dict[str, str] = {}
    for one, following in pairwise(body):
        if not isinstance(one, ast.Assign) or not isinstance(following, ast.Expr):
            continue
        target, value = one.targets[0], following.value
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant):
            words[target.id] = str(value.value)
    return words


def _states(kind: Any) -> str:
    words = _documented(kind)
    return _table(("state", "meaning"), [(f"`{state.value}`", _plain(words.get(state.name))) for state in kind])


def _transitions(kind: Any, table: Mapping[str, frozenset[str]]) -> str:
    order = ("new", *kind, "gone")
    rows = [
        (f"`{start}`", ", ".join(f"`{end}`" for end in order if end in table[start]))
        for start in order
        if start in table
    ]
    return _table(("from", "to"), rows)


def _movers(kind: Any, *, of_runs: bool) -> str:
    """Return which script makes each move, from the headers of the scripts."""
    movers: dict[str, list[str]] = {}
    for path in sorted((ROOT / "dispatch_celery" / "store" / "lua").rglob("*.lua")):
        if (path.parent.name == "runs") is not of_runs:
            continue
        stated = re.search(r"^-- TRANSITIONS (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        for move in re.findall(r"\w+>\w+", stated[1] if stated else ""):
            movers.setdefault(move, []).append(f"{path.parent.name}/{path.stem}")
    order = ["new", *kind, "gone"]
    ranked = sorted(movers, key=lambda move: [order.index(end) for end in move.split(">")])
    rows = [(f"`{move.replace('>', '` to `')}`", ", ".join(f"`{name}`" for name in movers[move])) for move in ranked]
    return _table(("move", "scripts"), rows)


def _default(name: str, value: Any, *, is_duration: bool) -> str:
    if name in ("default_retry", "default_step_retry"):
        policy = describe(value)
        return f"`Retry({policy['max_attempts']}, {policy['backoff']})`"
    if is_duration:
        return f"{int(value / 1000) if value % 1000 == 0 else value / 1000} seconds"
    return f"{value:,} bytes" if name == "max_payload" else f"`{value}`"


def _settings() -> str:
    entries = []
    for name, field in Settings.model_fields.items():
        is_duration = any(part in field.metadata for part in get_args(Milliseconds)[1:])
        variable = "" if name in ("default_retry", "default_step_retry") else f", `{_ENV}{name.upper()}`"
        default = _default(name, field.default, is_duration=is_duration)
        entries.append((f"`dispatch_{name}`{variable}, default {default}", _plain(field.description)))
    return _list(entries)


def _keys() -> str:
    rows = []
    for line in inspect.getdoc(keys).splitlines():  # type: ignore[union-attr]  # the module has one
        found = re.match(r"``(.+?)``\s{2,}(\w+)\s{2,}(.+)", line)
        if found:
            rows.append((f"`{found[1]}`", found[2], _plain(found[3])))
    return _table(("key, after `{<namespace>:0}:`", "type", "holds"), rows)


def _moments(module: Any, moments: Mapping[str, Moment]) -> str:
    """Return the signals of a module with their hooks; one that its docstring tells otherwise is refused."""
    told = {}
    for line in (inspect.getdoc(module) or "").splitlines():
        found = re.match(r"``(\w+)``\s{2,}(?:``(.*?)``|\(none\))\s{2,}(.+?)\s{2,}(?:``(\w+)``|\(none\))$", line)
        if found:
            told[found[1]] = (tuple((found[2] or "").split()), found[3], found[4])
    rows = []
    for moment in moments.values():
        name, hook = moment.signal.name, getattr(Extension, moment.hook)
        carried = ((moment.subject,) if moment.subject else ()) + moment.facts
        arguments, process, celerys = told.pop(name, ((), "", ""))
        if arguments != carried:
            raise SystemExit(f"{module.__name__}: its docstring says {name}{arguments}, and it carries {carried}")
        given = ", ".join(tuple(inspect.signature(hook).parameters)[1:])
        sender = f"the {moment.subject}'s name" if moment.subject else f"the {carried[0]}" if carried else "empty"
        words = " ".join(f"`{one}`" for one in carried) or "none"
        beside = f"`{celerys}`" if celerys else ""
        rows.append(
            (f"`{name}`", _plain(inspect.getdoc(hook)), sender, words, process, beside, f"`{moment.hook}({given})`")
        )
    if told:
        raise SystemExit(f"{module.__name__}: its docstring tells of {', '.join(told)}, which it does not send")
    return _table(("signal", "when", "sender", "keyword arguments", "process", "Celery's own beside it", "hook"), rows)


def _measures(module: Any, head: Sequence[str]) -> str:
    """Return the table in a module's docstring as Markdown."""
    lines = (inspect.getdoc(module) or "").splitlines()
    bars = [number for number, line in enumerate(lines) if line.startswith("====")]
    starts = [found.start() for found in re.finditer("=+", lines[bars[0]])]
    rows = []
    for line in lines[bars[1] + 1 : bars[2]]:
        cells = [line[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=True)]
        rows.append(tuple(_plain(cell) for cell in cells))
    return _table(head, rows)


def _error_tree() -> str:
    text = inspect.getdoc(errors) or ""
    drawing = text.partition("::\n")[2].partition("\n``Fenced``")[0]
    return f"```text\n{inspect.cleandoc(drawing)}\n```"


def _error_codes() -> str:
    entries = []
    for name in errors.__all__:
        kind = getattr(errors, name)
        code = f", `{kind.code}`" if issubclass(kind, errors.DispatchError) else ""
        entries.append((f"`{name}`{code}", _plain(inspect.getdoc(kind))))
    return _list(entries)


def _floors() -> str:
    """Return the layers as floors of a house, the top one first."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    width = max(len(layer) for layer in layers)
    rule = f"+{'-' * (width + 2)}+"
    return "\n".join(("```text", rule, *(f"| {layer:<{width}} |\n{rule}" for layer in layers), "```"))


MAKERS: Final[dict[str, Callable[[], str]]] = {
    "job states": lambda: _states(JobState),
    "job transitions": lambda: _transitions(JobState, TRANSITIONS),
    "job movers": lambda: _movers(JobState, of_runs=False),
    "run states": lambda: _states(RunState),
    "run transitions": lambda: _transitions(RunState, RUN_TRANSITIONS),
    "run movers": lambda: _movers(RunState, of_runs=True),
    "worker states": lambda: _states(WorkerState),
    "settings": _settings,
    "keys": _keys,
    "moments": lambda: _moments(job_signals, MOMENTS),
    "measures": lambda: _measures(metrics, ("instrument", "kind", "labels beside `messaging.destination.name`")),
    "prometheus": lambda: _measures(prometheus, ("metric", "labels", "says")),
    "run moments": lambda: _moments(run_signals, RUN_MOMENTS),
    "floors": _floors,
    "error tree": _error_tree,
    "error codes": _error_codes,
}


def _renewed(text: str) -> str:
    """Return a page with its marked sections as the code has them now."""
    for name, make in MAKERS.items():
        start, end = f"<!-- made: {name} -->", f"<!-- end: {name} -->"
        if start in text:
            before, _, rest = text.partition(start)
            text = f"{before}{start}\n{make()}\n{end}{rest.partition(end)[2]}"
    return text


def _missing_tests(page: Path) -> list[str]:
    missing = []
    for file, name in _TEST.findall(page.read_text(encoding="utf-8")):
        path = ROOT / file
        source = path.read_text(encoding="utf-8") if path.is_file() else ""
        if not re.search(rf"^(async )?def {name}\(", source, re.MULTILINE):
            missing.append(f"{file}::{name}")
    return missing


def main() -> int:
    """Write or compare every page; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 when something is stale")
    check = parser.parse_args().check
    wrong: list[str] = []
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        renewed = _renewed(text)
        if renewed != text:
            wrong.append(f"{page.relative_to(ROOT)} {'is stale' if check else 'is renewed'}")
            if not check:
                page.write_text(renewed, encoding="utf-8")
        wrong += [f"{page.relative_to(ROOT)} names a test that is not there: {test}" for test in _missing_tests(page)]
    sys.stdout.writelines(f"{line}\n" for line in wrong)
    return int(check and bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
