"""A fair part of the evidence on one GPU: ``python benchmarks/gpu.py PACK --out FOLDER`` stops within nine
minutes.

PACK is what ``benchmarks/pack.py`` wrote. The corpus lies on the device as bytes. A masked autoencoder is
warmed up on it once; its whitened embedding and its errors are what every method chooses from. Then encoders
are trained one after another, seed by seed, each on the same number of images, and measured by held-out
V-entropy and by a closed-form probe on each labelled set. Every finished encoder is a line in
``FOLDER/trials.jsonl``; run again, with more seeds, it goes on where it stopped. ``--preset tiny`` runs on a
CPU.

It needs an installation of this project with its libraries.
"""

import argparse
import copy
import io
import json
import math
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))  # measures the source beside it

from gpu_trainer import Trainer, normal

from optidel.evaluation.ridge import fit_probe, with_neighbours
from optidel.features import whitening
from optidel.methods import count_for, select
from optidel.models.encoders import Encoder
from optidel.models.mae import complementary_noise, patch_errors
from optidel.models.presets import Preset

MINUTES = 9.0
RESERVE_SECONDS = 15.0
"""Kept back at the end: what has been measured is written after every encoder."""

PRESETS = {
    "tiny": Preset(
        size=64, patch=8, width=96, depth=3, heads=3, decoder_width=48, decoder_depth=1, decoder_heads=3
    ),
    "small": Preset(
        size=112, patch=16, width=384, depth=12, heads=6, decoder_width=256, decoder_depth=4, decoder_heads=8
    ),
}
"""ViT-S/16 at 112 px, and a model that a CPU trains in seconds for the test of this script."""

METHODS = ("optidel-paper", "squares", "optidel", "meddel", "d4", "hierarchical-kmeans")
"""Beside full and random: the papers' composites of hard, diverse key patches, the same of squares drawn at
random (what of it is composing alone?), ours, and the rivals that did best on the CPU."""

COMPOSED = ("optidel-paper", "squares")
TILES = 2
"""Of a composite along a side: 2 x 2, as published."""
SQUARE = 4 / 7
"""Side of a key patch as a share of the image's: 64 of 112 px, which a tile of 56 px shows nearly at its own
scale."""

BUDGETS = (0.01, 0.05)
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bf16, from the vendors' data sheets."""

TRAIN_IMAGES, TEST_IMAGES = 200, 520
"""Of each labelled set, as on the CPU: 80 hearts would be four patients."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A labelled set on the device: images u8 (n, 3, s, s), masks u8 (n, s, s), groups (n,)."""

    name: str
    images: Tensor
    masks: Tensor
    groups: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """The corpus on the device: images u8 (n, 3, s, s), rows that may be chosen, rows that are held out."""

    images: Tensor
    pool: np.ndarray
    holdout: np.ndarray
    tasks: tuple[Task, ...]


@dataclass(frozen=True, kw_only=True, order=True)
class Trial:
    """One encoder: what it is trained on, and its seed."""

    seed: int
    budget: float
    method: str

    @property
    def key(self) -> str:
        """Its name in the results."""
        return f"{self.method}@{self.budget:g}#{self.seed}"


@dataclass(kw_only=True)
class Result:
    """What was measured of one encoder."""

    trial: Trial
    images: int
    loss: float = math.nan
    entropy: float = math.nan
    error: float = math.nan
    miou: dict[str, float] = field(default_factory=dict)
    seconds: float = math.nan
    mfu: float = math.nan


def unpack(pack: Any, name: str, offsets: str, size: int, mode: str, device: torch.device) -> Tensor:
    """Decode blobs on all cores; u8 on the device, channels first."""
    data, bounds = pack[name], pack[offsets]

    def decode(row: int) -> np.ndarray:
        with PillowImage.open(io.BytesIO(data[bounds[row] : bounds[row + 1]].tobytes())) as image:
            return np.asarray(
                image.convert(mode).resize((size, size)) if image.size[0] != size else image.convert(mode)
            )

    with ThreadPoolExecutor() as pool:
        values = np.stack(list(pool.map(decode, range(len(bounds) - 1))))
    tensor = torch.from_numpy(values)
    return (tensor.permute(0, 3, 1, 2) if tensor.ndim == 4 else tensor).contiguous().to(device)


