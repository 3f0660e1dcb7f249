"""Random calls of random functions: stored by name, and the same call again in the worker."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatch_celery.codec import Signature
from dispatch_celery.errors import PayloadError

NAMES = ("a", "b", "c", "d", "e")


@st.composite
def functions(draw: st.DrawFn) -> Callable[..., Any]:
    """Return a function with any parameters that can be stored."""
    kinds_ = sorted(
        draw(st.lists(st.sampled_from([0, 1, 3]), max_size=len(NAMES))),
    )
    # Python wants parameters without a default first, among those that may be positional.
    defaults_from = draw(st.integers(0, len(kinds_)))
    parameters = [
        inspect.Parameter(
            name,
            inspect._ParameterKind(kind),
            default=n if (draw(st.booleans()) if kind == 3 else n >= defaults_from) else inspect.Parameter.empty,
        )
        for n, (name, kind) in enumerate(zip(NAMES, kinds_, strict=False))
    ]
    if draw(st.booleans()):
        parameters.append(inspect.Parameter("more", inspect.Parameter.VAR_KEYWORD))

    def target(*args: Any, **kwargs: Any) -> None: ...

    target.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what inspect looks at first
    return target


CALLS = st.tuples(
    st.lists(st.integers(0, 9), max_size=6).map(tuple),
    st.dictionaries(st.sampled_from([*NAMES, "more", "z"]), st.integers(0, 9), max_size=5),
)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(functions(), CALLS)
def test_a_call_is_bound_as_python_binds_it(
    target: Callable[..., Any], call: tuple[tuple[int, ...], dict[str, int]]
) -> None:
    """What Python refuses is refused; what it takes is stored by name, and becomes the same call again."""
    args, kwargs = call
    signature = Signature(target, name="shop.job", limit=1_048_576)
    python = inspect.signature(target)
    try:
        bound = python.bind(*args, **kwargs).arguments
    except TypeError:
        with pytest.raises(PayloadError, match=r"^shop.job"):
            signature.bind(args, kwargs)
        return
    more = bound.get("more", {}) if "more" in python.parameters else {}
    if set(more) & {name for name in bound if name != "more"}:
        with pytest.raises(PayloadError, match="is given as a positional and as a keyword"):
            signature.bind(args, kwargs)
        return

    stored = signature.arguments.decode(signature.arguments.encode(signature.bind(args, kwargs)))

    again_args, again_kwargs = signature.call(stored)
    assert python.bind(*again_args, **again_kwargs).arguments == bound
