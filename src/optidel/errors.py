"""Errors a user can act on: what is wrong, where, the value, and the remedy. The command line prints them and
exits with 2.
"""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class OptidelError(Exception):
    """Base of every error caused by input, options or the machine, never by a bug.

    The message is one sentence: what, where, the offending value and the remedy.

    Example:
        >>> import optidel
        >>> try:
        ...     optidel.normdel(72.0, kept=0.05)
        ... except optidel.OptidelError as error:
        ...     print(error)
        miou must be in [0, 1], got 72.0; pass 0.72 for 72 points
    """


class InputError(OptidelError):
    """A file, folder or array given by the user cannot be used."""


class RecipeError(OptidelError):
    """An option, a recipe key or a value in it is not valid."""


class BudgetError(OptidelError):
    """The budget cannot be met from what there is."""


class StoreError(OptidelError):
    """A run folder cannot be read or written."""


class TrainingError(OptidelError):
    """A training cannot go on: its loss or its weights are no longer finite."""


class WeightsError(OptidelError):
    """Model weights are missing, unsafe or of the wrong kind."""


class WorkerError(OptidelError):
    """A worker, or the cluster that it runs on, cannot do its share."""


class PendingError(OptidelError):
    """A step waits for shards that other processes are to do."""


class ExtraError(OptidelError):
    """A package that only some users need is not installed."""


# The extra that brings a package, by the name it is imported under.
EXTRA_OF = {
    "torch": "train",
    "transformers": "train",
    "safetensors": "train",
    "huggingface_hub": "train",
    "skimage": "train",
    "pyarrow": "hf",
    "imagecodecs": "codecs",
    "fsspec": "cloud",
    "obstore": "cloud",
    "aiohttp": "cloud",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
}


@contextmanager
def extras_named() -> Iterator[None]:
    """A missing package of an extra becomes a sentence that names the extra.

    Raises:
        ExtraError: a package of ``EXTRA_OF`` is imported in the block and not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRA_OF:
            raise
        extra = EXTRA_OF[package]
        raise ExtraError(
            f"this needs {package}, which is not installed; pip install 'optidel[{extra}]'"
        ) from error


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest the closest known name: ``"; did you mean 'meddel'?"`` or an empty string."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {match[0]!r}?" if match else ""
