from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optidel.errors import BudgetError, RecipeError
from optidel.methods import composition
from optidel.methods.composition import compose_plan, originals
from optidel.records import Composite, KeyPatch


def key_patches(frames):
    return [
        KeyPatch(
            frame=frame, box=(place, 0, place + 8, 8), area=40, predicted_iou=0.9, stability=0.9, refused=""
        )
        for place, frame in enumerate(frames)
    ]


def plan(frames, grid=4, seed=0, labels=None):
    return compose_plan(
        key_patches(frames), grid=grid, side=64, rng=np.random.default_rng(seed), labels=labels
    )


def meetings(composites: list[Composite], name_of) -> int:
    """Pairs inside a composite with the same name."""
    return sum(
        count * (count - 1) // 2
        for c in composites
        for count in Counter(map(name_of, zip(c.sources, c.boxes, strict=True))).values()
    )


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_every_patch_is_used_once_and_frames_meet_only_when_they_must(data):
    grid = data.draw(st.sampled_from((1, 4, 9)))
    composites = data.draw(st.integers(1, 8))
    frames = data.draw(
        st.lists(st.sampled_from("abcdefgh"), min_size=grid * composites, max_size=grid * composites)
    )
    labels = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(frames), max_size=len(frames))))
    made = plan(frames, grid, labels=labels)
    assert [c.id for c in made] == [f"composite-{number:05d}" for number in range(1, composites + 1)]
    dealt = sorted((box[0], source) for c in made for source, box in zip(c.sources, c.boxes, strict=True))
    assert dealt == list(enumerate(frames))
    for frame, count in Counter(frames).items():
        most = max(c.sources.count(frame) for c in made)
        assert most == 1 or count > composites


def test_frames_never_meet_across_windows(monkeypatch):
    monkeypatch.setattr(composition, "WINDOW", 3)
    rng = np.random.default_rng(1)
    frames = [f"f{number}" for number in rng.permutation(np.repeat(np.arange(10), 4))]
    made = plan(frames, labels=rng.integers(0, 4, 40))
    assert all(len(set(c.sources)) == 4 for c in made)


def test_a_composite_mixes_clusters():
    rng = np.random.default_rng(2)
    labels = rng.permutation(np.repeat(np.arange(4), 25))
    frames = [str(number) for number in range(100)]
    mixed, unmixed = plan(frames, labels=labels), plan(frames)
    assert meetings(mixed, lambda patch: labels[patch[1][0]]) == 0
    assert meetings(unmixed, lambda patch: labels[patch[1][0]]) > 10


def test_it_is_ordered_by_the_best_patch_and_repeats_with_the_seed():
    frames = [str(number % 7) for number in range(36)]
    made = plan(frames, 9, seed=3)
    best = [min(box[0] for box in c.boxes) for c in made]
    assert best == sorted(best)
    assert made == plan(frames, 9, seed=3)
    assert made != plan(frames, 9, seed=4)


@pytest.mark.parametrize(
    ("frames", "grid", "side", "error", "says"),
    [
        ("abcde", 4, 64, BudgetError, "multiple of 4 patches, got 5"),
        ("", 4, 64, BudgetError, "got 0"),
        ("abcdef", 6, 64, RecipeError, "1, 4, 9 or 16"),
        ("abcd", 4, 1, RecipeError, "at least 2 px"),
    ],
)
def test_it_refuses(frames, grid, side, error, says):
    with pytest.raises(error, match=says):
        compose_plan(key_patches(frames), grid=grid, side=side, rng=np.random.default_rng(0))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=20), st.integers(0, 7))
def test_the_best_patch_of_each_of_the_first_frames_stands_for_it(frames, count):
    distinct = list(dict.fromkeys(frames))
    if count > len(distinct):
        with pytest.raises(BudgetError, match=f"come from {len(distinct)}; lower optidel.originals"):
            originals(key_patches(frames), count)
    else:
        assert originals(key_patches(frames), count).tolist() == [
            frames.index(frame) for frame in distinct[:count]
        ]
