"""What memory, disks and copies do to files, and what the readers say to it."""

from pathlib import Path

import numpy as np
import sklearn.datasets
from samples import SKIMAGE

from optidel.readers import DecodeOptions, reader_for
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
    data[int(rng.integers(2, min(600, len(data))))] = int(rng.integers(256))


KINDS = (flipped, replaced, zeroed, overwritten, shortened, repeated, cut, changed_header)
"""What memory, disks and copies do to a file; each does an eighth of the mutants."""
