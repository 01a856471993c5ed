"""SIGKILL at random moments over all steps and commands: does any artifact differ afterwards?

``python benchmarks/kills.py --kills 200 --out docs/results/killed-commands.md``. A small corpus and labelled
set are drawn, every command runs undisturbed once, and then round after round in a new folder: each command
is killed at a random moment of the time it took, and run again to its end. At the end of a round every file
of every artifact must be the byte-for-byte same as in the undisturbed folder. Killed itself, it starts over.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

# Images of the corpus and of the labelled set: enough for every step to have several blocks to lose.
CORPUS, LABELLED = 40, 16

# A recipe that touches every step and trains for a second.
RECIPE = """
images = "{images}"
labelled = "{labelled}"
out = "{out}"
methods = ["full", "random", "meddel", "optidel", "optidel-paper"]
budget = 0.15
corpus = {{ holdout = 0.1 }}
encoder = {{ steps = 4 }}
patches = {{ backend = "regions", candidates = 0.75 }}
pretrain = {{ steps = 4, batch = 8 }}
evaluate = {{ protocols = ["fine-tune", "probe", "ridge"], steps = 2, batch = 4, train = 8, test = 8 }}
"""

# In the order in which a person would run them; each makes what is missing.
COMMANDS = (
    ("index", "--config", "{recipe}"),
    ("audit", "--config", "{recipe}"),
    ("embed", "--config", "{recipe}"),
    ("select", "--config", "{recipe}"),
    ("patches", "--config", "{recipe}"),
    ("compose", "--config", "{recipe}"),
    ("pretrain", "--config", "{recipe}"),
    ("evaluate", "--config", "{recipe}"),
    ("run", "--config", "{recipe}"),
    ("vinfo", "{out}"),
    ("export", "{out}", "--method", "optidel", "--format", "folder"),
    ("export", "{out}", "--method", "random", "--format", "webdataset"),
    ("gallery", "{out}"),
    ("report", "{out}"),
)

# What differs between equal runs by design: seconds, locks, the secret of pseudonyms, pages with seconds.
DIFFERING = ("cost.json", ".locks", ".group-key", "report.html", "audit.html", "result-")


@dataclass
class Tally:
    """Kills by command, how many of them hit before the command had ended, and what differed."""

    kills: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    differing: list[str] = field(default_factory=list)


def main() -> None:
    """Kill, run again, compare, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    # Imported once: every command is a fork, which starts at once.
    import optidel.benchmark
    import optidel.cli
    import optidel.gallery
    import optidel.pipeline.run  # noqa: F401

    with tempfile.TemporaryDirectory() as scratch:
        tally = measure(Path(scratch), arguments.kills, random.Random(arguments.seed))
    text = table(tally)
    print(text)
    if arguments.out:
        arguments.out.write_text(text)
    sys.exit(bool(tally.differing))


def measure(scratch: Path, kills: int, rng: random.Random) -> Tally:
    """Rounds of kills until there were enough."""
    images, labelled = draw(scratch)
    out = scratch / "run"  # one name for all: the title of a gallery is the name of its run
    expected, seconds = undisturbed(out, images, labelled)
    shutil.rmtree(out)
    tally, round_number = Tally(), 0
    while sum(tally.hits.values()) < kills:
        round_number += 1
        recipe = write_recipe(out, images, labelled)
        for command in COMMANDS:
            name = " ".join(word for word in command if "{" not in word and not word.startswith("--config"))
            tally.kills[name] += 1
            tally.hits[name] += start(command, out, recipe, kill_after=rng.uniform(0, seconds[name]))
            assert not start(command, out, recipe), f"{name} does not go on after a kill: {out}"
        actual = digests(out)
        for path in sorted(expected.keys() | actual.keys()):
            if expected.get(path) != actual.get(path):
                tally.differing.append(f"round {round_number}: {path}")
                print(tally.differing[-1], flush=True)
        shutil.rmtree(out)
        print(
            f"round {round_number}: {sum(tally.hits.values())} kills, {len(tally.differing)} files differ",
            flush=True,
        )
    return tally


