"""No difference between methods is claimed without data."""

import numpy as np
import pytest

from optidel.evaluation.claims import claim, lack_of_data
from optidel.evaluation.intervals import difference_interval, estimate


@pytest.mark.parametrize(
    ("seeds", "images", "lack"),
    [
        (1, 300, "one seed: no interval"),
        (2, 300, "two seeds: no interval"),
        (3, 1, "one test image: no interval"),
        (1, 1, "one seed: no interval"),
        (3, 2, ""),
        (10, 300, ""),
    ],
)
def test_three_seeds_and_two_images_are_needed(seeds: int, images: int, lack: str) -> None:
    assert lack_of_data(seeds, images) == lack
    rng = np.random.default_rng(0)
    scores, reference = rng.random((2, seeds, images))
    difference = claim(scores, reference, np.random.default_rng(1))
    assert difference.lack == lack
    assert difference.mean == pytest.approx(float((scores - reference).mean()))
    if lack:
        assert difference.interval is None
    else:
        assert difference.interval == difference_interval(scores, reference, np.random.default_rng(1))


def test_one_score_tells_nothing_of_others() -> None:
    spread = estimate(np.array([[0.2]]), np.random.default_rng(0))
    interval = spread.interval()
    assert (interval.low, interval.high, spread.p) == (-np.inf, np.inf, 1.0)
