"""Which selection of a run is exported."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from optidel.errors import InputError, RecipeError
from optidel.progress import say
from optidel.runs.summaries import SelectSummary, read_summary
from optidel.store import Artifact, Store, newest

Value = TypeVar("Value", str, float, int)
Candidate = tuple[Artifact, SelectSummary]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedSelection:
    """A finished selection, the index it chose from and, where the method makes images, those.

    ``embed``, ``compared`` (the vectors that methods compare, whitened where the run whitens them) and
    ``patches`` are the newest of the same index; None where the run has none.
    """

    method: str
    budget: float
    seed: int
    unit: str
    select: Artifact
    index: Artifact
    compose: Artifact | None
    embed: Artifact | None = None
    compared: Artifact | None = None
    patches: Artifact | None = None


def find_selection(
    store: Store, method: str | None, budget: float | None, seed: int | None
) -> ExportedSelection:
    """The newest finished selection that fits; None stands for the only one there is, or the lowest seed.

    Raises:
        InputError: there is none, or its composites are not made yet.
        RecipeError: several methods or budgets fit.
    """
    artifacts = store.artifacts()
    selects = [artifact for artifact in artifacts if artifact.step == "select"]
    if not selects:
        raise InputError(
            f"the run {store.root} has selected nothing yet; "
            f"run `optidel select IMAGES --out {store.root}` first"
        )

    candidates = [(select, read_summary(select, SelectSummary)) for select in selects]
    select, summary = _matching(candidates, method, budget, seed)
    index = newest(artifacts, summary.index or "")
    if index is None:
        raise InputError(
            f"the index that {select.path.name} chose from is not in {store.root}; "
            "run the same `optidel select` again"
        )

    # A method may choose key patches without composing: then frames were chosen, and the unit says so.
    compose = _composed(artifacts, select, index) if summary.unit == "key patch" else None
    pixels = made_from([index], artifacts, "pixels")
    embeds = made_from(pixels, artifacts, "embed")
    compared = made_from(embeds[-1:], artifacts, "whiten") or embeds
    patches = made_from([index], artifacts, "patches")
    return ExportedSelection(
        method=summary.method,
        budget=summary.budget,
        seed=summary.seed,
        unit=summary.unit,
        select=select,
        index=index,
        compose=compose,
        embed=_last(embeds),
        compared=_last(compared),
        patches=_last(patches),
    )


def made_from(sources: Sequence[Artifact], artifacts: Sequence[Artifact], step: str) -> list[Artifact]:
    """The artifacts of a step that have one of the sources among their inputs, oldest first."""
    contents = {source.content for source in sources}
    of_step = [artifact for artifact in artifacts if artifact.step == step]
    return [artifact for artifact in of_step if contents & set(artifact.inputs.values())]


def _last(artifacts: Sequence[Artifact]) -> Artifact | None:
    return artifacts[-1] if artifacts else None


def _matching(
    candidates: Sequence[Candidate], method: str | None, budget: float | None, seed: int | None
) -> Candidate:
    """The newest of the candidates that have the method, the budget and the seed."""
    method = _only("method", method, [summary.method for _, summary in candidates])
    candidates = [item for item in candidates if item[1].method == method]

    budget = _only("budget", budget, [summary.budget for _, summary in candidates])
    candidates = [item for item in candidates if item[1].budget == budget]

    if seed is None:
        seed = min(summary.seed for _, summary in candidates)
    seed = _only("seed", seed, [summary.seed for _, summary in candidates])
    candidates = [item for item in candidates if item[1].seed == seed]

    select, summary = candidates[-1]
    if len(candidates) > 1:
        name = select.path.name
        say(
            f"{len(candidates)} selections of this method, budget and seed are in the run; "
            f"the newest, {name}, is taken"
        )
    return select, summary


def _composed(artifacts: Sequence[Artifact], select: Artifact, index: Artifact) -> Artifact:
    """The newest images that were made from a selection."""
    composed = []
    for artifact in artifacts:
        if artifact.step != "compose":
            continue
        inputs = artifact.inputs
        if inputs.get("select") == select.content and inputs["index"] == index.content:
            composed.append(artifact)
    if not composed:
        raise InputError(
            f"{select.path.name} is not composed into images yet; "
            "run `optidel compose` with the same options first"
        )
    return composed[-1]


def _only(name: str, requested: Value | None, values: Sequence[Value]) -> Value:
    """The requested value, or the only one there is."""
    distinct = list(dict.fromkeys(values))
    text = ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in distinct)
    if requested is None:
        if len(distinct) > 1:
            raise RecipeError(
                f"the run holds the choices of {len(distinct)} {name}s: {text}; "
                f"pass --{name} with one of them"
            )
        return distinct[0]
    if requested not in distinct:
        raise InputError(f"the run holds no choice of the {name} {requested}; there is {text}")
    return requested
