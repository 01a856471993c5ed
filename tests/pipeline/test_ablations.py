"""OptiDEL's ablations: each changes the result in the way it says, and nothing before the step it
belongs to.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from nano import recipe
from PIL import Image

from optidel.corpus.frames import Corpus
from optidel.errors import BudgetError
from optidel.features.composites import cell_boxes
from optidel.pipeline.items import hardest_of_each
from optidel.pipeline.pipeline import Pipeline
from optidel.recipe import make_recipe
from optidel.records import Composite, KeyPatch, from_table
from optidel.store import Artifact
from optidel.vinformation import information

PATCHES: dict[str, Any] = {"backend": "regions", "candidates": 0.75}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run folder for all: the ablations share index, warm-up and embedding."""
    return tmp_path_factory.mktemp("ablations")


@pytest.fixture
def ablate(nano: object, folder: Path) -> Callable[..., Pipeline]:
    """A pipeline with changed sections ``optidel`` and ``patches``."""
    from pictures import fill

    if not (folder / "corpus").exists():
        fill(folder / "corpus", 24)

    def make(patches: dict[str, Any] | None = None, budget: float = 0.125, **optidel: Any) -> Pipeline:
        changes = {"patches": PATCHES | (patches or {}), "optidel": optidel, "budget": budget}
        return Pipeline(make_recipe(recipe(folder / "corpus", folder, folder / "run", **changes)))

    return make


def kept(artifact: Artifact) -> pl.DataFrame:
    return artifact.table("selection.parquet").filter("kept").sort("rank")


def scores(artifact: Artifact) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(artifact.array("error.npy"), np.float64), np.asarray(
        artifact.array("null_error.npy"), np.float64
    )


def test_the_control_draws_patches_by_the_seed(ablate: Callable[..., Pipeline]) -> None:
    run = ablate(scorer="random", diversity=False)
    error, _ = scores(run.patches)
    first, second = (kept(run.select("optidel-paper", seed))["item"].to_list() for seed in (0, 1))
    expected = np.argsort(-np.random.default_rng(0).random(len(error)), kind="stable")[:12]
    assert first == expected.tolist()
    assert first != second
    assert set(first) != set(np.argsort(-error, kind="stable")[:12].tolist())


def test_scorer_and_diversity_decide_the_order(ablate: Callable[..., Pipeline]) -> None:
    error, null = scores(ablate().patches)
    by_error = kept(ablate(diversity=False).select("optidel-paper", 0))
    assert by_error["item"].to_list() == np.argsort(-error, kind="stable")[:12].tolist()
    by_pvi = kept(ablate(diversity=False, scorer="pvi").select("optidel-paper", 0))
    pvi = information(error, null, 1).pvi
    assert by_pvi["item"].to_list() == np.argsort(pvi, kind="stable")[:12].tolist()
    np.testing.assert_allclose(by_pvi["gain"], -np.sort(pvi)[:12])
    assert set(by_pvi["item"]) != set(by_error["item"])
    diverse = ablate().select("optidel-paper", 0).table("selection.parquet")
    assert set(diverse.filter("kept")["item"]) != set(by_error["item"])
    assert set(diverse["reason"]) & {"within radius of twin", "cluster quota full"}


@pytest.mark.parametrize(("grid", "side"), [(1, 83), (4, 84), (9, 84)])
def test_the_grid_sets_how_many_patches_share_an_image(
    ablate: Callable[..., Pipeline], grid: int, side: int
) -> None:
    run = ablate(grid=grid, budget=0.085)
    composed = run.compose("optidel-paper", 0)
    assert composed is not None
    composites = from_table(Composite, composed.table("composites.parquet"))
    assert [len(composite.sources) for composite in composites] == [grid] * 2
    assert {composite.side for composite in composites} == {side}
    assert len(kept(run.select("optidel-paper", 0))) == 2 * grid


def test_without_composition_the_frames_around_the_hardest_patches_are_trained_on(
    ablate: Callable[..., Pipeline],
) -> None:
    run = ablate(composition=False, diversity=False)
    assert run.compose("optidel-paper", 0) is None
    selected = run.select("optidel-paper", 0)
    patches = [
        patch for patch in from_table(KeyPatch, run.patches.table("patches.parquet")) if not patch.refused
    ]
    order = np.argsort(-scores(run.patches)[0], kind="stable")
    expected = list(dict.fromkeys(patches[place].frame for place in order))[:3]
    assert kept(selected)["id"].to_list() == expected
    table = selected.table("selection.parquet")
    assert sorted(table["id"]) == sorted(frame.id for frame in Corpus.load(run.index).frames)
    assert set(table.filter(~pl.col("id").is_in([patch.frame for patch in patches]))["reason"]) == {
        "no key patch"
    }
    assert selected.json("summary.json")["unit"] == "frame"
    assert len(run.pretrain("optidel-paper", 0).table("log.parquet")) == 4
    assert set(kept(ablate(composition=False).select("optidel-paper", 0))["id"]) <= {
        patch.frame for patch in patches
    }
    with pytest.raises(BudgetError, match=r"without composition.*hold a key patch"):
        ablate(composition=False, budget=1.0).select("optidel-paper", 0)


