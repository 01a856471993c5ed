"""Uneven sampling: rows follow from seed and step alone, each by its weight, and batches are balanced."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import NANO

from optidel.errors import RecipeError
from optidel.methods.weights import balanced_weights
from optidel.training import pretrain as module
from optidel.training.dealing import Frequencies, weighted_rows
from optidel.training.pretrain import PretrainOptions, pretrain


def epoch(frequencies: Frequencies, number: int, seed: int = 0) -> list[int]:
    count = len(frequencies.weights)
    return weighted_rows(number, count, frequencies, seed).tolist()


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 40), seed=st.integers(0, 99), grouped=st.booleans())
def test_an_epoch_shows_a_row_as_often_as_its_weight_says_but_for_the_rounding(
    count: int, seed: int, grouped: bool
) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.exponential(1, count)
    concepts = rng.integers(0, 4, count) if grouped else None
    shown = Counter(epoch(Frequencies(weights=weights, concepts=concepts), 3, seed))
    for row, weight in enumerate(weights / weights.mean()):
        assert np.floor(weight - 1e-5) <= shown[row] <= np.ceil(weight + 1e-5)
    assert sum(shown.values()) == count


def test_over_many_epochs_a_row_is_shown_as_often_as_its_weight_says() -> None:
    weights = np.array([0.25, 0.5, 1.0, 2.0, 1.25])
    shown = Counter(row for number in range(3000) for row in epoch(Frequencies(weights=weights), number))
    frequency = np.array([shown[row] for row in range(5)]) / 3000
    np.testing.assert_allclose(frequency, weights, atol=0.03)


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 30), batch=st.integers(1, 9), seed=st.integers(0, 9), scale=st.floats(0.1, 10))
def test_equal_weights_show_each_row_once_an_epoch(count: int, batch: int, seed: int, scale: float) -> None:
    equal = Frequencies(weights=np.full(count, scale))
    steps = -(-2 * count // batch)
    rows = np.concatenate([weighted_rows(step, batch, equal, seed) for step in range(steps)])
    for start in range(0, len(rows) - count + 1, count):
        assert sorted(rows[start : start + count]) == list(range(count))


@settings(max_examples=30, deadline=None)
@given(batch=st.integers(1, 12), seed=st.integers(0, 9), grouped=st.booleans())
def test_batches_are_a_walk_through_epochs_joined_end_to_end(batch: int, seed: int, grouped: bool) -> None:
    rng = np.random.default_rng(seed)
    concepts = rng.integers(0, 3, 10) if grouped else None
    frequencies = Frequencies(weights=rng.exponential(1, 10), concepts=concepts)
    expected = [row for number in range(5) for row in epoch(frequencies, number, seed)]
    steps = range(40 // batch)
    found = np.concatenate([weighted_rows(step, batch, frequencies, seed) for step in steps])
    assert found.tolist() == expected[: len(found)]


def test_every_batch_holds_its_share_of_every_concept() -> None:
    sizes = [120, 40, 20, 20]
    concepts = np.repeat(np.arange(4), sizes)
    weights = balanced_weights(concepts)
    frequencies = Frequencies(weights=weights, concepts=concepts)
    share = np.bincount(concepts, weights=weights) / len(concepts)
    for step in range(6):  # whole batches of two epochs
        rows = weighted_rows(step, 32, frequencies, 0)
        held = np.bincount(concepts[rows], minlength=4)
        # One showing more or less at either end of the batch, and one for the rounding of the epoch.
        assert (np.abs(held - 32 * share) < 2.01).all()


def test_balanced_weights_let_every_concept_count_alike_up_to_the_clip() -> None:
    concepts = np.repeat([0, 1, 2], [60, 30, 10])
    weights = balanced_weights(concepts, clip=100)
    np.testing.assert_allclose(np.bincount(concepts, weights=weights), 100 / 3)
    clipped = balanced_weights(np.repeat([0, 1], [99, 1]))
    assert clipped.max() == 4
    assert clipped.mean() == pytest.approx(1)
    with pytest.raises(RecipeError, match="clip must be at least 1"):
        balanced_weights(concepts, clip=0.5)


def images(count: int = 20) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def test_training_shows_what_the_frequencies_say_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    frequencies = Frequencies(weights=rng.exponential(1, 20), concepts=rng.integers(0, 3, 20))
    options = PretrainOptions(steps=12, batch=8, checkpoint_every=5, sampling="balanced")
    whole, log = pretrain(
        images(), None, NANO, options, seed=1, checkpoint=tmp_path / "a.pt", frequencies=frequencies
    )
    calls: list[np.ndarray] = []

    def dies(*arguments: object) -> np.ndarray:
        if len(calls) == 8:
            calls.clear()
            raise KeyboardInterrupt
        calls.append(weighted_rows(*arguments))  # type: ignore[arg-type]
        return calls[-1]

    monkeypatch.setattr(module, "weighted_rows", dies)
    monkeypatch.setattr(module, "ahead", map)  # what is counted is what is trained on
    with pytest.raises(KeyboardInterrupt):
        pretrain(images(), None, NANO, options, seed=1, checkpoint=tmp_path / "b.pt", frequencies=frequencies)
    resumed, again = pretrain(
        images(), None, NANO, options, seed=1, checkpoint=tmp_path / "b.pt", frequencies=frequencies
    )
    assert [rows.tolist() for rows in calls] == [
        weighted_rows(step, 8, frequencies, 1).tolist() for step in range(5, 12)
    ]
    pairs = zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)
    assert log.equals(again)


def test_tiles_cannot_be_shown_unevenly(tmp_path: Path) -> None:
    options = PretrainOptions(tiles=4, sampling="weighted")
    frequencies = Frequencies(weights=np.ones(20))
    with pytest.raises(RecipeError, match=r"pretrain\.sampling = 'weighted' shows whole images"):
        pretrain(images(), None, NANO, options, seed=0, checkpoint=tmp_path / "c.pt", frequencies=frequencies)
