"""Several processes train as one does on the same batches; where one is lost, one sentence says so."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from command import call
from pictures import NANO
from together import TRAININGS, curves, ends, start

from optidel.cli.options import recipe_of
from optidel.errors import RecipeError, TrainingError
from optidel.models.presets import Preset
from optidel.models.shares import Share
from optidel.models.views import colour_jitter, crop_and_flip
from optidel.recipe import check_shares, check_together, make_recipe
from optidel.training import precision, sharding
from optidel.training.ahead import ahead
from optidel.training.options import Execution, PretrainOptions
from optidel.training.pretrain import pretrain
from optidel.training.ranks import ALONE, Ranks

# Of losses: sums in another order, through some steps of AdamW. Other views, masks or negatives change the
# third digit.
ROUNDING = 1e-4


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the processes that are started: the rounding of bfloat16 would hide what is to be seen."""
    monkeypatch.setattr(precision, "has_bf16", lambda where: False)


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    alone = {name: curves(tmp_path, ALONE, name) for name in TRAININGS}
    shutil.copy(tmp_path / "mae sharded-1.pt", tmp_path / "mae sharded resumed-2.pt")
    (first, printed, complaint), (second, _, _) = ends(start(2, "curves", tmp_path))
    assert (first, second) == (0, 0), complaint
    output = json.loads(printed)
    together = output["losses"]
    for name, losses in alone.items():
        np.testing.assert_allclose(together[name], losses, rtol=ROUNDING, err_msg=name)
    assert together["mae sharded resumed"][:4] == alone["mae sharded"][:4], "the two went on from the one"

    assert len(output["held"]) == sum("sharded" in name for name in TRAININGS)
    np.testing.assert_allclose(output["held"], 0.5, atol=0.02, err_msg="each holds half of the weights")

    # And one goes on from two, each of which held a share.
    shutil.copy(tmp_path / "mae sharded-2.pt", tmp_path / "mae-1.pt")
    went_on = curves(tmp_path, ALONE, "mae")
    assert went_on[:4] == together["mae sharded"][:4]
    np.testing.assert_allclose(went_on, alone["mae"], rtol=ROUNDING)
    saved = [torch.load(tmp_path / f"mae sharded-{count}.pt", weights_only=True) for count in (1, 2)]
    shapes = [{name: tensor.shape for name, tensor in content["model"].items()} for content in saved]
    assert shapes[0] == shapes[1]
    for number, values in saved[0]["optimizer"]["state"].items():
        other = saved[1]["optimizer"]["state"][number]
        torch.testing.assert_close(other["exp_avg"], values["exp_avg"], rtol=1e-3, atol=1e-5)


def test_what_cannot_be_sharded_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recipe = {"images": "scans", "out": "run", "preset": "huge"}
    mixed = make_recipe({**recipe, "optidel": {"compose": "deal", "originals": 0.2}})
    assert mixed.pretrain.sharding == "full", "the default of models that no GPU holds"
    with pytest.raises(RecipeError, match=r'use pretrain\.sharding = "none", or optidel\.originals = 0'):
        check_together(mixed, 2)
    check_together(make_recipe({**recipe, "optidel": {"compose": "deal"}}), 2)

    images = np.zeros((16, 32, 32, 3), np.uint8)
    options = PretrainOptions(tiles=4, whole=3, batch=8, execution=Execution(sharding="full"))
    two = Ranks(rank=0, count=2)
    with pytest.raises(RecipeError, match=r"gives? one tiles and another images"):
        pretrain(images, None, NANO, options, seed=0, checkpoint=tmp_path / "c.pt", ranks=two)

    monkeypatch.setattr(sharding, "SHARDING_HOMES", ("torch.no_such_home",))
    with pytest.raises(TrainingError, match=r"needs torch 2\.4 or newer, .*; update torch, or set"):
        sharding.shard(torch.nn.Identity(), torch.nn.Identity())


