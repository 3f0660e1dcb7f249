"""All that Tornado sees: pages, what programs read, what changes something, and our two files.

These are mixed into Flower's own handlers (``installing``), whose ``current_user`` and rules for the API they ask. What
blocks is read in a thread; an error of this package becomes a page, or a JSON object, that says what it is.
"""

from __future__ import annotations

import json
import logging
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tornado.web import HTTPError, StaticFileHandler

from dispatch_celery.cli.masking import words
from dispatch_celery.errors import (
    ConfigurationError,
    DispatchError,
    InvalidId,
    NotFoundError,
    PayloadError,
    StateConflict,
    StoreUnavailable,
    UnknownJob,
)
from dispatch_celery.flower.asking import Asked, Done
from dispatch_celery.flower.bulk import BULK
from dispatch_celery.flower.desk import Desk, desk_of, dispatch_of
from dispatch_celery.flower.documents import Document
from dispatch_celery.flower.guard import closed_because, dress, refuse_forgery
from dispatch_celery.flower.links import Links
from dispatch_celery.flower.offload import Offload
from dispatch_celery.flower.overlay import TEMPLATES, Overlay
from dispatch_celery.flower.pages.book import menu_of
from dispatch_celery.flower.pages.model import Page, Query
from dispatch_celery.flower.telling import Telling
from dispatch_celery.flower.verbs import VERBS, serves

__all__ = ["STATIC", "ActionAnswers", "Answers", "ClosedAnswers", "DocumentAnswers", "Files", "PageAnswers", "Shop"]

logger = logging.getLogger(__name__)

STATIC: Final = Path(__file__).parent / "static"
_LARGEST: Final = 65_536
_STATUS: Final = (
    (StoreUnavailable, 503),
    (NotFoundError, 404),
    (InvalidId, 404),
    (StateConflict, 409),
    (UnknownJob, 409),
    (ConfigurationError, 400),
    (PayloadError, 400),
)


class Shop:
    """What all handlers of one Flower share."""

    def __init__(self, loader: Overlay, plain: Overlay, moved: tuple[str, ...], *, is_api_known: bool) -> None:
        self.loader = loader
        self.plain = plain
        """Templates without anything of Flower's."""
        self.moved = moved
        self.is_api_known = is_api_known
        self.offload = Offload()


class Answers:
    """What our handlers have in common. Whatever else they use is Tornado's."""

    application: Any
    request: Any
    current_user: Any
    shop: Shop
    set_header: Callable[..., None]
    set_status: Callable[..., None]
    finish: Callable[..., Any]

    def initialize(self, *, shop: Shop, **more: Any) -> None:
        """Take what the rule of this address says."""
        self.shop = shop
        for name, value in more.items():
            setattr(self, name, value)

    def set_default_headers(self) -> None:
        """Send our own headers, and none that lets another site read."""
        dress(self)

    def options(self, *_: str) -> None:
        """Answer no other site's question whether it may ask."""
        self.set_status(204)
        self.finish()

    @property
    def links(self) -> Links:
        """Addresses under Flower's prefix."""
        return Links(self.application.options.url_prefix)

    @property
    def desk(self) -> Desk:
        """What is read from."""
        return desk_of(self.application.capp)

    @property
    def query(self) -> Query:
        """What the address asks for; each name once."""
        found = self.request.query_arguments.items()
        return Query({name: values[-1].decode("utf-8", "replace") for name, values in found if values})

    def told(self, error: DispatchError) -> tuple[int, str]:
        """Return the status and the sentence of an error."""
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
        if status in (500, 503):
            logger.warning("%s %s: %s", self.request.method, self.request.path, error)
        return status, words(str(error))


