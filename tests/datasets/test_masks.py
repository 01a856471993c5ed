"""A mask means what a viewer shows, whatever its encoding; all masks of a set have one reading."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage
from scipy import ndimage

from optidel.datasets.masks import COLOUR, pack, parse_code, read_mask, unpack
from optidel.datasets.readings import VOID, Census, Reading, add_census, find_reading, take_census
from optidel.errors import InputError

RED, GREEN = (255, 0, 0), (0, 200, 0)


def blob(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    """A region of some per cent, bool (h, w)."""
    noise = np.random.default_rng(seed).normal(size=(height, width))
    smooth = ndimage.gaussian_filter(noise, 9)
    return smooth > np.quantile(smooth, 0.8)


def steps(seed: int, classes: int) -> np.ndarray:
    """Classes 0 to k - 1 as bands of a smooth picture."""
    noise = np.random.default_rng(seed).normal(size=(96, 128))
    smooth = ndimage.gaussian_filter(noise, 9)
    return np.digitize(smooth, np.quantile(smooth, np.linspace(0.4, 0.95, classes - 1))).astype(np.uint8)


def palette_png(path: Path, indices: np.ndarray, colours: Sequence[tuple[int, int, int]]) -> None:
    picture = PillowImage.fromarray(indices.astype(np.uint8), mode="P")
    picture.putpalette([level for colour in colours for level in colour])
    picture.save(path)


def save_grey(path: Path, region: np.ndarray) -> None:
    PillowImage.fromarray(region.astype(np.uint8) * 255).save(path)


def save_ones(path: Path, region: np.ndarray) -> None:
    PillowImage.fromarray(region.astype(np.uint8)).save(path)


def save_bit(path: Path, region: np.ndarray) -> None:
    PillowImage.fromarray(region).save(path)


def save_sixteen(path: Path, region: np.ndarray) -> None:
    PillowImage.fromarray(region.astype(np.uint16) * 65535).save(path)


def save_white_first(path: Path, region: np.ndarray) -> None:
    palette_png(path, ~region, [(255, 255, 255), (0, 0, 0)])


def save_black_first(path: Path, region: np.ndarray) -> None:
    palette_png(path, region, [(0, 0, 0), (255, 255, 255)])


def save_quantised(path: Path, region: np.ndarray) -> None:
    PillowImage.fromarray(region.astype(np.uint8) * 255).convert("RGB").quantize(2).save(path)


def save_rgb(path: Path, region: np.ndarray) -> None:
    PillowImage.fromarray(region.astype(np.uint8) * 255).convert("RGB").save(path)


def save_transparent(path: Path, region: np.ndarray) -> None:
    alpha = region.astype(np.uint8) * 255
    PillowImage.fromarray(np.dstack([np.full_like(alpha, 255)] * 3 + [alpha]), mode="RGBA").save(path)


def layers(colour: int, alpha: np.ndarray, mode: str) -> PillowImage.Image:
    """One grey level everywhere, seen through an alpha channel."""
    level = np.full_like(alpha, colour)
    return PillowImage.fromarray(np.dstack([level] * (len(mode) - 1) + [alpha]), mode=mode)


def save_black_through_alpha(path: Path, region: np.ndarray) -> None:
    layers(0, region.astype(np.uint8) * 255, "RGBA").save(path)


def save_black_through_grey_alpha(path: Path, region: np.ndarray) -> None:
    layers(0, region.astype(np.uint8) * 255, "LA").save(path)


def save_black_through_alpha_in_tiff(path: Path, region: np.ndarray) -> None:
    layers(0, region.astype(np.uint8) * 255, "RGBA").save(path.with_suffix(".tif"))


def save_seen_through(path: Path, region: np.ndarray) -> None:
    grey = region.astype(np.uint8) * 255
    PillowImage.fromarray(np.dstack([grey, np.zeros_like(grey)]), mode="LA").save(path)


def save_white_named_transparent(path: Path, region: np.ndarray) -> None:
    PillowImage.fromarray(region.astype(np.uint8) * 255).save(path, transparency=255)


def save_white_is_zero(path: Path, region: np.ndarray) -> None:
    tifffile.imwrite(path.with_suffix(".tif"), ~region, photometric="miniswhite")


def save_jpeg(path: Path, region: np.ndarray) -> None:
    PillowImage.fromarray(region.astype(np.uint8) * 255).save(path.with_suffix(".jpg"), quality=100)


def save_turned(path: Path, region: np.ndarray) -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = 6  # shown turned clockwise by a quarter
    PillowImage.fromarray(np.rot90(region).astype(np.uint8) * 255).save(path, exif=exif)


WAYS: dict[str, Callable[[Path, np.ndarray], None]] = {
    "grey": save_grey,
    "ones": save_ones,
    "one bit": save_bit,
    "sixteen bits": save_sixteen,
    "palette, white first": save_white_first,
    "palette, black first": save_black_first,
    "quantised": save_quantised,
    "RGB": save_rgb,
    "transparent": save_transparent,
    "black through alpha": save_black_through_alpha,
    "black through alpha, grey": save_black_through_grey_alpha,
    "black through alpha, TIFF": save_black_through_alpha_in_tiff,
    "seen through everywhere": save_seen_through,
    "white is named transparent": save_white_named_transparent,
    "white is zero": save_white_is_zero,
    "JPEG": save_jpeg,
    "EXIF": save_turned,
}


def reading_of(folder: Path, **options: object) -> tuple[Reading, dict[str, np.ndarray]]:
    files: list[Census] = []
    masks = {
        path.stem: read_mask(path, stored=options.get("rule") == "values")
        for path in sorted(folder.iterdir())
    }
    for mask in masks.values():
        add_census(files, take_census(mask))
    reading = find_reading(files, "SET", **options)  # type: ignore[arg-type]
    return reading, {stem: reading.apply(mask.codes) for stem, mask in masks.items()}


def agreement(classes: np.ndarray, expected: np.ndarray) -> float:
    return float((classes == expected).mean())


@pytest.mark.parametrize("way", WAYS)
def test_a_binary_mask_means_what_is_bright(way: str, tmp_path: Path) -> None:
    for seed in range(4):
        WAYS[way](tmp_path / f"{seed}.png", blob(seed))
    reading, classes = reading_of(tmp_path)
    assert reading.classes == 2
    for seed in range(4):
        np.testing.assert_array_equal(classes[str(seed)], blob(seed))


def test_all_ways_in_one_folder_are_one_class(tmp_path: Path) -> None:
    for seed, way in enumerate(WAYS):
        WAYS[way](tmp_path / f"{seed:02}.png", blob(seed))
    reading, classes = reading_of(tmp_path)
    assert reading.classes == 2
    for seed in range(len(WAYS)):
        np.testing.assert_array_equal(classes[f"{seed:02}"], blob(seed))


@pytest.mark.parametrize("colour", [0, 255])
def test_masks_by_alpha_may_be_empty(colour: int, tmp_path: Path) -> None:
    regions = [blob(0), np.zeros_like(blob(0)), blob(2)]
    for i, region in enumerate(regions):
        layers(colour, region.astype(np.uint8) * 255, "RGBA").save(tmp_path / f"{i}.png")
    reading, classes = reading_of(tmp_path)
    assert reading.classes == 2
    for i, region in enumerate(regions):
        np.testing.assert_array_equal(classes[str(i)], region)
    assert ("2 of 3 mask files show one colour" in reading.text) == (colour == 0)


def test_a_photograph_cut_out_along_its_mask_is_read_by_alpha(tmp_path: Path) -> None:
    for seed in range(3):
        photograph = np.random.default_rng(seed).integers(0, 256, (96, 128, 4), dtype=np.uint8)
        photograph[..., 3] = blob(seed) * 255
        PillowImage.fromarray(photograph, mode="RGBA").save(tmp_path / f"{seed}.png")
    reading, classes = reading_of(tmp_path)
    assert "what is opaque is foreground" in reading.text
    for seed in range(3):
        np.testing.assert_array_equal(classes[str(seed)], blob(seed))


def test_what_a_file_is_called_does_not_make_it_lossy(tmp_path: Path) -> None:
    """Three classes: as PNG called JPEG and as lossless WebP classes, as JPEG called PNG levels."""
    for i, (ending, kind) in enumerate({"jpg": "PNG", "webp": "WEBP"}.items()):
        PillowImage.fromarray(steps(i, 3)).save(tmp_path / f"{i}.{ending}", format=kind, lossless=True)
    reading, classes = reading_of(tmp_path)
    assert reading.classes == 3
    for i in range(2):
        np.testing.assert_array_equal(classes[str(i)], steps(i, 3))

    for i in range(2):
        (tmp_path / f"{i}.jpg").unlink(missing_ok=True)
        (tmp_path / f"{i}.webp").unlink(missing_ok=True)
        PillowImage.fromarray(steps(i, 3) * 127).save(tmp_path / f"{i}.png", format="JPEG", quality=80)
    reading, classes = reading_of(tmp_path)
    assert reading.classes == 3
    assert min(agreement(classes[str(i)], steps(i, 3)) for i in range(2)) > 0.97


def test_grey_and_one_colour_in_one_folder_are_one_class_and_it_is_said(tmp_path: Path) -> None:
    save_grey(tmp_path / "0.png", blob(0))
    palette_png(tmp_path / "1.png", blob(1), [(0, 0, 0), RED])
    reading, classes = reading_of(tmp_path)
    assert reading.classes == 2
    assert reading.text == "the mask values 0, 255, #ff0000: 255, #ff0000 are foreground alike"
    np.testing.assert_array_equal(classes["1"], blob(1))


@pytest.mark.parametrize("encoding", ["png", "jpg"])
def test_colours_are_classes(encoding: str, tmp_path: Path) -> None:
    table = np.array([(0, 0, 0), GREEN, RED], np.uint8)
    for seed in range(4):
        colours = table[steps(seed, 3)]
        PillowImage.fromarray(colours).save(tmp_path / f"{seed}.{encoding}", quality=90, subsampling=0)
    reading, classes = reading_of(tmp_path)
    assert reading.classes == 3
    for seed in range(4):
        assert agreement(classes[str(seed)], steps(seed, 3)) > (0.9999 if encoding == "png" else 0.98)


@pytest.mark.parametrize("quality", [75, 95])
def test_blends_of_a_compressed_picture_are_no_classes(quality: int, tmp_path: Path) -> None:
    """Chroma at half resolution, as most programs write JPEG."""
    table = np.array([(0, 0, 0), RED, GREEN, (0, 0, 255)], np.uint8)
    for seed in range(4):
        colours = table[steps(seed, 4)].repeat(2, axis=0).repeat(2, axis=1)
        PillowImage.fromarray(colours).save(tmp_path / f"{seed}.jpg", quality=quality)
    reading, classes = reading_of(tmp_path)
    assert reading.classes == 4
    order = [int(value) for value in np.unique(classes["0"])]
    assert order == [0, 1, 2, 3]


def test_palette_indices_give_the_order_and_255_is_void(tmp_path: Path) -> None:
    colours = [(0, 0, 0)] * 256
    colours[1], colours[2], colours[VOID] = RED, GREEN, (224, 224, 192)
    for seed in range(4):
        indices = steps(seed, 3)
        indices[:4] = VOID
        palette_png(tmp_path / f"{seed}.png", indices, colours)
    reading, classes = reading_of(tmp_path)
    assert reading.classes == 3
    assert "#e0e0c0 is void" in reading.text
    expected = steps(0, 3)
    expected[:4] = VOID
    np.testing.assert_array_equal(classes["0"], expected)


def test_a_palette_of_one_colour_is_read_by_its_indices(tmp_path: Path) -> None:
    palette_png(tmp_path / "0.png", steps(0, 3), [(0, 0, 0)] * 256)
    reading, classes = reading_of(tmp_path)
    assert reading.classes == 3
    np.testing.assert_array_equal(classes["0"], steps(0, 3))


@pytest.mark.parametrize("ignore", [(), (255,), ("255",)])
def test_void_is_no_class(ignore: tuple[object, ...], tmp_path: Path) -> None:
    for seed in range(4):
        values = steps(seed, 4)
        values[-5:] = 255
        PillowImage.fromarray(values).save(tmp_path / f"{seed}.png")
    reading, classes = reading_of(tmp_path, ignore=ignore)
    assert reading.classes == 4
    assert "255 is void" in reading.text
    assert (classes["0"][-5:] == VOID).all()
    np.testing.assert_array_equal(classes["0"][:-5], steps(0, 4)[:-5])


def test_void_of_16_bits_leaves_the_classes_as_they_are(tmp_path: Path) -> None:
    values = steps(0, 4).astype(np.uint16)
    values[:5] = 65535
    PillowImage.fromarray(values).save(tmp_path / "0.png")
    reading, classes = reading_of(tmp_path)
    assert reading.classes == 4
    assert (classes["0"][:5] == VOID).all()
    np.testing.assert_array_equal(classes["0"][5:], steps(0, 4)[5:])


@pytest.mark.parametrize("count", [2, 4])
def test_minus_one_beside_classes_is_void(count: int, tmp_path: Path) -> None:
    values = steps(0, count).astype(np.int16)
    values[:5] = -1
    tifffile.imwrite(tmp_path / "0.tif", values)
    reading, classes = reading_of(tmp_path)
    assert reading.classes == count
    assert "-1 is void" in reading.text
    assert (classes["0"][:5] == VOID).all()
    np.testing.assert_array_equal(classes["0"][5:], steps(0, count)[5:])


def test_minus_one_alone_is_foreground(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "0.tif", -blob(0).astype(np.int8))
    reading, classes = reading_of(tmp_path)
    assert reading.classes == 2
    np.testing.assert_array_equal(classes["0"], blob(0))


def test_masks_whose_zero_is_white_are_said(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "0.tif", blob(0))  # tifffile writes bool so
    with PillowImage.open(tmp_path / "0.tif") as picture:
        seen = np.asarray(picture.convert("L")) > 127
    tifffile.imwrite(tmp_path / "1.tif", blob(1), photometric="minisblack")
    reading, classes = reading_of(tmp_path)
    np.testing.assert_array_equal(classes["0"], seen)
    assert "1 of 2 mask files state that zero is white" in reading.text
    assert not reading.plain


def test_void_beside_one_class_and_void_by_name(tmp_path: Path) -> None:
    values = steps(0, 3)
    PillowImage.fromarray(np.array([0, 1, 255], np.uint8)[values]).save(tmp_path / "0.png")
    assert reading_of(tmp_path)[0].classes == 2
    PillowImage.fromarray(np.array([0, 80, 160], np.uint8)[values]).save(tmp_path / "0.png")
    assert reading_of(tmp_path)[0].classes == 3
    assert reading_of(tmp_path, ignore=(160,))[0].classes == 2
    with pytest.raises(InputError, match=r"evaluate\.ignore names 7, but the masks of SET hold 0, 80, 160"):
        reading_of(tmp_path, ignore=(7,))


@pytest.mark.parametrize("levels", [(0, 127, 255), (0, 85, 170, 255)])
@pytest.mark.parametrize("encoding", ["png", "jpg"])
def test_grey_levels_far_apart_are_classes(levels: tuple[int, ...], encoding: str, tmp_path: Path) -> None:
    for seed in range(4):
        values = np.array(levels, np.uint8)[steps(seed, len(levels))]
        PillowImage.fromarray(values).save(tmp_path / f"{seed}.{encoding}", quality=90)
    reading, classes = reading_of(tmp_path)
    assert reading.classes == len(levels)
    assert agreement(classes["2"], steps(2, len(levels))) > 0.97


@pytest.mark.parametrize("blur", [0.6, 2.0, 4.0])
@pytest.mark.parametrize("encoding", ["png", "jpg"])
def test_blurred_edges_are_no_classes(blur: float, encoding: str, tmp_path: Path) -> None:
    for seed in range(4):
        values = ndimage.gaussian_filter(blob(seed) * 255.0, blur)
        PillowImage.fromarray(values.astype(np.uint8)).save(tmp_path / f"{seed}.{encoding}", quality=75)
    reading, classes = reading_of(tmp_path)
    assert reading.classes == 2
    assert agreement(classes["1"], blob(1)) > 0.95


def test_supersampled_edges_are_no_classes(tmp_path: Path) -> None:
    for seed in range(4):
        fine = blob(seed, 192, 256).astype(float)
        values = fine.reshape(96, 2, 128, 2).mean((1, 3)) * 255  # five levels
        PillowImage.fromarray(values.astype(np.uint8)).save(tmp_path / f"{seed}.png")
    assert reading_of(tmp_path)[0].classes == 2


def test_thin_vessels_of_two_kinds_stay_two_classes(tmp_path: Path) -> None:
    for seed in range(4):
        values = np.zeros((96, 128), np.uint8)
        rng = np.random.default_rng(seed)
        for column in rng.choice(np.arange(2, 126, 4), 20, replace=False):
            values[:, column : column + 2] = rng.choice([128, 255])
        PillowImage.fromarray(values).save(tmp_path / f"{seed}.png")
    assert reading_of(tmp_path)[0].classes == 3


def numbered(seed: int, count: int, *, by_rows: bool) -> np.ndarray:
    rng = np.random.default_rng(seed)
    cells = rng.permutation(8 * 8)[:count]
    if by_rows:
        cells = np.sort(cells)
    values = np.zeros((96, 96), np.uint16)
    for number, cell in enumerate(cells, 1):
        row, column = divmod(int(cell), 8)
        values[12 * row + 2 : 12 * row + 9, 12 * column + 2 : 12 * column + 9] = number
    return values


@pytest.mark.parametrize(("counts", "by_rows"), [((20, 25, 31, 18), False), ((2, 3, 4, 2, 3, 1), True)])
def test_instances_are_no_classes(counts: tuple[int, ...], by_rows: bool, tmp_path: Path) -> None:
    for seed, count in enumerate(counts):
        PillowImage.fromarray(numbered(seed, count, by_rows=by_rows)).save(tmp_path / f"{seed}.png")
    reading, classes = reading_of(tmp_path)
    assert reading.classes == 2
    assert "instances" in reading.text
    assert 'evaluate.masks = "values"' in reading.text
    np.testing.assert_array_equal(classes["0"], numbered(0, counts[0], by_rows=by_rows) > 0)
    assert reading_of(tmp_path, rule="values")[0].classes == max(counts) + 1
    assert reading_of(tmp_path, rule="foreground")[0].classes == 2


def test_instances_behind_a_palette_are_no_classes(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(30, 256, (256, 3))
    colours[0] = 0
    for seed, count in enumerate((20, 25, 31, 18)):
        values = numbered(seed, count, by_rows=False)
        palette_png(tmp_path / f"{seed}.png", values, [tuple(colour) for colour in colours.tolist()])
    reading, classes = reading_of(tmp_path)
    assert reading.classes == 2
    assert "instances" in reading.text
    np.testing.assert_array_equal(classes["0"], numbered(0, 20, by_rows=False) > 0)


def test_few_numbers_in_any_order_ask_a_person_to_look(tmp_path: Path) -> None:
    for seed, count in enumerate((4, 6, 5, 7)):
        PillowImage.fromarray(numbered(seed, count, by_rows=False)).save(tmp_path / f"{seed}.png")
    reading = reading_of(tmp_path)[0]
    assert reading.classes == 8
    assert 'if they number instances, set evaluate.masks = "foreground"' in reading.text
    assert not reading.plain


def test_organs_are_classes_also_where_some_are_absent(tmp_path: Path) -> None:
    """Disc and cup lie in each other; ventricles and muscle come and go by slice."""
    y, x = np.mgrid[:96, :96]
    for seed in range(8):
        radius = np.hypot(y - 48 - seed, x - 48)
        disc_cup = (radius < 30).astype(np.uint8) + (radius < 10 * (seed != 3))
        PillowImage.fromarray(disc_cup).save(tmp_path / f"{seed}.png")
    assert reading_of(tmp_path)[0].classes == 3
    for seed in range(8):
        values = np.zeros((96, 96), np.uint8)
        values[20:40, 20:40] = 3 * (seed != 2)
        values[50:70, 20:40] = 2
        values[50:70, 60:80] = 1 * (seed % 3 > 0)
        PillowImage.fromarray(values).save(tmp_path / f"{seed}.png")
    assert reading_of(tmp_path)[0].classes == 4


def test_too_many_values_and_none_say_what_to_do(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    PillowImage.fromarray(rng.integers(0, 60_000, (40, 40)).astype(np.uint16)).save(tmp_path / "0.png")
    with pytest.raises(InputError, match=r"at most 64 classes .*evaluate\.masks = .foreground."):
        reading_of(tmp_path)
    save_grey(tmp_path / "0.png", np.zeros((40, 40), np.bool_))
    with pytest.raises(InputError, match="the value 0 only"):
        reading_of(tmp_path)
    PillowImage.fromarray(steps(0, 3)).save(tmp_path / "0.jpg", quality=90)
    (tmp_path / "0.png").unlink()
    with pytest.raises(InputError, match=r"are JPEG and reach \d of 255"):
        reading_of(tmp_path)
    PillowImage.fromarray(rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)).save(tmp_path / "0.jpg")
    with pytest.raises(InputError, match="coloured picture"):
        reading_of(tmp_path)


def test_codes_and_their_names() -> None:
    colours = np.array([(0, 0, 0), (7, 7, 7), RED, (224, 224, 192)])
    codes = pack(colours)
    assert codes.tolist()[:2] == [0, 7]
    assert codes[2] == COLOUR + 0xFF0000
    np.testing.assert_array_equal(unpack(codes), colours)
    assert parse_code("#e0e0c0") == codes[3]
    assert parse_code("#070707") == parse_code(7) == 7
    with pytest.raises(InputError, match=r"'red' is no value of a mask"):
        parse_code("red")
