"""How the source reads, in figures: ``python scripts/statements.py [FOLDER …] [--check] [--json]``.

Figures of every room of ``src/optidel`` and of the whole:

- ``nodes``: AST nodes of a function's body (docstring, Load and Store left out) for each statement in it; the
  median over functions.
- ``over 110``: lines longer than 110 characters, per cent.
- ``participles``: names bound by assignment or argument that are a bare participle or pronoun, per cent.
- ``comments``: comment lines for every 100 lines of code.
- ``share``: the room's lines, per cent of all.

``--check`` exits with 1 where the whole, or the share of a room, is over its limit.
"""

import argparse
import ast
import io
import json
import statistics
import sys
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "optidel"

BARE_WORDS = frozenset(
    (
        "found",
        "said",
        "told",
        "given",
        "known",
        "asked",
        "own",
        "one",
        "some",
        "place",
        "places",
        "made",
        "chosen",
        "mine",
        "seen",
        "held",
        "named",
        "shown",
        "there",
        "taken",
        "wanted",
        "got",
        "done",
        "looked",
        "met",
        "drawn",
        "heard",
    )
)
"""Names that say what happened to a thing and not what it is. ``kept`` is the field's own term."""

MAX_NODES = 9.0
"""Median nodes a statement; code bases that are read with pleasure lie between 6.2 and 9.4."""
MAX_LINE = 110
MAX_PARTICIPLES = 0.5
"""Per cent of bindings: room for a handful of idioms, none for a habit."""
MIN_COMMENTS = 4.0
"""Comment lines for every 100 lines of code; the same code bases have 2.9 to 11."""
MAX_SHARE = 12.0
"""Per cent of all lines in one room: above it, a room has more than one purpose."""

UNCOUNTED_TOKENS = frozenset(
    (
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    )
)


@dataclass(kw_only=True)
class Tally:
    """What is counted of one or more files."""

    densities: list[float] = field(default_factory=list)
    bindings: int = 0
    bare_bindings: dict[str, int] = field(default_factory=dict)
    lines: int = 0
    long_lines: int = 0
    code_lines: int = 0
    comment_lines: int = 0

    def add(self, other: "Tally") -> None:
        """Take in the counts of ``other``."""
        self.densities += other.densities
        self.bindings += other.bindings
        for name, count in other.bare_bindings.items():
            self.bare_bindings[name] = self.bare_bindings.get(name, 0) + count
        self.lines += other.lines
        self.long_lines += other.long_lines
        self.code_lines += other.code_lines
        self.comment_lines += other.comment_lines


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures of a room, or of the whole."""

    room: str
    lines: int
    share: float
    nodes: float
    over_110: float
    participles: float
    comments: float
    bare: dict[str, int]


def tally_of(source: str) -> Tally:
    """Count one file."""
    tree = ast.parse(source)
    lines = source.splitlines()
    tally = Tally(lines=len(lines), long_lines=sum(len(line) > MAX_LINE for line in lines))
    tally.code_lines, tally.comment_lines = _code_and_comments(source, tree)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            density = _density(node)
            if density is not None:
                tally.densities.append(density)
        name = _bound_name(node)
        if name is None:
            continue
        tally.bindings += 1
        if name in BARE_WORDS:
            tally.bare_bindings[name] = tally.bare_bindings.get(name, 0) + 1
    return tally


def _density(function: ast.FunctionDef | ast.AsyncFunctionDef) -> float | None:
    """Nodes a statement of a function's body; None where only a docstring stands in it."""
    documented = ast.get_docstring(function, clean=False) is not None
    body = function.body[1:] if documented else function.body
    nodes = [node for statement in body for node in ast.walk(statement)]
    statements = sum(isinstance(node, ast.stmt) for node in nodes)
    if not statements:
        return None
    counted = sum(not isinstance(node, (ast.Load, ast.Store)) for node in nodes)
    return counted / statements


def _bound_name(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return node.id
    return node.arg if isinstance(node, ast.arg) else None


def _code_and_comments(source: str, tree: ast.Module) -> tuple[int, int]:
    code_lines: set[int] = set()
    comments = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments += 1
        elif token.type not in UNCOUNTED_TOKENS:
            code_lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        documentable = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, documentable) and ast.get_docstring(node, clean=False):
            docstring = node.body[0]
            code_lines -= set(range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1))
    return len(code_lines), comments


