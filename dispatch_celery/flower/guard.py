"""Who may ask, and what a browser may do with the answer.

Flower's own rules come first and are asked as they are: its login, its closed API, its ``read_only``. On top, for all
our addresses: headers that let a page load nothing but Flower's own files, run none but files, and stand in no frame.
What changes something is JSON, comes from our own pages or from no browser at all, and a browser brings the token that
our pages are given.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from tornado.web import HTTPError, RequestHandler

__all__ = ["HEADERS", "closed_because", "dress", "refuse_foreign", "refuse_forgery"]

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self';"
        " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_CROSS_ORIGIN: Final = (
    "Access-Control-Allow-Origin",
    "Access-Control-Allow-Headers",
    "Access-Control-Allow-Methods",
)
"""What Flower sends where its API is open to everybody; our addresses answer no other site even then."""


def dress(handler: Any) -> None:
    """Give an answer its headers."""
    for name in _CROSS_ORIGIN:
        handler.clear_header(name)
    for name, value in HEADERS.items():
        handler.set_header(name, value)


def refuse_foreign(request: Any) -> None:
    """Refuse what another site has a browser send."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site not in (None, "same-origin", "none"):
        raise HTTPError(403, "this came from another site: nothing was done")
    if origin is not None and urlsplit(origin).netloc.lower() != request.host.lower():
        raise HTTPError(403, "this came from another origin: nothing was done")


def refuse_forgery(handler: Any) -> None:
    """Refuse what no page of ours and no program would send."""
    request = handler.request
    refuse_foreign(request)
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPError(403, "what changes something is asked for in JSON, which no form can send: nothing was done")
    if any(name in request.headers for name in ("Origin", "Sec-Fetch-Site", "Cookie")):
        RequestHandler.check_xsrf_cookie(handler)


def closed_because(handler: Any, *, is_api_known: bool) -> str:
    """Return why nothing can be done from a page, as advice; empty where it can."""
    options = handler.application.options
    if not is_api_known:
        return "Nothing can be done from here: where this Flower keeps the rules of its API is not known."
    if getattr(options, "read_only", True):
        return "Flower runs with --read-only: nothing can be changed from here."
    is_guarded = bool(getattr(options, "basic_auth", None) or getattr(options, "auth", None))
    if not is_guarded and not getattr(handler, "unauthenticated_api", False):
        return (
            "Nothing can be changed from here, because anybody can open this Flower: start it with"
            " --basic-auth=USER:PASSWORD or --auth, and there are buttons."
        )
    return ""
