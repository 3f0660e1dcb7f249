"""Arguments and results as JSON, held to their annotations on both sides of the wire.

Promises
    - What is stored can be read back: every payload was validated against the same annotations, as JSON,
      before it was stored.
    - Strict: ``"3"`` is no int, a model that was changed after its construction is checked again, NaN and
      infinities are refused, bytes travel as base64, a ``SecretStr`` travels with its value.
    - Omitted defaults are not stored: the worker's own apply, so a deploy can change them.

Why the schema is rewritten: pydantic takes the treatment of bytes, NaN and instances from each *nested*
model's own configuration. One payload must have one treatment, so the rules are written into a copy of the
schema (the user's classes stay as they are).
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from functools import cached_property
from typing import Any, Final, NotRequired, Required, get_type_hints

from pydantic import BaseModel, ConfigDict, PydanticUserError, SecretBytes, SecretStr, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, SchemaSerializer, SchemaValidator, core_schema, to_json
from typing_extensions import TypedDict

from dispatch_celery.errors import ConfigurationError, PayloadError, PayloadTooLarge

__all__ = ["Codec", "Signature"]

_RULES: Final[dict[str, Any]] = {
    "ser_json_bytes": "base64",
    "val_json_bytes": "base64",
    "ser_json_inf_nan": "constants",
    "allow_inf_nan": False,
    "revalidate_instances": "always",
    # Fields travel under their own names; aliases are for what comes from elsewhere.
    "serialize_by_alias": False,
    "validate_by_name": True,
    "validate_by_alias": True,
}
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}".encode()
_FIELDS: Final = frozenset({"model-field", "dataclass-field", "typed-dict-field"})
_CONFIGURED: Final = frozenset({"model", "dataclass", "typed-dict"})
_UNWRITABLE: Final = (
    PydanticSerializationError,
    ValueError,
    TypeError,
    AttributeError,
    RecursionError,
    OverflowError,
)


class Codec:
    """One type to JSON and back."""

    def __init__(self, annotation: Any, *, subject: str, limit: int, extras: Any = None) -> None:
        self._annotation = annotation
        self._extras = extras
        self._subject = subject
        self._limit = limit

    @cached_property
    def _built(self) -> tuple[SchemaValidator, SchemaSerializer]:
        # Built at first use: an annotation may name a class that is defined further down in the user's module.
        try:
            schema = _with_rules(TypeAdapter(self._annotation).core_schema)
            if self._extras is not None:
                _innermost(schema)["extras_schema"] = _with_rules(TypeAdapter(self._extras).core_schema)
            return _build(SchemaValidator, schema), _build(SchemaSerializer, schema)
        except (PydanticUserError, NameError) as error:
            raise ConfigurationError(f"{self._subject}: pydantic cannot read its annotations: {error}") from None

    def encode(self, value: Any, *, strict: bool = True) -> bytes:
        """Return ``value`` as JSON.

        Raises:
            PayloadError: it does not fit its annotation, or is no JSON. Names the place.
            PayloadTooLarge: it is larger than the limit. Names the largest part.
        """
        validator, serializer = self._built
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
        self._fits(data)
        self.decode(data)
        return data

    def encode_plain(self, value: Any, *, strict: bool = True) -> bytes:
        """Return plain data, from JSON or from a caller without the types, as checked JSON.

        ``strict`` is JSON's strictness: an object may become a model, a ``"3"`` no int.
        """
        try:
            data = to_json(_without_secrets(value), bytes_mode="base64", inf_nan_mode="constants", round_trip=True)
        except _UNWRITABLE as error:
            raise PayloadError(f"{self._subject} cannot be written as JSON: {_brief(error)}") from None
        self._fits(data)
        return self.encode(self.decode(data, strict=strict), strict=False)

    def decode(self, data: bytes, *, strict: bool = True) -> Any:
        """Return the value that was stored as ``data``.

        Raises:
            PayloadError: the annotation has changed since, or the data is damaged.
        """
        if b"NaN" in data or b"Infinity" in data:
            self._refuse_constants(data)
        try:
            return self._built[0].validate_json(data, strict=strict)
        except ValidationError as error:
            raise self._refused(error) from None
        except (ValueError, RecursionError) as error:
            raise PayloadError(f"{self._subject} is no JSON: {_brief(error)}") from None

    def _refuse_constants(self, data: bytes) -> None:
        def refuse(constant: str) -> None:
            raise PayloadError(
                f"{self._subject} holds {constant}, which JSON does not have: send None or a finite number"
            )

        try:
            json.loads(data, parse_constant=refuse)
        except (ValueError, RecursionError) as error:
            raise PayloadError(f"{self._subject} is no JSON: {_brief(error)}") from None

    def _fits(self, data: bytes) -> None:
        if len(data) <= self._limit:
            return
        largest = ""
        with suppress(*_UNWRITABLE):
            sizes = {name: len(to_json(part, inf_nan_mode="constants")) for name, part in json.loads(data).items()}
            name = max(sizes, key=sizes.__getitem__)
            largest = f" (the largest part is {name!r} with {sizes[name]:,} bytes)"
        raise PayloadTooLarge(
            f"{self._subject} takes {len(data):,} bytes{largest}; dispatch_max_payload is {self._limit:,}:"
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


class Signature:
    """A function's parameters: binds calls to one JSON object by name, and back to a call."""

    def __init__(self, fn: Callable[..., Any], *, name: str, limit: int, skip: int = 0) -> None:
        self.name = name
        self._fn = fn
        self._limit = limit
        parameters = list(inspect.signature(fn).parameters.values())[skip:]
        for parameter in parameters:
            if parameter.kind is parameter.VAR_POSITIONAL:
                raise ConfigurationError(
                    f"{name}: '*{parameter.name}' cannot be stored by name; take a list parameter instead"
                )
        self._signature = inspect.Signature(parameters)
        self._positional = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY]
        self._open = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)

    @cached_property
    def _hints(self) -> dict[str, Any]:
        try:
            return get_type_hints(self._fn, include_extras=True)
        except Exception as error:
            raise ConfigurationError(f"{self.name}: its annotations cannot be resolved: {error}") from error

    @cached_property
    def arguments(self) -> Codec:
        """The codec of the argument object."""
        fields: dict[str, Any] = {}
        for parameter in self._signature.parameters.values():
            if parameter.name == self._open:
                continue
            hint = self._hints.get(parameter.name, Any)
            fields[parameter.name] = Required[hint] if parameter.default is parameter.empty else NotRequired[hint]
        make: Any = TypedDict  # checkers know its literal form only
        shape = make("arguments", fields)
        shape.__pydantic_config__ = ConfigDict(extra="allow" if self._open else "forbid")
        extras = self._hints.get(self._open) if self._open else None
        return Codec(shape, subject=f"{self.name}: arguments", limit=self._limit, extras=extras)

    @cached_property
    def result(self) -> Codec:
        """The codec of the return value."""
        return Codec(self._hints.get("return", Any), subject=f"{self.name}: result", limit=self._limit)

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return a call's arguments by parameter name.

        Raises:
            PayloadError: an argument is unknown, missing, or given twice.
        """
        try:
            bound = self._signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise PayloadError(f"{self.name}{self._signature}: {error}") from None
        if self._open in bound:
            more = bound.pop(self._open)
            doubled = sorted(set(more) & set(bound))
            if doubled:
                raise PayloadError(f"{self.name}: {doubled[0]!r} is given as a positional and as a keyword argument")
            bound.update(more)
        return bound

    def call(self, arguments: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return stored arguments as what the function is called with."""
        named = dict(arguments)
        return tuple(named.pop(name) for name in self._positional if name in named), named

    @property
    def hints(self) -> Mapping[str, Any]:
        """The annotation of every parameter that has one."""
        return self._hints


