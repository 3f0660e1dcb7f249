"""The pages in a real Flower: they are there, show what is stored, and let nobody do more than Flower does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from dispatch_celery import DeadLetterId, JobState
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.embedded import EmbeddedServer
from tests.support.eventually import eventually
from tests.support.flower_pages import JSON, USER, FlowerPages, flower_pages
from tests.support.graveyard import end_as_dead, world_of_today
from tests.support.workers import Fleet

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("flower"), pytest.mark.timeout(120)]

PAGES = ("", "/jobs", "/runs", "/events", "/dead-letters", "/workers")
READ = ("overview", "jobs", "runs", "events", "dead-letters", "workers")
CROSS_SITE = (
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
)


def test_the_menu_and_every_page_are_there(town: Fleet, pages: FlowerPages) -> None:
    """Flower's own pages have the menu, and each entry of it is a page that says what to do while it is empty."""
    assert 'href="/dispatch/dead-letters"' in pages.ask("/workers").text
    for path in PAGES:
        page = pages.ask(f"/dispatch{path}")
        assert (page.status, "Flower has changed" in page.text) == (200, False), page.words
        assert 'class="active" aria-current="page"' in page.text
    assert "No worker is live. Start one: celery -A" in pages.ask("/dispatch/workers").words
    assert 'href="/dispatch/crons"' in pages.ask("/dispatch").text


def test_a_job_is_shown_with_its_payload_masked(town: Fleet, pages: FlowerPages) -> None:
    """A page and a document show what is stored, and nothing that is secret by annotation, by name, or in a URL."""
    jobs = town.shop
    handle = jobs.secret.enqueue("ada", password="correct-horse")  # noqa: S106 - made up, to be looked for
    other = jobs.dispatch.enqueue("elsewhere.mail", api_key="sesame", to=["redis://bob:hunter2@db/0", {"Token": 7}])

    for path in (f"/dispatch/jobs/{handle.id}", f"/api/dispatch/jobs/{handle.id}"):
        page = pages.ask(path)
        assert (page.status, "ada" in page.text, "***" in page.text, "correct-horse" in page.text) == (
            *(200, True),
            *(True, False),
        )
    shown = pages.ask(f"/api/dispatch/jobs/{other.id}").json["arguments"]
    assert shown == {"api_key": "***", "to": ["redis://bob:***@db/0", {"Token": "***"}]}
    text = pages.ask(f"/dispatch/jobs/{other.id}").text
    assert [word for word in ("sesame", "hunter2") if word in text] == []
    assert "No worker is live, so nobody takes it" in pages.ask(f"/dispatch/jobs/{other.id}").words


def test_lists_have_filters_and_cursors(town: Fleet, pages: FlowerPages) -> None:
    """Fifty on a page, older ones behind the link, and a filter that does not fit is told in words."""
    handles = [town.shop.add.options(queue="long").enqueue(number) for number in range(61)]
    page = pages.ask("/dispatch/jobs?state=pending&name=shop.add&queue=long")
    assert page.text.count('<tr id="row-job_') == 50

    (older,) = [part for part in page.text.split('"') if "cursor=" in part]
    second = pages.ask(older.replace("&amp;", "&"))
    assert second.text.count('<tr id="row-job_') == len(handles) - 50
    assert handles[0].id in second.text

    assert "No job fits these filters" in pages.ask("/dispatch/jobs?name=nobody").words
    for query in ("state=nowhere", "after=yesterday", "cursor=x", f"name={'x' * 600}"):
        wrong = pages.ask(f"/dispatch/jobs?{query}")
        assert (wrong.status, "This cannot be shown" in wrong.words) == (400, True), query
    assert pages.ask("/dispatch/jobs/job_nothing").status == 404
    assert pages.ask("/dispatch/runs/run_01h0000000e0080000000000aa").status == 404


