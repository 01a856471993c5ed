"""The samples that other tests mutate and pack are valid, and every ending is known."""

import re
from pathlib import Path

import numpy as np
import pytest
from samples import ALIASES, samples

from optidel.readers import READERS, DecodeOptions, reader_for
from optidel.readers.source import Source


def test_every_ending_has_a_sample() -> None:
    assert set(samples()) == {ALIASES.get(ending, ending) for ending in READERS}


@pytest.mark.parametrize("ending", samples())
def test_frames_are_what_the_contract_says(ending: str) -> None:
    for data in samples()[ending]:
        source = Source(name=f"a{ending}", data=data)
        reader = reader_for(source)
        assert reader
        frames = list(reader(source, DecodeOptions(every=0.2), None))
        assert frames
        assert len({frame.locator for frame in frames}) == len(frames)
        assert all(frame.locator for frame in frames) or len(frames) == 1
        for frame in frames:
            values, pixels = frame.values, frame.pixels
            assert values.ndim == 3
            assert values.shape[2] in (1, 3)
            assert values.flags.c_contiguous
            assert values.dtype.isnative
            assert pixels.dtype == np.float32
            assert pixels.shape == values.shape
            assert pixels.min() >= 0
            assert pixels.max() <= 1
            assert pixels.std() > 0.01  # something is to be seen
            assert frame.image.dtype == np.uint8
            np.testing.assert_array_equal(frame.image, np.round(pixels * 255).astype(np.uint8))
            assert frame.rule
        # some of them again: the same pixels, nothing else, in the order of the file
        some = frames[1::2] or frames
        again = list(reader(source, DecodeOptions(), {frame.locator for frame in some}))
        assert [frame.locator for frame in again] == [frame.locator for frame in some]
        for frame, other in zip(some, again, strict=True):
            np.testing.assert_array_equal(frame.pixels, other.pixels)
            assert (frame.low, frame.high, frame.rule, frame.seconds) == (
                other.low,
                other.high,
                other.rule,
                other.seconds,
            )


@pytest.mark.parametrize("ending", [".jpg", ".png", ".bmp", ".webp", ".gif", ".tif", ".dcm", ".nii", ".npy"])
def test_files_without_an_ending_are_recognised(ending: str) -> None:
    for name in ("IM000001", "1.2.840.113619.2.5", "row:17"):
        source = Source(name=name, data=samples()[ending][0])
        reader = reader_for(source)
        assert reader
        assert next(reader(source, DecodeOptions(), None)).values.size


def test_unknown_bytes_have_no_reader() -> None:
    assert reader_for(Source(name="notes.txt", data=b"hello")) is None
    assert reader_for(Source(name="empty", data=b"")) is None
    assert reader_for(Source(name=".png", data=b"hello")) is None


@pytest.mark.parametrize(
    ("page", "least"), [("formats.md", 50), ("corpus.md", 10), ("results/faults.md", 40)]
)
def test_every_test_that_a_page_names_exists(page: str, least: int) -> None:
    folder = Path(__file__).parent
    named = re.findall(r"`(test_\w+)(?:::(test_\w+))?`", (folder.parents[1] / "docs" / page).read_text())
    assert len(named) >= least
    for module, name in named:
        files = list(folder.parent.rglob(f"{module}.py"))
        assert any(f"def {name}(" in file.read_text() for file in files), (
            f"docs/{page} names {module}::{name}"
        )
