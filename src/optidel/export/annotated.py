"""Folders of PNG files with a JSON file that names them: COCO, LightlyStudio, MONAI and FiftyOne.

None of the JSON files names an original; ``manifest.csv`` alone does.
"""

import json
from importlib.resources import files
from typing import Any

from optidel.export.boxes import patch_boxes
from optidel.export.folder import write_folder, write_pictures
from optidel.export.job import Job

# The one category of COCO's annotations.
KEY_PATCH = {"id": 1, "name": "key patch", "supercategory": "key patch"}

# Name and place of the script that opens an export in LightlyStudio.
OPENER = "open.py"


def write_coco(job: Job) -> list[str]:
    """Write ``images/KEY.png`` and ``annotations.json``: images, and key patches as boxes [x, y, w, h] px.

    Source: COCO data format, cocodataset.org/#format-data.
    """
    names = write_folder(job)
    boxes = patch_boxes(job)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for row in _by_rank(job):
        number = row["rank"] + 1
        image = {
            "id": number,
            "file_name": f"{row['key']}.png",
            "height": row["height"],
            "width": row["width"],
            "rank": number,
            "reason": row["reason"],
        }
        images.append(image)
        for patch in boxes.get(row["item"], ()):
            x0, y0, x1, y1 = patch.box
            width, height = x1 - x0, y1 - y0
            annotation = {
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": KEY_PATCH["id"],
                "bbox": [x0, y0, width, height],
                "area": width * height,
                "iscrowd": 0,
            }
            # Left out where there is no mask: a reader would take 0 for doubt.
            if patch.score is not None:
                annotation["score"] = patch.score
            annotations.append(annotation)
    info = {"description": "A training set chosen by OptiDEL."}
    content = {"info": info, "licenses": [], "categories": [KEY_PATCH]}
    _write(job, "annotations.json", content | {"images": images, "annotations": annotations})
    return names


def write_lightly_studio(job: Job) -> list[str]:
    """Write what :func:`write_coco` does and ``open.py``, which loads it into LightlyStudio with ranks and
    reasons.
    """
    names = write_coco(job)
    # LightlyStudio has no file format for metadata; its Python interface takes them.
    script = files("optidel.export").joinpath("lightly_studio_open.py.txt").read_text()
    with job.work.writing(OPENER) as path:
        path.write_text(script)
    return names


def write_monai(job: Job) -> list[str]:
    """Write ``images/KEY.png`` and ``datalist.json`` with the key ``training``: image, rank and, where it is
    known, class.

    Source: the Decathlon data list of ``monai.data.load_decathlon_datalist``.
    """
    names = write_folder(job)
    items = []
    for row in _by_rank(job):
        item = {"image": f"images/{row['key']}.png", "rank": row["rank"] + 1}
        # Not "label": the loader takes that for the path of a mask, unless it is told otherwise.
        if row["label"] is not None:
            item["class"] = row["label"]
        items.append(item)
    content = {"name": "OptiDEL", "description": "A training set chosen by OptiDEL.", "tensorImageSize": "2D"}
    _write(job, "datalist.json", content | {"numTraining": len(items), "training": items})
    return names


def write_fiftyone(job: Job) -> list[str]:
    """Write ``data/KEY.png`` and ``labels.json``: a FiftyOneImageClassificationDataset whose labels are those
    of the corpus, or ``unlabelled``, with rank and reason as attributes.

    Source: FiftyOne, user guide, importing datasets.
    """
    names = write_pictures(job, "data")
    labels = {}
    for row in _by_rank(job):
        label = "unlabelled" if row["label"] is None else row["label"]
        attributes = {"rank": row["rank"] + 1, "reason": row["reason"]}
        labels[row["key"]] = {"label": label, "attributes": attributes}
    # Without classes the labels stand for themselves.
    _write(job, "labels.json", {"classes": None, "labels": labels})
    return names


def _by_rank(job: Job) -> list[dict[str, Any]]:
    return job.rows.sort("rank").rows(named=True)


def _write(job: Job, name: str, content: dict[str, Any]) -> None:
    """JSON in the order of the ranks, on one line: a corpus of a million images is not read by eye."""
    with job.work.writing(name) as path:
        path.write_text(f"{json.dumps(content, ensure_ascii=False)}\n")
