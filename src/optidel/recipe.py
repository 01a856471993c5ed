"""The recipe: every option of a run, validated, with the defaults of each preset."""

import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from optidel.errors import InputError, RecipeError, nearest
from optidel.remote import check_url, is_url, refuse_url

# Keys of ``optidel.OBJECTIVES``, written out as a recipe is read without torch; a test compares them.
OBJECTIVE_NAMES = ("mae", "simclr")

# Those of them whose batch may be handed on in parts (``Objective.in_parts``).
IN_PARTS = ("mae",)

# Keys of ``pretrain`` that say how its steps are computed: no result depends on them but by rounding.
EXECUTION = ("accumulate", "compile", "sharding")

# A value that needs no quotes on the command line: a name or a path.
WORD = re.compile(r"[A-Za-z_./~][\w./~:+-]*")

# Floats that JSON does not have, by the name under which ``recipe.json`` holds them.
INFINITY = {"inf": math.inf, "-inf": -math.inf}


def _from_json(value: Any) -> Any:
    """A parameter as Python has it."""
    if isinstance(value, str):
        return INFINITY.get(value, value)
    return value


def _to_json(value: Any) -> Any:
    """A parameter as JSON has it."""
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    return value


Parameter = Annotated[Any, BeforeValidator(_from_json), PlainSerializer(_to_json, when_used="json")]
# Parameters of a method by name: numbers, words, or lists of them.
Parameters = dict[str, Parameter]


Share = Annotated[float, Field(gt=0, le=1)]

# Of steps and images: a round number above anything that ends; larger ones would overflow an index.
MAX_COUNT = 10**9

# A round number; the largest batch of a published pre-training is half of it (CLIP).
MAX_BATCH = 1 << 16

Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
# What NumPy, scikit-learn and torch all take.
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


class _Section(BaseModel):
    # A key that nobody reads would be believed to do something.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LimitsSection(_Section):
    """What one file may cost before it is quarantined.

    ``seconds`` without a new frame, ``memory`` of a decoding process in GiB.
    """

    seconds: float = Field(10.0, gt=0, le=86_400)  # a day
    memory: float = Field(1.0, ge=0.5, le=1024)


class CorpusSection(_Section):
    """What becomes a frame and what belongs together.

    ``axes``: slices of volumes. ``every``: seconds between the frames of a video; with ``scenes`` one frame a
    scene instead. ``pattern``: regular expression over the relative path whose named groups are patient,
    study, series, video, centre, label or split. ``group``: which of them must stay together, by default the
    first that the pattern or manifest has. ``manifest``: CSV or Parquet that lists the files. ``crop``:
    ``content`` for the lit area of an endoscope's frame alone. ``window``: for CT, a name (soft-tissue, lung,
    bone, brain, …) or [level, width] in HU, in place of what the files state. ``damaged``: whether a file
    that is cut, or about which its decoder warns, is quarantined. ``workers``: decoding processes, by default
    one a core. ``holdout``: share of the frames, in whole groups, that no method sees and no model trains on,
    and on which every encoder is measured; by default 0.03 of a corpus of 1,000 frames or more, else none.
    ``tags``: CSV with the columns id and tag, as the gallery saves it: frames tagged ``drop`` leave the
    corpus, those tagged ``keep`` are in every choice of whole frames, those tagged ``look again`` stay as
    they are. ``cache``: whether the pixels of ``all`` frames are kept at the model's size, or of those alone
    that are trained on, ``chosen``, and the others are decoded whenever they are read; by default of all up
    to 16 GiB, and every result is the same.
    """

    axes: tuple[Literal["axial", "coronal", "sagittal"], ...] = ("axial",)
    every: float = Field(1.0, gt=0)
    scenes: bool = False
    crop: Literal["none", "content"] = "none"
    window: str | tuple[float, float] | None = None
    damaged: Literal["refuse", "keep"] = "refuse"
    pattern: str | None = None
    group: Literal["patient", "study", "series", "video", "centre"] | None = None
    manifest: str | None = None
    workers: int | None = Field(None, ge=1, le=1024)
    holdout: float | None = Field(None, ge=0, le=0.5)
    tags: str | None = None
    cache: Literal["auto", "all", "chosen"] = "auto"
    limits: LimitsSection = LimitsSection()


