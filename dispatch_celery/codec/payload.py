"""One type to JSON and back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from math import isinf
from typing import Any, Final, NamedTuple

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, SchemaSerializer, SchemaValidator, to_json

from dispatch_celery.codec.fidelity import alike, lost_fields, may_narrow
from dispatch_celery.codec.schema import build, classes_in, has_union, innermost, with_rules, without_secrets
from dispatch_celery.errors import ConfigurationError, PayloadError, PayloadTooLarge

__all__ = ["Codec"]

_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}".encode()
_UNWRITABLE: Final = (
    PydanticSerializationError,
    ValueError,
    TypeError,
    AttributeError,
    RecursionError,
    OverflowError,
)


_UNSAFE_NUMBER: Final = re.compile(rb"NaN|Infinity|[eE]\+?[0-9]{3}|[0-9]{200}").search


class _Built(NamedTuple):
    """What one annotation becomes: its validator and serializer, the classes it names, whether it offers a choice."""

    validator: SchemaValidator
    serializer: SchemaSerializer
    declared: frozenset[type]
    has_union: bool


class Codec:
    """One type to JSON and back."""

    def __init__(self, annotation: Any, *, subject: str, limit: int | None, extras: Any = None) -> None:
        self._annotation = annotation
        self._extras = extras
        self._subject = subject
        self._limit = limit

    @cached_property
    def _built(self) -> _Built:
        # Built at first use: an annotation may name a class that is defined further down in the user's module.
        try:
            schema = with_rules(TypeAdapter(self._annotation).core_schema)
            if self._extras is not None:
                innermost(schema)["extras_schema"] = with_rules(TypeAdapter(self._extras).core_schema)
            made = build(SchemaValidator, schema), build(SchemaSerializer, schema)
            return _Built(*made, frozenset(classes_in(schema)), has_union(schema))
        except (PydanticUserError, NameError) as error:
            raise ConfigurationError(f"{self._subject}: pydantic cannot read its annotations: {error}") from None

    def encode(self, value: Any, *, strict: bool = True, limit: int | None = None) -> bytes:
        """Return ``value`` as JSON, of at most ``limit`` bytes where the codec has no limit of its own.

        Raises:
            PayloadError: it does not fit its annotation, or is no JSON. Names the place.
            PayloadTooLarge: it is larger than the limit. Names the largest part.
        """
        validator, serializer, declared, has_union = self._built
        try:
            # round_trip leaves computed fields out: they are no input.
            checked = validator.validate_python(value, strict=strict)
            data = serializer.to_json(checked, round_trip=True)
            if _REPLACEMENT in data:
                _encodable(serializer.to_python(checked, round_trip=True))
        except ValidationError as error:
            raise self._refused(error) from None
        except _UNWRITABLE as error:
            raise PayloadError(f"{self._subject} cannot be written as JSON: {_brief(error)}") from None
        self._fits(data, limit)
        arrived = self.decode(data)
        if has_union and not alike(checked, arrived):
            raise PayloadError(
                f"{self._subject}: a union in its annotation cannot be told apart in JSON, and the value would arrive"
                " as another type: declare one of them"
            )
        if may_narrow(declared) and (lost := lost_fields(value, declared)):
            raise PayloadError(f"{self._subject}: {lost}")
        return data

    def encode_plain(self, value: Any, *, strict: bool = True) -> bytes:
        """Return plain data, from JSON or from a caller without the types, as checked JSON.

        ``strict`` is JSON's strictness: an object may become a model, a ``"3"`` no int.
        """
        try:
            data = to_json(without_secrets(value), bytes_mode="base64", inf_nan_mode="constants", round_trip=True)
        except _UNWRITABLE as error:
            raise PayloadError(f"{self._subject} cannot be written as JSON: {_brief(error)}") from None
        self._fits(data, None)
        return self.encode(self.decode(data, strict=strict), strict=False)

    def decode(self, data: bytes, *, strict: bool = True) -> Any:
        """Return the value that was stored as ``data``.

        Raises:
            PayloadError: the annotation has changed since, or the data is damaged.
        """
        if _UNSAFE_NUMBER(data):
            self._refuse_constants(data)
        try:
            return self._built.validator.validate_json(data, strict=strict)
        except ValidationError as error:
            raise self._refused(error) from None
        except (ValueError, RecursionError) as error:
            raise PayloadError(f"{self._subject} is no JSON: {_brief(error)}") from None

    def _refuse_constants(self, data: bytes) -> None:
        def refuse(constant: str) -> None:
            raise PayloadError(
                f"{self._subject} holds {constant}, which JSON does not have: send None or a finite number"
            )

        def finite(digits: str) -> float:
            number = float(digits)
            if isinf(number):
                raise PayloadError(f"{self._subject} holds {digits[:20]}, which is too large a number: send text")
            return number

        try:
            json.loads(data, parse_constant=refuse, parse_float=finite, parse_int=len)
        except (ValueError, RecursionError) as error:
            raise PayloadError(f"{self._subject} is no JSON: {_brief(error)}") from None

    def _fits(self, data: bytes, given: int | None) -> None:
        limit = given if self._limit is None else self._limit
        if limit is None or len(data) <= limit:
            return
        largest = ""
        with suppress(*_UNWRITABLE):
            sizes = {name: len(to_json(part, inf_nan_mode="constants")) for name, part in json.loads(data).items()}
            name = max(sizes, key=sizes.__getitem__)
            largest = f" (the largest part is {name!r} with {sizes[name]:,} bytes)"
        raise PayloadTooLarge(
            f"{self._subject} takes {len(data):,} bytes{largest}; dispatch_max_payload is {limit:,}:"
            " store the data elsewhere and pass a reference"
        )

    def _refused(self, error: ValidationError) -> PayloadError:
        # Inputs are left out on purpose: they may be secret, and errors are logged.
        found = [
            f"{'.'.join(str(part) for part in item['loc']) or 'value'}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False, include_context=False)[:5]
        ]
        more = f" (and {error.error_count() - 5} more)" if error.error_count() > 5 else ""
        return PayloadError(f"{self._subject}: {'; '.join(found)}{more}")


def _encodable(value: Any) -> None:
    """Refuse a lone surrogate in a key, which pydantic would quietly replace."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            if isinstance(key, str):
                key.encode()
            _encodable(part)
    elif isinstance(value, list | tuple):
        for part in value:
            _encodable(part)


def _brief(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply, or contains itself"
    return str(error)[:300]
