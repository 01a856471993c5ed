"""Scores along a pre-training: encoders of one training, kept at given steps and scored like the last."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import torch
from nano import recipe
from pictures import NANO

import optidel
from optidel.models.encoders import load_encoder
from optidel.training.options import PretrainOptions
from optidel.training.pretrain import pretrain


def test_the_encoder_is_handed_out_as_it_is_after_a_step(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    moments: dict[int, dict[str, torch.Tensor]] = {}

    def reached(step: int, model: torch.nn.Module) -> None:
        moments[step] = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    options = PretrainOptions(steps=6, batch=4, at=(2, 6))
    final, _ = pretrain(images, None, NANO, options, seed=0, checkpoint=tmp_path / "a.pt", reached=reached)
    assert list(moments) == [2, 6]
    plain, _ = pretrain(
        images, None, NANO, PretrainOptions(steps=6, batch=4), seed=0, checkpoint=tmp_path / "b.pt"
    )
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, moments[6][name])
        assert torch.equal(tensor, final.state_dict()[name]), "handing out changes nothing"
    assert any(not torch.equal(moments[2][name], moments[6][name]) for name in moments[2])


def test_a_run_scores_along_its_pre_training(
    nano: object, make_corpus: Callable[..., Path], labelled: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    values = recipe(make_corpus(16), labelled, out, methods=["random"])
    values["evaluate"] = values["evaluate"] | {"at": [0.25, 0.5, 1.0], "protocols": ["probe"]}
    optidel.run(values)
    [path] = out.glob("along-*/along.parquet")
    along = pl.read_parquet(path)
    assert along["step"].to_list() == [1, 2], "the last step is the result itself"
    assert along["miou"].is_between(0, 1).all()
    [encoder] = out.glob("pretrain-*/encoder-0000002")
    assert load_encoder(encoder).size == 32
