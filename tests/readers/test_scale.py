"""One scale for several frames: NumPy's percentiles of all values at once."""

import numpy as np
import pytest

from optidel.errors import InputError
from optidel.readers.decoded import percentile_rule, range_rule
from optidel.readers.scale import Spread


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_percentiles_of_frames_are_those_of_all_values(kind: type) -> None:
    frames = (
        np.random.default_rng(0).normal(40, 30, (5, 40, 50)).clip(0 if kind in (np.uint8, np.uint16) else -99)
    )
    frames = frames.astype(kind)
    spread = Spread(frames.size)
    for frame in frames:
        spread.add(frame)
    low, high, rule = spread.percentiles()
    expected = percentile_rule(frames)
    assert (low, high) == pytest.approx(expected[:2])
    assert rule == expected[2]
    assert spread.by_type()[:2] == pytest.approx(range_rule(frames)[:2])


def test_frames_with_a_slope_each() -> None:
    frames = np.random.default_rng(0).integers(0, 4000, (3, 20, 20)).astype(np.uint16)
    spread = Spread(frames.size)
    for frame, slope in zip(frames, (1.0, 2.0, 0.5), strict=True):
        spread.add(frame, slope, -7.0)
    scaled = np.stack([frame * slope - 7.0 for frame, slope in zip(frames, (1.0, 2.0, 0.5), strict=True)])
    assert spread.percentiles()[:2] == pytest.approx(percentile_rule(scaled)[:2])


def test_a_sample_of_many_values_is_close() -> None:
    frames = np.random.default_rng(0).normal(0, 1, (4, 500, 500))
    spread = Spread(frames.size * 100)  # as if there were a hundred times as many
    for frame in frames:
        spread.add(frame)
    assert spread.percentiles()[:2] == pytest.approx(np.percentile(frames, [0.5, 99.5]), abs=0.1)


def test_values_that_are_not_finite_take_no_part() -> None:
    spread = Spread(200)
    spread.add(np.array([np.nan, np.inf, -np.inf]))
    with pytest.raises(InputError, match="not finite"):
        spread.percentiles()
    spread.add(np.arange(100.0))
    assert spread.percentiles()[:2] == pytest.approx(percentile_rule(np.arange(100.0))[:2])
