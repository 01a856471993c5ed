"""Held-out frames: whole groups, never chosen, never trained on, and what every encoder is measured on."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import polars as pl
import pytest
from nano import recipe
from pictures import fill
from PIL import Image as PillowImage

from optidel.corpus.frames import Corpus
from optidel.errors import RecipeError
from optidel.pipeline.pipeline import Pipeline
from optidel.pipeline.steps.holdout import NEAR, held_out_rows, share_of, units_of
from optidel.readers.decode import fit
from optidel.recipe import make_recipe
from optidel.records import Frame, to_table
from optidel.report import write_report
from optidel.runs.collect import read_run
from optidel.training.heldout import held_out

Make = Callable[..., Path]
PATTERN = r"^(?P<patient>p\d+)/"


def frame(number: int, **changes: Any) -> Frame:
    base = Frame(
        id=f"{number}.png", source=f"{number}.png", locator="", height=8, width=8, channels=3, group=None,
        modality=None, sha256=f"{number * 7919 % 65536:064x}", flaw="",
    )  # fmt: skip
    return replace(base, **changes)


def far_hashes(count: int, rng: np.random.Generator) -> list[str]:
    """Perceptual hashes of 256 random bits: some 128 of them differ."""
    return [rng.bytes(32).hex() for _ in range(count)]


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    """Eight patients of three frames each."""
    for number in range(8):
        fill(tmp_path / "corpus" / f"p{number}", 3, seed=number)
    return tmp_path / "corpus"


def pipeline(images: Path, out: Path, labelled: Path | None = None, **changes: Any) -> Pipeline:
    corpus = {"pattern": PATTERN, "holdout": 0.25} | changes.pop("corpus", {})
    return Pipeline(make_recipe(recipe(images, labelled or images, out, corpus=corpus, **changes)))


def test_units_are_the_components_of_a_slow_reference() -> None:
    rng = np.random.default_rng(0)
    frames, perceptual = [], far_hashes(40, rng)
    for number in range(40):
        changes: dict[str, Any] = {}
        if number % 5 == 0:
            changes["group"] = f"g{number % 3}"
        if number % 7 == 0:
            changes["source"] = f"video{number % 2}.mp4"
        if number in (3, 17):
            changes["sha256"] = "f" * 64
        frames.append(frame(number, **changes))
    near = bytearray(bytes.fromhex(perceptual[8]))
    for bit in range(NEAR):
        near[bit // 8] ^= 1 << bit % 8
    perceptual[9] = bytes(near).hex()
    near[NEAR // 8] ^= 1
    perceptual[11] = bytes(near).hex()  # one bit too far from 8, but near to 9
    frames[20] = replace(frames[20], flaw="blank", group=None)
    perceptual[20] = perceptual[1]  # what is blank resembles by chance

    unit = list(range(40))
    for one, two in combinations(range(40), 2):
        first, second = frames[one], frames[two]
        bits = (int(perceptual[one], 16) ^ int(perceptual[two], 16)).bit_count()
        together = (
            first.source == second.source
            or first.sha256 == second.sha256
            or (first.group is not None and first.group == second.group)
            or (bits <= NEAR and not first.flaw and not second.flaw)
        )
        if together:
            old, new = unit[two], unit[one]
            unit = [new if value == old else value for value in unit]
    found = units_of(to_table(Frame, frames), pl.Series(perceptual))
    expected = np.array(unit)
    np.testing.assert_array_equal(found[:, None] == found, expected[:, None] == expected)
    assert found[8] == found[11]
    assert found[20] != found[1]


@pytest.mark.parametrize("share", [0.03, 0.1, 0.3])
def test_whole_units_are_held_out_up_to_the_share(share: float) -> None:
    rng = np.random.default_rng(1)
    frames = [frame(number) for number in range(400)]
    units = rng.integers(0, 120, 400)
    rows = held_out_rows(to_table(Frame, frames), units, share)
    assert 0.8 * share * 400 <= len(rows) <= round(share * 400)
    assert not set(units[rows]) & set(np.delete(units, rows))
    assert rows.tolist() == sorted(rows)

    order = rng.permutation(400)
    turned = held_out_rows(to_table(Frame, [frames[row] for row in order]), units[order], share)
    assert {frames[order[row]].id for row in turned} == {frames[row].id for row in rows}

    grown = frames + [frame(number) for number in range(400, 420)]
    later = held_out_rows(to_table(Frame, grown), np.concatenate([units, np.arange(200, 220)]), share)
    assert len(set(rows) & set(later)) >= 0.8 * len(rows)


def test_worthless_frames_and_lone_units_are_not_held_out() -> None:
    frames = [frame(number, flaw="blank" if number < 50 else "") for number in range(100)]
    table = to_table(Frame, frames)
    rows = held_out_rows(table, np.arange(100), 0.2)
    assert len(rows) == 20
    assert rows.min() >= 50
    assert not len(held_out_rows(table, np.repeat([0, 1], 50), 0.5))
    assert not len(held_out_rows(table, np.arange(100), 0.01))


def test_by_default_a_small_corpus_holds_nothing_out() -> None:
    assert share_of(None, 999) == 0
    assert share_of(None, 1000) == 0.03
    assert share_of(0.0, 5000) == 0
    assert share_of(0.1, 10) == 0.1


def test_held_out_patients_are_never_chosen_or_trained_on(
    nano: object, patients: Path, labelled: Path, tmp_path: Path
) -> None:
    methods = ["full", "random", "meddel", "optidel", "optidel-paper"]
    run = pipeline(patients, tmp_path / "run", labelled, methods=methods, optidel={"grid": 1})
    assert run.holdout is not None
    held = run.holdout.table("held_out.parquet")
    patients_held = {name.partition("/")[0] for name in held["id"]}
    assert len(held) == 6
    assert len(patients_held) == 2
    pool = [frame.id for frame in run.corpus.frames]
    assert len(pool) == 18
    assert not patients_held & {name.partition("/")[0] for name in pool}

    for method in methods:
        table = run.select(method, 0).table("selection.parquet")
        assert not patients_held & {name.partition("/")[0] for name in table["id"]}
    assert run.select("full", 0).json("summary.json")["kept"] == 18
    assert run.pixels.table("rows.parquet")["id"].to_list() == pool
    assert run.mae.artifact is not None
    assert run.mae.artifact.inputs == {"pixels": run.pixels.content}
    assert {name.partition("/")[0] for name in run.patches.table("patches.parquet")["frame"]} <= {
        name.partition("/")[0] for name in pool
    }


def test_every_encoder_is_measured_on_them(
    nano: object, patients: Path, labelled: Path, tmp_path: Path
) -> None:
    run = pipeline(patients, tmp_path / "run", labelled, methods=["full", "random"], seeds=[0, 1])
    result = run.finish()
    assert run.unseen is not None
    items = run.unseen.table("items.parquet")
    whole = Corpus.load(run.whole)
    images = run.unseen.array("pixels.npy")
    rows = {frame.id: row for row, frame in enumerate(whole.frames)}
    for image, name in zip(images, items["id"], strict=True):
        decoded = PillowImage.fromarray(whole.image(rows[name])).resize((32, 32), PillowImage.Resampling.BOX)
        assert np.abs(np.asarray(decoded, float) - image).mean() < 8

    for method in ("full", "random"):
        for seed in (0, 1):
            encoder = run.pretrain(method, seed)
            expected = held_out(
                encoder.path / "encoder", np.asarray(images), "mae", seed=0, groups=items["unit"].to_list()
            )
            chosen = (pl.col("method") == method) & (pl.col("seed") == seed)
            cells = result.cells.filter(chosen)
            assert cells["h"].to_list() == [expected.mean] * 2
            assert cells["h_low"][0] <= expected.mean <= cells["h_high"][0]

    means = result.cells.group_by("method").agg(pl.col("h").mean())
    for method, mean in means.iter_rows():
        row = result.table.filter(pl.col("method") == method).row(0, named=True)
        if method == "scratch":
            assert row["h"] is None
        else:
            assert row["h"] == pytest.approx(mean)
            assert row["h_low"] <= mean <= row["h_high"]

    opened = read_run(tmp_path / "run")
    assert opened.index == run.index
    assert [trial.entropy for trial in opened.trials] == [trial.entropy for trial in run.cells()]
    assert write_report(tmp_path / "run").exists()


def test_nothing_held_out_is_the_run_it_always_was(nano: object, patients: Path, tmp_path: Path) -> None:
    usual = pipeline(patients, tmp_path / "run", corpus={"holdout": None})
    none = pipeline(patients, tmp_path / "run", corpus={"holdout": 0.0})
    assert usual.index == usual.whole == none.index
    assert usual.unseen is None
    assert usual.select("meddel", 0) == none.select("meddel", 0)


def test_a_share_that_cannot_be_held_out_is_refused(nano: object, patients: Path, tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"corpus.holdout = 0.2 of 24 frames is 5, and fewer than two groups"
    ):
        pipeline(patients, tmp_path / "run", corpus={"holdout": 0.2}).build("index")
    with pytest.raises(RecipeError, match="holdout"):
        pipeline(patients, tmp_path / "run", corpus={"holdout": 0.9})


def test_held_out_ct_is_shown_through_the_window_of_the_corpus(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "corpus").mkdir()
    for number in range(8):
        voxels = (rng.integers(-900, 900, (24, 24, 6))).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "corpus" / f"scan{number}.nii.gz")
    values = recipe(tmp_path / "corpus", tmp_path / "none", tmp_path / "run")
    values["corpus"] = {"holdout": 0.3, "window": [40.0, 400.0]}
    pipeline = Pipeline(make_recipe(values))
    unseen = pipeline.unseen
    assert unseen is not None
    pixels, ids = unseen.array("pixels.npy"), unseen.table("items.parquet")["id"].to_list()
    whole = Corpus.load(pipeline.listed)
    rows = {frame.id: row for row, frame in enumerate(whole.frames)}
    for name, image in zip(ids, pixels, strict=True):
        [(_, expected)] = list(whole.images([rows[name]]))
        np.testing.assert_array_equal(image, fit(expected, pixels.shape[1]))
