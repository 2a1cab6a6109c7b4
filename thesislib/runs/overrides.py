"""Single settings changed from outside: `{"pmsacl.epochs": 3}`."""

import dataclasses
import difflib
import json
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from thesislib.errors import InputError
from thesislib.ranges import RangeError

STRICT = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)


def parse(overrides: Mapping[str, Any] | str) -> dict[str, Any]:
    """A dict of overrides, given as such or as JSON text.

    Raises:
        InputError: If the text is no JSON object.
    """
    if isinstance(overrides, str):
        try:
            overrides = json.loads(overrides or "{}")
        except ValueError as error:
            raise InputError(
                f"overrides is {overrides!r}, which is not JSON; write for example "
                """'{"pmsacl.epochs": 3}'."""
            ) from error
    if not isinstance(overrides, Mapping):
        raise InputError(f"overrides must be a dict, not {overrides!r}.")
    return dict(overrides)


def apply(configs: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Configs with the overrides in place.

    Args:
        configs: Name -> frozen dataclass; a field may be a dataclass too.
        overrides: `"config.field"` or `"config.field.field"` -> value.

    Raises:
        InputError: If a key is unknown, or a value not of its field's type or range.
    """
    allowed = keys(configs)
    for key in overrides:
        if key not in allowed:
            raise unknown(key, configs)
    return {
        name: _replaced(config, name, overrides) for name, config in configs.items()
    }


def keys(configs: Mapping[str, Any]) -> list[str]:
    """Every key that `apply` takes."""
    found = []
    for name, config in configs.items():
        for field in dataclasses.fields(config):
            value = getattr(config, field.name)
            if _is_config(value):
                found += keys({f"{name}.{field.name}": value})
            else:
                found.append(f"{name}.{field.name}")
    return found


def unknown(key: str, configs: Mapping[str, Any]) -> InputError:
    """The error for a key that is none of `keys`."""
    allowed = keys(configs)
    near = difflib.get_close_matches(key, allowed, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return InputError(
        f"Unknown override {key!r}{hint}; allowed are {', '.join(allowed)}."
    )


def _replaced(config: Any, name: str, overrides: Mapping[str, Any]) -> Any:
    """The config with its overrides all at once: some ranges depend on one another."""
    changes = {}
    for field in dataclasses.fields(config):
        key, old = f"{name}.{field.name}", getattr(config, field.name)
        if _is_config(old):
            changes[field.name] = _replaced(old, key, overrides)
        elif key in overrides:
            kind = typing.get_type_hints(type(config))[field.name]
            changes[field.name] = checked(overrides[key], kind, key)
    try:
        return dataclasses.replace(config, **changes)
    except RangeError as error:
        raise InputError(f"{name}.{error}") from error


def checked(value: Any, kind: Any, key: str) -> Any:
    """`value` as an object of type `kind`, without guessing.

    JSON lists become tuples and whole numbers floats where the type says so;
    "true" and "false" are taken for bool, because Papermill leaves them text.
    """
    if kind is bool and value in ("true", "false"):
        value = value == "true"
    adapter = TypeAdapter(kind, config=STRICT)
    try:
        try:
            return adapter.validate_python(value)
        except ValidationError:
            return adapter.validate_json(json.dumps(value))
    except (ValidationError, TypeError, ValueError) as error:
        raise InputError(
            f"Override {key} is {value!r}; it must be {describe(kind)}."
        ) from error


def describe(kind: Any) -> str:
    """A type as a reader says it: "a whole number", "one of quick, paper"."""
    names = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
        dict: "a dict",
        type(None): "None",
    }
    if kind in names:
        return names[kind]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return "one of " + ", ".join(str(a) for a in arguments)
    if origin is tuple or origin is list:
        kinds = [a for a in arguments if a is not Ellipsis]
        inner = ", ".join(dict.fromkeys(describe(a) for a in kinds))
        count = "" if Ellipsis in arguments or origin is list else f" of {len(kinds)}"
        return f"a list{count} ({inner})"
    if origin is not None and arguments and origin is not dict:
        return " or ".join(describe(a) for a in arguments)
    return getattr(kind, "__name__", str(kind))


def _is_config(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def plain(value: Any) -> Any:
    """Configs as JSON-able values: dataclasses become dicts, tuples lists."""
    if _is_config(value):
        return {
            field.name: plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
