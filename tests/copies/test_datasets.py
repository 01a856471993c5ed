"""Sets inside sets: the published relations, and what the files show."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from optidel.copies.datasets import conflicts, contains, images_of, shared_images
from optidel.datasets import DATASETS
from optidel.errors import InputError

DATA = Path(__file__).parents[3] / "shared" / "data"


def scene(seed: int, side: int = 160) -> Image.Image:
    """A picture with structure at the scales that a perceptual hash looks at."""
    coarse = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def test_sessile_is_in_seg_and_seg_in_hyperkvasir() -> None:
    assert contains("kvasir-seg", "kvasir-sessile")
    assert contains("hyperkvasir", "kvasir-seg")
    assert contains("hyperkvasir", "kvasir-sessile"), "through Kvasir-SEG"
    assert not contains("kvasir-sessile", "hyperkvasir")
    assert not contains("hyperkvasir", "cvc-clinicdb")


def test_conflicts_are_certain_where_published_and_suspected_where_the_source_is_one() -> None:
    found = conflicts(["hyperkvasir", "gastrovision"], ["kvasir-sessile", "kvasir-seg", "etis"])
    assert [(c.pretraining, c.downstream, c.certain) for c in found] == [
        ("hyperkvasir", "kvasir-sessile", True),
        ("hyperkvasir", "kvasir-seg", True),
        ("gastrovision", "kvasir-seg", False),
    ]
    assert "leave them out of HyperKvasir" in found[0].remedy
    assert conflicts(["kvasir-sessile"], ["kvasir-seg"])[0].reason == "Kvasir-Sessile is a part of Kvasir-SEG"
    assert conflicts(["polypgen"], ["polypgen"])[0].certain
    assert conflicts(["cvc-300"], ["cvc-colondb"])[0].certain is False
    assert conflicts(["kvasir-capsule"], [name for name in DATASETS if name != "kvasir-capsule"]) == []
    with pytest.raises(InputError, match="did you mean 'hyperkvasir'"):
        conflicts(["hyper-kvasir"], ["etis"])


def test_shared_images_are_found_by_pixels_by_look_and_by_name(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    for i in range(4):
        scene(i).save(first / f"case-{i}.png")
    scene(0).save(second / "renamed.png")
    scene(1).resize((120, 120)).save(second / "smaller.jpg", quality=85)
    scene(50).save(second / "case-2.png")  # another picture under the same name
    scene(60).save(second / "3.png")
    found = shared_images(*images_of(first), *images_of(second))
    assert [(image.first, image.second, image.how) for image in found] == [
        ("case-0.png", "renamed.png", "pixels"),
        ("case-1.png", "smaller.jpg", "similar"),
        ("case-2.png", "case-2.png", "name"),
    ]


def test_numbers_are_no_names(tmp_path: Path) -> None:
    for number, folder in enumerate(("first", "second")):
        (tmp_path / folder).mkdir()
        scene(number).save(tmp_path / folder / "1.png")
    assert shared_images(*images_of(tmp_path / "first"), *images_of(tmp_path / "second")) == []


def test_masks_are_not_compared(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        scene(1).save(tmp_path / kind / "a.png")
    assert images_of(tmp_path)[1] == ["images/a.png"]


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="the shared development images are not here")
def test_the_planted_copies_of_cbc_are_all_found() -> None:
    found = shared_images(*images_of(DATA / "cbc" / "Validation"), *images_of(DATA / "cbc" / "Training"))
    assert sum(image.how == "pixels" for image in found) == 60
