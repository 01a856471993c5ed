"""Random squares: anywhere, of the stated sizes, and the same each time."""

import numpy as np

from optidel.features.overlay import Zones
from optidel.features.patches import key_patches
from optidel.models.mask_generators import load_mask_generator
from optidel.models.random_squares import SIDES

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (60, 90, 120, 3), dtype=np.uint8)
POINTS = np.full((8, 2), 5.0, dtype=np.float32)


def open_zones() -> Zones:
    nowhere = np.zeros((90, 120), dtype=bool)
    return Zones(border=nowhere, overlay=nowhere, glare=nowhere, background=nowhere)


def test_patches_have_the_stated_sizes_and_lie_anywhere() -> None:
    generator = load_mask_generator("random")
    boxes = np.array(
        [
            patch.box
            for image in IMAGES
            for mask in generator(image, POINTS)
            for patch in key_patches("a", image, [mask], open_zones())
        ]
    )
    sides = (boxes[:, 2] - boxes[:, 0]) / 90
    assert len(boxes) == 480
    np.testing.assert_allclose(np.quantile(sides, np.linspace(0.1, 1, 10)), SIDES[1:], atol=0.06)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / (120, 90)
    assert (centres.min(axis=0) < 0.3).all()
    assert (centres.max(axis=0) > 0.7).all()
    np.testing.assert_allclose(centres.mean(axis=0), 0.5, atol=0.02)


def test_the_draw_follows_from_the_pixels_alone() -> None:
    generator = load_mask_generator("random")
    first, again, other = (
        generator(image, points)
        for image, points in ((IMAGES[0], POINTS), (IMAGES[0], POINTS * 3), (IMAGES[1], POINTS))
    )
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.mask, two.mask)
    assert any((one.mask != two.mask).any() for one, two in zip(first, other, strict=True))
    assert generator(IMAGES[0], POINTS[:0]) == []
