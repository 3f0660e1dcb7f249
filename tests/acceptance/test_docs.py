"""The code of the user's guide and of the README, run as it stands there, against real workers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.workers import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
_FILE = re.compile(r"# (\w+\.py)\b.*\n")


def files_of(page: str, url: str) -> dict[str, str]:
    """Return the files a page is made of; blocks without a name are the caller's."""
    found: dict[str, str] = {}
    for block in _BLOCK.findall((ROOT / page).read_text()):
        named = _FILE.match(block)
        name = named[1] if named else "caller.py"
        found[name] = found.get(name, "") + block + "\n"
    return {name: text.replace("redis://localhost:6379/0", url) for name, text in found.items()}


@pytest.fixture
def environment(namespace: str, tmp_path: Path) -> dict[str, str]:
    """Return what the processes of a page see."""
    return {**os.environ, "DISPATCH_NAMESPACE": namespace, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}


def run(folder: Path, environment: dict[str, str], *arguments: str) -> None:
    """Run a program of a page to its end."""
    ended = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-3000:]


def test_the_users_guide_runs(tmp_path: Path, environment: dict[str, str], server_url: str) -> None:
    """Every block of the guide, in order: the app, its callers, the front, the tests."""
    # Queues are named as users would name them: a database of its own keeps them apart from other tests'.
    files = files_of("docs/jobs.md", f"{server_url.rpartition('/')[0]}/9")
    files["caller.py"] = f"from shop import *\n\n{files['caller.py']}"
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "celery", "-A", "shop", "worker", "-Q", "celery,mail", "-c", "2", "-l", "INFO"]
    log = tmp_path / "worker.log"
    with log.open("wb") as out:
        worker = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=out, stderr=out)
    try:
        eventually(lambda: " ready." in log.read_text(), within=30, what="the worker is ready")
        run(tmp_path, environment, "caller.py")
        run(tmp_path, environment, "front.py")
    finally:
        worker.terminate()
        worker.wait(timeout=30)
    run(tmp_path, environment, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py")


def test_the_job_in_ten_lines_runs(tmp_path: Path, environment: dict[str, str]) -> None:
    """The README's app and caller, beside an embedded server and a worker."""
    for name, text in files_of("README.md", "redis://localhost:6379/0").items():
        (tmp_path / name).write_text(text)

    run(tmp_path, environment, "-m", "celery", "-A", "shop", "dispatch", "dev", "--", sys.executable, "order.py")


def test_the_guide_to_workflows_runs(tmp_path: Path, environment: dict[str, str]) -> None:
    """Its app and its caller, beside an embedded server and a worker."""
    for name, text in files_of("docs/workflows.md", "redis://localhost:6379/0").items():
        (tmp_path / name).write_text(text)

    run(tmp_path, environment, "-m", "celery", "-A", "checkout", "dispatch", "dev", "--", sys.executable, "caller.py")


def test_the_guide_to_cron_runs(tmp_path: Path, environment: dict[str, str]) -> None:
    """Its app and its caller, beside an embedded server and a worker."""
    for name, text in files_of("docs/cron.md", "redis://localhost:6379/0").items():
        (tmp_path / name).write_text(text)

    run(tmp_path, environment, "-m", "celery", "-A", "clockwork", "dispatch", "dev", "--", sys.executable, "caller.py")


def test_the_guide_to_limits_runs(tmp_path: Path, environment: dict[str, str]) -> None:
    """Its app and its caller, beside an embedded server and a worker."""
    for name, text in files_of("docs/limits.md", "redis://localhost:6379/0").items():
        (tmp_path / name).write_text(text)

    run(tmp_path, environment, "-m", "celery", "-A", "post", "dispatch", "dev", "--", sys.executable, "caller.py")


def test_the_guide_to_testing_runs(tmp_path: Path, environment: dict[str, str]) -> None:
    """Its app, its fixtures and its tests, under pytest alone: nothing listens at the app's broker."""
    for name, text in files_of("docs/testing.md", "redis://127.0.0.1:1/0").items():
        (tmp_path / name).write_text(text)

    run(tmp_path, environment, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py")
    run(
        tmp_path,
        environment,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--dispatch-always-replay",
        "test_shop.py",
    )


@pytest.mark.faults
def test_the_census_counts_what_a_direct_count_counts(tmp_path: Path, environment: dict[str, str]) -> None:
    """The demo at reduced size: a worker killed half-way, files that fail once and always, equal totals."""
    run(tmp_path, environment, str(ROOT / "examples" / "library_census" / "run.py"), "--files", "150")