def _build(kind: Any, schema: Any) -> Any:
    """Build from the whole schema: pydantic otherwise reuses each class's own validator, with the class's own rules."""
    try:
        return kind(schema, _RULES, _use_prebuilt=False)
    except TypeError:
        return kind(schema, _RULES)


def _with_rules(node: Any) -> Any:
    """Return a copy of a core schema in which every nested class follows our rules."""
    if isinstance(node, list):
        return [_with_rules(part) for part in node]
    if isinstance(node, tuple):
        return tuple(_with_rules(part) for part in node)
    if not isinstance(node, dict):
        return node
    kind = node.get("type")
    copy = {name: part if name in ("metadata", "cls", "default") else _with_rules(part) for name, part in node.items()}
    if kind in _CONFIGURED:
        copy["config"] = {**(node.get("config") or {}), **_RULES}
    if kind == "float":
        copy["allow_inf_nan"] = False
    if kind in _FIELDS:
        # An excluded field would silently arrive as its default.
        copy.pop("serialization_exclude", None)
        copy.pop("serialization_exclude_if", None)
    if kind == "union" and {"str", "bytes"} <= {_kind(choice) for choice in node["choices"]}:
        raise ConfigurationError("a union of text and bytes cannot be told apart in JSON: take one of them")
    if kind == "any":
        copy["serialization"] = core_schema.plain_serializer_function_ser_schema(_without_secrets)
    if _is_secret(node):
        copy["serialization"] = core_schema.plain_serializer_function_ser_schema(_reveal)
    return copy


def _is_secret(node: Mapping[str, Any]) -> bool:
    """Whether this is pydantic's schema of a secret, whose own serializer writes asterisks."""
    inner = node.get("json_schema") if node.get("type") == "json-or-python" else None
    made = inner.get("function") if isinstance(inner, dict) else None
    return isinstance(made, dict) and made.get("function") in (SecretStr, SecretBytes)


def _kind(choice: Any) -> Any:
    return (choice[0] if isinstance(choice, tuple) else choice).get("type")


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


def _innermost(schema: Any) -> Any:
    """Return the object's own schema, which references may wrap."""
    while schema["type"] == "definitions":
        schema = schema["schema"]
    return schema


def _without_secrets(value: Any) -> Any:
    """Refuse a secret where no annotation says that there is one: it would be stored as its asterisks."""
    if isinstance(value, SecretStr | SecretBytes):
        raise ValueError("a secret needs an annotation: declare the parameter as SecretStr or SecretBytes")  # noqa: TRY004 - pydantic reports ValueError
    if isinstance(value, Mapping):
        for part in value.values():
            _without_secrets(part)
    elif isinstance(value, list | tuple | set | frozenset):
        for part in value:
            _without_secrets(part)
    elif isinstance(value, BaseModel):
        _without_secrets(value.__dict__)
    elif is_dataclass(value):
        _without_secrets(vars(value) if hasattr(value, "__dict__") else {})
    return value


def _reveal(value: Any) -> Any:
    return value.get_secret_value()


def _brief(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply, or contains itself"
    return str(error)[:300]
