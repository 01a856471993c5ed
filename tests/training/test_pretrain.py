"""Pre-training learns, resumes to the same weights after a kill, and depends on its seed alone."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from optidel.errors import TrainingError
from optidel.models.presets import PRESETS, VIEWS, Views
from optidel.models.views import colour_jitter, crop_and_flip
from optidel.training import pretrain as module
from optidel.training.pretrain import PretrainOptions, batch_rows, pretrain
from optidel.training.schedule import cosine


def images(count: int = 20) -> np.ndarray:
    y, x = np.mgrid[:32, :32]
    waves = [127 + 100 * np.sin(x / (2 + i % 5) + i) * np.cos(y / (3 + i % 4)) for i in range(count)]
    return np.repeat(np.stack(waves)[..., None], 3, axis=3).astype(np.uint8)


def same(one: torch.nn.Module, two: torch.nn.Module) -> bool:
    return all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("objective", ["mae", "simclr"])
def test_loss_falls(objective: str, nano: object, tmp_path: Path) -> None:
    options = PretrainOptions(objective=objective, steps=120, batch=16, lr=3e-3)  # type: ignore[arg-type]
    model, log = pretrain(images(), None, PRESETS["tiny"], options, seed=0, checkpoint=tmp_path / "c.pt")
    assert log["loss"][-10:].mean() < 0.9 * log["loss"][:5].mean()
    assert model.config.model_type == "vit_mae"
    assert log["step"].to_list() == list(range(120))


@pytest.mark.parametrize("objective", ["mae", "simclr"])
def test_resumes_to_the_same_weights(
    objective: str, nano: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = PretrainOptions(objective=objective, steps=12, batch=8, checkpoint_every=5)  # type: ignore[arg-type]
    whole, log = pretrain(images(), None, PRESETS["tiny"], options, seed=1, checkpoint=tmp_path / "a.pt")
    calls = []

    def dies(*arguments: object) -> np.ndarray:
        calls.append(arguments)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return batch_rows(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "batch_rows", dies)
    monkeypatch.setattr(module, "ahead", map)  # what is counted is what is trained on
    with pytest.raises(KeyboardInterrupt):
        pretrain(images(), None, PRESETS["tiny"], options, seed=1, checkpoint=tmp_path / "b.pt")
    resumed, again = pretrain(images(), None, PRESETS["tiny"], options, seed=1, checkpoint=tmp_path / "b.pt")
    assert len(calls) == 8 + 7, "went on from step 5, the last checkpoint"
    assert same(whole, resumed)
    assert log.equals(again)


def test_it_says_when_it_has_saved(nano: object, tmp_path: Path) -> None:
    """So that the seconds before a kill are counted."""
    options, found = PretrainOptions(steps=6, batch=4, checkpoint_every=2), []
    target = tmp_path / "c.pt"
    pretrain(
        images(),
        None,
        PRESETS["tiny"],
        options,
        seed=0,
        checkpoint=target,
        saved=lambda: found.append(len(torch.load(target)["losses"])),
    )
    assert found == [2, 4]


def test_seed_and_rows_matter(nano: object, tmp_path: Path) -> None:
    options = PretrainOptions(steps=3, batch=8)
    rows = np.arange(10)
    base = pretrain(images(), rows, PRESETS["tiny"], options, seed=0, checkpoint=tmp_path / "c.pt")[0]
    assert same(
        base, pretrain(images()[:10], None, PRESETS["tiny"], options, seed=0, checkpoint=tmp_path / "c.pt")[0]
    )
    assert not same(
        base, pretrain(images(), rows, PRESETS["tiny"], options, seed=1, checkpoint=tmp_path / "c.pt")[0]
    )
    sampled = PretrainOptions(steps=3, batch=8, sample=4)
    assert not same(
        base, pretrain(images(), rows, PRESETS["tiny"], sampled, seed=0, checkpoint=tmp_path / "c.pt")[0]
    )


def test_every_image_once_an_epoch() -> None:
    seen = np.concatenate([batch_rows(step, 4, 10, seed=0) for step in range(5)])
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert list(seen[:10]) != list(seen[10:])


def test_schedule() -> None:
    rates = [cosine(step, 100, 1.0, 0.1) for step in range(100)]
    assert rates[9] == 1.0
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001


def test_views_are_replayed_by_their_generator() -> None:
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for view in (crop_and_flip, colour_jitter):
        one, two = (view(x, torch.Generator().manual_seed(5)) for _ in range(2))
        assert torch.equal(one, two)
        assert one.shape == x.shape
        assert not torch.equal(one, x)


def test_whole_crop_is_the_image_or_its_mirror() -> None:
    x = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = crop_and_flip(x, torch.Generator().manual_seed(1), scale=(100.0, 100.0))
    for before, after in zip(x, found, strict=True):
        assert torch.allclose(before, after, atol=1e-4) or torch.allclose(before.flip(-1), after, atol=1e-4)


def test_checkpoint_loads_with_weights_only(
    nano: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def dies(step: int, *rest: object) -> np.ndarray:
        if step == 4:
            raise KeyboardInterrupt
        calls.append(step)
        return batch_rows(step, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "batch_rows", dies)
    with pytest.raises(KeyboardInterrupt):
        pretrain(
            images(),
            None,
            PRESETS["tiny"],
            PretrainOptions(steps=6, batch=4, checkpoint_every=2),
            seed=0,
            checkpoint=tmp_path / "c.pt",
        )
    state = torch.load(tmp_path / "c.pt", weights_only=True)
    assert set(state) == {"model", "optimizer", "random", "losses"}
    assert len(state["losses"]) == 4
    assert isinstance(pl.Series(state["losses"])[0], float)


@pytest.mark.parametrize("damage", ["empty", "half", "other", "flipped", "nan", "older"])
def test_a_damaged_checkpoint_is_said_and_training_starts_again(
    damage: str, nano: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = PretrainOptions(steps=4, batch=4, checkpoint_every=2)
    expected, _ = pretrain(images(), None, PRESETS["tiny"], options, seed=0, checkpoint=tmp_path / "a.pt")
    whole = (tmp_path / "a.pt").read_bytes()
    broken = tmp_path / "b.pt"
    if damage == "empty":
        broken.write_bytes(b"")
    elif damage == "half":
        broken.write_bytes(whole[: len(whole) // 2])
    elif damage == "other":
        torch.save({"losses": [1.0]}, broken)
    elif damage == "flipped":
        broken.write_bytes(whole[:5000] + bytes(byte ^ 0x55 for byte in whole[5000:5064]) + whole[5064:])
    else:
        state = torch.load(tmp_path / "a.pt", weights_only=True)
        if damage == "nan":
            next(iter(state["model"].values())).fill_(float("nan"))
        else:  # another version's names
            state["model"] = {f"kept.{name}": tensor for name, tensor in state["model"].items()}
        torch.save(state, broken)
    found, log = pretrain(images(), None, PRESETS["tiny"], options, seed=0, checkpoint=broken)
    assert same(expected, found)
    assert len(log) == 4
    assert "starting again" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_stops_with_the_step(
    nano: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        TrainingError, match=r"step \d+ is (nan|inf) at a learning rate of .* lower pretrain.lr"
    ):
        pretrain(
            images(),
            None,
            PRESETS["tiny"],
            PretrainOptions(steps=30, batch=8, lr=1e30, warmup=0.01),
            seed=0,
            checkpoint=tmp_path / "c.pt",
        )


def test_weights_that_are_not_finite_are_not_saved(
    nano: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = torch.optim.AdamW.step

    def breaks(self: torch.optim.AdamW) -> None:
        step(self)
        with torch.no_grad():
            self.param_groups[0]["params"][0].fill_(float("inf"))

    monkeypatch.setattr(torch.optim.AdamW, "step", breaks)
    options = PretrainOptions(steps=1, batch=4)
    with pytest.raises(TrainingError, match=r"not finite after step 0"):
        pretrain(images(), None, PRESETS["tiny"], options, seed=0, checkpoint=tmp_path / "c.pt")


def test_options_at_their_defaults_leave_the_configuration_of_the_first_version() -> None:
    assert set(PretrainOptions().config()) == {
        "objective",
        "steps",
        "batch",
        "lr",
        "weight_decay",
        "warmup",
        "checkpoint_every",
        "sample",
    }
    assert PretrainOptions(views=VIEWS["crop"]).config() == PretrainOptions().config()
    assert PretrainOptions(views=VIEWS["flip-only"]).config()["views"]["crop"] == (1.0, 1.0)
    assert PretrainOptions(target="normalised").config()["target"] == "normalised"


@pytest.mark.parametrize("objective", ["mae", "simclr"])
def test_views_and_target_change_what_is_trained(objective: str, nano: object, tmp_path: Path) -> None:
    def trained(**changes: object) -> torch.nn.Module:
        options = PretrainOptions(objective=objective, steps=2, batch=8, **changes)  # type: ignore[arg-type]
        return pretrain(images(), None, PRESETS["tiny"], options, seed=0, checkpoint=tmp_path / "c.pt")[0]

    default = trained()
    assert not same(default, trained(views=VIEWS["flip-only"]))
    assert not same(default, trained(views=Views(jitter=0.2)))
    assert not same(default, trained(views=Views(flip=False)))
    assert same(default, trained(target="normalised")) == (objective == "simclr")


def test_flip_only_shows_the_image_or_its_mirror_exactly() -> None:
    x = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    views = VIEWS["flip-only"]
    shown = crop_and_flip(x, torch.Generator().manual_seed(1), views.crop, views.flip)
    mirrored = [
        torch.allclose(after, before.flip(-1), atol=1e-4) for before, after in zip(x, shown, strict=True)
    ]
    straight = [torch.allclose(after, before, atol=1e-4) for before, after in zip(x, shown, strict=True)]
    assert all(a != b for a, b in zip(mirrored, straight, strict=True))
    assert 3 < sum(mirrored) < 13
    unflipped = crop_and_flip(x, torch.Generator().manual_seed(1), views.crop, False)
    torch.testing.assert_close(unflipped, x, atol=1e-4, rtol=0)
    assert colour_jitter(x, torch.Generator(), 0.0) is x
