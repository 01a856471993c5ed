"""SIGKILL at random moments over all steps and commands: does any artifact differ afterwards?

``python benchmarks/kills.py --kills 200 --out docs/results/killed-commands.md``. A small corpus and labelled
set are drawn, every command runs undisturbed once, and then round after round in new folders: each command
is killed at a random moment of the time it took, and run again to its end. At the end of a round every file
must be the byte-for-byte same as in the undisturbed folders. Killed itself, it starts over.

``--folders bench leaks masks`` kills only the commands that make these folders.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

# Images of the corpus and of the labelled set: enough for every step to have several blocks to lose.
CORPUS, LABELLED = 40, 16

# A recipe that touches every step and trains for a second.
RECIPE = """
images = "{images}"
labelled = "{labelled}"
out = "{run}"
methods = ["full", "random", "meddel", "optidel", "optidel-paper"]
budget = 0.15
corpus = {{ holdout = 0.1 }}
encoder = {{ steps = 4 }}
patches = {{ backend = "regions", candidates = 0.75 }}
pretrain = {{ steps = 4, batch = 8 }}

[evaluate]
protocols = ["fine-tune", "probe", "ridge"]
steps = 2
batch = 4
train = 8
test = 8
keep = true
"""

# A bench of eight cells, each of which trains for a second.
BENCH = """
images = "{images}"
labelled = "{labelled}"
methods = ["full", "random", "k-center"]
budgets = [0.25]
seeds = [0, 1]
protocols = ["probe"]
encoder = {{ steps = 2 }}
patches = {{ backend = "regions", candidates = 0.75 }}
pretrain = {{ steps = 2, batch = 4 }}
evaluate = {{ steps = 2, batch = 4, train = 8, test = 8 }}
"""

# In the order in which a person would run them; each makes what is missing. By the folder that they write.
COMMANDS = {
    "run": (
        ("index", "--config", "{recipe}"),
        ("audit", "--config", "{recipe}"),
        ("embed", "--config", "{recipe}"),
        ("select", "--config", "{recipe}"),
        ("patches", "--config", "{recipe}"),
        ("compose", "--config", "{recipe}"),
        ("pretrain", "--config", "{recipe}"),
        ("evaluate", "--config", "{recipe}"),
        ("run", "--config", "{recipe}"),
        ("vinfo", "{run}"),
        ("export", "{run}", "--method", "optidel", "--format", "folder"),
        ("export", "{run}", "--method", "random", "--format", "webdataset"),
        ("gallery", "{run}"),
        ("report", "{run}"),
    ),
    "bench": (("bench", "{plan}", "--out", "{bench}"), ("bench", "report", "{bench}")),
    "leaks": (("leaks", "{images}", "{labelled}", "--out", "{leaks}"),),
    "masks": (("predict", "{run}", "{images}", "--out", "{masks}"),),
}

# What differs between equal runs by design: seconds, locks, the secret of pseudonyms, pages with seconds, and
# logs, which note when each attempt began. results.parquet has the rows of results.json.
DIFFERING = (
    *("cost.json", ".locks", ".group-key", "report.html", "audit.html", "result-", "logs/"),
    *("results.parquet", "methods.parquet", "tables.md", "tables.tex", "pareto-seconds"),
)

# JSON of a bench, compared without the seconds in it and without the hash of a cell that holds them.
TIMED = ("cells/", "results.json")


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
    parser.add_argument("--folders", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    # Imported once: every command is a fork, which starts at once.
    import optidel.benchmark
    import optidel.cli
    import optidel.gallery
    import optidel.pipeline.run  # noqa: F401

    with tempfile.TemporaryDirectory() as scratch:
        tally = measure(Path(scratch), arguments.folders, arguments.kills, random.Random(arguments.seed))
    text = table(tally, f"--kills {arguments.kills} --folders {' '.join(arguments.folders)}")
    print(text)
    if arguments.out:
        arguments.out.write_text(text)
    sys.exit(bool(tally.differing))


def measure(scratch: Path, folders: Sequence[str], kills: int, rng: random.Random) -> Tally:
    """Rounds of kills until there were enough."""
    # One name for all rounds: the title of a gallery is the name of its run.
    paths = draw(scratch)
    seconds = undisturbed(paths)
    made = [paths[folder] for folder in folders]
    expected = [digests(folder) for folder in made]
    tally, round_number = Tally(), 0
    while sum(tally.hits.values()) < kills:
        round_number += 1
        for folder in made:
            shutil.rmtree(folder)
        for command in (command for folder in folders for command in COMMANDS[folder]):
            name = name_of(command)
            tally.kills[name] += 1
            tally.hits[name] += start(command, paths, kill_after=rng.uniform(0, seconds[name]))
            assert not start(command, paths), f"{name} does not go on after a kill: {scratch}"
        for folder, before in zip(made, expected, strict=True):
            after = digests(folder)
            names = [name for name in sorted(before | after) if before.get(name) != after.get(name)]
            tally.differing += [f"round {round_number}: {folder.name}/{name}" for name in names]
            print(*names, sep="\n", end="\n" if names else "", flush=True)
        print(
            f"round {round_number}: {sum(tally.hits.values())} kills, {len(tally.differing)} files differ",
            flush=True,
        )
    return tally


def draw(scratch: Path) -> dict[str, Path]:
    """A corpus and a labelled set of blobs on noise, a recipe and a bench of them, and the folders that are
    made.
    """
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
    paths = {"images": images, "labelled": labelled} | {name: scratch / name for name in COMMANDS}
    for name, text in {"recipe": RECIPE, "plan": BENCH}.items():
        paths[name] = scratch / f"{name}.toml"
        paths[name].write_text(text.format(**paths))
    return paths


def name_of(command: Sequence[str]) -> str:
    """A command without the paths that it is given."""
    return " ".join(word for word in command if "{" not in word and word not in ("--config", "--out"))


def undisturbed(paths: dict[str, Path]) -> dict[str, float]:
    """Make all folders without a kill; the seconds of each command."""
    seconds = {}
    for command in (command for commands in COMMANDS.values() for command in commands):
        began = time.monotonic()
        assert not start(command, paths), f"{name_of(command)} fails"
        seconds[name_of(command)] = time.monotonic() - began
    return seconds


def start(command: Sequence[str], paths: dict[str, Path], kill_after: float | None = None) -> bool:
    """Run a command in a fork; whether a kill met it running. Where it is not killed it must end well."""
    words = [word.format(**paths) for word in command]
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
        try:
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:  # in its first instant it has no group of its own yet
            os.kill(child, signal.SIGKILL)
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
            content = path.read_bytes()
            if but is DIFFERING and name.startswith(TIMED):
                content = json.dumps(untimed(json.loads(content))).encode()
            values[name] = hashlib.sha256(content).hexdigest()
    return values


def untimed(value: Any) -> Any:
    """JSON without seconds."""
    if isinstance(value, dict):
        items = value.items()
        return {key: untimed(item) for key, item in items if key != "check" and "seconds" not in key}
    return [untimed(item) for item in value] if isinstance(value, list) else value


def table(tally: Tally, options: str) -> str:
    """The page of the results."""
    lines = [
        "# Killed at random moments",
        "",
        "Every command of a small run, killed by SIGKILL at a random moment of the time it takes, with its",
        "decoding processes, and run again to its end; then every file is compared with that of a run",
        "that nobody killed.",
        "",
        "```bash",
        f"python benchmarks/kills.py {options}",
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
