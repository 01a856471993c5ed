"""A corpus that grew: only new and changed files are read, and the tables are those of an index
made at once.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optidel.corpus import index as room
from optidel.corpus.frames import Corpus
from optidel.corpus.index import index_step
from optidel.corpus.options import IndexOptions
from optidel.corpus.pixels import write_pixels
from optidel.corpus.reuse import known_rows
from optidel.corpus.sandbox.workers import LATE, Scanned, scan_files
from optidel.records import Rejected
from optidel.store import Artifact, Store

TABLES = ("frames.parquet", "scan.parquet", "quality.parquet", "rejected.parquet", "files.parquet")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that decoding processes were given."""
    given: list[str] = []

    def watched(root: Path, sources: Sequence[str], *rest: Any) -> Iterator[Scanned]:
        for scanned in scan_files(root, sources, *rest):
            given.append(scanned.source)
            yield scanned

    monkeypatch.setattr(room, "scan_files", watched)
    monkeypatch.setattr(room, "SHARD", 4)
    return given


def grow(folder: Path) -> None:
    """Add, change and remove files, good and bad ones."""
    for name in ("image-000.png", "image-007.png"):
        shutil.copy(folder / name, folder / f"a-{name}")
    (folder / "image-003.png").unlink()
    (folder / "image-005.png").write_bytes((folder / "image-006.png").read_bytes())
    (folder / "bad-2.png").write_bytes(b"two")


def with_key(store: Store, key: bytes) -> Store:
    (store.root / ".group-key").write_bytes(key)
    return store