def load(path: Path, size: int, device: torch.device) -> Corpus:
    """Read a pack."""
    pack = np.load(path, allow_pickle=False)
    tasks = []
    for name in sorted({key.partition(".")[0] for key in pack.files if "." in key}):
        images = unpack(pack, f"{name}.images", f"{name}.image_offsets", size, "RGB", device)
        masks = unpack(pack, f"{name}.masks", f"{name}.mask_offsets", size, "L", device)
        tasks.append(Task(name=name, images=images, masks=masks, groups=pack[f"{name}.groups"]))
    return Corpus(
        images=unpack(pack, "data", "offsets", size, "RGB", device),
        pool=np.flatnonzero(~pack["holdout"]),
        holdout=np.flatnonzero(pack["holdout"]),
        tasks=tuple(tasks),
    )


def flops_of(preset: Preset) -> float:
    """Floating-point operations of one training image: three times the forward pass (Kaplan et al. 2020), the
    attention matrices included.
    """

    def transformer(tokens: float, width: int, depth: int) -> float:
        return depth * (24 * tokens * width**2 + 4 * tokens**2 * width)

    patches = preset.grid**2
    encoder = transformer(patches / 4 + 1, preset.width, preset.depth)
    decoder = transformer(patches + 1, preset.decoder_width, preset.decoder_depth)
    return 3 * (encoder + decoder)


@torch.no_grad()
def scores(model: Any, images: Tensor, preset: Preset, block: int = 512) -> tuple[Tensor, Tensor]:
    """Mean token (n, width) and mean squared error of each patch (n, grid, grid), over four masks that hide
    each patch three times.
    """
    noise = complementary_noise(preset.grid**2, torch.Generator().manual_seed(0)).to(images.device)
    vectors, errors = [], []
    for start in range(0, len(images), block):
        x = normal(images[start : start + block])
        pooled = torch.zeros(len(x), preset.width, device=x.device)
        error = torch.zeros(len(x), preset.grid**2, device=x.device)
        hidden = torch.zeros_like(error)
        for row in noise:
            with torch.autocast(x.device.type, torch.bfloat16):
                error_NL, mask_NL, tokens_NLD = patch_errors(model, x, row.expand(len(x), -1))
            pooled += tokens_NLD[:, 1:].float().mean(1) / len(noise)
            error += error_NL * mask_NL
            hidden += mask_NL
        vectors.append(pooled)
        errors.append((error / hidden.clamp(min=1)).view(len(x), preset.grid, preset.grid))
    return torch.cat(vectors), torch.cat(errors)


def entropy(error: float, null_error: float) -> float:
    """Held-out V-entropy H(Y|X), nats a pixel value: Gaussian, its variance that of the null model."""
    return 0.5 * (error / null_error + math.log(2 * math.pi * null_error))


@torch.no_grad()
def features(encoder: Encoder, images: Tensor, block: int = 256) -> np.ndarray:
    """Frozen tokens beside the mean of their neighbourhood: float32 (n, grid, grid, 2 · width)."""
    tokens = []
    for start in range(0, len(images), block):
        with torch.autocast(images.device.type, torch.bfloat16):
            maps_NDGG = encoder.tokens(normal(images[start : start + block]))
        tokens.append(maps_NDGG.float().permute(0, 2, 3, 1).cpu().numpy())
    return with_neighbours(np.concatenate(tokens))


def probe_miou(encoder: Encoder, task: Task, seed: int) -> float:
    """Closed-form probe on frozen tokens, tested at the pack's resolution; the mean over foreground classes
    of the intersection over union of all test pixels.
    """
    training, test = split_groups(task.groups, seed)
    classes = int(task.masks.max()) + 1
    masks = task.masks[training].cpu().numpy()
    x = features(encoder, task.images[training])
    probe = fit_probe(lambda rows: x[rows], masks, classes, task.groups[training].astype(str).tolist())

    logits = torch.from_numpy(probe.logits(features(encoder, task.images[test])))
    side = task.masks.shape[-1]
    predicted = torch.nn.functional.interpolate(logits, (side, side), mode="bilinear").argmax(1)
    truth = task.masks[test].cpu()
    overlaps = []
    for number in range(1, classes):
        hit, labelled = predicted == number, truth == number
        overlaps.append(float((hit & labelled).sum() / (hit | labelled).sum().clamp(min=1)))
    return statistics.fmean(overlaps)


