"""A registry file of one's own."""

from pathlib import Path

import pytest
from fakes import region, save, write

from optidel.copies.datasets import conflicts
from optidel.datasets import DATASETS, check, load_registry, open_labelled
from optidel.errors import InputError

TOML = r"""
[our-polyps]
title = "Our polyps"
task = "polyp segmentation"
images = 3
licence = "in house"
annotation = "instances"
classes = ["polyp"]
hints = ["ours"]
pattern = '/(?P<patient>\d+)-'
unit = ["patient"]
contained_in = ["kvasir-seg"]
[[our-polyps.layouts]]
title = "stills and masks"
ids = '\d+-[a-z]'
parts = [{ name = "stills", images = "stills/{id}.{ending}", masks = ["masks/{id}.png"], count = [3] }]
"""


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    (tmp_path / "sets.toml").write_text(TOML)
    return tmp_path / "sets.toml"


def test_own_sets_stand_beside_datadel_and_are_checked_and_read_alike(registry: Path, tmp_path: Path) -> None:
    known = load_registry(registry)
    assert list(known) == [*DATASETS, "our-polyps"]
    folder = write(
        tmp_path / "ours",
        [name for i in ("1-a", "1-b", "2-a") for name in (f"stills/{i}.jpg", f"masks/{i}.png")],
    )
    result = check(folder, registry=known)
    assert (result.dataset.name, result.whole, result.units) == ("our-polyps", True, 2)
    save(folder / "masks" / "1-a.png", region(value=7))
    found = open_labelled(folder, registry=known)
    assert [image.unit for image in found.images] == ["patient:1", "patient:1", "patient:2"]
    assert found.mask(found.images[0], (12, 16)).max() == 1, "every object is foreground, whatever its number"
    assert conflicts(["hyperkvasir"], ["our-polyps"], known)[0].certain, "through Kvasir-SEG"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("images = 3", "imges = 3"), "unknown key 'imges'; did you mean 'images'"),
        (("images = 3", 'images = "3"'), "our-polyps.images must be of the type int, got '3'"),
        (('annotation = "instances"', 'annotation = "instance"'), "our-polyps.annotation must be one of"),
        (
            ('"kvasir-seg"', '"kvasirseg"'),
            "refers to the set 'kvasirseg', which nobody describes; did you mean 'kvasir-seg'",
        ),
        (("[our-polyps]", "[etis]"), "already called 'etis'"),
        (('unit = ["patient"]', 'unit = "patient"'), "our-polyps.unit must be a list"),
        (
            ('name = "stills", images', 'name = "stills", image'),
            r"our-polyps.layouts\[0\].parts\[0\]: unknown key 'image'",
        ),
        (('title = "stills and masks"', ""), r"our-polyps.layouts\[0\]: title is missing"),
        (("[our-polyps]", "[our-polyps"), "is no TOML"),
    ],
)
def test_every_mistake_in_the_file_is_named(registry: Path, change: tuple[str, str], message: str) -> None:
    text = TOML.replace(*change)
    if change[1] == "[etis]":
        text = text.replace("our-polyps.layouts", "etis.layouts")
    registry.write_text(text)
    with pytest.raises(InputError, match=message):
        load_registry(registry)


def test_a_missing_file_is_an_error_of_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the registry"):
        load_registry(tmp_path / "gone.toml")
    (tmp_path / "flat.toml").write_text("etis = 3")
    with pytest.raises(InputError, match="'etis' is no set; a set is a table"):
        load_registry(tmp_path / "flat.toml")
