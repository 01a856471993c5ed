"""``crop = "content"``: the lit area goes in, the black around it stays out, everywhere alike."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_content import octagon
from typer.testing import CliRunner

import optidel
from optidel.cli import app
from optidel.corpus.frames import Corpus
from optidel.corpus.index import index_step
from optidel.corpus.options import IndexOptions
from optidel.corpus.pixels import write_pixels
from optidel.readers.content import content_box
from optidel.readers.decode import fit
from optidel.store import Store

FRAME = octagon(90, 12, 310, 230)
LEFT, TOP, RIGHT, BOTTOM = content_box(FRAME)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = tmp_path / "images"
    images.mkdir()
    Image.fromarray(FRAME).save(images / "lit.png")
    Image.fromarray(FRAME[..., 1]).save(images / "grey.png")
    return images


def test_the_lit_area_is_the_frame(folder: Path) -> None:
    grey, lit = (corpus := optidel.index(folder, crop="content")).frames
    assert (lit.height, lit.width) == (BOTTOM - TOP, RIGHT - LEFT)
    assert (lit.height, lit.width) != FRAME.shape[:2]
    assert (grey.height, grey.width) == FRAME.shape[:2]
    expected = FRAME[TOP:BOTTOM, LEFT:RIGHT]
    np.testing.assert_array_equal(corpus.image(1), expected)
    np.testing.assert_array_equal(dict(corpus.images([1]))[1], expected)
    np.testing.assert_allclose(corpus.pixels(1), expected / 255, atol=1e-6)
    np.testing.assert_array_equal(corpus.image(0)[..., 0], FRAME[..., 1])
    whole = optidel.index(folder)
    assert whole.frames[1].sha256 != lit.sha256
    np.testing.assert_array_equal(whole.image(1), FRAME)


def test_a_run_trains_on_the_lit_area(folder: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    corpus = Corpus.load(index_step(store, folder, IndexOptions(crop="content")))
    assert corpus.crop == "content"
    pixels = store.build("pixels", lambda work: write_pixels(work, corpus, 32, store), version=1, config={})
    np.testing.assert_array_equal(pixels.array("pixels.npy")[1], fit(FRAME[TOP:BOTTOM, LEFT:RIGHT], 32))


def test_indexes_made_without_it_stay_valid(folder: Path, tmp_path: Path) -> None:
    plain = index_step(Store(tmp_path / "run"), folder, IndexOptions())
    assert "crop" not in plain.json("index.json")["scan"]
    assert Corpus.load(plain).crop == "none"


def test_the_recipe_asks_for_it(folder: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[corpus]\ncrop = "content"\n')
    run = tmp_path / "run"
    done = CliRunner().invoke(
        app, ["index", str(folder), "--out", str(run), "--config", str(recipe), "--json"]
    )
    assert done.exit_code == 0, done.output
    corpus = Corpus.load(Store(run).artifacts("index")[0])
    assert json.loads(done.stdout)["frames"] == 2
    assert corpus.frames[1].width == RIGHT - LEFT
    recipe.write_text('[corpus]\ncrop = "square"\n')
    done = CliRunner().invoke(app, ["index", str(folder), "--out", str(run), "--config", str(recipe)])
    assert "corpus.crop: input should be 'none' or 'content', got 'square'" in str(done.exception)
