"""Scores of classes equal scikit-learn, their values by image DeLong, and intervals of them hold."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, roc_auc_score

from optidel.errors import InputError
from optidel.evaluation.class_scores import BINS, auroc, calibration_error, class_values, score_classes
from optidel.evaluation.intervals import difference_interval, mean_interval

NAMES = ("auroc", "balanced", "ece", "brier")


def delong(first: np.ndarray, second: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """The difference of two AUROCs and its variance, pair by pair as DeLong et al. 1988 write it."""
    placements = []
    for scores in (first, second):
        kernel = np.array([[(p > n) + (p == n) / 2 for n in scores[~truth]] for p in scores[truth]])
        placements.append((kernel.mean(axis=1), kernel.mean(axis=0), kernel.mean()))
    positives = np.cov(placements[0][0], placements[1][0])
    negatives = np.cov(placements[0][1], placements[1][1])
    total = positives / truth.sum() + negatives / (~truth).sum()
    return placements[0][2] - placements[1][2], total[0, 0] + total[1, 1] - 2 * total[0, 1]


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


def test_values_have_the_variance_of_delong_also_of_a_difference() -> None:
    rng = np.random.default_rng(3)
    truth = rng.random(400) < 0.3
    first, second = (truth * gain + rng.normal(size=400) for gain in (0.8, 1.4))
    ours = [
        class_values(scores[:, None], truth[:, None], exclusive=False).auroc
        for scores in (norm.cdf(first), norm.cdf(second))
    ]
    difference, variance = delong(norm.cdf(first), norm.cdf(second), truth)
    gap = ours[0] - ours[1]
    assert gap.mean() == pytest.approx(difference, abs=1e-12)
    # Both divide by a number of images less one, of all or of each kind.
    assert gap.var(ddof=1) / 400 == pytest.approx(variance, rel=0.01)


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_mean_of_the_values_is_the_score_and_a_value_what_an_image_moves(exclusive: bool) -> None:
    rng = np.random.default_rng(5)
    kinds = rng.integers(0, 3, 500)
    labels = kinds[:, None] == np.arange(3)
    chances = rng.dirichlet([1, 1, 1], 500) * 0.6 + labels * 0.4
    values = class_values(chances, labels, exclusive=exclusive)
    scores = score_classes(chances, labels, exclusive=exclusive)
    for name in NAMES:
        assert getattr(values, name).mean() == pytest.approx(getattr(scores, name), abs=1e-12)
    # Leaving an image out moves the score by its value's distance to the mean, to the second order.
    for row in range(0, 500, 50):
        rest = np.arange(500) != row
        without = score_classes(chances[rest], labels[rest], exclusive=exclusive)
        for name in ("auroc", "balanced", "brier"):
            moved = (getattr(scores, name) - getattr(without, name)) * 499
            assert moved == pytest.approx(getattr(values, name)[row] - getattr(scores, name), abs=0.02)


def test_labels_that_are_not_known_take_no_part() -> None:
    rng = np.random.default_rng(6)
    labels = rng.random((200, 1)) < 0.4
    chances = np.clip(labels * 0.3 + rng.random((200, 1)) * 0.7, 0, 1)
    known = rng.random((200, 1)) < 0.7
    with_unknown = score_classes(chances, labels, exclusive=False, known_MK=known)
    alone = score_classes(chances[known[:, 0]], labels[known[:, 0]], exclusive=False)
    for name in NAMES:
        assert getattr(with_unknown, name) == pytest.approx(getattr(alone, name), abs=1e-12)


@pytest.mark.parametrize(("images", "gain"), [(60, 1.0), (200, 2.0)])
def test_intervals_hold_the_true_auroc_and_difference(images: int, gain: float) -> None:
    rng = np.random.default_rng(images)
    true, other = (float(norm.cdf(value / np.sqrt(2))) for value in (gain, gain / 2))
    trials, held, held_difference = 300, 0, 0
    for _ in range(trials):
        truth = rng.permutation(np.arange(images) < images // 3)
        shared = rng.normal(size=images)
        scores = [truth * by + (shared + rng.normal(size=images)) / np.sqrt(2) for by in (gain, gain / 2)]
        first, second = (
            class_values(norm.cdf(each)[:, None], truth[:, None], exclusive=False).auroc for each in scores
        )
        interval = mean_interval(first, rng, resamples=200)
        held += interval.low <= true <= interval.high
        difference = difference_interval(first, second, rng, resamples=200)
        held_difference += difference.low <= true - other <= difference.high
    # Three standard errors of 300 trials are .038; of few images AUROC near one is skewed.
    assert 0.91 <= held / trials <= 0.99
    assert 0.91 <= held_difference / trials <= 0.99


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(InputError, match="nothing can be ranked"):
        score_classes(np.ones((4, 1)), np.ones((4, 1), np.bool_), exclusive=False)
    with pytest.raises(InputError, match="must have one shape"):
        score_classes(np.ones((4, 1)), np.ones((4, 2), np.bool_), exclusive=False)
