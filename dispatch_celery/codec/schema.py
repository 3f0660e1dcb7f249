"""Rewrites the schema of an annotation so that one payload has one treatment, whatever its classes configure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from datetime import datetime, time, timedelta
from typing import Any, Final, cast

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic_core import core_schema, from_json, to_json

from dispatch_celery.errors import ConfigurationError

__all__ = ["build", "classes_in", "has_union", "innermost", "with_rules", "without_secrets"]

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
_FIELDS: Final = frozenset({"model-field", "dataclass-field", "typed-dict-field"})
_CONFIGURED: Final = frozenset({"model", "dataclass", "typed-dict"})


def build(kind: Any, schema: Any) -> Any:
    """Build from the whole schema: pydantic otherwise reuses each class's own validator, with the class's own rules."""
    try:
        return kind(schema, _RULES, _use_prebuilt=False)
    except TypeError:
        return kind(schema, _RULES)


def with_rules(node: Any) -> Any:
    """Return a copy of a core schema in which every nested class follows our rules."""
    if isinstance(node, list):
        return [with_rules(part) for part in node]
    if isinstance(node, tuple):
        return tuple(with_rules(part) for part in node)
    if not isinstance(node, dict):
        return node
    if node.get("type") == "generator":
        # What has been stored can be read twice, and its parts were all checked.
        as_list = core_schema.list_schema(node.get("items_schema"), min_length=node.get("min_length"))
        return with_rules(core_schema.no_info_before_validator_function(_listed, as_list))
    copy = {name: part if name in ("metadata", "cls", "default") else with_rules(part) for name, part in node.items()}
    _apply(node, copy)
    if node.get("type") in ("datetime", "time"):
        return core_schema.no_info_after_validator_function(_whole_minutes, cast("Any", copy))
    return copy


def _apply(node: Any, copy: dict[str, Any]) -> None:
    """Write the rules into the copy of one node."""
    kind = node.get("type")
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
        copy["serialization"] = core_schema.plain_serializer_function_ser_schema(without_secrets)
    if _is_secret(node):
        copy["serialization"] = core_schema.plain_serializer_function_ser_schema(_reveal)


def _listed(value: Any) -> Any:
    """Return what an ``Iterable`` parameter is given as a list; text and mappings are no iterables of their parts."""
    return value if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable) else list(value)


def _whole_minutes(value: Any) -> Any:
    """Refuse an offset with seconds, such as a local mean time of the past: ISO 8601 has minutes only."""
    offset = value.utcoffset()
    if offset is not None and offset % timedelta(minutes=1):
        raise ValueError(f"its offset from UTC, {offset}, has seconds, which JSON cannot say: convert it to UTC")
    return value


def _is_secret(node: Mapping[str, Any]) -> bool:
    """Whether this is pydantic's schema of a secret, whose own serializer writes asterisks."""
    inner = node.get("json_schema") if node.get("type") == "json-or-python" else None
    made = inner.get("function") if isinstance(inner, dict) else None
    return isinstance(made, dict) and made.get("function") in (SecretStr, SecretBytes)


def _kind(choice: Any) -> Any:
    return (choice[0] if isinstance(choice, tuple) else choice).get("type")


def innermost(schema: Any) -> Any:
    """Return the object's own schema, which references may wrap."""
    while schema["type"] == "definitions":
        schema = schema["schema"]
    return schema


def classes_in(node: Any) -> Iterator[type]:
    """Yield the classes a schema names: models, dataclasses."""
    if isinstance(node, list | tuple):
        for part in node:
            yield from classes_in(part)
    elif isinstance(node, dict):
        if node.get("type") in ("model", "dataclass"):
            yield node["cls"]
        for name, part in node.items():
            if name not in ("metadata", "cls", "default"):
                yield from classes_in(part)


def has_union(node: Any) -> bool:
    """Return whether a schema holds a choice between types."""
    if isinstance(node, list | tuple):
        return any(has_union(part) for part in node)
    if not isinstance(node, dict):
        return False
    return node.get("type") == "union" or any(
        has_union(part) for name, part in node.items() if name not in ("metadata", "cls", "default")
    )


def without_secrets(value: Any) -> Any:
    """Refuse a secret where no annotation says that there is one: it would be stored as its asterisks."""
    if isinstance(value, SecretStr | SecretBytes):
        raise ValueError("a secret needs an annotation: declare the parameter as SecretStr or SecretBytes")  # noqa: TRY004 - pydantic reports ValueError
    if isinstance(value, datetime | time):
        _whole_minutes(value)
    if isinstance(value, Mapping):
        if any(type(key) is not str for key in value) and len(from_json(to_json(dict.fromkeys(value)))) < len(value):
            raise ValueError("two keys of a mapping become the same text in JSON")
        for part in value.values():
            without_secrets(part)
    elif isinstance(value, list | tuple | set | frozenset):
        for part in value:
            without_secrets(part)
    elif isinstance(value, BaseModel):
        without_secrets(value.__dict__)
    elif is_dataclass(value):
        without_secrets(vars(value) if hasattr(value, "__dict__") else {})
    return value


def _reveal(value: Any) -> Any:
    return value.get_secret_value()
