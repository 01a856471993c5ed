"""Speed as ratios within one run: ``make bench`` writes benchmarks/run.json and prints a table.

1. Embedding: the embed step against the bare forward pass over the same images, batches and threads; also
    with decoding included.
2. Key patches: error-guided prompts against the 32 x 32 grid, same backend, same images.
"""

import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage import data, transform

from optidel.corpus.index import index_step
from optidel.corpus.options import IndexOptions
from optidel.features.embedding import BLOCK
from optidel.features.overlay import forbidden
from optidel.features.patches import key_patches
from optidel.features.prompts import error_points, grid_points
from optidel.models.encoders import normalise, save_encoder
from optidel.models.mae import build_mae, complementary_noise, score
from optidel.models.mask_generators import load_mask_generator
from optidel.models.presets import PRESETS
from optidel.pipeline.steps.embed import embed_step
from optidel.pipeline.steps.pixels import pixels_step
from optidel.pipeline.weights import Weights
from optidel.store import Store

IMAGES = 1024
ROUNDS = 3
OUT = Path(__file__).with_name("run.json")


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def write_corpus(folder: Path, count: int) -> None:
    """Crops of real histology and retina pictures as JPEG, 384 x 308 px, the size of a common endoscopy
    still.
    """
    folder.mkdir()
    rng = np.random.default_rng(0)
    sources = [data.immunohistochemistry(), data.retina()]
    for number in range(count):
        picture = sources[number % 2]
        side = int(rng.integers(200, 400))
        y, x = (int(rng.integers(0, length - side)) for length in picture.shape[:2])
        crop = transform.resize(picture[y : y + side, x : x + side], (308, 384), preserve_range=True).astype(
            np.uint8
        )
        Image.fromarray(crop).save(folder / f"{number:05d}.jpg", quality=90)


def embedding(root: Path) -> dict[str, float]:
    """Images a second of the bare forward pass, of the embed step, and of decoding plus the embed step."""
    write_corpus(root / "corpus", IMAGES)
    store = Store(root / "run")
    preset = PRESETS["tiny"]
    model = build_mae(preset, torch.Generator().manual_seed(0)).eval()
    save_encoder(model, root / "mae", preset.size)
    mae = Weights(name=str(root / "mae"))
    indexed = index_step(store, root / "corpus", IndexOptions())
    decode = seconds(lambda: pixels_step(store, indexed, preset.size))
    pixels = pixels_step(store, indexed, preset.size)
    images = np.array(pixels.array("pixels.npy"))
    noise = complementary_noise(preset.grid**2, torch.Generator().manual_seed(0))
    batches = [
        normalise(images[start : start + BLOCK], torch.device("cpu")) for start in range(0, IMAGES, BLOCK)
    ]

    def bare() -> None:
        for batch in batches:
            score(model, batch, noise)

    bare()
    pairs = []
    for turn in range(ROUNDS):
        forward = seconds(bare)
        step = seconds(lambda turn=turn: embed_step(store, pixels, mae, None, turn))  # type: ignore[misc]
        pairs.append((forward, step))
    forward = statistics.median(pair[0] for pair in pairs)
    step = statistics.median(pair[1] for pair in pairs)
    return {
        "images": IMAGES,
        "bare_images_per_second": IMAGES / forward,
        "embed_images_per_second": IMAGES / step,
        "embed_to_bare": statistics.median(pair[0] / pair[1] for pair in pairs),
        "embed_with_decoding_to_bare": forward / (step + decode),
    }


def key_patch_prompting(images: int = 3) -> dict[str, float | str]:
    """Seconds an image with a handful of error-guided points (median), and of one image with 1,024 grid
    points.
    """
    generator = load_mask_generator("auto")
    rng = np.random.default_rng(0)
    pictures = [
        transform.resize(data.retina(), (308, 384), preserve_range=True).astype(np.uint8)
        for _ in range(images)
    ]

    def one(picture: np.ndarray, points: np.ndarray) -> None:
        key_patches("x", picture, generator(picture, points), forbidden(picture))

    error_map = rng.random((8, 8)).astype(np.float32)
    guided, grid = error_points(error_map, 308, 384, 8), grid_points(308, 384)
    one(pictures[0], guided)
    fast = statistics.median(seconds(lambda picture=picture: one(picture, guided)) for picture in pictures)  # type: ignore[misc]
    slow = seconds(lambda: one(pictures[0], grid))
    return {
        "backend": generator.name,
        "guided_points": len(guided),
        "guided_seconds": fast,
        "grid_points": len(grid),
        "grid_seconds": slow,
        "grid_to_guided": slow / fast,
    }


def main() -> None:
    """Run both and write the results."""
    with tempfile.TemporaryDirectory() as folder:
        found = {
            "machine": {
                "processor": platform.processor() or platform.machine(),
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
            },
            "embedding": embedding(Path(folder)),
            "key_patches": key_patch_prompting(),
        }
    OUT.write_text(json.dumps(found, indent=1) + "\n")
    for name, values in found.items():
        print(name)
        for key, value in values.items():
            print(f"  {key:<30}{value:>12.3f}" if isinstance(value, float) else f"  {key:<30}{value:>12}")


if __name__ == "__main__":
    main()
