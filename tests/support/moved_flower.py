"""Starts Flower with some of its internals moved: ``python moved_flower.py handlers,bar -A app flower ...``.

Flower goes on by the references that its own modules have; only who looks where something was finds it gone.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

# Our plugin is loaded with Celery's command line, and would look at Flower before anything is moved.
ARGUMENTS, sys.argv = sys.argv, sys.argv[:1]

import flower.api  # noqa: E402 - as above
import flower.app  # noqa: E402 - as above
import flower.command  # noqa: E402 - as above
import flower.urls  # noqa: E402 - as above
import flower.views  # noqa: E402 - as above
from celery.bin.celery import main  # noqa: E402 - as above

from dispatch_celery.flower import install  # noqa: E402 - as above


def _templates(name: str, *changes: tuple[str, str]) -> None:
    """Have Flower use a copy of its templates with something changed in all or one."""
    place = Path(tempfile.mkdtemp(prefix="moved-")) / "templates"
    shutil.copytree(flower.urls.settings["template_path"], place)
    for path in place.glob(name):
        text = path.read_text()
        for old, new in changes:
            text = text.replace(old, new)
        path.write_text(text)
    flower.urls.settings["template_path"] = str(place)


def _move(what: str) -> None:
    if what == "handlers":
        del flower.urls.handlers
    elif what == "settings":
        del flower.urls.settings
    elif what == "login":
        del flower.views.BaseHandler
    elif what == "api":
        del flower.api.BaseApiHandler
    elif what == "application":
        del flower.app.Flower
    elif what == "bar":
        _templates("navbar.html", ("<ul", "<menu"), ("</ul>", "</menu>"))
    elif what == "frame":
        _templates("*.html", ("{% block container %}", "{% block content %}"))
    elif what == "variables":
        _templates("base.html", ("<body", "{{ a_new_variable }}<body"))
    else:
        raise SystemExit(f"nobody moves {what}")


if __name__ == "__main__":
    for part in filter(None, ARGUMENTS[1].split(",")):
        _move(part)
    install()
    sys.argv = ["celery", *ARGUMENTS[2:]]
    sys.exit(main())
