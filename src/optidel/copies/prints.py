"""What is kept of a picture to find its copies: a hash of its pixels, a perceptual hash, a descriptor,
points."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float16, Float32, UInt8

from optidel.arrays import Image
from optidel.copies.hashes import hashes
from optidel.copies.pixels import DIM, describe, shrink
from optidel.copies.points import BYTES, COUNT, Points, find_points
from optidel.corpus.frames import Corpus
from optidel.corpus.quality import examine
from optidel.progress import track
from optidel.readers.decode import pixel_hash

# The table of prints: SHA-256 of the shown pixels, perceptual hash, and whether the frame shows
# something.
COLUMNS = {"pixels": pl.String, "hash": pl.String, "sound": pl.Boolean}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prints:
    """What is compared of n images.

    ``ids``; ``folders``: the set each is of; ``pixels``: SHA-256 of the 8-bit pixels; ``groups``: patient,
    video …, where known; ``sound`` bool (n,), False for blank, dark and saturated frames, which are all alike
    and never a copy; ``hashes`` u8 (n, 32); ``descriptors`` f16 (n, 704); ``points``: of n pictures.
    """

    ids: Sequence[str]
    folders: Sequence[str]
    pixels: Sequence[str]
    groups: Sequence[str | None]
    sound: Bool[np.ndarray, "n"]
    hashes: UInt8[np.ndarray, "n 32"]
    descriptors: Float16[np.ndarray, "n 704"]
    points: Points


@dataclass(frozen=True, slots=True, kw_only=True)
class Print:
    """The print of one image: ``row`` of the table, ``descriptor`` f32 (704,), ``geometry`` f16 (64, 4) and
    ``bits`` u8 (64, 16) of its points.
    """

    row: tuple[str, str, bool]
    descriptor: Float32[np.ndarray, "704"]
    geometry: Float16[np.ndarray, "64 4"]
    bits: UInt8[np.ndarray, "64 16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Prints of some images, in order: the table and the arrays of :class:`Prints`."""

    table: pl.DataFrame
    descriptors: Float16[np.ndarray, "n 704"]
    points: Points


def print_of(image: Image) -> Print:
    """Describe one image u8 (h, w, 3), at full size."""
    pixels = pixel_hash(image)
    quality = examine(image)
    sound = not quality.flaw
    picture = shrink(image)
    descriptor = describe(picture)
    geometry, bits = find_points(image)

    row = (pixels, quality.phash, sound)
    return Print(row=row, descriptor=descriptor, geometry=geometry, bits=bits)


def part_of(prints: Sequence[Print]) -> Part:
    """Prints of single images as arrays."""
    rows = [single.row for single in prints]
    table = pl.DataFrame(rows, COLUMNS, orient="row")
    descriptors = np.array([single.descriptor for single in prints], dtype=np.float16)
    geometry = np.array([single.geometry for single in prints], dtype=np.float16)
    bits = np.array([single.bits for single in prints], dtype=np.uint8)

    # Without a single image the arrays above have one axis; the columns must keep their widths all the same.
    descriptors = descriptors.reshape(-1, DIM)
    geometry = geometry.reshape(-1, COUNT, 4)
    bits = bits.reshape(-1, COUNT, BYTES)
    points = Points(geometry=geometry, bits=bits)
    return Part(table=table, descriptors=descriptors, points=points)


def describe_images(items: Iterable[tuple[str, Image]], folder: str) -> Prints:
    """Prints of images u8 (h, w, 3), at full size, with their ids."""
    ids, prints = [], []
    for name, image in items:
        ids.append(name)
        prints.append(print_of(image))

    part = part_of(prints)
    no_groups = [None] * len(ids)
    return with_names(part, ids, folder, no_groups)


def describe_corpus(corpus: Corpus) -> Prints:
    """Prints of a corpus, in memory."""
    rows = range(len(corpus))
    images = corpus.images(rows)
    prints = in_order(track(images, "prints", len(corpus)))
    part = part_of(prints)
    return of_corpus(corpus, part)


def in_order(images: Iterable[tuple[int, Image]]) -> list[Print]:
    """Prints of images that come with their rows in any order, by rising row."""
    prints = {}
    for row, image in images:
        prints[row] = print_of(image)
    return [prints[row] for row in sorted(prints)]


def of_corpus(corpus: Corpus, part: Part) -> Prints:
    """Prints of all frames of a corpus, with its names and groups."""
    ids, groups = corpus.column("id"), corpus.column("group")
    folder = corpus.root.name
    return with_names(part, ids, folder, groups)


def with_names(part: Part, ids: Sequence[str], folder: str, groups: Sequence[str | None]) -> Prints:
    """Prints with the names of their images."""
    table = part.table
    folders = [folder] * len(ids)
    pixels = table["pixels"].to_list()
    sound = table["sound"].to_numpy()
    digits = table["hash"].to_list()
    perceptual = hashes(digits)
    return Prints(
        ids=ids,
        folders=folders,
        groups=groups,
        pixels=pixels,
        sound=sound,
        hashes=perceptual,
        descriptors=part.descriptors,
        points=part.points,
    )


def joined(prints: Sequence[Prints]) -> Prints:
    """Several sets as one."""
    ids: list[str] = []
    folders: list[str] = []
    pixels: list[str] = []
    groups: list[str | None] = []
    for part in prints:
        ids += part.ids
        folders += part.folders
        pixels += part.pixels
        groups += part.groups

    sound = np.concatenate([part.sound for part in prints])
    perceptual = np.concatenate([part.hashes for part in prints])
    descriptors = np.concatenate([part.descriptors for part in prints])
    geometry = np.concatenate([part.points.geometry for part in prints])
    bits = np.concatenate([part.points.bits for part in prints])
    points = Points(geometry=geometry, bits=bits)
    return Prints(
        ids=ids,
        folders=folders,
        pixels=pixels,
        groups=groups,
        sound=sound,
        hashes=perceptual,
        descriptors=descriptors,
        points=points,
    )
