import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optidel.features.prompts import error_points, grid_points


def test_the_grid_is_segment_anythings() -> None:
    """Reference: build_point_grid of segment-anything, offset 1/(2n), scaled to the image."""
    side = 32
    offset = 1 / (2 * side)
    line = np.linspace(offset, 1 - offset, side)
    reference = np.stack(
        [np.tile(line[None, :], (side, 1)), np.tile(line[:, None], (1, side))], axis=-1
    ).reshape(-1, 2)
    np.testing.assert_allclose(grid_points(300, 400), reference * [400, 300], rtol=1e-5)


def test_the_points_are_the_peaks_highest_first_at_their_place_in_the_frame() -> None:
    errors = np.zeros((8, 8), np.float32)
    errors[1, 6], errors[5, 2], errors[5, 3] = 3, 2, 1.9
    points = error_points(errors, 160, 320, count=2)
    np.testing.assert_allclose(points, [[6.5 * 40, 1.5 * 20], [2.5 * 40, 5.5 * 20]])


def test_zones_that_are_refused_get_no_point() -> None:
    errors = np.ones((8, 8), np.float32)
    errors[0] = 100
    valid = np.ones((80, 80), dtype=bool)
    valid[:15] = False
    points = error_points(errors, 80, 80, count=20, valid=valid)
    assert len(points) > 4
    assert points[:, 1].min() >= 15
    assert len(error_points(errors, 80, 80, valid=np.zeros((80, 80), dtype=bool))) == 0


def test_a_point_on_a_small_invalid_spot_goes_to_the_nearest_valid_pixel() -> None:
    errors = np.zeros((4, 4), np.float32)
    errors[1, 1] = 1
    valid = np.ones((80, 80), dtype=bool)
    valid[28:33, 26:34] = False
    (point,) = error_points(errors, 80, 80, count=1, valid=valid)
    assert valid[int(point[1]), int(point[0])]
    assert np.hypot(*(point - 30)) <= 3


def test_where_the_error_is_low_there_is_no_peak() -> None:
    errors = np.full((8, 8), 0.01, np.float32)
    errors[2, 2] = errors[6, 6] = 1
    np.testing.assert_allclose(error_points(errors, 80, 80, count=8), [[25, 25], [65, 65]])


def test_not_a_number_is_no_peak() -> None:
    errors = np.full((8, 8), np.nan, np.float32)
    errors[4, 4] = 1
    assert error_points(errors, 64, 64).shape == (1, 2)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), cells=st.sampled_from([1, 4, 8, 14]), count=st.integers(0, 12))
def test_points_lie_in_the_frame_apart_and_are_never_too_many(seed: int, cells: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = int(rng.integers(20, 90)), int(rng.integers(20, 90))
    valid = rng.random((height, width)) > 0.1
    points = error_points(rng.random((cells, cells)).astype(np.float32), height, width, count, valid)
    assert points.dtype == np.float32
    assert len(points) <= count
    assert all(valid[int(y), int(x)] for x, y in points)
    cell = np.floor(points / [width / cells, height / cells] + 1e-4)
    for row in range(len(cell)):
        for other in range(row):
            assert np.abs(cell[row] - cell[other]).max() > max(1, cells // 8) - 1


def test_the_grid_of_one_is_the_centre() -> None:
    assert grid_points(10, 20, side=1).tolist() == [pytest.approx([10, 5])]
