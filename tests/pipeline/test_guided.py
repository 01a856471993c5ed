"""What is guided by held-out frames, in a run and a bench: influence of frames, and mixtures of concepts."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from command import call
from killing import bytes_of, killed_run
from nano import recipe
from nano_bench import values
from pictures import NANO

from optidel import methods
from optidel.benchmark import forecast, make_bench, run_bench, write_bench_report
from optidel.errors import InputError, RecipeError
from optidel.features.clusters import cluster
from optidel.methods.mixture import ConceptShares, fit_mixture, propose_mixtures
from optidel.models.encoders import load_mae, normalise
from optidel.models.mae import complementary_noise, patch_errors
from optidel.pipeline import gradients
from optidel.pipeline.checkpoints import checkpoints, warmup_moments
from optidel.pipeline.gradients import LastBlock
from optidel.pipeline.pipeline import Pipeline
from optidel.pipeline.steps import influence as influence_steps
from optidel.pipeline.steps import mixture as mixture_steps
from optidel.pipeline.steps.mixture import proxy_preset
from optidel.pipeline.weights import Weights
from optidel.recipe import as_json, make_recipe
from optidel.report.costs import _preparing, step_costs
from optidel.runs.collect import read_run
from optidel.training.heldout import held_out
from optidel.training.schedule import cosine

Make = Callable[..., Path]
GUIDED: dict[str, Any] = {
    "methods": ["random", "influence", "mixture"],
    "corpus": {"holdout": 0.25},
    "mixture": {"proxies": 5, "steps": 2, "concepts": 3},
}


def pipeline(images: Path, out: Path, **changes: Any) -> Pipeline:
    return Pipeline(make_recipe(recipe(images, images, out, **(GUIDED | changes))))


def test_a_warm_up_keeps_a_quarter_and_a_half_of_itself(
    nano: object, make_corpus: Make, tmp_path: Path
) -> None:
    assert warmup_moments(800) == (200, 400)
    assert warmup_moments(2) == (1,)
    assert warmup_moments(1) == ()
    run = pipeline(make_corpus(24), tmp_path / "run", encoder={"steps": 8})
    states = checkpoints(run.mae)
    assert [Path(state.folder).name for state in states] == ["encoder-0000002", "encoder-0000004", "encoder"]
    rates = [cosine(step, 8, run.recipe.pretrain.lr, 0.1) for step in range(8)]
    assert [state.rate for state in states] == pytest.approx(
        [sum(rates[:2]), sum(rates[2:4]), sum(rates[4:])]
    )
    assert checkpoints(Weights(name="somewhere"))[0].rate == 1.0


def slow_influence(
    folder: str, images: np.ndarray, held: np.ndarray, noise: torch.Tensor, mask: torch.Tensor
) -> np.ndarray:
    """Gradients of every image by itself, through the weights of the linear layers of the last block."""
    model: Any = load_mae(folder).eval()
    weights = [
        module.weight for module in model.vit.layers[-1].modules() if isinstance(module, torch.nn.Linear)
    ]

    def gradient(image: np.ndarray, masks: torch.Tensor) -> np.ndarray:
        total = 0.0
        for row in masks:
            error, hidden, _ = patch_errors(model, normalise(image[None], torch.device("cpu")), row[None])
            total = total + (error * hidden).sum() / hidden.sum() / len(masks)
        parts = torch.autograd.grad(total, weights)
        return np.concatenate([part.double().numpy().ravel() for part in parts])

    of_held_out = np.mean([gradient(image, noise) for image in held], axis=0)
    return np.array([gradient(image, mask[None]) @ of_held_out for image in images])


def test_influences_are_those_of_gradients_taken_one_by_one(
    nano: object, make_corpus: Make, tmp_path: Path
) -> None:
    run = pipeline(make_corpus(16), tmp_path / "run")
    assert run.unseen is not None
    images, held = np.asarray(run.pixels.array("pixels.npy")), np.asarray(run.unseen.array("pixels.npy"))
    noise = complementary_noise(16, torch.Generator().manual_seed(0))
    expected = np.zeros(len(images))
    for number, state in enumerate(checkpoints(run.mae)):
        expected += state.rate * slow_influence(state.folder, images, held, noise, noise[number % 4])
    found = run.influence.array("influence.npy")
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    summary = run.influence.json("summary.json")
    assert summary["states"] == 3
    assert summary["scored"] == summary["frames"] == len(images)
    assert summary["positive"] == pytest.approx((expected > 0).mean())


def test_an_image_has_one_influence_whatever_is_scored_beside_it(
    nano: object, make_corpus: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = pipeline(make_corpus(16), tmp_path / "run")
    images = np.asarray(run.pixels.array("pixels.npy"))
    block = LastBlock(checkpoints(run.mae)[-1].folder)
    noise = complementary_noise(16, torch.Generator().manual_seed(0))
    held = block.held_out_gradients(images[:4], noise)
    together = block.influence(images, noise[0], held)
    alone = [block.influence(images[row : row + 1], noise[0], held)[0] for row in range(len(images))]
    np.testing.assert_array_equal(together, alone)
    monkeypatch.setattr(gradients, "BLOCK", 5)
    parts = LastBlock(checkpoints(run.mae)[-1].folder).held_out_gradients(images, noise)
    whole = block.held_out_gradients(images, noise)
    for part, entire in zip(parts, whole, strict=True):
        np.testing.assert_allclose(part, entire, atol=1e-7)


def test_of_a_large_corpus_some_frames_are_scored_and_the_others_follow_the_nearest(
    nano: object, make_corpus: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_corpus(24)
    every = pipeline(folder, tmp_path / "every").influence.array("influence.npy")
    monkeypatch.setattr(influence_steps, "MOST", 6)
    run = pipeline(folder, tmp_path / "some")
    some = np.asarray(run.influence.array("influence.npy"))
    rows = np.linspace(0, len(every) - 1, 6).round().astype(int)
    vectors = np.asarray(run.compared.array("vectors.npy"), np.float64)
    nearest = rows[(vectors @ vectors[rows].T).argmax(axis=1)]
    np.testing.assert_array_equal(some, every[nearest])
    assert run.influence.json("summary.json")["scored"] == 6


def test_the_run_chooses_what_the_array_functions_choose(
    nano: object, make_corpus: Make, tmp_path: Path
) -> None:
    run = pipeline(make_corpus(32), tmp_path / "run")
    vectors = np.asarray(run.compared.array("vectors.npy"))
    concepts, shares = run.mixture.array("concepts.npy"), run.mixture.array("shares.npy")
    guides = {
        "influence": {"influences": np.asarray(run.influence.array("influence.npy"))},
        "mixture": {"mixture": ConceptShares(concepts=np.asarray(concepts), shares=np.asarray(shares))},
    }
    for method, guide in guides.items():
        expected = methods.select(vectors, method, 3, **guide)
        table = run.select(method, 0).table("selection.parquet").filter("kept").sort("rank")
        assert table["item"].to_list() == expected.indices.tolist()
        held = set(run.holdout.table("held_out.parquet")["id"]) if run.holdout else set()
        assert held
        assert not held & set(run.select(method, 0).table("selection.parquet")["id"])


def test_proxies_are_small_models_of_the_mixtures_and_the_shares_are_fitted_to_them(
    nano: object, make_corpus: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Any] = []

    def pretrain(images: Any, rows: Any, preset: Any, options: Any, **rest: Any) -> Any:
        trained.append((rows, preset, options, rest["seed"]))
        return torch.nn.Module(), None

    entropies = iter(np.linspace(0.9, 0.5, 5))

    class Measured:
        values = 2

        @property
        def h_conditional(self) -> float:
            return 2 * float(next(entropies))

    monkeypatch.setattr(mixture_steps, "pretrain", pretrain)
    monkeypatch.setattr(mixture_steps, "mae_information", lambda *_, **__: Measured())
    run = pipeline(make_corpus(40), tmp_path / "run")
    table = run.mixture.table("proxies.parquet")
    assert table["h"].to_list() == pytest.approx(np.linspace(0.9, 0.5, 5).tolist())

    vectors = np.asarray(run.compared.array("vectors.npy"))
    labels = np.unique(cluster(vectors, 3, rng=np.random.default_rng(0)).labels, return_inverse=True)[1]
    np.testing.assert_array_equal(run.mixture.array("concepts.npy"), labels)
    mixtures = propose_mixtures(labels, 5, np.random.default_rng([0, 1]))
    np.testing.assert_allclose(table.drop("h").to_numpy(), mixtures)
    fitted = fit_mixture(mixtures, table["h"].to_numpy(), np.random.default_rng([0, 2]))
    expected = fitted.shares if fitted.error < fitted.spread else mixtures[0]
    np.testing.assert_allclose(run.mixture.array("shares.npy"), expected)
    assert run.mixture.json("summary.json")["explains"] == (fitted.error < fitted.spread)

    assert [preset for _, preset, _, _ in trained] == [proxy_preset(NANO)] * 5
    assert {(options.steps, options.objective, seed) for _, _, options, seed in trained} == {(2, "mae", 0)}
    for rows, *_ in trained:
        assert len(rows) == len(set(rows.tolist())) == 8  # a quarter of 30 frames, at least a batch
    assert {tuple(rows) for rows, *_ in trained} != {tuple(trained[0][0])}


def test_proxies_are_measured_as_encoders_are(nano: object, make_corpus: Make, tmp_path: Path) -> None:
    """A proxy trained by the ordinary step, on the images that it was drawn, has the same entropy."""
    from optidel.methods.mixture import draw_mixture
    from optidel.models.encoders import save_encoder
    from optidel.pipeline.steps.mixture import LEAST_SHARE
    from optidel.training.pretrain import PretrainOptions, pretrain

    run = pipeline(make_corpus(40), tmp_path / "run")
    assert run.unseen is not None
    table, labels = run.mixture.table("proxies.parquet"), run.mixture.array("concepts.npy")
    shares = table.drop("h").to_numpy()[2]
    vectors = np.asarray(run.compared.array("vectors.npy"))
    rng = np.random.default_rng([0, 3, 2])
    drawn = draw_mixture(vectors, np.asarray(labels), np.maximum(shares, LEAST_SHARE), 8, rng=rng).indices
    model, _ = pretrain(
        run.pixels.array("pixels.npy"),
        np.sort(drawn),
        proxy_preset(NANO),
        PretrainOptions(steps=2, batch=8),
        seed=0,
        checkpoint=tmp_path / "none.pt",
    )
    save_encoder(model, tmp_path / "proxy", NANO.size)
    groups = range(len(run.unseen.array("pixels.npy")))
    expected = held_out(tmp_path / "proxy", run.unseen.array("pixels.npy"), "mae", groups=groups)
    assert table["h"][2] == pytest.approx(expected.mean, abs=1e-9)


def test_by_default_the_proxies_take_a_third_of_one_pre_training() -> None:
    made = make_recipe({"images": "a", "out": "b"})
    small = proxy_preset(NANO)
    assert (small.width, small.depth) == (NANO.width // 2, NANO.depth // 2)
    steps = made.pretrain.steps // 8
    operations = (small.width**2 * small.depth) / (NANO.width**2 * NANO.depth)
    assert made.mixture.proxies * steps * operations < made.pretrain.steps / 3
    assert "mixture" not in as_json(made)
    changed = make_recipe({"images": "a", "out": "b", "mixture": {"proxies": 30}})
    assert as_json(changed)["mixture"]["proxies"] == 30


@pytest.mark.parametrize("method", ["influence", "mixture"])
def test_they_need_held_out_frames(
    method: str, nano: object, make_corpus: Make, labelled: Path, tmp_path: Path
) -> None:
    message = rf"'{method}' chooses by what lowers the held-out V-entropy, and no frame is held out; set"
    with pytest.raises(RecipeError, match=message):
        pipeline(tmp_path, tmp_path / "run", methods=[method], corpus={"holdout": 0.0})
    # By default a small corpus holds nothing out, which is known once it is indexed.
    made = recipe(make_corpus(12), labelled, tmp_path / "run", methods=[method])
    with pytest.raises(RecipeError, match=message):
        Pipeline(make_recipe(made)).finish()
    assert not list((tmp_path / "run").glob("warmup-*"))


def test_killed_in_every_step_the_same_bytes_come_out(make_corpus: Make, tmp_path: Path) -> None:
    corpus = make_corpus(40)
    changes = GUIDED | {"methods": ["influence", "mixture"]}
    assert killed_run(corpus, tmp_path / "whole", changes, []) == ["done"]
    kills = ["warmup:1", "influence:2", "mixture:3", "mixture:5"]
    assert killed_run(corpus, tmp_path / "killed", changes, kills) == ["killed"] * 4 + ["done"]
    expected = bytes_of(tmp_path / "whole")
    steps = {name.partition("/")[0].rpartition("-")[0] for name in expected}
    assert steps >= {"warmup", "influence", "mixture", "select", "pretrain"}
    assert not any("/parts/" in name for name in expected)
    assert bytes_of(tmp_path / "killed") == expected


def test_a_run_from_the_command_line_has_them_in_table_report_and_gallery(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    (tmp_path / "recipe.toml").write_text(
        "budget = 0.125\n[corpus]\nholdout = 0.25\n[encoder]\nsteps = 4\n[pretrain]\nsteps = 4\nbatch = 8\n"
        '[evaluate]\nsteps = 2\nbatch = 4\ntrain = 8\ntest = 8\nprotocols = ["probe"]\n'
        "[mixture]\nproxies = 4\nsteps = 2\nconcepts = 3\n"
    )
    options = ("--labelled", labelled, "--methods", "random,influence,mixture", "--out", out)
    assert call(monkeypatch, "run", make_corpus(40), "--config", tmp_path / "recipe.toml", *options) == 0
    [result] = out.glob("result-*")
    cells = pl.read_parquet(result / "cells.parquet")
    cost = dict(cells.select("method", "seconds_select").iter_rows())
    assert cost["influence"] > cost["random"]
    opened = read_run(out)
    assert {guide.step for guide in opened.guides} == {"influence", "mixture"}
    spent = {step.step for step in step_costs(opened)}
    assert spent >= {"influence", "mixture", "warmup", "embed"}
    trials = {trial.method: trial for trial in opened.trials}
    shared = _preparing(opened, trials["mixture"])
    [mixture] = [guide for guide in opened.guides if guide.step == "mixture"]
    assert opened.warmup is not None
    assert opened.embed is not None
    expected = opened.warmup.seconds + opened.embed.seconds + mixture.seconds
    assert shared == pytest.approx(expected)

    page = (out / "report.html").read_text()
    assert "influence and mixture were guided by these very held-out frames, so H flatters them" in page
    assert "mixture" in page
    assert call(monkeypatch, "gallery", out) == 0


def test_a_bench_has_them_and_says_what_they_take(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path
) -> None:
    changes = {name: value for name, value in GUIDED.items() if name != "methods"}
    bench = make_bench(
        values(make_corpus(32), labelled, methods=GUIDED["methods"], seeds=[0, 1], budgets=[0.25], **changes)
    )
    items = {item.what: item for item in forecast.forecast(bench, tmp_path / "bench").items}
    assert items["influence"].total == items["mixture"].total == 1
    assert items["mixture"].seconds > 0
    outcome = run_bench(bench, tmp_path / "bench")
    assert (outcome.done, outcome.failed) == (8, ())
    for step in ("influence", "mixture", "warmup"):
        assert len(list((tmp_path / "bench").glob(f"{step}-*"))) == 1
    items = {item.what: item for item in forecast.forecast(bench, tmp_path / "bench").items}
    assert items["influence"].measured
    page = write_bench_report(tmp_path / "bench").read_text()
    assert "influence and mixture were guided by these very held-out frames" in page


def test_an_earlier_warm_up_without_states_serves_with_its_last(
    nano: object, make_corpus: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = pipeline(make_corpus(16), tmp_path / "run")
    assert run.mae.artifact is not None
    hashes = {name: mark for name, mark in run.mae.artifact.hashes.items() if "encoder-" not in name}
    run.mae = Weights(artifact=replace(run.mae.artifact, hashes=hashes))  # type: ignore[misc]
    assert run.influence.json("summary.json")["states"] == 1
    assert "one state" in capsys.readouterr().err


def test_a_masked_autoencoder_that_is_given_is_one_state(
    nano: object, make_corpus: Make, tmp_path: Path
) -> None:
    folder = make_corpus(24)
    encoder = checkpoints(pipeline(folder, tmp_path / "other").mae)[-1].folder
    run = pipeline(folder, tmp_path / "run", encoder={"weights": encoder})
    assert run.mae.artifact is None
    assert run.influence.json("summary.json")["states"] == 1
    images, held = np.asarray(run.pixels.array("pixels.npy")), np.asarray(run.unseen.array("pixels.npy"))  # type: ignore[union-attr]
    noise = complementary_noise(16, torch.Generator().manual_seed(0))
    expected = slow_influence(encoder, images, held, noise, noise[0])
    found = run.influence.array("influence.npy")
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_a_corpus_of_one_concept_has_no_mixture() -> None:
    alike = np.ones((12, 3), np.float32)
    with pytest.raises(InputError, match="the frames are all alike, so there is no mixture of concepts"):
        mixture_steps._concepts(alike, 3, np.random.default_rng(0))
