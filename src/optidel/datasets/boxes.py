"""Bounding boxes as EAD2019 and EDD2020 write them."""

from dataclasses import dataclass
from pathlib import Path

from optidel.datasets.dataset import Dataset
from optidel.errors import InputError

# A box may leave the image by this fraction: the published files are rounded.
SLACK = 1e-3

# Characters of a bad line that a message quotes; a round number.
QUOTED = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledBox:
    """``box``: x0, y0, x1, y1; in px for the format ``corners``, in fractions of the image's width and height
    for ``fractions``.
    """

    label: str
    box: tuple[float, float, float, float]


def read_boxes(path: Path, dataset: Dataset) -> list[LabelledBox]:
    """The boxes of one image; an empty file has none.

    Raises:
        InputError: a line is not of the set's format, or its class or numbers are not possible.
    """
    parse = _fractions if dataset.box_format == "fractions" else _corners
    boxes = []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        try:
            boxes.append(parse(words, dataset))
        except (ValueError, IndexError):
            quote = line.strip()[:QUOTED]
            raise InputError(f"{path.name}, line {number}: {quote!r} is no box") from None
    return boxes


def _fractions(words: list[str], dataset: Dataset) -> LabelledBox:
    """Class number, centre x and y, width and height."""
    x, y, width, height = map(float, words[1:5])
    box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    ordered = box[0] <= box[2] and box[1] <= box[3]
    inside = min(box) >= -SLACK and max(box) <= 1 + SLACK
    if len(words) != 5 or not words[0].isdigit() or not (ordered and inside):
        raise ValueError(words)
    return LabelledBox(label=dataset.box_classes[int(words[0])], box=box)


def _corners(words: list[str], dataset: Dataset) -> LabelledBox:
    """x0, y0, x1, y1 and the class in any spelling."""
    x0, y0, x1, y1 = map(float, words[:4])
    spelling = {name.lower(): name for name in dataset.box_classes}
    label = spelling.get(words[4].lower(), "")
    if len(words) != 5 or not label or not (0 <= x0 <= x1 and 0 <= y0 <= y1):
        raise ValueError(words)
    return LabelledBox(label=label, box=(x0, y0, x1, y1))
