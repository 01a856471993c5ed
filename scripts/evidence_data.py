"""Lay out the images of the evidence: ``evidence_data.py KVASIR-SEG POLYPGEN-DEV OUT``; both sets hold
images/ and masks/.

Makes OUT/corpus (all of PolypGen and the unlabelled part of Kvasir-SEG), OUT/polyps-tuning and
OUT/polyps-test: labelled sets with the same few training images and different test images. The part of a
Kvasir image follows from the SHA-256 of its name alone, so every machine makes the same parts. Needs nothing
but the standard library. What is there already is left alone.
"""

import hashlib
import shutil
import sys
from pathlib import Path

TRAIN, TUNING, TEST = 200, 150, 150
"""Labelled images to train on, to choose variants on, and to report on, once. The rest of Kvasir-SEG is
unlabelled corpus.
"""


class DataError(Exception):
    """One clear sentence for the person."""


def parts(stems: list[str]) -> dict[str, list[str]]:
    """Stems by part: train, tuning, test, corpus."""
    if len(stems) <= TRAIN + TUNING + TEST:
        raise DataError(
            f"Kvasir-SEG has 1,000 images, {len(stems)} with a mask were found; pass the folder that holds images/ and masks/"
        )
    order = sorted(stems, key=lambda stem: hashlib.sha256(stem.encode()).digest())
    ends = [0, TRAIN, TRAIN + TUNING, TRAIN + TUNING + TEST, len(order)]
    return {
        name: order[ends[i] : ends[i + 1]] for i, name in enumerate(("train", "tuning", "test", "corpus"))
    }


def files_of(folder: Path) -> dict[str, Path]:
    """Files of a folder by stem."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; each set holds images/ and masks/")
    return {
        path.stem: path
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".")
    }


def lay_out(kvasir: Path, polypgen: Path, out: Path) -> dict[str, int]:
    """Copy every file to its place; returns the number of images by part."""
    images, masks = files_of(kvasir / "images"), files_of(kvasir / "masks")
    part = parts(sorted(images.keys() & masks.keys()))
    others = files_of(polypgen / "images")
    copies = {out / "corpus" / "polypgen" / path.name: path for path in others.values()}
    copies |= {out / "corpus" / "kvasir-seg" / images[stem].name: images[stem] for stem in part["corpus"]}
    for task, tested in (("polyps-tuning", "tuning"), ("polyps-test", "test")):
        for side, name in (("train", "train"), ("test", tested)):
            for stem in part[name]:
                for kind, files in (("images", images), ("masks", masks)):
                    copies[out / task / side / kind / files[stem].name] = files[stem]
    for target, source in copies.items():
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target.with_name(f".{target.name}"))
            target.with_name(f".{target.name}").rename(target)
    return {
        "corpus": len(others) + len(part["corpus"]),
        **{name: len(part[name]) for name in ("train", "tuning", "test")},
    }


def main() -> None:
    """Three folders in, counts out."""
    if len(sys.argv) != 4:
        sys.exit("usage: evidence_data.py KVASIR-SEG POLYPGEN-DEV OUT")
    try:
        made = lay_out(*map(Path, sys.argv[1:4]))
    except (DataError, OSError) as error:
        sys.exit(f"evidence_data: {error}")
    sys.stdout.write(
        ", ".join(f"{count} {name}" for name, count in made.items()) + f" images in {sys.argv[3]}\n"
    )


if __name__ == "__main__":
    main()
