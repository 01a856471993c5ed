"""Exported encoders: the same outputs, and a card that says what they were trained on and names nobody."""

import csv
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from nano import recipe
from pictures import NANO, fill
from safetensors.torch import load_file
from transformers import AutoModel

from optidel import cli
from optidel.errors import InputError, RecipeError
from optidel.export import ENCODERS, export_encoder, find_selection
from optidel.models.encoders import load_encoder
from optidel.models.presets import PRESETS
from optidel.models.timm_names import to_timm
from optidel.pipeline.pipeline import Pipeline
from optidel.recipe import make_recipe
from optidel.records import Composite, from_table
from optidel.store import Store


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Encoders trained on half of 24 frames of two patients at random, and on three composites of them."""
    root = tmp_path_factory.mktemp("trained")
    for number, patient in enumerate(("Jane-Roe", "John-Doe")):
        fill(root / "images" / patient, 12, seed=number)
    corpus = {"pattern": "(?P<patient>J[^/]+)/"}
    values = recipe(root / "images", root / "images", root / "run", corpus=corpus)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", NANO)
        Pipeline(make_recipe(values | {"methods": ["random"], "budget": 0.5})).until("pretrain")
        Pipeline(make_recipe(values | {"methods": ["optidel-paper"]})).until("pretrain")
    return root / "run"


def folder_of(run: Path, method: str) -> Path:
    """The encoder's own folder, found by the selection it was trained on."""
    selection = find_selection(Store(run), method, None, None)
    [artifact] = [
        artifact
        for artifact in Store(run).artifacts("pretrain")
        if selection.select.content in artifact.inputs.values()
    ]
    return artifact.path / "encoder"


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("method", ["random", "optidel-paper"])
def test_the_folder_is_the_encoder_and_loads(method: str, trained: Path, tmp_path: Path) -> None:
    made = export_encoder(trained, "encoder", method=method, out=tmp_path / "out")
    own = folder_of(trained, method)
    for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
        assert (made.path / name).read_bytes() == (own / name).read_bytes()
    encoder = load_encoder(own).eval()
    x = encoder.normalise(noise())
    model = AutoModel.from_pretrained(made.path, mask_ratio=0.0).eval()
    with torch.no_grad():
        vectors = model(pixel_values=x).last_hidden_state[:, 1:].mean(1)
        torch.testing.assert_close(vectors, encoder(x), atol=1e-5, rtol=1e-5)


def test_timm_is_the_encoder_under_other_names(trained: Path, tmp_path: Path) -> None:
    made = export_encoder(trained, "timm", method="random", out=tmp_path / "out")
    wanted = to_timm(load_encoder(folder_of(trained, "random")))
    assert json.loads((made.path / "config.json").read_text()) == wanted.config
    found = load_file(made.path / "model.safetensors")
    assert set(found) == set(wanted.state)
    for name, tensor in wanted.state.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


