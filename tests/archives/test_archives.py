"""Archives are read in place, give the same frames as the files in them, and cannot hurt: no escape, no bomb,
no nesting.
"""

import io
import json
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import optidel
from optidel.corpus.frames import Corpus
from optidel.corpus.index import index_step
from optidel.corpus.options import IndexOptions
from optidel.store import Store


def png(seed: int, size: int = 24) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


def tar(path: Path, entries: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def zipped(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def reasons(corpus: Corpus) -> dict[str, str]:
    return {item.source: item.reason for item in corpus.rejected}


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"])
def test_members_are_the_files(tmp_path: Path, ending: str) -> None:
    entries = {f"folder/{number}.png": png(number) for number in range(5)}
    volume = (np.arange(9 * 10 * 11) % 251).astype(np.uint8).reshape(9, 10, 11)
    out = io.BytesIO()
    np.save(out, volume)
    entries["stack.npy"] = out.getvalue()
    plain = tmp_path / "plain"
    for name, data in entries.items():
        (plain / name).parent.mkdir(parents=True, exist_ok=True)
        (plain / name).write_bytes(data)
    path = tmp_path / f"all.{ending}"
    if ending == "zip":
        zipped(path, entries)
    else:
        tar(path, entries, {"tar": "w", "tgz": "w:gz"}.get(ending, "w:" + ending[4:]))
    inside, outside = optidel.index(path), optidel.index(plain)
    assert not inside.rejected
    assert [frame.id.replace(f"all.{ending}#", "") for frame in inside.frames] == [
        frame.id for frame in outside.frames
    ]
    assert [frame.sha256 for frame in inside.frames] == [frame.sha256 for frame in outside.frames]
    order = np.random.default_rng(0).permutation(len(inside)).tolist()
    for row in order:
        np.testing.assert_array_equal(inside.pixels(row), outside.pixels(row))
    for row, image in inside.images(order):
        np.testing.assert_array_equal(image, outside.image(row))


def test_webdataset_labels(tmp_path: Path) -> None:
    entries = {
        "a.cls": b"3",
        "a.png": png(0),
        "b.png": png(1),
        "b.json": json.dumps({"label": "polyp", "name": "MARKER"}).encode(),
    }
    entries |= {"c.txt": b"MARKER", "c.png": png(2), "d.png": png(3), "d.json": b"{broken"}
    corpus = optidel.index(tar(tmp_path / "shard-000.tar", entries))
    assert [frame.label for frame in corpus.frames] == ["3", "polyp", None, None]
    assert not corpus.rejected


def test_nothing_escapes_and_nothing_nests(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", {"a.png": png(0)}).read_bytes()
    names = ("../up.png", "/root.png", "C:/windows.png", "a/../../b.png", "odd#name.png")
    path = zipped(
        tmp_path / "all.zip",
        {"good.png": png(1), "inner.zip": inner, "deep.tar.gz": b"x"} | dict.fromkeys(names, png(2)),
    )
    corpus = optidel.index(path)
    assert [frame.id for frame in corpus.frames] == ["all.zip#good.png"]
    found = reasons(corpus)
    assert len(found) == 7
    for name in names[:4]:
        assert "leads out of the archive" in found[f"all.zip#{name}"]
    for name in ("inner.zip", "deep.tar.gz"):
        assert "an archive inside an archive" in found[f"all.zip#{name}"]
    assert {entry.name for entry in tmp_path.iterdir()} == {"inner.zip", "all.zip"}


def test_links_and_devices_in_a_tar(tmp_path: Path) -> None:
    path = tmp_path / "all.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in (
            ("soft.png", tarfile.SYMTYPE),
            ("hard.png", tarfile.LNKTYPE),
            ("fifo.png", tarfile.FIFOTYPE),
            ("dev.png", tarfile.CHRTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("good.png")
        info.size = len(png(0))
        archive.addfile(info, io.BytesIO(png(0)))
    corpus = optidel.index(path)
    assert [frame.locator for frame in corpus.frames] == ["good.png"]
    assert len(corpus.rejected) == 4
    assert all("not read from archives" in item.reason for item in corpus.rejected)


def test_zip_bombs(tmp_path: Path) -> None:
    zipped(tmp_path / "one.zip", {"zeros.png": bytes(200 << 20), "good.png": png(0)})
    zipped(tmp_path / "good.zip", {"good.png": png(0)})
    many = zipped(tmp_path / "many.zip", {f"{number}.png": bytes(60 << 20) for number in range(2)})
    corpus = optidel.index(tmp_path)
    assert [frame.id for frame in corpus.frames] == ["good.zip#good.png", "one.zip#good.png"]
    found = reasons(corpus)
    assert "is a decompression bomb" in found["one.zip#zeros.png"]
    assert "is no image" in found[f"{many.name}#0.png"]  # 60 MiB are unpacked and looked at, no more


def test_a_lying_zip(tmp_path: Path) -> None:
    """The directory says 1000 bytes where the data unpacks to many more: it is read to what was declared, and
    the checksum tells.
    """
    path = zipped(tmp_path / "all.zip", {"bomb.png": bytes(1 << 20), "good.png": png(0)})
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(b"bomb.png"))
    data[at + 24 : at + 28] = (1000).to_bytes(4, "little")
    path.write_bytes(data)
    corpus = optidel.index(path)
    assert [frame.locator for frame in corpus.frames] == ["good.png"]
    assert "BadZipFile" in reasons(corpus)["all.zip#bomb.png"]


def test_encrypted_duplicate_and_hidden_members(tmp_path: Path) -> None:
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", png(0))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.png", png(1))
        archive.writestr("locked.png", png(2))
        archive.writestr("__MACOSX/._a.png", b"x")
        archive.writestr(".hidden/a.png", b"x")
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(b"locked.png"))
    data[at + 8] |= 1
    path.write_bytes(data)
    corpus = optidel.index(path)
    assert len(corpus) == 1
    assert sorted(item.reason for item in corpus.rejected) == [
        "comes twice in the archive; the first is taken",
        "is encrypted; unpack it",
    ]


def test_tar_bomb(tmp_path: Path) -> None:
    tar(
        tmp_path / "bomb.tar.gz",
        {"good.png": png(0), "zeros.bmp": bytes(300 << 20), "after.png": png(1)},
        "w:gz",
    )
    tar(tmp_path / "good.tar", {"good.png": png(0)})
    corpus = optidel.index(tmp_path)
    assert "good.tar#good.png" in [frame.id for frame in corpus.frames]
    assert any("is a decompression bomb" in item.reason for item in corpus.rejected)


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tar.xz"])
def test_a_cut_archive_is_noticed(tmp_path: Path, ending: str) -> None:
    whole = tar(
        tmp_path / f"all.{ending}",
        {f"{n}.png": png(n, 64) for n in range(4)},
        "w" if ending == "tar" else f"w:{ending[4:]}",
    )
    whole.write_bytes(whole.read_bytes()[: len(png(0, 64)) * 5 // 2])
    (tmp_path / "good.png").write_bytes(png(0))
    corpus = optidel.index(tmp_path)
    assert whole.name in reasons(corpus)
    kept = [frame.id for frame in corpus.frames]
    # A tar without a checksum keeps the members before the cut, of a compressed one nothing is certain.
    assert kept == (["all.tar#0.png", "all.tar#1.png", "good.png"] if ending == "tar" else ["good.png"])


def test_a_flipped_bit_in_a_compressed_tar_spoils_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "all.tar.gz"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "BMP")
    tar(path, {"a.bmp": out.getvalue(), "b.png": png(1)}, "w:gz")
    (tmp_path / "good.png").write_bytes(png(0))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1  # noise is stored, not packed: only the checksum can tell
    path.write_bytes(data)
    corpus = optidel.index(tmp_path)
    assert [frame.id for frame in corpus.frames] == ["good.png"]
    assert "is damaged" in reasons(corpus)["all.tar.gz"]


def test_recursive_tar(tmp_path: Path) -> None:
    first = tar(tmp_path / "a.tar", {"x.png": png(0)})
    data = first.read_bytes()
    for _ in range(5):
        data = tar(tmp_path / "b.tar", {"a.tar": data, "y.png": png(1)}).read_bytes()
    corpus = optidel.index(tmp_path)
    assert [frame.id for frame in corpus.frames] == ["a.tar#x.png", "b.tar#y.png"]
    assert "archive inside an archive" in reasons(corpus)["b.tar#a.tar"]


def parquet(path: Path, count: int = 5) -> Path:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    images = [{"bytes": png(number), "path": f"{number}.png"} for number in range(count)]
    table = pa.table(
        {"image": images, "label": [number % 2 for number in range(count)], "name": ["MARKER"] * count}
    )
    about = {"info": {"features": {"label": {"names": ["polyp", "normal"], "_type": "ClassLabel"}}}}
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(about)}), path)
    return path


