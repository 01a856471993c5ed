"""Which trials a machine runs: parts of about equal cost that repeat little of each other's work."""

from collections import defaultdict
from collections.abc import Sequence

from optidel.benchmark.bench import Bench, method_of
from optidel.benchmark.plan import Trial
from optidel.errors import RecipeError
from optidel.methods import method_named
from optidel.runs.baselines import BLIND

# What a method shares with others, by rank: groups of one rank are kept together.
NOTHING, EMBEDDING, KEY_PATCHES = 0, 1, 2


def part_of(bench: Bench, planned: Sequence[Trial], index: int, count: int) -> list[Trial]:
    """The trials of part ``index`` of ``count``, in the order of the plan.

    Trials of one method and seed share their ranking and stay together. These groups are ranked by what they
    share with others (nothing, the embedding, the key patches), then by method and seed, and cut into
    ``count`` runs of equal numbers of encoders: so the dearest shared artifacts, key patches above all, are
    made in as few parts as possible.

    Raises:
        RecipeError: the part does not exist.
    """
    if count < 1 or not 0 <= index < count:
        raise RecipeError(
            f"--shard must be i/n with 0 <= i < n, got {index}/{count}; the first of two parts is 0/2"
        )
    groups: dict[tuple[int, str, int], list[Trial]] = defaultdict(list)
    for trial in planned:
        groups[_needs(bench, trial), trial.method, trial.seed].append(trial)
    encoders = {key: len({trial.training for trial in groups[key]}) for key in sorted(groups)}

    total, before = sum(encoders.values()), 0
    part: set[Trial] = set()
    for key, weight in encoders.items():
        # A group belongs to the part that its middle falls into.
        middle = before + weight / 2
        if int(middle * count / total) == index:
            part.update(groups[key])
        before += weight
    return [trial for trial in planned if trial in part]


def _needs(bench: Bench, trial: Trial) -> int:
    method = method_of(bench, trial.method)
    if trial.untrained or method in BLIND:
        return NOTHING
    return KEY_PATCHES if method_named(method).unit == "key patch" else EMBEDDING
