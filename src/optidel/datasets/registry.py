"""The sets that OptiDEL knows by name, and a registry file: your own sets, described as DataDEL's are."""

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from optidel.datasets.dataset import Dataset, Registry
from optidel.datasets.tables import datasets_of
from optidel.errors import InputError, nearest


def _published() -> Registry:
    file = resources.files("optidel.datasets") / "datadel.toml"
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    return datasets_of(tables, file.name)


# DataDEL, table 1 of arXiv 2401.17542: three sets to pre-train on, eleven to test on.
DATASETS: Registry = _published()


def dataset_named(name: str, registry: Registry = DATASETS) -> Dataset:
    """The set of that name.

    Raises:
        InputError: no such set; the message suggests the nearest name.
    """
    if name not in registry:
        raise InputError(
            f"no set is called {name!r}{nearest(name, registry)}; the known ones: {', '.join(registry)}"
        )
    return registry[name]


def load_registry(path: Path | str) -> Registry:
    """The known sets and those of a TOML file: one table a set, its keys the fields of :class:`Dataset`.

    Raises:
        InputError: no such file, no TOML, an unknown key (with the nearest known), a wrong type, or the name
            of a known set.
    """
    file = Path(path)
    local = datasets_of(_tables(file), file.name)
    twice = [name for name in local if name in DATASETS]
    if twice:
        raise InputError(
            f"{file}: a set of DataDEL is already called {twice[0]!r}; name yours otherwise, for instance "
            f"{twice[0]}-local"
        )
    registry = {**DATASETS, **local}
    for name, dataset in local.items():
        for other in (*dataset.contained_in, *dataset.may_share):
            if other not in registry:
                raise InputError(
                    f"{file}: {name} refers to the set {other!r}, which nobody describes"
                    f"{nearest(other, registry)}"
                )
    return registry


def _tables(file: Path) -> Mapping[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        return tomllib.loads(text)
    except OSError as error:
        raise InputError(f"cannot read the registry {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is no TOML: {error}") from error
