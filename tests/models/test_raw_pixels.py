"""Pixels as tokens, against loops; and a bench that shows what they are worth beside encoders."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import torch
from nano import recipe

from optidel.benchmark.load import make_bench
from optidel.benchmark.report import write_bench_report
from optidel.benchmark.runner import run_bench
from optidel.models.presets import PRESETS
from optidel.models.raw_pixels import RawPixels


def test_tokens_are_the_pixels_of_their_patches_and_the_vector_a_small_picture() -> None:
    encoder = RawPixels(PRESETS["tiny"])
    size, patch = encoder.size, encoder.patch
    images = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    x = encoder.normalise(images)
    tokens = encoder.tokens(x)
    assert tokens.shape == (2, encoder.dim, encoder.grid, encoder.grid)
    for row, column in ((0, 0), (1, 3), (encoder.grid - 1, 2)):
        cell = x[1, :, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
        torch.testing.assert_close(tokens[1, :, row, column].sort().values, cell.flatten().sort().values)
    step = size // patch
    expected = x.reshape(2, 3, patch, step, patch, step).mean(dim=(3, 5)).flatten(1)
    torch.testing.assert_close(encoder(x), expected)


def test_a_bench_has_their_row_beside_scratch(
    nano: object, make_corpus: Callable[..., Path], labelled: Path, tmp_path: Path
) -> None:
    values = recipe(make_corpus(), labelled, tmp_path / "none")
    for key in ("out", "budget"):
        values.pop(key)
    values |= {"methods": ["full", "pixels"], "budgets": [0.2], "seeds": [0, 1]}
    values |= {"protocols": ["ridge", "probe", "fine-tune"]}
    out = tmp_path / "bench"
    outcome = run_bench(make_bench(values), out)
    assert not outcome.failed
    rows = pl.read_parquet(out / "results.parquet").filter(pl.col("method") == "pixels")
    assert len(rows) == 6
    assert rows["n_images"].to_list() == [0] * 6
    ridge = rows.filter(pl.col("protocol") == "ridge")["miou"]
    assert ridge.n_unique() == 1  # nothing is drawn
    scratch = pl.read_parquet(out / "results.parquet").filter(pl.col("method") == "scratch")
    assert not set(ridge) & set(scratch["miou"])
    assert "pixels" in write_bench_report(out).read_text()