def test_hugging_face_parquet(tmp_path: Path) -> None:
    parquet(tmp_path / "train-00000-of-00001.parquet")
    corpus = optidel.index(tmp_path)
    assert [frame.locator for frame in corpus.frames] == [f"row:{number}" for number in range(5)]
    assert [frame.label for frame in corpus.frames] == ["polyp", "normal", "polyp", "normal", "polyp"]
    assert {frame.split for frame in corpus.frames} == {"train"}
    for row in (4, 0, 3):
        np.testing.assert_array_equal(corpus.image(row), np.asarray(Image.open(io.BytesIO(png(row)))))


def test_hugging_face_save_to_disk(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["polyp", "normal"])}
    )
    data = {"image": [{"bytes": png(number), "path": None} for number in range(4)], "label": [0, 1, 1, 0]}
    made = datasets.Dataset.from_dict(data, features=features)
    datasets.DatasetDict({"train": made, "test": made}).save_to_disk(tmp_path / "saved")
    corpus = optidel.index(tmp_path / "saved")
    assert [(frame.split, frame.label) for frame in corpus.frames] == [
        (split, label) for split in ("test", "train") for label in ("polyp", "normal", "normal", "polyp")
    ]
    assert all("describes a Hugging Face dataset" in item.reason for item in corpus.rejected)
    np.testing.assert_array_equal(corpus.image(5), np.asarray(Image.open(io.BytesIO(png(1)))))


