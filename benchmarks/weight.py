"""What OptiDEL weighs and how long it takes to start: ``python benchmarks/weight.py`` prints a table.

CPU-seconds are those of a fresh process, the least of several: a process can be slowed by others, never sped
up. Megabytes are the files that pip recorded for a distribution and for all that it requires, in this
environment.
"""

import argparse
import json
import re
import resource
import subprocess
import sys
from importlib import metadata
from pathlib import Path

RUNS = 5

STARTS = {
    "optidel --help": ("-m", "optidel", "--help"),
    "import optidel": ("-c", "import optidel"),
    "import optidel.pipeline": ("-c", "import optidel.pipeline.run"),
    "import optidel.methods": ("-c", "import optidel.methods"),
}
LIMITS = {"optidel --help": 0.3, "import optidel.pipeline": 2.0, "core": 500.0}
"""CPU-seconds and megabytes that the project promises."""

NAME = re.compile(r"[A-Za-z0-9._-]+")


def cpu_seconds(arguments: tuple[str, ...]) -> float:
    """User and system seconds of one fresh process of this Python."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def normal(name: str) -> str:
    """A distribution's name as every index spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements_of(distribution: metadata.Distribution, extra: str | None) -> set[str]:
    """Names that a distribution requires: always, or for one of its extras."""
    names = set()
    for requirement in distribution.requires or []:
        condition = requirement.partition(";")[2]
        if "extra ==" in condition and (extra is None or not re.search(rf"['\"]{extra}['\"]", condition)):
            continue
        match = NAME.match(requirement)
        if match:
            names.add(normal(match[0]))
    return names


def closure(roots: set[str]) -> set[str]:
    """All distributions of this environment that ``roots`` pull in, themselves included."""
    reached: set[str] = set()
    waiting = set(roots)
    while waiting:
        name = waiting.pop()
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # a requirement of another platform or Python
        reached.add(name)
        waiting |= requirements_of(distribution, None) - reached
    return reached


def megabytes(names: set[str]) -> float:
    """Size on disk of distributions."""
    files = {
        Path(str(file.locate()))
        for name in names
        for file in metadata.distribution(name).files or []
        if not str(file).startswith("..")  # scripts outside site-packages: small
    }
    return sum(path.stat().st_size for path in files if path.is_file()) / 1e6


def main() -> None:
    """Print and, with ``--out``, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()

    figures: dict[str, float] = {}
    for name, command in STARTS.items():
        figures[name] = round(min(cpu_seconds(command) for _ in range(RUNS)), 2)
        print(f"{name:<28}{figures[name]:>8.2f} CPU-s{promise(name, figures[name])}")

    package = metadata.distribution("optidel")
    core = closure(requirements_of(package, None))
    train = core | closure(requirements_of(package, "train"))
    for name, names in (("core", core), ("train", train)):
        figures[name] = round(megabytes(names))
        print(f"{name:<28}{figures[name]:>8.0f} MB, {len(names)} packages{promise(name, figures[name])}")
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=1) + "\n")


def promise(name: str, figure: float) -> str:
    """What was promised of a figure, and whether it holds."""
    if name not in LIMITS:
        return ""
    verdict = "met" if figure <= LIMITS[name] else "missed"
    return f"  (at most {LIMITS[name]:g}: {verdict})"


if __name__ == "__main__":
    main()
