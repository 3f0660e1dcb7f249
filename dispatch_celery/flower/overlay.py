"""Templates: ours in front of Flower's, and Flower's bar of menus with one entry more.

``dispatch/frame.html`` is Flower's own frame, or a plain one where that has moved. Nothing of Flower is written to.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tornado.template import BaseLoader, Template

from dispatch_celery.flower.host import Host

__all__ = ["TEMPLATES", "Overlay"]

TEMPLATES: Final = Path(__file__).parent / "templates"
_OURS: Final = "dispatch/"
_ENTRY: Final = (
    "{% from dispatch_celery.flower.menu import entry as dispatch_entry %}"
    "{% raw dispatch_entry(globals().get('handler'), active_tab) %}"
)


class Overlay(BaseLoader):  # type: ignore[misc]  # Tornado is imported in this room only, and not followed
    """Loads templates by their whole names."""

    def __init__(self, host: Host, *, is_plain: bool = False) -> None:
        super().__init__()
        self._host = host
        self.has_frame = host.has_frame and not is_plain
        """Whether our pages stand in Flower's frame."""

    def resolve_path(self, name: str, parent_path: str | None = None) -> str:  # noqa: ARG002 - Tornado's signature
        """Return the name: it is whole, wherever it is asked for."""
        return name

    def _create_template(self, name: str) -> Template:
        return Template(self._text(name), name=name, loader=self)

    def _text(self, name: str) -> str:
        if name.startswith(_OURS):
            own = name.removeprefix(_OURS)
            if own == "frame.html":
                own = "frame_of_flower.html" if self.has_frame else "frame_alone.html"
            return (TEMPLATES / own).read_text(encoding="utf-8")
        text = (self._host.templates or TEMPLATES).joinpath(name).read_text(encoding="utf-8")
        if name == "navbar.html" and self._host.has_menu:
            head, end, rest = text.partition("</ul>")
            return f"{head}{_ENTRY}{end}{rest}"
        return text
