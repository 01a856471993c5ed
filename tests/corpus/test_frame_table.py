"""Packed frames are the frames that were written, in a fraction of the memory."""

from collections.abc import Callable
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from synthetic import frames_of

from optidel.corpus import frames as corpus_frames
from optidel.corpus.frame_table import FrameTable
from optidel.corpus.frames import Corpus
from optidel.corpus.index import index_step
from optidel.corpus.options import IndexOptions
from optidel.records import Frame, from_table, to_table
from optidel.store import Store

texts = st.text(st.characters(codec="utf-8", exclude_characters="#"), min_size=1, max_size=8)
maybe = st.none() | texts
records = st.lists(
    st.builds(
        Frame,
        id=texts,
        source=texts,
        locator=st.sampled_from(["", "axial:1", "axial:2"]),
        height=st.integers(1, 2**40),
        width=st.integers(1, 99),
        channels=st.sampled_from([1, 3]),
        group=maybe,
        modality=maybe,
        sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
        flaw=st.sampled_from(["", "blank"]),
        patient=maybe,
        study=maybe,
        series=maybe,
        video=maybe,
        centre=maybe,
        label=maybe,
        split=maybe,
        seconds=st.none() | st.floats(0, 1e6),
        rule=texts,
    ),
    max_size=12,
)


@hypothesis.settings(max_examples=50, deadline=None)
@hypothesis.given(records, st.booleans())
def test_records_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, frames: list[Frame], derived: bool
) -> None:
    path = tmp_path_factory.mktemp("table") / "frames.parquet"
    table = to_table(Frame, frames)
    if derived:
        name = (
            pl.when(pl.col("locator") == "")
            .then("source")
            .otherwise(pl.concat_str("source", pl.lit("#"), "locator"))
        )
        table = table.with_columns(name.alias("id")).select(table.columns)
    table.write_parquet(path)
    expected = from_table(Frame, table)
    packed = FrameTable(path)
    assert len(packed) == len(expected)
    assert list(packed) == expected
    assert [packed[row] for row in reversed(range(len(expected)))] == expected[::-1]
    assert packed[1:3] == expected[1:3]
    assert packed == expected
    for column in table.columns:
        assert packed.column(column).equals(table[column]), column


def test_a_corpus_reads_the_same_frames_packed(
    make_corpus: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed = index_step(Store(tmp_path / "run"), make_corpus(5), IndexOptions())
    plain = Corpus.load(indexed)
    monkeypatch.setattr(corpus_frames, "FEW", 0)
    packed = Corpus.load(indexed)
    assert isinstance(packed.frames, FrameTable)
    assert packed.frames == plain.frames
    assert packed.frames[-1] == plain.frames[-1]
    with pytest.raises(IndexError):
        packed.frames[5]
    for (row, image), (other, same) in zip(packed.images(range(5)), plain.images(range(5)), strict=True):
        assert row == other
        np.testing.assert_array_equal(image, same)


def test_a_frame_takes_no_more_than_200_bytes(tmp_path: Path) -> None:
    count = 20_000
    frames_of(0, count).write_parquet(tmp_path / "frames.parquet", statistics=False)
    assert FrameTable(tmp_path / "frames.parquet").nbytes <= 200 * count
    assert (tmp_path / "frames.parquet").stat().st_size <= 1000 * count
