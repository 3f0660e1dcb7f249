"""Types as a product: what users write passes three strict checkers, and what must not, fails.

Every line of a case that bears ``# MUST FAIL`` has an error of each checker, and no other line has one. The
checkers see this interpreter's packages through an environment of links, once with celery-types and once without.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

# Each checker is asked once for all cases, by the process that runs these tests.
pytestmark = pytest.mark.xdist_group("typing")

CASES = Path(__file__).parent / "cases"
STUBS = re.compile(r"^(amqp|billiard|celery|kombu|vine)-stubs$|^celery_types-")
CHECKERS = ("mypy", "pyright", pytest.param("basedpyright", marks=pytest.mark.faults))
BESIDE = Path(sys.executable).parent

# A user without celery-types has told the checkers so: Celery's own imports are no error of this package.
MYPY_WITHOUT = "[mypy-celery.*,kombu.*]\nignore_missing_imports = True\n"
PYRIGHT_WITHOUT = {"reportMissingTypeStubs": False}


@dataclass(frozen=True)
class Bench:
    """A folder with the cases and an interpreter for checkers to look at."""

    folder: Path
    python: Path
    with_stubs: bool


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Bench]:
    """Return the two benches: with celery-types and without."""
    return {
        with_stubs: _bench(tmp_path_factory.mktemp("typing"), with_stubs=with_stubs) for with_stubs in (True, False)
    }


def _bench(folder: Path, *, with_stubs: bool) -> Bench:
    venv.create(folder / "env", with_pip=False, symlinks=True)
    python = folder / "env" / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "env" / "lib" / version / "site-packages"
    for entry in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if with_stubs or not STUBS.match(entry.name):
            (packages / entry.name).symlink_to(entry)
    shutil.copytree(CASES, folder / "cases", ignore=shutil.ignore_patterns("__pycache__"))
    return Bench(folder, python, with_stubs)


def _run(bench: Bench, *words: object) -> str:
    environment = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1", "NO_COLOR": "1"}
    done = subprocess.run(
        [str(word) for word in words], cwd=bench.folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout or done.stderr


def _mypy(bench: Bench) -> dict[tuple[str, int], str]:
    config = bench.folder / "mypy.ini"
    config.write_text("[mypy]\nstrict = True\n" + ("" if bench.with_stubs else MYPY_WITHOUT))
    options = ("--config-file", config, "--cache-dir", bench.folder / "cache", "--python-executable", bench.python)
    said = _run(bench, BESIDE / "mypy", *options, "--no-error-summary", "--hide-error-context", "cases")
    found = {
        (name, int(line)): words for name, line, words in re.findall(r"(?m)^cases/(\w+\.py):(\d+): error: (.*)$", said)
    }
    assert found, said
    return found


def _pyright(program: str, bench: Bench) -> dict[tuple[str, int], str]:
    config = bench.folder / f"{program}.json"
    rules = {} if bench.with_stubs else PYRIGHT_WITHOUT
    config.write_text(json.dumps({"typeCheckingMode": "strict", "include": ["cases"], **rules}))
    said = _run(bench, BESIDE / program, "--pythonpath", bench.python, "--outputjson", "-p", config)
    report = json.loads(said)
    assert report["summary"]["filesAnalyzed"] == len(list(CASES.glob("*.py"))), said
    return {
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1): one["message"]
        for one in report["generalDiagnostics"]
        if one["severity"] == "error"
    }


@cache
def _errors(checker: str, bench: Bench) -> dict[tuple[str, int], str]:
    if not (BESIDE / checker).exists():
        pytest.skip(f"{checker} is not installed beside this interpreter")
    return _mypy(bench) if checker == "mypy" else _pyright(checker, bench)


def _marked(case: str) -> set[int]:
    lines = (CASES / case).read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, 1) if "# MUST FAIL" in line}


def _judge(case: str, checker: str, bench: Bench) -> None:
    found = {line: words for (name, line), words in _errors(checker, bench).items() if name == case}
    marked = _marked(case)
    assert {line: words for line, words in found.items() if line not in marked} == {}, "lines that must pass"
    assert marked - found.keys() == set(), "lines that must fail"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("with_stubs", [True, False], ids=["with celery-types", "without"])
@pytest.mark.parametrize("checker", CHECKERS)
@pytest.mark.parametrize(
    "case",
    [
        "jobs_usage.py",
        "jobs_usage_options.py",
        "jobs_usage_async.py",
        "workflows_usage.py",
        "cron_usage.py",
    ],
)
def test_a_checker_sees_what_users_rely_on(
    benches: dict[bool, Bench],
    case: str,
    checker: str,
    with_stubs: bool,  # noqa: FBT001 - a table's column
) -> None:
    """Exactly the marked lines have errors, whether Celery's types are installed or not."""
    _judge(case, checker, benches[with_stubs])


@pytest.mark.timeout(180)
@pytest.mark.parametrize("checker", CHECKERS)
def test_celerys_verbs_have_celerys_types(benches: dict[bool, Bench], checker: str) -> None:
    """With celery-types, results and signatures know what the job returns."""
    _judge("jobs_usage_celery.py", checker, benches[True])


@pytest.mark.timeout(180)
@pytest.mark.parametrize("checker", CHECKERS)
def test_the_bench_without_stubs_has_none(benches: dict[bool, Bench], checker: str) -> None:
    """What needs celery-types fails without them, so the two benches do differ."""
    found = {line for name, line in _errors(checker, benches[False]) if name == "jobs_usage_celery.py"}

    if checker != "mypy":
        assert found - _marked("jobs_usage_celery.py")
    assert not any(STUBS.match(entry.name) for entry in benches[False].folder.glob("env/lib/*/site-packages/*"))
