"""Small tables of shaded cells side by side: a value for every pair of a row and a column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optidel.charts import svg
from optidel.charts.lines import WIDTH

# The least cell, what stands between panels, the room above for a panel's name and its columns, px.
CELL_WIDTH, CELL_HEIGHT, GAP, HEAD, FOOT = 60, 30, 26, 44, 30

# Of the font at 13 px, the widest that names use on average; a name then has air on both sides.
LETTER = 7.6

# Pale to deep blue; black is read on the one, white on the other.
PALE, DEEP = (228, 239, 248), (24, 78, 130)
DARK_FROM = 0.55


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One table: ``values`` by row and column; a pair without one is left empty."""

    name: str
    values: Mapping[tuple[str, str], float]


def grids(panels: Sequence[Panel], rows: Sequence[str], columns: Sequence[str], label: str) -> str:
    """Panels with one scale of shades, as many beside each other as fit.

    Args:
        panels: at least one value among them.
        rows: names, from the top; they stand left of each panel.
        columns: names, from the left.
        label: what the values are, below all.
    """
    values = [value for panel in panels for value in panel.values.values()]
    low, high = min(values), max(values)
    left = 12 + LETTER * max(map(len, rows))
    cell_width = max(CELL_WIDTH, LETTER * max(map(len, columns)) + 8)
    width = left + cell_width * len(columns)
    height = HEAD + CELL_HEIGHT * len(rows) + GAP
    beside = max(1, int((WIDTH + GAP) // (width + GAP)))

    parts = []
    for number, panel in enumerate(panels):
        down, across = divmod(number, beside)
        x, y = across * (width + GAP), down * height
        parts += _panel(panel, rows, columns, (x + left, y + HEAD, cell_width), (low, high))
    total = height * (1 + (len(panels) - 1) // beside) + FOOT
    full_width = max(WIDTH, width)
    parts.append(svg.text(full_width / 2, total - 10, label, "middle"))
    return svg.picture(int(full_width), int(total), parts, label)


def _panel(
    panel: Panel,
    rows: Sequence[str],
    columns: Sequence[str],
    place: tuple[float, float, float],
    span: tuple[float, float],
) -> list[str]:
    x, y, cell_width = place
    parts = [svg.text(x, y - 26, panel.name, font_weight="bold")]
    for column, name in enumerate(columns):
        parts.append(svg.text(x + cell_width * (column + 0.5), y - 7, name, "middle"))
    for row, row_name in enumerate(rows):
        top = y + CELL_HEIGHT * row
        middle = top + CELL_HEIGHT / 2 + 4
        parts.append(svg.text(x - 8, middle, row_name, "end"))
        for column, column_name in enumerate(columns):
            value = panel.values.get((row_name, column_name))
            if value is None:
                continue
            share = (value - span[0]) / ((span[1] - span[0]) or 1.0)
            left = x + cell_width * column
            title = f"{panel.name}: {row_name} → {column_name}: {value:.3f}"
            cell = svg.rectangle(left, top, cell_width - 2, CELL_HEIGHT - 2, _shade(share), title)
            ink = "#fff" if share > DARK_FROM else "#111"
            parts += [cell, svg.text(left + cell_width / 2 - 1, middle, f"{value:.3f}", "middle", fill=ink)]
    return parts


def _shade(share: float) -> str:
    mixed = [round(pale + share * (deep - pale)) for pale, deep in zip(PALE, DEEP, strict=True)]
    return "#{:02x}{:02x}{:02x}".format(*mixed)
