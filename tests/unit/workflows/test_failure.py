"""A step's error as data and back: what a workflow catches is of the original class, or plainly a StepFailed."""

from __future__ import annotations

import asyncio
import json
import sys
from types import ModuleType
from typing import Any, Self

import pytest

from dispatch_celery.errors import JobFailed, JobTimeout, StepFailed
from dispatch_celery.workflows.failure import encode_error, failure_in, rebuilt


class Refused(Exception):
    """An error with an argument and attributes."""

    def __init__(self, reason: str, *, amount: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.amount = amount
        self.connection = object()


class Keyed(LookupError):
    """An error whose arguments are not those of its ``__init__``."""

    def __init__(self, table: str, key: int) -> None:
        super().__init__(f"no {key} in {table}")
        self.table, self.key = table, key


class Slotted(Exception):
    """An error with a slot."""

    __slots__ = ("place",)

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self.place = place


class Fussy(Exception):
    """An error whose ``__new__`` takes more than it stores."""

    def __new__(cls, first: str, second: str) -> Self:
        """Make it of two words."""
        return super().__new__(cls, f"{first} {second}")

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


class Numbered(Exception):
    """An error whose ``id`` is its own business."""

    @property
    def id(self) -> int:
        """Its number."""
        return 7


class Registered(Exception):
    """An error whose subclasses must have a number each."""

    def __init_subclass__(cls) -> None:
        raise ValueError(f"{cls.__name__} has no number")


class Mute(Exception):
    """An error that cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class Hostile:
    """An argument that cannot be printed."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")


def raised(error: Exception) -> Exception:
    """Return an error with a traceback."""
    try:
        raise error  # noqa: TRY301 - what the function is for
    except Exception as caught:  # noqa: BLE001 - any will do
        return caught


