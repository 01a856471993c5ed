"""What difference the seeds and test images of a plan could detect, from the spread of a pilot."""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from optidel.benchmark.bench import Bench
from optidel.benchmark.plan import Trial, trials
from optidel.benchmark.settings import SETTING, Choice, Setting
from optidel.evaluation.entropies import Seeds
from optidel.evaluation.variance import Spread, detectable, spread_of
from optidel.report.text import percent
from optidel.runs.baselines import BASELINES, RANDOM

NO_PILOT = (
    "No pilot yet: once a method and random have two seeds, "
    "the smallest difference that the plan can detect stands here."
)

# Test images of a design whose seeds alone spread: any number will do, and two is the least.
SAME_FOR_ALL = 2

# Seeds of a method, and how many methods are compared to random with it.
Design = tuple[int, int]


def pilot_spread(setting: Setting) -> Spread | None:
    """Variance components of a paired difference to random.

    Pooled over the methods and budgets that ran with two seeds or more; None where none did.
    """
    differences = []
    for method, budget in setting.scores:
        if method in BASELINES:
            continue  # their differences to random are of another size
        difference = setting.difference((method, budget), (RANDOM, budget))
        if difference is not None and min(difference.shape) > 1:
            differences.append(difference)
    return spread_of(differences) if differences else None


def detectable_sentence(bench: Bench, setting: Setting) -> str:
    """The minimum detectable difference of the plan, from the seeds that are there."""
    spread = pilot_spread(setting)
    designs = _designs(bench, setting)
    if spread is None or not designs:
        return NO_PILOT

    texts = []
    for design, budgets in designs.items():
        seeds, compared = design
        points = 100 * detectable(spread, seeds, setting.images, comparisons=compared)
        texts.append(f"{_design_text(design, budgets)}, of {points:.1f} {setting.label} points")
    return (
        f"On {setting.images} test images a true difference is detected with 80 % power: {'; '.join(texts)} "
        f"(pilot: √variance of seeds {spread.seed**0.5:.4f}, of images {spread.image**0.5:.4f}, "
        f"of the rest {spread.rest**0.5:.4f})."
    )


def entropy_spread(measured: Mapping[Choice, Seeds]) -> Spread | None:
    """Variance over seeds of the paired difference of H to random.

    Pooled over the methods and budgets that ran with two seeds or more; None where none did.

    Args:
        measured: of every method and budget, seed to H.
    """
    variances = []
    for (method, budget), values in measured.items():
        random = measured.get((RANDOM, budget), {})
        common = sorted(values.keys() & random.keys())
        if method in BASELINES or len(common) < 2:
            continue  # the references' differences are of another size
        variances.append(statistics.variance(values[seed] - random[seed] for seed in common))
    if not variances:
        return None
    # H has one value a seed: no image of its own spreads.
    return Spread(seed=statistics.fmean(variances), image=0.0, rest=0.0)


def entropy_detectable_sentence(
    bench: Bench, setting: Setting, measured: Mapping[Choice, Seeds]
) -> str | None:
    """The minimum detectable difference of the plan in held-out H; None before two seeds of a method and
    random have it.
    """
    spread = entropy_spread(measured)
    designs = _designs(bench, setting)
    if spread is None or not designs:
        return None

    texts = []
    for design, budgets in designs.items():
        seeds, compared = design
        nats = detectable(spread, seeds, SAME_FOR_ALL, comparisons=compared)
        texts.append(f"{_design_text(design, budgets)}, of {nats:.4f} nats a value")
    return (
        f"In held-out H a true difference is detected with 80 % power: {'; '.join(texts)} "
        f"(pilot: √variance of seeds {spread.seed**0.5:.4f})."
    )


def _design_text(design: Design, budgets: Sequence[float]) -> str:
    seeds, compared = design
    shares = ", ".join(map(percent, budgets))
    methods = f"{compared} method{'s' * (compared > 1)}"
    return f"with {seeds} seeds and {methods} compared to random (at {shares})"


def _designs(bench: Bench, setting: Setting) -> dict[Design, list[float]]:
    """The budgets of each design in the plan, most seeds first.

    Of all trials, where the pilot was of another setting. A plan of one seed says nothing of others and is
    left out.
    """
    designs: dict[Design, list[float]] = defaultdict(list)
    for budget, seeds in _seeds(_trials_of(bench, setting)).items():
        for count in {len(numbers) for numbers in seeds.values()} - {1}:
            designs[count, len(seeds)].append(budget)
    return dict(sorted(designs.items(), reverse=True))


def _trials_of(bench: Bench, setting: Setting) -> list[Trial]:
    planned = trials(bench)
    fixed = {name: getattr(setting, name) for name in SETTING}
    same = [trial for trial in planned if fixed.items() <= asdict(trial).items()]
    return same or planned


def _seeds(planned: Sequence[Trial]) -> dict[float, dict[str, set[int]]]:
    """Budget, rising, to method to its seeds; without the baselines' own budgets."""
    seeds: dict[float, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for trial in planned:
        if 0 < trial.budget < 1 and trial.method != RANDOM:
            seeds[trial.budget][trial.method].add(trial.seed)
    return dict(sorted(seeds.items()))
