"""TOML tables as records, field by field; every mistake is named with its place."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, get_args, get_origin, get_type_hints

from optidel.datasets.dataset import Dataset, Layout, Part
from optidel.errors import InputError, nearest


def datasets_of(tables: Mapping[str, Any], file: str) -> dict[str, Dataset]:
    """The sets of a registry file, by name.

    Args:
        tables: the parsed file, one table a set.
        file: its name, for messages.

    Raises:
        InputError: an unknown or missing key, or a value of a wrong type.
    """
    sets = {}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise InputError(f"{file}: {name!r} is no set; a set is a table, [{name}]")
        usual = {"title": name, "role": "downstream", "task": "", "annotation": "binary"}
        sets[name] = _record(Dataset, {**usual, **table}, f"{file}: {name}", name=name)
    return sets


def _record(kind: type[Any], table: Mapping[str, Any], where: str, **fixed: Any) -> Any:
    """A frozen record from a table; ``fixed`` fields do not come from it."""
    hints = get_type_hints(kind)
    expected = {field.name: field for field in fields(kind) if field.name not in fixed}
    for key in table:
        if key not in expected:
            raise InputError(f"{where}: unknown key {key!r}{nearest(key, expected)}")
    for name, field in expected.items():
        if name not in table and _is_required(field):
            raise InputError(f"{where}: {name} is missing")
    values = dict(fixed)
    for key, value in table.items():
        values[key] = _value(hints[key], value, f"{where}.{key}")
    return kind(**values)


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _value(hint: Any, value: Any, where: str) -> Any:
    """A value of a TOML table as the field's type."""
    if hint in (Layout, Part):
        if not isinstance(value, dict):
            raise InputError(f"{where} must be a table, got {value!r}")
        return _record(hint, value, where)
    if get_origin(hint) is tuple:
        return _items(get_args(hint), value, where)
    choices = get_args(hint)  # of a Literal
    if choices and value not in choices:
        raise InputError(f"{where} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    if not choices and type(value) is not hint:
        raise InputError(f"{where} must be of the type {hint.__name__}, got {value!r}")
    return value


def _items(hints: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    """A TOML list as a tuple, of any length or of as many values as there are hints."""
    if not isinstance(value, list):
        raise InputError(f"{where} must be a list, got {value!r}")
    if hints[-1] is Ellipsis:
        return tuple(_value(hints[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if len(hints) != len(value):
        raise InputError(f"{where} must hold {len(hints)} values, got {len(value)}")
    return tuple(_value(hint, item, where) for hint, item in zip(hints, value, strict=True))
