"""Pages of the services of operating: causes and notes of dead letters, cron, queues, metrics."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.flower_pages import FlowerPages
from tests.support.workers import Fleet

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("flower"), pytest.mark.timeout(120)]


def test_queues_are_shown_paused_and_resumed(town: Fleet, pages: FlowerPages) -> None:
    """A limit reads as words, a job name is told from a queue of that name, and each is paused by itself."""
    queues = town.shop.dispatch.queues
    queues.limit("mail", concurrency=2, rate="10/m")
    queues.limit(job="mail", rate="1/s")
    town.shop.touch.options(queue="mail").enqueue("<b>waits</b>")
    listed = pages.ask("/dispatch/queues").words
    said = ("2 run at once and 10/m begin", "jobs named mail", "1/s begin", "Wait for a permit")
    assert [word for word in said if word not in listed] == []

    assert pages.act("/queues/job:mail/pause").status == 200
    assert [(one.kind, one.paused) for one in queues.list() if one.name == "mail"] == [("queue", False), ("job", True)]
    assert "paused" in pages.ask("/dispatch/queues").words
    told = {(one["kind"], one["name"]): one["paused"] for one in pages.ask("/api/dispatch/queues").json["records"]}
    assert (told["queue", "mail"], told["job", "mail"]) == (False, True)
    assert pages.act("/queues/job:mail/resume").status == 200
    assert pages.act("/queues/queue:mail/pause").status == 200
    assert queues.get("mail").paused
    assert pages.act("/queues/mail/resume").status == 200
    assert not queues.get("mail").paused
    queues.unlimit("mail")
    queues.unlimit(job="mail")


def test_dead_letters_are_shown_by_cause(town: Fleet, pages: FlowerPages) -> None:
    """Letters of one cause stand together with their number, and lead to the list of just these."""
    dlq: Any = town.shop.dispatch.dlq
    for _ in range(3):
        dlq.bury(b"{", queue="q", reason="its end is missing")
    dlq.bury(b"\xff", queue="q", reason="it is no text")
    page = pages.ask("/dispatch/dead-letters?by=cause")
    assert page.status == 200, page.words
    assert "its end is missing" in page.words
    (group,) = [one for one in dlq.groups() if one.count == 3]
    shown = pages.ask(f"/dispatch/dead-letters?fingerprint={group.fingerprint}")
    assert shown.text.count('<tr id="row-dlq_') == 3
    assert group.fingerprint in page.text


def test_a_note_is_kept_with_who_wrote_it(town: Fleet, pages: FlowerPages) -> None:
    """What a person writes on a letter is shown on it, as text, under the name of the login."""
    dlq: Any = town.shop.dispatch.dlq
    letter = dlq.bury(b"{", queue="q", reason="it ends too early")
    assert "Nobody has written anything" in pages.ask(f"/dispatch/dead-letters/{letter}").words
    assert pages.act(f"/dead-letters/{letter}/note", reason="<b>ask ada</b>", by="ada").status == 200
    page = pages.ask(f"/dispatch/dead-letters/{letter}")
    assert ("<b>ask ada</b> — ada" in page.words.replace("— ", "— "), "<b>ask" in page.text) == (True, False)
    assert "{&quot;by&quot;: &quot;ada&quot;}" in page.text


def test_cron_entries_are_shown_and_moved(town: Fleet, pages: FlowerPages) -> None:
    """An entry has its schedule, next fires and state; it is run now, paused, and an edit of an older page is told."""
    crons: Any = town.shop.dispatch.crons
    entry = crons.register("nightly", "0 3 * * *", "shop.secret", arguments={"user": "ada", "password": "pw-4711"})
    listed = pages.ask("/dispatch/crons")
    assert [word for word in ("nightly", "0 3 * * *", "shop.secret", "enabled") if word not in listed.words] == []
    told = pages.ask("/api/dispatch/crons").json["records"]
    assert [one["schedule"] for one in told if one["id"] == entry.id] == ["0 3 * * *"]
    document = pages.ask(f"/api/dispatch/crons/{entry.id}").json
    assert document["arguments"] == {"user": "ada", "password": "***"}
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
