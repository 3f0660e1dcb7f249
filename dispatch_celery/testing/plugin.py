"""The pytest plugin: fixtures for the testing kit, for a suite that names it in ``pytest_plugins``.

A suite overrides ``dispatch_app`` and asks for ``dispatch_kit``. ``dispatch_server_url`` may be overridden, too: the
tests of a session share that server, each in a namespace of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest

from dispatch_celery.app import Dispatch
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.store.embedded import EmbeddedServer
from dispatch_celery.testing.kit import Kit

__all__ = ["dispatch_app", "dispatch_kit", "dispatch_server", "dispatch_server_url", "dispatch_start"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer ``--dispatch-always-replay``."""
    parser.getgroup("dispatch_celery").addoption(
        "--dispatch-always-replay",
        action="store_true",
        help="replay the whole workflow function after every durable call: finds code that does not repeat itself",
    )


@pytest.fixture(scope="session")
def dispatch_server() -> Iterator[EmbeddedServer]:
    """Start an embedded server for the tests of this session; it is stopped with it."""
    try:
        server = EmbeddedServer(append_only=False).start()
    except ConfigurationError as error:
        pytest.fail(f"dispatch_server: {error}", pytrace=False)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def dispatch_server_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of the server that tests use: the embedded one, unless a suite overrides this."""
    server: EmbeddedServer = request.getfixturevalue("dispatch_server")
    return server.url


@pytest.fixture
def dispatch_app() -> Dispatch:
    """Return the ``Dispatch`` under test; every suite overrides this."""
    pytest.fail(
        "dispatch_kit does not know your app. Put this into conftest.py, with the module your Dispatch lives in:\n\n"
        "    @pytest.fixture\n"
        "    def dispatch_app():\n"
        "        from shop import dispatch\n\n"
        "        return dispatch",
        pytrace=False,
    )


@pytest.fixture
def dispatch_start() -> datetime | None:
    """Return where the virtual clock begins, with a time zone; None is the present. A suite may override this."""
    return None


@pytest.fixture
def dispatch_kit(
    request: pytest.FixtureRequest, dispatch_app: Dispatch, dispatch_server_url: str, dispatch_start: datetime | None
) -> Iterator[Kit]:
    """Lend the app to this test, in a namespace of its own, executed by the test; see ``dispatch_celery.testing``."""
    always = bool(request.config.getoption("--dispatch-always-replay", default=False))
    with Kit(dispatch_app, dispatch_server_url, start=dispatch_start, always_replay=always) as kit:
        yield kit
