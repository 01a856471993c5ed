import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.metrics.meandice import compute_dice
from monai.metrics.meaniou import compute_iou

from optidel.errors import InputError
from optidel.evaluation.metrics import normdel, score

PAIRS = hnp.arrays(
    np.uint8, st.tuples(st.just(2), st.integers(1, 4), st.just(5), st.just(5)), elements=st.integers(0, 3)
)


def slow(guess, truth, classes):
    """Pixel sets, one image and class at a time."""
    iou, dice = [], []
    for j in range(1, classes):
        a, b = ({tuple(place) for place in np.argwhere(mask == j)} for mask in (guess, truth))
        iou.append(len(a & b) / len(a | b) if a | b else None)
        dice.append(2 * len(a & b) / (len(a) + len(b)) if a | b else None)
    if all(value is None for value in iou):
        return [1.0] * len(iou), [1.0] * len(dice)
    return [np.nan if value is None else value for value in iou], [
        np.nan if value is None else value for value in dice
    ]


@given(PAIRS)
def test_scores_equal_a_slow_reference(pair):
    scores = score(pair[0], pair[1], 4)
    for row, (guess, truth) in enumerate(zip(*pair, strict=True)):
        iou, dice = slow(guess, truth, 4)
        np.testing.assert_allclose(scores.iou[row], iou)
        np.testing.assert_allclose(scores.dice[row], dice)
    assert np.isfinite(scores.image_iou).all()
    assert scores.miou == pytest.approx(np.mean([np.nanmean(row) for row in scores.iou]))
    assert 0 <= scores.miou <= scores.mdice <= 1


@given(PAIRS)
def test_scores_are_symmetric_and_do_not_depend_on_where_pixels_lie(pair):
    forth = score(pair[0], pair[1], 4)
    back = score(pair[1, :, ::-1], pair[0, :, ::-1], 4)
    np.testing.assert_array_equal(forth.iou, back.iou)
    np.testing.assert_array_equal(forth.dice, back.dice)


def test_scores_agree_with_monai():
    rng = np.random.default_rng(0)
    guess, truth = rng.integers(0, 3, size=(2, 3, 16, 16)).astype(np.uint8)
    channels = [
        torch.nn.functional.one_hot(torch.from_numpy(mask).long(), 3).permute(0, 3, 1, 2)
        for mask in (guess, truth)
    ]
    scores = score(guess, truth, 3)
    np.testing.assert_allclose(scores.iou, compute_iou(*channels, include_background=False), rtol=1e-6)
    np.testing.assert_allclose(scores.dice, compute_dice(*channels, include_background=False), rtol=1e-6)


def test_an_empty_prediction_of_an_empty_mask_is_right_and_a_full_one_is_wrong():
    empty, full = np.zeros((1, 4, 4), np.uint8), np.ones((1, 4, 4), np.uint8)
    assert score(empty, empty, 2).miou == 1.0
    assert score(full, empty, 2).miou == 0.0
    assert score(empty, full, 2).mdice == 0.0


def test_a_class_absent_from_an_image_neither_helps_nor_harms_it():
    truth = np.array([[[0, 1], [1, 1]]], np.uint8)
    scores = score(np.array([[[0, 1], [0, 0]]], np.uint8), truth, 3)
    assert np.isnan(scores.iou[0, 1])
    assert scores.miou == pytest.approx(1 / 3)


def test_scores_refuse_other_shapes_and_unknown_classes():
    masks = np.zeros((2, 4, 4), np.uint8)
    with pytest.raises(InputError, match="one shape"):
        score(masks[:1], masks, 2)
    with pytest.raises(InputError, match="at least one image"):
        score(masks[:0], masks[:0], 2)
    with pytest.raises(InputError, match="class 2 found, but classes is 2"):
        score(masks + np.uint8(2), masks, 2)
    with pytest.raises(InputError, match="at least 2"):
        score(masks, masks, 1)


@pytest.mark.parametrize(("miou", "kept", "published"), [(0.7202, 1.0, 0.5659), (0.7095, 0.05, 0.6626)])
def test_normdel_gives_the_published_values(miou, kept, published):
    assert normdel(miou, kept) == pytest.approx(published, abs=5e-5)


def test_normdel_without_a_price_ignores_the_data_and_has_a_known_weakness():
    assert normdel(0.5, 0.05, alpha=0) == normdel(0.5, 1.0, alpha=0)
    assert normdel(0.279, 0.05) == pytest.approx(normdel(0.72, 1.0), abs=5e-4)


@given(st.floats(0, 1), st.floats(0.001, 1), st.floats(0, 10))
def test_normdel_stays_in_its_range_and_rises_with_accuracy(miou, kept, alpha):
    assert 0.5 <= normdel(miou, kept, alpha) <= 0.7311
    assert normdel(miou, kept, alpha) <= normdel(1.0, kept, alpha)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((72.0, 0.5), "0.72 for 72 points"),
        ((0.5, 0.0), "kept"),
        ((0.5, 1.5), "kept"),
        ((0.5, 0.5, -1.0), "alpha"),
        ((float("nan"), 0.5), "miou"),
    ],
)
def test_normdel_names_the_value_out_of_range(arguments, message):
    with pytest.raises(InputError, match=message):
        normdel(*arguments)
