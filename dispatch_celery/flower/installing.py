"""Puts our pages into a Flower that has not built its application yet."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from tornado.web import RequestHandler, authenticated, url

from dispatch_celery.flower.documents import DOCUMENTS
from dispatch_celery.flower.handlers import (
    STATIC,
    ActionAnswers,
    ClosedAnswers,
    DocumentAnswers,
    Files,
    PageAnswers,
    Shop,
)
from dispatch_celery.flower.host import Host, look_at_flower
from dispatch_celery.flower.links import API, PAGES, Links
from dispatch_celery.flower.metrics import show_metrics
from dispatch_celery.flower.overlay import Overlay
from dispatch_celery.flower.pages.book import ALL_PAGES

__all__ = ["install"]

logger = logging.getLogger(__name__)

_ID: Final = "([^/]+)"
_MARK: Final = "dispatch"


def install() -> tuple[str, ...]:
    """Add our pages and the entry of the menu to Flower; once, however often it is called.

    Return what of Flower was not where it was expected, one sentence each; the same is logged and shown on the pages.
    """
    host = look_at_flower()
    if any(getattr(rule, "name", None) == _MARK for rule in host.rules or ()):
        return host.moved
    shop = Shop(Overlay(host), Overlay(host, is_plain=True), host.moved, is_api_known=host.api_handler is not None)
    rules = _rules(host, shop)
    if host.rules is not None:
        host.rules[:0] = rules
    elif host.application is not None:
        _add_when_built(host.application, rules)
    show_metrics()
    if host.settings is not None and host.has_menu:
        host.settings["template_loader"] = shop.loader
    for words in host.moved:
        logger.warning("Flower has changed: %s; the pages of Dispatch are at %s", words, PAGES)
    return host.moved


def _rules(host: Host, shop: Shop) -> list[Any]:
    files = url(rf"{PAGES}/static/(dispatch\.(?:js|css))", Files, {"path": str(STATIC)})
    if host.handler is None:
        closed = type("DispatchClosed", (ClosedAnswers, RequestHandler), {})
        return [files, *(url(rf"{root}(?:/.*)?", closed, {"shop": shop}, name=_MARK) for root in (PAGES, API))]
    shown = _guarded("DispatchPage", PageAnswers, host.handler)
    rules = [files, *(url(_path(PAGES, page.key, page.ids), shown, {"shop": shop, "page": page}) for page in ALL_PAGES)]
    if host.api_handler is not None:
        reads = _guarded("DispatchDocument", DocumentAnswers, host.api_handler)
        acts = _guarded("DispatchAction", ActionAnswers, host.api_handler)
        rules += [
            url(rf"{API}/(?:runs/{_ID}/timeline)", reads, {"shop": shop, "document": DOCUMENTS["timelines/"][1]}),
            *(
                url(_path(API, key.rstrip("/"), ids), reads, {"shop": shop, "document": document})
                for key, (ids, document) in DOCUMENTS.items()
                if key != "timelines/"
            ),
        ]
        many = url(rf"{API}/dead-letters/(replay|purge)", acts, {"shop": shop, "kind": "dead-letters"})
        rules.insert(0, many)
        rules += [
            url(rf"{API}/{kind}/{_ID}/([a-z-]+)", acts, {"shop": shop, "kind": kind})
            for kind in ("jobs", "runs", "dead-letters", "crons", "queues")
        ]
    marked = url(rf"{PAGES}/", shown, {"shop": shop, "page": ALL_PAGES[0]}, name=_MARK)
    return [marked, *rules]


def _path(root: str, key: str, ids: int) -> str:
    return "/".join([root, *([key] if key else []), *[_ID] * ids])


def _guarded(name: str, answers: type, base: type) -> type:
    """Return a handler for who is logged in only."""
    found: dict[str, Callable[..., Any]] = {}
    for method in ("get", "post"):
        if hasattr(answers, method):
            found[method] = authenticated(getattr(answers, method))
    return type(name, (answers, base), found)


def _add_when_built(application: type, rules: list[Any]) -> None:
    """Add our rules to each application that is built from now on."""
    build = application.__init__  # type: ignore[misc]  # a class is what is changed here

    def build_with_pages(self: Any, *args: Any, **kwargs: Any) -> None:
        build(self, *args, **kwargs)
        prefix = Links(self.options.url_prefix).page().removesuffix(PAGES)
        placed = [url(prefix + rule.regex.pattern, rule.handler_class, rule.kwargs, rule.name) for rule in rules]
        self.add_handlers(r".*", placed)

    application.__init__ = build_with_pages  # type: ignore[misc]  # as above