class EncoderSection(_Section):
    """Features: embedding and difficulty of every frame.

    Without ``weights`` a masked autoencoder is warmed up on at most ``sample`` frames of the corpus for
    ``steps``. ``reuse``: when the corpus has changed, keep the warm-up of an earlier state that held at least
    half of the frames of today, so that only new frames are embedded.
    """

    weights: str | None = None
    # 800 steps of 64 images take minutes on two cores; the model need not be good, only tell frames apart.
    steps: Count = 800
    # A round number: 800 steps of 64 images see each of them two or three times.
    sample: Count = 20_000
    seed: Seed = 0
    reuse: bool = True


class FeaturesSection(_Section):
    """What becomes of the vectors before a method compares them.

    ``post``: ``whiten`` centres them and gives every principal axis the same variance, so that clusters and
    distances describe the pictures and not what all of them share; ``none`` compares them as the encoder made
    them, as the papers of the methods do.
    """

    post: Literal["none", "whiten"] = "whiten"


class PatchesSection(_Section):
    """Key patches.

    ``candidates``: fraction of the corpus, after dropping near-duplicates, on which masks are proposed.
    ``filter``: move patches off border, overlay and glare, or refuse them. Backend ``random`` draws squares
    and ``frames`` takes each frame whole, one piece a frame; they are the controls of the others.
    """

    backend: Literal["auto", "onnx", "sam", "regions", "random", "frames"] = "auto"
    weights: str | None = None
    prompting: Literal["error", "grid"] = "error"
    # Error-guided points are few because each costs a pass of the mask decoder.
    points: int = Field(8, ge=1, le=1024)
    candidates: float = Field(0.5, gt=0, le=1)
    filter: bool = True


# Difficulties that a method can read.
ScorerName = Literal["error", "pvi", "learnability", "scale-free", "random"]


class OptidelSection(_Section):
    """How a method of key patches chooses, and what becomes of the patches.

    ``scorer`` of difficulty, as ``selection.scorer`` is for frames; ``random``, without ``diversity``, is the
    control: patches are drawn. ``grid``: patches in a composite;
    ``diversity``: whether it constrains the choice. Without ``composition`` the patches become no new images:
    the whole frames that hold them are trained on. With ``originals`` that share of the images is whole
    frames. ``compose``: the new images are made once, ``frozen``, or the patches are dealt into new ones at
    every step, ``deal``; ``alone`` is the share of those that then show one patch alone, enlarged from the
    size that it has in a grid, so that no more pixels are kept.
    """

    scorer: ScorerName = "error"
    grid: Literal[1, 4, 9, 16] = 4  # as in the paper's figure 2
    diversity: bool = True
    composition: bool = True
    originals: float = Field(0.0, ge=0, lt=1)
    compose: Literal["frozen", "deal"] = "frozen"
    alone: float = Field(0.0, ge=0, lt=1)


class SelectionSection(_Section):
    """What choices depend on beside the corpus.

    ``groups``, frames that belong together: ``none`` lets every method choose freely, as published;
    ``spread`` takes no more of a group than its even share; ``together`` keeps or drops whole groups.
    ``target``: folder with some tens of unlabelled images of what the encoder is for, which the methods
    ``target-…`` aim at; frames of the corpus that are such an image leave it, for every method.
    ``scorer``: the difficulty that methods of whole frames read: the reconstruction ``error``, ``pvi`` (minus
    the pointwise V-information), ``learnability`` (the share of its early error that the warm-up took off),
    or ``scale-free`` (the error of each patch over the variance of its pixels, as a logarithm). The method
    ``pvi`` has its own.
    """

    groups: Literal["none", "spread", "together"] = "none"
    target: str | None = None
    scorer: ScorerName = "error"


class MixtureSection(_Section):
    """How the method ``mixture`` finds its shares.

    ``proxies`` of half the model's width and depth are trained for ``steps`` on random mixtures of at most
    ``concepts`` clusters; ``steps`` is by default an eighth of ``pretrain.steps``, so that all proxies
    together take about half as long as one pre-training.
    """

    proxies: int = Field(20, ge=4, le=1000)
    steps: Count | None = None
    concepts: int = Field(8, ge=2, le=100)


Sampling = Literal["uniform", "balanced", "weighted"]
Sharding = Literal["none", "full"]


