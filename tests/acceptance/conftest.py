"""Fixtures of the acceptance tests: a fleet of real workers on the suite's own server."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.flower_pages import FlowerPages, flower_pages
from tests.support.flower_person import Person, browser, somebody
from tests.support.workers import Fleet, fleet


@pytest.fixture
def shop(namespace: str, server_url: str, tmp_path: Path) -> Iterator[Fleet]:
    """Return a fleet in a namespace of its own, without workers yet."""
    with fleet(namespace, server_url, tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def dispatch_server_url(server_url: str) -> str:
    """Have the testing kit share the suite's server."""
    return server_url


@pytest.fixture(scope="module")
def town(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Return a fleet without workers, which tests share that look at records of their own only."""
    with fleet(f"t{secrets.token_hex(4)}", server_url, tmp_path_factory.mktemp("town")) as made:
        yield made


@pytest.fixture(scope="module")
def pages(town: Fleet) -> Iterator[FlowerPages]:
    """Return a Flower with a login."""
    with flower_pages(town) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Return a browser."""
    with browser() as running:
        yield running


@pytest.fixture
def person(chromium: Any, pages: FlowerPages) -> Iterator[Person]:
    """Return a person who is logged in; whatever went wrong in the tab fails the test."""
    with somebody(chromium, pages) as made:
        yield made
