"""Damaged files: what a decoder warns about is no frame, and sound files are never lost."""

import io
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
import sklearn.datasets
import tifffile
from PIL import Image
from pydicom.encaps import encapsulate
from samples import SKIMAGE, dicom_file, encoded

from optidel.readers import DecodeOptions, reader_for
from optidel.readers.jpeg import _standard_steps, has_changed_steps, has_impossible_blocks
from optidel.readers.source import Source

CLEARLY = 8
"""Mean absolute difference, grey levels, from which a picture is clearly not what it was."""

PICTURES = [SKIMAGE / "retina.jpg", SKIMAGE / "hubble_deep_field.jpg"]
PICTURES += sorted((Path(sklearn.datasets.__file__).parent / "images").glob("*.jpg"))
KEEP = DecodeOptions(damaged="keep")


def values(name: str, data: bytes, options: DecodeOptions | None = None) -> np.ndarray | str:
    """Pixels of the first frame, or the kind of error."""
    source = Source(name=name, data=data)
    reader = reader_for(source)
    if reader is None:
        return "no reader"
    try:
        return next(reader(source, options or DecodeOptions(), None)).values
    except Exception as error:  # as the index does with whatever a decoder raises
        return f"{type(error).__name__}: {error}"


def originals() -> list[bytes]:
    """JPEG as cameras and archives write it: 100 files of 25 pictures, grey and colour, several qualities."""
    files = []
    for path in (*PICTURES, *sorted(SKIMAGE.glob("*.png"))):
        with Image.open(path) as stored:
            picture = stored.convert("RGB")
        if min(picture.size) < 200 or len(files) >= 100:
            continue
        picture.thumbnail((400, 400))
        for quality, grey in ((75, False), (90, True), (85, False), (92, False)):
            shown = picture.convert("L") if grey else picture
            progressive = quality == 92
            files.append(
                encoded(
                    lambda out, shown=shown, quality=quality, progressive=progressive: shown.save(
                        out, "JPEG", quality=quality, progressive=progressive
                    )
                )
            )
    return files


def flipped(data: bytearray, rng: np.random.Generator) -> None:
    for position in rng.integers(len(data), size=int(rng.integers(1, 4))):
        data[position] ^= 1 << int(rng.integers(8))


def replaced(data: bytearray, rng: np.random.Generator) -> None:
    for position in rng.integers(len(data), size=int(rng.integers(1, 9))):
        data[position] = int(rng.integers(256))


def zeroed(data: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(data)))
    count = min(int(rng.integers(16, 4096)), len(data) - start)
    data[start : start + count] = bytes(count)


def overwritten(data: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(data)))
    count = min(int(rng.integers(16, 512)), len(data) - start)
    data[start : start + count] = rng.bytes(count)


def shortened(data: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(data)))
    del data[start : start + int(rng.integers(1, 512))]


def repeated(data: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(data)))
    data[start:start] = data[start : start + int(rng.integers(1, 512))]


def cut(data: bytearray, rng: np.random.Generator) -> None:
    del data[int(rng.integers(len(data))) :]


def changed_header(data: bytearray, rng: np.random.Generator) -> None:
    data[int(rng.integers(2, 600))] = int(rng.integers(256))


KINDS = (flipped, replaced, zeroed, overwritten, shortened, repeated, cut, changed_header)
"""What memory, disks and copies do to a file; each does an eighth of the mutants."""


def test_of_a_thousand_mutants_hardly_one_is_accepted_and_clearly_wrong() -> None:
    rng = np.random.default_rng(0)
    files = originals()
    counts: Counter[str] = Counter()
    for number in range(1000):
        original = files[int(rng.integers(len(files)))]
        sound = values("a.jpg", original)
        assert not isinstance(sound, str)
        mutant = bytearray(original)
        damage = KINDS[number % len(KINDS)]
        damage(mutant, rng)
        outcome = values("a.jpg", bytes(mutant))
        if isinstance(outcome, str):
            counts["refused"] += 1
        elif outcome.shape != sound.shape:
            counts["of another size"] += 1
        else:
            wrong = np.abs(outcome.astype(int) - sound).mean() > CLEARLY
            counts["wrong"] += wrong
            counts["alike"] += not wrong
            counts[damage.__name__] += wrong
    print(dict(counts))
    assert counts["wrong"] <= 20
    assert counts["alike"] > 100  # a changed pixel is no reason to lose a picture


