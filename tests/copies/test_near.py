"""Copies inside a corpus: turned, mirrored, cropped and recompressed ones are found; others are not."""

import io

import numpy as np
import pytest
from PIL import Image

from optidel.copies.near import _has_witness, first_of_chain, near_copies
from optidel.copies.points import Points, agreeing, constellation, find_points
from optidel.copies.prints import describe_images


def scene(seed: int, side: int = 160) -> np.ndarray:
    """A picture with blobs of many sizes, as tissue has."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    image = np.full((side, side, 3), 120.0)
    for _ in range(150):
        size, colour = rng.uniform(2, 9), rng.uniform(-90, 90, 3)
        top, left = rng.uniform(0, side, 2)
        image += np.exp(-((y - top) ** 2 + (x - left) ** 2) / size**2)[..., None] * colour
    return image.clip(0, 255).astype(np.uint8)


def recompressed(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "JPEG", quality=50)
    return np.asarray(Image.open(buffer).convert("RGB"))


def cropped(image: np.ndarray) -> np.ndarray:
    """Four fifths of both sides, off the middle."""
    side = len(image)
    return image[side // 20 : side // 20 + side * 4 // 5, side // 8 : side // 8 + side * 4 // 5]


def turned(image: np.ndarray, degrees: float) -> np.ndarray:
    """Turned, and cut to what is still full of picture."""
    picture = Image.fromarray(image).rotate(degrees, Image.Resampling.BICUBIC)
    edge = len(image) // 10
    return np.asarray(picture)[edge:-edge, edge:-edge]


CHANGES = {
    "recompressed": recompressed,
    "a quarter": lambda image: np.rot90(image),
    "half a turn": lambda image: np.rot90(image, 2),
    "mirrored": lambda image: image[:, ::-1],
    "upside down": lambda image: image[::-1],
    "mirrored and turned": lambda image: np.rot90(image[:, ::-1]),
    "cropped": cropped,
    "cropped, mirrored, recompressed": lambda image: recompressed(cropped(image)[:, ::-1]),
    "turned by 15 degrees": lambda image: turned(image, 15),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_changed_copy_points_to_its_original_and_no_other_picture_does(change: str) -> None:
    images = [scene(seed) for seed in range(12)]
    copies = [np.ascontiguousarray(CHANGES[change](image)) for image in images[:3]]
    prints = describe_images(((str(n), image) for n, image in enumerate(images + copies)), "corpus")
    exact, near = near_copies(prints, 24)
    assert exact.tolist() == list(range(15))
    assert near.tolist() == [*range(12), 0, 1, 2]


def test_views_that_share_too_little_are_copies_through_one_that_shares_enough_with_both() -> None:
    large = scene(3, side=280)
    left, right, middle = (large[40:200, start : start + 160] for start in (0, 120, 60))
    others = [scene(seed) for seed in range(20, 32)]

    def copies_of(*views: np.ndarray) -> list[int]:
        images = [*others, *(np.ascontiguousarray(view) for view in views)]
        prints = describe_images(((str(n), image) for n, image in enumerate(images)), "corpus")
        return near_copies(prints, 24)[1].tolist()

    assert copies_of(left, right) == [*range(14)]
    assert copies_of(left, right, middle) == [*range(12), 12, 12, 12]


def test_hashes_or_points_are_a_second_witness_for_alike_descriptors() -> None:
    image = scene(5)
    shifted, turned_copy = np.roll(image, 2, axis=1), turned(image, 15)
    views = [image, shifted, turned_copy, np.ascontiguousarray(turned_copy[:, ::-1]), scene(6)]
    prints = describe_images(((str(n), view) for n, view in enumerate(views)), "corpus")
    assert [_has_witness(prints, 0, row) for row in range(1, 5)] == [True, True, True, False]


def test_a_radius_of_nothing_counts_equal_hashes_alone() -> None:
    image = scene(0)
    prints = describe_images([("a", image), ("b", np.ascontiguousarray(image[:, ::-1]))], "corpus")
    assert near_copies(prints, 0)[1].tolist() == [0, 1]


def test_points_of_the_mirrored_picture_are_the_mirrored_points() -> None:
    image = scene(1)
    geometry, bits = zip(
        *(find_points(np.ascontiguousarray(view)) for view in (image, image[:, ::-1])), strict=True
    )
    points = Points(geometry=np.stack(geometry), bits=np.stack(bits))
    first, second = constellation(points, 0), constellation(points, 1)
    assert agreeing(first.mirrored(), second) > 0.8 * len(second.where)
    assert agreeing(first, second) < 8


def test_a_plain_picture_has_no_points() -> None:
    geometry, bits = find_points(np.full((40, 60, 3), 90, np.uint8))
    assert not geometry.any()
    assert not bits.any()


def test_chains_lead_to_their_first_frame() -> None:
    assert first_of_chain(np.array([0, 0, 1, 3, 2, 3])).tolist() == [0, 0, 0, 3, 0, 3]
