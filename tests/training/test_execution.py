"""However the steps of a training are computed, it is the same training."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from optidel.errors import RecipeError, TrainingError
from optidel.models.presets import Preset, Views
from optidel.recipe import EXECUTION, IN_PARTS, as_json, make_recipe
from optidel.training import compiling, precision
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
    changes = {"accumulate": 2, "compile": True, "sharding": "full"}
    other = make_recipe({**RECIPE, "pretrain": changes})
    assert as_json(plain) == as_json(other)
    assert tuple(Execution.__dataclass_fields__) == EXECUTION
    options = PretrainOptions(execution=Execution(**changes))  # type: ignore[arg-type]
    assert options.config() == PretrainOptions().config()


def check_that_compiled_and_plain_go_on_from_each_other(preset: Preset, folder: Path) -> None:
    """A checkpoint after four of six steps, by one; the last two by the other; the names are the same."""
    plain, compiled = Execution(), Execution(compile=True)
    expected, losses = train(preset, folder / "plain.pt", plain)
    weights, again = train(preset, folder / "compiled.pt", compiled)
    np.testing.assert_allclose(again, losses, rtol=ROUNDING)
    assert weights.keys() == expected.keys()

    names = [torch.load(folder / f"{name}.pt", weights_only=True)["model"] for name in ("plain", "compiled")]
    assert names[0].keys() == names[1].keys()
    assert not any("_orig_mod" in name for name in names[1])

    # Both checkpoints are of the fourth step; the other goes on from each.
    for name, other in (("plain", compiled), ("compiled", plain)):
        _, went_on = train(preset, folder / f"{name}.pt", other)
        np.testing.assert_allclose(went_on, losses, rtol=ROUNDING)


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch hides it
def test_a_compiled_training_and_a_plain_one_go_on_from_each_other(
    nano: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a backend that makes no program, so that no compiler is needed; it counts what it is given."""
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> Any:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(compiling, "BACKEND", backend)
    check_that_compiled_and_plain_go_on_from_each_other(nano, tmp_path)
    assert len(graphs) >= 3, "the line that is tried first, the encoder's blocks and the decoder's"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ for torch.compile")
@pytest.mark.filterwarnings("default")  # of a compiler that is not ours
def test_a_training_that_a_compiler_made_faster_is_the_same(nano: Preset, tmp_path: Path) -> None:
    check_that_compiled_and_plain_go_on_from_each_other(nano, tmp_path)


def test_without_a_compiler_one_sentence_says_so(
    nano: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(graph: object, inputs: object) -> Any:
        raise FileNotFoundError("no g++ here")

    monkeypatch.setattr(compiling, "BACKEND", broken)
    with pytest.raises(TrainingError, match=r"none works here \(no g\+\+ here\); install g\+\+, .* = false"):
        train(nano, tmp_path / "c.pt", Execution(compile=True))
