"""Mutants of valid files of every format: none hangs, crashes or goes unexplained, and none is silent garbage
where a checksum can tell.

JPEG, BMP, WebP, GIF, TIFF, raw DICOM, NIfTI, ``.npy`` and most video carry no checksum: a changed value in
them is a changed pixel, and no reader can know. For these it is asserted that what decodes has a sound shape
and finite values in [0, 1].
"""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from samples import ALIASES, encoded, samples

import optidel
from optidel.corpus.sandbox.workers import DIED, LATE
from optidel.readers import MAX_PIXELS, READERS

MUTANTS = 300
SPECIAL = (0, 1, 0x7F, 0x80, 0xFF)
CHECKED = (".png", ".npz", ".nii.gz", ".zip", ".tar.gz", ".tar.bz2", ".tar.xz")
"""Formats whose own checksum covers the pixels: a mutant that decodes must give those of the original."""

FEW = {".mp4", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".ts", ".wmv", ".ogv"}
"""Formats whose mutants are looked at again in this process more rarely, for they cost more."""


def archives() -> dict[str, list[bytes]]:
    """Small archives of two pictures each."""
    pictures = {"a.png": samples()[".png"][0], "b.bmp": samples()[".bmp"][0]}
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in pictures.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    made = {".zip": [zipped.getvalue()]}
    for ending, mode in ((".tar", "w"), (".tar.gz", "w:gz"), (".tar.bz2", "w:bz2"), (".tar.xz", "w:xz")):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode=mode) as archive:
            for name, data in pictures.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        made[ending] = [out.getvalue()]
    table = pa.table(
        {"image": [{"bytes": data, "path": name} for name, data in pictures.items()], "label": [0, 1]}
    )
    made[".parquet"] = [encoded(lambda out: pq.write_table(table, out, write_page_checksum=True))]
    made[".arrow"] = [encoded(lambda out: write_stream(table, out))]
    return made


def write_stream(table: pa.Table, out: io.BytesIO) -> None:
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """One of: bits flipped, bytes replaced, a number in the head made extreme, a piece cut, doubled, zeroed
    or put in, the end cut off.
    """
    body = bytearray(data)
    size = len(body)
    head = min(size, 400)
    kind = rng.integers(8)
    at, span = int(rng.integers(size)), int(rng.integers(1, max(2, min(64, size // 4))))
    if kind == 0:
        for place in rng.integers(size, size=int(rng.integers(1, 4))):
            body[place] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        for place in rng.integers(size, size=int(rng.integers(1, 9))):
            body[place] = int(rng.integers(256))
    elif kind == 2:
        place, width = int(rng.integers(head)), int(rng.choice([1, 2, 4, 8]))
        body[place : place + width] = bytes([int(rng.choice(SPECIAL))] * width)
    elif kind == 3:
        del body[at : at + span]
    elif kind == 4:
        body[at:at] = body[at : at + span]
    elif kind == 5:
        body[at : at + span] = bytes(len(body[at : at + span]))
    elif kind == 6:
        body[at:at] = rng.bytes(span)
    else:
        del body[max(at, 1) :]
    return bytes(body)


@pytest.mark.parametrize("ending", sorted(samples().keys() | archives().keys()))
def test_mutants_are_flagged_or_sound(ending: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(sum(ending.encode()))
    originals = samples().get(ending) or archives()[ending]
    for number, data in enumerate(originals):
        (tmp_path / f"original-{number}{ending}").write_bytes(data)
    whole = optidel.index(tmp_path)
    assert not whole.rejected
    truth: dict[str, dict[str, str]] = {}
    for frame in whole.frames:
        truth.setdefault(frame.source.removesuffix(ending).removeprefix("original-"), {})[frame.locator] = (
            frame.sha256
        )
    for number in range(MUTANTS):
        kind = number % len(originals)
        mutant = originals[kind]
        while mutant == originals[kind]:
            mutant = mutate(originals[kind], rng)
        (tmp_path / f"mutant-{number:03d}-{kind}{ending}").write_bytes(mutant)
    corpus = optidel.index(tmp_path)
    again = [(frame.id, frame.sha256) for frame in corpus.frames if frame.source.startswith("original")]
    assert again == [(frame.id, frame.sha256) for frame in whole.frames]
    told = {item.source.partition("#")[0] for item in corpus.rejected}
    found = {frame.source for frame in corpus.frames}
    assert told | found == {path.name for path in tmp_path.iterdir()}, (
        "every file is a frame, or it is quarantined"
    )
    for item in corpus.rejected:
        assert item.reason
        assert not item.reason.startswith((LATE, DIED)), (item.source, item.reason)
    changed = []
    for row, frame in enumerate(corpus.frames):
        assert min(frame.height, frame.width) >= 8
        assert frame.height * frame.width <= MAX_PIXELS
        assert frame.channels in (1, 3)
        name = frame.source.removesuffix(ending)
        if frame.sha256 != truth[name.rpartition("-")[2]].get(frame.locator):
            changed.append(row)
    if ending in CHECKED:
        assert not changed, [corpus.frames[row].id for row in changed[:5]]
    for row in changed[:: 50 if ending in FEW else 5]:
        pixels = corpus.pixels(row)
        frame = corpus.frames[row]
        assert pixels.shape == (frame.height, frame.width, frame.channels)
        assert np.isfinite(pixels).all()
        assert 0 <= pixels.min() <= pixels.max() <= 1


def test_every_format_is_fuzzed() -> None:
    assert {ALIASES.get(ending, ending) for ending in READERS} == set(samples())
