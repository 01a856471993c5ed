"""Which cells a machine runs: parts of about equal cost that repeat as little of each other's work as can be."""

from collections.abc import Sequence

from optidel.benchmark.plan import Bench, Cell, method_of
from optidel.errors import RecipeError
from optidel.methods import METHODS
from optidel.runs.baselines import BLIND, SCRATCH


def part_of(bench: Bench, planned: Sequence[Cell], index: int, count: int) -> list[Cell]:
    """The cells of part ``index`` of ``count``, in the order of the plan.

    Cells of one method and seed share their ranking and stay together. These groups are ranked by what they
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
    groups: dict[tuple[int, str, int], list[Cell]] = {}
    for cell in planned:
        groups.setdefault((_needs(bench, cell.method), cell.method, cell.seed), []).append(cell)
    weights = {key: len({cell.training for cell in groups[key]}) for key in sorted(groups)}
    total, before = sum(weights.values()), 0
    mine: set[Cell] = set()
    for key, weight in weights.items():
        if int((before + weight / 2) * count / total) == index:
            mine.update(groups[key])
        before += weight
    return [cell for cell in planned if cell in mine]


def _needs(bench: Bench, method: str) -> int:
    if method == SCRATCH or method_of(bench, method) in BLIND:
        return 0
    return 2 if METHODS[method_of(bench, method)].unit == "key patch" else 1
