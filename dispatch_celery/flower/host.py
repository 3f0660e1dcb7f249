"""What is used of Flower, looked up by name; what of it has moved is told, and nothing is guessed.

Flower has no interface for further pages, so each part that is used is checked here for what it is used for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

__all__ = ["Host", "look_at_flower"]

_BLOCKS: Final = ("title", "navbar", "container", "extra_scripts")


@dataclass(frozen=True, kw_only=True)
class Host:
    """The parts of an installed Flower; None is one that is not where it was."""

    handler: type | None
    """Answers a request, and knows who sent it."""
    api_handler: type | None
    """The same for programs; it knows whether they may ask at all."""
    rules: list[Any] | None
    """The paths that its application will answer."""
    application: type | None
    settings: dict[str, Any] | None
    templates: Path | None
    has_frame: bool
    """Whether its pages can be the frame of ours."""
    has_menu: bool
    """Whether its bar of menus can show one more."""
    moved: tuple[str, ...]
    """What is missing, and what follows from that; one sentence each."""


def look_at_flower() -> Host:
    """Return what is there of the installed Flower."""
    handler = _class("flower.views", "BaseHandler", ("get_current_user", "check_xsrf_cookie", "render"))
    api_handler = _class("flower.api", "BaseApiHandler", ("prepare",))
    rules = _named("flower.urls", "handlers")
    settings = _named("flower.urls", "settings")
    settings = settings if isinstance(settings, dict) else None
    templates = Path(str((settings or {}).get("template_path") or _beside_flower()))
    base, bar = _read(templates / "base.html"), _read(templates / "navbar.html")
    has_frame = bool(bar) and all(f"{{% block {name} %}}" in base for name in _BLOCKS)
    has_menu = settings is not None and "</ul>" in bar
    application = _class("flower.app", "Flower", ("add_handlers",))
    added = "were added in another way" if application is not None else "could not be added"
    found = {
        "who is logged in cannot be told (flower.views.BaseHandler), so these pages are closed": handler is not None,
        "the rules of its API cannot be told (flower.api.BaseApiHandler), so nothing can be done from these pages":
            api_handler is not None,
        f"its list of paths has moved (flower.urls.handlers), so these pages {added}": isinstance(rules, list),
        "its bar of menus has moved (navbar.html), so only these pages themselves have a menu": has_menu,
        "its frame has moved (base.html), so these pages have a plain one": has_frame,
    }  # fmt: skip
    return Host(
        handler=handler,
        api_handler=api_handler,
        rules=rules if isinstance(rules, list) else None,
        application=application,
        settings=settings,
        templates=templates,
        has_frame=has_frame,
        has_menu=has_menu,
        moved=tuple(words for words, is_there in found.items() if not is_there),
    )


def _named(module: str, name: str) -> Any:
    try:
        return getattr(import_module(module), name, None)
    except ImportError:
        return None


def _class(module: str, name: str, methods: Sequence[str]) -> type | None:
    found = _named(module, name)
    is_usable = isinstance(found, type) and all(callable(getattr(found, method, None)) for method in methods)
    return found if is_usable else None


def _beside_flower() -> Path:
    return Path(str(import_module("flower").__file__)).parent / "templates"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
