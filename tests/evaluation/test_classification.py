"""Classification on frozen features equals scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from optidel.errors import InputError
from optidel.evaluation import classification
from optidel.evaluation.classification import PENALTIES, fit_logistic, neighbour_probabilities


def blobs(count: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, classes, count)
    centres = np.random.default_rng(9).normal(size=(classes, 6))
    return centres[kinds] + rng.normal(size=(count, 6)), kinds[:, None] == np.arange(classes)


@pytest.mark.parametrize("penalty", PENALTIES[2::2])
def test_one_class_an_image_is_scikit_learns_softmax(penalty: float) -> None:
    features, labels = blobs(200, 4)
    probe = classification._fit(features, labels, np.ones_like(labels), penalty, True)
    standard = (features - features.mean(0)) / features.std(0)
    reference = LogisticRegression(C=1 / (penalty * 200), max_iter=5000, tol=1e-10)
    reference.fit(standard, labels.argmax(1))
    np.testing.assert_allclose(probe.probabilities(features), reference.predict_proba(standard), atol=2e-4)


def test_several_labels_are_scikit_learns_one_column_after_the_other() -> None:
    features, labels = blobs(150, 3)
    labels[:, 0] |= features[:, 1] > 0.5
    probe = classification._fit(features, labels, np.ones_like(labels), 0.01, False)
    standard = (features - features.mean(0)) / features.std(0)
    for column in range(3):
        reference = LogisticRegression(C=1 / (0.01 * 150), max_iter=5000, tol=1e-10)
        reference.fit(standard, labels[:, column])
        expected = reference.predict_proba(standard)[:, 1]
        np.testing.assert_allclose(probe.probabilities(features)[:, column], expected, atol=2e-4)


def test_the_penalty_is_what_a_slow_search_finds_and_groups_stay_whole() -> None:
    features, labels = blobs(60, 3, seed=4)
    groups = [f"p{row // 4}" for row in range(60)]
    probe = fit_logistic(features, labels, exclusive=True, groups=groups)
    folds = classification.fold_of(groups)
    losses = []
    for penalty in PENALTIES:
        loss = 0.0
        for fold in range(5):
            inside = folds != fold
            part = classification._fit(
                features[inside], labels[inside], np.ones_like(labels[inside]), penalty, True
            )
            loss -= np.log(part.probabilities(features[~inside])[labels[~inside]]).sum()
        losses.append(loss)
    assert probe.penalty == PENALTIES[int(np.argmin(losses))]
    again = fit_logistic(features, labels, exclusive=True, groups=groups)
    np.testing.assert_array_equal(probe.weights, again.weights)


def test_neighbours_vote_by_similarity() -> None:
    features, labels = blobs(80, 3)
    queries, truth = blobs(30, 3, seed=1)
    ours = neighbour_probabilities(features, labels, queries, neighbours=5)
    for query, row in zip(queries, ours, strict=True):
        cosine = features @ query / np.linalg.norm(features, axis=1) / np.linalg.norm(query)
        nearest = np.argsort(-cosine, kind="stable")[:5]
        votes = np.exp(cosine[nearest] / classification.TEMPERATURE)
        expected = (votes[:, None] * labels[nearest]).sum(0) / votes.sum()
        np.testing.assert_allclose(row, expected, atol=1e-12)
    assert (ours.argmax(1) == truth.argmax(1)).mean() > 0.6
    assert neighbour_probabilities(features[:3], labels[:3], queries).shape == (30, 3)


def test_labels_that_are_not_known_change_nothing() -> None:
    features, labels = blobs(90, 3)
    queries, _ = blobs(20, 3, seed=1)
    known = np.ones_like(labels)
    known[:30, 1] = False
    ours = [
        fit_logistic(features, labels, exclusive=False, known_NK=known).probabilities(queries),
        neighbour_probabilities(features, labels, queries, neighbours=5, known_NK=known),
    ]
    labels[:30, 1] = ~labels[:30, 1]
    others = [
        fit_logistic(features, labels, exclusive=False, known_NK=known).probabilities(queries),
        neighbour_probabilities(features, labels, queries, neighbours=5, known_NK=known),
    ]
    for first, second in zip(ours, others, strict=True):
        np.testing.assert_array_equal(first, second)

    # A column is that of the images that have it, at the same penalty and scale.
    standard = (features - features.mean(0)) / features.std(0)
    probe = classification._fit(features, labels, known, 0.01, False)
    reference = LogisticRegression(C=1 / (0.01 * 90), max_iter=5000, tol=1e-10)
    reference.fit(standard[30:], labels[30:, 1])
    expected = reference.predict_proba(standard)[:, 1]
    np.testing.assert_allclose(probe.probabilities(features)[:, 1], expected, atol=2e-4)


def test_where_no_neighbour_is_labelled_the_share_of_all_stands_in() -> None:
    features = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    labels = np.array([[True], [True], [True], [False]])
    known = np.array([[False], [False], [True], [True]])
    votes = neighbour_probabilities(features, labels, features[:1], neighbours=2, known_NK=known)
    assert votes.tolist() == [[0.5]]


def test_what_cannot_be_judged_is_refused() -> None:
    features, labels = blobs(10, 3)
    with pytest.raises(InputError, match="10 features and 9 labels"):
        fit_logistic(features, labels[:9], exclusive=True)
    with pytest.raises(InputError, match="exactly one class"):
        fit_logistic(features, np.ones_like(labels), exclusive=True)
    with pytest.raises(InputError, match="must be finite"):
        fit_logistic(features * np.nan, labels, exclusive=True)