def there_and_back(error: Exception) -> Any:
    """Return what a workflow catches when a step raises an error."""
    return rebuilt("charge#1", encode_error(raised(error)))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        KeyError("k"),
        Refused("no money", amount=3),
        Keyed("orders", 3),
        Slotted(3),
        json.JSONDecodeError("no JSON", "{", 1),
        TimeoutError("slow"),
        JobTimeout("slow"),
        JobFailed("it failed", id="job_1"),
        StepFailed("inner"),
        ConnectionResetError(104, "reset"),
        asyncio.QueueEmpty(),
        StopIteration(3),
        ZeroDivisionError(),
        Exception("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_caught_by_its_class_and_as_a_failed_step(error: Exception) -> None:
    """``except`` with either name finds it; its arguments, type and message are the original's."""
    found = there_and_back(error)

    assert isinstance(found, StepFailed)
    assert isinstance(found, type(error))
    assert found.args == error.args
    assert type(found).__name__ == type(error).__name__
    assert (found.id, found.error_message, found.code) == ("charge#1", str(error), "step_failed")


def test_attributes_that_are_json_come_back() -> None:
    """The others are left out, and ``__init__`` is not called again."""
    found = there_and_back(Refused("no money", amount=3))

    assert (found.reason, found.amount) == ("no money", 3)
    assert not hasattr(found, "connection")
    assert str(found) == "no money"
    assert there_and_back(Keyed("orders", 3)).table == "orders"


def test_the_remote_traceback_is_kept_and_printed() -> None:
    """It is an attribute and a note, and notes of the original are printed once, within it."""
    error = ValueError("x")
    error.add_note("a note")
    found = there_and_back(error)

    assert "raise error" in found.remote_traceback
    assert found.__notes__ == ["step charge#1 failed: ValueError: x", found.remote_traceback]
    assert found.remote_traceback.count("a note") == 1


def test_a_plain_failure_says_which_step_and_why() -> None:
    """Where the class cannot be had, the words hold what it was."""

    class Local(Exception):
        pass

    found = there_and_back(Local("here"))

    assert type(found) is StepFailed
    assert str(found).startswith("step charge#1 failed: ")
    assert str(found).endswith("Local: here")
    assert found.error_type.endswith("Local")


@pytest.mark.parametrize(
    "error",
    [
        ExceptionGroup("several", [ValueError("a"), KeyError("b")]),
        Fussy("a", "b"),
        Registered("x"),
        Numbered("x"),
        UnicodeEncodeError("ascii", "\xe9", 0, 1, "no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_class_that_refuses_is_a_failed_step_all_the_same(error: Exception) -> None:
    """Whatever the class does when it is made again, the workflow catches a StepFailed with the facts."""
    found = there_and_back(error)

    assert isinstance(found, StepFailed)
    assert (found.id, found.error_message) == ("charge#1", str(error))
    assert "raise error" in found.remote_traceback


def test_a_system_error_has_its_number() -> None:
    """Who catches OSError looks at ``errno``: it is the original's, or the class is not claimed."""
    found = there_and_back(FileNotFoundError(2, "No such file or directory", "/nowhere"))

    assert not isinstance(found, OSError) or (found.errno, found.strerror) == (2, "No such file or directory")


def test_a_decoding_error_is_whole_or_a_plain_failure() -> None:
    """Bytes are no JSON: what is made of the error can be asked for its reason, or is not of its class."""
    found = there_and_back(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"))

    assert not isinstance(found, UnicodeDecodeError) or (found.reason, found.start) == ("invalid start byte", 0)


@pytest.mark.parametrize(
    ("argument", "kept"),
    [
        ((1, (2, "x")), [1, [2, "x"]]),
        (float("nan"), "nan"),
        ({1, 2}, "{1, 2}"),
        (b"\xff", "b'\\xff'"),
        ("\ud800", "\ud800"),
        (None, None),
    ],
)
def test_an_argument_that_is_no_json_is_printed(argument: Any, kept: Any) -> None:
    """What JSON holds comes back, the rest as people would see it."""
    assert there_and_back(ValueError(argument)).args == (kept,)


@pytest.mark.parametrize("error", [Mute("x"), ValueError(Hostile())], ids=["error", "argument"])
def test_an_error_that_cannot_be_printed_is_stored(error: Exception) -> None:
    """A step must not fail without a record because its error has no words."""
    found = there_and_back(error)

    assert isinstance(found, StepFailed)
    assert "cannot be printed" in found.error_message


def test_an_attribute_that_cannot_be_read_is_left_out() -> None:
    """A mapping that raises when it is walked hurts nobody."""

    class Trap(dict[str, int]):
        def items(self) -> Any:
            raise LookupError("a trap")

    error = ValueError("x")
    error.trap = Trap(a=1)  # type: ignore[attr-defined]

    assert isinstance(there_and_back(error), ValueError)


@pytest.mark.parametrize("where", ["argument", "attribute"])
def test_a_stored_error_is_bounded(where: str) -> None:
    """An error that carries a whole document does not fill the journal with it."""
    error = ValueError("x" * 5_000_000 if where == "argument" else "x")
    if where == "attribute":
        error.document = "x" * 5_000_000  # type: ignore[attr-defined]

    assert len(encode_error(error)) < 1_048_576


def test_a_stored_error_can_be_shown_without_its_class() -> None:
    """A timeline has type, message and traceback."""
    failure = failure_in(encode_error(raised(KeyError("k"))))

    assert (failure.type, failure.message) == ("KeyError", "'k'")
    assert failure.traceback.rstrip().endswith("KeyError: 'k'")


@pytest.mark.parametrize("module", ["wsgiref.simple_server", "no.such.module"])
def test_nothing_is_imported_for_an_error(module: str) -> None:
    """A class that is not there is a plain StepFailed, and its module stays out."""
    data = json.loads(encode_error(ValueError("x"))) | {"module": module, "qualname": "Error"}
    before = set(sys.modules)

    assert type(rebuilt("charge#1", json.dumps(data).encode())) is StepFailed
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    ("module", "qualname"), [("builtins", "SystemExit"), ("builtins", "print"), ("os", "path.join"), ("sys", "")]
)
def test_only_exceptions_are_made_again(module: str, qualname: str) -> None:
    """Stored words cannot name anything else into being."""
    data = json.loads(encode_error(ValueError("x"))) | {"module": module, "qualname": qualname}

    assert type(rebuilt("charge#1", json.dumps(data).encode())) is StepFailed


def test_a_class_is_found_once_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that replays before an import and after it catches what is there each time."""
    late = ModuleType("late_arrival")
    late.Late = type("Late", (Exception,), {"__module__": "late_arrival"})  # type: ignore[attr-defined]
    payload = encode_error(late.Late("x"))
    assert type(rebuilt("charge#1", payload)) is StepFailed

    monkeypatch.setitem(sys.modules, "late_arrival", late)

    assert isinstance(rebuilt("charge#1", payload), late.Late)
