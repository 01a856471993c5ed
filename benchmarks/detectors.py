"""How often the detectors of the audit are right, modality by modality, on images with planted faults.

    python benchmarks/detectors.py DATA --count 60

``DATA`` holds the folders of :data:`MODALITIES`. Of each modality ``--count`` images, drawn by ``--seed``,
are looked at as they are and with planted text, blur, borders and copies. Prints one JSON object. Marks of
images as they are count as false: some of them carry real text or are really blurred, so the precision is a
lower bound.
"""

import argparse
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from optidel.copies.near import near_copies
from optidel.copies.prints import describe_images
from optidel.corpus.quality import DEFAULTS, examine, marks
from optidel.features.overlay import forbidden

MODALITIES = {
    "endoscopy": ("kvasir-seg/images", "polypgen-dev/images", "mixed/colo-colondb"),
    "laparoscopy": ("mixed/lap-chole", "mixed/lap-mixed"),
    "X-ray": ("mixed/xr-chest-a", "mixed/xr-chest-b", "mixed/xr-hand", "lung-cxr/images"),
    "ultrasound": ("mixed/us-lung-video", "mixed/us-lung-stills", "mixed/us-muscle"),
    "CT": ("mixed/ct-chest", "mixed/ct-head"),
    "cells": ("mixed/cyto-malaria", "cbc/Training", "dsb2018/images"),
    "histology": ("mixed/histo-lung",),
    "skin": ("mixed/skin-dermoscopy",),
}
TEXTS = (
    "PATIENT 4711",
    "12/03/2019",
    "DOE, JOHN",
    "ID: 88231",
    "14:35:07 L",
    "Name: SMITH",
    "MI 1.2 TIS 0.4",
)
LETTERS = (0.05, 0.09)
"""Size of the planted letters, of the short side: as devices write."""


def files(root: Path, folders: tuple[str, ...], count: int, seed: int) -> list[Path]:
    """Images of a modality, as many of each folder."""
    each = -(-count // len(folders))
    paths: list[Path] = []
    for folder in folders:
        listed = sorted(path for path in (root / folder).rglob("*") if path.suffix in (".jpg", ".png"))
        order = np.random.default_rng(seed).permutation(len(listed))
        paths += [listed[number] for number in order[:each]]
    return paths[:count]


def written(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A line of text, white or nearly, in colour frames also yellow, somewhere in the frame."""
    width, height = image.size
    font = ImageFont.load_default(max(9, int(min(image.size) * rng.uniform(*LETTERS))))
    text = str(rng.choice(TEXTS))
    inks = [(255, 255, 255), (250, 250, 250), (235, 235, 235)]
    if np.asarray(image).std(axis=2).mean() > 3:
        inks.append((255, 255, 0))
    picture = image.copy()
    draw = ImageDraw.Draw(picture)
    _, _, across, down = draw.textbbox((0, 0), text, font=font)
    left = int(rng.uniform(2, max(3, width - across - 2)))
    inside = int(rng.uniform(3, max(4, height - down - 4)))
    top = int(rng.choice([3, height - down - 4, inside]))
    draw.text((left, top), text, fill=inks[rng.integers(len(inks))], font=font)
    return picture


def blurred(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Out of focus by a fiftieth of the short side."""
    return image.filter(ImageFilter.GaussianBlur(min(image.size) / 50))


def bordered(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A black border around a third of the frame."""
    canvas = Image.new("RGB", image.size)
    small = image.resize((round(image.width * 0.58), round(image.height * 0.58)))
    canvas.paste(small, ((image.width - small.width) // 2, (image.height - small.height) // 2))
    return canvas


def cropped(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Four fifths of both sides, anywhere."""
    width, height = round(image.width * 0.8), round(image.height * 0.8)
    left, top = (
        int(rng.integers(full - part + 1)) for full, part in zip(image.size, (width, height), strict=True)
    )
    return image.crop((left, top, left + width, top + height))


def recompressed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Through JPEG at quality 50."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=50)
    return Image.open(buffer).convert("RGB")


COPIES: dict[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "turned by a quarter": lambda image, rng: image.transpose(Image.Transpose.ROTATE_90),
    "mirrored": lambda image, rng: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "cropped to 80 %": cropped,
    "recompressed": recompressed,
}


def has_text(image: Image.Image) -> bool:
    """Whether the audit marks the frame for text."""
    return bool(forbidden(np.asarray(image)).overlay.mean() > DEFAULTS.text)


def has_mark(image: Image.Image, name: str) -> bool:
    """Whether the audit gives the frame this mark."""
    return name in marks(examine(np.asarray(image)))


def faults(images: list[Image.Image], rng: np.random.Generator) -> dict[str, dict[str, float]]:
    """Recall of planted faults, and the share of frames marked as they are."""
    detectors: dict[str, tuple[Callable[..., Image.Image], Callable[[Image.Image], bool]]] = {
        "text": (written, has_text),
        "blur": (blurred, lambda image: has_mark(image, "blurred")),
        "border": (bordered, lambda image: has_mark(image, "border")),
    }
    table = {}
    for name, (plant, detect) in detectors.items():
        as_they_are = np.array([detect(image) for image in images])
        planted = np.array([detect(plant(image, rng)) for image in images])
        recall, false = float(planted.mean()), float(as_they_are.mean())
        precision = recall / (recall + false) if recall + false else float("nan")
        table[name] = {"recall": recall, "marked as they are": false, "precision at least": precision}
    return table


def copies(named: dict[str, list[Image.Image]], planted: int, rng: np.random.Generator) -> dict[str, object]:
    """Recall of planted copies in one mixed corpus, by change and modality, and originals called copies."""

    def corpus() -> Iterator[tuple[str, np.ndarray]]:
        for modality, images in named.items():
            for number, image in enumerate(images):
                yield f"{modality}/{number}", np.asarray(image)
        for modality, images in named.items():
            for number, image in enumerate(images[:planted]):
                for change, make in COPIES.items():
                    yield f"{modality}/{number}/{change}", np.asarray(make(image, rng))

    prints = describe_images(corpus(), "mixed")
    _, near = near_copies(prints, DEFAULTS.near)
    row_of = {name: row for row, name in enumerate(prints.ids)}

    def share(modality: str, change: str) -> float:
        hits = []
        for number in range(min(planted, len(named[modality]))):
            original = f"{modality}/{number}"
            match = prints.ids[near[row_of[f"{original}/{change}"]]]
            hits.append(
                match == original or (match.startswith(f"{original}/") and match != f"{original}/{change}")
            )
        return float(np.mean(hits))

    def called(modality: str) -> float:
        rows = np.array([row_of[f"{modality}/{number}"] for number in range(len(named[modality]))])
        return float((near[rows] != rows).mean())

    return {
        "recall": {modality: {change: share(modality, change) for change in COPIES} for modality in named},
        "originals called copies": {modality: called(modality) for modality in named},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--planted", type=int, default=20, help="images of each modality that are copied")
    parser.add_argument("--seed", type=int, default=2026, help="the defaults were set on other images")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    named = {
        modality: [
            Image.open(path).convert("RGB")
            for path in files(options.data, folders, options.count, options.seed)
        ]
        for modality, folders in MODALITIES.items()
    }
    table = {modality: faults(images, rng) for modality, images in named.items()}
    print(
        json.dumps(
            {"count": options.count, "faults": table, "copies": copies(named, options.planted, rng)}, indent=1
        )
    )


if __name__ == "__main__":
    main()
