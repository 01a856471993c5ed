"""The sets of DataDEL and your own: what they are, how they lie on disk, how they may be split, and which
hold each other's images.
"""

from optidel.datasets.annotations import LabelledImage, LabelledSet, labelled_set, open_labelled
from optidel.datasets.check import Check, check
from optidel.datasets.dataset import Dataset, Layout, Part, Registry
from optidel.datasets.recognise import Found, listing, recognise, unit_of
from optidel.datasets.registry import DATASETS, dataset_named, load_registry

__all__ = [
    "DATASETS",
    "Check",
    "Dataset",
    "Found",
    "LabelledImage",
    "LabelledSet",
    "Layout",
    "Part",
    "Registry",
    "check",
    "dataset_named",
    "labelled_set",
    "listing",
    "load_registry",
    "open_labelled",
    "recognise",
    "unit_of",
]
