"""The mixture of concepts at which short trials expect the least held-out V-entropy."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64

from optidel.arrays import ImageRows, Images, Indices, Vectors
from optidel.corpus.pixels import images_at, where_images_are
from optidel.errors import InputError
from optidel.features.clusters import cluster
from optidel.features.rows import evenly_spaced
from optidel.methods.mixture import draw_mixture, fit_mixture, propose_mixtures
from optidel.models.presets import PRESETS, Preset
from optidel.pipeline.steps.whiten import sound_rows
from optidel.progress import say
from optidel.runs.summaries import MixtureSummary, write_summary
from optidel.store import PARTS, Artifact, Store, Workspace
from optidel.training.options import PretrainOptions
from optidel.training.precision import device
from optidel.training.pretrain import pretrain
from optidel.vinformation.models import mae_information

# Of the corpus, the part that a proxy is trained on: with all of it every mixture would be the same set.
PART = 0.25

# Held-out images that a proxy is measured on at most, evenly spaced; its entropy is compared with that of
# others on the same images, so their choice cancels.
HELD_OUT = 1_000

# A share of 0 could not be drawn from where the other concepts do not last.
LEAST_SHARE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureOptions:
    """``proxies``: trainings; ``concepts``: clusters of the corpus at most; ``training``: of each proxy."""

    proxies: int
    concepts: int
    training: PretrainOptions


def proxy_preset(preset: Preset) -> Preset:
    """A model of half the width and half the depth: a step of it takes an eighth of the operations.

    >>> small = proxy_preset(PRESETS["tiny"])
    >>> small.width, small.depth, small.decoder_width
    (96, 3, 48)
    """
    return replace(
        preset,
        width=preset.width // 2,
        depth=max(1, preset.depth // 2),
        decoder_width=preset.decoder_width // 2,
        decoder_depth=max(1, preset.decoder_depth // 2),
    )


def mixture_step(
    store: Store,
    indexed: Artifact,
    pixels: Artifact,
    unseen: Artifact,
    vectors: Artifact,
    preset: str,
    options: MixtureOptions,
    seed: int,
) -> Artifact:
    """Find the shares of concepts for which a regression over short trials expects the least held-out
    V-entropy.

    Writes ``concepts.npy`` int64 (n,), concept of each frame and −1 for worthless ones, ``shares.npy``
    float64 (k,), and ``proxies.parquet``: h and the share of each concept, a row a proxy. Where the
    regression predicts no better than the mean of the proxies, the shares are those of the corpus.

    Args:
        store: the run.
        indexed: the corpus.
        pixels: every frame at the model's size.
        unseen: held-out images at the model's size.
        vectors: artifact with ``vectors.npy``, as methods compare them.
        preset: name of the size that the proxies are half of.
        options: how many proxies, and how they are trained.
        seed: of the concepts, of the mixtures, and of every proxy: all start from the same weights.

    Raises:
        InputError: the corpus is one concept.

    Source: RegMix (Liu et al. 2025, arXiv 2407.01492).
    """

    def make(work: Workspace) -> None:
        rows = sound_rows(indexed)
        compared = np.asarray(vectors.array("vectors.npy")[rows])
        labels = _concepts(compared, options.concepts, np.random.default_rng(seed))
        mixtures = propose_mixtures(labels, options.proxies, np.random.default_rng([seed, 1]))

        held_out: Images = unseen.array("pixels.npy")
        trial = _Trial(
            images=images_at(where_images_are(pixels)),
            rows=rows,
            vectors=compared,
            labels=labels,
            held_out=np.asarray(held_out[evenly_spaced(len(held_out), HELD_OUT)]),
            preset=proxy_preset(PRESETS[preset]),
            training=options.training,
            seed=seed,
        )
        loss = _losses(work, trial, mixtures)
        fitted = fit_mixture(mixtures, loss, np.random.default_rng([seed, 2]))
        explains = fitted.error < fitted.spread
        if not explains:
            say(
                f"mixture: the shares do not explain the held-out loss (error {fitted.error:.4f}, spread "
                f"{fitted.spread:.4f}), so those of the corpus are taken"
            )

        concepts = np.full(len(trial.images), -1, np.int64)
        concepts[rows] = labels
        work.write_array("concepts.npy", concepts)
        work.write_array("shares.npy", fitted.shares if explains else mixtures[0])
        columns = {f"share {number}": share for number, share in enumerate(mixtures.T)}
        work.write_table("proxies.parquet", pl.DataFrame({"h": loss, **columns}))
        summary = MixtureSummary(
            proxies=options.proxies,
            concepts=mixtures.shape[1],
            images=trial.count,
            predicted=fitted.predicted,
            predicted_natural=fitted.predicted_natural,
            error=fitted.error,
            spread=fitted.spread,
            explains=explains,
        )
        write_summary(work, summary)

    config: dict[str, Any] = {
        "preset": preset,
        "proxies": options.proxies,
        "concepts": options.concepts,
        "training": options.training.config(),
        "part": PART,
        "held_out": HELD_OUT,
        "seed": seed,
    }
    inputs = {"index": indexed, "pixels": pixels, "unseen": unseen, "vectors": vectors}
    return store.build("mixture", make, version=1, config=config, inputs=inputs)


def _concepts(vectors: Vectors, most: int, rng: np.random.Generator) -> Int64[np.ndarray, "m"]:
    """Concept of each row, numbered without gaps.

    Raises:
        InputError: there is one concept alone.
    """
    clusters = cluster(vectors, min(most, len(vectors)), rng=rng)
    names, labels = np.unique(clusters.labels, return_inverse=True)
    if len(names) < 2:
        raise InputError(
            "the frames are all alike, so there is no mixture of concepts to choose; use another method"
        )
    return labels.astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """What every proxy has in common."""

    images: ImageRows
    rows: Indices
    vectors: Vectors
    labels: Int64[np.ndarray, "m"]
    held_out: Images
    preset: Preset
    training: PretrainOptions
    seed: int

    @property
    def count(self) -> int:
        """Images that a proxy is trained on."""
        shown = self.training.steps * self.training.batch
        wanted = max(self.training.batch, min(round(PART * len(self.rows)), shown))
        return min(wanted, len(self.rows))

    def entropy(self, number: int, shares: Float64[np.ndarray, "k"], checkpoint: Path) -> float:
        """Held-out V-entropy of a proxy trained on a draw of a mixture, nats per value."""
        rng = np.random.default_rng([self.seed, 3, number])
        shares = np.maximum(shares, LEAST_SHARE)
        drawn = draw_mixture(self.vectors, self.labels, shares, self.count, rng=rng).indices
        # The order of the draw says nothing, and rows in order are read fastest.
        rows = np.sort(self.rows[drawn])
        model, _ = pretrain(
            self.images, rows, self.preset, self.training, seed=self.seed, checkpoint=checkpoint
        )
        measured = mae_information(model.to(device()), self.held_out, shared_variance=True)
        return measured.h_conditional / measured.values


def _losses(work: Workspace, trial: _Trial, mixtures: Float64[np.ndarray, "p k"]) -> Float64[np.ndarray, "p"]:
    """Held-out V-entropy of a proxy on each mixture; proxies finished before a kill are not trained again."""
    losses = []
    for number, shares in enumerate(mixtures):
        name = f"{PARTS}/proxy-{number}.npy"
        if not work.has(name):
            entropy = trial.entropy(number, shares, work.part(f"proxy-{number}.pt"))
            say(f"mixture: proxy {number + 1} of {len(mixtures)}, H {entropy:.4f}")
            work.write_array(name, np.array(entropy))
        losses.append(float(np.load(work.path / name)))
    return np.array(losses)
