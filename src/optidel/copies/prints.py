"""What is kept of a picture to find its copies: a hash of its pixels, a perceptual hash, a descriptor,
points."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float16, Float32, UInt8

from optidel.arrays import Image
from optidel.copies.hashes import hashes, pixel_hash
from optidel.copies.pixels import DIM, describe, shrink
from optidel.copies.points import Points, find_points
from optidel.corpus.frames import Corpus
from optidel.corpus.quality import examine
from optidel.progress import track

COLUMNS = {"pixels": pl.String, "hash": pl.String, "sound": pl.Boolean}
"""The table of prints: SHA-256 of the shown pixels, perceptual hash, and whether the frame shows
something."""


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
    quality = examine(image)
    geometry, bits = find_points(image)
    return Print(
        row=(pixel_hash(image), quality.phash, not quality.flaw),
        descriptor=describe(shrink(image)),
        geometry=geometry,
        bits=bits,
    )


def part_of(prints: Sequence[Print]) -> Part:
    """Prints of single images as arrays."""
    return Part(
        table=pl.DataFrame([each.row for each in prints], COLUMNS, orient="row"),
        descriptors=np.array([each.descriptor for each in prints], dtype=np.float16).reshape(-1, DIM),
        points=Points(
            geometry=np.array([each.geometry for each in prints], dtype=np.float16).reshape(-1, 64, 4),
            bits=np.array([each.bits for each in prints], dtype=np.uint8).reshape(-1, 64, 16),
        ),
    )


def describe_images(items: Iterable[tuple[str, Image]], folder: str) -> Prints:
    """Prints of images u8 (h, w, 3), at full size, with their ids."""
    ids, prints = [], []
    for name, image in items:
        ids.append(name)
        prints.append(print_of(image))
    return with_names(part_of(prints), ids, folder, [None] * len(ids))


def describe_corpus(corpus: Corpus) -> Prints:
    """Prints of a corpus, in memory."""
    images = track(corpus.images(range(len(corpus))), "prints", len(corpus))
    return of_corpus(corpus, part_of(in_order(images)))


def in_order(images: Iterable[tuple[int, Image]]) -> list[Print]:
    """Prints of images that come with their rows in any order, by rising row."""
    prints = {row: print_of(image) for row, image in images}
    return [prints[row] for row in sorted(prints)]


def of_corpus(corpus: Corpus, part: Part) -> Prints:
    """Prints of all frames of a corpus, with its names and groups."""
    ids = [frame.id for frame in corpus.frames]
    return with_names(part, ids, corpus.root.name, [frame.group for frame in corpus.frames])


def with_names(part: Part, ids: Sequence[str], folder: str, groups: Sequence[str | None]) -> Prints:
    """Prints with the names of their images."""
    return Prints(
        ids=ids,
        folders=[folder] * len(ids),
        groups=groups,
        pixels=part.table["pixels"].to_list(),
        sound=part.table["sound"].to_numpy(),
        hashes=hashes(part.table["hash"].to_list()),
        descriptors=part.descriptors,
        points=part.points,
    )


def joined(prints: Sequence[Prints]) -> Prints:
    """Several sets as one."""
    return Prints(
        ids=[name for part in prints for name in part.ids],
        folders=[name for part in prints for name in part.folders],
        pixels=[value for part in prints for value in part.pixels],
        groups=[group for part in prints for group in part.groups],
        sound=np.concatenate([part.sound for part in prints]),
        hashes=np.concatenate([part.hashes for part in prints]),
        descriptors=np.concatenate([part.descriptors for part in prints]),
        points=Points(
            geometry=np.concatenate([part.points.geometry for part in prints]),
            bits=np.concatenate([part.points.bits for part in prints]),
        ),
    )
