"""What holds for every method, and what is refused before any starts."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optidel.errors import BudgetError, InputError, OptidelError, RecipeError
from optidel.methods import GUIDED_METHODS, METHODS, count_for, select
from optidel.methods.inputs import GIVEN
from optidel.methods.mixture import ConceptShares

ENTRIES = METHODS | GUIDED_METHODS
BUDGETED = [name for name in ENTRIES if name != "full"]


def gaussian(n=60, d=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)).astype(np.float32), rng.normal(size=n)


def difficult(values):
    """What a method may need of each row, whatever it is called."""
    concepts = (values > 0).astype(np.int64)
    shares = np.bincount(concepts, minlength=2) / len(values)
    mixture = ConceptShares(concepts=concepts, shares=shares)
    return {"difficulty": values, "influences": values, "mixture": mixture}


def check(selection, n, count):
    """The record is complete and says of every row why it stayed or went."""
    kept = np.isin(np.arange(n), selection.indices)
    assert len(selection.indices) == count == kept.sum()
    assert selection.indices.dtype == selection.kept_twin.dtype == np.int64
    assert selection.gains.dtype == selection.similarity.dtype == np.float64
    assert selection.gains.shape == (count,)
    assert np.isfinite(selection.gains).all()
    assert selection.kept_twin.shape == selection.similarity.shape == selection.reason.shape == (n,)
    assert all(
        str(reason).startswith("kept") == bool(stays)
        for reason, stays in zip(selection.reason, kept, strict=True)
    )
    assert all(selection.reason)
    twinned = selection.kept_twin >= 0
    assert not (twinned & kept).any()
    assert kept[selection.kept_twin[twinned]].all()
    assert (np.isfinite(selection.similarity) == twinned).all()


@pytest.mark.parametrize("method", ENTRIES)
def test_the_registry_says_what_a_person_needs(method):
    entry = ENTRIES[method]
    signature = inspect.signature(entry.select)
    assert entry.summary
    assert entry.cost.startswith("O(")
    required = [
        name for name, p in signature.parameters.items() if p.kind is p.KEYWORD_ONLY and p.default is p.empty
    ]
    assert set(required) <= set(GIVEN)
    assert set(required) - {"rng"} == {entry.needs} - {""}


@pytest.mark.parametrize("method", BUDGETED)
@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(1, 40),
    share=st.floats(0.01, 1),
    seed=st.integers(0, 99),
    levels=st.integers(1, 4),
    dtype=st.sampled_from("efd"),
    rule=st.sampled_from(["", "spread", "together"]),
)
def test_any_budget_is_met_exactly_even_among_copies(method, n, share, seed, levels, dtype, rule):
    rng = np.random.default_rng(seed)
    vectors = rng.choice(np.linspace(-1, 1, levels + 2), size=(n, 2)).astype(dtype) + np.array(
        [3, 0], dtype=dtype
    )
    difficulty = rng.integers(0, 3, n)
    count = max(1, round(share * n))
    grouped = {"groups": rng.integers(0, 5, n), "group_rule": rule} if rule else {}
    selection = select(
        vectors, method, count, **difficult(difficulty), seed=seed, target=vectors[: n // 3 + 1], **grouped
    )
    check(selection, n, count)


@pytest.mark.parametrize("method", [name for name in BUDGETED if ENTRIES[name].nested])
@settings(max_examples=8, deadline=None)
@given(n=st.integers(2, 50), share=st.floats(0.02, 1), seed=st.integers(0, 99), copies=st.booleans())
def test_one_ranking_serves_every_smaller_budget(method, n, share, seed, copies):
    vectors, difficulty = gaussian(n, seed=seed)
    if copies:
        vectors = vectors[np.random.default_rng(seed).integers(0, max(1, n // 3), n)]
    given_all = {**difficult(difficulty), "target": vectors[:4], "seed": seed}
    ranking, count = select(vectors, method, n, **given_all), max(1, round(share * n))
    alone = select(vectors, method, count, **given_all)
    assert ranking.indices[:count].tolist() == alone.indices.tolist()
    np.testing.assert_allclose(ranking.gains[:count], alone.gains, atol=1e-6)


@pytest.mark.parametrize("method", ENTRIES)
@pytest.mark.parametrize(
    "vectors", [np.ones((1, 3)), np.ones((12, 3)), gaussian(12)[0]], ids=["one row", "all equal", "gaussian"]
)
def test_a_budget_of_one_keeps_everything(method, vectors):
    selection = select(vectors, method, 1.0, **difficult(np.arange(len(vectors))), target=vectors[:2])
    check(selection, len(vectors), len(vectors))
    assert sorted(selection.indices) == list(range(len(vectors)))


@pytest.mark.parametrize("method", BUDGETED)
def test_the_order_of_the_rows_does_not_matter(method):
    vectors, difficulty = gaussian(n=200, d=8)
    order = np.random.default_rng(1).permutation(200)
    target = vectors[:5]
    first = select(vectors, method, 0.2, **difficult(difficulty), seed=3, target=target)
    second = select(vectors[order], method, 0.2, **difficult(difficulty[order]), seed=3, target=target)
    assert set(first.indices) == set(order[second.indices])
    np.testing.assert_allclose(first.gains, second.gains, atol=1e-5)


@pytest.mark.parametrize("method", BUDGETED)
def test_seed_and_input_decide_alone(method, tmp_path):
    vectors, difficulty = gaussian(n=150, d=8)
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    np.random.default_rng().random()
    for again in (vectors, mapped):
        np.testing.assert_array_equal(
            select(vectors, method, 0.1, **difficult(difficulty), seed=5, target=vectors[:5]).indices,
            select(again, method, 0.1, **difficult(difficulty), seed=5, target=vectors[:5]).indices,
        )


@pytest.mark.parametrize("method", ["hardest", "pvi", "k-center", "facility-location", "log-det"])
def test_length_of_the_vectors_does_not_matter_where_nothing_is_drawn(method):
    vectors, difficulty = gaussian(n=80)
    scale = np.float32(2) ** np.random.default_rng(2).integers(-3, 4, (80, 1))
    first, second = (select(rows, method, 0.2, difficulty=difficulty) for rows in (vectors, vectors * scale))
    assert first.indices.tolist() == second.indices.tolist()
    np.testing.assert_allclose(first.gains, second.gains, atol=1e-4)


def test_random_depends_on_the_seed():
    first, second = (set(select(gaussian(n=200)[0], "random", 20, seed=seed).indices) for seed in (1, 2))
    assert len(first & second) < 10


def test_full_refuses_less_than_everything():
    with pytest.raises(
        BudgetError, match=r"keeps all 60 items, the budget asks for 3; pass a budget of 1\.0"
    ):
        select(gaussian()[0], "full", 0.05)


@pytest.mark.parametrize(
    ("budget", "n", "count"),
    [
        (0.05, 100, 5),
        (1.0, 7, 7),
        (1, 7, 1),
        (7, 7, 7),
        (np.float32(0.5), 10, 5),
        (np.int64(3), 10, 3),
        (0.6, 1, 1),
    ],
)
def test_a_budget_is_a_share_or_a_count(budget, n, count):
    assert count_for(budget, n) == count


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        (0.0, r"budget must be in \(0, 1\], got 0\.0; pass 0\.05 for 5 %"),
        (0, "at least 1, got 0; pass 0.05"),
        (1.5, r"budget must be in \(0, 1\], got 1\.5; pass 0\.05 for 5 %"),
        (-0.1, r"\(0, 1\]"),
        (float("nan"), "got nan"),
        (float("inf"), "got inf"),
        (-3, "got -3"),
        (61, "asks for 61 items, there are 60; pass at most 60"),
        (0.001, r"rounds to none; pass at least 0\.0167"),
        (True, "got True"),
        ("0.05", "got '0.05'"),
    ],
)
def test_a_budget_out_of_range_is_refused(budget, says):
    with pytest.raises(BudgetError, match=says):
        select(gaussian()[0], "random", budget)


def broken(row, value):
    vectors = gaussian()[0]
    vectors[row] = value
    return vectors


@pytest.mark.parametrize(
    ("vectors", "says"),
    [
        ([[1.0, 2.0]], "got list"),
        (np.ones((3, 2), dtype=np.int64), "got int64; convert with numpy.asarray"),
        (np.ones(3), r"got \(3,\)"),
        (np.ones((0, 4)), r"got \(0, 4\)"),
        (broken(7, np.nan), "row 7 of vectors holds NaN or infinity"),
        (broken(8, np.inf), "row 8 of vectors holds NaN"),
        (broken(9, 0.0), "row 9 of vectors is all zero"),
    ],
)
def test_vectors_that_cannot_be_compared_are_refused(vectors, says):
    with pytest.raises(InputError, match=says):
        select(vectors, "meddel")


@pytest.mark.parametrize(
    ("difficulty", "says"),
    [
        (None, "needs a difficulty"),
        (np.ones(59), r"shape \(60,\), one number per row of vectors, got \(59,\)"),
        (np.where(np.arange(60) == 4, np.nan, 1.0), "row 4 is nan"),
        (["a"] * 60, "must be numbers"),
    ],
)
def test_a_difficulty_that_does_not_fit_is_refused(difficulty, says):
    with pytest.raises(InputError, match=says):
        select(gaussian()[0], "optidel", difficulty=difficulty)


@pytest.mark.parametrize(
    ("method", "params", "says"),
    [
        ("medel", {}, "unknown method 'medel'; did you mean 'meddel'"),
        ("meddel", {"kep": "nearest"}, "no parameter 'kep'; did you mean 'keep'"),
        ("random", {"k": 3}, "no parameter 'k' .it has none"),
        ("random", {"rng": 3}, "no parameter 'rng'"),
        ("meddel", {"keep": "newest"}, "'farthest' or 'nearest'"),
        ("meddel", {"k": 4}, "at most the 3 items"),
        ("optidel", {"radius": 2.0}, "cosine distance"),
        ("optidel-paper", {"quota_slack": 0.5}, "at least 1"),
        ("optidel", {"k": 0}, "between 1 and"),
    ],
)
def test_an_unknown_name_or_value_is_refused_with_the_nearest(method, params, says):
    with pytest.raises(RecipeError, match=says) as caught:
        select(gaussian()[0], method, difficulty=np.ones(60), **params)
    assert isinstance(caught.value, OptidelError)


def test_whoever_has_vectors_and_a_difficulty_can_run_every_entry_of_methods() -> None:
    rng = np.random.default_rng(0)
    vectors, difficulty = rng.standard_normal((60, 8)), rng.random(60)
    for method in METHODS:
        count = 60 if method == "full" else 6
        assert len(select(vectors, method, count, difficulty=difficulty).indices) == count
