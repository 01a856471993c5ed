"""The map against the principal components of another library."""

import numpy as np
import pytest

from optidel.features.projection import principal_map


def test_the_axes_are_the_first_two_principal_components() -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 8)) * np.array([5, 3, 1, 1, 1, 1, 1, 1]) + 4
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = decomposition.PCA(2).fit_transform(unit)
    points = principal_map(vectors.astype(np.float32))
    for axis in range(2):
        assert abs(np.corrcoef(points[:, axis], expected[:, axis])[0, 1]) == pytest.approx(1, abs=1e-4)
    assert points.min() == -1
    assert points.max() == 1
    assert points.dtype == np.float32


def test_the_same_vectors_give_the_same_map_and_few_give_a_plain_one() -> None:
    vectors = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
    assert np.array_equal(principal_map(vectors), principal_map(vectors.copy()))
    assert np.array_equal(principal_map(vectors[:2]), np.zeros((2, 2)))
