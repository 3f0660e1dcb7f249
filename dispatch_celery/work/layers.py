"""The calls between the pipeline and a handler that has middlewares: by them a traceback tells whose a frame is.

Each middleware is called by ``call_middleware``, and what the innermost of them passes on to by ``call_handler``, or by
their ``async`` twins. So frames that lie between two of these calls are of a middleware that has only passed the call
on; what is behind the last is of whoever raised. Where there is no middleware, none of them is called.

``fingerprint`` reads them out of stored text, by file and name. In a rolling deploy that text is another release's, so
they are neither renamed nor moved.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path, PureWindowsPath
from typing import Any, Final, TypeVar

__all__ = ["acall_handler", "acall_middleware", "call_handler", "call_middleware", "layer_of"]

C = TypeVar("C")


def call_middleware(middleware: Callable[[C, Callable[[], Any]], Any], context: C, call_next: Callable[[], Any]) -> Any:
    """Call one middleware around what it is to pass on to."""
    return middleware(context, call_next)


def call_handler(inner: Callable[[], Any]) -> Any:
    """Call what is inside of all middlewares."""
    return inner()


async def acall_middleware(
    middleware: Callable[[C, Callable[[], Any]], Any], context: C, call_next: Callable[[], Any]
) -> Any:
    """Call one ``async`` middleware around what it is to pass on to."""
    return await middleware(context, call_next)


async def acall_handler(inner: Callable[[], Awaitable[Any]]) -> Any:
    """Call what is inside of all ``async`` middlewares."""
    return await inner()


_HERE: Final = Path(__file__).parts[-3:]
_LAYERS: Final = {
    **dict.fromkeys((call_middleware.__name__, acall_middleware.__name__), "middleware"),
    **dict.fromkeys((call_handler.__name__, acall_handler.__name__), "handler"),
}


def layer_of(path: str, function: str) -> str:
    """Return what a frame, as a traceback tells it, has called: ``middleware``, ``handler``, or empty if neither."""
    found = _LAYERS.get(function, "")
    return found if found and PureWindowsPath(path).parts[-3:] == _HERE else ""
