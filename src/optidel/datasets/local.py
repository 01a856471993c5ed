"""A registry file: your own sets, described as DataDEL's are."""

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from optidel.datasets.dataset import Dataset, Layout, Part, Registry
from optidel.datasets.registry import DATASETS
from optidel.errors import InputError, nearest


def load_registry(path: Path | str) -> Registry:
    """The known sets and those of a TOML file: one table a set, its keys the fields of :class:`Dataset`.

    Raises:
        InputError: no such file, no TOML, an unknown key (with the nearest known), a wrong type, or the name
            of a known set.
    """
    file = Path(path)
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the registry {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is no TOML: {error}") from error
    own = {
        name: _record(Dataset, _table(table, name, file), f"{file.name}: {name}", name=name)
        for name, table in tables.items()
    }
    if taken := next((name for name in own if name in DATASETS), ""):
        raise InputError(
            f"{file}: a set of DataDEL is already called {taken!r}; name yours otherwise, for instance {taken}-local"
        )
    known = {**DATASETS, **own}
    for name, dataset in own.items():
        for other in (*dataset.contained_in, *dataset.may_share):
            if other not in known:
                raise InputError(
                    f"{file}: {name} refers to the set {other!r}, which nobody describes{nearest(other, known)}"
                )
    return known


def _table(value: Any, name: str, file: Path) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{file}: {name!r} is no set; a set is a table, [{name}]")
    return {"title": name, "role": "downstream", "task": "", "annotation": "binary", **value}


def _record(kind: type[Any], values: Mapping[str, Any], where: str, **given: Any) -> Any:
    """A frozen record from a table, field by field; every mistake is named."""
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind) if field.name not in given}
    for key in values:
        if key not in known:
            raise InputError(f"{where}: unknown key {key!r}{nearest(key, known)}")
    missing = [name for name, field in known.items() if name not in values and _required(field)]
    if missing:
        raise InputError(f"{where}: {missing[0]} is missing")
    return kind(
        **given, **{key: _value(hints[key], value, f"{where}.{key}") for key, value in values.items()}
    )


def _required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _value(hint: Any, value: Any, where: str) -> Any:
    """A value of a TOML table as the field's type."""
    if hint in (Layout, Part):
        if not isinstance(value, dict):
            raise InputError(f"{where} must be a table, got {value!r}")
        return _record(hint, value, where)
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        if not isinstance(value, list):
            raise InputError(f"{where} must be a list, got {value!r}")
        if inner[-1] is Ellipsis:
            return tuple(_value(inner[0], item, f"{where}[{i}]") for i, item in enumerate(value))
        if len(inner) != len(value):
            raise InputError(f"{where} must hold {len(inner)} values, got {len(value)}")
        return tuple(_value(kind, item, where) for kind, item in zip(inner, value, strict=True))
    choices = get_args(hint)
    if choices and value not in choices:
        raise InputError(f"{where} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    if not choices and type(value) is not hint:
        raise InputError(f"{where} must be of the type {hint.__name__}, got {value!r}")
    return value