def test_only_what_is_new_is_read(
    make_corpus: Callable[..., Path], tmp_path: Path, read: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_corpus(10)
    np.save(folder / "volume.npy", np.random.default_rng(0).integers(0, 256, (5, 16, 16), np.uint8))
    (folder / "bad-1.png").write_bytes(b"one")
    store = Store(tmp_path / "run")
    first = index_step(store, folder, IndexOptions())
    assert first.json("index.json")["since"] is None
    assert len(read) == 12
    read.clear()
    grow(folder)
    second = index_step(store, folder, IndexOptions())
    assert sorted(read) == ["a-image-000.png", "a-image-007.png", "bad-2.png", "image-005.png"]
    assert second.json("index.json")["since"] == {"added": 3, "removed": 1, "changed": 1, "kept": 10}
    assert "3 added, 1 removed, 1 changed, 10 kept" in capsys.readouterr().err
    at_once = index_step(
        with_key(Store(tmp_path / "other"), (store.root / ".group-key").read_bytes()), folder, IndexOptions()
    )
    for name in TABLES:
        assert (second.path / name).read_bytes() == (at_once.path / name).read_bytes(), name
    assert second.content == at_once.content != first.content


def test_other_groups_read_nothing(make_corpus: Callable[..., Path], tmp_path: Path, read: list[str]) -> None:
    folder = make_corpus(6)
    store = Store(tmp_path / "run")
    plain = index_step(store, folder, IndexOptions())
    read.clear()
    grouped = index_step(store, folder, IndexOptions(pattern=r"image-00(?P<patient>\d)"))
    assert not read
    assert [frame.group for frame in Corpus.load(grouped).frames] == [
        f"patient:{number}" for number in range(6)
    ]
    assert grouped.content == plain.content
    assert grouped.json("index.json")["groups"] != plain.json("index.json")["groups"]
    index_step(store, folder, IndexOptions(every=2.0))
    assert len(read) == 6


def test_what_may_have_been_bad_luck_is_read_again(
    make_corpus: Callable[..., Path], tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_corpus(3)
    (folder / "bad.png").write_bytes(b"x")
    store = Store(tmp_path / "run")
    monkeypatch.setattr("optidel.corpus.earlier.TRANSIENT", ("is no image",))
    index_step(store, folder, IndexOptions())
    read.clear()
    shutil.copy(folder / "image-000.png", folder / "new.png")
    index_step(store, folder, IndexOptions())
    assert sorted(read) == ["bad.png", "new.png"]


def test_killed_and_continued(
    make_corpus: Callable[..., Path], tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_corpus(11)
    store = Store(tmp_path / "run")
    real = room._scan_table
    written = 0

    def dies(scanned: Sequence[Scanned]) -> Any:
        nonlocal written
        written += bool(scanned)
        if written == 3:
            raise KeyboardInterrupt
        return real(scanned)

    monkeypatch.setattr(room, "_scan_table", dies)
    with pytest.raises(KeyboardInterrupt):
        index_step(store, folder, IndexOptions())
    monkeypatch.setattr(room, "_scan_table", real)
    read.clear()
    whole = index_step(store, folder, IndexOptions())
    assert read == [f"image-{number:03d}.png" for number in range(8, 11)]
    assert [frame.id for frame in Corpus.load(whole).frames] == [
        f"image-{number:03d}.png" for number in range(11)
    ]


def test_pixels_are_copied_where_they_are_known(
    make_corpus: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_corpus(9)
    store = Store(tmp_path / "run")

    def pixels() -> Artifact:
        indexed = index_step(store, folder, IndexOptions())
        corpus = Corpus.load(indexed)
        return store.build(
            "pixels",
            lambda work: write_pixels(work, corpus, 16, store),
            version=2,
            config={"size": 16},
            inputs={"index": indexed},
        )

    pixels()
    grow(folder)
    decoded: list[int] = []
    real = Corpus.images

    def watched(self: Corpus, rows: Sequence[int]) -> Any:
        decoded.extend(rows)
        return real(self, rows)

    monkeypatch.setattr(Corpus, "images", watched)
    second = pixels()
    assert (
        decoded == []
    )  # each added file is a copy of one that was there: the pixels are known, if not the name
    fresh = make_corpus(1, "fresh", seed=7) / "image-000.png"
    fresh.replace(folder / "image-001.png")
    third = pixels()
    corpus = Corpus.load(store.artifacts("index")[-1])
    assert [corpus.frames[row].source for row in decoded] == ["image-001.png"]
    other = Store(tmp_path / "other")
    at_once = other.build("pixels", lambda work: write_pixels(work, corpus, 16), version=2, config={})
    np.testing.assert_array_equal(third.array("pixels.npy"), at_once.array("pixels.npy"))
    assert len(second.array("pixels.npy")) == len(second.table("rows.parquet")) == 10


def test_known_rows() -> None:
    rng = np.random.default_rng(0)
    old, new = ([str(value) for value in rng.integers(0, 30, count)] for count in (40, 50))
    rows = known_rows(old, new)
    for value, row in zip(new, rows, strict=True):
        assert (old[row] == value) if row >= 0 else (value not in old)
    assert known_rows([], ["a"]).tolist() == [-1]
    assert known_rows(["a", "a"], ["a"]).tolist() == [0]


def test_the_same_command_tries_again_what_was_bad_luck_and_gives_up_after_some_times(
    make_corpus: Callable[..., Path],
    tmp_path: Path,
    read: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = make_corpus(3)
    shutil.copy(folder / "image-000.png", folder / "unlucky.png")
    real = room.scan_files

    def out_of_luck(root: Path, sources: Sequence[str], *rest: Any) -> Iterator[Scanned]:
        for scanned in real(root, sources, *rest):
            if scanned.source == "unlucky.png":
                late = Rejected(source="unlucky.png", reason=f"{LATE} 10 s")
                scanned = Scanned(source="unlucky.png", frames=[], quality=[], rejected=[late])
            yield scanned

    monkeypatch.setattr(room, "scan_files", out_of_luck)
    store = Store(tmp_path / "run")
    first = index_step(store, folder, IndexOptions())
    assert [item.source for item in Corpus.load(first).rejected] == ["unlucky.png"]
    read.clear()
    assert index_step(store, folder, IndexOptions()) == first
    assert read == ["unlucky.png"]
    assert "1 file was quarantined for time, memory or a crash; trying again" in capsys.readouterr().err

    monkeypatch.setattr(room, "scan_files", real)
    second = index_step(store, folder, IndexOptions())
    assert len(Corpus.load(second)) == 4
    read.clear()
    assert index_step(store, folder, IndexOptions()) == second
    assert not read

    monkeypatch.setattr(room, "scan_files", out_of_luck)
    (folder / "image-001.png").unlink()
    (folder / "unlucky.png").touch()
    third = index_step(store, folder, IndexOptions())
    for _ in range(4):
        assert index_step(store, folder, IndexOptions()) == third
    assert read.count("unlucky.png") == 1 + room.RETRIES
