"""Sets that are published to hold each other's images: a run says so, and refuses to train on its own test
images unawares.
"""

from pathlib import Path

import numpy as np
import pytest
from nano import recipe
from pictures import picture
from PIL import Image

from optidel.errors import InputError, RecipeError
from optidel.pipeline.pipeline import Pipeline
from optidel.recipe import make_recipe

NAMES = [f"cju0qkwl35piu0993l0dewe{number:02d}" for number in range(14)]


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Path, Path]:
    """HyperKvasir with Kvasir-SEG in it, as it is published, and Kvasir-Sessile, which is a part of that."""
    rng = np.random.default_rng(0)
    hyper, sessile = tmp_path / "hyper-kvasir", tmp_path / "sessile-main-Kvasir-SEG"
    folders = [
        hyper / "labeled-images/lower-gi-tract/polyps",
        hyper / "segmented-images/images",
        hyper / "segmented-images/masks",
    ]
    for folder in (*folders, sessile / "images", sessile / "masks"):
        folder.mkdir(parents=True)
    for number in range(10):
        Image.fromarray(picture(rng)[0]).save(folders[0] / f"0a5f3601-4141-{number:04d}.png")
    for number, name in enumerate(NAMES):
        image, mask = picture(rng)
        for folder in (folders[1:], (sessile / "images", sessile / "masks"))[: 2 if number < 10 else 1]:
            Image.fromarray(image).save(folder[0] / f"{name}.png")
            Image.fromarray(mask).save(folder[1] / f"{name}.png")
    return hyper, sessile


def pipeline(hyper: Path, sessile: Path, **changes: object) -> Pipeline:
    return Pipeline(make_recipe(recipe(hyper, sessile, hyper.parent / "run", **changes)))


def test_a_run_on_its_own_test_images_is_refused(nano: object, sets: tuple[Path, Path]) -> None:
    with pytest.raises(
        RecipeError,
        match=r"image of Kvasir-Sessile is in HyperKvasir, and \d+ test images are in .*leaks = \"drop\"",
    ):
        pipeline(*sets).leaks  # noqa: B018
    assert pipeline(*sets, leaks="off").leaks is None


def test_dropped_or_taken_out_it_goes_on_and_says_so(
    nano: object, sets: tuple[Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    hyper, sessile = sets
    tested = pipeline(hyper, sessile).task.table("items.parquet").filter(split="test")["source"].to_list()
    held = {Path(source).name for source in tested}
    staying = pipeline(hyper, sessile, leaks="drop").index.table("frames.parquet")["source"].to_list()
    assert not held & {
        Path(source).name for source in staying if source.startswith("segmented-images/images")
    }
    assert (
        "sets: every image of Kvasir-Sessile is in HyperKvasir; the test images found are left out"
        in capfd.readouterr().err
    )
    for name in NAMES:
        (hyper / "segmented-images" / "images" / f"{name}.png").unlink()
    assert pipeline(hyper, sessile).leaks is not None
    assert (
        "every image of Kvasir-Sessile is in HyperKvasir; no test image was found" in capfd.readouterr().err
    )


def test_the_set_around_a_folder_of_images_is_meant(nano: object, sets: tuple[Path, Path]) -> None:
    _, sessile = sets
    with pytest.raises(RecipeError, match="Kvasir-Sessile is pre-trained on and tested on"):
        pipeline(sessile / "images", sessile).leaks  # noqa: B018


def test_a_registry_file_in_the_recipe_describes_the_labelled_set(nano: object, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    own = tmp_path / "our-polyps"
    for kind in ("stills", "outlines"):
        (own / kind).mkdir(parents=True)
    for patient in range(6):
        for number in range(3):
            image, mask = picture(rng)
            Image.fromarray(image).save(own / "stills" / f"{patient}-{number}.png")
            Image.fromarray(mask).save(own / "outlines" / f"{patient}-{number}.png")
    told = """
[our-polyps]
classes = ["polyp"]
hints = ["our-polyps"]
pattern = '/(?P<patient>[0-9]+)-'
unit = ["patient"]
[[our-polyps.layouts]]
title = "stills and outlines"
parts = [{ name = "stills", images = "stills/{id}.png", masks = ["outlines/{id}.png"] }]
"""
    registry = tmp_path / "sets.toml"
    registry.write_text(told)
    made = pipeline(own, own, registry=str(registry)).task
    items = made.table("items.parquet")
    sides = [set(items.filter(split=side)["group"]) for side in ("train", "test")]
    assert sides[0]
    assert sides[1]
    assert not sides[0] & sides[1]
    registry.write_text(told.replace("(?P<patient>[0-9]+)-", "-(?P<patient>[0-9]+)"))
    assert pipeline(own, own, registry=str(registry)).task.path != made.path  # another unit, another split
    with pytest.raises(InputError, match="is no labelled set"):
        pipeline(own, own).task  # noqa: B018
