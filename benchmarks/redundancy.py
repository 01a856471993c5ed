"""How much of the redundancy that is known the audit finds, and how many frames it calls copies wrongly.

    python benchmarks/redundancy.py DATA --whole histo-lung
    python benchmarks/redundancy.py DATA --clips 25 --others 100 --seed 21

``DATA`` holds ``mixed/`` and ``mixed-groups.csv`` (path, group): frames of one group show the same. Of each
folder ``--others`` images are drawn, of a folder named by ``--whole`` all are taken, and of ``us-lung-video``
``--clips`` whole clips. Prints, for each folder, the frames of a group that are in one chain with an earlier
one of it, and the frames that directly copy a frame of another group or of none: some of those are copies
that nobody listed.
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from optidel.copies.near import first_of_chain, near_copies
from optidel.copies.prints import describe_images
from optidel.corpus.quality import DEFAULTS

CLIPS = "us-lung-video"


def drawn(root: Path, group_of: dict[str, str], options: argparse.Namespace) -> list[str]:
    """Paths below ``root``, sorted: so groups are not in the order of their copies."""
    rng = np.random.default_rng(options.seed)
    clips = sorted({group for path, group in group_of.items() if path.startswith(CLIPS)})
    chosen = {clips[number] for number in rng.permutation(len(clips))[: options.clips]}
    names = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        files = sorted(str(path.relative_to(root)) for path in folder.rglob("*.jpg"))
        if folder.name == CLIPS and options.clips:
            names += [name for name in files if group_of.get(name) in chosen]
        elif folder.name in options.whole:
            names += files
        else:
            names += [files[number] for number in rng.permutation(len(files))[: options.others]]
    return sorted(names)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--whole", nargs="*", default=[])
    parser.add_argument("--clips", type=int, default=0)
    parser.add_argument("--others", type=int, default=150)
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    root = options.data / "mixed"
    with (options.data / "mixed-groups.csv").open() as handle:
        group_of = {row["path"].removeprefix("mixed/"): row["group"] for row in csv.DictReader(handle)}
    names = drawn(root, group_of, options)

    def pictures() -> Iterator[tuple[str, np.ndarray]]:
        for name in names:
            yield name, np.asarray(Image.open(root / name).convert("RGB"))

    _, near = near_copies(describe_images(pictures(), "mixed"), DEFAULTS.near)
    first = first_of_chain(near)
    chains: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        if name in group_of:
            chains[group_of[name]].append(int(first[row]))

    known: dict[str, int] = defaultdict(int)
    found: dict[str, int] = defaultdict(int)
    for group, members in chains.items():
        folder = next(name for name in names if group_of.get(name) == group).partition("/")[0]
        known[folder] += len(members) - 1
        found[folder] += len(members) - len(set(members))
    others: dict[str, int] = defaultdict(int)
    frames: dict[str, int] = defaultdict(int)
    for row, name in enumerate(names):
        folder = name.partition("/")[0]
        frames[folder] += 1
        copied = names[near[row]]
        others[folder] += near[row] != row and group_of.get(name, name) != group_of.get(copied, copied)

    print("| folder | frames | known copies | found | copies of another group, or of none |")
    print("|---|---:|---:|---:|---:|")
    for folder in frames:
        share = f"{found[folder]} ({found[folder] / known[folder]:.1%})" if known[folder] else ""
        print(f"| {folder} | {frames[folder]} | {known[folder] or ''} | {share} | {others[folder]} |")


if __name__ == "__main__":
    main()
