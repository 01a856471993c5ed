"""What a labelled set is scored by: masks by overlap, classes by how well they are told apart."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A score in [0, 1], higher is better.

    ``column`` holds its values in tables of test images, ``name`` its mean in tables of methods, and
    ``label`` is what people read.
    """

    column: str
    name: str
    label: str


class Measured(NamedTuple):
    """A score and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


Outcomes = tuple[Outcome, Outcome]

MASKS: Outcomes = (
    Outcome(column="iou", name="miou", label="mIoU"),
    Outcome(column="dice", name="dice", label="Dice"),
)
"""Of a set of masks; methods are compared by the first."""

CLASSES: Outcomes = (
    Outcome(column="auroc", name="auroc", label="AUROC"),
    Outcome(column="balanced", name="balanced", label="balanced accuracy"),
)
"""Of a set of classes; methods are compared by the first."""

PRECISION: Outcomes = (Outcome(column="ap", name="ap", label="average precision"), MASKS[0])
"""Of a set of masks under a protocol that predicts how likely a class is: no threshold blurs it."""

OUTCOMES: tuple[Outcome, ...] = (*MASKS, *CLASSES, PRECISION[0])


def outcomes_in(columns: Collection[str]) -> Outcomes:
    """The outcomes whose columns, of test images or of methods, a table has.

    >>> [outcome.label for outcome in outcomes_in(["id", "auroc", "balanced"])]
    ['AUROC', 'balanced accuracy']
    """
    return CLASSES if CLASSES[0].column in columns else MASKS