class PretrainSection(_Section):
    """Pre-training.

    ``compute``: every method gets the same optimizer ``steps``, or the same number of passes over its images
    (``steps`` is then what the full corpus gets). ``views``: how an image is changed each time it is shown,
    ``crop`` (random resized crops and flips) or ``flip-only``; ``crop`` (least and largest share of the area
    kept), ``flip`` and ``jitter`` (of colour; 0 for none) change one part of it. ``target``: what a masked
    autoencoder predicts, ``pixels`` or patches ``normalised`` one by one. ``weights``: a ViT, ViT-MAE or
    DINOv2, by hub id or folder, that every pre-training goes on from; ``layer_decay``: factor of the learning
    rate from one of its blocks to the block below. ``loggers``: what shows the progress; by default
    TensorBoard, where it is installed; no result depends on it. ``sampling``, how often each image of a
    selection is shown: ``uniform``, all alike; ``balanced``, so that every concept of the selection counts
    alike, in every batch; ``weighted``, in proportion to the part of the corpus that it stands for. Both at
    most four times the mean; composites are always shown alike. ``accumulate``: parts, one after the other,
    in which a process handles its share of a batch, for a GPU that cannot hold it at once. ``compile``:
    compile the blocks of the model first (``torch.compile``). ``sharding``: where several processes train,
    each holds all weights (``none``), or its share of them, of gradients and of optimizer state (``full``).
    """

    objective: str = "mae"
    compute: Literal["steps", "epochs"] = "steps"
    steps: Count = 800
    batch: int = Field(64, ge=2, le=MAX_BATCH)
    lr: float = Field(1e-3, gt=0)  # for AdamW on a ViT of some million weights
    views: Literal["crop", "flip-only"] = "crop"
    crop: tuple[Share, Share] | None = None
    flip: bool | None = None
    jitter: float | None = Field(None, ge=0, lt=1)
    target: Literal["pixels", "normalised"] = "pixels"
    weights: str | None = None
    layer_decay: float = Field(1.0, gt=0, le=1)
    loggers: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] | None = None
    sampling: Sampling = "uniform"
    accumulate: int = Field(1, ge=1, le=MAX_BATCH)
    compile: bool = False
    sharding: Sharding = "none"


# How an encoder is measured: trained further with a head; a head on the frozen encoder; a closed-form probe
# of its tokens, for masks; or the vote of the nearest neighbours, for classes.
Protocol = Literal["fine-tune", "probe", "ridge", "knn"]

PROTOCOL_NAMES: tuple[str, ...] = get_args(Protocol)


class EvaluateSection(_Section):
    """Evaluation: labelled images to train on and to test on.

    ``steps`` and ``batch`` of the optimizer are by default what suits each protocol. ``group``: which
    labelled images belong to one patient, video, … and must not stand on both sides: a pattern over their
    paths, as in ``corpus.pattern``, or a manifest (``….csv``, ``….parquet``). ``masks``: how masks are read,
    by default found from all of them. ``ignore``: values or colours of a mask that are void, such as ``255``
    or ``"#e0e0c0"``. ``test_on``: another labelled set, whose images are tested on in place of this one's.
    ``keep``: keep every trained segmenter in the run, for ``optidel predict``. ``at``: shares of the
    pre-training after which its encoder is kept and scored too. ``layers``: blocks of the encoder whose
    tokens ``ridge`` reads side by side, 1 the first, -1 the last. ``labels``: of a set of classes, the table
    of labels, or ``folders`` where the folders are named after the classes; by default what the set shows.
    """

    protocols: tuple[Protocol, ...] = ("fine-tune", "probe")
    # Few labels are what pre-training is for. Both are round numbers.
    train: Count = 200
    test: Count = 300
    group: str | None = None
    masks: Literal["auto", "half", "foreground", "values", "colours"] = "auto"
    ignore: tuple[int | str, ...] = ()
    test_on: str | None = None
    labels: str | None = None
    keep: bool = False
    at: tuple[Share, ...] | None = None
    layers: tuple[int, ...] | None = None
    steps: Count | None = None
    batch: int | None = Field(None, ge=1, le=MAX_BATCH)


