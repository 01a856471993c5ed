"""Pictures of docs/selectors.md: what each method picks of a toy in the plane and, with ``--images`` and
``--run``, of a real corpus.

``python scripts/selector_pages.py [--images FOLDER --run RUN]``, where RUN is what ``optidel embed FOLDER
--out RUN`` made.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont, ImageOps

from optidel.corpus.index import index
from optidel.features.clusters import cluster
from optidel.methods import ALL_METHODS, METHODS, Method, select
from optidel.methods.mixture import ConceptShares
from optidel.vinformation import difficulty

PICTURES = Path(__file__).parents[1] / "docs" / "images"
SIDE = 190
"""Pixels of one panel of the toy, before it is halved."""
ORDINARY, COPY, OUTLIER, PICK = (176, 190, 197), (100, 150, 210), (150, 110, 180), (216, 67, 21)


def toy(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points float (640, 2) in [-1, 1], and the kind of each: 0 ordinary, 1 near-duplicate, 2 outlier.

    Five clusters of 300, 120, 60, 25 and 15 points, 100 near-duplicates of five points, and 20 outliers.
    """
    rng = np.random.default_rng(seed)
    centres = np.array([[-0.45, -0.35], [0.5, -0.5], [0.4, 0.45], [-0.55, 0.6], [0.0, 0.8]])
    sizes, widths = (300, 120, 60, 25, 15), (0.2, 0.13, 0.12, 0.07, 0.05)
    clusters = [
        centre + width * rng.standard_normal((size, 2))
        for centre, size, width in zip(centres, sizes, widths, strict=True)
    ]
    ordinary = np.concatenate(clusters)
    parents = ordinary[[10, 150, 320, 400, 440]]
    copies = np.repeat(parents, 20, axis=0) + 0.008 * rng.standard_normal((100, 2))
    points = np.concatenate([ordinary, copies, rng.uniform(-1, 1, (20, 2))]).clip(-1, 1)
    return points, np.repeat([0, 1, 2], [len(ordinary), 100, 20])


def on_sphere(points: np.ndarray) -> np.ndarray:
    """Methods compare directions: a small patch of a sphere is a plane, where cosine distance is half the
    squared distance.
    """
    return np.concatenate([0.3 * points, np.ones((len(points), 1))], axis=1).astype(np.float32)


def panel(points: np.ndarray, kinds: np.ndarray, picks: np.ndarray, title: str) -> PillowImage.Image:
    """All points in pale, the picks on top, best last."""
    picture = PillowImage.new("RGB", (SIDE * 2, SIDE * 2 + 40), "white")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((4, 40, SIDE * 2 - 4, SIDE * 2 + 36), outline=(224, 224, 224))
    x = SIDE + points[:, 0] * (SIDE - 16)
    y = SIDE + 38 - points[:, 1] * (SIDE - 16)

    colours = (ORDINARY, COPY, OUTLIER)
    dots = [(row, 3, colours[kinds[row]]) for row in range(len(points))]
    dots += [(row, 7, PICK) for row in picks[::-1]]
    for row, radius, colour in dots:
        draw.ellipse((x[row] - radius, y[row] - radius, x[row] + radius, y[row] + radius), fill=colour)
    draw.text((8, 6), title, font=ImageFont.load_default(26), fill=(60, 60, 60))
    return picture.resize((SIDE, SIDE + 20), PillowImage.Resampling.LANCZOS)


def draw_toy(path: Path) -> None:
    """Forty picks of each method, side by side."""
    points, kinds = toy()
    # Difficulty grows to the right, so that one sees which methods follow it; outliers are the hardest.
    hardness = points[:, 0] + (kinds == 2)
    # The target of the methods that have one: ten points of the fourth cluster, at the upper left.
    target = on_sphere(points[480:490])
    # The shares of the mixture, which trials would find: even over eight concepts.
    concepts = cluster(on_sphere(points), 8, rng=np.random.default_rng(0)).labels
    mixture = ConceptShares(concepts=concepts, shares=np.full(8, 1 / 8))
    guides = {"difficulty": hardness, "influences": hardness, "target": target, "mixture": mixture}
    panels = [panel(points, kinds, np.empty(0, dtype=int), "the points")]
    for name in ALL_METHODS:
        if name != "full":
            selection = select(on_sphere(points), name, 40, **guides)
            panels.append(panel(points, kinds, selection.indices, name))

    columns = 6
    width, height = panels[0].size
    rows = -(-len(panels) // columns)
    sheet = PillowImage.new("RGB", (columns * width, rows * height), "white")
    for number, picture in enumerate(panels):
        row, column = divmod(number, columns)
        sheet.paste(picture, (column * width, row * height))
    sheet.quantize(200, dither=PillowImage.Dither.NONE).save(path, optimize=True)


def draw_corpus(images: Path, run: Path, path: Path, count: int = 12, side: int = 84) -> None:
    """The first picks of each method of 5 % of a corpus, one row a method."""
    frames = [frame for frame in index(images).frames if not frame.flaw]
    [artifact] = run.glob("embed-*")
    vectors, error, null = (np.load(artifact / f"{name}.npy") for name in ("vectors", "error", "null_error"))
    if len(vectors) != len(frames):
        sys.exit(f"{run} embeds {len(vectors)} frames, {images} has {len(frames)}; embed it again")
    names = [name for name, method in METHODS.items() if drawable(name, method)]
    label_width = 170
    sheet = PillowImage.new("RGB", (label_width + count * side, len(names) * side), "white")
    draw = ImageDraw.Draw(sheet)
    for line, name in enumerate(names):
        hardness = difficulty(error, null, METHODS[name].scorer)
        picks = select(vectors, name, 0.05, difficulty=hardness).indices
        y = line * side
        draw.text((6, y + side // 2 - 10), name, font=ImageFont.load_default(17), fill="black")
        for number, row in enumerate(picks[:count]):
            with PillowImage.open(images / frames[row].source) as picture:
                tile = ImageOps.fit(picture.convert("RGB"), (side - 2, side - 2))
            sheet.paste(tile, (label_width + number * side, y))
    sheet.save(path, quality=72, optimize=True)


def drawable(name: str, method: Method) -> bool:
    """Whether a method chooses among frames by what a run measures."""
    return name != "full" and method.unit == "frame" and method.needs in ("", "difficulty")


def main() -> None:
    """Draw what the arguments allow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="the real corpus")
    parser.add_argument("--run", type=Path, help="what `optidel embed` made of it")
    arguments = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    draw_toy(PICTURES / "selectors-toy.png")
    if arguments.images and arguments.run:
        draw_corpus(arguments.images, arguments.run, PICTURES / "selectors-polyps.jpg")


if __name__ == "__main__":
    main()
