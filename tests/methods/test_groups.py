from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optidel.errors import InputError, RecipeError
from optidel.methods import select

FAST = ["random", "hardest", "meddel", "optidel", "facility-location"]


@pytest.mark.parametrize("method", FAST)
@settings(max_examples=12, deadline=None)
@given(n=st.integers(1, 40), share=st.floats(0.05, 1), seed=st.integers(0, 99), groups=st.integers(1, 8))
def test_spread_gives_every_group_its_even_share(method, n, share, seed, groups):
    rng = np.random.default_rng(seed)
    label, count = rng.integers(0, groups, n), max(1, round(share * n))
    selection = select(
        rng.normal(size=(n, 4)),
        method,
        count,
        difficulty=rng.normal(size=n),
        groups=[f"patient {g}" for g in label],
    )
    taken, there = Counter(label[selection.indices].tolist()), Counter(label.tolist())
    # Only a group that has no more gives less than the most a group gives, but for one that is left over.
    most = max(taken.values())
    assert all(taken[name] >= most - 1 or taken[name] == there[name] for name in there)


@pytest.mark.parametrize("method", FAST)
@settings(max_examples=12, deadline=None)
@given(n=st.integers(1, 40), share=st.floats(0.05, 1), seed=st.integers(0, 99), groups=st.integers(1, 8))
def test_together_cuts_at_most_one_group(method, n, share, seed, groups):
    rng = np.random.default_rng(seed)
    label, count = rng.integers(0, groups, n), max(1, round(share * n))
    selection = select(
        rng.normal(size=(n, 4)),
        method,
        count,
        difficulty=rng.normal(size=n),
        groups=label,
        group_rule="together",
    )
    kept = np.isin(np.arange(n), selection.indices)
    cut = [name for name in set(label.tolist()) if 0 < kept[label == name].sum() < (label == name).sum()]
    assert len(cut) <= 1


def test_together_prefers_the_group_the_method_prefers():
    label = np.repeat(["a", "b", "c"], 4)
    difficulty = np.array([0, 0, 0, 9, 5, 6, 7, 8, 0, 0, 0, 1.0])
    vectors = np.random.default_rng(0).normal(size=(12, 3))
    selection = select(vectors, "hardest", 4, difficulty=difficulty, groups=label, group_rule="together")
    assert sorted(selection.indices.tolist()) == [4, 5, 6, 7]
    assert selection.gains.tolist() == [8, 7, 6, 0]
    assert selection.reason[4] == "kept with its group"
    assert selection.reason[3] == "group not kept"


def test_spread_says_when_a_share_was_full():
    difficulty = np.arange(12.0)
    selection = select(
        np.random.default_rng(0).normal(size=(12, 3)),
        "hardest",
        6,
        difficulty=difficulty,
        groups=np.repeat(["a", "b", "c"], 4),
    )
    assert sorted(selection.indices.tolist()) == [2, 3, 6, 7, 10, 11]
    assert selection.reason[8] == "group share full"


def test_groups_that_do_not_fit_are_refused():
    with pytest.raises(
        InputError, match=r"groups must have shape \(5,\), one per row of vectors, got \(4,\)"
    ):
        select(np.eye(5), "random", 2, groups=[1, 2, 3, 4])
    with pytest.raises(RecipeError, match="did you mean 'together'"):
        select(np.eye(5), "random", 2, groups=[1, 2, 3, 4, 5], group_rule="togehter")
