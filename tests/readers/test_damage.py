"""Damaged files: what a decoder warns about is no frame, and sound files are never lost."""

import io
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pydicom
import pytest
import tifffile
from mutants import CLEARLY, KEEP, KINDS, PICTURES, values
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate
from samples import SKIMAGE, dicom_file, encoded

from optidel.readers import DecodeOptions, reader_for
from optidel.readers.jpeg import _standard_steps, has_changed_steps, has_impossible_blocks
from optidel.readers.source import Source


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


DEEP: dict[str, dict[str, object]] = {
    "12 bits": {"bitspersample": 12, "level": 90},
    "lossless, 12 bits": {"bitspersample": 12, "lossless": True},
    "lossless, 16 bits": {"bitspersample": 16, "lossless": True},
}
"""JPEG of radiology, which Pillow does not read and whose warnings every wrapper swallows."""


def slide(kind: str) -> np.ndarray:
    """A grey photograph that fills the bits of a kind."""
    grey = np.asarray(Image.open(io.BytesIO(photograph())).convert("L")).astype(np.uint16)
    noise = np.random.default_rng(0).integers(0, 16, grey.shape)
    return ((grey << 4) + noise).astype(np.uint16) << (4 if "16" in kind else 0)


def deep_jpeg(kind: str) -> bytes:
    return bytes(imagecodecs.jpeg_encode(slide(kind), **DEEP[kind]))


def deep_in_dicom(kind: str, data: bytes) -> bytes:
    file = pydicom.dcmread(dicom_file("MR_small.dcm"))
    file.Rows, file.Columns = slide(kind).shape
    file.PixelRepresentation, file.BitsAllocated = 0, 16
    file.BitsStored = 16 if "16" in kind else 12
    file.HighBit = file.BitsStored - 1
    file.file_meta.TransferSyntaxUID = uid.JPEGLossless if "lossless" in kind else uid.JPEGExtended12Bit
    file.PixelData = encapsulate([data])
    file["PixelData"].VR = "OB"
    return encoded(lambda out: file.save_as(out))


