"""Bounding boxes as EAD2019 and EDD2020 write them."""

from dataclasses import dataclass
from pathlib import Path

from optidel.datasets.dataset import Dataset
from optidel.errors import InputError

SLACK = 1e-3
"""A box may leave the image by this fraction: the published files are rounded."""


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
    boxes = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if words := line.split():
            try:
                boxes.append(
                    _fractions(words, dataset)
                    if dataset.box_format == "fractions"
                    else _corners(words, dataset)
                )
            except (ValueError, IndexError):
                raise InputError(f"{path.name}, line {number}: {line.strip()[:60]!r} is no box") from None
    return boxes


def _fractions(words: list[str], dataset: Dataset) -> LabelledBox:
    x, y, width, height = map(float, words[1:5])
    inside = (
        -SLACK <= x - width / 2 <= x + width / 2 <= 1 + SLACK
        and -SLACK <= y - height / 2 <= y + height / 2 <= 1 + SLACK
    )
    if len(words) != 5 or not words[0].isdigit() or not inside:
        raise ValueError(words)
    return LabelledBox(
        label=dataset.box_classes[int(words[0])],
        box=(x - width / 2, y - height / 2, x + width / 2, y + height / 2),
    )


def _corners(words: list[str], dataset: Dataset) -> LabelledBox:
    x0, y0, x1, y1 = map(float, words[:4])
    label = next((known for known in dataset.box_classes if known.lower() == words[4].lower()), "")
    if len(words) != 5 or not label or not (0 <= x0 <= x1 and 0 <= y0 <= y1):
        raise ValueError(words)
    return LabelledBox(label=label, box=(x0, y0, x1, y1))
