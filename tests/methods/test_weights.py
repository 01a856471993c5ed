"""Represented mass against its definition, and what a clip may change."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optidel.errors import InputError, RecipeError
from optidel.features.rows import unit
from optidel.methods import select
from optidel.methods.weights import represented_mass, with_weights


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 60), share=st.floats(0.05, 1), seed=st.integers(0, 99))
def test_a_row_is_counted_for_its_most_similar_kept_row(n, share, seed):
    vectors = np.random.default_rng(seed).normal(size=(n, 4)).astype(np.float32)
    selection = select(vectors, "random", max(1, round(share * n)), seed=seed)
    counts = dict.fromkeys(selection.indices.tolist(), 0)
    for row in unit(vectors):
        counts[max(counts, key=lambda kept: float(row @ unit(vectors)[kept]))] += 1
    expected = np.array(list(counts.values())) * len(counts) / n
    np.testing.assert_allclose(represented_mass(vectors, selection, clip=n), expected, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=8),
    clip=st.floats(1, 10),
    copies=st.integers(0, 3),
)
def test_a_clip_keeps_the_mean_and_the_order(sizes, clip, copies):
    vectors = np.repeat(np.eye(len(sizes), 8, dtype=np.float32), sizes, axis=0)
    first = np.cumsum(sizes) - sizes
    kept = np.concatenate([first, first[:1] + np.arange(1, min(copies + 1, sizes[0]))])
    selection = select(vectors, "full", 1.0)
    selection = type(selection)(
        indices=kept.astype(np.int64),
        gains=np.zeros(len(kept)),
        kept_twin=selection.kept_twin,
        similarity=selection.similarity,
        reason=selection.reason,
    )
    weights = represented_mass(vectors, selection, clip=clip)
    assert weights.mean() == pytest.approx(1)
    assert weights.max() <= clip + 1e-9
    order = np.argsort(sizes, kind="stable")
    assert (np.diff(weights[: len(sizes)][order]) >= -1e-9).all()


def test_weights_join_the_selection_and_nothing_else_changes():
    vectors = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    selection = select(vectors, "k-center", 10)
    assert selection.weights is None
    weighted = with_weights(vectors, selection)
    assert weighted.weights is not None
    np.testing.assert_array_equal(weighted.weights, represented_mass(vectors, selection))
    assert weighted.indices is selection.indices
    assert weighted.reason is selection.reason


def test_what_cannot_be_weighted_is_refused():
    vectors = np.ones((5, 2), dtype=np.float32)
    selection = select(vectors, "random", 2)
    with pytest.raises(InputError, match="the selection is of 5 rows, the vectors have 4"):
        represented_mass(vectors[:4], selection)
    with pytest.raises(RecipeError, match="clip must be at least 1"):
        represented_mass(vectors, selection, clip=0.5)
