"""The index keeps every good frame, quarantines every bad file with its reason, and does not depend on where
the folder lies.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import optidel
from optidel.corpus.index import index_step
from optidel.corpus.options import IndexOptions
from optidel.errors import InputError
from optidel.store import Store


def spoil(folder: Path) -> dict[str, str]:
    """Add bad files; file name to a part of the expected reason."""
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.txt").write_text("hello")
    (folder / "fake.jpg").write_text("not an image at all")
    good = next(folder.glob("image-*"))
    Image.open(good).save(folder / "whole.jpg")
    data = (folder / "whole.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(data[: len(data) // 2])
    Image.new("L", (1, 1)).save(folder / "dot.png")
    (folder / "link.png").symlink_to(folder / "nowhere.png")
    return {
        "empty.png": "zero bytes",
        "text.txt": "'.txt'",
        "fake.jpg": "is no image",
        "cut.jpg": "Premature end of JPEG file",
        "dot.png": "1 x 1 px",
        "link.png": "leads nowhere",
    }


def test_bad_files_are_quarantined(
    make_corpus: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_corpus(5)
    expected = spoil(folder)
    corpus = optidel.index(folder)
    assert [frame.id for frame in corpus.frames] == [*(f"image-{i:03d}.png" for i in range(5)), "whole.jpg"]
    reasons = {item.source: item.reason for item in corpus.rejected}
    assert reasons.keys() == expected.keys()
    for source, part in expected.items():
        assert part in reasons[source], (source, reasons[source])
        assert str(folder) not in reasons[source]
    assert "6 files quarantined" in capsys.readouterr().err


def test_frames_say_what_they_are(make_corpus: Callable[..., Path]) -> None:
    folder = make_corpus(2)
    shutil.copy(folder / "image-000.png", folder / "z-copy.png")
    corpus = optidel.index(folder)
    first, second, copy = corpus.frames
    assert (first.height, first.width, first.channels) == (72, 96, 3)
    assert first.sha256 == copy.sha256 != second.sha256
    pixels = corpus.pixels(0)
    assert pixels.dtype == np.float32
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    np.testing.assert_array_equal(corpus.image(0), np.asarray(Image.open(folder / "image-000.png")))


def test_nothing_readable(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder or file"):
        optidel.index(tmp_path / "gone")
    with pytest.raises(InputError, match="is empty"):
        optidel.index(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match=r"holds no readable image: 1 file set aside"):
        optidel.index(tmp_path)


def test_one_file_is_a_corpus(make_corpus: Callable[..., Path]) -> None:
    assert len(optidel.index(make_corpus(2) / "image-001.png")) == 1


def test_content_ignores_place_and_time(make_corpus: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_corpus(3)
    shutil.copytree(folder, tmp_path / "elsewhere", copy_function=shutil.copy)
    store = Store(tmp_path / "run")
    one, two = (index_step(store, place, IndexOptions()) for place in (folder, tmp_path / "elsewhere"))
    assert one.content == two.content
    (folder / "image-000.png").unlink()
    assert index_step(store, folder, IndexOptions()).content != one.content
