"""Pages of services that an app has or has not: causes and notes of dead letters, cron, metrics."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from dispatch_celery import Dispatch
from dispatch_celery.dlq.service import DeadLetterService
from tests.support.flower_pages import FlowerPages, flower_pages
from tests.support.workers import Fleet, fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

needs_causes = pytest.mark.skipif(not hasattr(DeadLetterService, "groups"), reason="dead letters have no causes here")
needs_crons = pytest.mark.skipif(not hasattr(Dispatch, "crons"), reason="there is no cron here")


@pytest.fixture(scope="module")
def town(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Return a fleet without workers."""
    with fleet(f"t{secrets.token_hex(4)}", server_url, tmp_path_factory.mktemp("town")) as made:
        yield made


@pytest.fixture(scope="module")
def pages(town: Fleet) -> Iterator[FlowerPages]:
    """Return a Flower with a login."""
    with flower_pages(town) as running:
        yield running


def test_what_is_not_served_is_not_shown(pages: FlowerPages) -> None:
    """A service that this app does not have has no entry in the menu, no page and no verb."""
    menu = pages.ask("/workers").text
    for name in ("crons", "queues"):
        is_there = hasattr(Dispatch, name)
        assert (f'href="/dispatch/{name}"' in menu) is is_there
        assert pages.ask(f"/dispatch/{name}").status == (200 if is_there else 404)
    if not hasattr(Dispatch, "crons"):
        assert pages.act("/crons/nightly/trigger").status == 404
    if not hasattr(DeadLetterService, "groups"):
        assert "by cause" not in pages.ask("/dispatch/dead-letters").words
        assert pages.act("/dead-letters/dlq_01h455vb4pe008z94dg2jbgfry/put-back").status == 404


@needs_causes
def test_dead_letters_are_shown_by_cause(town: Fleet, pages: FlowerPages) -> None:
    """Letters of one cause stand together with their number, and lead to the list of just these."""
    dlq: Any = town.shop.dispatch.dlq
    for _ in range(3):
        dlq.bury(b"{", queue="q", reason="it ends too early")
    dlq.bury(b"\xff", queue="q", reason="it is no text")
    page = pages.ask("/dispatch/dead-letters?by=cause")
    assert page.status == 200, page.words
    assert "it ends too early" in page.words
    (group,) = [one for one in dlq.groups() if one.count == 3]
    shown = pages.ask(f"/dispatch/dead-letters?fingerprint={group.fingerprint}")
    assert shown.text.count('<tr id="row-dlq_') == 3
    assert group.fingerprint in page.text


@needs_causes
def test_a_note_is_kept_with_who_wrote_it(town: Fleet, pages: FlowerPages) -> None:
    """What a person writes on a letter is shown on it, as text, under the name of the login."""
    dlq: Any = town.shop.dispatch.dlq
    letter = dlq.bury(b"{", queue="q", reason="it ends too early")
    assert "Nobody has written anything" in pages.ask(f"/dispatch/dead-letters/{letter}").words
    assert pages.act(f"/dead-letters/{letter}/note", reason="<b>ask ada</b>", by="ada").status == 200
    page = pages.ask(f"/dispatch/dead-letters/{letter}")
    assert ("<b>ask ada</b> — ada" in page.words.replace("— ", "— "), "<b>ask" in page.text) == (True, False)
    assert "{&quot;by&quot;: &quot;ada&quot;}" in page.text


@needs_crons
def test_cron_entries_are_shown_and_moved(town: Fleet, pages: FlowerPages) -> None:
    """An entry has its schedule, next fires and state; it is run now, paused, and an edit of an older page is told."""
    crons: Any = town.shop.dispatch.crons
    entry = crons.register("nightly", "0 3 * * *", "shop.secret", arguments={"user": "ada", "password": "pw-4711"})
    listed = pages.ask("/dispatch/crons")
    assert [word for word in ("nightly", "0 3 * * *", "shop.secret", "enabled") if word not in listed.words] == []
    page = pages.ask(f"/dispatch/crons/{entry.id}")
    assert (page.words.count("03:00:00 UTC") >= 5, "pw-4711" in page.text) == (True, False)

    done = pages.act(f"/crons/{entry.id}/trigger")
    assert (done.status, town.shop.dispatch.jobs.get(done.json["about"]).name) == (200, "shop.secret")
    assert pages.act(f"/crons/{entry.id}/disable", expected={"revision": entry.revision}).status == 200
    assert str(crons.get(entry.id).state) == "disabled"
    stale = pages.act(f"/crons/{entry.id}/enable", expected={"revision": entry.revision})
    assert stale.status == 409
    assert str(crons.get(entry.id).state) == "disabled"


def test_metrics_are_shown_before_any_page_is(pages: FlowerPages) -> None:
    """Flower's ``/metrics`` has those of Dispatch from the first scrape on."""
    assert "dispatch_" in pages.ask("/metrics").text
