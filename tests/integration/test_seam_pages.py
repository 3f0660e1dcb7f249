"""The code on the pages about the life cycle, middleware and telemetry runs as it stands there."""

from __future__ import annotations

import re
from typing import Any

import pytest
from celery import Celery

from dispatch_celery import Dispatch
from dispatch_celery.signals import job_failed
from dispatch_celery.work.spans import follow
from tests.support.workers import ROOT

_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("page", ["lifecycle", "middleware", "telemetry"])
def test_the_code_of_a_page_runs(page: str) -> None:
    """Every block, in order, in one program that has an app."""
    receivers = list(job_failed.receivers)
    app = Celery("page", broker="redis://127.0.0.1:1/0", set_as_current=False)
    names: dict[str, Any] = {"dispatch": Dispatch(app)}
    blocks = _BLOCK.findall((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"))
    assert blocks
    try:
        for block in blocks:
            exec(compile(block, f"{page}.md", "exec"), names)  # noqa: S102 - the page is ours
    finally:
        follow(None)
        job_failed.receivers[:] = receivers
        names["dispatch"].close()
