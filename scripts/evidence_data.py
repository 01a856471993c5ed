"""Lay out the images of a bench of ``examples/``.

``evidence_data.py KVASIR-SEG POLYPGEN-DEV OUT`` is the corpus of ``evidence.toml``; both sets hold images/
and masks/. Makes OUT/corpus (all of PolypGen and the unlabelled part of Kvasir-SEG), OUT/polyps-tuning and
OUT/polyps-test: labelled sets with the same few training images and different test images. The part of a
Kvasir image follows from the SHA-256 of its name alone, so every machine makes the same parts.

``evidence_data.py --mixed DATA OUT`` is the corpus of ``choosing-pays.toml`` and ``evidence-h.toml``. DATA
holds mixed/, mixed-groups.csv, polypgen-dev/images, kvasir-seg, lung-cxr and tasks/. Makes OUT/corpus,
OUT/groups.csv (path, group: what must stay on one side when images are held out) and OUT/tasks, all links.

Needs nothing but the standard library. What is there already is left alone.
"""

import csv
import hashlib
import re
import shutil
import sys
from collections import Counter
from itertools import pairwise
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
            f"Kvasir-SEG has 1,000 images, {len(stems)} with a mask were found; "
            "pass the folder that holds images/ and masks/"
        )
    order = sorted(stems, key=lambda stem: hashlib.sha256(stem.encode()).digest())
    ends = [0, TRAIN, TRAIN + TUNING, TRAIN + TUNING + TEST, len(order)]
    names = ("train", "tuning", "test", "corpus")
    return {name: order[start:stop] for name, (start, stop) in zip(names, pairwise(ends), strict=True)}


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
    for stem in part["corpus"]:
        copies[out / "corpus" / "kvasir-seg" / images[stem].name] = images[stem]
    for task, tested in (("polyps-tuning", "tuning"), ("polyps-test", "test")):
        for side, name in (("train", "train"), ("test", tested)):
            for stem in part[name]:
                image, mask = images[stem], masks[stem]
                copies[out / task / side / "images" / image.name] = image
                copies[out / task / side / "masks" / mask.name] = mask
    for target, source in copies.items():
        copy_once(source, target)

    labelled = {name: len(part[name]) for name in ("train", "tuning", "test")}
    return {"corpus": len(others) + len(part["corpus"]), **labelled}


def copy_once(source: Path, target: Path) -> None:
    """Copy a file to where none is yet; a copy that is cut off is not taken for a whole one."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}")
    shutil.copyfile(source, unfinished)
    unfinished.rename(target)


GROUPS = {
    "colo-colondb": r"(?P<block>\d+)\d\d$",
    "cyto-malaria": r"(?P<patient>C\d+P\d+)",
    "lap-mixed": r"^(?P<video>\d+)-",
    "lap-robot": r"^(?P<video>short_source)_",
    "polypgen-dev": r"^(?P<sequence>\d+OLCV\d|EndoCV2021_C[56])_",
    "us-muscle": r"^(?P<sequence>.+?)_?\d+$",
    "xr-chest-a": r"(?P<patient>person\d+|IM-\d+)",
}
"""Folder of the mixed corpus to what its file names say of patient or sequence, where no list of groups does.

The names of ColonDB's frames do not say where one of its 15 sequences ends, so hundreds of neighbours stay
together. Names of the other folders say nothing: there every image is a group, and near-copies are found by
their pixels when images are held out.
"""

BESIDE = ("kvasir-seg", "lung-cxr")
"""Labelled sets that lie beside tasks/ and not in it."""


def group_of(source: str, listed: dict[str, str]) -> str:
    """The group of an image of the mixed corpus by its path, ``folder/…/name``; empty where none is known."""
    if source in listed:
        return listed[source]
    folder, stem = source.split("/")[0], Path(source).stem
    match = re.search(GROUPS.get(folder, r"(?!)"), stem)
    if match is None:
        return ""
    words = [word for word in match.groups() if word]
    return "-".join([folder, *words])


def lay_out_mixed(data: Path, out: Path) -> dict[str, int]:
    """Link every file to its place; returns the number of images, of groups and of labelled sets.

    Raises:
        DataError: a part of the data is missing.
    """
    mixed, polypgen = data / "mixed", data / "polypgen-dev" / "images"
    groups_file = data / "mixed-groups.csv"
    sets = [*(data / name for name in BESIDE), *sorted((data / "tasks").glob("*"))]
    for part in (mixed, polypgen, groups_file, *sets):
        if not part.exists():
            raise DataError(
                f"there is no {part}; DATA holds mixed/, mixed-groups.csv, polypgen-dev/images, …"
            )

    with groups_file.open(newline="") as handle:
        listed = {row["path"]: row["group"] for row in csv.DictReader(handle)}
    files = {path.relative_to(mixed).as_posix(): path for path in files_below(mixed)}
    files |= {f"polypgen-dev/{path.name}": path for path in files_below(polypgen)}
    links = {out / "corpus" / source: path for source, path in files.items()}
    for labelled in sets:
        for path in files_below(labelled):
            links[out / "tasks" / labelled.name / path.relative_to(labelled)] = path
    for target, path in links.items():
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            # Absolute, so that OUT may be moved while DATA stays.
            target.symlink_to(path.resolve())

    rows = {source: group_of(source, listed) for source in sorted(files)}
    with (out / "groups.csv").open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["path", "group"])
        writer.writerows(rows.items())
    sizes = Counter(group for group in rows.values() if group)
    return {
        "corpus": len(files),
        "in groups": sizes.total(),
        "groups": len(sizes),
        "labelled sets": len(sets),
    }


def files_below(folder: Path) -> list[Path]:
    """Every file below a folder that is not hidden, by path."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def main() -> None:
    """Folders in, counts out."""
    arguments = sys.argv[1:]
    if len(arguments) != 3:  # both forms have three
        sys.exit("usage: evidence_data.py KVASIR-SEG POLYPGEN-DEV OUT, or evidence_data.py --mixed DATA OUT")
    out = Path(arguments[2])
    try:
        if arguments[0] == "--mixed":
            counts = lay_out_mixed(Path(arguments[1]), out)
        else:
            counts = lay_out(Path(arguments[0]), Path(arguments[1]), out)
    except (DataError, OSError) as error:
        sys.exit(f"evidence_data: {error}")
    text = ", ".join(f"{count} {name}" for name, count in counts.items())
    sys.stdout.write(f"{text}: images in {out}\n")


if __name__ == "__main__":
    main()
