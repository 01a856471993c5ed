"""How well the leak check finds changed copies, and how often it finds what is none, on folders of images.

    python benchmarks/leaks.py --apart A B --planted A B

``--apart``: folders without a common patient; every match between two of them is a false one. A folder may be
followed by a colon and a regular expression that its file names must contain, so that the centres of one
folder can be compared. ``--planted``: of each folder, ``--count`` frames are changed in every way, and looked
for in that folder. Prints one JSON object.
"""

import argparse
import io
import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from optidel.copies.leaks import KINDS, find_leaks
from optidel.copies.prints import Prints, describe_corpus, describe_images
from optidel.corpus.index import index


def encoded(image: Image.Image, quality: int) -> Image.Image:
    """Through JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def cut(image: Image.Image, side: float, rng: np.random.Generator) -> Image.Image:
    """A part anywhere inside, ``side`` of both sides."""
    width, height = round(image.width * side), round(image.height * side)
    left, top = int(rng.integers(image.width - width + 1)), int(rng.integers(image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


CHANGES: dict[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "JPEG, quality 50": lambda image, rng: encoded(image, 50),
    "JPEG, quality 20": lambda image, rng: encoded(image, 20),
    "half the size": lambda image, rng: image.resize(
        (image.width // 2, image.height // 2), Image.Resampling.LANCZOS
    ),
    "stretched to 224 × 224": lambda image, rng: image.resize((224, 224), Image.Resampling.BICUBIC),
    "brightness × 1.3": lambda image, rng: ImageEnhance.Brightness(image).enhance(1.3),
    "brightness × 0.7": lambda image, rng: ImageEnhance.Brightness(image).enhance(0.7),
    "contrast × 1.4": lambda image, rng: ImageEnhance.Contrast(image).enhance(1.4),
    "mirrored": lambda image, rng: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "upside down": lambda image, rng: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    "crop, 95 % of the sides": lambda image, rng: cut(image, 0.95, rng),
    "crop, 90 % of the sides": lambda image, rng: cut(image, 0.9, rng),
    "crop, 80 % of the sides": lambda image, rng: cut(image, 0.8, rng),
    "mirrored, half the size, JPEG 50, × 1.3": lambda image, rng: encoded(
        ImageEnhance.Brightness(
            image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize(
                (image.width // 2, image.height // 2), Image.Resampling.LANCZOS
            )
        ).enhance(1.3),
        50,
    ),
    "turned by 90°": lambda image, rng: image.transpose(Image.Transpose.ROTATE_90),
}


def part(prints: Prints, pattern: str) -> Prints:
    """The images whose name holds ``pattern``."""
    rows = [row for row, name in enumerate(prints.ids) if re.search(pattern, name)]
    lists = {
        name: [getattr(prints, name)[row] for row in rows] for name in ("ids", "folders", "pixels", "groups")
    }
    return replace(
        prints,
        **lists,
        sound=prints.sound[rows],
        hashes=prints.hashes[rows],
        descriptors=prints.descriptors[rows],
        points=prints.points[np.array(rows, dtype=np.int64)],
    )


def false_ones(sides: dict[str, Prints]) -> list[dict[str, object]]:
    """Every side as corpus, every other as test set."""
    rows = []
    for train, test in permutations(sides, 2):
        found = find_leaks(sides[train], sides[test])
        counts = {kind: len({match.test for match in found.of(kind)}) for kind in KINDS}
        pairs = [
            [match.test, match.train, round(match.value, 3)] for kind in KINDS for match in found.of(kind)
        ]
        rows.append(
            {
                "train": train,
                "test": test,
                "frames": found.train,
                "images": found.test,
                "threshold": found.threshold,
                **counts,
                "pairs": pairs,
            }
        )
    return rows


def recall(folder: Path, prints: Prints, count: int) -> dict[str, object]:
    """Frames whose changed copy is matched with them: by equal pixels or the hash, by the embedding, by
    any."""
    rng = np.random.default_rng(0)
    corpus = index(folder)
    rows = np.sort(rng.permutation(len(corpus))[:count]).tolist()
    originals = {corpus.frames[row].id: Image.fromarray(image) for row, image in corpus.images(rows)}
    found = {}
    for name, change in CHANGES.items():
        copies = describe_images(
            [(key, np.asarray(change(image, rng))) for key, image in originals.items()], "copies"
        )
        leaks = find_leaks(prints, copies)
        seen = [
            {m.test for m in matches if m.test == m.train}
            for matches in ((*leaks.exact, *leaks.perceptual), leaks.embedding, leaks.points)
        ]
        found[name] = {
            "hash": len(seen[0]),
            "embedding": len(seen[1]),
            "points": len(seen[2]),
            "any": len(set().union(*seen)),
        }
    return {
        "folder": str(folder),
        "frames": len(corpus),
        "copies": len(rows),
        "threshold": leaks.threshold,
        "found": found,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--apart", nargs="*", default=[], metavar="FOLDER[:PATTERN]")
    parser.add_argument("--planted", nargs="*", type=Path, default=[], metavar="FOLDER")
    parser.add_argument("--count", type=int, default=100)
    options = parser.parse_args()
    described, start = {}, time.perf_counter()
    for folder in dict.fromkeys(
        [*(name.partition(":")[0] for name in options.apart), *map(str, options.planted)]
    ):
        described[folder] = describe_corpus(index(Path(folder)))
    images = sum(len(prints.ids) for prints in described.values())
    seconds = time.perf_counter() - start
    sides = {name: part(described[name.partition(":")[0]], name.partition(":")[2]) for name in options.apart}
    told = {
        "false": false_ones(sides),
        "recall": [recall(folder, described[str(folder)], options.count) for folder in options.planted],
    }
    print(json.dumps({"images": images, "seconds": round(seconds, 1), **told}, indent=1))


if __name__ == "__main__":
    main()
