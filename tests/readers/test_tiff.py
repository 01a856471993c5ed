"""TIFF of every depth and layout: the pixels that OpenCV or Pillow read."""

import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from samples import SKIMAGE, encoded, tissue

from optidel.errors import InputError
from optidel.readers import Decoded, DecodeOptions, reader_for
from optidel.readers.source import Source

GREY = tissue(40, 56)[..., 1]
RAMP = np.linspace(0, 1, GREY.size).reshape(GREY.shape)


def read(data: bytes) -> list[Decoded]:
    source = Source(name="a.tif", data=data)
    reader = reader_for(source)
    assert reader
    return list(reader(source, DecodeOptions(), None))


def opencv(data: bytes) -> np.ndarray:
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return values[..., None] if values.ndim == 2 else values[..., 2::-1]


def pillow(data: bytes) -> np.ndarray:
    with Image.open(BytesIO(data)) as image:
        return np.asarray(image)


def write(values: np.ndarray, **options: object) -> bytes:
    return encoded(lambda out: tifffile.imwrite(out, values, **options))


def test_packaged_pages_as_opencv_reads_them() -> None:
    """A file of scikit-image's own tests: 64-bit floats."""
    frames = read((SKIMAGE / "multipage.tif").read_bytes())
    _, pages = cv2.imreadmulti(str(SKIMAGE / "multipage.tif"), flags=cv2.IMREAD_UNCHANGED)
    assert [frame.locator for frame in frames] == ["page:0", "page:1"]
    for frame, page in zip(frames, pages, strict=True):
        np.testing.assert_array_equal(frame.values[..., 0], page)


def test_packaged_colour_planes_as_they_lie_in_the_file() -> None:
    """Two pages of three planes of 64-bit floats, not compressed; OpenCV mixes them up and Pillow refuses
    them.
    """
    data = (SKIMAGE / "multipage_rgb.tif").read_bytes()
    frames = read(data)
    found = [data.find(np.moveaxis(frame.values, -1, 0).astype("<f8").tobytes()) for frame in frames]
    assert 0 < found[0] < found[1]


@pytest.mark.parametrize(
    ("values", "low", "high", "rule"),
    [
        (GREY, 0, 255, "bit depth 8"),
        (tissue(), 0, 255, "bit depth 8"),
        ((RAMP * 65535).astype(np.uint16), 0, 65535, "bit depth 16"),
        ((RAMP * 4095).astype(np.uint16), 0, 4095, "bit depth 12 of 16"),
        (np.dstack([(RAMP * 65535).astype(np.uint16)] * 3), 0, 65535, "bit depth 16"),
        (RAMP.astype(np.float32), 0, 1, "unit range"),
    ],
    ids=["u8", "colour", "u16", "u12", "colour-16", "float-unit"],
)
def test_opencv_files_of_a_stated_range(values: np.ndarray, low: float, high: float, rule: str) -> None:
    stored = values[..., ::-1] if values.ndim == 3 else values
    (frame,) = read(cv2.imencode(".tiff", stored)[1].tobytes())
    np.testing.assert_array_equal(frame.values.squeeze(), values)
    assert (frame.low, frame.high, frame.rule) == (low, high, rule)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int32, np.uint32, np.int8])
def test_other_types_by_percentiles(dtype: type) -> None:
    values = (RAMP * 120 - (0 if dtype == np.uint32 else 20)).astype(dtype)
    data = write(values)
    (frame,) = read(data)
    np.testing.assert_array_equal(frame.values[..., 0], values)
    low, high = np.percentile(values[values != 0], [0.5, 99.5])
    low = min(low, 0) if values.min() >= 0 else low
    assert frame.rule == "percentiles 0.5-99.5"
    np.testing.assert_allclose(frame.pixels[..., 0], ((values - low) / (high - low)).clip(0, 1), atol=1e-5)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits", "lzma", "zstd", "jpeg2000"])