def test_tables_without_images(tmp_path: Path, make_corpus: Callable[..., Path]) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    folder = make_corpus(1)
    pq.write_table(pa.table({"age": [1, 2]}), folder / "ages.parquet")
    (folder / "broken.parquet").write_bytes(b"PAR1 no more")
    (folder / "broken.arrow").write_bytes(b"no arrow")
    pq.write_table(pa.table({"image": [{"bytes": None, "path": "/etc/passwd"}]}), folder / "paths.parquet")
    found = reasons(optidel.index(folder))
    assert "no column of images" in found["ages.parquet"]
    assert "damaged" in found["broken.parquet"]
    assert "damaged" in found["broken.arrow"]
    assert "holds a path and no image" in found["paths.parquet#row:0"]


def test_a_member_whose_name_is_not_utf8_is_refused_alone(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    with tarfile.open(images / "old.tar", "w", format=tarfile.USTAR_FORMAT, encoding="latin-1") as archive:
        for number, name in enumerate(["plain.png", "Müller.png", "Öz.cls"]):
            info = tarfile.TarInfo(name)
            info.size = len(png(number))
            archive.addfile(info, io.BytesIO(png(number)))
    store = Store(tmp_path / "run")
    artifact = index_step(store, images, IndexOptions())
    assert artifact.table("frames.parquet")["locator"].to_list() == ["plain.png"]
    rejected = artifact.table("rejected.parquet")
    assert rejected["source"].to_list() == [r"old.tar#M\udcfcller.png", r"old.tar#\udcd6z.cls"]
    assert set(rejected["reason"]) == {"has a name that is not UTF-8; rename it"}


def test_an_archive_without_an_image_is_accounted_for(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(0))
    zipped(tmp_path / "empty.zip", {})
    zipped(tmp_path / "labels.zip", {"a.cls": b"1", "a.txt": b"text"})
    tar(tmp_path / "hidden.tar", {".hidden.png": png(1)})
    corpus = optidel.index(tmp_path)
    assert len(corpus.frames) == 1
    assert reasons(corpus) == dict.fromkeys(
        ["empty.zip", "hidden.tar", "labels.zip"], "holds no image; hidden files are passed over"
    )


@pytest.mark.parametrize("called", ["x.tar", "x.tgz", "x.tar.xz", "x.tbz2", "x.zip"])
@pytest.mark.parametrize("packed", ["w", "w:gz", "w:bz2", "w:xz", "zip"])
def test_an_archive_is_what_it_holds_whatever_it_is_called(tmp_path: Path, called: str, packed: str) -> None:
    entries = {f"{number}.png": png(number) for number in range(3)}
    if packed == "zip":
        zipped(tmp_path / called, entries)
    else:
        tar(tmp_path / called, entries, packed)
    corpus = optidel.index(tmp_path)
    assert reasons(corpus) == {}
    for number in (2, 0, 1):
        expected = np.asarray(Image.open(io.BytesIO(png(number))))
        np.testing.assert_array_equal(corpus.image(number), expected)


def test_a_member_that_is_gone(tmp_path: Path) -> None:
    path = tar(tmp_path / "all.tar", {"a.png": png(0), "b.png": png(1)})
    corpus = optidel.index(path)
    tar(path, {"a.png": png(0)})
    with pytest.raises(optidel.OptidelError, match="index the corpus again"):
        corpus.pixels(1)
    path.unlink()
    with pytest.raises(optidel.OptidelError, match="index the corpus again"):
        corpus.pixels(0)


@pytest.mark.skipif(sys.platform == "win32", reason="counts file handles of Linux")
def test_reading_keeps_no_handles(tmp_path: Path) -> None:
    handles = Path("/proc/self/fd")
    if not handles.exists():
        pytest.skip("no /proc")
    corpora = [
        optidel.index(zipped(tmp_path / f"{number}.zip", {"a.png": png(number)})) for number in range(10)
    ]
    before = len(list(handles.iterdir()))
    for corpus in corpora:
        corpus.pixels(0)
    assert len(list(handles.iterdir())) <= before + 1
