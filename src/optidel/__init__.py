"""OptiDEL finds, or makes, the few per cent of a medical image corpus worth pre-training on, and measures it.

Method: OptiDEL (arXiv 2408.07107) and MedDEL, NormDEL, DataDEL (arXiv 2401.17542).
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from optidel.errors import extras_named

if TYPE_CHECKING:
    from optidel.corpus.frames import Corpus
    from optidel.corpus.index import index
    from optidel.errors import OptidelError
    from optidel.evaluation.metrics import normdel
    from optidel.evaluation.tasks import load_task
    from optidel.methods import METHODS, select
    from optidel.pipeline.run import Result, run
    from optidel.recipe import Recipe
    from optidel.records import Selection
    from optidel.training.objectives import OBJECTIVES

__version__ = version("optidel")

_HOMES = {
    "Corpus": "optidel.corpus.frames",
    "METHODS": "optidel.methods",
    "OBJECTIVES": "optidel.training.objectives",
    "OptidelError": "optidel.errors",
    "Recipe": "optidel.recipe",
    "Result": "optidel.pipeline.run",
    "Selection": "optidel.records",
    "index": "optidel.corpus.index",
    "load_task": "optidel.evaluation.tasks",
    "normdel": "optidel.evaluation.metrics",
    "run": "optidel.pipeline.run",
    "select": "optidel.methods",
}

__all__ = [
    "METHODS",
    "OBJECTIVES",
    "Corpus",
    "OptidelError",
    "Recipe",
    "Result",
    "Selection",
    "__version__",
    "index",
    "load_task",
    "normdel",
    "run",
    "select",
]


def __getattr__(name: str) -> Any:
    """Import on first use: ``import optidel`` and ``optidel --help`` must not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'optidel' has no attribute {name!r}")
    with extras_named():
        return getattr(import_module(_HOMES[name]), name)
