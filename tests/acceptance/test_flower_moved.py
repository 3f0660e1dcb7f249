"""Where an internal of Flower has moved: its pages work on, ours stay where they are, and say what is missing."""

from __future__ import annotations

import pytest

from dispatch_celery import JobState
from tests.support.flower_pages import FlowerPages, flower_pages
from tests.support.workers import Fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def _works(shop: Fleet, pages: FlowerPages, *told: str) -> None:
    """Check that Flower and our pages are there, and that a verb does what it says."""
    handle = shop.shop.add.enqueue(1)
    assert pages.ask("/workers").status == 200
    for path in ("/dispatch", "/dispatch/jobs", f"/dispatch/jobs/{handle.id}"):
        page = pages.ask(path)
        assert page.status == 200, pages.words[-3000:]
        assert [words for words in told if words not in page.words] == []
    assert pages.act(f"/jobs/{handle.id}/cancel").status == 200
    assert handle.state() == JobState.CANCELLED
    assert [words for words in told if words not in pages.words] == []


def test_nothing_has_moved(shop: Fleet) -> None:
    """The program that moves parts away shows, with nothing moved, what plain Flower shows."""
    with flower_pages(shop, moved="") as pages:
        _works(shop, pages)
        assert "Flower has changed" not in pages.ask("/dispatch").words
        assert 'href="/dispatch/jobs"' in pages.ask("/workers").text


def test_another_way_in(shop: Fleet) -> None:
    """Without its list of paths and its settings, pages are added to the application when it is built."""
    with flower_pages(shop, "--basic-auth=ada:lovelace", "--url-prefix=ops", moved="handlers,settings") as pages:
        _works(shop, pages, "its list of paths has moved", "its bar of menus has moved")
        assert 'href="/ops/dispatch/jobs"' in pages.ask("/dispatch").text


def test_another_bar_and_frame(shop: Fleet) -> None:
    """Without its bar of menus and its frame, pages have a menu and a frame of their own."""
    with flower_pages(shop, moved="bar,frame") as pages:
        _works(shop, pages, "its bar of menus has moved", "its frame has moved")
        page = pages.ask("/dispatch").text
        assert 'href="/dispatch/jobs"' in page
        assert "app-navbar" not in page
        assert 'href="/dispatch/jobs"' not in pages.ask("/workers").text


def test_a_frame_that_wants_more(shop: Fleet) -> None:
    """A frame that asks for what our pages do not have is left for a plain one, when that shows."""
    with flower_pages(shop, moved="variables") as pages:
        assert pages.ask("/dispatch").status == 200
        handle = shop.shop.add.enqueue(1)
        page = pages.ask(f"/dispatch/jobs/{handle.id}")
        assert (page.status, "its frame does not fit" in page.words) == (200, True)


def test_an_unknown_login_closes_the_pages(shop: Fleet) -> None:
    """Where nobody can tell who is logged in, every address of ours says so, and shows and does nothing."""
    with flower_pages(shop, moved="login") as pages:
        handle = shop.shop.secret.enqueue("ada", password="lovelace")  # noqa: S106 - made up, to be looked for
        for path in ("/dispatch", f"/dispatch/jobs/{handle.id}", f"/api/dispatch/jobs/{handle.id}"):
            page = pages.ask(path)
            assert (page.status, "who is logged in cannot be told" in page.words) == (503, True)
            assert "shop.secret" not in page.text
        assert pages.act(f"/jobs/{handle.id}/cancel").status in (403, 503)
        assert handle.state() == JobState.PENDING


def test_an_unknown_api_closes_the_verbs(shop: Fleet) -> None:
    """Where the rules of the API cannot be told, pages are shown without buttons, and no verb is answered."""
    with flower_pages(shop, moved="api") as pages:
        handle = shop.shop.add.enqueue(1)
        page = pages.ask(f"/dispatch/jobs/{handle.id}")
        assert (page.status, "data-do=" in page.text) == (200, False)
        assert "the rules of its API cannot be told" in page.words
        assert pages.act(f"/jobs/{handle.id}/cancel").status == 404
        assert handle.state() == JobState.PENDING


def test_no_way_in_at_all(shop: Fleet) -> None:
    """Where pages can be added nowhere, Flower runs without them, and its log says so."""
    with flower_pages(shop, moved="handlers,application") as pages:
        assert pages.ask("/workers").status == 200
        assert pages.ask("/dispatch").status == 404
        assert "these pages could not be added" in pages.words
