from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Raster
from PIL import ImageDraw, ImageFont

from optidel.features.overlay import Zones, forbidden, group_overlay

HEIGHT, WIDTH = 240, 300
SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def tissue(rng: np.random.Generator, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Smooth reddish mucosa with a little noise."""
    rough = rng.uniform(-25, 25, (6, 8)).astype(np.float32)
    shade = np.asarray(Raster.fromarray(rough).resize((width, height), Raster.Resampling.BICUBIC))
    colour = np.array([190, 110, 90]) + shade[..., None] + rng.normal(0, 2, (height, width, 1))
    return np.clip(colour, 0, 255).astype(np.uint8)


def octagon(height: int = HEIGHT, width: int = WIDTH, cut: int = 60) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    corner = np.minimum(x, width - 1 - x) + np.minimum(y, height - 1 - y)
    return (corner >= cut) & (x >= 15) & (x < width - 10)


def endoscopy(rng: np.random.Generator, text: str = "") -> np.ndarray:
    image = tissue(rng)
    image[~octagon()] = 4
    if text:
        picture = Raster.fromarray(image)
        ImageDraw.Draw(picture).text((40, 100), text, fill=(245, 245, 245), font=ImageFont.load_default(12))
        image = np.asarray(picture)
    return image


def ink(with_text: np.ndarray, without: np.ndarray) -> np.ndarray:
    return np.abs(with_text.astype(int) - without).max(axis=-1) > 40


def test_the_octagon_of_a_colour_frame_is_border_with_a_safety_rim_and_nothing_else_is() -> None:
    zones = forbidden(endoscopy(np.random.default_rng(0)))
    assert not (~octagon() & ~zones.border).any()
    assert (zones.border & octagon()).mean() < 0.06
    assert not zones.overlay.any()
    assert not zones.glare.any()
    assert not zones.background.any()
    np.testing.assert_array_equal(zones.valid, ~zones.border)


def test_a_picture_beside_the_lit_area_belongs_to_the_border() -> None:
    rng = np.random.default_rng(1)
    image = np.full((HEIGHT, WIDTH, 3), 16, np.uint8)
    image[20:220, 110:290] = tissue(rng, 200, 180)
    image[180:220, 20:60] = tissue(rng, 40, 40)
    assert forbidden(image).border[180:220, 20:60].all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_burned_in_text_on_tissue_is_covered(seed: int) -> None:
    plain, written = (endoscopy(np.random.default_rng(seed), text) for text in ("", "13/06/2014"))
    zones = forbidden(written)
    covered = (zones.overlay | zones.border)[ink(written, plain)]
    assert covered.mean() > 0.98
    assert zones.overlay.mean() < 0.05


def test_scattered_reflections_are_glare_and_not_text() -> None:
    rng = np.random.default_rng(3)
    image = endoscopy(rng)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    spots = [(60, 80, 9), (100, 200, 5), (150, 120, 7), (180, 190, 4), (90, 140, 3)]
    blown = np.any([(x - column) ** 2 + (y - row) ** 2 <= radius**2 for row, column, radius in spots], axis=0)
    image[blown] = 252
    zones = forbidden(image)
    assert zones.glare[blown].mean() > 0.99
    assert zones.glare.sum() < 3 * blown.sum()
    assert not zones.overlay.any()


def test_a_painted_box_over_tissue_is_overlay_in_full() -> None:
    image = endoscopy(np.random.default_rng(4))
    image[150:200, 60:120] = (25, 190, 155)
    zones = forbidden(image)
    assert zones.overlay[150:200, 60:120].all()
    assert zones.overlay.sum() < 1.6 * 50 * 60


def test_black_around_a_grey_organ_is_background_and_not_border() -> None:
    y, x = np.mgrid[:200, :180]
    brain = ((x - 90) / 60) ** 2 + ((y - 100) / 75) ** 2 < 1
    shade = np.where(brain, 120 + 40 * np.sin(x / 6) * np.cos(y / 7), 0).astype(np.uint8)
    zones = forbidden(np.repeat(shade[..., None], 3, axis=-1))
    assert not zones.border.any()
    assert not zones.overlay.any()
    assert zones.background[~brain].mean() > 0.97
    assert zones.background[brain].mean() < 0.03


@pytest.mark.parametrize("tilt", [0.0, 0.05])
def test_a_straight_black_band_of_a_grey_frame_is_border_even_when_tilted(tilt: float) -> None:
    y, x = np.mgrid[:200, :200]
    shade = np.clip(120 + 60 * np.sin(x / 20) + np.random.default_rng(0).normal(0, 3, (200, 200)), 40, 255)
    band = y >= 160 + tilt * (x - 100)
    shade[band] = 0
    zones = forbidden(np.repeat(shade[..., None], 3, axis=-1).astype(np.uint8))
    assert zones.border[band].mean() > 0.95
    assert zones.border[~band].mean() < 0.05


def test_the_name_plate_of_an_x_ray_is_overlay() -> None:
    y, x = np.mgrid[:320, :320]
    shade = (110 + 70 * np.sin(x / 40) * np.cos(y / 50)).astype(np.uint8)
    shade[20:26, 270:300] = 255
    shade[20:44, 30:34] = 255
    zones = forbidden(np.repeat(shade[..., None], 3, axis=-1))
    assert zones.overlay[20:26, 270:300].all()
    assert zones.overlay[20:44, 30:34].all()
    assert zones.overlay.mean() < 0.02


def test_cells_in_the_dark_are_neither_border_nor_text() -> None:
    y, x = np.mgrid[:256, :256]
    cells = np.zeros((256, 256), np.uint8)
    for row in range(20, 250, 30):
        for column in range(20, 250, 24):
            cells[(x - column) ** 2 + (y - row) ** 2 < 25] = 230
    zones = forbidden(np.repeat(cells[..., None], 3, axis=-1))
    assert not zones.border.any()
    assert not zones.overlay.any()
    assert zones.valid.all()


def test_a_bright_frame_and_a_black_frame_and_a_single_pixel_do_not_fail() -> None:
    white = forbidden(np.full((40, 50, 3), 250, np.uint8))
    assert white.valid.all()
    assert not white.background.any()
    black = forbidden(np.zeros((40, 50, 3), np.uint8))
    assert black.background.all() | black.border.all()
    assert forbidden(np.full((1, 1, 3), 90, np.uint8)).border.shape == (1, 1)


def test_a_large_frame_is_measured_small_and_its_zones_come_back_in_its_own_size() -> None:
    small = endoscopy(np.random.default_rng(5))
    large = np.repeat(np.repeat(small, 4, axis=0), 4, axis=1)
    zones = forbidden(large)
    assert zones.border.shape == (4 * HEIGHT, 4 * WIDTH)
    reference = np.repeat(np.repeat(forbidden(small).border, 4, axis=0), 4, axis=1)
    assert (zones.border != reference).mean() < 0.04


def test_what_the_group_shows_is_added_and_stretched_to_the_frame() -> None:
    image = endoscopy(np.random.default_rng(6))
    overlay = np.zeros((HEIGHT // 2, WIDTH // 2), dtype=bool)
    overlay[50:60, 70:90] = True
    assert forbidden(image, overlay).overlay[100:120, 140:180].all()


def group(rng: np.random.Generator, count: int) -> np.ndarray:
    frames = []
    for number in range(count):
        image = tissue(rng)
        image[~octagon()] = 4
        image[180:200, 200:230] = (40, 80, 200)
        picture = Raster.fromarray(image)
        ImageDraw.Draw(picture).text(
            (40, 100),
            f"{number:02d}/{number % 12:02d}/2014",
            fill=(245, 245, 245),
            font=ImageFont.load_default(12),
        )
        frames.append(np.asarray(picture))
    return np.stack(frames)


def test_a_group_shows_its_constant_box_and_its_changing_date() -> None:
    rng = np.random.default_rng(7)
    frames = group(rng, 12)
    found = group_overlay(frames)
    assert found[182:198, 202:228].all()
    often = (frames.min(axis=-1) > 200).mean(axis=0) > 0.5
    assert found[often].all()
    assert found.mean() < 0.1


def test_a_group_too_small_or_of_one_scene_shows_nothing() -> None:
    rng = np.random.default_rng(8)
    assert not group_overlay(group(rng, 7)).any()
    assert not group_overlay(np.repeat(group(rng, 1), 12, axis=0)).any()
    assert group_overlay(np.zeros((0, 5, 6, 3), np.uint8)).shape == (5, 6)


@pytest.mark.data
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared development images are not on this machine")
@pytest.mark.parametrize(("pattern", "least", "most"), [("C3_*", 0.02, 0.7), ("*OLCV*", 0.0, 0.35)])
def test_real_endoscopy_keeps_most_of_its_lit_area(pattern: str, least: float, most: float) -> None:
    for path in sorted((SHARED / "polypgen-dev" / "images").glob(pattern))[:40:10]:
        zones: Zones = forbidden(np.asarray(Raster.open(path).convert("RGB")))
        assert least <= zones.border.mean() <= most, path.name
        assert (zones.overlay & ~zones.border).mean() < 0.08, path.name


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared development images are not on this machine")
@pytest.mark.parametrize("modality", ["cyto-malaria", "histo-lung", "skin-dermoscopy", "us-muscle"])
def test_what_holds_no_text_is_not_called_text(modality: str) -> None:
    paths = sorted((SHARED / "mixed" / modality).iterdir())
    shares = []
    for path in paths[:: max(1, len(paths) // 25)]:
        zones: Zones = forbidden(np.asarray(Raster.open(path).convert("RGB")))
        shares.append((zones.overlay & ~zones.border).mean())
    # The first version called 20 of 25 cells and 14 of 25 muscles text over more than a twentieth.
    assert max(shares) < 0.05
