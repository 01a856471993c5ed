"""What a variable explains, against the analysis of variance by hand, and against chance."""

import numpy as np
import pytest

from optidel.gallery.explained import explained_share


def test_it_is_the_adjusted_share_of_the_sums_of_squares() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(60, 3))
    labels = [f"g{row % 4}" for row in range(60)]
    points[::4] += 2
    within = total = 0.0
    for name in set(labels):
        members = points[[row for row, label in enumerate(labels) if label == name]]
        within += sum(float(np.sum((member - members.mean(axis=0)) ** 2)) for member in members)
    total = sum(float(np.sum((point - points.mean(axis=0)) ** 2)) for point in points)
    share = 1 - within / total
    assert explained_share(points, labels) == pytest.approx(1 - (1 - share) * 59 / 56)


def test_it_agrees_with_the_regression_of_another_library() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    group = rng.integers(0, 5, 200)
    points = rng.normal(size=(200, 2)) + group[:, None] * 0.4
    dummies = np.eye(5)[group]
    fitted = linear_model.LinearRegression().fit(dummies, points).predict(dummies)
    share = metrics.r2_score(points, fitted, multioutput="variance_weighted")
    expected = 1 - (1 - share) * 199 / 195
    assert explained_share(points, [str(value) for value in group]) == pytest.approx(expected)


def test_labels_that_mean_nothing_explain_nothing_however_many_there_are() -> None:
    rng = np.random.default_rng(2)
    points = rng.normal(size=(400, 2))
    for groups in (2, 20, 150):
        shares = [
            explained_share(points, [str(value) for value in rng.integers(0, groups, 400)]) for _ in range(20)
        ]
        assert np.mean([share for share in shares if share is not None]) < 0.03


def test_one_group_and_only_singletons_say_nothing() -> None:
    points = np.random.default_rng(3).normal(size=(5, 2))
    assert explained_share(points, ["a"] * 5) is None
    assert explained_share(points, list("abcde")) is None
    assert explained_share(np.zeros((4, 2)), ["a", "a", "b", "b"]) is None
    assert explained_share(points, [None, "a", "a", "b", "b"]) is not None
