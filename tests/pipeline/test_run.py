"""The whole path: what it writes, that it resumes, that it repeats itself byte for byte, and what it says of
bad input.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from nano import recipe
from PIL import Image
from transformers import AutoModel

import optidel
from optidel.corpus.frames import Corpus
from optidel.errors import BudgetError, InputError, OptidelError, RecipeError
from optidel.features.composites import render
from optidel.pipeline.pipeline import Pipeline
from optidel.readers.decode import fit
from optidel.recipe import make_recipe
from optidel.records import Composite, from_table
from optidel.store import Store

Make = Callable[..., Path]


def digests(run: Path) -> dict[str, str]:
    """Hash of every file of every artifact, but of the costs, which are wall-clock seconds."""
    files = [path for path in sorted(run.glob("*-*/**/*")) if path.is_file() and path.name != "cost.json"]
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if not path.relative_to(run).parts[0].startswith("result-")  # its tables hold seconds
    }


def pipeline(images: Path, labelled: Path, out: Path, **changes: Any) -> Pipeline:
    return Pipeline(make_recipe(recipe(images, labelled, out, **changes)))


def test_images_to_report(nano: object, make_corpus: Make, labelled: Path, tmp_path: Path) -> None:
    result = optidel.run(recipe(make_corpus(), labelled, tmp_path / "run", seeds=[0, 1]))
    assert result.report.exists()
    assert set(result.table["method"]) == {
        "scratch",
        "full",
        "random",
        "meddel",
        "optidel",
        "optidel-paper",
    }
    assert set(result.cells.columns) >= {
        "method",
        "budget",
        "seed",
        "objective",
        "protocol",
        "compute",
        "task",
        "n_images",
        "miou",
        "dice",
        "normdel",
        "seconds_select",
        "seconds_train",
    }
    assert len(result.cells) == 6 * 2 * 2
    images = dict(result.cells.select("method", "n_images").iter_rows())
    assert images == {"scratch": 0, "full": 24, "random": 3, "meddel": 3, "optidel": 3, "optidel-paper": 3}
    row = result.table.filter((pl.col("method") == "meddel") & (pl.col("protocol") == "probe")).row(
        0, named=True
    )
    assert row["miou_low"] <= row["miou"] <= row["miou_high"]
    assert row["normdel"] == pytest.approx(optidel.normdel(row["miou"], 3 / 24))
    mean = result.cells.filter((pl.col("method") == "meddel") & (pl.col("protocol") == "probe"))[
        "miou"
    ].mean()
    assert row["miou"] == pytest.approx(mean)
    encoder = next(Store(tmp_path / "run").root.glob("pretrain-*/encoder"))
    assert AutoModel.from_pretrained(encoder).embeddings.position_embeddings.abs().sum() > 0
    assert optidel.run(recipe(tmp_path / "corpus", labelled, tmp_path / "run", seeds=[0, 1])).table.equals(
        result.table
    )


def test_selection_explains_itself(nano: object, make_corpus: Make, labelled: Path, tmp_path: Path) -> None:
    folder = make_corpus(23)
    Image.new("RGB", (96, 72)).save(folder / "black.png")
    run = pipeline(folder, labelled, tmp_path / "run")
    table = run.select("meddel", 0).table("selection.parquet")
    assert len(table) == 24
    assert table.filter(pl.col("id") == "black.png").row(0, named=True)["reason"] == "blank"
    dropped = table.filter(~pl.col("kept") & (pl.col("id") != "black.png"))
    kept = set(table.filter(pl.col("kept"))["id"])
    assert len(kept) == 3
    assert set(dropped["twin"].drop_nulls()) <= kept
    assert "black.png" in set(run.select("full", 0).table("selection.parquet").filter(pl.col("kept"))["id"])


def test_composites_are_rebuilt_byte_for_byte(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path
) -> None:
    run = pipeline(make_corpus(), labelled, tmp_path / "run")
    composed = run.compose("optidel-paper", 0)
    assert composed is not None
    corpus = Corpus.load(run.index)
    rows = {frame.id: row for row, frame in enumerate(corpus.frames)}
    composites = from_table(Composite, composed.table("composites.parquet"))
    assert len(composites) == 3
    for row, composite in enumerate(composites):
        image = render(composite, lambda frame: corpus.image(rows[frame]))
        path = composed.path / "images" / f"{composite.id}.png"
        np.testing.assert_array_equal(np.asarray(Image.open(path)), image)
        Image.fromarray(image).save(tmp_path / "again.png")
        assert path.read_bytes() == (tmp_path / "again.png").read_bytes()
        np.testing.assert_array_equal(composed.array("pixels.npy")[row], fit(image, 32))
        assert composite.side == round(np.sqrt(72 * 96) / 2) * 2


def test_equal_epochs_and_pvi(nano: object, make_corpus: Make, labelled: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "pretrain": {"steps": 16, "batch": 4, "compute": "epochs"},
        "optidel": {"scorer": "pvi", "grid": 1},
    }
    run = pipeline(make_corpus(), labelled, tmp_path / "run", **changes)
    assert len(run.pretrain("random", 0).table("log.parquet")) == 2
    assert len(run.pretrain("full", 0).table("log.parquet")) == 16
    assert len(run.pretrain("optidel-paper", 0).table("log.parquet")) == 2


def test_given_encoder_needs_no_warm_up(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path
) -> None:
    first = pipeline(make_corpus(), labelled, tmp_path / "one")
    assert first.mae.artifact is not None
    weights = first.mae.folder
    second = pipeline(tmp_path / "corpus", labelled, tmp_path / "two", encoder={"weights": weights})
    assert second.mae.artifact is None
    assert second.mae.folder == weights
    np.testing.assert_array_equal(first.embed.array("vectors.npy"), second.embed.array("vectors.npy"))


STEPS = (
    "task",
    "index",
    "prints",
    "leaks",
    "evaluate",
    "select",
    "pixels",
    "pretrain",
    "warmup",
    "embed",
    "whiten",
    "patches",
    "compose",
    "result",
)
"""In the order in which a run first comes to them."""


def attempts(*arguments: object) -> list[list[str]]:
    script = Path(__file__).parents[1] / "support" / "nano.py"
    done = subprocess.run(
        [sys.executable, str(script), *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_killed_in_every_step_it_continues_to_the_same_bytes(
    make_corpus: Make, labelled: Path, tmp_path: Path
) -> None:
    images = make_corpus()
    assert attempts(images, labelled, tmp_path / "whole") == [["none", "done"]]
    assert attempts(images, labelled, tmp_path / "killed", *STEPS) == [
        *([step, "killed"] for step in STEPS),
        ["none", "done"],
    ]
    expected = digests(tmp_path / "whole")
    assert {name.partition("-")[0] for name in expected} == set(STEPS) - {"result"}
    assert digests(tmp_path / "killed") == expected


def test_same_seed_same_bytes_other_seed_not(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path
) -> None:
    runs = [
        pipeline(make_corpus() if name == "a" else tmp_path / "corpus", labelled, tmp_path / name)
        for name in ("a", "b")
    ]
    for run in runs:
        run.compose("optidel-paper", 0)
        run.select("random", 0)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    rows = [runs[0].select("random", seed).table("selection.parquet")["kept"].to_list() for seed in range(4)]
    assert len({tuple(row) for row in rows}) > 1


def test_other_option_new_folder_beside_the_old(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path
) -> None:
    folder = make_corpus()
    one = pipeline(folder, labelled, tmp_path / "run").select("random", 0)
    two = pipeline(folder, labelled, tmp_path / "run", budget=0.5).select("random", 0)
    assert one.path != two.path
    assert one.path.exists()
    assert len(list((tmp_path / "run").glob("index-*"))) == 1


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"budget": 0.01}, BudgetError, "rounds to none"),
        ({"methods": ["medel"]}, RecipeError, "unknown method 'medel'; did you mean 'meddel'"),
        (
            {"patches": {"backend": "regions", "candidates": 0.05, "points": 1}, "budget": 0.9},
            BudgetError,
            r"key patches.*but there are",
        ),
        ({"labelled": ""}, RecipeError, "--labelled"),
        ({"labelled": "nowhere"}, InputError, "no folder or file at nowhere"),
    ],
)
def test_refusals_keep_what_was_computed(
    changes: dict[str, Any],
    error: type[OptidelError],
    message: str,
    nano: object,
    make_corpus: Make,
    labelled: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=message):
        optidel.run(
            recipe(
                make_corpus(),
                labelled,
                tmp_path / "run",
                **{"methods": ["random", "optidel-paper"], **changes},
            )
        )
    if error is BudgetError:
        assert list((tmp_path / "run").glob("index-*"))
        optidel.run(recipe(tmp_path / "corpus", labelled, tmp_path / "run", methods=["random"]))
        assert len(list((tmp_path / "run").glob("index-*"))) == 1
