"""The lit area of endoscopy frames; grey pictures and full frames stay whole."""

from pathlib import Path

import numpy as np
import pytest
from pictures import picture
from PIL import Image

from optidel.readers.content import content_box

SHARED = Path(__file__).parents[3] / "shared" / "data"


def octagon(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """A frame of 240 x 320 px, lit in an octagon."""
    image = picture(np.random.default_rng(0), 240, 320)[0]
    y, x = np.mgrid[:240, :320]
    inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
    for horizontal, vertical in (
        (x - left, y - top),
        (right - 1 - x, y - top),
        (x - left, bottom - 1 - y),
        (right - 1 - x, bottom - 1 - y),
    ):
        inside &= horizontal + vertical >= 40
    image[~inside] = 6
    return image


def test_box_is_that_of_the_octagon_without_text_and_inset() -> None:
    image = octagon(90, 12, 310, 230)
    image[20:28, 8:60:3] = 220
    image[170:225, 10:80] = (30, 190, 150)
    assert np.abs(np.array(content_box(image)) - (90, 12, 310, 230)).max() <= 3


@pytest.mark.parametrize("change", ["full", "grey", "cells"])
def test_other_frames_stay_whole(change: str) -> None:
    image = octagon(90, 12, 310, 230)
    if change == "full":
        image = picture(np.random.default_rng(1), 240, 320)[0]
    elif change == "grey":
        image = np.repeat(image[..., :1], 3, axis=2)
    else:
        y, x = np.mgrid[:240, :320]
        image[:] = 5
        for centre in ((60, 60), (150, 120), (80, 220), (190, 280)):
            image[(y - centre[0]) ** 2 + (x - centre[1]) ** 2 < 400] = (20, 30, 200)
    assert content_box(image) == (0, 0, 320, 240)


@pytest.mark.data
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared development images are not on this machine")
@pytest.mark.parametrize(
    ("folder", "least", "most"),
    [("kvasir-seg", 0.9, 1.0), ("polypgen-dev", 0.4, 1.0), ("dsb2018", 1.0, 1.0), ("lung-cxr", 1.0, 1.0)],
)
def test_real_frames(folder: str, least: float, most: float) -> None:
    for path in sorted((SHARED / folder / "images").iterdir())[:500:50]:
        image = np.asarray(Image.open(path).convert("RGB"))
        x0, y0, x1, y1 = content_box(image)
        assert least <= (x1 - x0) * (y1 - y0) / (image.shape[0] * image.shape[1]) <= most, path.name
