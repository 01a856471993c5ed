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
        trainer = gpu.Trainer(NANO, torch.device("cpu"), compiled=False)
        for seed in seeds:
            trainer.train(images, np.arange(8), steps=2, batch=4, seed=seed)
        return dict(trainer.model.state_dict())

    alone, after_another = weights_after(1), weights_after(0, 1)
    for name, weight in alone.items():
        assert torch.equal(weight, after_another[name])

    trainer = gpu.Trainer(NANO, torch.device("cpu"), compiled=False)
    trainer.reset(1)
    fresh = build_mae(NANO, torch.Generator().manual_seed(1)).state_dict()
    for name, weight in trainer.model.state_dict().items():
        assert torch.equal(weight, fresh[name])


def test_a_step_costs_what_the_layers_multiply(load_script: Callable[[str], Any]) -> None:
    gpu = load_script("benchmarks/gpu.py")
    tokens, width = 49 / 4 + 1, 384  # a quarter of the patches is visible, and the class token
    products = 2 * tokens * 12 * width**2 + 2 * 2 * tokens**2 * width
    decoder_products = 2 * 50 * 12 * 256**2 + 2 * 2 * 50**2 * 256
    assert gpu.flops_of(gpu.PRESETS["small"]) == pytest.approx(3 * (12 * products + 4 * decoder_products))
