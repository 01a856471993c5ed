"""Does higher V-information go with higher mIoU?

The training sets of a run side by side, and rank correlations with their uncertainty.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from math import atanh, sqrt, tanh
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy.special import ndtri

from optidel.charts import Point, Series, colour_of, lines
from optidel.report.results import Chart
from optidel.report.text import percent
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

EXACT = 7  # up to seven sets all 5,040 orders are tried
DRAWS = 10_000  # beyond it so many: p is then known to a hundredth of its square root

LEAST_SETS = 3  # fewer have no order to speak of
LEAST_FOR_INTERVAL = 5  # the interval divides by the square root of n − 3

SIGNIFICANT = 0.05  # p under which a correlation is put into words
TIES = 1e-12  # correlations of equal orders differ by rounding

Sets = Sequence[tuple[TrainedSet, InformationSummary]]
# Objective, rule of compute, labelled set, protocol.
GroupKey = tuple[str, str, str, str]

# Method and budget.
Choice = tuple[str, float]

# A quantity, or `miou`, to its value.
Values = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """Spearman's rank correlation of one quantity with mIoU over ``n`` sets, each the mean of its seeds.

    ``p`` is two-sided, by permutation of the sets; ``low`` to ``high`` is the 95 % interval of Bonett and
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
class SetComparison:
    """Sets that were trained and tested alike, and what their quantities have to do with their mIoU.

    ``points`` are (method, budget, I_V, mIoU), means over seeds.
    """

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
                return _correlation_text(correlation)
        return "too few sets to say anything"


def rows_of(sets: Sets) -> list[dict[str, Any]]:
    """One plain row a set, for tables and JSON; ``miou`` by labelled set and protocol."""
    rows = []
    for trained_set, summary in sets:
        scores = {f"{task}, {protocol}": value for (task, protocol), value in trained_set.scores.items()}
        row = {
            "method": trained_set.method,
            "budget": trained_set.budget,
            "seed": trained_set.seed,
            "objective": trained_set.objective,
            "compute": trained_set.rule,
            **asdict(summary),
            "gained": dict(summary.gained),
            "miou": scores,
        }
        rows.append(row)
    return rows


def compare(sets: Sets) -> tuple[SetComparison, ...]:
    """Rank correlations with mIoU, separately for each objective, rule of compute, labelled set and protocol.

    Seeds of one method are no sets of their own: quantities and mIoU are averaged over them first.
    """
    groups: dict[GroupKey, dict[Choice, list[Values]]] = defaultdict(lambda: defaultdict(list))
    for trained_set, summary in sets:
        choice = trained_set.method, trained_set.budget
        for (task, protocol), miou in trained_set.scores.items():
            key = trained_set.objective, trained_set.rule, task, protocol
            groups[key][choice].append(_values(summary, task, miou))
    return tuple(_comparison(key, seeds) for key, seeds in sorted(groups.items()))


def _values(summary: InformationSummary, task: str, miou: float) -> Values:
    values = {name: float(getattr(summary, name)) for name in QUANTITIES if name != "gained"}
    return values | {"gained": summary.gained[task], "miou": miou}


def _comparison(key: GroupKey, seeds: Mapping[Choice, Sequence[Values]]) -> SetComparison:
    means = {choice: _mean(rows) for choice, rows in seeds.items()}
    # The full corpus is an end of almost every order, and alone can make a correlation.
    below = [values for (_, budget), values in means.items() if budget < 1]
    families = {"all sets": list(means.values())}
    if len(below) < len(means):
        families["sets below the full corpus"] = below

    correlations = []
    for over, family in families.items():
        if len(family) < LEAST_SETS:
            continue
        miou = [values["miou"] for values in family]
        for name in QUANTITIES:
            correlations.append(correlate(name, over, [values[name] for values in family], miou))

    objective, rule, task, protocol = key
    return SetComparison(
        objective=objective,
        rule=rule,
        task=task,
        protocol=protocol,
        correlations=tuple(correlations),
        points=tuple((*choice, values["information"], values["miou"]) for choice, values in means.items()),
    )