class PageAnswers(Answers):
    """Answers with a page."""

    page: Page
    redirect: Callable[..., None]
    get_login_url: Callable[[], str]
    xsrf_token: bytes

    def get_template_path(self) -> str:
        """Return a place of our own, so that Tornado asks for a loader of our own."""
        return str(TEMPLATES)

    def create_template_loader(self, template_path: str) -> Overlay:  # noqa: ARG002 - Tornado's signature
        """Return our loader, whatever Flower uses."""
        return self.shop.loader

    async def get(self, *ids: str) -> None:
        """Show the page, or what is in its way."""
        try:
            dispatch = dispatch_of(self.application.capp)
            if dispatch is None or not self.page.is_served(dispatch):
                raise HTTPError(404)
            view = await self.shop.offload.run(self.page.read, self.desk, self.query, *ids)
            await self.show(self.page.template, view=view)
        except DispatchError as error:
            status, sentence = self.told(error)
            self.set_status(status)
            await self.show("trouble.html", view={"status": status, "sentence": sentence, "code": error.code})

    async def show(self, template: str, **values: Any) -> None:
        """Send a page; in a plain frame where Flower's turns out not to fit."""
        _ = self.xsrf_token  # sets the cookie that the script of the page sends back
        namespace = {**self._namespace(), **values}
        try:
            text = self.shop.loader.load(f"dispatch/{template}").generate(**self._tornado(), **namespace)
        except Exception:
            if not self.shop.loader.has_frame:
                raise
            logger.exception("Flower's frame does not fit, and a plain one is used")
            self.shop.loader = self.shop.plain
            self.shop.moved += ("its frame does not fit (base.html), so these pages have a plain one",)
            text = self.shop.loader.load(f"dispatch/{template}").generate(
                **self._tornado(), **self._namespace(), **values
            )
        await self.finish(text)

    def _namespace(self) -> dict[str, Any]:
        closed = closed_because(self, is_api_known=self.shop.is_api_known)
        return {
            "page": self.page,
            "say": Telling,
            "go": self.links,
            "menu": menu_of(dispatch_of(self.application.capp)),
            "closed": closed,
            "who": self._who(),
            "moved": self.shop.moved,
            "files": files_of(self.links),
            "url_prefix": self.application.options.url_prefix,
        }

    def _who(self) -> str:
        """Return who is logged in, as far as Flower tells."""
        sent = self.request.headers.get("Authorization", "")
        if isinstance(self.current_user, str):
            return self.current_user[:100]
        try:
            return b64decode(sent.removeprefix("Basic ")).decode().partition(":")[0][:100] if sent else ""
        except ValueError:
            return ""

    def _tornado(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get_template_namespace()  # type: ignore[attr-defined]  # Tornado's
        return found


class ClosedAnswers(Answers):
    """Answers every address of ours with why it is closed: nobody knows any more who asks."""

    def answer(self, *_: str) -> None:
        """Say so."""
        self.set_status(503)
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish("The pages of Dispatch are closed. Of this Flower, " + "; ".join(self.shop.moved) + ".\n")

    get = post = answer


class DocumentAnswers(Answers):
    """Answers a program with JSON."""

    document: Document

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Ask for the login as Flower's pages do, or a browser keeps the one it was given for those."""
        if status_code == 401 and getattr(self.application.options, "basic_auth", None):
            self.set_header("WWW-Authenticate", 'Basic realm="flower"')
        super().write_error(status_code, **kwargs)  # type: ignore[misc]  # Flower's

    async def get(self, *ids: str) -> None:
        """Send the document, or what is in its way."""
        await self.reply(self.document, self.desk, self.query, *ids)

    async def reply(self, function: Callable[..., Any], *args: Any) -> None:
        """Send what a function returns."""
        try:
            self.send(200, await self.shop.offload.run(function, *args))
        except DispatchError as error:
            status, sentence = self.told(error)
            self.send(status, {"error": error.code, "message": sentence})

    def send(self, status: int, document: Any) -> None:
        """Send JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.finish(json.dumps(document, default=str))


class ActionAnswers(DocumentAnswers):
    """Does what a button or a program asks for."""

    kind: str

    def check_xsrf_cookie(self) -> None:
        """Ask Flower, then ask what our pages can always answer."""
        super().check_xsrf_cookie()  # type: ignore[misc]  # Flower's
        refuse_forgery(self)

    async def post(self, first: str, verb: str = "") -> None:
        """Do it, and say what was done."""
        refuse_forgery(self)  # also where Flower does not have Tornado ask
        if getattr(self.application.options, "read_only", True):
            raise HTTPError(403, "Read only mode is enabled")
        if verb:
            found = VERBS.get((self.kind, verb))
            if found is None or not serves(self.desk.dispatch, self.kind, verb):
                raise HTTPError(404, f"there is no verb {verb} of {self.kind}")
            await self.reply(_did, found, self.desk, first, self._asked())
        elif first in BULK:
            await self.reply(_did, BULK[first], self.desk, self._asked())
        else:
            raise HTTPError(404, f"there is no {first} of many {self.kind}")

    def _asked(self) -> Asked:
        body = self.request.body or b"{}"
        if len(body) > _LARGEST:
            raise HTTPError(413, "this is more than any button sends")
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            raise HTTPError(400, "this is no JSON") from None
        if not isinstance(found, dict):
            raise HTTPError(400, "a JSON object is expected")
        return Asked(found)

    async def get(self, *_: str) -> None:
        """Refuse: an address that changes something is never followed."""
        self.set_header("Allow", "POST")
        self.send(405, {"error": "method_not_allowed", "message": "this is asked for by POST"})


class Files(StaticFileHandler):  # type: ignore[misc]  # Tornado is not followed
    """Our script and our style: the only files that may be read without a login, as Flower's own."""

    def set_extra_headers(self, path: str) -> None:  # noqa: ARG002 - Tornado's signature
        """Have a browser ask again, and keep types as they are."""
        self.set_header("Cache-Control", "no-cache")
        self.set_header("X-Content-Type-Options", "nosniff")


def files_of(links: Links) -> dict[str, str]:
    """Return the addresses of our files."""
    return {name: links.page("static", f"dispatch.{name}") for name in ("js", "css")}


def _did(function: Callable[..., Done], *args: Any) -> dict[str, Any]:
    done = function(*args)
    return {"message": done.message, "about": done.about or None, **(done.more or {})}
