"""A folder may hold anything: what is no plain file is named and passed by, and nothing of it can hang or
mislead the walk.
"""

import os
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import optidel
from optidel.corpus.index import index_step
from optidel.corpus.options import IndexOptions
from optidel.corpus.walk import printable, walk
from optidel.errors import InputError
from optidel.store import Store

unix = pytest.mark.skipif(sys.platform == "win32", reason="FIFOs, sockets and such names are of Unix")


def save(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)).save(path)


@unix
def test_hazards_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "corpus"
    save(folder / "sub" / "good.png")
    save(folder / ".hidden" / "no.png")
    save(tmp_path / "elsewhere" / "out.png")
    (folder / "loop").symlink_to(folder)
    (folder / "self.png").symlink_to("self.png")
    (folder / "nowhere.png").symlink_to("gone.png")
    (folder / "out.png").symlink_to(tmp_path / "elsewhere" / "out.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(folder / "fifo.png")
    monkeypatch.chdir(folder)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
        corpus = optidel.index(folder)
    assert [frame.id for frame in corpus.frames] == ["out.png", "sub/good.png"]
    assert {item.source: item.reason.split(";")[0].split(" (")[0] for item in corpus.rejected} == {
        "loop": "is a link to a folder",
        "self.png": "is a link that leads nowhere",
        "nowhere.png": "is a link that leads nowhere",
        "zero.png": "is a device, no regular file",
        "fifo.png": "is a FIFO, no regular file",
        "socket.png": "is a socket, no regular file",
    }


@unix
def test_odd_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["new\nline.png", "\x1b[31mred.png", "Ünïcode 名.png", "hash#name.png", "-rf.png"]
    for number, name in enumerate(names):
        save(tmp_path / name, number)
    save(tmp_path / "z.png")
    try:
        (tmp_path / "z.png").rename(tmp_path / os.fsdecode(b"\xff.png"))
    except OSError:
        pytest.skip("this disk takes no such names")
    (tmp_path / "bad\n\x1b[31m.png").write_bytes(b"x")
    corpus = optidel.index(tmp_path)
    assert sorted(frame.source for frame in corpus.frames) == sorted(names)
    for row in range(len(corpus)):
        assert corpus.pixels(row).shape == (16, 16, 3)
    assert {item.source: item.reason for item in corpus.rejected} == {
        "\\udcff.png": "has a name that is not UTF-8; rename it",
        "bad\n\x1b[31m.png": "is no image, though its ending is '.png'",
    }
    told = capsys.readouterr().err
    assert "\x1b" not in told
    assert len(told.splitlines()) == 1


def test_printable() -> None:
    assert printable("a\nb\x1b[0m\u202e") == "a\\nb\\x1b[0m\\u202e"
    assert printable("Zürich/名.png") == "Zürich/名.png"


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything"
)
def test_what_may_not_be_read(tmp_path: Path) -> None:
    save(tmp_path / "good.png")
    save(tmp_path / "locked.png")
    save(tmp_path / "closed" / "in.png")
    (tmp_path / "locked.png").chmod(0)
    (tmp_path / "closed").chmod(0)
    try:
        corpus = optidel.index(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert len(corpus) == 1
    assert all("Permission denied" in item.reason for item in corpus.rejected)
    assert {item.source for item in corpus.rejected} == {"locked.png", "closed"}


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "good.png")
    save(tmp_path / "closed" / "in.png")
    real = os.scandir

    def scandir(folder: Path) -> object:
        if Path(folder).name == "closed":
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    listing = walk(tmp_path)
    assert [file.source for file in listing.files] == ["good.png"]
    assert [(item.source, item.reason) for item in listing.refused] == [
        ("closed", "cannot be listed: Permission denied")
    ]


def test_a_deep_folder(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(60):
        deep = deep / "d"
    save(deep / "good.png")
    assert len(walk(tmp_path).files) == 1


def test_accompanying_files_are_skipped_with_a_reason(tmp_path: Path) -> None:
    save(tmp_path / "good.png")
    (tmp_path / "DICOMDIR").write_bytes(b"x" * 200)
    assert "table of contents" in walk(tmp_path).refused[0].reason


def test_the_digest_sees_every_change(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    seen = {walk(tmp_path).digest}
    save(tmp_path / "b.png")
    seen.add(walk(tmp_path).digest)
    os.utime(tmp_path / "b.png", ns=(1, 1))
    seen.add(walk(tmp_path).digest)
    (tmp_path / "c").symlink_to(tmp_path)
    seen.add(walk(tmp_path).digest)
    assert len(seen) == 4
    with pytest.raises(InputError, match="no folder or file"):
        walk(tmp_path / "gone")


@unix
def test_nothing_but_hazards(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    os.mkfifo(tmp_path / "corpus" / "fifo.png")
    with pytest.raises(InputError, match=r"holds no readable image: 1 file set aside; .*fifo.png: is a FIFO"):
        optidel.index(tmp_path / "corpus")
    with pytest.raises(InputError, match=r"holds no readable image: 1 file set aside"):
        index_step(Store(tmp_path / "run"), tmp_path / "corpus", IndexOptions())
