"""Plotly figures of a run, without colours of their own for text and grid: the page sets those for light,
dark and paper.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl
from jaxtyping import Float

from optidel.report.numbers import BreakEven, StepCost, percent, plural
from optidel.runs.baselines import RANDOM, SCRATCH
from optidel.runs.collect import MethodScore, Run

COLOURS = {
    "scratch": "#8a8f98",
    "full": "#7a5cc0",
    "random": "#b0813a",
    "meddel": "#c2533f",
    "optidel": "#0f8b8d",
}
OTHERS = (
    "#4178be",
    "#c0619a",
    "#5f9b3c",
    "#c98b00",
    "#3a9ec9",
    "#8f6a50",
    "#9a9a2e",
    "#b04a7a",
    "#4f7f6f",
    "#6f76c9",
    "#cc7a5a",
    "#5a8f9b",
)
SYMBOLS = (
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "cross",
    "x",
    "triangle-down",
    "pentagon",
    "star",
    "hexagon",
    "bowtie",
    "hourglass",
)
SCORERS = {"error": "reconstruction error", "pvi": "minus pointwise V-information, nats per value,"}
BINS = 120
"""Points of a loss curve: each is the mean of one bin of steps."""

Figure = Any


def colour_of(methods: Sequence[str]) -> dict[str, str]:
    """A colour for each method, the same in every figure and on every page for the methods that have a name
    here.
    """
    others = iter(OTHERS * (1 + len(methods) // len(OTHERS)))
    return {method: COLOURS.get(method) or next(others) for method in methods}


def label_of(score: MethodScore | BreakEven) -> str:
    """``optidel 5 %``; from scratch has no budget."""
    return score.method if score.method == SCRATCH else f"{score.method} {percent(score.budget)}"


def whiskers(scores: Sequence[MethodScore], methods: Sequence[str], of: str) -> Figure:
    """Dots and whiskers, one row a method.

    Args:
        scores: rows of one protocol.
        methods: every method of the run, for the colours.
        of: ``miou`` or ``difference`` (to random; rows without one are left out).
    """
    rows = [score for score in scores if getattr(score, of) is not None]
    if of == "difference":
        rows = [score for score in rows if score.method != RANDOM]
    colours = colour_of(methods)
    figure = go.Figure()
    for score in rows:
        value, low, high = (getattr(score, of + suffix) for suffix in ("", "_low", "_high"))
        figure.add_scatter(
            x=[value],
            y=[label_of(score)],
            mode="markers",
            marker={"size": 10, "color": colours[score.method]},
            error_x={
                "array": [high - value],
                "arrayminus": [value - low],
                "thickness": 2,
                "width": 5,
                "color": colours[score.method],
            },
            hovertemplate=f"%{{y}}: {value:.3f} [{low:.3f}, {high:.3f}]<extra></extra>",
        )
    baseline = (
        0.0 if of == "difference" else next((score.miou for score in scores if score.method == SCRATCH), None)
    )
    if baseline is not None:
        figure.add_vline(x=baseline, line={"width": 1, "dash": "dot", "color": COLOURS["scratch"]})
    title = "mIoU − random (dotted: none)" if of == "difference" else "mIoU (dotted: from scratch)"
    figure.update_yaxes(autorange="reversed", automargin=True)
    return finish(figure, title, "", height=90 + 26 * max(len(rows), 2), legend=False)


def against_budget(run: Run, protocol: str) -> Figure:
    """MIoU against the number of pre-training images: the mean with its interval, and a faint point for each
    seed.
    """
    colours = colour_of(run.methods)
    scores = [score for score in run.scores if score.protocol == protocol]
    trained = [method for method in dict.fromkeys(score.method for score in scores) if method != SCRATCH]
    figure = go.Figure()
    for position, method in enumerate(trained):
        # Methods share their budgets, so points would hide one another: set them apart sideways on the log
        # axis, some 4 % each.
        apart = 1.04 ** (position - (len(trained) - 1) / 2)
        rows = sorted((score for score in scores if score.method == method), key=lambda score: score.n_images)
        seeds = [row for row in run.trial_scores if row.method == method and row.protocol == protocol]
        figure.add_scatter(
            x=[row.n_images * apart for row in seeds],
            y=[row.miou for row in seeds],
            mode="markers",
            marker={"size": 5, "color": colours[method], "opacity": 0.4},
            hovertemplate=f"{method}, one seed: %{{y:.3f}}<extra></extra>",
            showlegend=False,
        )
        figure.add_scatter(
            x=[row.n_images * apart for row in rows],
            y=[row.miou for row in rows],
            name=method,
            mode="lines+markers",
            line={"color": colours[method], "width": 1.5},
            marker={"size": 9, "color": colours[method], "symbol": SYMBOLS[position % len(SYMBOLS)]},
            error_y={
                "array": [row.miou_high - row.miou for row in rows],
                "arrayminus": [row.miou - row.miou_low for row in rows],
                "thickness": 1.2,
                "width": 4,
            },
            customdata=[row.n_images for row in rows],
            hovertemplate=f"{method}: %{{y:.3f}} with %{{customdata}} images<extra></extra>",
        )
    sizes = sorted({score.n_images for score in scores if score.method != SCRATCH})
    for row in (score for score in scores if score.method == SCRATCH and sizes):
        figure.add_scatter(
            x=[sizes[0] / 1.25, sizes[-1] * 1.25],
            y=[row.miou, row.miou],
            name="from scratch",
            mode="lines",
            line={"color": COLOURS["scratch"], "width": 1.4, "dash": "dot"},
            hovertemplate=f"from scratch: {row.miou:.3f}<extra></extra>",
        )
    figure.update_xaxes(type="log", tickvals=sizes, ticktext=[f"{size:,}" for size in sizes])
    return finish(figure, "pre-training images", "mIoU", height=380, legend=True)


def losses(run: Run) -> Figure | None:
    """Pre-training loss against step, a line for each cell, the mean over bins of steps; None before anything
    was trained.
    """
    colours = colour_of(run.methods)
    figure = go.Figure()
    shown: set[str] = set()
    curves = [("warm-up", COLOURS["scratch"], "dash", run.warmup)]
    curves += [(cell.method, colours[cell.method], "solid", cell.pretrain) for cell in run.trials]
    for name, colour, dash, artifact in curves:
        if artifact is None:
            continue
        log = _binned(artifact.table("log.parquet"))
        figure.add_scatter(
            x=log["step"].to_list(),
            y=log["loss"].to_list(),
            name=name,
            legendgroup=name,
            showlegend=name not in shown,
            mode="lines",
            line={"color": colour, "width": 1.2, "dash": dash},
            opacity=0.8,
            hovertemplate=f"{name}: %{{y:.4f}} at step %{{x}}<extra></extra>",
        )
        shown.add(name)
    return finish(figure, "optimizer step", "loss", height=380, legend=True) if shown else None


def _binned(log: pl.DataFrame) -> pl.DataFrame:
    width = max(1, -(-log.height // BINS))
    return log.group_by(pl.int_range(pl.len()) // width, maintain_order=True).agg(
        pl.col("step", "loss").mean().round(5)
    )


def difficulty(
    values: Float[np.ndarray, "n"], chosen: Float[np.ndarray, "m"], unit: str, scorer: str
) -> Figure:
    """Histogram of difficulty: all items, and those chosen, in the same bins.

    Args:
        values: (n,) difficulty of every item, higher is harder.
        chosen: (m,) those of the chosen ones, may be empty.
        unit: what an item is, frame or key patch.
        scorer: error or pvi.
    """
    edges = np.histogram_bin_edges(values, bins=40)
    centres = ((edges[1:] + edges[:-1]) / 2).round(6).tolist()
    figure = go.Figure()
    series = [(f"all {plural(unit)}", values, COLOURS["scratch"])]
    series += [("chosen by optidel", chosen, COLOURS["optidel"])] if len(chosen) else []
    for name, part, colour in series:
        counts = np.histogram(part, edges)[0].tolist()
        figure.add_bar(
            x=centres,
            y=counts,
            name=name,
            marker={"color": colour},
            hovertemplate="%{x:.3g}: %{y}<extra></extra>",
        )
    figure.update_layout(barmode="overlay", bargap=0.05)
    return finish(figure, f"{SCORERS[scorer]} of each {unit}", plural(unit), height=300, legend=True)


def seconds_of_steps(costs: Sequence[StepCost]) -> Figure:
    """A bar for each step: wall-clock seconds."""
    figure = go.Figure()
    figure.add_bar(
        x=[round(cost.seconds, 3) for cost in costs],
        y=[cost.step for cost in costs],
        orientation="h",
        marker={"color": COLOURS["optidel"]},
        text=[f"{cost.share:.0%}" for cost in costs],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{x:.1f} s<extra></extra>",
    )
    figure.update_yaxes(autorange="reversed", automargin=True)
    return finish(figure, "seconds", "", height=90 + 28 * len(costs), legend=False)


def finish(figure: Figure, x: str, y: str, *, height: int, legend: bool) -> Figure:
    """Axis titles and margins that every figure has."""
    axis = {"zeroline": False, "automargin": True}
    figure.update_layout(
        template={},
        height=height,
        margin={"l": 10, "r": 30, "t": 14, "b": 10},
        showlegend=legend,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    figure.update_xaxes(title={"text": x}, **axis)
    figure.update_yaxes(title={"text": y}, **axis)
    return figure
