"""Scripts are loaded with their fragments, named by their header, and called by the hash of their text."""

from __future__ import annotations

import hashlib

import pytest

from dispatch_celery.store.scripts import Call, all_scripts, load


def test_a_script_is_its_prelude_fragments_and_body() -> None:
    """The declared positions have names, and the hash is that of the text that is sent."""
    script = load("jobs/complete")

    assert script.text.startswith("local K = {record = KEYS[1], ")
    assert "local function guard(" in script.text
    assert script.sha == hashlib.sha1(script.text.encode(), usedforsecurity=False).hexdigest()
    assert script.transitions == {("running", "completed")}


def test_a_call_puts_names_in_their_places() -> None:
    """Keys first, then arguments, then the rest; extra names are ignored, missing ones are an error."""
    names = {"raw": "r", "dead": "d", "letters": "l", "groups": "g", "expiry": "e", "journal": "j", "more": "x"}
    told = {"now": 1, "journal": 0, "id": "i", "name": "n", "fingerprint": "f", "retain": 5}
    call = Call.of("dlq/bury", names, told, rest=["raw", b"\xff"])

    assert call.words == ("r", "d", "l", "g", "e", "j", 1, 0, "i", "n", "f", 5, "raw", b"\xff")
    assert (call.key_count, call.label) == (6, "dlq/bury")
    with pytest.raises(KeyError):
        Call.of("dlq/bury", {"raw": "r"}, {})


def test_a_plain_command_is_labelled_by_its_name() -> None:
    """Errors and logs say which command it was."""
    assert Call.command("ZREM", "k", "m").label == "ZREM"


def test_every_script_is_found_by_its_name() -> None:
    """Rooms and verbs are the folders and files; two scripts never share a text."""
    scripts = all_scripts()

    assert {"jobs/claim", "dlq/replay", "cluster/renew"} <= {script.name for script in scripts}
    assert len({script.sha for script in scripts}) == len(scripts)
