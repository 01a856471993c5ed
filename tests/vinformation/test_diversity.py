"""Vendi score and log-determinant: slow references, copies, and memory maps."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optidel.errors import InputError
from optidel.features import rows as feature_rows
from optidel.vinformation import log_determinant, vendi


def slow_vendi(vectors: np.ndarray) -> float:
    """Definition 3.1 of arXiv 2210.02410: the n × n kernel, its eigenvalues, their entropy."""
    n = len(vectors)
    kernel = [[a @ b / np.sqrt(a @ a * (b @ b)) for b in vectors] for a in vectors]
    weights = np.linalg.eigvalsh(np.array(kernel) / n)
    return float(np.exp(-sum(w * np.log(w) for w in weights if w > 1e-12)))


def slow_log_det(vectors: np.ndarray, distortion: float) -> float:
    """Half the sum of log(1 + d/δ·λ) over the squared singular values of the centred unit rows."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    singular = np.linalg.svd(units - units.mean(axis=0), compute_uv=False)
    return 0.5 * float(np.log1p(vectors.shape[1] / distortion * singular**2 / len(vectors)).sum())


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 30),
    d=st.integers(1, 12),
    seed=st.integers(0, 99),
    distortion=st.sampled_from([0.01, 0.5]),
)
def test_both_meet_their_definitions(n: int, d: int, seed: int, distortion: float) -> None:
    vectors = np.random.default_rng(seed).normal(size=(n, d))
    assert vendi(vectors) == pytest.approx(slow_vendi(vectors), rel=1e-4)
    assert log_determinant(vectors, distortion) == pytest.approx(
        slow_log_det(vectors, distortion), rel=1e-4, abs=1e-4
    )


@pytest.mark.parametrize("d", [4, 40])
def test_extremes(d: int) -> None:
    alike = np.tile(np.random.default_rng(0).normal(size=d), (20, 1))
    assert vendi(alike) == pytest.approx(1, abs=1e-5)
    assert log_determinant(alike) == pytest.approx(0, abs=1e-4)
    assert vendi(np.eye(d)) == pytest.approx(d)


@pytest.mark.parametrize("measure", [vendi, log_determinant])
def test_copies_do_not_raise_diversity(measure) -> None:
    vectors = np.random.default_rng(1).normal(size=(40, 16))
    assert measure(np.repeat(vectors, 3, axis=0)) == pytest.approx(measure(vectors), rel=1e-6)
    replaced = [
        measure(np.concatenate([vectors[:distinct], np.tile(vectors[:1], (40 - distinct, 1))]))
        for distinct in (40, 30, 20, 10, 1)
    ]
    assert np.diff(replaced).max() < 0
    distinct = np.eye(16)
    added = [measure(np.concatenate([distinct, np.tile(distinct[:1], (copies, 1))])) for copies in range(5)]
    assert np.diff(added).max() < 0


def test_neither_length_nor_order_nor_storage_matters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(300, 8)).astype(np.float16)
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    expected = vendi(vectors), log_determinant(vectors)
    monkeypatch.setattr(feature_rows.spans, "__defaults__", (56,))  # blocks of 7 rows
    assert (vendi(mapped), log_determinant(mapped)) == pytest.approx(expected)
    moved = (vectors.astype(np.float32) * rng.uniform(0.1, 9, (300, 1)).astype(np.float32))[
        rng.permutation(300)
    ]
    assert (vendi(moved), log_determinant(moved)) == pytest.approx(expected, rel=1e-4)


def test_a_distortion_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="distortion must be positive, got 0"):
        log_determinant(np.eye(3), 0)
