"""One small run for the tests of the gallery: frames, key patches, composites and three methods."""

from pathlib import Path

import pytest
from nano import NANO_RECIPE
from pictures import NANO, fill

from optidel.models.presets import PRESETS
from optidel.pipeline.pipeline import Pipeline
from optidel.recipe import make_recipe


@pytest.fixture(scope="session")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with the choices of three methods; two frames have hostile names."""
    root = tmp_path_factory.mktemp("chosen")
    images = root / "images"
    fill(images / "north", 14, 0)
    fill(images / "south", 12, 1)
    first, second = sorted((images / "north").iterdir())[:2]
    first.rename(first.with_name("<img src=x onerror=alert(1)>.png"))
    second.rename(second.with_name("=cmd,\"quoted\" and 'so'.png"))
    methods = ["random", "optidel", "optidel-paper"]
    values = {"images": str(images), "out": str(root / "run"), "methods": methods, **NANO_RECIPE}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", NANO)
        pipeline = Pipeline(make_recipe(values))
        pipeline.until("select")
        pipeline.until("compose")
    return root / "run"
