"""Damaged files of every kind in one folder: in quarantine with the reason, or in the corpus where the recipe
says so.
"""

from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from mutants import PICTURES
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate
from samples import dicom_file, encoded

import optidel


def picture(side: int = 320) -> Image.Image:
    with Image.open(PICTURES[0]) as stored:
        return stored.convert("RGB").resize((side, side))


def saved(kind: str, **options: object) -> bytes:
    return encoded(lambda out: picture().save(out, kind, **options))


def deep(**options: int) -> bytes:
    grey = np.asarray(picture().convert("L")).astype(np.uint16) << 4
    return bytes(imagecodecs.jpeg_encode(grey, bitspersample=12, **options))


def in_dicom(frame: bytes) -> bytes:
    file = pydicom.dcmread(dicom_file("MR_small.dcm"))
    file.Rows = file.Columns = 320
    file.PixelRepresentation, file.BitsStored, file.HighBit = 0, 12, 11
    file.file_meta.TransferSyntaxUID = uid.JPEGLossless
    file.PixelData = encapsulate([frame])
    file["PixelData"].VR = "OB"
    return encoded(lambda out: file.save_as(out))


def cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def with_a_hole(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(300) + data[middle + 300 :]


FILES: dict[str, tuple[Callable[[bytes], bytes], Callable[[], bytes], str]] = {
    "cut.webp": (cut, lambda: saved("WEBP", quality=80), "is cut: its header declares"),
    "hole.webp": (with_a_hole, lambda: saved("WEBP", quality=80), "goes on behind the last pixel"),
    "cut.bmp": (cut, lambda: saved("BMP"), "is cut: its data ends before the last row"),
    "cut.jpg": (cut, lambda: saved("JPEG"), "its decoder warns 'Premature end"),
    "hole.jpg": (with_a_hole, lambda: saved("JPEG"), "its decoder warns 'Corrupt JPEG data"),
    "twelve.jpg": (with_a_hole, lambda: deep(level=90), "its decoder warns 'Corrupt JPEG data"),
    "lossless.jpg": (with_a_hole, lambda: deep(lossless=True), "its decoder warns 'Corrupt JPEG data"),
    "lossless.dcm": (
        lambda data: in_dicom(with_a_hole(data)),
        lambda: deep(lossless=True),
        "its decoder warns 'Corrupt JPEG data",
    ),
}
"""Damage, the sound file, and a part of the reason."""


def test_each_is_quarantined_with_its_reason_or_kept_as_the_recipe_says(tmp_path: Path) -> None:
    (tmp_path / "sound.png").write_bytes(saved("PNG"))
    for name, (damage, sound, _) in FILES.items():
        (tmp_path / name).write_bytes(damage(sound()))

    refused = optidel.index(tmp_path)
    reasons = {item.source: item.reason for item in refused.rejected}
    assert [frame.source for frame in refused.frames] == ["sound.png"]
    assert reasons.keys() == FILES.keys()
    for name, (_, _, part) in FILES.items():
        assert part in reasons[name]
        assert 'corpus.damaged = "keep" reads it' in reasons[name]

    kept = optidel.index(tmp_path, damaged="keep")
    assert not kept.rejected
    assert {frame.source for frame in kept.frames} == {"sound.png", *FILES}
    # Later steps read a frame again by its locator, without looking for damage.
    for row in range(len(kept.frames)):
        assert kept.pixels(row).shape[:2] == (320, 320)


def test_the_same_files_undamaged_are_all_frames(tmp_path: Path) -> None:
    for name, (_, sound, _) in FILES.items():
        (tmp_path / name).write_bytes(in_dicom(sound()) if name.endswith(".dcm") else sound())
    indexed = optidel.index(tmp_path)
    assert not indexed.rejected
    assert {frame.source for frame in indexed.frames} == set(FILES)
