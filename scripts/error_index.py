"""Write docs/errors.md from the errors that the source raises; with ``--check`` only say if it differs."""

import ast
import html
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "optidel"
PAGE = ROOT / "docs" / "errors.md"

# Stands for what only the error itself knows: a path, a number, a name.
UNKNOWN = "…"

# The page that explains what the errors of a room are about.
PAGES = {
    "archives": "corpus.md",
    "arrays": "api.md",
    "benchmark": "benchmark.md",
    "charts": "api.md",
    "cli": "cli.md",
    "copies": "audit.md",
    "corpus": "corpus.md",
    "datasets": "datadel.md",
    "demo": "quickstart.md",
    "doctor": "quickstart.md",
    "errors": "api.md",
    "evaluation": "datadel.md",
    "export": "export.md",
    "features": "method.md",
    "gallery": "gallery.md",
    "mapping": "scale.md",
    "methods": "selectors.md",
    "models": "method.md",
    "pipeline": "cli.md",
    "progress": "cli.md",
    "readers": "formats.md",
    "recipe": "cli.md",
    "records": "api.md",
    "remote": "scale.md",
    "report": "pages.md",
    "runs": "run-folder.md",
    "store": "run-folder.md",
    "theory": "selectors.md",
    "training": "method.md",
    "vinformation": "vinformation.md",
}

HEAD = """# Errors

Every error that a user can cause is one sentence: what, where, the value, and what to do. Below is each
sentence of the source, by the part that says it; … stands for your file, value or name. Search this page
for the words around it. The reasons for which a file is quarantined are those of *readers*, *archives*
and *corpus*: such a file never stops a run. Anything else that ends a command is a bug; please report
it.

Written by `python scripts/error_index.py`; a test compares it with the source.
"""


def error_names() -> set[str]:
    """The classes of ``optidel.errors``."""
    tree = ast.parse((SOURCE / "errors.py").read_text())
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef)}


def sentence(node: ast.expr) -> str:
    """The text of a message, with ``UNKNOWN`` for what is not known before it is raised.

    >>> sentence(ast.parse("f'budget must be in (0, 1], got {budget}' + hint", mode="eval").body)
    'budget must be in (0, 1], got ……'
    """
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(sentence, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return sentence(node.left) + sentence(node.right)
    return UNKNOWN


def raised(source: str, names: set[str]) -> Iterator[tuple[str, str]]:
    """Class and sentence of each error that a file raises; messages made elsewhere are left out.

    Args:
        source: Python.
        names: of the classes that count.
    """
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args):
            continue
        function = node.exc.func
        if isinstance(function, ast.Name) and function.id in names:
            text = re.sub(rf"{UNKNOWN}+", UNKNOWN, sentence(node.exc.args[0]))
            if re.search(r"[a-z]{3}", text):
                yield function.id, text


def escaped(text: str) -> str:
    """A sentence inside a table of Markdown, with no sign that Markdown reads.

    >>> escaped("a|b <c> `d`")
    'a&#124;b &lt;c&gt; &#96;d&#96;'
    """
    plain = " ".join(html.escape(text, quote=False).split())
    return re.sub(r"[|*_`\\[\]{}~]", lambda sign: f"&#{ord(sign[0])};", plain)


def page() -> str:
    """The page, room by room, each sentence once."""
    names = error_names()
    rooms: dict[str, dict[str, str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        for name, text in raised(path.read_text(), names):
            rooms.setdefault(room, {})[text] = name

    parts = [HEAD]
    for room, sentences in sorted(rooms.items()):
        title = f"## {room}\n\nExplained in [{PAGES[room].removesuffix('.md')}]({PAGES[room]}).\n"
        rows = [f"| {escaped(text)} | {sentences[text]} |" for text in sorted(sentences, key=str.lower)]
        parts.append("\n".join([title, "| sentence | error |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def main(check: bool) -> int:
    """Write the page, or say whether it differs.

    Args:
        check: write nothing.

    Returns:
        The exit status: 1 where the page differs.
    """
    text = page()
    if not check:
        PAGE.write_text(text)
        return 0
    if PAGE.is_file() and PAGE.read_text() == text:
        return 0
    print(f"{PAGE.name} differs from the source; run `python scripts/error_index.py`")
    return 1


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