def test_onnx_gives_the_vectors_of_the_encoder(trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript, of the extra onnx, is not installed")
    runtime = pytest.importorskip("onnxruntime")
    made = export_encoder(trained, "onnx", method="random", out=tmp_path / "out")
    session = runtime.InferenceSession((made.path / "encoder.onnx").read_bytes())
    images = noise().transpose(0, 3, 1, 2).astype(np.float32) / 255
    encoder = load_encoder(folder_of(trained, "random")).eval()
    with torch.no_grad():
        wanted = encoder(encoder.normalise(noise())).numpy()
    np.testing.assert_allclose(session.run(["vector"], {"images": images})[0], wanted, atol=1e-4)


@pytest.mark.parametrize("format", ["encoder", "timm"])
@pytest.mark.parametrize("method", ["random", "optidel-paper"])
def test_the_card_says_what_it_was_trained_on(
    format: str, method: str, trained: Path, tmp_path: Path
) -> None:
    made = export_encoder(trained, format, method=method, out=tmp_path / "out")
    selection = find_selection(Store(trained), method, None, None)
    frames = selection.index.table("frames.parquet")
    by_id = {name: (sha256, group) for name, sha256, group in frames.select("id", "sha256", "group").rows()}
    if selection.compose:
        composites = from_table(Composite, selection.compose.table("composites.parquet"))
        images = [sorted(set(composite.sources)) for composite in composites]
    else:
        kept = selection.select.table("selection.parquet").filter("kept").sort("rank")
        images = [[name] for name in kept["id"]]
    wanted = [(number, by_id[name][0]) for number, names in enumerate(images, 1) for name in names]

    with (made.path / "training-set.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert sorted((int(row["image"]), row["sha256"]) for row in rows) == sorted(wanted)
    groups = {by_id[name][1] for names in images for name in names}
    assert len({row["group"] for row in rows}) == len(groups)
    assert all(re.fullmatch("[0-9a-f]{16}", row["group"]) for row in rows)

    card = (made.path / "README.md").read_text()
    count = {"random": "12 frames", "optidel-paper": "3 images composed of key patches of"}[method]
    assert f"| method | `{method}` |" in card
    assert f"| budget | {selection.budget:g} of the corpus |" in card
    assert f"| trained on | {count}" in card
    assert "| chosen from | 24 frames |" in card
    assert f"trained on | {len(groups)} |" in card
    assert "for\n4 steps of 8 images" in card
    assert made.images == len(images)
    everything = b"".join(path.read_bytes() for path in made.path.rglob("*") if path.is_file())
    for name in ("Jane", "John", "image-0", str(trained)):
        assert name.encode() not in everything


def test_the_head_of_the_card_is_what_the_hub_reads(trained: Path, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    for format, library in {"encoder": "transformers", "timm": "timm"}.items():
        made = export_encoder(trained, format, method="random", out=tmp_path / format)
        data = ModelCard.load(made.path / "README.md").data
        assert data.license == "unknown"
        assert data.library_name == library
        assert data.pipeline_tag == "image-feature-extraction"
        assert data.tags == ["optidel", "medical-imaging", "self-supervised-learning", "vit-mae"]


def test_the_snippet_of_the_card_runs(trained: Path, tmp_path: Path) -> None:
    made = export_encoder(trained, "encoder", method="random", out=tmp_path / "out")
    [code] = re.findall(r"```python\n(.*?)```", (made.path / "README.md").read_text(), flags=re.DOTALL)
    namespace = {"x": torch.zeros(2, 3, 32, 32)}
    exec(code.replace("THIS FOLDER", str(made.path)), namespace)
    assert namespace["tokens"].shape == (2, 17, 32)


def test_it_is_found_again_and_nothing_is_overwritten(trained: Path) -> None:
    first = export_encoder(trained, "timm", method="random")
    times = {path: path.stat().st_mtime_ns for path in first.path.iterdir()}
    assert export_encoder(trained, "timm", method="random") == first
    assert {path: path.stat().st_mtime_ns for path in first.path.iterdir()} == times
    assert first.path.parent == trained / "exports"


def test_refusals(trained: Path, make_corpus: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="unknown format 'tim' of an encoder; did you mean 'timm'"):
        export_encoder(trained, "tim")
    folder = make_corpus(8)
    Pipeline(make_recipe(recipe(folder, folder, tmp_path / "run", methods=["random"], budget=0.5))).until(
        "select"
    )
    with pytest.raises(InputError, match=r"no encoder is pre-trained on select-.*run `optidel pretrain`"):
        export_encoder(tmp_path / "run", "encoder")


def test_command(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["optidel", "export", str(trained), "--format", "timm", "--method", "random"]
    monkeypatch.setattr(sys, "argv", [*words, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    told = capsys.readouterr().out
    assert "the encoder trained on 12 images of random at a budget of 0.5, seed 0, as timm" in told
    (tmp_path / "tags.csv").write_text("id,tag\n")
    monkeypatch.setattr(sys, "argv", [*words, "--tags", str(tmp_path / "tags.csv")])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert "leave out --tags" in capsys.readouterr().err


def test_without_the_extra_onnx_it_is_named(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    words = ["optidel", "export", str(trained), "--format", "onnx", "--method", "random"]
    monkeypatch.setattr(sys, "argv", [*words, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert (
        "this needs onnxscript, which is not installed; pip install 'optidel[onnx]'"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


def test_every_encoder_format_is_in_the_docs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "export.md").read_text()
    for format in ENCODERS:
        assert f"| `{format}` |" in text
