from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optidel.records import Composite, Frame, KeyPatch, Rejected, Selection, from_table, to_table

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
pixels = st.integers(0, 100_000)
boxes = st.tuples(pixels, pixels, pixels, pixels)
frames = st.builds(
    Frame,
    id=words,
    source=words,
    locator=words,
    height=pixels,
    width=pixels,
    channels=st.sampled_from([1, 3]),
    group=st.none() | words,
    modality=st.none() | words,
    sha256=words,
    flaw=words,
)
unit = st.floats(0, 1)
patches = st.builds(
    KeyPatch, frame=words, box=boxes, area=pixels, predicted_iou=unit, stability=unit, refused=words
)
composites = st.builds(
    Composite,
    id=words,
    sources=st.lists(words, max_size=4).map(tuple),
    boxes=st.lists(boxes, max_size=4).map(tuple),
    side=pixels,
)


@given(st.lists(frames, max_size=4))
def test_frames_come_back_from_a_table(records: list[Frame]) -> None:
    assert from_table(Frame, to_table(Frame, records)) == records


@given(st.lists(patches, max_size=4))
def test_key_patches_come_back_from_a_table(records: list[KeyPatch]) -> None:
    assert from_table(KeyPatch, to_table(KeyPatch, records)) == records


@given(st.lists(composites, max_size=4))
def test_composites_come_back_from_a_table(records: list[Composite]) -> None:
    assert from_table(Composite, to_table(Composite, records)) == records


@pytest.mark.parametrize("kind", [Frame, Rejected, KeyPatch, Composite])
def test_columns_have_their_types_even_when_there_is_no_row(kind: type, tmp_path: Path) -> None:
    to_table(kind, []).write_parquet(tmp_path / "empty.parquet")
    table = pl.read_parquet(tmp_path / "empty.parquet")
    assert table.columns == list(kind.__slots__)
    assert pl.Null not in table.dtypes
    assert from_table(kind, table) == []


def test_types_in_a_table_are_those_of_the_fields() -> None:
    frame = Frame(
        id="a.png",
        source="a.png",
        locator="",
        height=2,
        width=3,
        channels=1,
        group=None,
        modality=None,
        sha256="0" * 64,
        flaw="",
    )
    table = to_table(Frame, [frame])
    assert table.schema["group"] == pl.String  # all null, and still text
    assert table.schema["height"] == pl.Int64
    assert to_table(Composite, []).schema["boxes"] == pl.List(pl.List(pl.Int64))
    assert to_table(KeyPatch, []).schema["stability"] == pl.Float64


def test_records_are_frozen_keyword_only_and_slotted() -> None:
    rejected = Rejected(source="a.png", reason="zero bytes")
    with pytest.raises(FrozenInstanceError):
        rejected.reason = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        Rejected("a.png", "zero bytes")  # type: ignore[misc]
    assert not hasattr(rejected, "__dict__")


def test_a_selection_says_why_for_each_item() -> None:
    selection = Selection(
        indices=np.array([2, 0]),
        gains=np.array([1.0, 0.5]),
        kept_twin=np.array([-1, 0, -1]),
        similarity=np.array([np.nan, 0.9, np.nan]),
        reason=np.array(["kept", "near-duplicate", "kept"]),
    )
    assert [str(selection.reason[i]) for i in selection.indices] == ["kept", "kept"]
