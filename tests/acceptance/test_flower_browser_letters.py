"""A person with a browser and dead letters: many at once, at a rate, and one with other arguments."""

from __future__ import annotations

from typing import Any

from dispatch_celery.store.client import RedisStore
from tests.support.flower_person import IN_A_BROWSER, Person
from tests.support.graveyard import end_as_dead, world_of_today
from tests.support.workers import Fleet

pytestmark = IN_A_BROWSER


def test_dead_letters_are_triaged(town: Fleet, person: Person) -> None:
    """Chosen letters go at once, and all that fit a filter after a word is typed."""
    dlq = town.shop.dispatch.dlq
    letters = [dlq.bury(b"{", queue="triage", reason="cut off") for _ in range(4)]
    person.go("/dead-letters?queue=triage")
    person.tab.check(f"#choose-{letters[0]}")
    person.press("Purge chosen")
    person.tab.locator("dialog input[name=word]").fill("purge")
    person.tab.locator("dialog").get_by_role("button", name="Purge").click()
    person.reads("1 purged.")
    assert dlq.count(queue="triage") == 3
    person.tab.locator(f"#row-{letters[0]}").wait_for(state="detached")

    person.press("Purge all that fit")
    assert person.tab.locator("dialog").get_by_role("button", name="Purge").is_disabled()
    person.reads("Delete every dead letter with queue \u201ctriage\u201d")
    person.tab.locator("dialog input[name=word]").fill("purge")
    person.tab.locator("dialog").get_by_role("button", name="Purge").click()
    person.reads("3 purged.")
    person.reads("fits these filters")
    assert dlq.count(queue="triage") == 0


def test_a_question_that_is_closed_stops_what_it_asked_for(town: Fleet, person: Person) -> None:
    """Behind the batch under way, and says how many were done."""
    dlq, held = town.shop.dispatch.dlq, list[Any]()

    def hold(route: Any) -> None:  # playwright takes no method of a list
        held.append(route)

    for _ in range(130):
        dlq.bury(b"{", queue="stopped", reason="cut off")
    person.go("/dead-letters?queue=stopped")
    person.press("Purge all that fit")
    dialog = person.tab.locator("dialog")
    dialog.locator("input[name=word]").fill("purge")
    person.tab.route("**/dead-letters/purge", hold)
    with person.tab.expect_request("**/dead-letters/purge"):
        dialog.get_by_role("button", name="Purge", exact=True).click()
    dialog.get_by_role("button", name="Leave it").click()
    dialog.wait_for(state="detached")
    held[0].continue_()
    person.reads("100 purged, and then it was stopped.")
    assert (dlq.count(queue="stopped"), len(held)) == (30, 1)


def test_a_dead_letter_is_edited_and_replayed(town: Fleet, person: Person, store: RedisStore) -> None:
    """What does not fit is told beside the field, which keeps what was written; what is hidden is never in it."""
    dispatch, world = town.shop.dispatch, world_of_today(store, town.environment["DISPATCH_NAMESPACE"])
    job = town.shop.secret.options(queue="edits").enqueue("ada", password="correct-horse")  # noqa: S106 - made up
    end_as_dead(world, job.id, "no such user")
    person.go(f"/dead-letters/{dispatch.dlq.get(job.id).id}")
    person.press("Edit and replay")
    dialog = person.tab.locator("dialog")
    assert dialog.locator("textarea").input_value() == ""
    dialog.locator("textarea").fill('{"user": 7}')
    dialog.get_by_role("button", name="Replay", exact=True).click()
    dialog.locator(".dc-refused", has_text="user").wait_for()
    assert dialog.locator("textarea").input_value() == '{"user": 7}'
    person.keep("edit")
    person.tab.set_viewport_size({"width": 360, "height": 760})
    assert person.tab.evaluate("document.documentElement.scrollWidth") <= 360
    person.keep("edit-narrow")

    dialog.locator("textarea").fill('{"user": "bob"}')
    dialog.get_by_role("button", name="Replay", exact=True).click()
    person.reads("with another user.")
    new = dispatch.jobs.get(dispatch.dlq.get(job.id).replayed_as)
    assert new.arguments == {"user": "bob", "password": "correct-horse"}
    assert "correct-horse" not in person.tab.content()
    person.wrong[:] = [words for words in person.wrong if "400" not in words]  # the refusal is on the console, too


def test_many_are_replayed_at_a_rate_once_the_figures_were_seen(town: Fleet, person: Person, store: RedisStore) -> None:
    """The question tells how many of which; a rate that is none is told there, and one that is spreads them."""
    dlq, world = town.shop.dispatch.dlq, world_of_today(store, town.environment["DISPATCH_NAMESPACE"])
    for number in range(3):
        end_as_dead(world, town.shop.add.options(queue="rated").enqueue(number).id, "refused")
    person.go("/dead-letters?queue=rated")
    person.press("Replay all that fit")
    dialog = person.tab.locator("dialog")
    dialog.get_by_text("3 dead letters would be run again as new jobs: 3 of shop.add.").wait_for()
    dialog.locator("input[name=word]").fill("replay")
    dialog.locator("input[name=rate]").fill("fast")
    dialog.get_by_role("button", name="Replay", exact=True).click()
    dialog.locator(".dc-refused", has_text="a rate is a number of jobs per second").wait_for()
    person.keep("bulk")
    assert dlq.count(queue="rated", replayed=True) == 0

    dialog.locator("input[name=rate]").fill("1/h")
    dialog.get_by_role("button", name="Replay", exact=True).click()
    person.reads("3 replayed.")
    states = [str(job.state) for job in town.shop.dispatch.jobs.list(queue="rated") if job.replay_of]
    assert sorted(states) == ["pending", "scheduled", "scheduled"]
    person.press("Replay all that fit")
    person.reads("0 dead letters would be run again")
    person.wrong[:] = [words for words in person.wrong if "400" not in words]  # as above
