"""The chat: a local HTTP receiver that is slow, and refuses every third post, as such things do."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SLOW = 0.3


@dataclass
class Chat:
    """What was posted, and how often somebody was turned away."""

    url: str = ""
    lines: list[str] = field(default_factory=list)
    refused: int = 0
    asked: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def open_chat() -> Iterator[Chat]:
    """Open a chat on a free port for as long as the block lasts."""
    chat = Chat()

    class Receiver(BaseHTTPRequestHandler):
        """Takes posts."""

        def do_POST(self) -> None:
            """Take one, after a while, or refuse it."""
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            time.sleep(SLOW)
            with chat.lock:
                chat.asked += 1
                refuses = chat.asked % 3 == 0
                chat.refused += refuses
                if not refuses:
                    chat.lines.append(body["text"])
            self.send_response(503 if refuses else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Keep the terminal clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    chat.url = f"http://127.0.0.1:{server.server_address[1]}/hooks/ops"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield chat
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
