"""Putting the transport in place, and taking it out again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from kombu import Connection
from kombu.transport import TRANSPORT_ALIASES

from dispatch_celery.transport import install, installed, uninstall
from dispatch_celery.transport.transports import SentinelTransport, Transport


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = dict(TRANSPORT_ALIASES)
    yield
    TRANSPORT_ALIASES.update(before)
    if not installed():
        uninstall()


def test_redis_urls_are_ours_and_look_the_same() -> None:
    """Scheme, driver type and URI stay what Flower and Celery decide by."""
    install()
    install()
    connection = Connection("redis://host/0")

    assert isinstance(connection.transport, Transport)
    assert isinstance(Connection("sentinel://host").transport, SentinelTransport)
    assert connection.transport.driver_type == "redis"
    assert connection.as_uri() == "redis://:**@host:6379/0"


def test_uninstall_gives_kombus_back() -> None:
    """Also after it was used."""
    install()
    assert isinstance(Connection("redis://host").transport, Transport)
    uninstall()
    uninstall()

    assert not isinstance(Connection("redis://host").transport, Transport)
    assert not installed()


def test_installing_warns_of_nothing() -> None:
    """With every warning an error, in a fresh process."""
    program = "from dispatch_celery.transport import install, uninstall; install(); uninstall()"
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
