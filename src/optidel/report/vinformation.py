"""Does higher V-information go with higher mIoU? The training sets of a run side by side, and rank
correlations with their uncertainty.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from math import atanh, sqrt, tanh
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float64
from scipy.stats import norm, rankdata

from optidel.report.figures import Figure, colour_of, finish
from optidel.report.numbers import percent
from optidel.runs.collect import Run
from optidel.runs.sets import TrainedSet, measured_sets
from optidel.runs.summaries import InformationSummary

QUANTITIES = {
    "h_null": "H_V(Y|∅) of the set",
    "h_conditional": "H_V(Y|X) of the set",
    "information": "I_V of the set",
    "log_det": "log-determinant",
    "vendi": "Vendi score",
    "gained": "I_V gained on the labelled images",
}
EXACT, DRAWS = 7, 10_000
"""Up to seven sets every permutation is tried, beyond it ten thousand are drawn."""

Sets = Sequence[tuple[TrainedSet, InformationSummary]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """Spearman's rank correlation of one quantity with mIoU over ``n`` sets, each the mean of its seeds.

    ``p`` is two-sided, by permutation of the sets; ``low`` to ``high`` is the 95 % interval of Bonett &
    Wright (2000), None under five sets, and where the order agrees or disagrees wholly. ``over`` says which
    sets: all, or those below the full corpus.
    """

    quantity: str
    over: str
    n: int
    rho: float
    p: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Sets that were trained and tested alike, and what their quantities have to do with their mIoU."""

    objective: str
    rule: str
    task: str
    protocol: str
    correlations: tuple[Correlation, ...]
    points: tuple[tuple[str, float, float, float], ...]

    @property
    def title(self) -> str:
        """What the sets have in common."""
        return f"{self.objective}, equal {self.rule}, {self.task}, {self.protocol}"

    @property
    def sentence(self) -> str:
        """What may be said of I_V here."""
        for correlation in self.correlations:
            if correlation.quantity == "information":
                return _said(correlation)
        return "too few sets to say anything"


def rows_of(sets: Sets) -> list[dict[str, Any]]:
    """One plain row a set, for tables and JSON; ``miou`` by labelled set and protocol."""
    return [
        {
            "method": one.method,
            "budget": one.budget,
            "seed": one.seed,
            "objective": one.objective,
            "compute": one.rule,
        }
        | asdict(found)
        | {
            "gained": dict(found.gained),
            "miou": {f"{task}, {protocol}": value for (task, protocol), value in one.miou.items()},
        }
        for one, found in sets
    ]


