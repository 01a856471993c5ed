"""The table of objectives: complete, asked by name, and open to a third one."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nano import recipe
from torch import nn
from transformers import Dinov2Config, Dinov2Model

import optidel
from optidel import recipe as recipe_module
from optidel.benchmark import make_bench
from optidel.benchmark.forecast import forecast
from optidel.errors import RecipeError
from optidel.models.encoders import Encoder, build_encoder, load_encoder
from optidel.models.presets import PRESETS, Preset
from optidel.models.shares import Share
from optidel.models.views import crop_and_flip
from optidel.pipeline.pipeline import Pipeline
from optidel.pipeline.vinfo import vinfo
from optidel.recipe import OBJECTIVE_NAMES, as_json, make_recipe
from optidel.training.objectives import OBJECTIVES, Objective
from optidel.training.options import PretrainOptions
from optidel.training.pretrain import pretrain
from optidel.vinformation.models import simclr_information

MOMENTUM = 0.9


class Teacher(nn.Module):
    """A student that predicts a teacher's vector of another view; the teacher averages the student."""

    def __init__(self, preset: Preset, options: PretrainOptions, generator: torch.Generator) -> None:
        super().__init__()
        self.student = build_encoder(preset, generator)
        self.predict = nn.Linear(preset.width, preset.width)
        nn.init.xavier_uniform_(self.predict.weight, generator=generator)
        nn.init.zeros_(self.predict.bias)
        self.teacher: Encoder = copy.deepcopy(self.student).requires_grad_(False)


def teacher_loss(
    model: Teacher, x: torch.Tensor, options: PretrainOptions, generator: torch.Generator, share: Share
) -> torch.Tensor:
    first, second = (crop_and_flip(x, generator, options.views.crop, share=share) for _ in range(2))
    with torch.no_grad():
        target = model.teacher(second)
    return 1 - torch.cosine_similarity(model.predict(model.student(first)), target).mean()


def average(model: Teacher, step: int, steps: int) -> None:
    with torch.no_grad():
        for slow, fast in zip(model.teacher.parameters(), model.student.parameters(), strict=True):
            slow.lerp_(fast, 1 - MOMENTUM)


@pytest.fixture
def third(monkeypatch: pytest.MonkeyPatch) -> Objective:
    """A third objective, registered as CONTRIBUTING.md says."""
    entry = Objective(
        summary="predict what a slow copy of the encoder makes of another view",
        paper="2006.07733",
        build=Teacher,
        loss=teacher_loss,
        after_step=average,
        kept=lambda model: model.student.backbone,
        information=lambda folder, images, seed, shared_variance=False: simclr_information(
            load_encoder(folder), images, seed=seed
        ),
        passes=2.0,
    )
    monkeypatch.setitem(OBJECTIVES, "teacher", entry)
    monkeypatch.setattr(recipe_module, "OBJECTIVE_NAMES", (*OBJECTIVE_NAMES, "teacher"))
    monkeypatch.setattr("optidel.benchmark.load.OBJECTIVE_NAMES", (*OBJECTIVE_NAMES, "teacher"))
    return entry


def test_the_recipe_knows_every_objective() -> None:
    assert tuple(OBJECTIVES) == OBJECTIVE_NAMES
    assert optidel.OBJECTIVES is OBJECTIVES
    for objective in OBJECTIVES.values():
        assert objective.passes > 0
        assert objective.summary[0].islower()


def test_an_unknown_objective_is_one_sentence_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="unknown objective 'simclear'; did you mean 'simclr'"):
        make_recipe({"images": "a", "out": "b", "pretrain": {"objective": "simclear"}})
    with pytest.raises(RecipeError, match="unknown objective 'mea'; did you mean 'mae'"):
        make_bench({"images": "a", "labelled": "b", "objectives": ["mea"]})
    images = np.zeros((2, 64, 64, 3), np.uint8)
    options = PretrainOptions(objective="mea")
    with pytest.raises(RecipeError, match="unknown objective 'mea'; did you mean 'mae'"):
        pretrain(images, None, PRESETS["tiny"], options, seed=0, checkpoint=tmp_path / "c.pt")