class WorkSection(_Section):
    """Who does the shards of the steps that go through the whole corpus; no result depends on it.

    ``executor``: ``local``, ``slurm``, ``ray`` or ``ray://HOST:PORT``. ``workers``: processes or actors; by
    default this process alone, with Ray all cores. ``shard``: rows that are done as one.
    """

    executor: str = "local"
    workers: int | None = Field(None, ge=1, le=1024)
    # As in ``mapping.SHARD``: a part of some ten MB.
    shard: Count = 4096


class Recipe(_Section):
    """Everything that determines a run, and where it goes.

    ``leaks``: what to do about test images that are in the corpus: say so, leave their frames out of every
    training set, or do not look. ``registry``: TOML file that describes sets of your own, as ``optidel
    datasets`` lists those of DataDEL. ``method``: parameters of methods, one table a method; checked against
    the method's own function, which this file does not know.

    Example:
        >>> from optidel.recipe import make_recipe
        >>> recipe = make_recipe({"images": "IMAGES", "out": "RUN", "budget": 0.1})
        >>> recipe.budget, recipe.pretrain.objective
        (0.1, 'mae')
    """

    images: str
    labelled: str = ""
    out: str
    methods: tuple[str, ...] = ("full", "random", "meddel", "optidel", "optidel-paper")
    budget: float = 0.05
    seeds: tuple[Seed, ...] = (0,)
    preset: Literal["tiny", "small", "base", "large", "huge"] = "tiny"
    leaks: Literal["warn", "drop", "off"] = "warn"
    registry: str | None = None
    corpus: CorpusSection = CorpusSection()
    encoder: EncoderSection = EncoderSection()
    features: FeaturesSection = FeaturesSection()
    patches: PatchesSection = PatchesSection()
    optidel: OptidelSection = OptidelSection()
    method: dict[str, Parameters] = {}
    selection: SelectionSection = SelectionSection()
    mixture: MixtureSection = MixtureSection()
    pretrain: PretrainSection = PretrainSection()
    evaluate: EvaluateSection = EvaluateSection()
    work: WorkSection = WorkSection()


# What a larger model needs beyond the sections' own defaults: more steps, and batches that fill a GPU.
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
    # A quarter of the batch of MAE's authors, and their rate for it: 1.5e-4 for each 256 images (arXiv
    # 2111.06377, table 8). The warm-up sees as many images as that of `base`.
    "large": {
        "encoder": {"steps": 5000},
        "pretrain": {"steps": 40000, "batch": 1024, "lr": 6e-4, "sharding": "full"},
        "evaluate": {"steps": 2000},
    },
    "huge": {
        "encoder": {"steps": 5000},
        "pretrain": {"steps": 40000, "batch": 1024, "lr": 6e-4, "sharding": "full"},
        "evaluate": {"steps": 2000},
    },
}

# Keys that came after the first version. A result's recipe names one only where it is not at its default.
LATER = (
    "method",
    "corpus.holdout",
    "features.post",
    "pretrain.views",
    "pretrain.crop",
    "pretrain.flip",
    "pretrain.jitter",
    "pretrain.target",
    "optidel.compose",
    "optidel.alone",
    "pretrain.weights",
    "pretrain.layer_decay",
    "pretrain.sampling",
    "evaluate.at",
    "evaluate.layers",
    "evaluate.labels",
    "selection.target",
    "selection.scorer",
    "mixture",
)


def make_recipe(values: Mapping[str, Any]) -> Recipe:
    """Validate; sections left out take the preset's defaults.

    Raises:
        RecipeError: unknown key (with the nearest known), or a value out of range.

    Example:
        >>> make_recipe({"images": "scans", "out": "run", "budget": 0.1}).budget
        0.1
    """
    _check_names(values, Recipe)
    _check_urls(values)
    merged = dict(values)
    preset = str(values.get("preset", "tiny"))
    for section, defaults in PRESET_DEFAULTS.get(preset, {}).items():
        merged[section] = {**defaults, **values.get(section, {})}

    try:
        recipe = Recipe.model_validate(merged)
    except ValidationError as error:
        raise RecipeError(_sentence(error)) from error

    # Not left to the section's own checks: these sentences say what to pass instead.
    if not 0 < recipe.budget <= 1:
        raise RecipeError(f"budget must be in (0, 1], got {recipe.budget:g}; pass 0.05 for 5 %")
    objective = recipe.pretrain.objective
    if objective not in OBJECTIVE_NAMES:
        hint, names = nearest(objective, OBJECTIVE_NAMES), ", ".join(OBJECTIVE_NAMES)
        raise RecipeError(
            f"recipe: pretrain.objective: unknown objective {objective!r}{hint}; there are {names}"
        )
    check_parts(objective, recipe.pretrain.accumulate, objective in IN_PARTS)
    check_shares(recipe.pretrain.batch, 1, recipe.pretrain.accumulate)
    crop = recipe.pretrain.crop
    if crop and crop[0] > crop[1]:
        raise RecipeError(
            "recipe: pretrain.crop is the least and the largest share of the area, "
            f"got {list(crop)}; swap them"
        )
    for name, items in (("methods", recipe.methods), ("seeds", recipe.seeds)):
        if not items:
            raise RecipeError(f"recipe: {name} is empty; pass at least one")
        if len(set(items)) != len(items):
            raise RecipeError(f"recipe: {name} holds an entry twice: {', '.join(map(str, items))}")
    return recipe


