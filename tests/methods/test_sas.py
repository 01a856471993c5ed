"""SAS against its objective, summed from scratch."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from optidel.features.clusters import cluster
from optidel.features.rows import unit
from optidel.methods import select
from optidel.methods.sas import greedy_cut


def objective(cosine, kept):
    """Similarities between kept rows and those left out."""
    left = [row for row in range(len(cosine)) if row not in kept]
    return sum(cosine[i, j] for i in left for j in kept)


@settings(max_examples=40, deadline=None)
@given(c=st.integers(1, 25), share=st.floats(0.05, 1), seed=st.integers(0, 99))
def test_every_pick_adds_most_to_the_objective(c, share, seed):
    rows = unit(np.random.default_rng(seed).normal(size=(c, 4)).astype(np.float32)).astype(np.float64)
    cosine = rows @ rows.T
    picks, gains = greedy_cut(rows.astype(np.float32), max(1, round(share * c)))
    kept = []
    for pick, gain in zip(picks.tolist(), gains, strict=True):
        before = objective(cosine, kept)
        added = {row: objective(cosine, [*kept, row]) - before for row in range(c) if row not in kept}
        assert abs(added[pick] - gain) < 1e-5
        assert added[pick] >= max(added.values()) - 1e-5
        kept.append(pick)


def test_classes_give_in_proportion_and_their_centres_come_first():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], [90, 30])
    vectors = (np.eye(8)[labels] * 5 + rng.normal(size=(120, 8))).astype(np.float32)
    selection = select(vectors, "sas", 12, k=2)
    assert np.bincount(labels[selection.indices]).tolist() == [9, 3]
    clusters = cluster(vectors, 2, rng=np.random.default_rng(0))
    assert clusters.similarity[selection.indices[:2]].min() > np.quantile(clusters.similarity, 0.8)


def test_copies_stand_for_each_other_once():
    rng = np.random.default_rng(2)
    vectors = np.concatenate([np.tile(rng.normal(size=16), (6, 1)), rng.normal(size=(30, 16))]) + 1
    kept = select(vectors.astype(np.float32), "sas", 6, k=1).indices
    assert (kept < 6).sum() <= 3
