"""The descriptor of copies, its whitening and its threshold."""

import numpy as np
import pytest
from pictures import picture
from scipy.stats import gumbel_r

from optidel.copies.pixels import (
    DIM,
    WIDTH,
    best_similarity,
    describe,
    shrink,
    similarity_threshold,
    symmetries,
)
from optidel.features.whitening import fit


def descriptors(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([describe(shrink(picture(rng)[0])) for _ in range(count)])


def test_symmetries_are_the_descriptors_of_turned_and_mirrored_pictures() -> None:
    small = shrink(picture(np.random.default_rng(1), 200, 256)[0])
    mirrored = [small, small[:, ::-1], small[::-1], small[::-1, ::-1]]
    views = mirrored + [view.swapaxes(0, 1) for view in mirrored]
    expected = np.stack([describe(np.ascontiguousarray(view)) for view in views])
    np.testing.assert_allclose(symmetries(expected[:1])[0], expected, atol=2e-5)
    quarter = describe(np.ascontiguousarray(np.rot90(small)))
    assert np.abs(expected - quarter).max(axis=1).min() < 2e-5


def test_brightness_and_contrast_change_little() -> None:
    small = shrink(picture(np.random.default_rng(2), 200, 256)[0])
    one, other = describe(small), describe(small * 0.8 + 20)
    assert one.shape == (DIM,)
    assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) > 0.99


def test_whitened_corpus_is_uncorrelated_and_rows_are_unit() -> None:
    found = descriptors(80)
    whitening = fit(found, width=WIDTH, shrinkage=0)
    plain = whitening.project(found)
    np.testing.assert_allclose(np.cov(plain.T, bias=True), np.eye(plain.shape[1]), atol=2e-3)
    np.testing.assert_allclose(np.linalg.norm(whitening.transform(found), axis=1), 1, atol=1e-5)


def test_best_similarity_is_the_largest_over_views() -> None:
    rng = np.random.default_rng(3)
    seen, rows = rng.normal(size=(5, 4, 7)).astype(np.float32), rng.normal(size=(6, 7)).astype(np.float32)
    expected = [[max(float(view @ row) for view in views) for row in rows] for views in seen]
    np.testing.assert_allclose(best_similarity(seen, rows), expected, rtol=1e-4)


@pytest.mark.parametrize("copies", [0.0, 0.2])
def test_threshold_holds_its_rate_and_does_not_mind_copies_in_the_corpus(copies: float) -> None:
    law = gumbel_r(0.4, 0.05)
    null = law.rvs(20_000, random_state=4)
    null[: int(copies * len(null))] = 0.99
    threshold = similarity_threshold(null.astype(np.float32), 0.01)
    assert 0.001 < law.sf(threshold) < 0.02  # copies make it stricter, never looser
