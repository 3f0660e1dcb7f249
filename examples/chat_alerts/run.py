"""Jobs that fail are told in a chat that is slow and refuses some posts; nothing waits for it, and nothing is lost.

    python examples/chat_alerts/run.py

Starts a server, a chat and a real worker of its own. Exits with 1 if a dead letter was not told, or told twice.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from afterwards import stay
from chat import Chat, open_chat
from rich.console import Console

from dispatch_celery import JobState
from dispatch_celery.store.embedded import EmbeddedServer

console = Console(highlight=False, soft_wrap=True)

ORDERS = range(1, 13)


def start_worker(folder: Path, chat: Chat) -> subprocess.Popen[bytes]:
    """Start a real `celery worker` that knows the chat."""
    command = [sys.executable, "-m", "celery", "-A", "app", "worker", "-n", "ada@chat_alerts", "-c", "2", "-l", "INFO"]
    environment = {**os.environ, "CHAT_URL": chat.url}
    with (folder / "ada.log").open("wb") as log:
        return subprocess.Popen(command, cwd=HERE, env=environment, stdout=log, stderr=log)


def main() -> int:
    """Tell the story; return 0 if the chat and the dead letters agree."""
    with tempfile.TemporaryDirectory(prefix="chat-alerts-") as folder, EmbeddedServer() as server, open_chat() as chat:
        os.environ["CHAT_BROKER"] = server.url
        return stay(story(Path(folder), chat), HERE, Path(folder))


def story(folder: Path, chat: Chat) -> int:
    """Ship some orders, stop the worker, and compare."""
    from app import dispatch, ship

    worker = start_worker(folder, chat)
    try:
        handles = ship.enqueue_many((order,) for order in ORDERS)
        limit = time.monotonic() + 60
        while any(handle.state() not in (JobState.COMPLETED, JobState.FAILED) for handle in handles):
            if time.monotonic() > limit:
                raise SystemExit((folder / "ada.log").read_text()[-3000:])
            time.sleep(0.05)
        ended = len(chat.lines)
        worker.terminate()  # it says its last words, and goes
        worker.wait(timeout=30)
        letters = {str(letter.job_id) for letter in dispatch.dlq.list()}
    finally:
        worker.kill()
        dispatch.close()
    for line in chat.lines:
        console.print(f"[dim]#ops[/] {line}")
    told = [line.split()[2] for line in chat.lines if "needs a person" in line]
    console.print(
        f"{len(handles)} jobs have ended when the chat had {ended} lines; it has {len(chat.lines)} now,"
        f" after {chat.refused} refusals; {len(letters)} dead letters, {len(told)} told"
    )
    agree = sorted(told) == sorted(letters) and len(letters) == len([order for order in ORDERS if order % 4 == 0])
    console.print("[bold green]the chat agrees[/]" if agree else "[bold red]the chat does NOT agree[/]")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