@pytest.mark.parametrize(
    "layout", [{}, {"tile": (16, 32)}, {"planarconfig": "separate"}, {"rowsperstrip": 7}], ids=str
)
def test_layouts_and_compressions(compression: str | None, layout: dict[str, object]) -> None:
    colour = tissue(40, 56)
    if layout.get("planarconfig"):
        data = write(np.moveaxis(colour, -1, 0), photometric="rgb", compression=compression, **layout)
    else:
        data = write(colour, photometric="rgb", compression=compression, **layout)
    (frame,) = read(data)
    np.testing.assert_array_equal(frame.values, colour)
    if compression not in ("jpeg2000", "zstd", "lzma"):  # which OpenCV's libtiff lacks
        expected = (
            pillow(data) if (compression, "tile" in layout) == (None, True) else opencv(data)
        )  # OpenCV refuses this one
        np.testing.assert_array_equal(frame.values, expected)


@pytest.mark.parametrize("layout", [{}, {"tile": (16, 32)}], ids=str)
def test_jpeg_compressed(layout: dict[str, object]) -> None:
    data = write(tissue(48, 64), photometric="rgb", compression="jpeg", **layout)
    (frame,) = read(data)
    assert np.abs(frame.values.astype(int) - opencv(data)).max() <= 3


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_byte_orders_and_bigtiff(byteorder: str, bigtiff: bool) -> None:
    data = write((RAMP * 65535).astype(np.uint16), byteorder=byteorder, bigtiff=bigtiff)
    (frame,) = read(data)
    assert frame.values.dtype.isnative
    np.testing.assert_array_equal(frame.values, opencv(data))


def save_pillow(mode: str, **options: object) -> bytes:
    return encoded(lambda out: Image.fromarray(tissue()).convert(mode).save(out, "TIFF", **options))


def test_palette_bilevel_and_alpha_as_pillow_reads_them() -> None:
    for mode in ("P", "1", "RGBA", "LA"):
        data = save_pillow(mode)
        (frame,) = read(data)
        with Image.open(BytesIO(data)) as image:
            expected = np.asarray(image.convert("RGB" if mode in ("P", "RGBA") else "L"))
        np.testing.assert_array_equal(frame.image.squeeze(), expected)


def test_white_is_zero() -> None:
    data = write(GREY, photometric="miniswhite")
    (frame,) = read(data)
    np.testing.assert_array_equal(frame.image[..., 0], 255 - GREY)
    assert frame.rule == "bit depth 8, white is zero"
    np.testing.assert_array_equal(frame.image, opencv(data))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_tag(orientation: int) -> None:
    data = write(GREY, extratags=[(274, "H", 1, orientation, True)])
    (frame,) = read(data)
    with Image.open(BytesIO(data)) as image:
        image.load()
        from PIL import ImageOps

        np.testing.assert_array_equal(frame.values[..., 0], np.asarray(ImageOps.exif_transpose(image)))


def test_reduced_copies_of_a_pyramid_are_left_out() -> None:
    def save(out: BytesIO) -> None:
        with tifffile.TiffWriter(out) as writer:
            writer.write(tissue(64, 64), photometric="rgb", tile=(16, 16), subifds=1)
            writer.write(tissue(64, 64)[::2, ::2], photometric="rgb", tile=(16, 16), subfiletype=1)
            writer.write(tissue(64, 64)[::4, ::4], photometric="rgb", subfiletype=1)

    (frame,) = read(encoded(save))
    assert frame.values.shape == (64, 64, 3)
    assert frame.locator == ""


def change(data: bytes, tag: int, value: int) -> bytes:
    """The file with another value of one LONG or SHORT tag of its first page (little-endian, classic
    TIFF).
    """
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    changed = bytearray(data)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, entry)[0] == tag:
            struct.pack_into("<HII", changed, entry + 2, 4, 1, value)
    return bytes(changed)


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: change(write(GREY), 256, 40_000), "page 0 of 1 cannot be decoded"),
        (lambda: change(change(write(GREY), 256, 40_000), 257, 40_000), "limit of 100 megapixels"),
        (lambda: change(write(GREY), 279, 3_000_000_000), "declares 3000000000 bytes of pixels"),
        (
            lambda: change(change(write(GREY, tile=(16, 16)), 322, 1 << 16), 323, 1 << 16),
            "declares tiles of 65536 x 65536 px",
        ),
        (lambda: write(GREY)[:1500], "is cut"),
        (lambda: write(np.full(GREY.shape, np.nan, np.float32)), "not finite"),
        (
            lambda: write(np.zeros((5, 40, 56), np.uint8), photometric="minisblack", planarconfig="separate"),
            "5 channels",
        ),
        (lambda: write(GREY.astype(np.complex64)), "number format"),
        (lambda: write(GREY[:4]), "smaller than 8 px"),
    ],
    ids=["width", "gigapixels", "strips", "tiles", "cut", "nan", "channels", "complex", "small"],
)
def test_refused_with_the_reason(make: Callable[[], bytes], part: str) -> None:
    with pytest.raises(InputError, match=part):
        read(make())


