"""How the pages get into Flower: once, only where Flower is run, and never at the price of another process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.workers import ROOT

COUNT = "from flower.urls import handlers; print(sum(getattr(rule, 'name', '') == 'dispatch' for rule in handlers))"


def _printed(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nobody_else_imports_flower() -> None:
    """A process that declares and enqueues jobs, and our plugin of the command line, import neither it nor Tornado."""
    code = "import sys, dispatch_celery, dispatch_celery.cli.main; print({'flower', 'tornado'} & set(sys.modules))"

    assert _printed(code, "-A", "app", "worker") == "set()"


def test_the_plugin_adds_the_pages_where_flower_is_run() -> None:
    """Loaded with the word, the plugin has added them before Flower builds its application; without it, not."""
    code = f"import celery.bin.celery; {COUNT}"

    assert _printed(code, "-A", "app", "flower", "--port=0") == "1"
    assert _printed(code, "-A", "app", "worker") == "0"


def test_a_second_install_adds_nothing() -> None:
    """Who installs in a ``flowerconfig.py`` too has every page once."""
    code = f"from dispatch_celery.flower import install; print(install(), install()); {COUNT}"

    assert _printed(code).splitlines() == ["() ()", "1"]


@pytest.mark.parametrize("broken", ["flower.urls", "tornado.web"])
def test_a_flower_that_cannot_be_read_is_shown_without_the_pages(broken: str) -> None:
    """Where the pages cannot even be imported, the command line goes on, and says why."""
    moved = f"import sys; sys.modules[{broken!r}] = None"
    code = f"{moved}; import dispatch_celery.cli.main as main; print(main.dispatch.name)"
    assert _printed(code, "flower") == "dispatch"