def test_sound_pictures_are_never_lost() -> None:
    for data in (*originals(), *(path.read_bytes() for path in PICTURES)):
        assert not isinstance(values("a.jpg", data), str)
        assert not has_impossible_blocks(data)


@pytest.mark.data
@pytest.mark.parametrize("folder", ["kvasir-seg", "lung-cxr", "cbc", "mixed"])
def test_pictures_of_clinics_are_never_lost(folder: str) -> None:
    root = Path(__file__).parents[2].parent / "shared" / "data" / folder
    files = sorted(root.rglob("*.jpg"))[::20]
    if not files:
        pytest.skip(f"{root} holds no pictures")
    lost = [path.name for path in files if isinstance(values(path.name, path.read_bytes()), str)]
    assert not lost


def test_black_white_and_noise_are_possible() -> None:
    noise = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (200, 200))
    halves = np.zeros((200, 200), np.uint8)
    halves[:, 100:] = 255
    for picture in (halves, 255 - halves, noise, np.zeros_like(noise), np.full_like(noise, 255)):
        for quality in (1, 10, 50, 75, 95, 100):
            _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
            assert not has_impossible_blocks(data.tobytes())


def test_a_shift_of_all_blocks_behind_a_bit_is_seen() -> None:
    """The means of blocks are coded as differences: a constant added to one moves all that follow."""
    picture = np.zeros((160, 160), np.uint8)
    picture[40:120, 40:120] = 90
    data = encoded(lambda out: Image.fromarray(picture).save(out, "JPEG", quality=75))
    start = data.index(b"\xff\xda") + 10
    shifted = 0
    for position in range(start, len(data) - 2):
        for bit in range(8):
            copy = bytearray(data)
            copy[position] ^= 1 << bit
            outcome = values("a.jpg", bytes(copy), KEEP)
            if not isinstance(outcome, str) and np.abs(outcome[..., 0].astype(int) - picture).mean() > 20:
                shifted += isinstance(values("a.jpg", bytes(copy)), str)
    assert shifted > 20


def test_a_changed_step_of_a_standard_table_is_seen_and_tables_of_their_own_are_not() -> None:
    picture = photograph()
    start = picture.index(b"\xff\xdb") + 5
    for position, value in ((start + 3, 200), (start + 40, 120)):
        changed = bytearray(picture)
        changed[position] = value
        assert has_changed_steps(bytes(changed))
        told = values("a.jpg", bytes(changed))
        assert isinstance(told, str)
        assert 'a few steps differ; corpus.damaged = "keep"' in told
        assert not isinstance(values("a.jpg", bytes(changed), KEEP), str)

    image = Image.open(io.BytesIO(picture))
    own = np.random.default_rng(0).integers(1, 60, 64).tolist()
    mean_apart = [1, *range(2, 65)]
    for tables in ([own, own], [mean_apart, own]):
        assert not has_changed_steps(encoded(lambda out, t=tables: image.save(out, "JPEG", qtables=t)))
    first = bytearray(picture)
    first[start] = 90  # encoders choose the step of the means on its own
    assert not has_changed_steps(bytes(first))


