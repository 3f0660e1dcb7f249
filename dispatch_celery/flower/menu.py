"""The entry in Flower's bar of menus. It is part of each of Flower's own pages, so it never raises."""

from __future__ import annotations

import logging
from html import escape
from typing import Any

from dispatch_celery.flower.desk import dispatch_of
from dispatch_celery.flower.links import Links
from dispatch_celery.flower.pages.book import menu_of

__all__ = ["entry"]

logger = logging.getLogger(__name__)


def entry(handler: Any, active_tab: str) -> str:
    """Return the entry as HTML; empty where the app has no ``Dispatch``."""
    try:
        return _entry(handler.application, active_tab)
    except Exception:
        logger.exception("Flower's menu is shown without the entry of Dispatch")
        return ""


def _entry(application: Any, active_tab: str) -> str:
    dispatch = dispatch_of(application.capp)
    if dispatch is None:
        return ""
    links = Links(application.options.url_prefix)
    active = " active" if active_tab == "dispatch" else ""
    items = "".join(
        f'<li><a class="dropdown-item" href="{escape(links.page(page.key) if page.key else links.page())}">'
        f"{escape(page.title)}</a></li>"
        for page in menu_of(dispatch)
    )
    return (
        f'<li class="nav-item dropdown"><a class="nav-link dropdown-toggle{active}" href="{escape(links.page())}"'
        ' role="button" data-bs-toggle="dropdown" aria-expanded="false">Dispatch</a>'
        f'<ul class="dropdown-menu">{items}</ul></li>'
    )