def test_a_verb_does_what_it_says(town: Fleet, pages: FlowerPages) -> None:
    """Cancel, run now, and the purge of a message change what is stored, and say so."""
    jobs, dispatch = town.shop, town.shop.dispatch
    waiting, later = jobs.add.enqueue(1), jobs.add.options(delay=600).enqueue(2)
    letter = dispatch.dlq.bury(b"no json", queue="q", reason="it is no JSON")

    done = pages.act(f"/jobs/{waiting.id}/cancel", expected={"state": "pending"}, reason="not needed")
    assert (done.status, done.json["message"]) == (200, f"{waiting.id} is cancelled: it will not run.")
    assert waiting.info().reason == "not needed"
    assert pages.act(f"/jobs/{later.id}/run-now").status == 200
    assert later.state() == JobState.PENDING
    assert pages.act(f"/dead-letters/{letter}/purge").json["purged"] == 1
    assert pages.act(f"/dead-letters/{letter}/purge").status == 404
    assert pages.act(f"/jobs/{later.id}/explode").status == 404
    assert pages.ask(f"/api/dispatch/jobs/{later.id}/cancel").status == 405


def test_a_stale_page_does_nothing_and_is_told(town: Fleet, pages: FlowerPages) -> None:
    """What was decided on a page that is not true any more is refused with what is true now."""
    handle = town.shop.add.options(delay=600).enqueue(2)
    assert handle.state() == JobState.SCHEDULED
    town.shop.dispatch.jobs.run_now(handle.id)

    stale = pages.act(f"/jobs/{handle.id}/cancel", expected={"state": "scheduled", "replayed_as": ""})
    assert stale.status == 409
    assert f"{handle.id} is pending by now, and was scheduled on your page" in stale.json["message"]
    assert handle.state() == JobState.PENDING


def test_what_comes_from_another_site_changes_nothing(shop: Fleet) -> None:
    """No form, no fetch and no other origin can have anything done, with a login or where everybody may ask."""
    for arguments, environment in (((f"--basic-auth={USER}",), {}), (("--max-tasks=10",), _OPEN)):
        with flower_pages(shop, *arguments, **environment) as pages:
            handle = shop.shop.add.enqueue(1)
            path = f"/jobs/{handle.id}/cancel"
            for headers in CROSS_SITE:
                assert pages.act(path, headers=headers).status == 403, headers
            for kind in ("application/x-www-form-urlencoded", "text/plain", ""):
                assert pages.act(path, headers={"Content-Type": kind}).status == 403, kind
            same = {"Origin": f"http://127.0.0.1:{pages.port}", "Sec-Fetch-Site": "same-origin"}
            assert pages.act(path, headers=same).status == 403, "a browser without the token of our pages"
            assert pages.act(path, headers={"Cookie": "_xsrf=one", "X-XSRFToken": "two"}).status == 403
            assert handle.state() == JobState.PENDING
            asked = pages.ask(f"/api/dispatch{path}", method="OPTIONS", headers={"Origin": "https://evil.example"})
            assert not [name for name in asked.headers if name.startswith("Access-Control")]
            token = {**same, "Cookie": "_xsrf=abcdef", "X-XSRFToken": "abcdef"}
            assert pages.act(path, headers=token).status == 200
            assert handle.state() == JobState.CANCELLED


_OPEN = {"FLOWER_UNAUTHENTICATED_API": "true"}


def test_a_login_is_asked_for_everywhere(town: Fleet, pages: FlowerPages) -> None:
    """With a login every page, document and verb is closed to who has none; only script and style are not."""
    handle = town.shop.add.enqueue(1)
    paths = [f"/dispatch{path}" for path in PAGES] + [f"/api/dispatch/{name}" for name in READ]
    paths += [f"/dispatch/jobs/{handle.id}", f"/api/dispatch/jobs/{handle.id}"]
    for user in ("ada:wrong", "x"):
        assert [path for path in paths if pages.ask(path, user=user).status != 401] == []
        refused = pages.ask(
            f"/api/dispatch/jobs/{handle.id}/cancel", method="POST", body=b"{}", headers=JSON, user=user
        )
        assert refused.status == 401
    assert handle.state() == JobState.PENDING
    assert [path for path in paths if pages.ask(path).status != 200] == []
    assert pages.ask("/dispatch/static/dispatch.js", user="x:y").status == 200
    assert pages.ask("/dispatch/static/..%2fhandlers.py").status == 404