def pages(data: bytes, name: str = "a.tif") -> list[Decoded]:
    source = Source(name=name, data=data)
    reader = reader_for(source)
    assert reader
    return list(reader(source, DecodeOptions(), None))


def together(*parts: tuple[np.ndarray, dict[str, object]], **options: object) -> bytes:
    def save(out: BytesIO) -> None:
        with tifffile.TiffWriter(out, **options) as file:
            for values, about in parts:
                file.write(values, **about)

    return encoded(save)


@pytest.mark.parametrize("bits", range(1, 33))
def test_every_number_of_bits(bits: int) -> None:
    most = 2**bits - 1
    kind = np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32
    values = np.linspace(0, most, 20 * 30).round().reshape(20, 30).astype(kind)
    (frame,) = pages(write(values, photometric="minisblack", bitspersample=bits))
    np.testing.assert_array_equal(frame.values[..., 0], values)
    if bits < 32:
        np.testing.assert_allclose(frame.pixels[..., 0], values / most, atol=1e-6)
        assert frame.rule.startswith(f"bit depth {bits}")
    else:  # 32 bits are a type, not a range
        assert frame.rule == "percentiles 0.5-99.5"


@pytest.mark.parametrize("options", [{}, {"imagej": True}, {"ome": True}, {"bigtiff": True}])
def test_pages_of_a_stack_share_one_scale(options: dict[str, object]) -> None:
    """A camera of 13 bits: a page that stays under 4096 is not shown sixteen times brighter than its
    neighbour.
    """
    ramp = np.linspace(0, 1, 20 * 30).reshape(20, 30)
    stack = np.stack([(ramp * top).astype(np.uint16) for top in (4000, 4200, 8000)])
    frames = pages(write(stack, photometric="minisblack", **options))
    assert len(frames) == 3
    for frame, values in zip(frames, stack, strict=True):
        np.testing.assert_allclose(frame.pixels[..., 0], values / 65535, atol=1e-6)


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.uint32, np.float32])
def test_a_stack_of_other_numbers_by_percentiles_of_all_pages(kind: type, tmp_path: Path) -> None:
    stack = np.random.default_rng(0).normal(500, 90, (4, 20, 30)) * np.array([1, 0.5, 2, 1])[:, None, None]
    stack = stack.clip(0).astype(kind)
    data = write(stack, photometric="minisblack")
    low, high = np.percentile(stack[stack != 0], [0.5, 99.5])
    for frame in pages(data):
        assert (frame.low, frame.high) == pytest.approx((min(low, 0), high))
    (tmp_path / "a.tif").write_bytes(data)
    for source in (Source(name="a.tif", path=tmp_path / "a.tif"), Source(name="a.tif", data=data)):
        reader = reader_for(source)
        assert reader
        (again,) = reader(source, DecodeOptions(), {"page:2"})
        np.testing.assert_array_equal(again.pixels, pages(data)[2].pixels)


def test_large_stacks_as_imagej_writes_them() -> None:
    """One header, and the other images behind the first one's pixels; tifffile reads them as one series."""
    stack = np.random.default_rng(0).integers(0, 60_000, (5, 20, 30)).astype(np.uint16)
    whole = write(stack, imagej=True)
    with tifffile.TiffFile(BytesIO(whole)) as file:
        first = file.pages[0].offset
        tags = int.from_bytes(whole[first : first + 2], "big" if file.byteorder == ">" else "little")
    end = first + 2 + 12 * tags
    data = whole[:end] + bytes(4) + whole[end + 4 :]  # no next header
    frames = pages(data)
    assert [frame.locator for frame in frames] == [f"page:{i}" for i in range(5)]
    for frame, values in zip(frames, stack, strict=True):
        np.testing.assert_array_equal(frame.values[..., 0], values)


