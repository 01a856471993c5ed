"""Same-size damage of a finished run: is any used in silence, does any end in a traceback?

``python benchmarks/damages.py --damages 500 --out docs/results/damaged-files.md``. A small run of every step
is made. Then, one after another, a file of an artifact is drawn, 1 to 16 neighbouring bytes of it change, and
a command that reads the run is drawn and runs: it must name the folder to delete, or end with what it makes
of a sound run. ``optidel check`` must name the folder each time. Every tenth damage is healed as the message
says: the folder is deleted, and the same command runs again.
"""

import argparse
import contextlib
import io
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from kills import digests, draw, name_of, start

# Commands that read a finished run; `check` is asked each time beside them.
READERS = (
    ("run", "--config", "{recipe}"),
    ("report", "{run}"),
    ("vinfo", "{run}"),
    ("gallery", "{run}"),
    ("export", "{run}", "--method", "optidel", "--format", "folder"),
    ("export", "{run}", "--method", "random", "--format", "webdataset"),
)

# What the same command, run again on a finished run, may change: seconds and locks.
CHANGING = ("cost.json", ".locks")

# Deleting and making again costs seconds; a tenth of the damages shows each kind of folder.
HEALED = 10


@dataclass
class Tally:
    """What became of the damages, by command."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    unnoticed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    healed: int = 0


def main() -> None:
    """Damage, run, compare, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--damages", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    # Imported once: every command is a fork, which starts at once.
    import optidel.benchmark
    import optidel.cli
    import optidel.gallery
    import optidel.pipeline.run  # noqa: F401

    with tempfile.TemporaryDirectory() as scratch:
        tally = measure(Path(scratch), arguments.damages, random.Random(arguments.seed))
    text = table(tally)
    print(text)
    if arguments.out:
        arguments.out.write_text(text)
    sys.exit(bool(tally.wrong or tally.unnoticed))


def measure(scratch: Path, damages: int, rng: random.Random) -> Tally:
    """Damage after damage, each to a sound run."""
    paths = draw(scratch)
    out = paths["run"]
    for command in READERS:
        start(command, paths)
    sound, made_again, copy = digests(out, CHANGING), digests(out), scratch / "sound"
    shutil.copytree(out, copy)
    files = sorted(path.relative_to(out) for path in out.glob("*-*/**/*") if path.is_file())
    files = [path for path in files if path.name != "cost.json"]  # seconds: made again without a word

    tally = Tally()
    for number in range(damages):
        name, command = rng.choice(files), rng.choice(READERS)
        damage(out / name, rng)
        folder = name.parts[0]
        if folder not in said(("check", "{run}"), paths)[1]:
            tally.unnoticed.append(str(name))
        verdict = judge(command, paths, folder, sound, name)
        label = name_of(command)
        tally.outcomes[label, verdict] += 1
        if verdict not in ("refused", "not read"):
            tally.wrong.append(f"{name}, `{label}`: {verdict}")
        if number % HEALED == 0:
            shutil.rmtree(out / folder)
            for again in READERS:
                start(again, paths)
            # What nothing asks for again, such as the prints behind a finished leak check, stays away.
            after = digests(out)
            differing = [name for name, content in after.items() if content != made_again.get(name)]
            assert not differing, f"{folder} deleted and made again differs: {differing}"
            tally.healed += 1
        shutil.rmtree(out)
        shutil.copytree(copy, out)
        if number % 50 == 49:
            print(f"{number + 1} damages, {len(tally.wrong)} wrong", flush=True)
    return tally


def damage(path: Path, rng: random.Random) -> None:
    """Change 1 to 16 neighbouring bytes, as a failing disk does: by chance, to zeros, or one bit."""
    content = bytearray(path.read_bytes())
    before = bytes(content)
    while content and bytes(content) == before:
        begin = rng.randrange(len(content))
        end = min(len(content), begin + rng.randint(1, 16))
        match rng.randrange(3):
            case 0:
                content[begin:end] = rng.randbytes(end - begin)
            case 1:
                content[begin:end] = bytes(end - begin)
            case _:
                content[begin] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def judge(
    command: tuple[str, ...], paths: dict[str, Path], folder: str, sound: dict[str, str], name: Path
) -> str:
    """``refused`` with the folder's name, ``not read``: all that is made is as before, or what went wrong."""
    code, text = said(command, paths)
    if "Traceback" in text:
        return "traceback"
    if code:
        return "refused" if folder in text else f"refused without the folder: {text[-200:]}"
    after = digests(paths["run"], CHANGING)
    after[str(name)] = sound[str(name)]  # the damage itself
    return "not read" if after == sound else "used in silence"


def said(command: tuple[str, ...], paths: dict[str, Path]) -> tuple[int, str]:
    """Exit code of a command in a fork, and all that it printed, a traceback included."""
    words = [word.format(**paths) for word in command]
    with tempfile.TemporaryFile() as target:
        child = os.fork()
        if not child:
            os.environ["COLUMNS"] = "1000"  # a name broken over two lines would not be found
            os.dup2(target.fileno(), 1)
            os.dup2(target.fileno(), 2)
            code = 1
            try:
                from optidel.cli import main as optidel

                sys.argv = ["optidel", *words]
                optidel()
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                for stream in (sys.stdout, sys.stderr):
                    with contextlib.suppress(io.UnsupportedOperation, ValueError):
                        stream.flush()
                os._exit(code)
        status = os.waitpid(child, 0)[1]
        target.seek(0)
        return os.waitstatus_to_exitcode(status), target.read().decode(errors="replace")


def table(tally: Tally) -> str:
    """The page of the results."""
    commands = sorted({label for label, _ in tally.outcomes})
    total = sum(tally.outcomes.values())
    lines = [
        "# Damaged at random places",
        "",
        "A finished run of every step. In one file of an artifact 1 to 16 neighbouring bytes change, at",
        "random, to zeros, or by one bit, and a command that reads the run is started: it refuses the",
        "artifact and names the folder to delete, or it does not read the file and makes what it makes of a",
        "sound run, byte for byte.",
        "",
        "```bash",
        f"python benchmarks/damages.py --damages {total} --out docs/results/damaged-files.md",
        "```",
        "",
        "| command | damages | refused, folder named | not read | used in silence or traceback |",
        "|---|---:|---:|---:|---:|",
    ]
    for label in commands:
        counts = {verdict: count for (name, verdict), count in tally.outcomes.items() if name == label}
        refused, unread = counts.pop("refused", 0), counts.pop("not read", 0)
        bad = sum(counts.values())
        lines.append(f"| `{label}` | {refused + unread + bad} | {refused} | {unread} | {bad} |")
    lines += [
        "",
        f"**{len(tally.wrong)} of {total} damages were used in silence or ended in a traceback.**",
        f"`optidel check` named the folder of {total - len(tally.unnoticed)} of {total}.",
        f"{tally.healed} folders were deleted as the message says, and the same commands made them again,",
        "every file byte for byte the same.",
    ]
    lines += [f"- {text}" for text in [*tally.wrong, *tally.unnoticed]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