def test_read_only_is_obeyed(shop: Fleet) -> None:
    """Under ``--read-only`` pages show no button, and verbs are refused."""
    with flower_pages(shop, f"--basic-auth={USER}", "--read-only") as pages:
        handle = shop.shop.add.enqueue(1)
        page = pages.ask(f"/dispatch/jobs/{handle.id}")
        assert ("data-do=" in page.text, "--read-only" in page.words) == (False, True)
        refused = pages.act(f"/jobs/{handle.id}/cancel")
        assert (refused.status, handle.state()) == (403, JobState.PENDING)
        assert pages.act("/dead-letters/purge", filters={}, before="2099-01-01T00:00:00+00:00").status == 403
        assert pages.act("/dead-letters/replay", filters={}, dry_run=True).status == 403


def test_without_a_login_pages_are_read_only(shop: Fleet) -> None:
    """A Flower that everybody can open shows its pages, closes its API, and says how to get buttons."""
    with flower_pages(shop, "--max-tasks=10") as pages:
        handle = shop.shop.add.enqueue(1)
        page = pages.ask(f"/dispatch/jobs/{handle.id}")
        assert (page.status, "data-do=" in page.text, "--basic-auth=USER:PASSWORD" in page.words) == (200, False, True)
        assert pages.act(f"/jobs/{handle.id}/cancel").status == 401
        assert pages.ask("/api/dispatch/jobs").status == 401
        assert handle.state() == JobState.PENDING


def test_a_prefix_is_kept(shop: Fleet) -> None:
    """Under ``--url-prefix`` every link, file and verb is where Flower is."""
    with flower_pages(shop, f"--basic-auth={USER}", "--url-prefix=ops") as pages:
        handle = shop.shop.add.enqueue(1)
        page = pages.ask(f"/dispatch/jobs/{handle.id}")
        assert f'data-do="/ops/api/dispatch/jobs/{handle.id}/cancel"' in page.text
        assert 'src="/ops/dispatch/static/dispatch.js"' in page.text
        assert 'href="/ops/dispatch/runs"' in pages.ask("/workers").text
        assert pages.ask("/dispatch/static/dispatch.css").status == 200
        assert pages.act(f"/jobs/{handle.id}/cancel").status == 200
        assert handle.state() == JobState.CANCELLED


