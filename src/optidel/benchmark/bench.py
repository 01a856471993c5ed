"""What a bench file holds: a recipe whose choices are lists."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from optidel.recipe import Protocol

Compute = Literal["steps", "epochs"]

# Option of a task: no grid runs it but those of ``also`` that name it. So a test split is looked at once, at
# the end.
HELD_OUT = "held_out"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Lists(_Section):
    """The axes of a grid; every combination is a trial."""

    methods: tuple[str, ...] = ("full", "random", "meddel", "optidel", "optidel-paper")
    budgets: tuple[float, ...] = (0.05, 0.01, 0.1, 0.25)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    objectives: tuple[str, ...] = ("mae",)
    compute: tuple[Compute, ...] = ("steps",)
    protocols: tuple[Protocol, ...] = ("fine-tune", "probe", "ridge")


class Also(_Section):
    """A further grid: the lists it names replace those of the file."""

    methods: tuple[str, ...] | None = None
    budgets: tuple[float, ...] | None = None
    seeds: tuple[int, ...] | None = None
    objectives: tuple[str, ...] | None = None
    compute: tuple[Compute, ...] | None = None
    protocols: tuple[Protocol, ...] | None = None
    tasks: tuple[str, ...] | None = None


class Stop(_Section):
    """Further seeds of a comparison to ``random`` are left out once it is decided.

    It is looked at before each further seed, from ``seeds`` seeds on. An interval that excludes zero decides;
    so does one within ``margin`` (mIoU) on either side of zero, where a margin is given.
    """

    seeds: int = Field(3, ge=2)
    margin: float | None = Field(None, gt=0, lt=1)


class Bench(Lists):
    """A bench file.

    ``tasks``: name to the evaluation options that differ for it, ``labelled`` among them, and whether it is
    ``held_out``; its ``protocols`` are the only ones it is run with; ``variants``: name to a method and the
    recipe sections that differ for it; ``also``: further grids, run after the main one; ``recipe``:
    everything else of the recipe.
    """

    images: str
    tasks: dict[str, dict[str, Any]]
    variants: dict[str, dict[str, Any]] = {}
    also: tuple[Also, ...] = ()
    stop: Stop | None = None
    recipe: dict[str, Any] = {}

    @property
    def grids(self) -> tuple[Lists, ...]:
        """The main grid and the further ones, each with all its lists."""
        main = Lists.model_validate({name: getattr(self, name) for name in Lists.model_fields})
        further = []
        for also in self.also:
            changes = {name: getattr(also, name) for name in Lists.model_fields if getattr(also, name)}
            further.append(main.model_copy(update=changes))
        return (main, *further)

    @property
    def open_tasks(self) -> tuple[str, ...]:
        """Tasks that every grid runs."""
        return tuple(name for name, options in self.tasks.items() if not options.get(HELD_OUT))


def method_of(bench: Bench, name: str) -> str:
    """The method behind a name of the bench: itself, or what a variant varies."""
    if name not in bench.variants:
        return name
    method = bench.variants[name]["method"]
    # A table ``[variants.NAME.method.METHOD]`` holds the method's parameters.
    return next(iter(method)) if isinstance(method, Mapping) else str(method)
