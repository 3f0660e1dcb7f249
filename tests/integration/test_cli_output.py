"""What the command line prints: whole ids, plain values, no control characters, times people can give and read."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta

import click
import pytest
from rich.console import Console

from dispatch_celery.cli.moments import moment, span, when
from dispatch_celery.cli.output import Output, text_column
from dispatch_celery.cli.plain import plain, printable
from dispatch_celery.ids import JobId
from dispatch_celery.jobs.model import JobState
from dispatch_celery.work.model import Failure


def narrow(width: int) -> tuple[Output, io.StringIO]:
    output, file = Output(as_json=False), io.StringIO()
    output.console = Console(file=file, width=width, force_terminal=True, color_system=None, markup=False)
    return output, file


@pytest.mark.parametrize("width", [10, 40, 200])
def test_ids_are_whole_at_any_width(width: int) -> None:
    """A terminal narrower than an id gets the id all the same, in tables and among fields."""
    output, file = narrow(width)
    job_id = JobId.mint()
    output.table(["id", "name", text_column("error")], [(job_id, "two words" * 3, "words " * 20)], empty="")
    output.fields([("id", job_id), ("worker", job_id)])
    output.line(f"{job_id} is ready")

    assert sum(job_id in line for line in file.getvalue().splitlines()) == 4
    assert "two words" * 3 in file.getvalue()


def test_text_of_the_store_cannot_steer_a_terminal() -> None:
    """Escape sequences, bells and invisible letters are spelled out; lines stay lines."""
    output, file = narrow(80)
    output.line("\x1b[2J[red]a\x07\u202eb\nc")

    assert file.getvalue() == "\\x1b[2J[red]a\\x07\\u202eb\nc\n"
    assert printable("a\tb é") == "a   b é"


def test_json_values_are_plain() -> None:
    """Enums and ids are text, times ISO 8601 with milliseconds, bytes base64, records objects."""
    job_id = JobId.mint()
    value = {
        JobState.FAILED: 1,
        "id": job_id,
        "at": datetime(2026, 1, 2, tzinfo=UTC),
        "raw": b"\xff",
        "span": timedelta(seconds=2),
        "failure": Failure(type="E", message="m", traceback="t"),
        "many": (True, None, 1.5),
    }

    assert json.loads(json.dumps(plain(value, without=("traceback",)))) == {
        "failed": 1,
        "id": str(job_id),
        "at": "2026-01-02T00:00:00.000+00:00",
        "raw": "/w==",
        "span": 2.0,
        "failure": {"type": "E", "message": "m"},
        "many": [True, None, 1.5],
    }


def test_times_are_given_as_people_say_them() -> None:
    """ISO 8601, with UTC where no zone is named, or how long ago; anything else is refused with an example."""
    assert moment("2026-01-31T12:00") == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert moment("2026-01-31T12:00+02:00") == datetime(2026, 1, 31, 10, tzinfo=UTC)
    assert abs(datetime.now(UTC) - timedelta(hours=2) - moment("2h")) < timedelta(seconds=5)
    for words in ("yesterday", "5", "99999999999999999d"):
        with pytest.raises(click.BadParameter, match="ISO 8601"):
            moment(words)


def test_lengths_of_time_have_one_unit() -> None:
    """Rounded down, so that nothing is said to be due before it is."""
    lengths = [0.4, 59, 61, 3_599, 7_300, 100_000, 200_000]

    assert [span(timedelta(seconds=seconds)) for seconds in lengths] == [
        *("0.4 s", "59 s", "1 min", "59 min", "2 h", "1 day", "2 days"),
    ]
    assert when(None, datetime.now(UTC)) == ""
