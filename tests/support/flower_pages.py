"""A real Flower process on a test's fleet, asked as a browser or a program would."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from typing import Any

from tests.support.eventually import eventually
from tests.support.workers import ROOT, Fleet

USER = "ada:lovelace"
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The same as JSON."""
        return json.loads(self.text)

    @property
    def words(self) -> str:
        """What a person reads of a page, without its tags."""
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", self.text)).split())


def ask_flower(
    port: int,
    path: str,
    *,
    user: str = "",
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Ask a Flower of this machine, as nobody or as a user with a password."""
    sent = dict(headers or {})
    if user:
        sent["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body=body, headers=sent)
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read().decode())
    finally:
        connection.close()


class FlowerPages:
    """One Flower, with what it was started with."""

    def __init__(self, shop: Fleet, *arguments: str, moved: str | None = None, **environment: str) -> None:
        self.log = shop.folder / f"flower-{len(list(shop.folder.glob('flower-*')))}.log"
        self.user = USER if f"--basic-auth={USER}" in arguments else ""
        prefix = next((word.partition("=")[2] for word in arguments if word.startswith("--url-prefix=")), "")
        self.root = f"/{prefix}" if prefix else ""
        program = ["-m", "celery"] if moved is None else ["-m", "tests.support.moved_flower", moved]
        command = [sys.executable, *program, "-A", "tests.support.shown"]
        command += ["flower", "--port=0", "--address=127.0.0.1"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *arguments],
                cwd=ROOT,
                env={**os.environ, **shop.environment, **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.port = eventually(self._listens, within=30, every=0.05, what="Flower listens")

    def _listens(self) -> int:
        assert self.process.poll() is None, self.words
        found = re.search(r"Visit me at http://127\.0\.0\.1:(\d+)", self.words)
        return int(found[1]) if found else 0

    @property
    def words(self) -> str:
        """Everything it has logged."""
        return self.log.read_text(errors="replace")

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}{self.root}"

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> Answer:
        """Ask as somebody; by default as who may."""
        who = self.user if user is None else user
        return ask_flower(self.port, self.root + path, user=who, method=method, body=body, headers=headers)

    def act(self, path: str, /, *, headers: Mapping[str, str] | None = None, **body: Any) -> Answer:
        """Ask for something to be done, as a program."""
        data = json.dumps(body).encode()
        return self.ask(f"/api/dispatch{path}", method="POST", body=data, headers={**JSON, **(headers or {})})

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@contextmanager
def flower_pages(shop: Fleet, *arguments: str, moved: str | None = None, **environment: str) -> Iterator[FlowerPages]:
    """Run a Flower, by default one with a login; of one whose internals have ``moved``, these."""
    running = FlowerPages(shop, *(arguments or (f"--basic-auth={USER}",)), moved=moved, **environment)
    try:
        yield running
    finally:
        running.close()
