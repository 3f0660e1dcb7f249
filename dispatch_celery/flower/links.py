"""Addresses of our pages, under the prefix that Flower was given. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

__all__ = ["API", "PAGES", "Links"]

PAGES: Final = "/dispatch"
API: Final = "/api/dispatch"


class Links:
    """Makes addresses."""

    def __init__(self, prefix: str | None) -> None:
        stripped = (prefix or "").strip("/")
        self._prefix = f"/{stripped}" if stripped else ""

    def page(self, *parts: str, query: Mapping[str, str | None] | None = None) -> str:
        """Return the address of a page: its name, and what it is about."""
        return self._made(PAGES, parts, query)

    def api(self, *parts: str) -> str:
        """Return the address of what programs, and the buttons of a page, ask."""
        return self._made(API, parts, None)

    def of(self, some_id: Any) -> str:
        """Return the page of a job, run, event or dead letter; none for another id."""
        kind = str(some_id).partition("_")[0]
        name = {"job": "jobs", "run": "runs", "dlq": "dead-letters"}.get(kind)
        return self.page(name, str(some_id)) if name else ""

    def _made(self, root: str, parts: tuple[str, ...], query: Mapping[str, str | None] | None) -> str:
        path = "/".join([self._prefix + root, *(quote(part, safe="") for part in parts)])
        given = {name: value for name, value in (query or {}).items() if value}
        return f"{path}?{urlencode(given)}" if given else path
