"""The sets of DataDEL and your own: what they are, how they lie on disk, how they may be split, and which hold each other's images."""

from optidel.corpus.datasets.annotations import LabelledImage, LabelledSet, labelled_set, open_labelled
from optidel.corpus.datasets.check import Check, check
from optidel.corpus.datasets.dataset import Dataset, Layout, Part, Registry
from optidel.corpus.datasets.local import load_registry
from optidel.corpus.datasets.overlap import Conflict, SharedImage, conflicts, contains, images_of, shared_images
from optidel.corpus.datasets.recognise import Found, listing, recognise, unit_of
from optidel.corpus.datasets.registry import DATASETS, dataset_named

__all__ = [
    "DATASETS",
    "Check",
    "Conflict",
    "Dataset",
    "Found",
    "LabelledImage",
    "LabelledSet",
    "Layout",
    "Part",
    "Registry",
    "SharedImage",
    "check",
    "conflicts",
    "contains",
    "dataset_named",
    "images_of",
    "labelled_set",
    "listing",
    "load_registry",
    "open_labelled",
    "recognise",
    "shared_images",
    "unit_of",
]