def check_parts(objective: str, accumulate: int, in_parts: bool) -> None:
    """Refuse parts of a batch to an objective that compares its images with each other.

    Args:
        objective: its name, for the message.
        accumulate: how many parts.
        in_parts: whether the objective takes parts.

    Raises:
        RecipeError: it does not, and there are several.
    """
    if accumulate == 1 or in_parts:
        return
    raise RecipeError(
        f"pretrain.accumulate = {accumulate} handles a batch in parts, and the objective {objective!r} "
        "compares all its images with each other; use pretrain.accumulate = 1 with a smaller pretrain.batch, "
        "or more processes (torchrun), which do compare all"
    )


def check_shares(batch: int, processes: int, accumulate: int = 1) -> None:
    """Refuse a batch that is not shared evenly.

    Args:
        batch: images of a step.
        processes: that train together.
        accumulate: parts in which each of them handles its share.

    Raises:
        RecipeError: ``batch`` is no multiple of ``processes`` times ``accumulate``.

    >>> check_shares(64, 4)
    """
    shares = processes * accumulate
    if batch % shares == 0:
        return
    near = max(shares, round(batch / shares) * shares)
    if processes == 1:
        among, other = f"{accumulate} parts", "pretrain.accumulate"
    elif accumulate == 1:
        among, other = f"{processes} processes", "number of processes"
    else:
        among, other = f"{processes} processes in {accumulate} parts each", "pretrain.accumulate"
    raise RecipeError(
        f"a batch of {batch} images is not shared evenly by {among}; use pretrain.batch={near}, "
        f"or another {other}"
    )


UNEVEN = (
    'pretrain.sharding = "full" needs processes that all compute the same, and whole images beside dealt '
    'tiles (optidel.compose = "deal", optidel.originals, optidel.alone) give one tiles and another images; '
    'use pretrain.sharding = "none", or optidel.originals = 0 and optidel.alone = 0'
)
"""Why weights are not shared among processes of which one may have no tile, and another no whole image."""


def check_together(recipe: Recipe, processes: int) -> None:
    """Refuse what processes that train together cannot do.

    Args:
        recipe: of a run.
        processes: how many there are.

    Raises:
        RecipeError: they cannot share a batch evenly, or not the weights.
    """
    section = recipe.pretrain
    check_shares(section.batch, processes, section.accumulate)
    mixed = recipe.optidel.compose == "deal" and (recipe.optidel.originals > 0 or recipe.optidel.alone > 0)
    if mixed and section.sharding == "full":
        raise RecipeError(UNEVEN)


def _check_urls(values: Mapping[str, Any]) -> None:
    """Before anything is written or quoted: no URL holds a secret, and the run folder is none.

    Raises:
        RecipeError: says what to do.
    """
    try:
        refuse_url(str(values.get("out", "")))
        for text in _texts(values):
            if is_url(text):
                check_url(text)
    except InputError as error:
        raise RecipeError(f"recipe: {error}") from None


def _texts(value: object) -> Iterator[str]:
    """Every text in nested tables and lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _sentence(error: ValidationError) -> str:
    """What is wrong with a recipe, where, and with which value."""
    # One thing to mend at a time: the others often follow from the first.
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing" and key == "images":
        return "recipe: images: is missing; name the folder of images, or a recipe that does with --config"
    if problem["type"] == "missing":
        return f"recipe: {key}: is missing; pass --{key} or write it in the recipe"

    reason = problem["msg"][0].lower() + problem["msg"][1:]
    return f"recipe: {key}: {reason}, got {problem['input']!r}"


def load_recipe(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe from a TOML file; ``overrides`` (from the command line) win.

    Raises:
        RecipeError: not found, no TOML, or not valid.
    """
    values = read_values(path)
    values.update(overrides or {})
    return make_recipe(values)


