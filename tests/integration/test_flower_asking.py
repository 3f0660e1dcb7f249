"""What is asked of Flower's verbs: a word that none of them takes is refused, and nothing is done by halves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dispatch_celery.errors import ConfigurationError, StateConflict
from dispatch_celery.flower.asking import Asked
from dispatch_celery.flower.bulk import BULK
from dispatch_celery.flower.desk import Desk, desk_of
from dispatch_celery.flower.verbs import VERBS
from dispatch_celery.store.client import RedisStore
from tests.support.graveyard import Graveyard


@pytest.fixture
def yard(store: RedisStore, namespace: str, server_url: str) -> Iterator[Graveyard]:
    """Return an app with no worker."""
    made = Graveyard(server_url, store, namespace)
    yield made
    made.close()


@pytest.fixture
def desk(yard: Graveyard) -> Desk:
    """Return what Flower's verbs act on."""
    return desk_of(yard.app)


@pytest.mark.parametrize("verb", sorted(VERBS), ids=" ".join)
def test_a_word_that_a_verb_does_not_take_is_refused(desk: Desk, verb: tuple[str, str]) -> None:
    """Before anything is looked at: there is no such record, and that is not what is said."""
    with pytest.raises(ConfigurationError, match=r"'resaon' cannot be asked for.* Nothing was done"):
        VERBS[verb](desk, "nobody", Asked({"resaon": "typo"}))


@pytest.mark.parametrize("verb", sorted(BULK))
def test_a_word_that_a_verb_of_many_does_not_take_is_refused(yard: Graveyard, desk: Desk, verb: str) -> None:
    """A misspelt dry run would be none."""
    dead = yard.dead()

    with pytest.raises(ConfigurationError, match="'dryrun' cannot be asked for: did you mean 'dry_run'"):
        BULK[verb](desk, Asked({"ids": [str(dead)], "dryrun": True}))
    assert yard.dlq.get(dead).replayed_as == ""


def test_misspelt_edits_replay_nothing(yard: Graveyard, desk: Desk) -> None:
    """A dead letter is replayed only once: the words that were meant would come too late."""
    dead = yard.dead()

    with pytest.raises(ConfigurationError, match="did you mean 'edits'"):
        VERBS["dead-letters", "replay"](desk, dead, Asked({"edit": {"amount": 4}}))

    assert yard.dlq.get(dead).replayed_as == ""


def test_what_is_expected_of_a_record_that_has_no_such_thing_is_refused(yard: Graveyard, desk: Desk) -> None:
    """It would never be found to be otherwise."""
    job = yard.pay.enqueue(1)

    with pytest.raises(ConfigurationError, match="'stat' cannot be expected of it: did you mean 'state'"):
        VERBS["jobs", "cancel"](desk, job.id, Asked({"expected": {"stat": "pending"}}))

    assert job.state() == "pending"


@pytest.mark.parametrize("expected", [{"revision": "1"}, {"revision": True}])
def test_a_revision_that_is_none_is_refused(yard: Graveyard, desk: Desk, expected: dict[str, Any]) -> None:
    """It would be taken as no revision, and the edit of somebody else be undone."""
    entry = yard.dispatch.crons.register("e", "@hourly", yard.pay, arguments={"amount": 1})

    with pytest.raises(ConfigurationError, match="nothing was done"):
        VERBS["crons", "disable"](desk, entry.id, Asked({"expected": expected}))

    assert yard.dispatch.crons.get("e").is_enabled


def test_a_choice_that_is_neither_true_nor_false_is_refused(yard: Graveyard, desk: Desk) -> None:
    """``"true"`` is text."""
    with pytest.raises(ConfigurationError, match="dry_run must be true or false, not 'true'"):
        BULK["purge"](desk, Asked({"ids": [str(yard.dead())], "dry_run": "true"}))


@pytest.mark.parametrize("place", ["queue:yard", "yard"])
def test_a_page_that_shows_another_pause_changes_nothing(yard: Graveyard, desk: Desk, place: str) -> None:
    """Somebody has paused it since."""
    yard.dispatch.queues.pause("yard", until=600)
    until = yard.dispatch.queues.get("yard").paused_until

    with pytest.raises(StateConflict, match="yard is paused by now, and was not paused on your page: nothing was done"):
        VERBS["queues", "pause"](desk, place, Asked({"expected": {"paused": False}}))

    assert yard.dispatch.queues.get("yard").paused_until == until
    assert VERBS["queues", "resume"](desk, place, Asked({"expected": {"paused": True}})).message.endswith("resumed.")


def test_who_deletes_a_declared_entry_is_told_that_it_comes_back(yard: Graveyard, desk: Desk) -> None:
    """One of the API does not."""
    yard.dispatch.cron("@hourly", name="declared", arguments={"amount": 1})(yard.pay)
    yard.dispatch.crons._registrar.declare()
    yard.dispatch.crons.register("mine", "@hourly", yard.pay, arguments={"amount": 1})

    said = [VERBS["crons", "delete"](desk, name, Asked({})).message for name in ("mine", "declared")]

    assert said[0] == "The entry is deleted."
    assert "it comes back when a worker starts" in said[1]