def draw(scratch: Path) -> tuple[Path, Path]:
    """A corpus and a labelled set of blobs on noise."""
    rng = np.random.default_rng(0)
    images, labelled = scratch / "images", scratch / "labelled"
    for folder in (images, labelled / "images", labelled / "masks"):
        folder.mkdir(parents=True)
    y, x = np.mgrid[:96, :96]
    for number in range(CORPUS + LABELLED):
        cy, cx, radius = [*rng.uniform(30, 66, 2).tolist(), rng.uniform(10, 20)]
        mask = (y - cy) ** 2 + (x - cx) ** 2 < radius**2
        noise = rng.normal(0, 14, (96, 96, 3))
        picture = 90 + noise + mask[..., None] * rng.uniform(40, 120, 3)
        image = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
        if number < CORPUS:
            image.save(images / f"{number:03d}.png")
        else:
            image.save(labelled / "images" / f"{number:03d}.png")
            Image.fromarray(mask.astype(np.uint8) * 255).save(labelled / "masks" / f"{number:03d}.png")
    return images, labelled


def write_recipe(out: Path, images: Path, labelled: Path) -> Path:
    """The recipe of a run folder."""
    text = RECIPE.format(images=images, labelled=labelled, out=out)
    tomllib.loads(text)
    path = out.with_suffix(".toml")
    path.write_text(text)
    return path


def undisturbed(out: Path, images: Path, labelled: Path) -> tuple[dict[str, str], dict[str, float]]:
    """The files of a run that nobody killed, and the seconds of each command."""
    recipe, seconds = write_recipe(out, images, labelled), {}
    for command in COMMANDS:
        name = " ".join(word for word in command if "{" not in word and not word.startswith("--config"))
        began = time.monotonic()
        assert not start(command, out, recipe), f"{name} fails"
        seconds[name] = time.monotonic() - began
    return digests(out), seconds


def start(command: Sequence[str], out: Path, recipe: Path, kill_after: float | None = None) -> bool:
    """Run a command in a fork; whether a kill met it running. Where it is not killed it must end well."""
    words = [word.format(recipe=recipe, out=out) for word in command]
    child = os.fork()
    if not child:
        os.setsid()  # a group of its own, so that its decoding processes go with it
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        code = 1
        try:
            from optidel.cli import app

            app(words, standalone_mode=False)
            code = 0
        finally:
            os._exit(code)
    if kill_after is not None:
        end = time.monotonic() + kill_after
        while time.monotonic() < end:
            if os.waitpid(child, os.WNOHANG)[0]:
                return False
            time.sleep(0.005)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return True
    status = os.waitpid(child, 0)[1]
    if status:
        raise SystemExit(f"{' '.join(words)} ended with {status}")
    return False


def digests(out: Path, but: Sequence[str] = DIFFERING) -> dict[str, str]:
    """The hash of every file whose name holds none of ``but``: by default of those that equal runs share."""
    values = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and not any(part in name for part in but):
            values[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return values


def table(tally: Tally) -> str:
    """The page of the results."""
    lines = [
        "# Killed at random moments",
        "",
        "Every command of a small run, killed by SIGKILL at a random moment of the time it takes, with its",
        "decoding processes, and run again to its end; then every file is compared with that of a run",
        "that nobody killed.",
        "",
        "```bash",
        "python benchmarks/kills.py --kills 200 --out docs/results/killed-commands.md",
        "```",
        "",
        "| command | kills sent | met it running |",
        "|---|---:|---:|",
    ]
    lines += [f"| `{name}` | {count} | {tally.hits[name]} |" for name, count in tally.kills.items()]
    total, hits = sum(tally.kills.values()), sum(tally.hits.values())
    lines += [f"| all | {total} | {hits} |", "", f"**{len(tally.differing)} files differ.**"]
    lines += [f"- {text}" for text in tally.differing]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
