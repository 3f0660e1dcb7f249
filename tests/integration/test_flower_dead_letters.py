"""What Flower does with dead letters: replays with edits that never touch what is hidden, and many at a rate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest

from dispatch_celery import DeadLetterId, JobId, Secret
from dispatch_celery.errors import AlreadyReplayed, ConfigurationError, DispatchError, PayloadError, StateConflict
from dispatch_celery.flower.asking import Asked, Done
from dispatch_celery.flower.bulk import BULK
from dispatch_celery.flower.desk import Desk, desk_of
from dispatch_celery.flower.documents import DOCUMENTS
from dispatch_celery.flower.pages.dead_letters import DEAD_LETTER, DEAD_LETTERS
from dispatch_celery.flower.pages.model import Query
from dispatch_celery.flower.verbs import VERBS
from dispatch_celery.store.client import RedisStore
from tests.support.graveyard import Graveyard

HIDDEN = "correct-horse"


@pytest.fixture
def yard(store: RedisStore, namespace: str, server_url: str) -> Iterator[Graveyard]:
    """Return an app with no worker, and with a job that has something to hide."""
    made = Graveyard(server_url, store, namespace)

    @made.dispatch.job(name="yard.login", queue="yard")
    def login(user: str, password: Secret[str], site: str, seat: Mapping[str, Any]) -> str:
        return f"{user} {password} {site} {seat}"

    yield made
    made.close()


@pytest.fixture
def desk(yard: Graveyard) -> Desk:
    """Return what Flower's verbs act on."""
    return desk_of(yard.app)


@pytest.fixture
def refused(yard: Graveyard) -> JobId:
    """Return a dead job with hidden values by annotation, in a URL, and by name."""
    job = yard.dispatch.enqueue(
        "yard.login", user="ada", password=HIDDEN, site=f"https://ada:{HIDDEN}@x", seat={"token": HIDDEN, "row": 3}
    )
    return yard.kill(job.id, "no such user")


def replay(desk: Desk, letter_id: str, **asked: Any) -> Done:
    """Ask for the replay of one dead letter."""
    return VERBS["dead-letters", "replay"](desk, letter_id, Asked(asked))


def many(desk: Desk, verb: str = "replay", **asked: Any) -> dict[str, Any]:
    """Ask for many, up to now; return what programs are told."""
    if "ids" not in asked:
        asked = {"filters": {}, "before": desk.now().isoformat(), **asked}
    done = BULK[verb](desk, Asked(asked))
    return {"message": done.message, **(done.more or {})}


def test_only_what_is_named_is_another(yard: Graveyard, desk: Desk, refused: JobId) -> None:
    """The others stay as they were, also what is hidden; neither the page nor the answer shows that."""
    page = DEAD_LETTER.read(desk, Query(), desk.dispatch.dlq.get(refused).id)
    (edit,) = [button for button in page.buttons if button.edits]
    assert edit.edits == "Arguments to change, of user, password, site, seat"
    done = replay(desk, refused, edits='{"user": "bob"}', **edit.body)

    assert desk.dispatch.jobs.get(done.about).arguments == {
        "user": "bob",
        "password": HIDDEN,
        "site": f"https://ada:{HIDDEN}@x",
        "seat": {"token": HIDDEN, "row": 3},
    }
    assert done.message.endswith(", with another user.")
    assert HIDDEN not in f"{done} {page.arguments} {edit}"
    with pytest.raises(StateConflict, match="on your page: nothing was done"):
        replay(desk, refused, edits={"user": "bob"}, **edit.body)
    with pytest.raises(AlreadyReplayed):
        replay(desk, refused, edits={"user": "eve"})
    assert replay(desk, refused, edits={"user": "bob"}).about == done.about
    assert yard.world.problems() == []


@pytest.mark.parametrize(
    ("edits", "sentence"),
    [
        ('{"user": ', "are no JSON: Expecting value"),
        ("[" * 30_000, "nested too deeply"),
        ("[]", "one JSON object"),
        ({}, "one JSON object"),
        (7, "one JSON object"),
        ({"password": "***"}, "password holds ***"),
        ({"seat": {"token": "***", "row": 4}}, "seat holds ***"),
        ({"seat": {"row": ["***"]}}, "seat holds ***"),
        ({"site": "https://ada:***@x"}, "site holds ***"),
        ({"user": 7}, "user"),
        ({"usr": "bob"}, "did you mean 'user'?"),
        ({"seat": {"row": float("nan")}}, "JSON does not have"),
    ],
)
def test_edits_that_do_not_fit_are_refused_in_words(
    yard: Graveyard, desk: Desk, refused: JobId, edits: Any, sentence: str
) -> None:
    """What is no object, holds a mask, or does not fit the declaration replays nothing, and tells no secret."""
    with pytest.raises((ConfigurationError, PayloadError)) as told:
        replay(desk, refused, edits=edits)

    assert sentence in str(told.value)
    assert HIDDEN not in str(told.value)
    assert desk.dispatch.dlq.get(refused).replayed_as == ""


def test_numbers_arrive_as_they_were_written(yard: Graveyard, desk: Desk) -> None:
    """A form's text is read here: a browser would round what is past 2^53."""
    done = replay(desk, yard.dead(), edits='{"amount": 9007199254740993}')

    assert desk.dispatch.jobs.get(done.about).arguments == {"amount": 9007199254740993}