@pytest.mark.parametrize("quality", range(1, 101))
def test_the_standards_tables_are_those_of_libjpeg(quality: int) -> None:
    grey = Image.new("RGB", (16, 16), (90, 20, 200))
    data = encoded(lambda out: grey.save(out, "JPEG", quality=quality))
    assert not has_changed_steps(data)
    for number, table in Image.open(io.BytesIO(data)).quantization.items():  # type: ignore[attr-defined]
        scaled = _standard_steps()[100 * number + quality - 1]
        assert sorted(scaled.tolist()) == sorted(table)
        start = data.index(bytes([0xFF, 0xDB, 0, 67, number])) + 5
        assert scaled.astype(np.uint8).tobytes() == data[start : start + 64]


def half_grey(data: bytes) -> bytes:
    """A hole of zeros in the middle of the pixels: libjpeg goes on after it, or paints grey."""
    middle = len(data) // 2
    return data[:middle] + bytes(300) + data[middle + 300 :]


def photograph() -> bytes:
    with Image.open(PICTURES[0]) as stored:
        picture = stored.convert("RGB").resize((320, 320))
    return encoded(lambda out: picture.save(out, "JPEG", quality=90))


def in_dicom(data: bytes) -> bytes:
    file = pydicom.dcmread(dicom_file("SC_rgb_jpeg_dcmtk.dcm"))
    file.Rows = file.Columns = 320
    file.PixelData = encapsulate([data])
    return encoded(lambda out: file.save_as(out))


def in_tiff(data: bytes) -> bytes:
    """A page whose only strip is the JPEG itself."""
    picture = np.asarray(Image.open(io.BytesIO(data)))
    whole = encoded(
        lambda out: tifffile.imwrite(
            out, picture, photometric="ycbcr", compression="jpeg", compressionargs={"level": 90}
        )
    )
    with tifffile.TiffFile(io.BytesIO(whole)) as file:
        offset, count = file.pages[0].dataoffsets[0], file.pages[0].databytecounts[0]
    middle = offset + count // 2
    return whole[:middle] + bytes(300) + whole[middle + 300 :]


@pytest.mark.parametrize("where", ["a.jpg", "a.dcm", "a.tif"])
def test_a_warning_is_a_reason_unless_the_recipe_says_otherwise(where: str) -> None:
    pack: dict[str, Callable[[bytes], bytes]] = {
        "a.jpg": half_grey,
        "a.dcm": lambda data: in_dicom(half_grey(data)),
        "a.tif": in_tiff,
    }
    damaged = pack[where](photograph())
    told = values(where, damaged)
    assert isinstance(told, str)
    assert "its decoder warns 'Corrupt JPEG data" in told or "its decoder warns 'Premature" in told
    assert 'corpus.damaged = "keep"' in told
    assert not isinstance(values(where, damaged, KEEP), str)


def test_sound_jpeg_in_dicom_and_tiff_is_read() -> None:
    assert not isinstance(values("a.dcm", in_dicom(photograph())), str)
    sound = encoded(
        lambda out: tifffile.imwrite(
            out,
            np.asarray(Image.open(io.BytesIO(photograph()))),
            photometric="ycbcr",
            compression="jpeg",
            tile=(64, 64),
        )
    )
    assert not isinstance(values("a.tif", sound), str)


def test_what_was_kept_is_read_again() -> None:
    source = Source(name="a.jpg", data=half_grey(photograph()))
    reader = reader_for(source)
    assert reader
    (kept,) = reader(source, KEEP, None)
    (again,) = reader(source, DecodeOptions(), {""})
    np.testing.assert_array_equal(kept.values, again.values)


def test_a_tiff_whose_list_of_pages_breaks_off_is_no_stack(caplog: pytest.LogCaptureFixture) -> None:
    stack = np.random.default_rng(0).integers(0, 255, (3, 40, 50), dtype=np.uint8)
    data = encoded(lambda out: tifffile.imwrite(out, stack, photometric="minisblack", metadata=None))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        last = file.pages[2].offset
    with caplog.at_level(logging.WARNING):
        told = values("a.tif", data[: last + 4])
    assert isinstance(told, str)
    assert "InputError: is damaged" in told
    assert not caplog.records  # what libraries print may quote the file