PICTURE = np.asarray(Image.open(SKIMAGE / "astronaut.png").convert("RGB"))


@pytest.mark.parametrize("flag", [0, 1])
@pytest.mark.parametrize("how", ["pages", "sub-IFDs", "first"])
def test_pyramids_with_and_without_flags_are_one_frame(flag: int, how: str) -> None:
    smaller = [np.asarray(Image.fromarray(PICTURE).resize((512 // k, 512 // k))) for k in (2, 4, 8, 16)]
    about = {"photometric": "rgb", "subfiletype": flag}
    levels = [(level, about) for level in smaller]
    if how == "first":  # the thumbnail before the picture
        data = together(*levels[::-1], (PICTURE, {"photometric": "rgb"}))
    else:
        below = {"subifds": len(levels)} if how == "sub-IFDs" else {}
        data = together((PICTURE, {"photometric": "rgb", **below}), *levels)
    (frame,) = pages(data)
    np.testing.assert_array_equal(frame.values, PICTURE)


def test_pages_of_different_sizes_that_show_different_things_all_stay() -> None:
    other = np.asarray(Image.open(SKIMAGE / "coffee.png").convert("RGB").resize((256, 256)))
    frames = pages(together((PICTURE, {"photometric": "rgb"}), (other, {"photometric": "rgb"})))
    assert [frame.values.shape[0] for frame in frames] == [512, 256]


def test_transparency_masks_are_left_out() -> None:
    mask = (PICTURE[..., 0] > 100).astype(np.uint8) * 255
    data = together((PICTURE, {"photometric": "rgb"}), (mask, {"subfiletype": 2}))
    entry = struct.pack("<HHII", 254, 4, 1, 2)
    assert data.count(entry) == 1
    (frame,) = pages(data.replace(entry, struct.pack("<HHII", 254, 4, 1, 4)))
    np.testing.assert_array_equal(frame.values, PICTURE)


def test_a_picture_under_its_thumbnail_is_found() -> None:
    thumbnail = PICTURE[::8, ::8].copy()
    data = together((thumbnail, {"subfiletype": 1, "subifds": 1}), (PICTURE, {"photometric": "rgb"}))
    (frame,) = pages(data)
    np.testing.assert_array_equal(frame.values, PICTURE)


@pytest.mark.parametrize("depth", [8, 16])
def test_four_inks_become_colour_as_in_pillow(depth: int) -> None:
    inks = np.asarray(Image.fromarray(PICTURE).convert("CMYK"))
    expected = np.asarray(Image.fromarray(inks, "CMYK").convert("RGB"))
    values = inks if depth == 8 else inks.astype(np.uint16) * 257
    (frame,) = pages(write(values, photometric="separated"))
    assert np.abs(np.round(frame.pixels * 255) - expected).max() <= 1


def test_a_palette_of_eight_bits_in_sixteen() -> None:
    indices = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30) % 64
    colours = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint16)
    for table in (colours, colours * 257):
        (frame,) = pages(write(indices, photometric="palette", colormap=table))
        np.testing.assert_array_equal(frame.values, colours.T[indices])


def test_values_that_are_not_finite_cost_a_pixel_and_not_the_file() -> None:
    values = np.random.default_rng(0).uniform(0.2, 0.9, (20, 30)).astype(np.float32)
    values[3, 4], values[5, 6] = np.nan, np.inf
    (frame,) = pages(write(values))
    assert frame.rule == "unit range"
    assert frame.pixels[3, 4] == frame.pixels[5, 6] == 0
    sound = np.isfinite(values)
    np.testing.assert_array_equal(frame.pixels[..., 0][sound], values[sound])


@pytest.mark.parametrize("name", ["slide.svs", "a.ndpi", "a.dcm", "a.png", "a"])
def test_a_tiff_is_one_under_every_ending(name: str) -> None:
    for options in ({}, {"bigtiff": True}):
        (frame,) = pages(write(PICTURE, photometric="rgb", **options), name)
        np.testing.assert_array_equal(frame.values, PICTURE)