def figures_of(room: str, tally: Tally, all_lines: int) -> Figures:
    """Counts as medians and shares."""
    bare = dict(sorted(tally.bare_bindings.items(), key=lambda item: -item[1]))
    return Figures(
        room=room,
        lines=tally.lines,
        share=_per_cent(tally.lines, all_lines),
        nodes=round(statistics.median(tally.densities), 2) if tally.densities else 0.0,
        over_110=_per_cent(tally.long_lines, tally.lines),
        participles=_per_cent(sum(bare.values()), tally.bindings),
        comments=_per_cent(tally.comment_lines, tally.code_lines),
        bare=bare,
    )


def _per_cent(part: int, whole: int) -> float:
    return round(100 * part / max(1, whole), 2)


def rooms_of(folder: Path) -> Iterator[tuple[str, list[Path]]]:
    """Name and Python files of every room in ``folder``; files beside the rooms count as one."""
    for room in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = sorted(room.rglob("*.py"))
        if files:
            yield room.name, files
    loose = sorted(folder.glob("*.py"))
    if loose:
        yield "(files beside the rooms)", loose


def measure(folders: Sequence[Path]) -> list[Figures]:
    """Figures of each room and, last, of the whole."""
    total = Tally()
    rooms: dict[str, Tally] = {}
    for folder in folders:
        for name, files in rooms_of(folder):
            room = rooms.setdefault(name, Tally())
            for file in files:
                counts = tally_of(file.read_text(encoding="utf-8"))
                room.add(counts)
                total.add(counts)
    table = [figures_of(name, tally, total.lines) for name, tally in rooms.items()]
    return [*table, figures_of("all", total, total.lines)]


def complaints(table: Sequence[Figures]) -> list[str]:
    """What is over its limit."""
    *rooms, whole = table
    problems = []
    if whole.nodes > MAX_NODES:
        problems.append(f"{whole.nodes:g} AST nodes a statement, at most {MAX_NODES:g}: one idea a statement")
    if whole.over_110 > 0:
        problems.append(f"{whole.over_110:g} % of the lines are longer than {MAX_LINE} characters")
    if whole.participles > MAX_PARTICIPLES:
        names = ", ".join(f"{name} {count}×" for name, count in list(whole.bare.items())[:5])
        problems.append(
            f"{whole.participles:g} % of the names are bare participles or pronouns ({names}), "
            f"at most {MAX_PARTICIPLES:g} %: name what the variable holds"
        )
    if whole.comments < MIN_COMMENTS:
        problems.append(
            f"{whole.comments:g} comment lines per 100 of code, at least {MIN_COMMENTS:g}: say why"
        )
    problems += [
        f"{room.room}/ holds {room.share:g} % of the lines, at most {MAX_SHARE:g} %: it has two purposes"
        for room in rooms
        if room.share > MAX_SHARE
    ]
    return problems


def main() -> int:
    """Print the table; 1 where ``--check`` is given and a limit is broken."""
    parser = argparse.ArgumentParser(description="How the source reads, in figures.")
    parser.add_argument("folders", nargs="*", type=Path, default=[SOURCE])
    parser.add_argument("--check", action="store_true", help="exit with 1 where a limit is broken")
    parser.add_argument("--json", action="store_true", help="print one JSON object a room")
    arguments = parser.parse_args()

    table = measure(arguments.folders)
    if arguments.json:
        print(json.dumps([asdict(row) for row in table]))
    else:
        print(
            f"{'room':<26}{'lines':>7}{'share':>8}{'nodes':>8}"
            f"{'over 110':>10}{'participles':>13}{'comments':>10}"
        )
        for row in table:
            print(
                f"{row.room:<26}{row.lines:>7}{row.share:>7.1f}%{row.nodes:>8.2f}"
                f"{row.over_110:>9.2f}%{row.participles:>12.2f}%{row.comments:>10.2f}"
            )

    problems = complaints(table)
    if arguments.check:
        for problem in problems:
            print(problem, file=sys.stderr)
    return 1 if arguments.check and problems else 0


if __name__ == "__main__":
    sys.exit(main())
