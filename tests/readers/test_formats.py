"""Which reader reads which file: content before ending, JPEG 2000, and what is not read."""

import gzip
import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from samples import encoded, samples, tissue

from optidel.errors import InputError, RecipeError
from optidel.readers import READERS, DecodeOptions, reader_for, unread, window_of
from optidel.readers.source import Source

CONTENTS = (".jpg", ".png", ".bmp", ".webp", ".gif", ".tif", ".dcm", ".nii", ".npy", ".jp2", ".nrrd", ".mha")
FILMS = (".mp4", ".avi", ".mkv", ".wmv", ".mpg", ".ts", ".ogv")


def first(name: str, data: bytes) -> np.ndarray:
    source = Source(name=name, data=data)
    reader = reader_for(source)
    assert reader
    return next(reader(source, DecodeOptions(), None)).pixels


@pytest.mark.parametrize("content", [*CONTENTS, *FILMS])
def test_content_under_another_ending(content: str) -> None:
    """Renamed files, and files whose program always writes one ending, are what they hold."""
    data = samples()[content][0]
    expected = first(f"a{content}", data)
    for ending in (".jpg", ".png", ".tif", ".dcm", ".nii.gz", ".npy", ".mp4", ".txt", ""):
        np.testing.assert_array_equal(first(f"a{ending}", data), expected)


def test_volumes_are_unpacked_by_content() -> None:
    volume = samples()[".nii"][0]
    expected = first("a.nii", volume)
    for name, data in (
        ("a.nii.gz", volume),
        ("a.nii", gzip.compress(volume, mtime=0)),
        ("a.gz", gzip.compress(volume, mtime=0)),
    ):
        np.testing.assert_array_equal(first(name, data), expected)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("ending", [".jp2", ".j2k"])
def test_jpeg_2000_as_pillow_reads_it(bits: int, ending: str) -> None:
    grey = np.linspace(0, 2**bits - 1, 40 * 50).reshape(40, 50).astype(np.uint8 if bits == 8 else np.uint16)
    picture = Image.fromarray(grey)
    options = {"no_jp2": ending == ".j2k"}
    data = encoded(lambda out: picture.save(out, "JPEG2000", **options))
    with Image.open(io.BytesIO(data)) as other:
        expected = np.asarray(other)
    shown = 2 ** (8 if bits == 8 else 16) - 1
    np.testing.assert_allclose(first(f"a{ending}", data)[..., 0], expected / shown, atol=1e-6)
    colour = encoded(lambda out: Image.fromarray(tissue(40, 50)).save(out, "JPEG2000", **options))
    np.testing.assert_allclose(first(f"a{ending}", colour), tissue(40, 50) / 255, atol=1e-6)


def test_cut_jpeg_2000_is_refused() -> None:
    data = samples()[".jp2"][0]
    for name in ("a.jp2", "a.png"):
        with pytest.raises(InputError, match="damaged or cut"):
            first(name, data[: len(data) * 2 // 3])


@pytest.mark.parametrize(
    ("name", "data", "part"),
    [
        ("a.heic", b"\0\0\0\x18ftypheic" + bytes(99), "HEIC picture, which is not read; convert it to PNG"),
        ("a.jpg", b"\0\0\0\x18ftypheic" + bytes(99), "HEIC picture"),
        ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file, which is not read; save its images as"),
        ("a.dcm.gz", gzip.compress(b"something", mtime=0), "unpack it with gunzip"),
        ("a.mgz", gzip.compress(bytes(99), mtime=0), "unpack it with gunzip"),
        ("a.czi", b"ZISRAWFILE", "export it as OME-TIFF"),
        ("a.pdf", b"%PDF-1.7", "a document"),
        ("a.raw", bytes(99), "read through the .mhd or .nhdr"),
        ("a.xyz", b"anything", "has the ending '.xyz', which no reader knows"),
        ("notes.txt", b"BM is not always a bitmap", "has the ending '.txt', which no reader knows"),
    ],
)
def test_what_is_not_read_says_what_to_do(name: str, data: bytes, part: str) -> None:
    source = Source(name=name, data=data)
    assert reader_for(source) is None
    assert part in unread(source)


def test_every_ending_that_is_read_is_in_lower_case_and_has_a_reader() -> None:
    assert all(ending == ending.lower() and ending.startswith(".") for ending in READERS)
    assert reader_for(Source(name="A.PNG", data=b"")) is READERS[".png"]


def test_a_window_by_name_and_by_numbers() -> None:
    assert window_of(None) is None
    assert window_of("lung") == (-600.0, 1500.0)
    assert window_of([50, 350]) == (50.0, 350.0)


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("lungs", "did you mean 'lung'"),
        ([40], "level, width"),
        ([40, 0], "above 0"),
        ([40, float("nan")], "above 0"),
    ],
)
def test_windows_that_are_none(value: object, part: str) -> None:
    with pytest.raises(RecipeError, match=part):
        window_of(value)


def ct_stack() -> np.ndarray:
    rng = np.random.default_rng(0)
    inside = np.hypot(*np.mgrid[-20:20, -20:20]) < 15
    return (np.where(inside, 40, -1000) + rng.normal(0, 20, (5, 40, 40))).astype(np.int16)


@pytest.mark.parametrize(
    "pack",
    [lambda a: encoded(lambda out: np.save(out, a)), lambda a: encoded(lambda out: np.savez(out, ct=a))],
)
def test_a_ct_in_numpy_is_recognised(pack: Callable[[np.ndarray], bytes]) -> None:
    stack = ct_stack()
    data = pack(stack)
    source = Source(name="a.npz" if data.startswith(b"PK") else "a.npy", data=data)
    reader = reader_for(source)
    assert reader
    for options, low, width in (
        (DecodeOptions(), -160, 400),
        (DecodeOptions(window=(50.0, 350.0)), -125, 350),
    ):
        frames = list(reader(source, options, None))
        for frame, values in zip(frames, stack, strict=True):
            expected = ((values - float(low)) / width).clip(0, 1)
            np.testing.assert_allclose(frame.pixels[..., 0], expected, atol=1e-5)