def test_a_message_has_no_arguments_to_change(yard: Graveyard, desk: Desk) -> None:
    """It is no job: it can be put back only."""
    letter = yard.dlq.bury(b"{", queue="yard", reason="cut off")

    with pytest.raises(StateConflict, match="put it back"):
        replay(desk, letter, edits={"amount": 2})


def test_a_dry_run_counts_and_changes_nothing(yard: Graveyard, desk: Desk, refused: JobId) -> None:
    """By name, and only what could be done; of those chosen likewise."""
    dead = yard.many_dead(3)
    letter = yard.dlq.bury(b"{", queue="yard", reason="cut off")
    replay(desk, dead[0])
    chosen = [*(yard.dlq.get(one).id for one in (*dead, refused)), letter, str(DeadLetterId.mint())]
    would = "3 dead letters would be run again as new jobs: 2 of yard.pay, 1 of yard.login. Nothing has been changed."

    for asked in ({}, {"ids": chosen}):
        assert many(desk, dry_run=True, **asked) == {
            "message": would,
            "dry_run": True,
            "count": 3,
            "is_whole": True,
        }
    assert many(desk, "purge", dry_run=True)["message"].startswith("5 dead letters would be deleted: 3 of yard.pay")
    assert many(desk, dry_run=True, filters={"name": "nobody"})["message"] == (
        "0 dead letters would be run again as new jobs. Nothing has been changed."
    )
    assert (yard.dlq.count(), yard.dlq.count(replayed=True)) == (5, 1)


def test_a_rate_holds_over_all_batches(yard: Graveyard, desk: Desk) -> None:
    """The second batch is due behind the first; without a rate all are ready at once."""
    dead = yard.many_dead(120)
    before = desk.now().isoformat()
    first = many(desk, before=before, rate="1/s")
    second = many(desk, before=before, rate="1/s", cursor=first["cursor"])

    assert (first["done"], second["done"], second["cursor"]) == (100, 20, None)
    new = [desk.dispatch.jobs.get(desk.dispatch.dlq.get(one).replayed_as) for one in dead]
    waits = sorted((job.due_at - job.created_at) if job.due_at else timedelta() for job in new)
    assert waits == [timedelta(seconds=number) for number in range(120)]
    assert yard.world.problems() == []


@pytest.mark.parametrize("asked", [{"rate": "fast"}, {"rate": "1/9999999h"}, {"rate": "fast", "dry_run": True}])
def test_a_rate_that_is_none_does_nothing(yard: Graveyard, desk: Desk, asked: dict[str, Any]) -> None:
    """Also one at which the last would be due in centuries."""
    dead = yard.many_dead(2)
    with pytest.raises(DispatchError):
        many(desk, **asked)

    assert [yard.dlq.get(one).replayed_as for one in dead] == ["", ""]


def test_what_nobody_knows_is_left_and_the_others_go(yard: Graveyard, desk: Desk) -> None:
    """One name that no worker knows stops no batch."""
    job = yard.dispatch.enqueue("elsewhere.mail", to="ada")
    unknown, known = yard.kill(job.id, "refused"), yard.dead()

    done = many(desk)
    assert (done["done"], done["gone"]) == (1, 1)
    assert (yard.dlq.get(unknown).replayed_as, bool(yard.dlq.get(known).replayed_as)) == ("", True)


@pytest.mark.parametrize(
    "wrong", [{"eror": "x"}, {"died_before": "2020-01-01T00:00:00+00:00"}, {"replayed": "perhaps"}]
)
@pytest.mark.parametrize("verb", ["replay", "purge"])
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_filter_that_there_is_not_lets_nothing_through(
    yard: Graveyard, desk: Desk, verb: str, wrong: dict[str, str], *, dry_run: bool
) -> None:
    """Who misspells a filter must not lose every dead letter."""
    dead = yard.many_dead(2)

    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        many(desk, verb, filters={"error": "ValueError", **wrong}, dry_run=dry_run)
    assert [yard.dlq.get(one).replayed_as for one in dead] == ["", ""]


@pytest.mark.parametrize("sifted", [{"error_class": "LookupError"}, {"text": "odd word"}, {"origin": "message"}])
def test_the_buttons_are_about_what_the_page_shows(yard: Graveyard, desk: Desk, sifted: dict[str, str]) -> None:
    """Whatever the list is sifted by, a purge of all of it is of no more."""
    yard.many_dead(2)
    yard.dead("an odd word", kind="LookupError")
    yard.dlq.bury(b"{", queue="yard", reason="cut off")

    page = DEAD_LETTERS.read(desk, Query(sifted))
    assert (len(page.letters), page.filters.chosen) == (1, sifted)
    assert many(desk, "purge", filters=page.filters.chosen)["done"] == 1
    assert yard.dlq.count() == 3


@pytest.mark.parametrize("of", ["jobs", "runs", "events", "dead-letters", "crons"])
def test_a_document_is_not_asked_for_by_words_it_does_not_know(desk: Desk, of: str) -> None:
    """A program that misspells a filter is told, and does not act on everything."""
    with pytest.raises(ConfigurationError, match="there is no filter 'nmae'"):
        DOCUMENTS[of][1](desk, Query({"nmae": "x"}))
