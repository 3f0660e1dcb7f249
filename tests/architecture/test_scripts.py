"""The Lua of the state layer: headers that tell the truth, keys that reach it through KEYS, one method each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import pytest

from dispatch_celery import errors
from dispatch_celery.jobs.model import TRANSITIONS as JOB_TRANSITIONS
from dispatch_celery.store.scripts import HEADER_FIELDS, PARENT_KEYS, Script, all_scripts
from dispatch_celery.workflows.model import TRANSITIONS as RUN_TRANSITIONS
from tests.architecture.sources import PACKAGE, sources

SCRIPTS = all_scripts()
LIB = PACKAGE / "store" / "lua" / "lib"
ONE_KEY = frozenset(
    {
        *(
            "GET",
            "SET",
            "INCR",
            "PEXPIRE",
            "PEXPIREAT",
            "ZREMRANGEBYSCORE",
            "PERSIST",
            "XADD",
            "LPUSH",
            "RPUSH",
            "LLEN",
            "LTRIM",
            "SADD",
            "SREM",
            "SCARD",
            "SISMEMBER",
        ),
        *("HGET", "HSET", "HSETNX", "HMGET", "HGETALL", "HDEL", "HLEN", "HRANDFIELD", "HINCRBY", "HSCAN"),
        *("ZADD", "ZREM", "ZSCORE", "ZCARD", "ZCOUNT", "ZRANGE", "ZRANGEBYSCORE"),
        *("ZRANGEBYLEX", "ZREVRANGEBYLEX", "ZLEXCOUNT"),
    }
)
ALL_KEYS = frozenset({"DEL", "EXISTS", "UNLINK", "RENAME", "COPY"})
NO_KEY = frozenset({"TIME", "PUBLISH"})  # a channel is no key
UNBOUNDED = frozenset({"KEYS", "SMEMBERS", "SCAN", "SORT", "FLUSHDB", "FLUSHALL", "EVAL", "MULTI"})

each = pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)


def code_of(text: str) -> str:
    """Return Lua without its comments."""
    return re.sub(r"(?m)^#!.*$|--[^\n]*", "", text)


def words_of(script: Script, field: str) -> list[str]:
    """Return the names a header field lists."""
    value = script.header[field]
    return [] if value == "none" else value.split()


def _balanced(text: str, start: int) -> list[str]:
    """Return the arguments of a call whose parenthesis opens before ``start``."""
    parts, depth, quote, piece = [], 0, "", ""
    for character in text[start:]:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}" and depth == 0:
            return [*parts, piece.strip()]
        elif character in ")]}":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(piece.strip())
            piece = ""
            continue
        piece += character
    raise AssertionError(f"an open parenthesis: {text[start : start + 60]}")


def calls(text: str, name: str) -> Iterator[list[str]]:
    """Yield the arguments of every call of a function."""
    for match in re.finditer(rf"(?<!function )(?<![\w.]){re.escape(name)}\(", text):
        yield _balanced(text, match.end())


def is_declared(expression: str, text: str) -> bool:
    """Whether an expression is a declared key: of the table, of KEYS, one of two, or a parameter that always is one."""
    if either := re.fullmatch(r".+ and (\S+) or (\S+)", expression):
        return is_declared(either[1], text) and is_declared(either[2], text)
    if re.fullmatch(r"[KP]\.\w+|KEYS\[[^\]]+\]", expression):
        return True
    for name, parameters in re.findall(r"local function (\w+)\(([^)]*)\)", text):
        names = [one.strip() for one in parameters.split(",")]
        if expression in names:
            given = [arguments[names.index(expression)] for arguments in calls(text, name)]
            return bool(given) and all(is_declared(one, text) for one in given)
    return False


@each
def test_a_header_has_every_field(script: Script) -> None:
    """Purpose, keys, arguments, answers, errors, transitions, cost and fragments, each known and not empty."""
    assert [field for field in HEADER_FIELDS if not script.header.get(field)] == []
    assert set(script.header) - {*HEADER_FIELDS, "NOTES", "READS"} == set()
    assert script.header["PURPOSE"].endswith(".")
    assert re.match(r"O\(", script.header["COST"])


@each
def test_declared_names_are_used_and_used_names_are_declared(script: Script) -> None:
    """Keys and arguments; nil would be compared, and passed to the server, without a word."""
    text = re.sub(r"local P = .*", "", code_of("\n".join(script.text.splitlines()[2:])))

    parents = set(PARENT_KEYS) if "*parent" in words_of(script, "KEYS") else set()  # what ``join`` reads as K
    assert set(re.findall(r"\bK\.(\w+)", text)) | parents == set(script.keys) | parents
    assert set(re.findall(r"\bA\.(\w+)", text)) == set(script.arguments)
    rest = any(name.startswith("*") for name in words_of(script, "ARGV"))
    assert rest is bool(re.search(r"\bREST\b", text))
    assert not re.search(r"\bARGV\[\d+\]", text)


@each
def test_names_are_declared_once(script: Script) -> None:
    """A doubled name would silently be the later one."""
    for names in (script.keys, script.arguments):
        assert len(set(names)) == len(names)


@each
def test_every_key_reaches_the_server_through_keys(script: Script) -> None:
    """On a cluster, an undeclared key of another slot is refused too late; so it is proven here."""
    text = code_of(script.text)
    for arguments in calls(text, "redis.call"):
        command = arguments[0].strip("'")
        assert arguments[0] == f"'{command}'", f"a command that is no literal: {arguments}"
        if command in NO_KEY:
            continue
        assert command in ONE_KEY | ALL_KEYS, f"{command} is new here: say which of its arguments are keys"
        keys = arguments[1:] if command in ALL_KEYS else arguments[1:2]
        assert all(is_declared(key, text) for key in keys), arguments


@each
def test_a_script_is_bounded_and_says_not_more_than_it_must(script: Script) -> None:
    """At most 16 fixed keys, no unbounded command, no error but a raised one, and nothing global."""
    text = code_of(script.text)

    assert len(script.keys) <= 16
    assert {arguments[0].strip("'") for arguments in calls(text, "redis.call")} & UNBOUNDED == set()
    assert "redis.pcall" not in text
    assert "cjson" not in text
    assert not re.search(r"(?m)^function\b", text)


@each
def test_errors_are_stated_and_known(script: Script) -> None:
    """Every code that is raised is in the header, and is the code of an error of the tree."""
    raised = set(re.findall(r"redis\.error_reply\('(\w+)", code_of(script.text)))
    codes = {getattr(errors, name).code for name in errors.__all__ if hasattr(getattr(errors, name), "code")}

    assert raised == set(words_of(script, "ERRORS"))
    assert {code.lower() for code in raised} <= codes


@each
def test_every_answer_is_stated(script: Script) -> None:
    """The words a script begins its answer with are those of its header."""
    answered = set(re.findall(r"return \{'([A-Z_]+)'", code_of(script.text)))
    answered |= set(re.findall(r"return \{\w[^}]* and '([A-Z_]+)' or '[A-Z_]+'", code_of(script.text)))
    answered |= set(re.findall(r"return \{\w[^}]* and '[A-Z_]+' or '([A-Z_]+)'", code_of(script.text)))
    stated = set(re.findall(r"\b[A-Z_]{3,}\b", script.header["RETURNS"]))

    assert answered <= stated


@each
def test_transitions_are_moves_of_the_table(script: Script) -> None:
    """A script moves jobs, or runs, only where their table allows it."""
    table = RUN_TRANSITIONS if script.name.startswith("runs/") else JOB_TRANSITIONS
    assert all(target in table[source] for source, target in script.transitions)


@pytest.mark.parametrize(("transitions", "of_runs"), [(JOB_TRANSITIONS, False), (RUN_TRANSITIONS, True)])
def test_the_transitions_of_all_scripts_are_the_table(
    transitions: Mapping[str, frozenset[str]], *, of_runs: bool
) -> None:
    """No move of a table is without a script, and none of a script without the table."""
    table = {(source, target) for source, targets in transitions.items() for target in targets}
    movers = [script for script in SCRIPTS if script.name.startswith("runs/") is of_runs]

    assert set().union(*(script.transitions for script in movers)) == table


def test_a_transition_is_journalled_as_it_is_stated() -> None:
    """The entry a script writes names moves of its header."""
    for script in SCRIPTS:
        for arguments in calls(code_of(script.body), "journal"):
            if arguments[2] == "''":  # no move of the record, but something that was noted of it
                continue
            if arguments[3].startswith("'") and len(arguments[3]) > 2:
                targets = {target for _, target in script.transitions}
                assert arguments[3].strip("'") in targets, (script.name, arguments)


def _callers() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {script.name: [] for script in SCRIPTS}
    for source in sources():
        for name in found:
            found[name] += [source.shown] * len(re.findall(rf'"{name}"', source.text))
    return found


@each
def test_a_script_has_one_typed_method(script: Script) -> None:
    """It is called in one place, in a room's store; whoever needs it asks there."""
    callers = _callers()[script.name]

    assert len(callers) == 1
    assert callers[0].endswith("store.py")


def test_every_fragment_is_one_function_and_is_used() -> None:
    """``lib`` holds what several scripts share, each explained in a line."""
    used = {name for script in SCRIPTS for name in words_of(script, "INCLUDE")}
    for path in LIB.glob("*.lua"):
        text = path.read_text(encoding="utf-8")
        assert text.startswith("-- "), path.name
        assert len(re.findall(r"(?m)^local function \w+\(", text)) == 1, path.name
    assert used == {path.stem for path in LIB.glob("*.lua")}


@each
def test_included_fragments_are_called(script: Script) -> None:
    """What is included is used, and what is used is included."""
    text, body = code_of(script.text), code_of(script.body)
    for name in words_of(script, "INCLUDE"):
        (function,) = re.findall(r"local function (\w+)\(", (LIB / f"{name}.lua").read_text(encoding="utf-8"))
        assert list(calls(body, function)) or text.count(f"{function}(") > 1, function
