"""Weights of a Hugging Face folder or id, used only if none is missing and all are finite; no code is run."""

import hashlib
import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optidel.errors import WeightsError

if TYPE_CHECKING:
    from torch import nn

BACKBONE = re.compile(r"(^|\.)layers?\.\d+\.")
"""Names of the tensors of a transformer block, in a backbone of transformers."""

HEADS = ("decoder", "classifier", "head", "pooler", "lm_head", "mask_decoder")
"""Where the tensors of a head begin: weights may bring one that the model asked for does not have."""


def read_config(weights: str | Path) -> Any:
    """The configuration of a model; code that lies beside it is never run.

    Args:
        weights: Hugging Face id or local folder.

    Raises:
        WeightsError: no configuration there, or one that needs code of its own.
    """
    from transformers import AutoConfig  # transformers takes four seconds to import; most commands need none

    try:
        with quiet():
            return AutoConfig.from_pretrained(str(weights), trust_remote_code=False)
    except Exception as error:  # the errors of transformers share no base class with a meaning
        if "custom code" in str(error):
            raise WeightsError(
                f"{weights} needs code of its own (auto_map in config.json), which is never run; "
                "pass a model of an architecture that transformers has"
            ) from error
        raise WeightsError(
            f"no model at {str(weights)!r} ({first_line(error)}); pass a Hugging Face id that this machine "
            "can reach, or a folder with config.json and model.safetensors"
        ) from error


def load_model(kind: Any, weights: str | Path, unused: Collection[str] = ()) -> Any:
    """A model with every one of its tensors read from safetensors.

    Args:
        kind: a class of transformers with ``from_pretrained``.
        weights: Hugging Face id or local folder.
        unused: beginnings of the names of tensors that no result depends on and that may therefore be absent.

    Raises:
        WeightsError: no safetensors; tensors that are missing, of another shape, or not finite; blocks that
            the configuration does not have.
    """
    try:
        with quiet():
            model, report = kind.from_pretrained(
                str(weights), use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
    except Exception as error:  # OSError, ValueError, RuntimeError and SafetensorError, by the damage
        raise WeightsError(
            f"{weights} has no readable weights in safetensors that fit its config.json "
            f"({first_line(error)}); convert them with save_pretrained, pickled weights are never loaded"
        ) from error

    missing = sorted(name for name in report["missing_keys"] if not name.startswith(tuple(unused)))
    _refuse(weights, "lack", missing, "tensors that the model needs; convert them with save_pretrained")

    beyond = sorted(name for name in report["unexpected_keys"] if _is_block(name))
    _refuse(weights, "hold", beyond, "tensors of blocks that config.json does not have; correct config.json")

    check_finite(model, weights)
    return model


def check_finite(model: "nn.Module", weights: str | Path) -> None:
    """Refuse weights with a NaN or an infinity.

    Raises:
        WeightsError: a tensor of ``model`` holds one.
    """
    import torch

    broken = [
        name
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())
    ]
    _refuse(weights, "hold", broken, "tensors with values that are not finite; fetch or train them again")


def weights_identity(weights: str | Path) -> str:
    """Identity of weights by content: ``sha256:<hex>`` of configuration and tensors.

    Raises:
        WeightsError: they are not there.
    """
    from transformers.utils import cached_file

    try:
        with quiet():
            files = [cached_file(str(weights), name) for name in ("config.json", "model.safetensors")]
        return file_sha256(*(Path(file) for file in files))
    except (OSError, TypeError) as error:
        raise WeightsError(
            f"no config.json and model.safetensors in {str(weights)!r} ({first_line(error)}); "
            "pass a Hugging Face id that this machine can reach, or a folder that holds both"
        ) from error


def file_sha256(*paths: Path) -> str:
    """Identity of weight files by content: ``sha256:<hex>``, the files' own digests in the order given.

    Raises:
        WeightsError: a file cannot be read.
    """
    digests = []
    for path in paths:
        try:
            status = path.stat()
            digests.append(_digest(path, status.st_size, status.st_mtime_ns))
        except OSError as error:
            raise WeightsError(
                f"cannot read the weights {path} ({error.strerror}); check the path"
            ) from error
    return "sha256:" + "+".join(digests)


# Every trial of a bench asks for the identity of the same few files, which may have gigabytes.
@lru_cache(maxsize=64)
def _digest(path: Path, size: int, modified: int) -> str:
    """SHA-256 of a file; its size and time of change tell whether it is still the file that was read."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def side_of(value: Any, what: str, weights: str | Path) -> int:
    """A size in pixels that a configuration gives as a number or as two equal ones.

    Raises:
        WeightsError: not a square.
    """
    sides = set(value) if isinstance(value, list | tuple) else {value}
    if len(sides) != 1 or not isinstance(side := sides.pop(), int) or side < 1:
        raise WeightsError(f"the {what} of {weights} is {value!r}; only square models can be used here")
    return side


def read_statistics(
    weights: str | Path, mean: tuple[float, ...], deviation: tuple[float, ...]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Channel means and deviations the weights were trained with.

    Args:
        weights: Hugging Face id or local folder.
        mean, deviation: what is taken where the model does not say.

    Raises:
        WeightsError: ``preprocessor_config.json`` cannot be read, or does not hold three numbers of each.
    """
    path = Path(weights) / "preprocessor_config.json"
    if not Path(weights).is_dir():
        from huggingface_hub import hf_hub_download

        try:
            path = Path(hf_hub_download(str(weights), "preprocessor_config.json"))
        except OSError:
            return mean, deviation
    if not path.exists():
        return mean, deviation

    try:
        convention = json.loads(path.read_text())
        means = tuple(float(value) for value in convention.get("image_mean", mean))
        deviations = tuple(float(value) for value in convention.get("image_std", deviation))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} cannot be read ({first_line(error)}); restore or delete it") from error
    if len(means) != 3 or len(deviations) != 3 or min(deviations) <= 0:
        raise WeightsError(
            f"{path} gives image_mean {means} and image_std {deviations}; "
            "three means and three positive deviations are needed"
        )
    return means, deviations


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the library's progress bars and its report of the weights; we read the report ourselves."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def first_line(error: Exception) -> str:
    """What an error says, short enough to stand inside a sentence."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:160]  # characters; a round number, nothing depends on it


def _is_block(name: str) -> bool:
    return BACKBONE.search(name) is not None and not name.startswith(HEADS)


def _refuse(weights: str | Path, verb: str, names: list[str], what: str) -> None:
    if not names:
        return
    examples = ", ".join(names[:3])
    if len(names) > 3:
        examples += ", …"
    raise WeightsError(f"the weights of {str(weights)!r} {verb} {len(names)} ({examples}) {what}")
