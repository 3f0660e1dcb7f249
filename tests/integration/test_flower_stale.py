"""What a button sends of its page is true, or nothing is done: of cron entries and queues, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dispatch_celery.errors import StateConflict
from dispatch_celery.flower.asking import Asked, Done
from dispatch_celery.flower.buttons import of_cron, of_queue
from dispatch_celery.flower.desk import Desk, desk_of
from dispatch_celery.flower.verbs import VERBS
from dispatch_celery.store.client import RedisStore
from tests.support.graveyard import Graveyard


@pytest.fixture
def desk(store: RedisStore, namespace: str, server_url: str) -> Iterator[Desk]:
    """Return what Flower's verbs act on, of an app with no worker."""
    yard = Graveyard(server_url, store, namespace)
    yield desk_of(yard.app)
    yard.close()


def press(desk: Desk, button: Any) -> Done:
    """Do what a button sends."""
    room, place, verb = button.path
    return VERBS[room, verb](desk, place, Asked(button.body))


@pytest.mark.parametrize("place", [{"queue": "yard"}, {"job": "yard.pay"}])
def test_a_queue_that_was_paused_or_resumed_meanwhile_stays_so(desk: Desk, place: dict[str, str]) -> None:
    """Who has seen it otherwise did not mean what it is now."""
    queues = desk.dispatch.queues
    desk.dispatch.enqueue("yard.pay", amount=1)
    queues.limit(**place, concurrency=1)
    (pause,) = of_queue(queues.get(**place))
    press(desk, pause)
    (resume,) = of_queue(queues.get(**place))
    with pytest.raises(StateConflict, match="is paused by now, and was not paused on your page"):
        press(desk, pause)
    press(desk, resume)
    assert not queues.get(**place).paused

    with pytest.raises(StateConflict, match="is not paused by now, and was paused on your page"):
        press(desk, resume)


def test_a_queue_that_is_empty_by_now_can_be_paused(desk: Desk) -> None:
    """Nobody holds it: it is as it was on the page."""
    asked = Asked({"expected": {"paused": False}})
    VERBS["queues", "pause"](desk, "queue:elsewhere", asked)

    assert desk.dispatch.queues.get("elsewhere").paused


@pytest.mark.parametrize("label", ["Run now", "Disable"])
def test_an_entry_that_was_edited_meanwhile_is_left_alone(desk: Desk, label: str) -> None:
    """It may call something else by now."""
    crons: Any = desk.dispatch.crons
    entry = crons.register("nightly", "0 3 * * *", "yard.pay", arguments={"amount": 1})
    (button,) = [one for one in of_cron(crons.get(entry.id)) if one.label == label]
    crons.register("nightly", "0 3 * * *", "yard.pay", arguments={"amount": 1_000_000})

    with pytest.raises(StateConflict, match="nothing was done"):
        press(desk, button)
    assert desk.dispatch.jobs.list().records == ()
    assert crons.get(entry.id).is_enabled


@pytest.mark.parametrize("verb", ["trigger", "enable", "delete"])
def test_an_entry_that_is_not_in_its_state_any_more_is_left_alone(desk: Desk, verb: str) -> None:
    """A program may say which one it means."""
    crons: Any = desk.dispatch.crons
    entry = crons.register("nightly", "0 3 * * *", "yard.pay", arguments={"amount": 1})

    with pytest.raises(StateConflict, match="is enabled by now, and was disabled"):
        VERBS["crons", verb](desk, str(entry.id), Asked({"expected": {"state": "disabled"}}))
    assert desk.dispatch.jobs.list().records == ()
