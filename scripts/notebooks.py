"""Write the notebooks of the tutorials from their pages; with ``--check`` only say which differ."""

import json
import re
import sys
from pathlib import Path
from typing import Any

TUTORIALS = Path(__file__).parents[1] / "docs" / "tutorials"
FENCE = re.compile(r"^```python\n(.*?)^```\n", flags=re.MULTILINE | re.DOTALL)


def notebook(page: str) -> str:
    """A page as a notebook (format 4.5): its Python fences are cells of code, all between them is Markdown.

    Args:
        page: Markdown.
    """
    cells: list[dict[str, Any]] = []
    # Every second part is what the pattern caught.
    for number, part in enumerate(FENCE.split(page)):
        text = part.strip("\n")
        if not text:
            continue
        cell = {"id": f"cell-{len(cells)}", "metadata": {}, "source": text.splitlines(keepends=True)}
        if number % 2:
            cells.append({"cell_type": "code", "execution_count": None, "outputs": [], **cell})
        else:
            cells.append({"cell_type": "markdown", **cell})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    values = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def main(check: bool) -> int:
    """Write the notebooks, or say which differ from their page.

    Args:
        check: write nothing.

    Returns:
        The exit status: 1 where a notebook differs.
    """
    stale = 0
    for page in sorted(TUTORIALS.glob("*.md")):
        target = page.with_suffix(".ipynb")
        text = notebook(page.read_text())
        if check:
            if not target.is_file() or target.read_text() != text:
                print(f"{target.name} differs from {page.name}; run `python scripts/notebooks.py`")
                stale = 1
        else:
            target.write_text(text)
    return stale


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
