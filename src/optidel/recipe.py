"""The recipe: every option of a run, validated, with the defaults of each preset."""

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from optidel.errors import RecipeError, nearest


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CorpusSection(_Section):
    """Which slices of volumes become frames."""

    axes: tuple[Literal["axial", "coronal", "sagittal"], ...] = ("axial",)


class EncoderSection(_Section):
    """Features. Without ``weights`` a masked autoencoder is warmed up on at most ``sample`` frames of the corpus for ``steps``."""

    weights: str | None = None
    steps: int = Field(800, ge=1)
    sample: int = Field(20_000, ge=1)
    seed: int = 0


class PatchesSection(_Section):
    """Key patches. ``candidates``: fraction of the corpus, after dropping near-duplicates, on which masks are proposed."""

    backend: Literal["auto", "onnx", "sam", "regions"] = "auto"
    weights: str | None = None
    prompting: Literal["error", "grid"] = "error"
    points: int = Field(8, ge=1)
    candidates: float = Field(0.5, gt=0, le=1)


class OptidelSection(_Section):
    """OptiDEL: scorer of difficulty, patches per composite, and whether diversity constrains the choice."""

    scorer: Literal["error", "pvi"] = "error"
    grid: Literal[1, 4, 9, 16] = 4
    diversity: bool = True


class PretrainSection(_Section):
    """Pre-training. ``compute``: every method gets the same optimizer ``steps``, or the same number of passes over its images
    (``steps`` is then what the full corpus gets)."""

    objective: Literal["mae", "simclr"] = "mae"
    compute: Literal["steps", "epochs"] = "steps"
    steps: int = Field(800, ge=1)
    batch: int = Field(64, ge=2)
    lr: float = Field(1e-3, gt=0)


class EvaluateSection(_Section):
    """Evaluation: labelled images to train on and to test on; optimizer steps and batch, by default what suits each protocol."""

    protocols: tuple[Literal["fine-tune", "probe"], ...] = ("fine-tune", "probe")
    train: int = Field(200, ge=1)
    test: int = Field(300, ge=1)
    steps: int | None = Field(None, ge=1)
    batch: int | None = Field(None, ge=1)


class Recipe(_Section):
    """Everything that determines a run, and where it goes."""

    images: str
    labelled: str = ""
    out: str
    methods: tuple[str, ...] = ("full", "random", "meddel", "optidel")
    budget: float = 0.05
    seeds: tuple[int, ...] = (0,)
    preset: Literal["tiny", "small", "base"] = "tiny"
    corpus: CorpusSection = CorpusSection()
    encoder: EncoderSection = EncoderSection()
    patches: PatchesSection = PatchesSection()
    optidel: OptidelSection = OptidelSection()
    pretrain: PretrainSection = PretrainSection()
    evaluate: EvaluateSection = EvaluateSection()


PRESET_DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
    "tiny": {},
    "small": {
        "encoder": {"steps": 4000},
        "pretrain": {"steps": 8000, "batch": 256},
        "evaluate": {"steps": 1000},
    },
    "base": {
        "encoder": {"steps": 10000},
        "pretrain": {"steps": 20000, "batch": 512},
        "evaluate": {"steps": 2000},
    },
}


def make_recipe(values: dict[str, Any]) -> Recipe:
    """Validate; sections left out take the preset's defaults.

    Raises:
        RecipeError: unknown key (with the nearest known), or a value out of range.
    """
    _check_names(values, Recipe)
    merged = dict(values)
    for section, defaults in PRESET_DEFAULTS.get(str(values.get("preset", "tiny")), {}).items():
        merged[section] = {**defaults, **values.get(section, {})}
    try:
        recipe = Recipe.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        what = "is missing" if first["type"] == "missing" else f"{first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"
        raise RecipeError(f"recipe: {where}: {what}") from error
    if not 0 < recipe.budget <= 1:
        raise RecipeError(f"budget must be in (0, 1], got {recipe.budget:g}; pass 0.05 for 5 %")
    for name, items in (("methods", recipe.methods), ("seeds", recipe.seeds)):
        if not items:
            raise RecipeError(f"recipe: {name} is empty; pass at least one")
        if len(set(items)) != len(items):
            raise RecipeError(f"recipe: {name} holds an entry twice: {', '.join(map(str, items))}")
    return recipe


def load_recipe(path: str | Path, overrides: dict[str, Any] | None = None) -> Recipe:
    """A recipe from a TOML file; ``overrides`` (from the command line) win.

    Raises:
        RecipeError: not found, no TOML, or not valid.
    """
    try:
        values = tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is no TOML: {error}") from error
    return make_recipe({**values, **(overrides or {})})


def _check_names(values: dict[str, Any], model: type[BaseModel], where: str = "") -> None:
    for name, value in values.items():
        if name not in model.model_fields:
            raise RecipeError(f"recipe: unknown key {where + name!r}{nearest(name, model.model_fields)}")
        kind = model.model_fields[name].annotation
        if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, BaseModel):
            _check_names(value, kind, f"{where}{name}.")