def compare(sets: Sets) -> tuple[Comparison, ...]:
    """Rank correlations with mIoU, separately for each objective, rule of compute, labelled set and protocol.

    Seeds of one method are no sets of their own: quantities and mIoU are averaged over them first.
    """
    groups: dict[tuple[str, str, str, str], dict[tuple[str, float], list[dict[str, float]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for one, found in sets:
        for (task, protocol), miou in one.miou.items():
            quantities = {name: float(getattr(found, name)) for name in QUANTITIES if name != "gained"}
            values = quantities | {"gained": found.gained[task], "miou": miou}
            groups[one.objective, one.rule, task, protocol][one.method, one.budget].append(values)
    return tuple(_comparison(key, rows) for key, rows in sorted(groups.items()))


def _comparison(
    key: tuple[str, str, str, str], rows: dict[tuple[str, float], list[dict[str, float]]]
) -> Comparison:
    means = {
        where: {name: float(np.mean([row[name] for row in found])) for name in found[0]}
        for where, found in rows.items()
    }
    choices = {
        "all sets": list(means.values()),
        "sets below the full corpus": [row for (_, budget), row in means.items() if budget < 1],
    }
    if len(choices["all sets"]) == len(choices["sets below the full corpus"]):
        choices.pop("sets below the full corpus")
    correlations = tuple(
        correlate(name, over, [row[name] for row in chosen], [row["miou"] for row in chosen])
        for over, chosen in choices.items()
        for name in QUANTITIES
        if len(chosen) >= 3
    )
    points = tuple(
        (method, budget, row["information"], row["miou"]) for (method, budget), row in means.items()
    )
    objective, rule, task, protocol = key
    return Comparison(
        objective=objective, rule=rule, task=task, protocol=protocol, correlations=correlations, points=points
    )


def correlate(
    quantity: str, over: str, x: Sequence[float], y: Sequence[float], draws: int = DRAWS
) -> Correlation:
    """Spearman's ρ, its permutation p-value and its interval.

    Args:
        quantity, over: names, kept.
        x, y: (n,), n at least 3.
        draws: permutations tried of more than seven sets; of fewer, all are.

    Source: Bonett & Wright, Psychometrika 2000, for the interval: atanh ρ ± 1.96 · √((1 + ρ²/2) / (n − 3)).
    """
    n = len(x)
    ranks_x, ranks_y = (np.asarray(rankdata(values), np.float64) for values in (x, y))
    rho = _rho(ranks_x, ranks_y)
    if n <= EXACT:
        orders = np.array(list(permutations(range(n))))
    else:
        orders = np.random.default_rng(0).permuted(np.tile(np.arange(n), (draws, 1)), axis=1)
    drawn = np.array([_rho(ranks_x, ranks_y[order]) for order in orders])
    reached = int((np.abs(drawn) >= abs(rho) - 1e-12).sum())
    p = reached / len(orders) if n <= EXACT else (1 + reached) / (1 + len(orders))
    low = high = None
    if n >= 5 and abs(rho) < 1 - 1e-9:
        half = float(norm.ppf(0.975)) * sqrt((1 + rho**2 / 2) / (n - 3))
        low, high = tanh(atanh(rho) - half), tanh(atanh(rho) + half)
    return Correlation(quantity=quantity, over=over, n=n, rho=rho, p=p, low=low, high=high)


def _rho(x: Float64[np.ndarray, "n"], y: Float64[np.ndarray, "n"]) -> float:
    dx, dy = x - x.mean(), y - y.mean()
    scale = sqrt(float((dx @ dx) * (dy @ dy)))
    return float(dx @ dy) / scale if scale else 0.0


def _said(found: Correlation) -> str:
    among = (
        f"Over {found.n} sets the rank correlation of I_V with mIoU is {found.rho:+.2f} (p = {found.p:.2f}"
    )
    interval = "" if found.low is None else f", 95 % interval {found.low:+.2f} to {found.high:+.2f}"
    if found.p >= 0.05:
        return f"{among}{interval}): not to be told from none."
    return f"{among}{interval}): sets of {'higher' if found.rho > 0 else 'lower'} I_V score higher."


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What the page shows: rows of sets, comparisons, and a scatter for each comparison."""

    sets: tuple[tuple[TrainedSet, InformationSummary], ...]
    comparisons: tuple[tuple[Comparison, Any], ...]
    quantities: dict[str, str]


def section(run: Run) -> Section | None:
    """The section of a run's page, or None before `optidel vinfo` has measured anything."""
    sets = measured_sets(run.root)
    if not sets:
        return None
    drawn = tuple((comparison, scatter(comparison, run.methods)) for comparison in compare(sets))
    return Section(sets=tuple(sets), comparisons=drawn, quantities=QUANTITIES)


def scatter(comparison: Comparison, methods: Sequence[str]) -> Figure:
    """I_V of each set against its mIoU, means over seeds."""
    colours = colour_of(list(dict.fromkeys([*methods, *(point[0] for point in comparison.points)])))
    figure = go.Figure()
    for method, budget, value, miou in comparison.points:
        figure.add_scatter(
            x=[value],
            y=[miou],
            mode="markers+text",
            text=[f"{method} {percent(budget)}"],
            textposition="top center",
            cliponaxis=False,
            marker={"size": 10, "color": colours[method]},
            hovertemplate=f"{method} at {percent(budget)}: I_V {value:.3f}, mIoU {miou:.3f}<extra></extra>",
        )
    return finish(figure, "I_V of the training set, nats per value", "mIoU", height=320, legend=False)