def _mean(rows: Sequence[Values]) -> Values:
    """The mean over seeds of every quantity."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def correlate(
    quantity: str, over: str, x: Sequence[float], y: Sequence[float], draws: int = DRAWS
) -> Correlation:
    """Spearman's ρ, its permutation p-value and its interval.

    Args:
        quantity, over: names, kept.
        x, y: (n,), n at least 3.
        draws: permutations tried of more than seven sets; of fewer, all are.

    Source: Bonett and Wright, Psychometrika 2000, for the interval: atanh ρ ± 1.96 · √((1 + ρ²/2) / (n − 3)).
    """
    from scipy.stats import rankdata  # half a second to import, for this function alone

    n = len(x)
    ranks_x = np.asarray(rankdata(x), np.float64)
    ranks_y = np.asarray(rankdata(y), np.float64)
    rho = _rho(ranks_x, ranks_y)

    p = _permutation_p(ranks_x, ranks_y, rho, draws)
    low, high = _interval(rho, n)
    return Correlation(quantity=quantity, over=over, n=n, rho=rho, p=p, low=low, high=high)


def _permutation_p(
    ranks_x: Float64[np.ndarray, "n"], ranks_y: Float64[np.ndarray, "n"], rho: float, draws: int
) -> float:
    """Share of orders that correlate as strongly as the one that was measured."""
    n = len(ranks_x)
    exact = n <= EXACT
    rows = np.arange(n)
    if exact:
        orders = np.array(list(permutations(rows)))
    else:
        rng = np.random.default_rng(0)
        orders = rng.permuted(np.tile(rows, (draws, 1)), axis=1)
    correlations = np.array([_rho(ranks_x, ranks_y[order]) for order in orders])
    strength = np.abs(correlations)
    as_strong = int((strength >= abs(rho) - TIES).sum())
    if exact:
        return as_strong / len(orders)
    # The measured order counts among the drawn ones, so that p is never 0.
    return (1 + as_strong) / (1 + len(orders))


def _interval(rho: float, n: int) -> tuple[float | None, float | None]:
    if n < LEAST_FOR_INTERVAL or abs(rho) >= 1 - 1e-9:
        return None, None
    half = float(ndtri(0.975)) * sqrt((1 + rho**2 / 2) / (n - 3))
    return tanh(atanh(rho) - half), tanh(atanh(rho) + half)


def _rho(x: Float64[np.ndarray, "n"], y: Float64[np.ndarray, "n"]) -> float:
    dx, dy = x - x.mean(), y - y.mean()
    scale = sqrt(float((dx @ dx) * (dy @ dy)))
    return float(dx @ dy) / scale if scale else 0.0


def _correlation_text(correlation: Correlation) -> str:
    rho, p = correlation.rho, correlation.p
    low, high = correlation.low, correlation.high
    interval = ""
    if low is not None:
        interval = f", 95 % interval {low:+.2f} to {high:+.2f}"
    measured = f"{rho:+.2f} (p = {p:.2f}{interval})"
    text = f"Over {correlation.n} sets the rank correlation of I_V with mIoU is {measured}"
    if p >= SIGNIFICANT:
        return f"{text}: not to be told from none."
    side = "higher" if rho > 0 else "lower"
    return f"{text}: sets of {side} I_V score higher."


@dataclass(frozen=True, slots=True, kw_only=True)
class InformationSection:
    """What the page shows: rows of sets, comparisons, and a scatter for each comparison."""

    sets: tuple[tuple[TrainedSet, InformationSummary], ...]
    comparisons: tuple[tuple[SetComparison, Chart], ...]
    quantities: Mapping[str, str]


def section(run: Run) -> InformationSection | None:
    """The section of a run's page, or None before `optidel vinfo` has measured anything."""
    sets = measured_sets(run.root)
    if not sets:
        return None
    comparisons = []
    for number, comparison in enumerate(compare(sets), start=1):
        svg = scatter(comparison, run.methods)
        chart = Chart(name=f"vinformation-{number}", title=comparison.title, svg=svg)
        comparisons.append((comparison, chart))
    return InformationSection(sets=tuple(sets), comparisons=tuple(comparisons), quantities=QUANTITIES)


def scatter(comparison: SetComparison, methods: Sequence[str]) -> str:
    """I_V of each set against its mIoU, means over seeds."""
    names = list(dict.fromkeys(point[0] for point in comparison.points))
    # The run's methods first, so that colours are those of the other figures.
    colours = colour_of(list(dict.fromkeys([*methods, *names])))
    series = []
    for shape, name in enumerate(names):
        points, labels = [], []
        for method, budget, information, miou in comparison.points:
            if method != name:
                continue
            label = f"{method} {percent(budget)}"
            title = f"{label}: I_V {information:.3f}, mIoU {miou:.3f}"
            points.append(Point(x=information, y=miou, title=title))
            labels.append(label)
        colour = colours[name]
        dots = Series(
            name=name, colour=colour, points=points, shape=shape, joined=False, legend=False, labels=labels
        )
        series.append(dots)
    return lines(series, "I_V of the training set, nats per value", "mIoU", height=320)
