"""Groups and seeds as people have them: missing, mixed, negative, enormous."""

import numpy as np
import pytest

import optidel
from optidel.errors import RecipeError

VECTORS = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)
NAMES = [f"p{row % 6}" for row in range(60)]


@pytest.mark.parametrize("missing", [None, float("nan"), np.datetime64("NaT")])
@pytest.mark.parametrize("rule", ["spread", "together"])
def test_a_row_without_a_group_is_a_group_of_its_own(missing: object, rule: str) -> None:
    holes = [missing if row % 5 == 0 else name for row, name in enumerate(NAMES)]
    alone = [f"alone-{row}" if row % 5 == 0 else name for row, name in enumerate(NAMES)]
    options = {"method": "random", "budget": 12, "group_rule": rule}
    with_holes = optidel.select(VECTORS, groups=holes, **options)  # type: ignore[arg-type]
    assert len(with_holes.indices) == 12
    if rule == "spread":  # the other rule draws among groups in the order of their names
        expected = optidel.select(VECTORS, groups=alone, **options)  # type: ignore[arg-type]
        assert set(with_holes.indices) == set(expected.indices)


def test_numbers_with_nan_among_them_are_groups() -> None:
    groups = np.array([np.nan if row % 5 == 0 else row % 6 for row in range(60)])
    selection = optidel.select(VECTORS, method="random", budget=12, groups=groups)
    assert len(selection.indices) == 12


@pytest.mark.parametrize("seed", [-1, 1.5, "a", True])
def test_a_seed_that_is_none_is_one_sentence(seed: object) -> None:
    with pytest.raises(RecipeError, match=r"seed must be a whole number of 0 or more, got"):
        optidel.select(VECTORS, method="random", budget=5, seed=seed)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [2**40, 2**70, 10**29, np.int64(3)])
def test_any_whole_number_is_a_seed(seed: int) -> None:
    assert len(optidel.select(VECTORS, method="random", budget=5, seed=seed).indices) == 5
