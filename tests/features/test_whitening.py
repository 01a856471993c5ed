"""Whitening, against numpy's SVD and scikit-learn's PCA."""

from pathlib import Path

import numpy as np
import pytest

from optidel.features import rows, whitening
from optidel.features.whitening import fit, fuse


def cone(count: int = 300, dim: int = 12, seed: int = 0) -> np.ndarray:
    """Rows of unequal, correlated variances far from the origin, as embeddings are."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(dim, dim)) * np.geomspace(10, 1, dim)[:, None]
    return (rng.normal(size=(count, dim)) @ mixing + 30).astype(np.float32)


def cosine(rows_of_any_length: np.ndarray) -> np.ndarray:
    unit_rows = rows_of_any_length / np.linalg.norm(rows_of_any_length, axis=1, keepdims=True)
    return unit_rows @ unit_rows.T


def test_axes_and_factors_are_those_of_the_singular_value_decomposition() -> None:
    vectors = cone()
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    fitted = fit(vectors, shrinkage=0)
    np.testing.assert_allclose(fitted.scale, np.sqrt(len(vectors)) / singular, rtol=1e-6)
    np.testing.assert_allclose(np.abs((fitted.components * axes).sum(axis=1)), 1, atol=1e-8)


def test_projections_are_those_of_scikit_learn() -> None:
    decomposition = pytest.importorskip("sklearn.decomposition", reason="scikit-learn is not installed")
    vectors = cone()
    reference = decomposition.PCA(whiten=True, svd_solver="full").fit_transform(vectors.astype(np.float64))
    projected = fit(vectors, shrinkage=0).project(vectors)
    # scikit-learn divides by n − 1, and chooses signs by its own rule.
    reference *= np.sqrt(len(vectors) / (len(vectors) - 1))
    signs = np.sign((reference * projected).sum(axis=0))
    np.testing.assert_allclose(projected, reference * signs, atol=1e-6)


def test_rows_are_unit_and_the_cone_is_spread() -> None:
    vectors = cone()
    whitened = fit(vectors).transform(vectors)
    assert whitened.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(whitened, axis=1), 1, atol=1e-6)
    apart = ~np.eye(len(vectors), dtype=bool)
    assert cosine(vectors)[apart].mean() > 0.5
    assert abs(cosine(whitened)[apart].mean()) < 0.01


def test_dropping_leaves_the_other_axes_as_they_are() -> None:
    vectors = cone()
    whole, without = fit(vectors), fit(vectors, drop=2)
    np.testing.assert_array_equal(without.components, whole.components[2:])
    np.testing.assert_array_equal(without.scale, whole.scale[2:])
    assert fit(vectors, width=3, drop=2).components.shape == (3, 12)


def test_much_shrinkage_only_rotates() -> None:
    vectors = cone()
    rotated = fit(vectors, shrinkage=1e9).transform(vectors)
    np.testing.assert_allclose(cosine(rotated), cosine(vectors - vectors.mean(axis=0)), atol=1e-3)


def test_the_same_bytes_whether_in_memory_or_mapped_and_close_whatever_the_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = cone()
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    whole, again = fit(vectors), fit(mapped)
    assert whole.components.tobytes() == again.components.tobytes()
    assert whole.transform(vectors).tobytes() == again.transform(mapped).tobytes()

    monkeypatch.setattr(whitening, "spans", lambda n, width: rows.spans(n, width, floats=50 * width))
    in_blocks = fit(vectors)
    np.testing.assert_allclose(in_blocks.components, whole.components, atol=1e-9)
    np.testing.assert_allclose(in_blocks.transform(vectors), whole.transform(vectors), atol=1e-6)


def test_signs_do_not_depend_on_the_order_of_rows() -> None:
    vectors = cone()
    shuffled = vectors[np.random.default_rng(1).permutation(len(vectors))]
    np.testing.assert_allclose(fit(shuffled).components, fit(vectors).components, atol=1e-9)


@pytest.mark.parametrize("vectors", [np.ones((1, 3)), np.ones((9, 3)), np.eye(3)[:2]])
def test_few_or_equal_rows_still_give_unit_rows(vectors: np.ndarray) -> None:
    whitened = fit(vectors).transform(vectors)
    np.testing.assert_allclose(np.linalg.norm(whitened, axis=1), 1, atol=1e-6)


def test_fused_cosines_are_the_mean_over_encoders() -> None:
    one, other = cone(seed=0), cone(dim=7, seed=1)
    blocks = [fit(one).transform(one), fit(other).transform(other)]
    expected = (cosine(blocks[0]) + cosine(blocks[1])) / 2
    np.testing.assert_allclose(cosine(fuse(blocks)), expected, atol=1e-5)