def test_a_lost_process_is_one_sentence_and_the_run_goes_on(
    nano: Preset, make_corpus: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--methods", "random", "--budget", "0.5", "--set", "pretrain.steps=104"]
    command = ["pretrain", make_corpus(16), *options, "--set", "pretrain.batch=4"]
    together = [*command, "--out", tmp_path / "together"]
    (code, _, complaint), (killed, _, silence) = ends(start(2, *together, fatal="1:102"))
    assert (code, killed) == (2, -9)
    assert "Traceback" not in complaint + silence
    [sentence] = [line for line in complaint.splitlines() if line.startswith("optidel: ")]
    assert "has lost another of the processes that train together" in sentence
    assert sentence.endswith("it goes on from the last checkpoint")
    assert list(tmp_path.glob("together/pretrain-*.partial/*/checkpoint.pt")), "saved after 100 steps"

    (code, _, complaint), (other, printed, silence) = ends(start(2, *together))
    assert (code, other) == (0, 0), complaint
    assert printed + silence == "", "the first process alone speaks"
    assert call(monkeypatch, *command, "--out", tmp_path / "alone") == 0
    [resumed], [alone] = (
        list(tmp_path.glob(f"{out}/pretrain-*/log.parquet")) for out in ("together", "alone")
    )
    losses = [pl.read_parquet(path)["loss"] for path in (resumed, alone)]
    np.testing.assert_allclose(losses[0][:8], losses[1][:8], rtol=ROUNDING)
    # Rounding grows with the steps of AdamW; a curve of other batches differs by a tenth.
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.03)


def test_a_command_that_trains_nothing_is_refused(tmp_path: Path) -> None:
    (code, _, complaint), (other, _, silence) = ends(start(2, "doctor"))
    assert (code, other) == (2, 2)
    assert "optidel doctor trains no model; start it once, without torchrun" in complaint + silence


def test_shares_of_views_are_the_views_of_the_batch() -> None:
    x = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for view in (crop_and_flip, colour_jitter):
        expected = view(x, torch.Generator().manual_seed(5))
        parts = []
        for rank in range(3):
            share = Ranks(rank=rank, count=3).share(6)
            parts.append(view(x[share.rows], torch.Generator().manual_seed(5), share=share))
        torch.testing.assert_close(torch.cat(parts), expected)


def test_shares_cover_a_batch_once() -> None:
    shares = [
        Ranks(rank=rank, count=2).share(12, part=part, parts=3) for rank in range(2) for part in range(3)
    ]
    assert [row for share in shares for row in range(share.start, share.stop)] == list(range(12))
    mixed = Share(start=4, stop=8, count=8, whole=3)
    assert (len(mixed.composites), len(mixed.originals)) == (1, 3)
    assert mixed.composites.of_tiles(4).rows == slice(16, 20)
    assert len(Share(start=0, stop=4, count=8, whole=3).originals) == 0


@pytest.mark.parametrize(
    ("processes", "parts", "sentence"),
    [
        (4, 1, r"by 4 processes; use pretrain\.batch=8, or another number of processes"),
        (1, 4, r"by 4 parts; use pretrain\.batch=8, or another pretrain\.accumulate"),
        (2, 3, r"by 2 processes in 3 parts each; use pretrain\.batch=12, or another pretrain\.accumulate"),
        (8, 2, r"use pretrain\.batch=16"),
    ],
)
def test_a_batch_that_is_not_shared_evenly_is_refused(processes: int, parts: int, sentence: str) -> None:
    with pytest.raises(RecipeError, match=rf"batch of 10 images is not shared evenly .*{sentence}"):
        check_shares(10, processes, parts)


def test_what_the_processes_cannot_share_is_refused_as_the_recipe_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = ["pretrain.batch=10"]
    assert recipe_of("scans", tmp_path, settings=settings).pretrain.batch == 10
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with pytest.raises(RecipeError, match=r"batch of 10 images is not shared evenly by 4 processes"):
        recipe_of("scans", tmp_path, settings=settings)
    assert recipe_of("scans", tmp_path, settings=["pretrain.batch=12"]).pretrain.batch == 12


def test_reading_ahead_keeps_the_order_and_the_errors() -> None:
    def read(key: int) -> int:
        if key == 4:
            raise ValueError(key)
        return key

    values = ahead(read, range(9))
    assert [next(values) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="4"):
        next(values)
