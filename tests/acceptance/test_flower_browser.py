"""A person with a browser: pages follow what happens, buttons do what they say, and nothing hostile is ever run."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dispatch_celery import JobState, RunState, scope
from tests.support.eventually import eventually
from tests.support.flower_pages import FlowerPages
from tests.support.flower_person import IN_A_BROWSER, Person
from tests.support.workers import Fleet

pytestmark = IN_A_BROWSER

TAGS = "<img/src=x/onerror=alert(1)><script>alert(2)</script>"
HOSTILE = f"{TAGS}\"'`{{{{7*7}}}}"
UNSEEN = "a\u202egnp.exe\x00\x1b[31m\u200b\u05e9\u05dc\u05d5\u05dd"
LINK = "javascript:alert(3)"


@pytest.fixture(scope="module")
def runs(town: Fleet, pages: FlowerPages) -> dict[str, str]:
    """Return runs by what they are for, each where it stays."""
    sys.modules.pop("tests.support.shown", None)  # it belongs to the app of whoever imported it first
    from tests.support import shown

    found = {name: getattr(shown, name).start("tea") for name in ("order", "waiting", "undone", "stuck")}
    town.start("w1", "-P", "threads", "-c", "4", app="tests.support.shown")
    ends = {"order": "completed", "waiting": "waiting", "undone": "failed", "stuck": "parked"}
    for name, state in ends.items():
        eventually(lambda name=name, state=state: found[name].state() == state, within=30, what=f"{name} is {state}")
    return {name: str(handle.id) for name, handle in found.items()}


def test_pages_look_as_they_should(runs: dict[str, str], person: Person) -> None:
    """Every page fits a telephone and a desk, in light and dark; a picture of each is kept."""
    places = {"overview": "", "jobs": "/jobs", "runs": "/runs", "events": "/events", "dead-letters": "/dead-letters"}
    places |= {"workers": "/workers"} | {f"run-{name}": f"/runs/{run_id}" for name, run_id in runs.items()}
    for name, path in places.items():
        person.tab.set_viewport_size({"width": 1280, "height": 900})
        person.go(path)
        person.keep(name)
        person.tab.set_viewport_size({"width": 360, "height": 760})
        assert person.tab.evaluate("document.documentElement.scrollWidth") <= 360, name
        person.keep(f"{name}-narrow")
    person.tab.set_viewport_size({"width": 1280, "height": 900})
    person.tab.emulate_media(color_scheme="dark")
    person.go(f"/runs/{runs['order']}")
    assert person.tab.evaluate("document.documentElement.dataset.bsTheme") == "dark"
    person.keep("run-order-dark")


def test_a_run_is_drawn(runs: dict[str, str], person: Person) -> None:
    """Steps, waits, retries, undos and children are in the picture, with words for who does not see it."""
    person.go(f"/runs/{runs['order']}")
    bars = person.tab.locator(".dc-timeline svg rect")
    assert bars.count() >= 8
    assert person.tab.locator("svg rect.done.rest").count() == 1
    person.reads("2 tries")
    label = person.tab.locator("svg[role=img]", has=person.tab.locator("rect.rest")).get_attribute("aria-label")
    assert label
    assert label.startswith("sleep#1: done, took ~")
    assert person.tab.locator(".dc-tree a").inner_text().startswith("shown.parcel")
    steps = [float(bars.nth(place).get_attribute("x").rstrip("%")) for place in range(5)]
    assert steps == sorted(steps)

    person.go(f"/runs/{runs['undone']}")
    assert person.tab.locator("svg rect.undone").count() == 1
    person.go(f"/runs/{runs['stuck']}")
    assert person.tab.locator("svg rect.failed").count() >= 1
    person.reads("the parcel is on its way")


def test_a_page_follows_what_happens(town: Fleet, person: Person) -> None:
    """What is enqueued while the page is open appears without a reload, and what is opened stays open."""
    person.go("/jobs?queue=alone")
    person.reads("No job fits these filters")
    person.tab.evaluate("window.isTheSame = true")
    first = town.shop.add.options(queue="alone").enqueue(1)
    person.tab.locator(f"#row-{first.id}").wait_for(timeout=10_000)
    first.cancel()
    person.tab.locator(f"#row-{first.id} .dc-state", has_text="cancelled").wait_for(timeout=10_000)
    assert person.tab.evaluate("window.isTheSame")
    assert person.tab.locator(f"#row-{first.id} time").get_attribute("title").endswith(" UTC")


def test_a_button_asks_and_does(town: Fleet, person: Person) -> None:
    """A destructive button asks first, by mouse or keyboard: left, it does nothing; confirmed, it says what it did."""
    handle = town.shop.add.options(queue="followed").enqueue(1)
    person.go(f"/jobs/{handle.id}")
    person.press("Cancel")
    person.tab.keyboard.press("Escape")
    person.tab.locator("dialog").wait_for(state="detached")
    assert handle.state() == JobState.PENDING

    person.tab.get_by_role("button", name="Cancel", exact=True).focus()
    person.tab.keyboard.press("Enter")
    person.tab.keyboard.type("too late")
    person.keep("dialog")
    person.tab.keyboard.press("Enter")
    person.reads(f"{handle.id} is cancelled: it will not run.")
    assert (handle.state(), handle.info().reason) == (JobState.CANCELLED, "too late")
    person.tab.locator("h1 .dc-state", has_text="cancelled").wait_for()


def test_a_stale_page_is_told(town: Fleet, person: Person) -> None:
    """A button of a page that could not follow does nothing, and says what is true now."""
    handle = town.shop.add.options(queue="followed", delay=600).enqueue(1)
    person.go(f"/jobs/{handle.id}")
    person.tab.route("**/dispatch/jobs/*", lambda route: route.abort())
    town.shop.dispatch.jobs.run_now(handle.id)
    person.press("Cancel", confirm="Cancel the job")
    person.reads("is pending by now, and was scheduled on your page: nothing was done")
    assert handle.state() == JobState.PENDING
    person.wrong[:] = [words for words in person.wrong if "ERR_FAILED" not in words and "409" not in words]


def test_a_run_is_helped_on(runs: dict[str, str], town: Fleet, person: Person) -> None:
    """From its page an undo is skipped, and a fork is started from one of its calls."""
    from tests.support import shown

    run = shown.stuck.start("coffee")
    eventually(lambda: run.state() == RunState.PARKED, within=20, what="it is parked")
    person.go(f"/runs/{run.id}")
    row = person.tab.locator("tr", has_text="undo:ship#1")
    row.locator("summary").click()
    row.get_by_role("button", name="Skip").click()
    person.tab.locator("dialog").get_by_role("button", name="Skip").click()
    person.reads("The undo undo:ship#1")
    eventually(lambda: run.state() == RunState.FAILED, within=20, what="it has undone the rest")

    person.go(f"/runs/{runs['undone']}")
    row = person.tab.locator("tr", has_text="charge#1").first
    row.locator("summary").click()
    row.get_by_role("button", name="Fork here").click()
    person.tab.locator("dialog").get_by_role("button", name="Fork here").click()
    person.reads("is started with what")
    (fork,) = [one for one in town.shop.dispatch.runs.list(name="shown.undone") if one.forked_from == runs["undone"]]
    assert person.tab.get_by_text("Look at it").get_attribute("href").endswith(fork.id)


def test_hostile_names_and_payloads_are_text(town: Fleet, person: Person) -> None:
    """Tags, templates, links, control and bidirectional characters and a megabyte are shown as text on every page."""
    dispatch = town.shop.dispatch
    with scope(app_id="<b>app<b>", org_id="x"):
        job = dispatch.enqueue(HOSTILE, text=UNSEEN, **{TAGS: TAGS, LINK: LINK})
        event = dispatch.events.publish(HOSTILE, {TAGS: UNSEEN, LINK: LINK}, key=UNSEEN)
    large = dispatch.enqueue("large", text="<b>x" * 250_000)
    raw = dispatch.dlq.bury(b"\xff" + TAGS.encode(), queue=TAGS, reason=HOSTILE)
    text = dispatch.dlq.bury(TAGS.encode(), queue=TAGS, reason=HOSTILE)
    job_pages = (f"/jobs/{job.id}", "/jobs", "", f"/jobs?name={TAGS}", "/dead-letters?queue=%3Cimg&error=%22%3E%3Cb%3E")
    for path in (
        *job_pages,
        "/events",
        f"/events/{event}",
        f"/dead-letters/{raw}",
        f"/dead-letters/{text}",
        "/dead-letters",
    ):
        person.go(path)
        assert person.tab.locator("img[src=x], #dispatch-live script, #dispatch-live b").count() == 0, path
        assert person.tab.locator("a[href^=javascript]").count() == 0, path
        assert "\u202e" not in person.tab.content(), path
        if "?" not in path:
            assert TAGS in person.tab.locator("#dispatch-live").inner_text(), path
    person.go(f"/jobs/{job.id}")
    shown = person.tab.locator("#dispatch-live").inner_text()
    assert "{{7*7}}" in shown
    assert "a\\u202egnp.exe\\u0000\\u001b[31m\\u200b\u05e9\u05dc\u05d5\u05dd" in shown
    person.keep("hostile")
    person.go(f"/jobs/{large.id}")
    assert "cut here: 1,000," in person.tab.locator("#dispatch-live").inner_text()
    assert len(person.tab.content()) < 100_000


class _Elsewhere(BaseHTTPRequestHandler):
    """Another site, with one page."""

    page = b""

    def do_GET(self) -> None:
        """Send it."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(self.page)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, type[_Elsewhere]]]:
    """Return the address of another site, and where its page is put."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", _Elsewhere
        server.shutdown()
        thread.join()


def test_other_sites_cannot_do_anything(town: Fleet, person: Person, elsewhere: tuple[str, type[_Elsewhere]]) -> None:
    """A form, a fetch and an image of another site, opened by who is logged in, change nothing; no frame shows us."""
    handle = town.shop.add.options(queue="followed").enqueue(1)
    person.go("/jobs")
    address, (site, there) = f"{person.pages.url}/api/dispatch/jobs/{handle.id}/cancel", elsewhere
    there.page = f"""<!doctype html><title>-</title>
        <form id=form method=post enctype=text/plain action="{address}"><input name='{{"a":"' value='"}}'></form>
        <img src="{address}"><iframe src="{person.pages.url}/dispatch"></iframe>
        <script>
        const how = {{method: "POST", credentials: "include"}}, json = {{"Content-Type": "application/json"}};
        Promise.allSettled([fetch("{address}", {{...how, mode: "no-cors", body: "{{}}"}}),
                            fetch("{address}", {{...how, headers: json, body: "{{}}"}})])
            .then(all => {{ document.title = all.map(one => one.status).join(" "); }});
        </script>""".encode()
    person.tab.goto(site)
    person.tab.wait_for_function("document.title !== '-'")
    assert person.tab.title() == "rejected rejected"
    assert handle.state() == JobState.PENDING
    person.tab.evaluate("document.getElementById('form').submit()")
    person.tab.wait_for_url(address)
    assert "forbidden" in person.tab.content()
    assert handle.state() == JobState.PENDING
    assert [words for words in person.wrong if "frame-ancestors" in words or "X-Frame-Options" in words]
    person.wrong.clear()  # what the browser refused is an error on that site's console


def test_a_keyboard_reaches_everything(runs: dict[str, str], person: Person) -> None:
    """The menu opens by keyboard, and every button and link of a run's page can be focused."""
    person.go(f"/runs/{runs['order']}")
    person.tab.get_by_role("button", name="Dispatch").focus()
    person.tab.keyboard.press("Enter")
    person.tab.locator(".dropdown-menu.show a", has_text="Dead letters").wait_for()
    person.keep("menu")
    person.tab.keyboard.press("Escape")
    person.tab.locator("main").click(position={"x": 2, "y": 2})
    focused = set()
    for _ in range(60):
        person.tab.keyboard.press("Tab")
        focused.add(person.tab.evaluate("(document.activeElement.textContent || '').trim()"))
    assert {"Jobs", "Undo", "Rewind", "Fork", "\u22ef", "Traceback"} - focused <= {"Traceback"}