def split_groups(groups: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train and to test on, no group on both sides; the same for every encoder of a seed."""
    order = np.random.default_rng(seed).permutation(int(groups.max()) + 1)
    ranks = np.argsort(order)[groups]
    rows = np.argsort(ranks, kind="stable")
    training = rows[:TRAIN_IMAGES]
    test = rows[~np.isin(groups[rows], groups[training])][:TEST_IMAGES]
    return training, test


def trials(seeds: Sequence[int], methods: Sequence[str], budgets: Sequence[float]) -> Iterator[Trial]:
    """Seed by seed, the references first: every prefix is a fair comparison."""
    for seed in seeds:
        yield Trial(seed=seed, budget=1.0, method="full")
        for budget in budgets:
            for method in ("random", *methods):
                yield Trial(seed=seed, budget=budget, method=method)


@dataclass(kw_only=True)
class Scored:
    """What selection reads of the pool: whitened embeddings (n, d), and the error of each patch (n, g, g)."""

    vectors: np.ndarray
    errors: Tensor

    @property
    def difficulty(self) -> np.ndarray:
        """The mean error of each image, float64 (n,)."""
        return self.errors.double().mean((1, 2)).cpu().numpy()


def training_set(trial: Trial, corpus: Corpus, scored: Scored) -> tuple[Tensor, np.ndarray]:
    """What a trial trains on: images u8 on the device, and which of them."""
    if trial.method == "full":
        return corpus.images, corpus.pool
    if trial.method in COMPOSED:
        composites = compose(trial, corpus, scored)
        return composites, np.arange(len(composites))
    selection = select(
        scored.vectors,
        trial.method,
        trial.budget,
        difficulty=scored.difficulty,
        seed=trial.seed,
    )
    return corpus.images, corpus.pool[selection.indices]


def compose(trial: Trial, corpus: Corpus, scored: Scored) -> Tensor:
    """New images of one square each from four times as many images, u8 (count, 3, s, s).

    ``optidel-paper`` takes the square with the largest mean error of every image, and of these the hardest
    that are diverse; ``squares`` takes images and squares at random.
    """
    rng = np.random.default_rng(trial.seed)
    grid = scored.errors.shape[-1]
    cells = round(SQUARE * grid)
    errors_of_places = F.avg_pool2d(scored.errors[:, None], cells, stride=1).flatten(
        1
    )  # of each place of a square
    count = count_for(trial.budget, len(corpus.pool))
    if trial.method == "squares":
        chosen = rng.choice(len(corpus.pool), TILES**2 * count, replace=False)
        places = rng.integers(errors_of_places.shape[1], size=len(chosen))
    else:
        hardest, place = errors_of_places.max(1)
        selection = select(
            scored.vectors,
            "optidel-paper",
            TILES**2 * count,
            difficulty=hardest.double().cpu().numpy(),
            seed=trial.seed,
        )
        chosen = rng.permutation(selection.indices)
        places = place.cpu().numpy()[chosen]

    side = corpus.images.shape[-1]
    pixels = side // grid
    tile = side // TILES
    composites = torch.zeros(count, 3, side, side, dtype=torch.uint8, device=corpus.images.device)
    for number, (row, position) in enumerate(zip(corpus.pool[chosen].tolist(), places.tolist(), strict=True)):
        top, left = (cell * pixels for cell in divmod(position, grid - cells + 1))
        square = corpus.images[row, :, top : top + cells * pixels, left : left + cells * pixels]
        shown = F.interpolate(square[None].float(), (tile, tile), mode="bilinear", antialias=True)[0]
        image, place_in_image = divmod(number, TILES**2)
        y, x = (tile * index for index in divmod(place_in_image, TILES))
        composites[image, :, y : y + tile, x : x + tile] = shown.round().clamp(0, 255).byte()
    return composites


def measure(
    trial: Trial,
    corpus: Corpus,
    scored: Scored,
    trainer: Trainer,
    null_error: float,
    arguments: argparse.Namespace,
) -> Result:
    """Train one encoder and measure it."""
    preset, model = trainer.preset, trainer.model
    images, rows = training_set(trial, corpus, scored)
    started = time.perf_counter()
    loss = trainer.train(images, rows, steps=arguments.steps, seed=trial.seed)
    seconds = time.perf_counter() - started
    _, errors = scores(
        model, corpus.images[torch.from_numpy(corpus.holdout).to(corpus.images.device)], preset
    )
    error = float(errors.mean())
    # An encoder hides no patch, and says so in the configuration that it shares: it gets a copy.
    encoder = Encoder(copy.deepcopy(model.vit), preset.size).to(corpus.images.device).eval()
    with ThreadPoolExecutor() as pool:  # the probes run on the CPU's cores, one set each
        mious = list(pool.map(lambda task: probe_miou(encoder, task, trial.seed), corpus.tasks))
    peak = next(
        (flops for name, flops in PEAK_FLOPS.items() if name in device_name(corpus.images.device)), math.nan
    )
    return Result(
        trial=trial,
        images=len(rows),
        loss=loss,
        error=error,
        entropy=entropy(error, null_error),
        miou=dict(zip([task.name for task in corpus.tasks], mious, strict=True)),
        seconds=seconds,
        mfu=flops_of(preset) * arguments.steps * arguments.batch / seconds / peak,
    )


def device_name(device: torch.device) -> str:
    """The accelerator's name, or the kind of device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def null_error_of(corpus: Corpus, preset: Preset) -> float:
    """Mean squared error of the model that knows the mean image of the pool and nothing else, held out."""
    device = corpus.images.device
    sample = corpus.pool[:: max(1, len(corpus.pool) // 4096)]  # 4,096 images settle a mean to under a level
    mean = normal(corpus.images[torch.from_numpy(sample).to(device)]).mean(0)
    held_out = normal(corpus.images[torch.from_numpy(corpus.holdout).to(device)])
    return float((held_out - mean).square().mean())


def read_results(path: Path) -> list[dict[str, Any]]:
    """Lines written so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main() -> None:
    """Run until the trials or the time are over."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pack", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--budgets", default=",".join(map(str, BUDGETS)))
    parser.add_argument("--preset", default="small", choices=sorted(PRESETS))
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--capture", action=argparse.BooleanOptionalAction, default=True)
    arguments = parser.parse_args()

    started = time.monotonic()
    torch.set_float32_matmul_precision("high")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    preset = PRESETS[arguments.preset]
    corpus = load(arguments.pack, preset.size, device)
    arguments.out.mkdir(parents=True, exist_ok=True)
    lines = arguments.out / "trials.jsonl"
    finished = {row["key"] for row in read_results(lines)}
    setting = {"device": device_name(device), "torch": torch.__version__, "preset": arguments.preset}
    setting |= {"steps": arguments.steps, "batch": arguments.batch, "pool": len(corpus.pool)}

    trainer = Trainer(preset, device, arguments.batch, capture=arguments.capture)
    trainer.train(
        corpus.images,
        corpus.pool,
        steps=max(1, arguments.steps // 4),
        seed=1_000_003,  # no seed of a trial
    )
    vectors, errors = scores(trainer.model, corpus.images[torch.from_numpy(corpus.pool).to(device)], preset)
    raw = vectors.cpu().numpy()
    scored = Scored(vectors=whitening.fit(raw).transform(raw), errors=errors)
    null_error = null_error_of(corpus, preset)
    print(
        f"{len(corpus.pool)} images, warm-up and embedding after {time.monotonic() - started:.0f} s",
        flush=True,
    )

    ended = "done"
    longest = 0.0
    for trial in trials(
        [int(seed) for seed in arguments.seeds.split(",")],
        [name for name in arguments.methods.split(",") if name],
        [float(budget) for budget in arguments.budgets.split(",")],
    ):
        if trial.key in finished:
            continue
        if time.monotonic() - started + longest + RESERVE_SECONDS > 60 * arguments.minutes:
            ended = "out of time"
            break
        began = time.monotonic()
        result = measure(trial, corpus, scored, trainer, null_error, arguments)
        longest = max(longest, time.monotonic() - began)
        with lines.open("a") as handle:
            handle.write(json.dumps({"key": trial.key, **asdict(result), **setting}) + "\n")
        tasks = "  ".join(f"{name} {value:.3f}" for name, value in result.miou.items())
        speed = "" if math.isnan(result.mfu) else f"  MFU {result.mfu:.0%}"
        print(
            f"{trial.key:<32}{result.images:>7} images  H {result.entropy:.4f}  {tasks}  "
            f"{result.seconds:.1f} s{speed}",
            flush=True,
        )
    summary = {
        "ended": ended,
        "trials": len(read_results(lines)),
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