def test_every_answer_has_its_headers(town: Fleet, pages: FlowerPages) -> None:
    """Nothing is cached or framed, no script runs but ours, and no answer is open to other sites."""
    handle = town.shop.add.enqueue(1)
    for path in ("/dispatch", f"/dispatch/jobs/{handle.id}", "/dispatch/jobs/job_x", "/api/dispatch/jobs"):
        headers = pages.ask(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert ("unsafe" in policy, "script-src 'self'" in policy) == (False, True)
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
    text = pages.ask("/dispatch").text
    assert [part for part in text.split("<script")[1:] if "src=" not in part.partition(">")[0]] == []
    assert " style=" not in text
    assert " onclick=" not in text


def test_a_state_server_that_is_gone_is_told(shop: Fleet, killable_server: EmbeddedServer) -> None:
    """Where the state server does not answer, every page says so within its timeouts, and comes back with it."""
    url = killable_server.url
    with flower_pages(
        shop, DISPATCH_REDIS_URL=url, DISPATCH_COMMAND_TIMEOUT="1", DISPATCH_CONNECT_TIMEOUT="1"
    ) as pages:
        assert pages.ask("/dispatch").status == 200
        killable_server.pause()
        with ThreadPoolExecutor(1) as pool:
            stalled = pool.submit(pages.ask, "/dispatch/jobs")
            assert pages.ask("/healthcheck").text == "OK"
            assert not stalled.done(), "Flower answers while a page of ours waits"
            assert stalled.result(timeout=20).status == 503
        killable_server.resume()
        killable_server.kill()
        for path in ("/dispatch", "/dispatch/jobs", "/dispatch/runs/run_01h455vb4pe008z94dg2jbgfry"):
            page = pages.ask(path)
            assert (page.status, "The state server does not answer" in page.words) == (503, True)
        assert pages.ask("/api/dispatch/jobs").json["error"] == "store_unavailable"
        assert pages.act("/jobs/job_01h455vb4pe008z94dg2jbgfry/cancel").status == 503
        killable_server.restart()
        eventually(lambda: pages.ask("/dispatch").status == 200, within=10, what="it is back")


def test_a_setting_that_does_not_fit_is_told(shop: Fleet) -> None:
    """Where the app's settings cannot work, Flower runs, and our pages say which setting it is."""
    with flower_pages(shop, DISPATCH_REDIS_URL="amqp://nowhere") as pages:
        assert pages.ask("/workers").status == 200
        page = pages.ask("/dispatch")
        assert (page.status, "dispatch_redis_url" in page.words) == (400, True)
        assert pages.ask("/api/dispatch/jobs").json["error"] == "configuration_error"


def test_what_has_not_changed_is_not_sent_again(town: Fleet, pages: FlowerPages) -> None:
    """A page that is open asks with the mark of what it shows, and is sent the next one only when that is another."""
    first = pages.ask("/dispatch/events?name=mark")
    again = {"If-None-Match": first.headers["Etag"]}
    assert pages.ask("/dispatch/events?name=mark", headers=again).status == 304
    town.shop.dispatch.events.publish("mark", 1)
    assert pages.ask("/dispatch/events?name=mark", headers=again).status == 200


def test_many_dead_letters_go_in_batches(town: Fleet, pages: FlowerPages) -> None:
    """What fits a filter is purged batch after batch, up to when the page was made; what died since is left."""
    dlq = town.shop.dispatch.dlq
    old = [dlq.bury(b"{", queue="q", reason="cut off") for _ in range(130)]
    kept = dlq.bury(b"{", queue="other", reason="cut off")
    newest = dlq.get(kept).died_at.isoformat()
    eventually(lambda: dlq.get(dlq.bury(b"{", queue="q", reason="late")).died_at.isoformat() > newest)

    first = pages.act("/dead-letters/purge", filters={"queue": "q"}, before=newest)
    assert (first.status, first.json["done"], bool(first.json["cursor"])) == (200, 100, True)
    second = pages.act("/dead-letters/purge", filters={"queue": "q"}, before=newest, cursor=first.json["cursor"])
    assert (second.json["done"] >= len(old) - 100, second.json["cursor"]) == (True, None)
    left = list(dlq.list(queue="q"))
    assert left
    assert all(letter.reason == "late" and letter.died_at.isoformat() > newest for letter in left)

    one = pages.act("/dead-letters/purge", ids=[kept, str(DeadLetterId.mint())])
    assert (one.json["done"], one.json["gone"]) == (1, 1)
    for wrong in ({}, {"ids": []}, {"ids": "dlq"}, {"filters": {}}, {"filters": {}, "before": "soon"}):
        assert pages.act("/dead-letters/purge", **wrong).status == 400, wrong


def test_a_dead_letter_is_replayed_with_edits(town: Fleet, pages: FlowerPages, store: RedisStore) -> None:
    """Its page offers it without what is hidden; what does not fit is refused in words, and the rest stays."""
    job = town.shop.secret.enqueue("ada", password="correct-horse")  # noqa: S106 - made up, to be looked for
    end_as_dead(world_of_today(store, town.environment["DISPATCH_NAMESPACE"]), job.id, "no such user")
    letter = town.shop.dispatch.dlq.get(job.id)
    path = f"/dead-letters/{letter.id}/replay"

    page = pages.ask(f"/dispatch/dead-letters/{letter.id}")
    assert 'data-edits="Arguments to change, of user, password"' in page.text
    assert "correct-horse" not in page.text
    for edits in ('{"user": 7}', '{"password": "***"}', "[" * 60_000):
        wrong = pages.act(path, edits=edits)
        assert (wrong.status, wrong.json["error"] in ("payload_error", "configuration_error")) == (400, True), edits
    same = {"Origin": f"http://127.0.0.1:{pages.port}", "Sec-Fetch-Site": "same-origin"}
    assert pages.act(path, headers=same, edits={"user": "bob"}).status == 403, "a browser without the token"
    assert pages.act(path, edits={"user": "bob"}, expected={"replayed_as": "another"}).status == 409
    assert town.shop.dispatch.dlq.get(job.id).replayed_as == ""

    done = pages.act(path, edits={"user": "bob"}, expected={"replayed_as": ""})
    assert (done.status, "correct-horse" in done.text) == (200, False)
    assert town.shop.dispatch.jobs.get(done.json["about"]).arguments == {"user": "bob", "password": "correct-horse"}
