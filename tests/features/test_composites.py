import numpy as np
import pytest
from PIL import Image as Picture

from optidel.errors import InputError
from optidel.features.composites import render
from optidel.records import Composite

RNG = np.random.default_rng(0)
FRAMES = {name: RNG.integers(0, 256, (90, 120, 3), dtype=np.uint8) for name in "abcd"}


def composite(
    side=64,
    sources=tuple("abcd"),
    boxes=((0, 0, 30, 30), (10, 5, 70, 65), (100, 70, 120, 90), (0, 0, 90, 90)),
):
    return Composite(id="composite-00001", sources=sources, boxes=boxes, side=side)


def test_cells_hold_the_resized_crops_in_row_major_order():
    image = render(composite(), FRAMES.__getitem__)
    assert image.shape == (64, 64, 3)
    assert image.dtype == np.uint8
    for place, (source, (x0, y0, x1, y1)) in enumerate(zip("abcd", composite().boxes, strict=True)):
        top, left = 32 * (place // 2), 32 * (place % 2)
        expected = Picture.fromarray(FRAMES[source][y0:y1, x0:x1].copy()).resize(
            (32, 32), Picture.Resampling.LANCZOS
        )
        np.testing.assert_array_equal(image[top : top + 32, left : left + 32], np.asarray(expected))


def test_a_patch_of_the_cell_size_is_copied_and_one_patch_fills_the_image():
    image = render(composite(side=30, sources=("a",), boxes=((40, 20, 70, 50),)), FRAMES.__getitem__)
    np.testing.assert_array_equal(image, FRAMES["a"][20:50, 40:70])


def test_no_pixel_stays_unwritten_when_the_side_does_not_divide():
    white = {name: np.full_like(frame, 255) for name, frame in FRAMES.items()}
    assert render(composite(side=63), white.__getitem__).min() == 255
    nine = composite(side=50, sources=("a",) * 9, boxes=((0, 0, 30, 30),) * 9)
    assert render(nine, white.__getitem__).min() == 255


def test_the_bytes_repeat_and_a_frame_is_read_once():
    read = []

    def load(source):
        read.append(source)
        return FRAMES[source]

    twice = composite(sources=("a", "b", "a", "b"))
    assert render(twice, load).tobytes() == render(twice, FRAMES.__getitem__).tobytes()
    assert sorted(read) == ["a", "b"]


@pytest.mark.parametrize("box", [(-1, 0, 9, 9), (100, 0, 121, 21), (0, 80, 11, 91), (5, 5, 5, 9)])
def test_a_box_outside_its_frame_is_named(box):
    with pytest.raises(InputError, match=r"composite-00001: box .* outside frame 'a' of 120×90 px"):
        render(composite(sources=("a",), boxes=(box,)), FRAMES.__getitem__)
