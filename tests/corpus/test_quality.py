"""Marks and measures of single frames, and the perceptual hash."""

import io

import numpy as np
import pytest
from pictures import picture
from PIL import Image, ImageFilter
from scipy.fft import dctn
from scipy.ndimage import laplace

from optidel.corpus.quality import Thresholds, examine, flaw, marks, perceptual_hash


def bits(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


def copy_of(image: np.ndarray, quality: int = 80, scale: float = 0.75) -> np.ndarray:
    """The picture resized and encoded again."""
    small = Image.fromarray(image).resize(
        (round(image.shape[1] * scale), round(image.shape[0] * scale)), Image.Resampling.LANCZOS
    )
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def test_worthless_frames_are_marked() -> None:
    assert flaw(np.full((20, 20, 1), 0.5, np.float32)) == "blank"
    assert flaw(np.zeros((20, 20, 1), np.float32)) == "blank"
    assert flaw(np.ones((20, 20, 3), np.float32)) == "blank"
    noise = np.random.default_rng(0).normal(128, 4, (200, 200, 1)).round().astype(np.uint8)
    assert marks(examine(noise)) == ("blank",)
    assert marks(examine(np.full((30, 40, 3), 77, np.uint8))) == ("blank", "constant")
    white = np.full((100, 100, 3), 255, np.uint8)
    white[:20, :20] = 90
    assert examine(white).flaw == "saturated"
    assert flaw(np.random.default_rng(0).random((20, 20, 3), dtype=np.float32)) == ""


def test_dim_cells_on_black_are_kept_and_a_speck_is_dark() -> None:
    y, x = np.mgrid[:256, :256]
    cells = np.full((256, 256, 1), 4, np.uint8)
    for top, left in ((40, 60), (130, 200), (220, 90)):
        cells[(y - top) ** 2 + (x - left) ** 2 < 81] = 60
    assert examine(cells).dark > Thresholds().dark
    assert examine(cells).flaw == ""
    speck = np.zeros((256, 256, 1), np.uint8)
    speck[100:106, 100:106] = 220
    assert examine(speck).flaw in ("dark", "blank")


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 300, 3), (300, 9, 3), (97, 211, 1)])
def test_measures_of_any_shape_are_finite(shape: tuple[int, int, int]) -> None:
    found = examine(np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8))
    numbers = [found.mean, found.deviation, found.sharpness, found.entropy, found.border, found.structure]
    assert np.isfinite(numbers).all()
    assert len(found.phash) == 64


def test_measures_match_their_definitions() -> None:
    rng = np.random.default_rng(2)
    image = picture(rng, 90, 96)[
        0
    ]  # no more samples than are looked at: nothing is skipped but rows of the Laplacian
    found, grey = examine(image), image.astype(float).mean(axis=2)
    assert found.mean == pytest.approx(grey.mean())
    assert found.deviation == pytest.approx(grey.std())
    assert found.dark == (image.max(axis=2) <= 10).mean()
    assert found.colour == pytest.approx(np.abs(image[..., 0].astype(int) - image[..., 2]).mean())
    levels = np.unique(np.floor(grey + 1e-9), return_counts=True)[1] / grey.size
    assert found.entropy == pytest.approx(-(levels * np.log2(levels)).sum())
    inner = laplace(image[..., 1].astype(float))[1:-1, 1:-1][::12]
    assert found.laplacian == pytest.approx(inner.var(), rel=1e-4)
    assert found.sharpness == pytest.approx(
        inner.var() / image[1:-1:12, 1:-1, 1].astype(float).var(), rel=1e-4
    )


def test_a_blurred_frame_is_marked_though_its_border_is_sharp() -> None:
    lit = np.linspace(0.3, 1.4, 384)[None, :, None]  # a near wall is brighter than a far one, in focus or not
    image = (picture(np.random.default_rng(3), 300, 384)[0] * lit).clip(0, 255).astype(np.uint8)
    blurred = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(6))).copy()
    for frame in (image, blurred):
        frame[:, :60] = 0
        frame[:40] = 0
    assert marks(examine(image)) == ()
    assert marks(examine(blurred)) == ("blurred",)


def test_border_counts_for_colour_frames_only() -> None:
    image = picture(np.random.default_rng(4), 96, 96)[0]
    image[:, :70] = 0
    assert examine(image).border == pytest.approx(70 / 96)
    assert "border" in marks(examine(image))
    grey = np.repeat(image[..., :1], 3, axis=2)
    assert examine(grey).border == pytest.approx(70 / 96)
    assert "border" not in marks(examine(grey))


def test_thresholds_decide() -> None:
    found = examine(picture(np.random.default_rng(5))[0])
    assert marks(found) == ()
    assert marks(found, Thresholds(blurred=1e9, entropy=9)) == ("blurred", "low-entropy")


def test_hash_is_the_median_cut_of_the_lowest_cosines() -> None:
    small = np.random.default_rng(6).normal(size=(32, 32)).astype(np.float32)
    low = dctn(small.astype(np.float64), type=2)[:16, :16]
    expected = "".join(str(int(bit)) for bit in (low > np.median(low)).ravel())
    assert f"{int(perceptual_hash(small), 16):0256b}" == expected


def test_copies_hash_alike_and_others_do_not() -> None:
    rng = np.random.default_rng(7)
    images = [picture(rng, 200, 256)[0] for _ in range(12)]
    hashed = [examine(image).phash for image in images]
    assert all(
        bits(own, examine(copy_of(image)).phash) <= Thresholds().near
        for own, image in zip(hashed, images, strict=True)
    )
    assert min(bits(one, other) for i, one in enumerate(hashed) for other in hashed[:i]) > Thresholds().near
