"""However the steps of a training are computed, it is the same training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from optidel.errors import RecipeError
from optidel.models.presets import Preset, Views
from optidel.recipe import EXECUTION, IN_PARTS, as_json, make_recipe
from optidel.training import precision
from optidel.training import pretrain as module
from optidel.training.objectives import OBJECTIVES
from optidel.training.options import Execution, PretrainOptions
from optidel.training.pretrain import pretrain

# Of losses: sums in another order, through some steps of AdamW.
ROUNDING = 1e-5

RECIPE = {"images": "a", "out": "b"}


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rounding of bfloat16 would hide what is to be seen."""
    monkeypatch.setattr(precision, "has_bf16", lambda where: False)


def images(count: int = 24) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def train(preset: Preset, checkpoint: Path, execution: Execution, **changes: Any) -> tuple[Any, list[float]]:
    options = PretrainOptions(steps=6, batch=8, checkpoint_every=2, execution=execution, **changes)
    model, log = pretrain(images(), None, preset, options, seed=1, checkpoint=checkpoint)
    return model.state_dict(), log["loss"].to_list()


@pytest.mark.parametrize("changes", [{"views": Views(jitter=0.2)}, {"tiles": 4, "whole": 3}])
def test_parts_of_a_batch_train_as_the_whole(changes: dict[str, Any], nano: Preset, tmp_path: Path) -> None:
    curves = []
    for parts in (1, 2, 4):
        execution = Execution(accumulate=parts)
        curves.append(train(nano, tmp_path / f"{parts}.pt", execution, **changes)[1])
    np.testing.assert_allclose(curves[1], curves[0], rtol=ROUNDING)
    np.testing.assert_allclose(curves[2], curves[0], rtol=ROUNDING)
    assert curves[0] != curves[1], "the parts were computed one by one"


def test_a_killed_training_in_parts_resumes_to_the_same_bytes(
    nano: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, losses = train(nano, tmp_path / "a.pt", Execution(accumulate=4))
    normalise, calls = module.normalise, iter(range(100))

    def dies(*arguments: Any) -> torch.Tensor:
        if next(calls) == 4 * 4 + 2:  # in the middle of the fifth step, after a checkpoint
            raise KeyboardInterrupt
        return normalise(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "normalise", dies)
        with pytest.raises(KeyboardInterrupt):
            train(nano, tmp_path / "b.pt", Execution(accumulate=4))
    resumed, again = train(nano, tmp_path / "b.pt", Execution(accumulate=4))
    assert again == losses
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in expected.items())


def test_an_objective_that_compares_all_images_takes_no_parts(nano: Preset, tmp_path: Path) -> None:
    assert tuple(name for name, objective in OBJECTIVES.items() if objective.in_parts) == IN_PARTS
    sentence = r"pretrain.accumulate = 2 .* 'simclr' compares all its images .*; use pretrain.accumulate = 1"
    with pytest.raises(RecipeError, match=sentence):
        make_recipe({**RECIPE, "pretrain": {"objective": "simclr", "accumulate": 2}})
    with pytest.raises(RecipeError, match=sentence):
        train(nano, tmp_path / "c.pt", Execution(accumulate=2), objective="simclr")


def test_a_batch_that_has_no_equal_parts_is_refused_as_the_recipe_is_read() -> None:
    with pytest.raises(RecipeError, match=r"batch of 64 images is not shared evenly by 3 parts; use .*=63"):
        make_recipe({**RECIPE, "pretrain": {"accumulate": 3}})


def test_no_name_depends_on_how_steps_are_computed() -> None:
    plain = make_recipe(RECIPE)
    other = make_recipe({**RECIPE, "pretrain": {"accumulate": 2}})
    assert as_json(plain) == as_json(other)
    assert tuple(Execution.__dataclass_fields__) == EXECUTION
    assert PretrainOptions(execution=Execution(accumulate=2)).config() == PretrainOptions().config()
