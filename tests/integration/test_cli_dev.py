"""Where the server of ``dispatch dev`` listens: other terminals have been told its port."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from celery import Celery

from dispatch_celery import Dispatch, Workflow
from dispatch_celery.cli.dev import _server, _worker_words


@pytest.fixture(autouse=True)
def no_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``dev`` start a server of its own."""
    monkeypatch.delenv("DISPATCH_REDIS_URL", raising=False)


def test_the_server_comes_back_on_its_port(tmp_path: Path) -> None:
    """What another terminal has exported stays true; if the port is taken by then, it is another one."""
    with _server(None, tmp_path / "dev") as (first, own):
        assert own
    with _server(None, tmp_path / "dev") as (again, _):
        assert again == first
    port = int(first.rpartition(":")[2].partition("/")[0])
    with socket.create_server(("127.0.0.1", port)), _server(None, tmp_path / "dev") as (other, _):
        assert other != first


@pytest.mark.parametrize("words", ["", "many", "99999999999999999999", "-1", "0"])
def test_a_port_that_is_none_is_no_port(words: str, tmp_path: Path) -> None:
    """A file that was cut short or changed costs nothing but the port."""
    data = tmp_path / "dev"
    data.mkdir()
    (data / "port").write_text(words)

    with _server(None, data) as (url, own):
        assert (own, url.startswith("redis://127.0.0.1:")) == (True, True)


def test_the_worker_takes_every_queue_that_the_app_names() -> None:
    """Celery's own, those of jobs, and those of each version of a workflow; or those it is told."""
    app = Celery("queues", broker="memory://", set_as_current=False)
    dispatch = Dispatch(app)

    @dispatch.job(queue="mail")
    def send() -> None: ...

    def flow(wf: Workflow) -> None: ...

    def later(wf: Workflow) -> None: ...

    dispatch.workflow(name="flow", version=1, queue="slow")(flow)
    dispatch.workflow(name="flow", version=2, queue="fast")(later)

    assert "--queues=celery,fast,mail,slow" in _worker_words({"queues": None}, dispatch)
    assert "--queues=mail" in _worker_words({"queues": "mail"}, dispatch)
