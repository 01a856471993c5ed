"""The script for one GPU, on the CPU with a nano model: packed, it trains, stops in time, goes on, adds
seeds.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import NANO, picture
from PIL import Image as PillowImage

from optidel.models.mae import build_mae

IMAGES, PAIRS = 40, 24


@pytest.fixture
def pack(load_script: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A packed corpus of two folders and one labelled set."""
    rng = np.random.default_rng(0)
    data = tmp_path / "data"
    for folder in ("mixed/a", "mixed/b", "tasks/blobs/images", "tasks/blobs/masks"):
        (data / folder).mkdir(parents=True)
    for number in range(IMAGES):
        folder = "ab"[number % 2]
        name = f"case{number // 4}-{number}.png"
        PillowImage.fromarray(picture(rng)[0]).save(data / "mixed" / folder / name)
    for number in range(PAIRS):
        image, mask = picture(rng)
        PillowImage.fromarray(image).save(data / f"tasks/blobs/images/{number:02d}.png")
        PillowImage.fromarray(mask).save(data / f"tasks/blobs/masks/{number:02d}.png")

    script = load_script("benchmarks/pack.py")
    monkeypatch.setattr(script, "TASKS", {"blobs": "tasks/blobs"})
    monkeypatch.setattr(script, "HOLDOUT", 0.3)
    target = tmp_path / "pack.npz"
    command = ["pack.py", str(data), "--out", str(target), "--size", "32", "--workers", "0"]
    monkeypatch.setattr(sys, "argv", command)
    script.main()
    return target


def test_packing_keeps_groups_on_one_side_and_pixels_in_place(pack: Path) -> None:
    packed = np.load(pack)
    assert len(packed["offsets"]) == IMAGES + 1
    held_out = packed["holdout"]
    assert 0 < held_out.sum() < IMAGES
    for group in np.unique(packed["groups"]):
        assert len(set(held_out[packed["groups"] == group])) == 1
    assert len(packed["blobs.mask_offsets"]) == PAIRS + 1


def test_it_stops_in_time_goes_on_and_adds_seeds(
    pack: Path,
    load_script: Callable[[str], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gpu = load_script("benchmarks/gpu.py")
    monkeypatch.setitem(gpu.PRESETS, "tiny", NANO)
    monkeypatch.setattr(gpu, "TRAIN_IMAGES", 12)
    monkeypatch.setattr(gpu, "RESERVE_SECONDS", 0.0)
    out = tmp_path / "out"

    def run(*more: str) -> dict[str, Any]:
        options = ["--preset", "tiny", "--batch", "4", "--methods", "meddel", "--budgets", "0.2"]
        command = ["gpu.py", str(pack), "--out", str(out), *options, "--steps", "3", *more]
        monkeypatch.setattr(sys, "argv", command)
        gpu.main()
        return dict(json.loads(capsys.readouterr().out.splitlines()[-1]))

    stopped = run("--seeds", "0", "--minutes", "0")
    assert (stopped["ended"], stopped["trials"]) == ("out of time", 0)
    assert run("--seeds", "0")["trials"] == 3
    assert run("--seeds", "0,1")["trials"] == 6

    rows = [json.loads(line) for line in (out / "trials.jsonl").read_text().splitlines()]
    assert [row["key"] for row in rows[:3]] == ["full@1#0", "random@0.2#0", "meddel@0.2#0"]
    pool = rows[0]["pool"]
    assert [row["images"] for row in rows[:3]] == [pool, round(0.2 * pool), round(0.2 * pool)]
    for row in rows:
        assert np.isfinite(row["entropy"])
        assert 0 <= row["miou"]["blobs"] <= 1


def test_an_encoder_does_not_depend_on_those_before_it(load_script: Callable[[str], Any]) -> None:
    gpu = load_script("benchmarks/gpu.py")
    images = torch.randint(0, 256, (8, 3, NANO.size, NANO.size), dtype=torch.uint8)

    def weights_after(*seeds: int) -> dict[str, torch.Tensor]:
        trainer = gpu.Trainer(NANO, torch.device("cpu"), 4, capture=False)
        for seed in seeds:
            trainer.train(images, np.arange(8), steps=2, seed=seed)
        return dict(trainer.model.state_dict())

    alone, after_another = weights_after(1), weights_after(0, 1)
    for name, weight in alone.items():
        assert torch.equal(weight, after_another[name])

    trainer = gpu.Trainer(NANO, torch.device("cpu"), 4, capture=False)
    trainer.reset(1)
    fresh = build_mae(NANO, torch.Generator().manual_seed(1)).state_dict()
    for name, weight in trainer.model.state_dict().items():
        assert torch.equal(weight, fresh[name])


@pytest.mark.parametrize("method", ["optidel-paper", "squares"])
def test_a_composite_shows_one_square_of_each_of_four_images(
    load_script: Callable[[str], Any], method: str
) -> None:
    gpu = load_script("benchmarks/gpu.py")
    count, side, grid = 40, 28, 7  # a square of 4 cells of 4 px; a tile of 14 px
    shades = torch.arange(1, count + 1, dtype=torch.uint8)
    images = shades.view(-1, 1, 1, 1).repeat(1, 3, side, side)
    errors = torch.rand(count, grid, grid, generator=torch.Generator().manual_seed(0))
    hard = [3, 7, 11, 15, 19, 23, 27, 31]
    errors[hard, 3:, 3:] += 5
    images[hard, :, :12] = 200  # what lies above or left of the hard square
    images[hard, :, :, :12] = 200
    corpus = gpu.Corpus(images=images, pool=np.arange(count), holdout=np.arange(0), tasks=())
    vectors = np.random.default_rng(0).standard_normal((count, 4)).astype(np.float32)
    trial = gpu.Trial(seed=0, budget=0.05, method=method)

    composites = gpu.compose(trial, corpus, gpu.Scored(vectors=vectors, errors=errors))
    assert composites.shape == (2, 3, side, side)
    tiles = composites.unfold(2, 14, 14).unfold(3, 14, 14).permute(0, 2, 3, 1, 4, 5).reshape(8, -1)
    if method == "squares":
        assert len({int(tile.min()) for tile in tiles}) == 8
    else:
        assert {int(tile.min()) for tile in tiles} == {row + 1 for row in hard}
        assert all(int(tile.max()) < 200 for tile in tiles)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a CUDA graph needs a GPU")
def test_a_captured_step_trains_as_one_that_is_not(load_script: Callable[[str], Any]) -> None:
    gpu = load_script("benchmarks/gpu.py")
    device = torch.device("cuda")
    images = torch.randint(0, 256, (8, 3, NANO.size, NANO.size), dtype=torch.uint8, device=device)
    losses = []
    for capture in (False, True):
        trainer = gpu.Trainer(NANO, device, 4, capture=capture)
        assert trainer.captured == capture
        trainer.train(images, np.arange(8), steps=3, seed=1)
        losses.append(trainer.train(images, np.arange(8), steps=20, seed=0))
    assert losses[0] == pytest.approx(losses[1], rel=0.01)


def test_a_step_costs_what_the_layers_multiply(load_script: Callable[[str], Any]) -> None:
    gpu = load_script("benchmarks/gpu.py")
    tokens, width = 49 / 4 + 1, 384  # a quarter of the patches is visible, and the class token
    products = 2 * tokens * 12 * width**2 + 2 * 2 * tokens**2 * width
    decoder_products = 2 * 50 * 12 * 256**2 + 2 * 2 * 50**2 * 256
    assert gpu.flops_of(gpu.PRESETS["small"]) == pytest.approx(3 * (12 * products + 4 * decoder_products))
