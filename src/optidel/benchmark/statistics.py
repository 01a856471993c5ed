"""What a bench's numbers say: differences to random, full, scratch and the rivals; the gate; ranks; what
could be detected.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from optidel.benchmark.plan import Bench, cells, method_of
from optidel.benchmark.tables import Tables
from optidel.errors import InputError
from optidel.evaluation.claims import Difference, claim, lack_of_data
from optidel.evaluation.comparisons import compare
from optidel.evaluation.intervals import Interval, mean_interval
from optidel.evaluation.metrics import normdel
from optidel.evaluation.variance import Spread, detectable, spread_of
from optidel.methods import METHODS
from optidel.report.costs import trainings_to_break_even
from optidel.report.text import percent
from optidel.runs.baselines import FULL, RANDOM, SCRATCH

RIVALS, BASE = "rivals", "base"
REFERENCES = {
    RANDOM: "random",
    FULL: "full",
    RIVALS: "the mean of the other selection methods",
    BASE: "the method that it varies",
}
"""What methods are compared to, in words."""

SETTING = ("task", "protocol", "objective", "compute")

Vector = Float[np.ndarray, "n"]
Matrix = Float[np.ndarray, "s n"]
Choice = tuple[str, float]
"""A method and its budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is held fixed while methods are compared, and the per-image scores of every method and budget in
    it.

    ``iou`` and ``dice``: choice to seed to scores (n,), in one order of images.
    """

    task: str
    protocol: str
    objective: str
    compute: str
    iou: dict[Choice, dict[int, Vector]]
    dice: dict[Choice, dict[int, Vector]]

    @property
    def name(self) -> str:
        """``polyps, probe``, with objective and rule of compute."""
        return f"{self.task}, {self.protocol}, {self.objective}, equal {self.compute}"

    @property
    def budgets(self) -> list[float]:
        """Budgets of choices, rising; without scratch and full."""
        return sorted({budget for _, budget in self.iou if 0 < budget < 1})

    def matrix(self, choice: Choice, column: str = "iou") -> Matrix:
        """Scores (s, n), a row for each seed, rising."""
        found = getattr(self, column)[choice]
        return np.stack([found[seed] for seed in sorted(found)])

    def difference(self, choice: Choice, reference: Choice) -> Matrix | None:
        """Choice minus reference, paired by seed and image; None without a common seed."""
        own, other = self.iou.get(choice, {}), self.iou.get(reference, {})
        seeds = sorted(own.keys() & other.keys())
        return np.stack([own[seed] - other[seed] for seed in seeds]) if seeds else None


def settings(tables: Tables) -> list[Setting]:
    """Every combination of task, protocol, objective and rule of compute that has a finished cell.

    Raises:
        InputError: cells of one setting were tested on different images, before and after its labelled set
            changed.
    """
    found = []
    for names, rows in tables.scores.group_by(SETTING, maintain_order=True):
        values: dict[str, dict[Choice, dict[int, Vector]]] = {"iou": {}, "dice": {}}
        images: pl.Series | None = None
        for (method, budget, seed), part in rows.group_by("method", "budget", "seed", maintain_order=True):
            images = part["id"] if images is None else images
            if not images.equals(part["id"]):
                raise InputError(
                    f"{', '.join(map(str, names))}: {method}, seed {seed}, was tested on other images than the cells before it, so they "
                    "cannot be compared; run `optidel bench` again, which makes anew what is of an earlier state of the labelled set"
                )
            for column in values:
                values[column].setdefault((method, budget), {})[seed] = (
                    part[column].to_numpy().astype(np.float64)
                )
        found.append(
            Setting(
                **dict(zip(SETTING, map(str, names), strict=True)), iou=values["iou"], dice=values["dice"]
            )
        )
    return found


def method_rows(tables: Tables, setting: Setting) -> pl.DataFrame:
    """One row a method and budget: means over seeds and images with intervals, NormDEL, images, seconds, and
    when they are earned back.
    """
    own = tables.results.filter(pl.all_horizontal(pl.col(name) == getattr(setting, name) for name in SETTING))
    full = own.filter(pl.col("method") == FULL)["seconds_train"].to_numpy()
    rows = []
    for method, budget in setting.iou:
        cell = own.filter((pl.col("method") == method) & (pl.col("budget") == budget))
        overlap, dice = (
            mean_interval(setting.matrix((method, budget), name), np.random.default_rng(0))
            for name in ("iou", "dice")
        )
        rows.append(
            {
                "method": method,
                "budget": budget,
                "seeds": len(cell),
                "n_images": int(cell["n_images"][0]),
                **_ends("miou", overlap),
                **_ends("dice", dice),
                "normdel": normdel(overlap.mean, cell["kept"][0]) if cell["n_images"][0] else None,
                "seconds_select": cell["seconds_select"].mean(),
                "seconds_train": cell["seconds_train"].mean(),
                "break_even": _break_even(cell, full) if 0 < budget < 1 and len(full) else None,
            }
        )
    return pl.DataFrame(rows, schema_overrides={"normdel": pl.Float64, "break_even": pl.Float64})


def _break_even(cell: pl.DataFrame, full: Vector) -> float:
    """Trainings on all images, ``full`` seconds each, until selecting has cost what it saves at equal epochs:
    S / (T · (1 − n/N)).
    """
    selecting, kept = (cell[name].to_numpy().mean() for name in ("seconds_select", "kept"))
    return trainings_to_break_even(float(selecting), float(full.mean() * (1 - kept)))


def comparison_rows(bench: Bench, setting: Setting) -> pl.DataFrame:
    """One row a method, budget and reference: paired difference, its interval, the joint one, and Holm's p
    over the methods.

    Families, over which corrections count: the methods compared to one reference at one budget. ``rivals`` is
    the mean of every other selection method at that budget, ``random`` and variants left out; ``base`` is the
    method that a variant changes. Where data for a claim are missing, a row has its difference alone.
    """
    rows: list[dict[str, Any]] = []
    for budget in setting.budgets:
        methods = [method for method, other in setting.iou if other == budget]
        for reference in REFERENCES:
            found = {
                method: difference
                for method in methods
                if (difference := _to(bench, setting, method, budget, reference)) is not None
            }
            judged = compare(list(found.values()), np.random.default_rng(0))
            for method, difference, one in zip(found, found.values(), judged, strict=True):
                row = {
                    "method": method,
                    "budget": budget,
                    "reference": reference,
                    "seeds": len(difference),
                    "difference": one.interval.mean,
                }
                if not lack_of_data(*difference.shape):
                    row |= _ends("difference", one.interval)
                    row |= {"joint_low": one.joint.low, "joint_high": one.joint.high}
                    row |= {"p": one.p, "p_holm": one.p_holm}
                rows.append(row)
    return pl.DataFrame(rows, schema=COMPARED)


COMPARED = {
    "method": pl.String,
    "budget": pl.Float64,
    "reference": pl.String,
    "seeds": pl.Int64,
    **dict.fromkeys(
        ("difference", "difference_low", "difference_high", "joint_low", "joint_high", "p", "p_holm"),
        pl.Float64,
    ),
}


def _to(bench: Bench, setting: Setting, method: str, budget: float, reference: str) -> Matrix | None:
    base = method_of(bench, method)
    if method == (base if reference == BASE else reference):
        return None
    if reference == BASE:
        return setting.difference((method, budget), (base, budget))
    if reference == FULL:
        return setting.difference((method, budget), (FULL, 1.0))
    if reference == RANDOM:
        return setting.difference((method, budget), (RANDOM, budget))
    rivals = [(name, budget) for name in _rivals(setting, budget) if name != base]
    # Only seeds that all have: a mean of differences over unequal seeds would mix the seeds into the methods.
    seeds = sorted(set.intersection(*(set(setting.iou[choice]) for choice in [(method, budget), *rivals])))
    if len(rivals) < 2 or not seeds:
        return None
    own, others = (
        np.array([[setting.iou[one][seed] for seed in seeds] for one in some])
        for some in ([(method, budget)], rivals)
    )
    return np.asarray(own[0] - others.mean(axis=0))


def _rivals(setting: Setting, budget: float) -> list[str]:
    return [
        method for method, other in setting.iou if other == budget and method in METHODS and method != RANDOM
    ]


def gate(setting: Setting) -> Difference | None:
    """Full minus scratch: only where it excludes zero from below can this setting rank methods. None where
    not both ran.
    """
    difference = setting.difference((FULL, 1.0), (SCRATCH, 0.0))
    if difference is None:
        return None
    return claim(difference, np.zeros_like(difference), np.random.default_rng(0))


def gate_sentence(setting: Setting) -> str:
    """The gate in words."""
    gain = gate(setting)
    if gain is None:
        return (
            "Full and from scratch were not both run with one seed, so whether pre-training helps here is "
            "open: no ranking is claimed."
        )
    if gain.interval is None:
        return (
            f"Gate open: full minus scratch {gain.mean:+.3f} ({gain.lack}), so whether pre-training helps here "
            "is not known: no ranking is claimed."
        )
    ends = f"full minus scratch {gain.mean:+.3f} ({gain.interval.low:+.3f} to {gain.interval.high:+.3f})"
    if gain.interval.low > 0:
        return f"Gate passed: pre-training on everything helps here, {ends}."
    return (
        f"Gate not passed: {ends}. **This setting cannot rank methods**; what differs between them below is not "
        "evidence for either."
    )


def rank_rows(setting: Setting, budget: float) -> pl.DataFrame:
    """Rank of every method at a budget for every seed, 1 the best; only seeds that all of them have.

    Columns: method, seed, rank; ties share the mean of their ranks.
    """
    methods = [method for method, other in setting.iou if other == budget]
    seeds = (
        sorted(set.intersection(*(set(setting.iou[method, budget]) for method in methods))) if methods else []
    )
    rows = [
        {"method": method, "seed": seed, "miou": setting.iou[method, budget][seed].mean()}
        for seed in seeds
        for method in methods
    ]
    table = pl.DataFrame(rows, schema={"method": pl.String, "seed": pl.Int64, "miou": pl.Float64})
    return table.with_columns(rank=pl.col("miou").rank("average", descending=True).over("seed")).drop("miou")


def concordance(ranks: pl.DataFrame) -> float | None:
    """Kendall's W of the ranks over seeds: 1 the same order every time, 0 none in common; None with fewer
    than 2 seeds or 3 methods.

    Source: Kendall and Babington Smith 1939, without the correction for ties.
    """
    seeds, methods = ranks["seed"].n_unique(), ranks["method"].n_unique()
    if seeds < 2 or methods < 3:
        return None
    sums = ranks.group_by("method").agg(pl.col("rank").sum())["rank"].to_numpy()
    return float(12 * ((sums - sums.mean()) ** 2).sum() / (seeds**2 * (methods**3 - methods)))


def pilot_spread(setting: Setting) -> Spread | None:
    """Variance components of a paired difference to random, pooled over the methods and budgets that ran with
    two seeds or more.
    """
    pairs = [
        (choice, (RANDOM, choice[1])) for choice in setting.iou if choice[0] not in (RANDOM, FULL, SCRATCH)
    ]
    found = [
        difference
        for own, reference in pairs
        if (difference := setting.difference(own, reference)) is not None
    ]
    usable = [difference for difference in found if min(difference.shape) > 1]
    return spread_of(usable) if usable else None


def detectable_sentence(bench: Bench, setting: Setting) -> str:
    """The minimum detectable difference of the plan, from the seeds that are there."""
    spread = pilot_spread(setting)
    plans = _planned(bench, setting)
    if spread is None or not plans:
        return "No pilot yet: once a method and random have two seeds, the smallest difference that the plan can detect stands here."
    images = next(iter(next(iter(setting.iou.values())).values())).size
    said = [
        f"with {seeds} seeds and {compared} method{'s' * (compared > 1)} compared to random (at {', '.join(map(percent, budgets))}), of "
        f"{100 * detectable(spread, seeds, images, comparisons=compared):.1f} mIoU points"
        for (seeds, compared), budgets in plans.items()
    ]
    return (
        f"On {images} test images a true difference is detected with 80 % power: {'; '.join(said)} (pilot: √variance of seeds "
        f"{spread.seed**0.5:.4f}, of images {spread.image**0.5:.4f}, of the rest {spread.rest**0.5:.4f})."
    )


def _planned(bench: Bench, setting: Setting) -> dict[tuple[int, int], list[float]]:
    """Seeds of a method and number of methods compared to random with it, to the budgets planned so, most
    seeds first.

    Of all cells, where the pilot was of another setting. A plan of one seed says nothing of others and is
    left out.
    """
    planned = cells(bench)
    own = [
        cell for cell in planned if all(getattr(cell, name) == getattr(setting, name) for name in SETTING)
    ] or planned
    found: dict[tuple[int, int], list[float]] = {}
    for budget in sorted({cell.budget for cell in own if 0 < cell.budget < 1}):
        seeds: dict[str, set[int]] = {}
        for cell in own:
            if cell.budget == budget and cell.method != RANDOM:
                seeds.setdefault(cell.method, set()).add(cell.seed)
        for count in {len(some) for some in seeds.values()} - {1}:
            found.setdefault((count, len(seeds)), []).append(budget)
    return dict(sorted(found.items(), reverse=True))


def _ends(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}
