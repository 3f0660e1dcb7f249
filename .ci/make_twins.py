"""Writes the ``a`` twins: for each verb that makes a trip, the same verb for event loops, at the end of its class.

``python .ci/make_twins.py`` rewrites what is stale; ``--check`` only says so, and fails. A twin runs its verb in
the loop's own bounded pool of threads, in a copy of the caller's context, so the scope travels with it. Verbs
that wait for something (``result``) or validate in the caller (``enqueue`` of a job) have twins by hand.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent / "dispatch_celery"
WIDTH = 120
MARK = "    # -- the same on an event loop, written by .ci/make_twins.py\n"
TWINS = {
    ("app.py", "Dispatch"): ("enqueue", "start", "enqueue_many", "ping", "stats", "census", "doctor", "close"),
    ("jobs/service.py", "JobService"): ("get", "state", "list", "count", "ready", "cancel", "retry", "run_now"),
    ("jobs/handle.py", "JobHandle"): ("state", "info", "cancel"),
    ("jobs/context.py", "JobContext"): ("progress",),
    ("dlq/reading.py", "DeadLetterReading"): ("list", "groups", "get", "count"),
    ("dlq/service.py", "DeadLetterService"): ("note", "replay", "preview", "replay_all", "put_back", "purge"),
    ("dlq/selection.py", "DeadLetterSelection"): ("count", "preview", "replay", "put_back", "purge"),
    ("workflows/reading.py", "RunReading"): ("get", "state", "timeline", "inspect", "children", "list", "count"),
    ("workflows/operating.py", "RunOperating"): (
        "cancel",
        "compensate",
        "retry_undo",
        "skip_undo",
        "publish",
        "resume",
    ),
    ("workflows/starting.py", "RunStarting"): ("start",),
    ("workflows/rewriting.py", "RunRewriting"): ("migrate", "rewind", "fork"),
    ("workflows/checking.py", "RunChecking"): ("check_code",),
    ("workflows/steps.py", "StepContext"): ("progress",),
    ("workflows/handle.py", "RunHandle"): ("state", "info", "cancel", "publish"),
    ("events/service.py", "EventService"): ("publish", "publish_to", "get", "list"),
    ("cron/reading.py", "CronReading"): ("get", "list", "upcoming", "census"),
    ("cron/service.py", "CronService"): ("register", "enable", "disable", "trigger", "delete"),
    ("cluster/service.py", "WorkerService"): ("list", "get", "leader"),
    ("queues/service.py", "QueueService"): (
        "get",
        "list",
        "waiting",
        "census",
        "limit",
        "unlimit",
        "pause",
        "resume",
    ),
}


def twin(verb: ast.FunctionDef) -> str:
    """Return the twin of a verb."""
    arguments = verb.args
    passed = [name.arg for name in (*arguments.posonlyargs, *arguments.args)[1:]]
    passed += [f"*{arguments.vararg.arg}"] if arguments.vararg else []
    passed += [f"{name.arg}={name.arg}" for name in arguments.kwonlyargs]
    passed += [f"**{arguments.kwarg.arg}"] if arguments.kwarg else []
    returned = ast.unparse(verb.returns) if verb.returns else "None"
    give = "" if returned == "None" else "return "
    shadows = "  # noqa: A002 - the word of the whole API" if any(name.arg == "id" for name in arguments.args) else ""
    head = f"    async def a{verb.name}({ast.unparse(arguments)}) -> {returned}:"
    if shadows and len(head) > WIDTH:  # the reason belongs to the line of the parameter
        first, second, rest = ast.unparse(arguments).split(", ", 2)
        parameters = f"        {first},\n        {second},{shadows}\n        {rest},\n"
        head, shadows = f"    async def a{verb.name}(\n{parameters}    ) -> {returned}:", ""
    return (
        f"{head}{shadows}\n"
        f'        """Do as ``{verb.name}``, without holding the event loop."""\n'
        f"        {give}await asyncio.to_thread({', '.join([f'self.{verb.name}', *passed])})\n"
    )


def rewritten(source: str, kind: str, verbs: tuple[str, ...]) -> str:
    """Return a module's text with the twins of one of its classes as they should be."""
    tree = ast.parse(source)
    (node,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == kind]
    found = {part.name: part for part in node.body if isinstance(part, ast.FunctionDef) and not part.decorator_list}
    lines = source.splitlines(keepends=True)
    body = "".join(lines[node.lineno - 1 : node.end_lineno]).split(MARK)[0].rstrip() + "\n"
    block = "\n" + MARK + "\n" + "\n".join(twin(found[verb]) for verb in verbs)
    return "".join(lines[: node.lineno - 1]) + body + block + "".join(lines[node.end_lineno :])


def formatted(source: str, path: Path) -> str:
    """Return a text in the house's form."""
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(path), "-"]
    return subprocess.run(command, input=source, text=True, capture_output=True, check=True).stdout  # noqa: S603


def main() -> int:
    """Write or check every twin."""
    stale = []
    for (name, kind), verbs in TWINS.items():
        path = ROOT / name
        source = path.read_text()
        wanted = formatted(rewritten(source, kind, verbs), path)
        if wanted != source:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(wanted)
    for name in stale:
        sys.stdout.write(f"{name}: its a twins were stale\n")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
