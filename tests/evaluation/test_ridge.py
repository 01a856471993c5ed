"""The closed-form probe equals scikit-learn's ridge; its choices equal slow loops."""

import time

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import average_precision_score

from optidel.datasets.readings import VOID
from optidel.errors import InputError
from optidel.evaluation import ridge
from optidel.evaluation.metrics import score_each
from optidel.evaluation.native import classes_at
from optidel.evaluation.ridge import (
    PENALTIES,
    THRESHOLDS,
    average_precision,
    fit_probe,
    fold_of,
    iou_by_threshold,
    moments,
    patch_shares,
    with_neighbours,
)

GRID, PATCH, DIMS, CLASSES = 6, 4, 10, 3
SIDE = GRID * PATCH


def labelled(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Tokens that know something of the classes of their patch, and masks."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, SIDE, SIDE), np.uint8)
    for mask in masks:
        for kind in (1, 2):
            y, x = rng.integers(0, SIDE - 10, 2)
            mask[y : y + rng.integers(4, 12), x : x + rng.integers(4, 12)] = kind
    shares, _ = patch_shares(masks, GRID, CLASSES)
    mixing = np.random.default_rng(99).normal(size=(CLASSES - 1, DIMS))
    tokens = shares @ mixing + 0.5 * rng.normal(size=(count, GRID, GRID, DIMS)) + 3
    return tokens.astype(np.float32), masks


def test_weights_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(2, 3, (400, 7)), rng.random((400, 2))
    x[:, 3] += y[:, 0]
    weight = rng.random(400)
    mean = np.average(x, axis=0, weights=weight)
    deviation = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=weight))
    solver = ridge._solver(moments(x, y, weight))
    for penalty in PENALTIES[::3]:
        reference = Ridge(alpha=penalty * weight.sum()).fit((x - mean) / deviation, y, sample_weight=weight)
        weights, bias = solver.solve(penalty)
        np.testing.assert_allclose(weights * deviation[:, None], reference.coef_.T, atol=1e-9)
        np.testing.assert_allclose(x @ weights + bias, reference.predict((x - mean) / deviation), atol=1e-9)


def test_errors_from_moments_are_those_of_predictions() -> None:
    rng = np.random.default_rng(1)
    x, y, weight = rng.normal(5, 2, (300, 6)), rng.random((300, 2)), rng.random(300)
    first, second = (moments(x[part], y[part], weight[part]) for part in (slice(200), slice(200, None)))
    errors = ridge._held_out_errors((first + second) - second, second)
    for penalty, row in zip(PENALTIES, errors, strict=True):
        weights, bias = ridge._solver(first).solve(penalty)
        apart = x[200:] @ weights + bias - y[200:]
        np.testing.assert_allclose(row, (weight[200:, None] * apart**2).sum(axis=0), rtol=1e-9)


def test_penalty_and_threshold_are_what_a_slow_search_finds() -> None:
    tokens, masks = labelled(20)
    groups = [f"g{row % 7}" for row in range(20)]
    probe = fit_probe(lambda rows: tokens[rows], masks, CLASSES, groups)
    folds = fold_of(groups)
    shares, _ = patch_shares(masks, GRID, CLASSES)
    x, y = tokens.reshape(-1, DIMS).astype(float), shares.reshape(-1, CLASSES - 1)
    fold_x = np.repeat(folds, GRID * GRID)
    for kind in range(CLASSES - 1):
        errors, held_out = [], {}
        for penalty in PENALTIES:
            predicted = np.empty(len(x))
            for fold in range(5):
                inside = fold_x != fold
                mean, deviation = x[inside].mean(0), x[inside].std(0)
                model = Ridge(alpha=penalty * inside.sum()).fit(
                    (x[inside] - mean) / deviation, y[inside, kind]
                )
                predicted[~inside] = model.predict((x[~inside] - mean) / deviation)
            errors.append(((predicted - y[:, kind]) ** 2).sum())
            held_out[penalty] = predicted.reshape(20, GRID, GRID)
        best = PENALTIES[int(np.argmin(errors))]
        assert probe.penalties[kind] == pytest.approx(best)
        means = []
        for threshold in THRESHOLDS:
            overlaps = []
            for row in range(20):
                margin = held_out[best][row].astype(np.float32)[None] - np.float32(threshold)
                guess = classes_at(np.concatenate([np.zeros_like(margin) - 1e-9, margin]), SIDE, SIDE)
                truth = (masks[row] == kind + 1).astype(np.uint8)
                overlaps.append(score_each([(guess, truth)], 2).miou)
            means.append(np.mean(overlaps))
        ours = means[int(np.abs(probe.thresholds[kind] - THRESHOLDS).argmin())]
        assert ours == pytest.approx(max(means), abs=2e-3)


