"""The sets that OptiDEL knows by name."""

from optidel.datasets.dataset import Dataset, Registry
from optidel.datasets.downstream import DOWNSTREAM
from optidel.datasets.pretraining import PRETRAINING
from optidel.errors import InputError, nearest

DATASETS: Registry = {dataset.name: dataset for dataset in (*PRETRAINING, *DOWNSTREAM)}
"""DataDEL, table 1 of arXiv 2401.17542: three sets to pre-train on, eleven to test on."""


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
