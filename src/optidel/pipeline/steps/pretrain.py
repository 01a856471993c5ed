"""Pre-training: the warm-up of the scoring model, and the encoder of each training set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from optidel.arrays import Images, Indices
from optidel.models.encoders import save_encoder
from optidel.models.presets import PRESETS, Preset
from optidel.store import Artifact, Store, Workspace
from optidel.training.dealing import Frequencies
from optidel.training.loggers import FOLDER, open_loggers
from optidel.training.pretrain import PretrainOptions, pretrain
from optidel.training.ranks import ALONE, Company, Ranks, company

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Of the code of the steps ``warmup`` and ``pretrain``.
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A pre-training as every process that takes part in it needs to know it; paths are absolute.

    ``pixels`` is a file u8 (n, s, s, 3); the rest is as :func:`optidel.training.pretrain.pretrain` takes it.
    """

    pixels: Path
    rows: Indices | None
    preset: Preset
    options: PretrainOptions
    seed: int
    checkpoint: Path
    frequencies: Frequencies | None

    def run(self, ranks: Ranks, **calls: Any) -> tuple["PreTrainedModel", pl.DataFrame]:
        """Train, with the others where there are some.

        Args:
            ranks: who trains together.
            calls: what is called meanwhile.
        """
        images: Images = np.load(self.pixels, mmap_mode="r")
        return pretrain(
            images,
            self.rows,
            self.preset,
            self.options,
            seed=self.seed,
            checkpoint=self.checkpoint,
            frequencies=self.frequencies,
            ranks=ranks,
            **calls,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """Some images of a corpus, u8 (m, s, s, 3) in the order of the corpus, and which of them are trained on,
    in which order: ``rows`` int64 (m,).
    """

    pixels: Artifact
    rows: Indices


def take_part(others: Company) -> None:
    """Take part in every training that the first process announces, until it has no more."""
    while (training := others.announced()) is not None:
        training.run(others.ranks)


def pretrain_step(
    store: Store,
    name: str,
    pixels: Artifact,
    rows: Indices | None,
    preset: str,
    options: PretrainOptions,
    seed: int,
    extra: Mapping[str, Artifact],
    loggers: Sequence[str] = (),
    moments: tuple[int, ...] = (),
    frequencies: Frequencies | None = None,
    subset: Subset | None = None,
) -> Artifact:
    """Pre-train an encoder and keep it as a Hugging Face folder with the log of its training.

    Args:
        store: the run.
        name: of the step, ``warmup`` or ``pretrain``.
        pixels: the images, with ``pixels.npy``, u8 (n, s, s, 3), unless there is a ``subset``.
        rows: int64 (m,), rows to train on, best first; None for all.
        preset: name of the model's size.
        options: of the training.
        seed: of weights, masks, views and the order of the images.
        extra: artifacts that ``rows`` came from.
        loggers: what shows the progress; no result depends on it.
        moments: numbers of steps after which the encoder is kept too, beside those of ``options.at``; no part
            of what decides the artifact, for the trained encoder is the same with them.
        frequencies: how often each of ``rows`` is shown; they are those of one of the ``extra`` artifacts.
        subset: where the pixels of the rows that are trained on lie, if not in ``pixels``. Nothing follows
            from it.
    """

    def make(work: Workspace) -> None:
        if work.has("log.parquet"):
            return  # killed between the last file and the manifest

        training = Training(
            pixels=(subset.pixels if subset else pixels).file("pixels.npy").absolute(),
            rows=subset.rows if subset else rows,
            preset=PRESETS[preset],
            options=replace(options, at=tuple(sorted({*options.at, *moments}))),
            seed=seed,
            # A part of the workspace: it goes when the encoder is safe.
            checkpoint=work.part("checkpoint.pt").absolute(),
            frequencies=frequencies,
        )
        size = PRESETS[preset].size
        title = work.path.name.removesuffix(".partial")
        others = company()
        if others:
            others.announce(training)
        with open_loggers(loggers, store.root / FOLDER, title, config) as logged:
            model, log = training.run(
                others.ranks if others else ALONE,
                saved=work.clock,
                reached=lambda step, encoder: save_encoder(encoder, work.path / encoder_at(step), size),
                logged=logged,
            )
        save_encoder(model, work.path / "encoder", PRESETS[preset].size)
        work.write_table("log.parquet", log)

    config = pretrain_config(preset, options, seed)
    return store.build(name, make, version=VERSION, config=config, inputs={"pixels": pixels, **extra})


def encoder_at(step: int | None) -> str:
    """Folder of the encoder after so many steps, inside the artifact; None for the trained one.

    >>> encoder_at(400)
    'encoder-0000400'
    """
    return "encoder" if step is None else f"encoder-{step:07d}"


def pretrain_config(preset: str, options: PretrainOptions, seed: int) -> dict[str, Any]:
    """What decides an encoder beside its images."""
    return {"preset": preset, "options": options.config(), "seed": seed}