def test_the_probe_finds_what_tokens_know_and_more_than_a_fixed_threshold() -> None:
    tokens, masks = labelled(60)
    unseen, truth = labelled(40, seed=7)
    probe = fit_probe(lambda rows: with_neighbours(tokens[rows]), masks, CLASSES)
    logits = probe.logits(with_neighbours(unseen))
    guesses = [classes_at(image, SIDE, SIDE) for image in logits]
    overlap = score_each(zip(guesses, truth, strict=True), CLASSES).miou
    assert overlap > 0.5
    noise = np.random.default_rng(3).normal(size=tokens.shape).astype(np.float32)
    blind = fit_probe(lambda rows: noise[rows], masks, CLASSES)
    guesses = [classes_at(image, SIDE, SIDE) for image in blind.logits(noise[:40])]
    assert score_each(zip(guesses, truth, strict=True), CLASSES).miou < overlap / 2


def test_nothing_is_drawn_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, masks = labelled(30)
    first, again = (fit_probe(lambda rows: tokens[rows], masks, CLASSES) for _ in range(2))
    np.testing.assert_array_equal(first.weights, again.weights)
    monkeypatch.setattr(ridge, "BLOCK", 4)
    blocks = fit_probe(lambda rows: tokens[rows], masks, CLASSES)
    np.testing.assert_allclose(first.weights, blocks.weights, atol=1e-10)
    np.testing.assert_array_equal(first.thresholds, blocks.thresholds)


def test_void_tokens_count_nowhere() -> None:
    tokens, masks = labelled(24)
    void = masks.copy()
    void[:, :, :PATCH] = VOID
    changed = tokens.copy()
    changed[:, :, 0] = 1e6  # what lies under void may be anything
    kept = fit_probe(lambda rows: changed[rows], void, CLASSES)
    assert np.isfinite(kept.weights).all()
    shares, counted = patch_shares(void, GRID, CLASSES)
    assert (counted[:, :, 0] == 0).all()
    assert (shares[:, :, 1:] == patch_shares(masks, GRID, CLASSES)[0][:, :, 1:]).all()
    flat_x, flat_y = tokens[:, :, 1:].reshape(-1, DIMS), shares[:, :, 1:].reshape(-1, CLASSES - 1)
    alone = ridge._solver(moments(flat_x.astype(float), flat_y, np.ones(len(flat_x)))).solve(
        kept.penalties[0]
    )
    np.testing.assert_allclose(kept.weights[:, 0], alone[0][:, 0], atol=1e-6)


def test_folds_hold_whole_groups_of_even_size() -> None:
    rng = np.random.default_rng(0)
    groups = [f"p{number}" for number in rng.integers(0, 30, 200)]
    folds = fold_of(groups)
    assert all(len(set(folds[np.array(groups) == name])) == 1 for name in set(groups))
    assert np.ptp(np.bincount(folds)) <= max(groups.count(name) for name in set(groups))
    assert fold_of([None] * 3).tolist() == [0, 1, 2]
    tokens, masks = labelled(6)
    probe = fit_probe(lambda rows: tokens[rows], masks, CLASSES, ["one"] * 6)
    assert probe.penalties.tolist() == [0.1, 0.1]
    with pytest.raises(InputError, match="at least one class, got 6 and 0"):
        fit_probe(lambda rows: tokens[rows], masks, 1)


def test_neighbourhoods_are_means_of_what_is_there() -> None:
    tokens = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)
    both = with_neighbours(tokens)
    np.testing.assert_array_equal(both[..., :3], tokens)
    for row, column in np.ndindex(4, 5):
        part = tokens[:, max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
        np.testing.assert_allclose(both[:, row, column, 3:], part.mean((1, 2)), atol=1e-6)


@pytest.mark.parametrize("levels", [5, 1000])
def test_average_precision_is_that_of_scikit_learn(levels: int) -> None:
    rng = np.random.default_rng(levels)
    scores, truth = rng.integers(0, levels, 500) / levels, (rng.random(500) < 0.2).astype(np.uint8)
    assert average_precision(scores, truth) == pytest.approx(
        average_precision_score(truth, scores), abs=1e-12
    )
    assert np.isnan(average_precision(scores, np.zeros(500, np.uint8)))


def test_iou_of_every_threshold_is_that_of_a_loop() -> None:
    rng = np.random.default_rng(2)
    shares, truth = rng.random(300).astype(np.float32), rng.random(300) < 0.3
    for threshold, overlap in zip(THRESHOLDS, iou_by_threshold(shares, truth), strict=True):
        guess = shares >= threshold
        assert overlap == pytest.approx((guess & truth).sum() / (guess | truth).sum())
    nothing = iou_by_threshold(np.zeros(9, np.float32), np.zeros(9, np.bool_))
    assert (nothing == 1).all()


def test_a_hundred_images_are_fitted_in_seconds() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=(100, 8, 8, 192)).astype(np.float32)
    masks = (rng.random((100, 64, 64)) < 0.2).astype(np.uint8)
    start = time.process_time()
    fit_probe(lambda rows: with_neighbours(tokens[rows]), masks, 2)
    assert time.process_time() - start < 10
