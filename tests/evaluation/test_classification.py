"""Classification on frozen features equals scikit-learn, and calibration a slow count."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, roc_auc_score

from optidel.errors import InputError
from optidel.evaluation import classification
from optidel.evaluation.classification import (
    BINS,
    PENALTIES,
    auroc,
    calibration_error,
    fit_logistic,
    neighbour_probabilities,
    score_classes,
)


def blobs(count: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, classes, count)
    centres = np.random.default_rng(9).normal(size=(classes, 6))
    return centres[kinds] + rng.normal(size=(count, 6)), kinds[:, None] == np.arange(classes)


@pytest.mark.parametrize("penalty", PENALTIES[2::2])
def test_one_class_an_image_is_scikit_learns_softmax(penalty: float) -> None:
    features, labels = blobs(200, 4)
    probe = classification._fit(features, labels, penalty, True)
    standard = (features - features.mean(0)) / features.std(0)
    reference = LogisticRegression(C=1 / (penalty * 200), max_iter=5000, tol=1e-10)
    reference.fit(standard, labels.argmax(1))
    np.testing.assert_allclose(probe.probabilities(features), reference.predict_proba(standard), atol=2e-4)


def test_several_labels_are_scikit_learns_one_column_after_the_other() -> None:
    features, labels = blobs(150, 3)
    labels[:, 0] |= features[:, 1] > 0.5
    probe = classification._fit(features, labels, 0.01, False)
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
            part = classification._fit(features[inside], labels[inside], penalty, True)
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


@pytest.mark.parametrize("levels", [4, 1000])
def test_scores_are_those_of_scikit_learn(levels: int) -> None:
    rng = np.random.default_rng(levels)
    labels = rng.random((300, 3)) < (0.2, 0.5, 0.7)
    chances = np.round(np.clip(labels * 0.3 + rng.random((300, 3)) * 0.7, 0, 1) * levels) / levels
    scores = score_classes(chances, labels, exclusive=False)
    columns = range(3)
    areas = [roc_auc_score(labels[:, i], chances[:, i]) for i in columns]
    assert scores.auroc == pytest.approx(np.mean(areas), abs=1e-12)
    assert auroc(chances[:, 0], labels[:, 0]) == pytest.approx(areas[0], abs=1e-12)
    balanced = [balanced_accuracy_score(labels[:, i], chances[:, i] >= 0.5) for i in columns]
    assert scores.balanced == pytest.approx(np.mean(balanced))
    brier = [brier_score_loss(labels[:, i], chances[:, i]) for i in columns]
    assert scores.brier == pytest.approx(np.mean(brier))


def test_scores_of_one_class_an_image() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)[:, None] == np.arange(3)
    chances = rng.dirichlet([1, 1, 1], 200) * 0.5 + labels * 0.5
    scores = score_classes(chances, labels, exclusive=True)
    predicted, truth = chances.argmax(1), labels.argmax(1)
    assert scores.balanced == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert scores.auroc == pytest.approx(roc_auc_score(truth, chances, multi_class="ovr"))
    assert scores.brier == pytest.approx(((chances - labels) ** 2).sum(1).mean())


def test_calibration_is_a_slow_count() -> None:
    rng = np.random.default_rng(0)
    confidence, is_right = rng.random(400), rng.random(400) < 0.6
    confidence[0] = 1.0
    expected = 0.0
    for start in range(BINS):
        inside = (confidence >= start / BINS) & ((confidence < (start + 1) / BINS) | (start == BINS - 1))
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - is_right[inside].mean())
    assert calibration_error(confidence, is_right) == pytest.approx(expected, abs=1e-12)
    sure = rng.random(20_000)
    assert calibration_error(sure, rng.random(20_000) < sure) < 0.02


def test_what_cannot_be_judged_is_refused() -> None:
    features, labels = blobs(10, 3)
    with pytest.raises(InputError, match="10 features and 9 labels"):
        fit_logistic(features, labels[:9], exclusive=True)
    with pytest.raises(InputError, match="exactly one class"):
        fit_logistic(features, np.ones_like(labels), exclusive=True)
    with pytest.raises(InputError, match="must be finite"):
        fit_logistic(features * np.nan, labels, exclusive=True)
    with pytest.raises(InputError, match="nothing can be ranked"):
        score_classes(np.ones((4, 1)), np.ones((4, 1), np.bool_), exclusive=False)
    with pytest.raises(InputError, match="must have one shape"):
        score_classes(np.ones((4, 1)), np.ones((4, 2), np.bool_), exclusive=False)
