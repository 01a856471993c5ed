"""What a step says about its result: one typed record a step, and the two functions that write and read it.

A record's fields are the keys of the JSON file. A field whose default is None is left out while it is None,
and so a step that learns to say more changes no older file. A reader ignores keys that no record has.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar, TypeVar

from pydantic import TypeAdapter, ValidationError

from optidel.errors import StoreError
from optidel.outcomes import OUTCOMES
from optidel.store import Artifact, Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Base of the records; ``FILE`` is the name of the file inside the artifact."""

    FILE: ClassVar[str] = "summary.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSummary(Summary):
    """The steps ``index`` and ``clean``: counts of files, frames and quarantined files.

    ``root`` is the folder of the corpus; ``scan`` is the reading options as JSON text; ``groups`` hashes the
    group of every frame; ``since`` says what changed since an earlier state; ``leaks`` counts frames that
    were taken out because they are test images.
    """

    FILE: ClassVar[str] = "index.json"
    root: str
    scan: str
    files: int
    frames: int
    rejected: int
    groups: str
    since: Mapping[str, Any] | None
    version: int = 0
    leaks: int | None = None
    held_out: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedSummary(Summary):
    """The step ``embed``: rows copied from an earlier state of the corpus and rows computed.

    ``copied_from`` names the artifact they came from and ``warmup`` the warm-up that scored, None for weights
    from outside; ``warmup_is_own`` is whether that warm-up saw this state of the corpus.
    """

    copied: int = 0
    computed: int = 0
    copied_from: str | None
    warmup: str | None
    warmup_is_own: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WhitenSummary(Summary):
    """The step ``whiten``: principal axes kept, and the mean cosine of two items before and after."""

    axes: int
    cosine_before: float
    cosine_after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionChange:
    """How a selection differs from one on an earlier state of the corpus.

    ``added``, ``removed`` and ``changed`` count frames; ``earlier`` names the other selection, which kept
    ``kept_earlier`` items, ``still_kept`` of them also now.
    """

    added: int
    removed: int
    changed: int
    earlier: str
    kept_earlier: int
    still_kept: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectSummary(Summary):
    """The step ``select``: ``kept`` of ``items`` frames or key patches (``unit``), by ``method``.

    ``index`` is the content of the corpus; ``originals`` counts frames that stay whole beside composites;
    ``since`` is None without an earlier selection.
    """

    method: str
    budget: float
    seed: int
    unit: str
    items: int
    kept: int
    index: str | None = None
    originals: int | None = None
    since: SelectionChange | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchesSummary(Summary):
    """The step ``patches``: frames looked at, masks proposed, key patches kept, and refusals by reason.

    ``backend``, ``weights`` and ``prompting`` say what proposed the masks.
    """

    backend: str
    weights: str | None
    prompting: str
    frames: int
    masks: int
    kept: int
    refused: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSummary(Summary):
    """The step ``task``: a labelled set's name and its number of classes, the background of masks included.

    ``masks`` says how its masks are read, None in runs of the first version. Of a set of classes there are
    ``labels``, the names of the classes, and ``exclusive``: whether every image has exactly one.
    """

    name: str
    classes: int
    masks: str | None = None
    labels: tuple[str, ...] | None = None
    exclusive: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateSummary(Summary):
    """The step ``evaluate``: scores in [0, 1]; numbers of images and classes.

    Of masks: mean IoU and Dice over test images. ``scored_at`` is ``native``, each image's own size; None in
    runs of the first version, which scored at the model's. ``ap``, of the protocol ``ridge``: mean average
    precision of the pixels of an image, over classes that it has and then over images. Of classes: ``auroc``
    and ``balanced`` accuracy, means over classes, ``ece`` the expected calibration error and ``brier`` the
    mean squared error of the probabilities, both better when low.
    """

    n_train: int
    n_test: int
    classes: int
    miou: float | None = None
    dice: float | None = None
    scored_at: str | None = None
    ap: float | None = None
    auroc: float | None = None
    balanced: float | None = None
    ece: float | None = None
    brier: float | None = None

    @property
    def outcomes(self) -> dict[str, float]:
        """The scores that methods are compared by, by their names."""
        values = {outcome.name: getattr(self, outcome.name) for outcome in OUTCOMES}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropySummary(Summary):
    """The step ``entropy``: held-out V-entropy H(Y|X) of an encoder, in nats per value that it predicts.

    ``h`` is the mean over ``images`` of ``groups`` groups, ``h_low`` and ``h_high`` bound its 95 % interval,
    and ``h_null`` is H(Y|∅), what knowing nothing costs. Lower is better.
    """

    images: int
    groups: int
    h: float
    h_low: float
    h_high: float
    h_null: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InfluenceSummary(Summary):
    """The step ``influence``: ``states`` of the warm-up, ``scored`` of ``frames`` whose own gradient was
    taken, ``held_out`` images, and the share of the frames with a ``positive`` influence.
    """

    states: int
    frames: int
    scored: int
    held_out: int
    positive: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureSummary(Summary):
    """The step ``mixture``: ``proxies`` trained on ``images`` each, in shares of ``concepts``.

    ``predicted`` is the held-out V-entropy that the regression expects of the shares, ``predicted_natural``
    of those of the corpus; ``error`` is its leave-one-out error and ``spread`` the standard deviation over
    the proxies. Where the error is not below the spread, the shares do not explain the entropy (``explains``)
    and those of the corpus were taken.
    """

    proxies: int
    concepts: int
    images: int
    predicted: float
    predicted_natural: float
    error: float
    spread: float
    explains: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaksSummary(Summary):
    """The step ``leaks``: how many of ``test`` labelled test images lie among ``train`` frames of the corpus.

    ``images`` counts leaked test images by kind of copy. Perceptual hashes differ in at most ``near`` of 256
    bits; embeddings must be more alike than ``threshold``, None where it could not be calibrated, which test
    images without a copy are at the ``rate``. ``reason`` says which frames were not compared by embedding,
    and why.
    """

    test: int
    train: int
    leaked: int
    rate: float
    threshold: float | None
    near: int
    images: Mapping[str, int]
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSummary(Summary):
    """The step ``audit``: frames, marks by name, frames that repeat an earlier one and the groups they form.

    ``sampled`` counts the frames whose text was looked for.
    """

    frames: int
    counts: Mapping[str, int]
    redundant: int
    groups: int
    sampled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InformationSummary(Summary):
    """The step ``vinfo``: what :mod:`optidel.vinformation` says of a training set.

    Entropies are in nats per value, the log-determinant in nats per image. ``h_null``, ``h_conditional`` and
    ``information`` are of the set itself: the null model is its own mean image, the conditional model the
    masked autoencoder that scored the corpus. ``gained`` says of each labelled set how much V-information the
    encoder trained on this set has of its images, which it has not seen: nats per value with MAE, per image
    with SimCLR.
    """

    images: int
    h_null: float
    h_conditional: float
    information: float
    log_det: float
    vendi: float
    gained: Mapping[str, float]


