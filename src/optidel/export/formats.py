"""The formats of an export by name."""

from collections.abc import Callable

from optidel.export.annotated import write_coco, write_fiftyone, write_lightly_studio, write_monai
from optidel.export.folder import write_folder
from optidel.export.job import Job
from optidel.export.links import write_links, write_list
from optidel.export.tables import write_hf_dataset, write_parquet
from optidel.export.vectors import write_atlas, write_weights
from optidel.export.webdataset import write_webdataset

# Each writes into the workspace and returns, for every row of the manifest, the path where its image is.
FORMATS: dict[str, Callable[[Job], list[str]]] = {
    "folder": write_folder,
    "symlinks": write_links,
    "webdataset": write_webdataset,
    "parquet": write_parquet,
    "hf-datasets": write_hf_dataset,
    "csv": write_list,
    "coco": write_coco,
    "lightly-studio": write_lightly_studio,
    "fiftyone": write_fiftyone,
    "embedding-atlas": write_atlas,
    "monai": write_monai,
    "weights": write_weights,
}

# What of the run a format reads beside the selection: fields of ``ExportedSelection``.
READS: dict[str, tuple[str, ...]] = {
    "coco": ("patches",),
    "lightly-studio": ("patches",),
    "embedding-atlas": ("embed",),
    "weights": ("compared",),
}

# Formats that lead to the originals, and so cannot hide their names.
LEADING = ("symlinks", "csv", "weights")
