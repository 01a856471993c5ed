import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Raster

from optidel.features.overlay import Zones
from optidel.features.patches import PatchOptions, crop, key_patches, refusals
from optidel.models.masks import Mask
from optidel.records import KeyPatch

HEIGHT, WIDTH = 240, 320


def textured(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(0).integers(60, 200, (height, width, 3), dtype=np.uint8)


def zones(height: int = HEIGHT, width: int = WIDTH, **found: np.ndarray) -> Zones:
    nothing = {
        name: np.zeros((height, width), dtype=bool) for name in ("border", "overlay", "glare", "background")
    }
    return Zones(**{**nothing, **found})


def area(y0: int, y1: int, x0: int, x1: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    field = np.zeros((height, width), dtype=bool)
    field[y0:y1, x0:x1] = True
    return field


def mask(y0: int, y1: int, x0: int, x1: int, iou: float = 0.9, stability: float = 0.9) -> Mask:
    return Mask(mask=area(y0, y1, x0, x1), predicted_iou=iou, stability=stability)


def only(
    masks: list[Mask],
    found: Zones | None = None,
    options: PatchOptions | None = None,
    image: np.ndarray | None = None,
) -> KeyPatch:
    (patch,) = key_patches("f", textured() if image is None else image, masks, found or zones(), options)
    return patch


def test_a_patch_is_the_square_around_the_mask_with_its_margin() -> None:
    patch = only([mask(100, 140, 150, 210, 0.8, 0.7)])
    assert patch == KeyPatch(
        frame="f", box=(141, 81, 219, 159), area=2400, predicted_iou=0.8, stability=0.7, refused=""
    )


def test_a_patch_at_the_edge_is_shifted_inside_the_frame() -> None:
    x0, y0, x1, y1 = only([mask(0, 60, 270, 320)]).box
    assert (y0, x1) == (0, 320)
    assert x1 - x0 == y1 - y0 == 78


def test_sides_are_bounded_and_a_speck_is_too_small() -> None:
    assert only([mask(100, 110, 100, 110)]).box[2] - only([mask(100, 110, 100, 110)]).box[0] == 24
    large = only([mask(0, 240, 0, 320)])
    assert large.box[2] - large.box[0] == 144
    assert only([mask(100, 104, 100, 104)]).refused == "small"
    tiny = key_patches(
        "f",
        textured(20, 20),
        [Mask(mask=np.ones((20, 20), dtype=bool), predicted_iou=1, stability=1)],
        zones(20, 20),
    )
    assert [patch.refused for patch in tiny] == ["small"]
    assert tiny[0].box == (0, 0, 20, 20)


@pytest.mark.parametrize("name", ["border", "overlay"])
def test_a_patch_moves_off_border_and_overlay_and_still_shows_the_mask(name: str) -> None:
    found = zones(**{name: area(0, 240, 0, 95)})
    x0, y0, x1, y1 = only([mask(100, 160, 100, 160)], found).box
    assert x0 >= 95
    assert (x0, x1) != (91, 169)
    assert area(100, 160, 100, 160)[y0:y1, x0:x1].sum() >= 0.5 * 3600


@pytest.mark.parametrize("name", ["border", "overlay"])
def test_a_patch_that_cannot_move_off_is_refused(name: str) -> None:
    found = zones(**{name: area(0, 240, 0, 150)})
    assert only([mask(100, 160, 100, 160)], found).refused == name


def test_reflections_background_and_flat_areas_are_refused() -> None:
    assert only([mask(100, 160, 100, 160)], zones(glare=area(100, 135, 90, 170))).refused == "glare"
    assert only([mask(100, 112, 100, 112)], zones(glare=area(98, 113, 99, 114))).refused == "glare", (
        "the mask is the reflection"
    )
    assert only([mask(100, 160, 100, 160)], zones(background=area(0, 150, 0, 320))).refused == "flat"
    assert only([mask(100, 160, 100, 160)], zones(background=area(0, 120, 0, 320))).refused == ""
    plain = textured()
    plain[80:180, 80:180] = 120
    assert only([mask(100, 160, 100, 160)], image=plain).refused == "flat"


def test_of_two_that_overlap_the_better_stays() -> None:
    masks = [mask(100, 160, 100, 160, 0.5), mask(105, 165, 105, 165, 0.9), mask(20, 60, 250, 300, 0.1)]
    patches = key_patches("f", textured(), masks, zones())
    assert [(patch.predicted_iou, patch.refused) for patch in patches] == [
        (0.9, ""),
        (0.5, "nested"),
        (0.1, ""),
    ]
    assert all(
        not patch.refused for patch in key_patches("f", textured(), masks, zones(), PatchOptions(overlap=1.0))
    )


def test_a_refused_patch_does_not_shadow_another() -> None:
    found = zones(glare=area(100, 112, 100, 112))
    patches = key_patches(
        "f", textured(), [mask(100, 112, 100, 112, 0.99), mask(90, 140, 90, 140, 0.5)], found
    )
    assert [patch.refused for patch in patches] == ["glare", ""]


def test_empty_masks_are_dropped_and_refusals_are_counted() -> None:
    assert key_patches("f", textured(), [mask(5, 5, 5, 5)], zones()) == []
    patches = key_patches(
        "f", textured(), [mask(100, 104, 100, 104), mask(10, 13, 10, 13), mask(100, 160, 100, 160)], zones()
    )
    assert refusals(patches) == {"small": 2}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_whatever_the_masks_an_accepted_patch_is_a_square_in_the_frame_free_of_border_and_overlay(
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    height, width = int(rng.integers(30, 160)), int(rng.integers(30, 160))
    blots = {
        name: np.kron(rng.random((4, 4)) > 0.8, np.ones((40, 40), dtype=bool))[:height, :width]
        for name in ("border", "overlay")
    }
    masks = []
    for _ in range(6):
        y, x = int(rng.integers(0, height)), int(rng.integers(0, width))
        field = area(y, y + int(rng.integers(1, 90)), x, x + int(rng.integers(1, 90)), height, width)
        masks.append(Mask(mask=field, predicted_iou=float(rng.random()), stability=float(rng.random())))
    found = zones(height, width, **blots)
    patches = key_patches("f", textured(height, width), masks, found)
    assert len(patches) == 6
    for patch in patches:
        x0, y0, x1, y1 = patch.box
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        assert x1 - x0 == y1 - y0
        hidden = (found.border | found.overlay)[y0:y1, x0:x1].any()
        assert (
            patch.refused in {"border", "overlay", "small"}
            if hidden
            else patch.refused not in {"border", "overlay"}
        )


def test_a_crop_is_pillows_own_resize_of_the_cut() -> None:
    image = textured()
    reference = Raster.fromarray(image).crop((20, 30, 120, 130)).resize((48, 48), Raster.Resampling.BICUBIC)
    np.testing.assert_array_equal(crop(image, (20, 30, 120, 130), 48), np.asarray(reference))
    np.testing.assert_array_equal(crop(image, (20, 30, 68, 78), 48), image[30:78, 20:68])