Kind = TypeVar("Kind", bound=Summary)


def write_summary(work: Workspace, record: Summary) -> None:
    """Write a record into an artifact that is being made."""
    work.write_json(record.FILE, as_json(record))


def read_summary(artifact: Artifact, kind: type[Kind]) -> Kind:
    """The record that a finished step wrote.

    Raises:
        StoreError: the file lacks a key, or holds a value of another type.
    """
    # pydantic ignores unknown keys of a dataclass, and says which key is missing or of another type.
    try:
        record: Kind = _reader(kind).validate_python(artifact.json(kind.FILE))
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        reason = problem["msg"]
        path = artifact.path / kind.FILE
        raise StoreError(
            f"{path} is not what the step {artifact.step} writes ({key}: {reason}); "
            f"delete the folder {path.parent.name} and run the same command again"
        ) from error
    return record


def as_json(record: Any) -> dict[str, Any]:
    """A record as JSON values, without those optional fields that are None."""
    values: dict[str, Any] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if value is None and field.default is None:
            continue
        values[field.name] = as_json(value) if is_dataclass(value) else value
    return values


# By the name of the record: building a reader takes a millisecond, and a bench has hundreds of summaries.
READERS: dict[str, TypeAdapter[Any]] = {}


def _reader(kind: type[Summary]) -> TypeAdapter[Any]:
    if kind.__name__ not in READERS:
        READERS[kind.__name__] = TypeAdapter(kind)
    return READERS[kind.__name__]