def read_values(path: str | Path) -> dict[str, Any]:
    """The keys of a recipe file, not yet checked.

    Raises:
        RecipeError: not found, or no TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is no TOML: {error}") from error


def set_value(values: dict[str, Any], assignment: str) -> None:
    """Set one key of a recipe's values, in place, from a text such as ``method.meddel.epsilon=0.9``.

    Args:
        values: the keys of a recipe, not yet checked; tables on the way are made where they are missing.
        assignment: key, ``=`` and a value as in TOML; a plain word needs no quotes.

    Raises:
        RecipeError: no ``=``, a key that a recipe does not have (with the nearest), or no TOML value.

    Example:
        >>> values = {"images": "scans", "out": "run"}
        >>> set_value(values, "pretrain.steps=2000")
        >>> set_value(values, "method.meddel.keep=nearest")
        >>> values["pretrain"], values["method"]
        ({'steps': 2000}, {'meddel': {'keep': 'nearest'}})
    """
    names, value = read_setting(assignment)
    # As the tables that a file would hold, so that one check serves both.
    nested: Any = value
    for name in reversed(names):
        nested = {name: nested}
    _check_names(nested, Recipe)
    put_value(values, names, value)


def read_setting(assignment: str) -> tuple[list[str], Any]:
    """The names of the key and the value of a text such as ``pretrain.steps=2000``.

    Raises:
        RecipeError: no ``=``, or no TOML value.
    """
    key, equals, text = assignment.partition("=")
    names = [name.strip() for name in key.split(".")]
    if not equals or not all(names):
        raise RecipeError(
            f"a setting is KEY=VALUE, got {assignment!r}; pass pretrain.steps=2000, for example"
        )
    return names, _toml_value(text.strip(), assignment)


def put_value(values: dict[str, Any], names: Sequence[str], value: Any) -> None:
    """Put a value below nested tables, in place; those that are missing are made.

    Raises:
        RecipeError: what should be a table on the way is none.
    """
    table = values
    for name in names[:-1]:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            key = ".".join(names)
            raise RecipeError(
                f"recipe: {name} is {table!r} and holds no keys; it cannot take {key}={value!r}"
            )
    table[names[-1]] = value


def _toml_value(text: str, assignment: str) -> Any:
    """A value as TOML writes it, or a plain word."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        # A shell takes quotes away, so a word comes without those that TOML wants.
        if WORD.fullmatch(text):
            return text
        raise RecipeError(
            f'the value of {assignment!r} is no TOML; write a number, true, false, a "text" or a [list]'
        ) from error


def as_json(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON values, without those of :data:`LATER` that stand at their default, and without
    ``work``, ``pretrain.loggers``, ``corpus.cache`` and :data:`EXECUTION`, on which no result depends.
    """
    independent: Any = {"work": True, "pretrain": {"loggers", *EXECUTION}, "corpus": {"cache"}}
    values = recipe.model_dump(mode="json", exclude=independent)
    for key in LATER:
        *section, name = key.split(".")
        table, model = values, Recipe
        for part in section:
            table, model = table[part], type(Recipe.model_fields[part].default)
        default = model.model_fields[name].default
        # A section that came later as a whole is left out as a whole.
        if isinstance(default, BaseModel):
            default = default.model_dump(mode="json")
        if table[name] == default:
            del table[name]
    return values


def _check_names(values: Mapping[str, Any], model: type[BaseModel], where: str = "") -> None:
    """Refuse a key that a section does not have."""
    fields = model.model_fields
    for name, value in values.items():
        if name not in fields:
            raise RecipeError(f"recipe: unknown key {where + name!r}{nearest(name, fields)}")

        # A table that is no section, such as a method's parameters, may hold any key.
        section = fields[name].annotation
        if isinstance(section, type) and issubclass(section, BaseModel) and isinstance(value, dict):
            _check_names(value, section, f"{where}{name}.")