def without_a_piece(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + data[middle + 400 :]


@pytest.mark.parametrize("kind", DEEP)
def test_sound_deep_jpeg_is_read(kind: str) -> None:
    stored = slide(kind)
    data = deep_jpeg(kind)
    for name, file in (("a.jpg", data), ("a.dcm", deep_in_dicom(kind, data))):
        shown = values(name, file)
        assert not isinstance(shown, str)
        difference = np.abs(shown[..., 0].astype(int) - stored)
        assert (
            difference.max() == 0 if "lossless" in kind else difference.mean() < 16
        )  # a grey level of 8 bits


@pytest.mark.parametrize("where", ["a.jpg", "a.dcm"])
@pytest.mark.parametrize("damage", [half_grey, without_a_piece, lambda data: data[: len(data) // 2]])
@pytest.mark.parametrize("kind", DEEP)
def test_damaged_deep_jpeg_is_refused_and_kept_on_demand(
    kind: str, damage: Callable[[bytes], bytes], where: str
) -> None:
    damaged = damage(deep_jpeg(kind))
    file = damaged if where == "a.jpg" else deep_in_dicom(kind, damaged)
    told = values(where, file)
    assert isinstance(told, str)
    assert "its decoder warns 'Corrupt JPEG data" in told or "its decoder warns 'Premature" in told
    assert 'corpus.damaged = "keep"' in told
    kept = values(where, file, KEEP)
    assert not isinstance(kept, str)
    assert kept.shape[:2] == slide(kind).shape


@pytest.mark.parametrize("where", ["a.jpg", "a.dcm"])
def test_damaged_lossless_jpeg_of_8_bits_is_refused_and_kept_on_demand(where: str) -> None:
    grey = (slide("12 bits") >> 4).astype(np.uint8)
    data = bytes(imagecodecs.jpeg_encode(grey, lossless=True))
    pack: dict[str, Callable[[bytes], bytes]] = {"a.jpg": lambda data: data, "a.dcm": eight_bits_in_dicom}
    sound = values(where, pack[where](data))
    assert not isinstance(sound, str)
    np.testing.assert_array_equal(sound[..., 0], grey)
    damaged = pack[where](without_a_piece(data))
    told = values(where, damaged)
    assert isinstance(told, str)
    assert "its decoder warns 'Corrupt JPEG data" in told
    assert not isinstance(values(where, damaged, KEEP), str)


def eight_bits_in_dicom(data: bytes) -> bytes:
    file = pydicom.dcmread(dicom_file("MR_small.dcm"))
    file.Rows = file.Columns = 320
    file.PixelRepresentation, file.BitsAllocated, file.BitsStored, file.HighBit = 0, 8, 8, 7
    file.file_meta.TransferSyntaxUID = uid.JPEGLossless
    for name in ("SmallestImagePixelValue", "LargestImagePixelValue", "PixelPaddingValue"):
        if name in file:
            del file[name]
    file.PixelData = encapsulate([data])
    file["PixelData"].VR = "OB"
    return encoded(lambda out: file.save_as(out))


def test_values_beyond_the_bits_of_lossless_jpeg_are_damage() -> None:
    """Of single bits flipped, some shift all that follows and leave no warning."""
    kind = "lossless, 12 bits"
    sound, data = slide(kind), deep_jpeg(kind)
    rng = np.random.default_rng(0)
    seen: Counter[str] = Counter()
    for position in rng.integers(len(data) // 4, len(data), 150):
        copy = bytearray(data)
        copy[position] ^= 1 << int(rng.integers(8))
        told = values("a.jpg", bytes(copy))
        if isinstance(told, str):
            seen["range" if "has larger values" in told else "warned"] += 1
        else:
            seen["wrong" if np.abs(told[..., 0].astype(int) - sound).mean() > 16 * CLEARLY else "alike"] += 1
    print(dict(seen))
    assert seen["range"] > 5
    assert seen["wrong"] <= 3  # 2 %


@pytest.mark.parametrize("depth", ["1", "L", "P", "RGB"])
def test_a_short_bmp_says_so_and_keeps_its_rows_on_demand(depth: str) -> None:
    picture = Image.open(io.BytesIO(photograph())).convert(depth)
    data = encoded(lambda out: picture.save(out, "BMP"))
    short = data[: len(data) * 2 // 3]
    told = values("a.bmp", short)
    assert isinstance(told, str)
    assert 'is cut: its data ends before the last row; corpus.damaged = "keep"' in told
    kept, sound = values("a.bmp", short, KEEP), values("a.bmp", data)
    assert not isinstance(kept, str)
    assert not isinstance(sound, str)
    # Rows of a BMP lie from the bottom up.
    np.testing.assert_array_equal(kept[120:], sound[120:])
    if depth == "RGB":
        assert not kept[:100].any()


@pytest.mark.parametrize("space", ["L", "RGB", "CMYK"])
def test_a_cut_jpeg_is_kept_on_demand_as_its_reason_says(space: str) -> None:
    picture = Image.open(io.BytesIO(photograph())).convert(space)
    data = encoded(lambda out: picture.save(out, "JPEG", quality=85))
    cut = data[: len(data) * 2 // 3]
    told = values("a.jpg", cut)
    assert isinstance(told, str)
    assert 'corpus.damaged = "keep" reads it all the same' in told
    kept, sound = values("a.jpg", cut, KEEP), values("a.jpg", data)
    assert not isinstance(kept, str)
    np.testing.assert_array_equal(kept[:100], sound[:100])


def test_a_baseline_jpeg_that_claims_12_bits_is_not_read_as_one() -> None:
    data = bytearray(photograph())
    data[data.index(b"\xff\xc0") + 4] = 12
    assert isinstance(values("a.jpg", bytes(data)), str)


def test_damaged_12_bit_jpeg_in_tiff_is_refused() -> None:
    whole = encoded(
        lambda out: tifffile.imwrite(
            out, slide("12 bits"), compression="jpeg", compressionargs={"bitspersample": 12}, bitspersample=12
        )
    )
    assert not isinstance(values("a.tif", whole), str)
    with tifffile.TiffFile(io.BytesIO(whole)) as file:
        offset, count = file.pages[0].dataoffsets[0], file.pages[0].databytecounts[0]
    middle = offset + count // 2
    damaged = whole[:middle] + bytes(300) + whole[middle + 300 :]
    told = values("a.tif", damaged)
    assert isinstance(told, str)
    assert "its decoder warns" in told
    assert not isinstance(values("a.tif", damaged, KEEP), str)


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