def test_the_teacher_follows_the_student(third: Objective, nano: Preset, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    built: list[Any] = []
    build = third.build
    object.__setattr__(third, "build", lambda *all_of: built.append(build(*all_of)) or built[-1])
    options = PretrainOptions(objective="teacher", steps=1, batch=4, lr=1e-2)
    before = Teacher(nano, options, torch.Generator().manual_seed(0))
    pretrain(images, None, PRESETS["tiny"], options, seed=0, checkpoint=tmp_path / "c.pt")
    [module] = built
    for name, start in before.teacher.named_parameters():
        student = dict(module.student.named_parameters())[name]
        expected = MOMENTUM * start + (1 - MOMENTUM) * student
        torch.testing.assert_close(dict(module.teacher.named_parameters())[name], expected)


def test_a_third_objective_goes_from_recipe_to_v_information(
    third: Objective, nano: object, make_corpus: Callable[..., Path], labelled: Path, tmp_path: Path
) -> None:
    pretraining = {"objective": "teacher", "steps": 2, "batch": 4}
    out = tmp_path / "run"
    values = recipe(make_corpus(16), labelled, out, methods=["meddel"], pretrain=pretraining)
    optidel.run(values)
    [(trained, measured)] = vinfo(out)
    assert trained.objective == "teacher"
    assert measured.gained["labelled"] < np.log(2 * 20 - 1)

    bench = make_bench(
        {
            "images": values["images"],
            "labelled": str(labelled),
            "methods": ["random"],
            "budgets": [0.25],
            "seeds": [0],
            "objectives": ["mae", "teacher"],
        }
    )
    items = {item.what: item for item in forecast(bench, tmp_path / "bench").items}
    masked, taught = (items[f"pretrain, {name}, equal steps"].seconds for name in ("mae", "teacher"))
    assert taught / masked == pytest.approx(third.passes / OBJECTIVES["mae"].passes)


def test_the_recipe_sets_views_and_target(
    nano: object, make_corpus: Callable[..., Path], labelled: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    pretraining = {"steps": 2, "batch": 4, "views": "flip-only", "jitter": 0.1, "target": "normalised"}
    values = recipe(make_corpus(16), labelled, out, methods=["random"], pretrain=pretraining)
    [artifact] = Pipeline(make_recipe(values)).until("pretrain")
    options = json.loads((artifact.path / "manifest.json").read_text())["config"]["options"]
    assert options["views"] == {"crop": [1.0, 1.0], "flip": True, "jitter": 0.1}
    assert options["target"] == "normalised"
    assert json.loads((artifact.path / "encoder" / "config.json").read_text())["norm_pix_loss"] is True

    plain = recipe(values["images"], labelled, out, methods=["random"], pretrain={"steps": 2, "batch": 4})
    [artifact] = Pipeline(make_recipe(plain)).until("pretrain")
    options = json.loads((artifact.path / "manifest.json").read_text())["config"]["options"]
    assert options.keys() == PretrainOptions().config().keys()
    written = as_json(make_recipe(plain))["pretrain"]
    assert written == {"objective": "mae", "compute": "steps", "steps": 2, "batch": 4, "lr": 1e-3}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"views": "flips"}, "pretrain.views"),
        ({"crop": [0.9, 0.2]}, r"least and the largest share of the area, got \[0.9, 0.2\]"),
        ({"crop": [0, 1]}, r"pretrain.crop.0"),
        ({"jitter": 2}, "pretrain.jitter"),
        ({"target": "tokens"}, "pretrain.target"),
    ],
)
def test_views_that_cannot_be_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make_recipe({"images": "a", "out": "b", "pretrain": changes})


def test_a_run_goes_on_from_weights(
    nano: object, make_corpus: Callable[..., Path], labelled: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    shape = {"image_size": 64, "patch_size": 8, "hidden_size": 24, "num_hidden_layers": 1}
    Dinov2Model(Dinov2Config(num_attention_heads=2, mlp_ratio=2, **shape)).save_pretrained(
        tmp_path / "dinov2"
    )
    weights = {"weights": str(tmp_path / "dinov2"), "layer_decay": 0.75}
    pretraining = {"steps": 2, "batch": 4, **weights}
    out = tmp_path / "run"
    result = optidel.run(recipe(make_corpus(16), labelled, out, methods=["meddel"], pretrain=pretraining))
    assert "meddel" in result.table["method"].to_list()
    [(_, measured)] = vinfo(out)
    assert np.isfinite(measured.gained["labelled"])
    [manifest] = [json.loads(path.read_text()) for path in out.glob("pretrain-*/manifest.json")]
    options = manifest["config"]["options"]
    assert options["weights"].startswith("sha256:")
    assert str(tmp_path) not in json.dumps(manifest)
