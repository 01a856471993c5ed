"""What people bring to a selection, checked once: vectors, difficulty, budget, parameters."""

import inspect
import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real

import numpy as np
from jaxtyping import Float64, Shaped

from optidel.arrays import Vectors
from optidel.errors import BudgetError, InputError, RecipeError, nearest
from optidel.features.rows import spans

# Keyword arguments that :func:`optidel.select` supplies. Every other one is a parameter of the method.
GIVEN = ("rng", "difficulty", "target", "influences", "mixture")

MISSING = ("None", "nan", "NaT", "<NA>")
"""How Python, NumPy and pandas print that there is no value."""

FLOATS = (np.float16, np.float32, np.float64)


def count_for(budget: float, n: int) -> int:
    """How many of ``n`` items a budget buys.

    Args:
        budget: a fraction in (0, 1], or a whole number of items. 1.0 is everything, the integer 1 is one
            item.
        n: items there are.

    Raises:
        BudgetError: outside the range, rounding to nothing, or more than there is.
    """
    # bool is a subclass of int: True would buy one item.
    if isinstance(budget, bool) or not isinstance(budget, Real):
        raise BudgetError(
            f"budget must be a fraction in (0, 1] or a count, got {budget!r}; pass 0.05 for 5 %"
        )
    if isinstance(budget, Integral):
        return _checked_count(int(budget), n)
    if not 0 < budget <= 1:
        raise BudgetError(f"budget must be in (0, 1], got {budget}; pass 0.05 for 5 %")
    count = round(float(budget) * n)
    if count == 0:
        # Rounded up to four decimals, so that the printed number itself buys an item.
        smallest = math.ceil(1e4 / n) / 1e4
        raise BudgetError(f"budget {budget} of {n} items rounds to none; pass at least {smallest:g}")
    return count


def _checked_count(count: int, n: int) -> int:
    if count < 1:
        raise BudgetError(f"budget as a count must be at least 1, got {count}; pass 0.05 for 5 %")
    if count > n:
        raise BudgetError(f"budget asks for {count} items, there are {n}; pass at most {n}")
    return count


def check_vectors(vectors: Vectors, name: str = "vectors") -> Vectors:
    """Return the vectors if they can be compared by cosine similarity.

    Args:
        vectors: float16, float32 or float64 (n, d), n and d at least 1; a memory map stays one.
        name: for the error.

    Raises:
        InputError: another shape or type, or a row with NaN, infinity or only zeros (the first such row is
            named).
    """
    if not isinstance(vectors, np.ndarray) or vectors.dtype not in FLOATS:
        kind = vectors.dtype if isinstance(vectors, np.ndarray) else type(vectors).__name__
        raise InputError(
            f"{name} must be a NumPy array of float16, float32 or float64, got {kind}; "
            "convert with numpy.asarray(…, 'float32')"
        )
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise InputError(f"{name} must have shape (n, d) with n and d at least 1, got {vectors.shape}")
    for span in spans(*vectors.shape):
        largest = np.abs(vectors[span]).max(axis=1)
        _refuse_rows(~np.isfinite(largest), span.start, name, "holds NaN or infinity")
        _refuse_rows(largest == 0, span.start, name, "is all zero and has no direction")
    return vectors


def check_target(target: Vectors, width: int) -> Vectors:
    """Return the vectors of the target if they can be compared with vectors of ``width`` dimensions.

    Raises:
        InputError: as in :func:`check_vectors`, or another width.
    """
    check_vectors(target, "target")
    if target.shape[1] != width:
        raise InputError(
            f"target has {target.shape[1]} dimensions, vectors have {width}; embed both by the same encoder"
        )
    return target


def _refuse_rows(faulty: Shaped[np.ndarray, "b"], start: int, name: str, fault: str) -> None:
    """Name the first faulty row of a block that begins at row ``start``."""
    if faulty.any():
        row = start + int(faulty.argmax())
        raise InputError(f"row {row} of {name} {fault}; drop or repair it before selecting")


def check_scores(scores: object, n: int, name: str) -> Float64[np.ndarray, "n"]:
    """One finite float64 per row.

    Raises:
        InputError: not numbers, another length than ``n``, or NaN or infinity (the first such row is named).
    """
    try:
        values = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be numbers, one per row of vectors: {error}") from error
    if values.shape != (n,):
        raise InputError(f"{name} must have shape ({n},), one number per row of vectors, got {values.shape}")
    finite = np.isfinite(values)
    if not finite.all():
        row = int(finite.argmin())
        raise InputError(f"{name} of row {row} is {values[row]}; it must be finite")
    return values


def check_labels(labels: object, n: int, name: str) -> Shaped[np.ndarray, "n"]:
    """One group name or number per row; a row without one (None, NaN) gets a name that no other has.

    Raises:
        InputError: another length than ``n``.
    """
    values = np.asarray(labels)
    if values.shape != (n,):
        raise InputError(f"{name} must have shape ({n},), one per row of vectors, got {values.shape}")
    # NumPy makes the text "nan" of a missing value among texts, so a list is looked at as it came.
    entries = list(labels) if isinstance(labels, list | tuple) else values.tolist()
    missing = [not isinstance(entry, str) and str(entry) in MISSING for entry in entries]
    if not any(missing) and values.dtype != object:
        return values

    pairs = enumerate(zip(entries, missing, strict=True))
    return np.array([f"\N{NULL}{row}" if is_missing else str(entry) for row, (entry, is_missing) in pairs])


def check_seed(seed: object) -> int:
    """A whole number of 0 or more.

    Raises:
        RecipeError: anything else.
    """
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise RecipeError(f"seed must be a whole number of 0 or more, got {seed!r}; pass 0")
    return int(seed)


def accepted(function: Callable[..., object]) -> list[str]:
    """The keyword-only arguments of a method function, in order."""
    arguments = inspect.signature(function).parameters.values()
    return [argument.name for argument in arguments if argument.kind is argument.KEYWORD_ONLY]


def check_parameters(method: str, function: Callable[..., object], params: Mapping[str, object]) -> None:
    """Refuse a parameter the method does not have.

    Raises:
        RecipeError: names the nearest one and all there are.
    """
    names = [name for name in accepted(function) if name not in GIVEN]
    listing = f"it has {', '.join(names)}" if names else "it has none"
    for name in params:
        if name not in names:
            hint = nearest(name, names)
            raise RecipeError(f"method {method!r} has no parameter {name!r}{hint} ({listing})")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse a value that is none of the choices.

    Raises:
        RecipeError: names them.
    """
    if value not in choices:
        listing = " or ".join(map(repr, choices))
        hint = nearest(str(value), choices)
        raise RecipeError(f"{name} must be {listing}, got {value!r}{hint}")


def check_k(k: object, largest: int) -> None:
    """Refuse a number of clusters unless it is a whole number between 1 and ``largest``.

    None stands for the default and passes.

    Raises:
        RecipeError: names the range.
    """
    if k is None:
        return
    if not isinstance(k, Integral) or not 1 <= int(k) <= largest:
        raise RecipeError(
            f"k must be a whole number between 1 and {largest}, got {k!r}; leave it out for the default"
        )