def test_a_share_of_the_new_images_are_the_whole_frames_of_the_hardest_patches(
    ablate: Callable[..., Pipeline],
) -> None:
    run = ablate(originals=0.5, budget=0.21)
    composed, chosen = run.compose("optidel-paper", 0), kept(run.select("optidel-paper", 0))
    assert composed is not None
    made = from_table(Composite, composed.table("composites.parquet"))
    assert [len(image.sources) for image in made] == [4, 4, 4, 1, 1]
    assert len(chosen) == 3 * 4 + 2
    frames = [name.rpartition("@")[0] for name in chosen["id"]]
    assert [image.sources[0] for image in made[3:]] == list(dict.fromkeys(frames))[:2]
    rest = [
        chosen["id"][place]
        for place in range(14)
        if place not in [frames.index(image.sources[0]) for image in made[3:]]
    ]
    dealt = [
        f"{source}@{','.join(map(str, box))}"
        for image in made[:3]
        for source, box in zip(image.sources, image.boxes, strict=True)
    ]
    assert sorted(dealt) == sorted(rest)
    pixels = run.pixels.array("pixels.npy")
    for image, drawn in zip(made[3:], composed.array("pixels.npy")[3:], strict=True):
        whole = pixels[[frame.id for frame in run.corpus.frames].index(image.sources[0])]
        assert np.abs(drawn.astype(float) - whole).mean() < 4  # enlarged on the way
    assert len(run.pretrain("optidel-paper", 0).table("log.parquet")) == 4


def test_random_squares_take_the_place_of_the_regions(ablate: Callable[..., Pipeline]) -> None:
    regions, squares = ablate(), ablate({"backend": "random"})
    first, second = (run.patches.table("patches.parquet") for run in (regions, squares))
    assert set(second["frame"]) <= set(first["frame"]) | set(second["frame"])
    assert second["box"].to_list() != first["box"].to_list()
    assert squares.patches.json("summary.json")["backend"] == "random"
    inside = second.select(side=pl.col("box").list.get(2) - pl.col("box").list.get(0))["side"] / 72
    assert inside.is_between(0.2, 0.62).all()
    assert regions.embed.path == squares.embed.path


def test_whole_frames_take_the_place_of_the_regions(ablate: Callable[..., Pipeline]) -> None:
    regions, whole = ablate(), ablate({"backend": "frames"})
    table = whole.patches.table("patches.parquet")
    boxes = {frame.id: [0, 0, frame.width, frame.height] for frame in whole.corpus.frames}
    assert table["frame"].n_unique() == len(table) == whole.patches.json("summary.json")["frames"]
    assert set(regions.patches.table("patches.parquet")["frame"]) <= set(table["frame"])
    assert not any(table["refused"])
    assert table["box"].to_list() == [boxes[frame] for frame in table["frame"]]

    # Four frames, each squeezed into its cell, are one composite.
    composed = whole.compose("optidel-paper", 0)
    assert composed is not None
    made = from_table(Composite, composed.table("composites.parquet"))
    sources = [source for composite in made for source in composite.sources]
    assert len(set(sources)) == len(sources) == 4 * len(made)
    rows = {frame.id: row for row, frame in enumerate(whole.corpus.frames)}
    images = dict(whole.corpus.images(list(rows.values())))
    with Image.open(composed.file(f"images/{made[0].id}.png")) as picture:
        drawn = np.asarray(picture)
    for source, (x0, y0, x1, y1) in zip(made[0].sources, cell_boxes(made[0]), strict=True):
        frame = Image.fromarray(images[rows[source]])
        small = frame.resize((x1 - x0, y1 - y0), Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(drawn[y0:y1, x0:x1], np.asarray(small))


def test_without_the_filter_only_size_and_overlap_refuse(
    nano: object, labelled: Path, tmp_path: Path
) -> None:
    from pictures import picture

    folder = tmp_path / "framed"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(7):  # too few for an overlay to be learnt
        image = np.zeros((96, 128, 3), np.uint8)
        image[12:84, 16:112] = picture(rng)[0]  # a device's black border
        image[40:52, 60:74] = 255  # and its glare
        Image.fromarray(image).save(folder / f"{number}.png")
    runs = [
        Pipeline(
            make_recipe(
                recipe(folder, labelled, tmp_path / "run", patches=PATCHES | {"filter": asked, "points": 12})
            )
        )
        for asked in (True, False)
    ]
    assert not set(runs[1].patches.table("patches.parquet")["refused"]) & {
        "border",
        "glare",
        "flat",
        "overlay",
    }
    lit = [
        run.patches.table("patches.parquet").filter(pl.col("refused") == "")["box"].to_list() for run in runs
    ]
    assert all(x0 >= 14 and y0 >= 10 and x1 <= 114 and y1 <= 86 for x0, y0, x1, y1 in lit[0])
    assert any(x0 < 14 or y0 < 10 or x1 > 114 or y1 > 86 for x0, y0, x1, y1 in lit[1])


def test_pvi_ranks_whole_frames_by_error_and_null_error(ablate: Callable[..., Pipeline]) -> None:
    run = ablate()
    expected = np.argsort(information(*scores(run.embed), 1).pvi, kind="stable")[:3]
    assert kept(run.select("pvi", 0))["item"].to_list() == expected.tolist()
    assert (
        kept(run.select("hardest", 0))["item"].to_list()
        == np.argsort(-scores(run.embed)[0], kind="stable")[:3].tolist()
    )


def test_the_hardest_patch_stands_for_its_frame() -> None:
    patches = [
        KeyPatch(frame=name, box=(0, 0, 9, 9), area=9, predicted_iou=1.0, stability=1.0, refused="")
        for name in "aabbc"
    ]
    assert hardest_of_each(patches, np.array([1.0, 3.0, 2.0, 2.0, 0.0])).tolist() == [1, 2, 4]
