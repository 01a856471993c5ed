"""A page of charts and nothing else, for results that no run folder holds."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

# What charts need of a page: the pages of runs include it in their own style.
STYLE = (Path(__file__).parent / "charts.css").read_text(encoding="utf-8")

# Tooltips at the pointer; where a chart can zoom, dragging a frame does. Nothing is fetched.
SCRIPT = (Path(__file__).parent / "charts.js").read_text(encoding="utf-8")

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title} · OptiDEL</title>
<style>
:root {{ --paper: #fcfcfb; --ink: #1c1f24; --rule: #d9d9d4; --accent: #0b6e70; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --paper: #14161a; --ink: #e7e8ea; --rule: #343941; --accent: #5cc4c4; }}
}}
body {{ margin: 0 auto; max-width: 1180px; padding: 30px 24px; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, "Liberation Sans", Arial, sans-serif; }}
h1 {{ font-size: 1.7rem; }} h2 {{ font-size: 1.05rem; }}
main {{ display: grid; gap: 18px 30px;
  grid-template-columns: repeat(auto-fit, minmax(min(480px, 100%), 1fr)); }}
{style}</style>
</head>
<body>
<h1>{title}</h1>
<p>{lead}</p>
<main>
{sections}
</main>
<script>
{script}</script>
</body>
</html>
"""


def page(title: str, lead: str, charts: Sequence[tuple[str, str]]) -> str:
    """A page that opens without a network.

    Args:
        title: its heading.
        lead: a sentence below it.
        charts: (heading, SVG) of each.
    """
    sections = [f"<section><h2>{escape(heading)}</h2>{chart}</section>" for heading, chart in charts]
    return PAGE.format(
        title=escape(title), lead=escape(lead), sections="\n".join(sections), style=STYLE, script=SCRIPT
    )
