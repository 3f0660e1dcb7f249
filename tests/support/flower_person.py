"""A person with a browser on Flower's pages.

Needs Chromium (``apt-get install chromium``, or its path in ``CHROMIUM``) and playwright, which drives it. What the
pages look like is kept in ``artefacts/flower``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import pytest

from tests.support.flower_pages import USER, FlowerPages
from tests.support.workers import ROOT

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or ""
PICTURES = ROOT / "artefacts" / "flower"
IN_A_BROWSER = [
    pytest.mark.slow,
    pytest.mark.faults,
    pytest.mark.timeout(180),
    pytest.mark.skipif(find_spec("playwright") is None, reason="playwright is not installed"),
    pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium: apt-get install chromium, or set CHROMIUM"),
    pytest.mark.xdist_group("browser"),
]


class Person:
    """One tab, and all that went wrong in it."""

    def __init__(self, context: Any, pages: FlowerPages) -> None:
        self.pages = pages
        self.tab = context.new_page()
        self.wrong: list[str] = []
        self.tab.on("dialog", lambda dialog: (self.wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        self.tab.on("console", lambda line: self.wrong.append(line.text) if line.type == "error" else None)
        self.tab.on("pageerror", lambda error: self.wrong.append(str(error)))

    def go(self, path: str) -> None:
        """Open a page, and wait until its script has run."""
        self.tab.goto(f"{self.pages.url}/dispatch{path}")
        self.tab.wait_for_selector(".dc-said", state="attached")

    def keep(self, name: str) -> None:
        """Keep a picture of what is seen."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.tab.screenshot(path=str(PICTURES / f"{name}.png"), full_page=True)

    def press(self, label: str, *, confirm: str = "") -> None:
        """Press a button, and confirm what it asks."""
        self.tab.get_by_role("button", name=label, exact=True).first.click()
        if confirm:
            self.tab.locator("dialog").get_by_role("button", name=confirm, exact=True).click()

    def reads(self, words: str) -> None:
        """Wait until something can be read on the page."""
        self.tab.get_by_text(words).first.wait_for(timeout=10_000)


@contextmanager
def browser() -> Iterator[Any]:
    """Run a browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@contextmanager
def somebody(chromium: Any, pages: FlowerPages) -> Iterator[Person]:
    """Have a person who is logged in; whatever went wrong in the tab fails the block."""
    name, _, password = USER.partition(":")
    context = chromium.new_context(
        viewport={"width": 1280, "height": 900}, http_credentials={"username": name, "password": password}
    )
    context.set_default_timeout(15_000)
    made = Person(context, pages)
    yield made
    context.close()
    assert made.wrong == []
