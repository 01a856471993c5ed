"""Corpora at a URL give what the same files give on this disk, and no key is written anywhere."""

import http.server
import importlib.util
import json
import os
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import samples
from fsspec.implementations.memory import MemoryFileSystem
from pictures import fill
from test_series import series as write_series
from test_series import voxels
from typer.testing import CliRunner

import optidel
from optidel import remote
from optidel.cli import app
from optidel.corpus.companions import MAX_FETCHED, beside
from optidel.corpus.index import index_step
from optidel.corpus.options import IndexOptions
from optidel.corpus.sandbox.workers import _Process
from optidel.corpus.walk import walk
from optidel.errors import InputError, OptidelError, RecipeError
from optidel.readers.series import ALONE, scale_files
from optidel.readers.source import Source
from optidel.recipe import make_recipe
from optidel.remote import Entry, Remote, place
from optidel.store import Artifact, Store

HAS_SERVER = importlib.util.find_spec("moto") is not None and importlib.util.find_spec("obstore") is not None
KEYS = ("AKIAPLANTEDKEYPLANTED", "planted/Secret+Key/0123456789")


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    remote._mirror.cache_clear()
    remote.kept_block.cache_clear()


def upload(folder: Path, put: Callable[[str, bytes], object]) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            put(path.relative_to(folder).as_posix(), path.read_bytes())


def to_memory(memory: MemoryFileSystem, folder: Path, name: str = "scans") -> str:
    upload(folder, lambda key, content: memory.pipe_file(f"/{name}/{key}", content))
    return f"memory://{name}"


def mixed(folder: Path) -> Path:
    """Pictures, a volume in two files, slices of a series, an archive, and what is quarantined."""
    fill(folder / "pictures", 6)
    fill(folder / "packed", 3, seed=1)
    with zipfile.ZipFile(folder / "some.zip", "w") as archive:
        for path in sorted((folder / "packed").iterdir()):
            archive.write(path, path.name)
    shutil.rmtree(folder / "packed")
    image = np.random.default_rng(0).integers(0, 900, (12, 16, 20)).astype(np.int16)
    (folder / "volumes").mkdir()
    header = "ObjectType = Image\nNDims = 3\nDimSize = 20 16 12\nElementType = MET_SHORT\n"
    (folder / "volumes" / "a.mhd").write_text(f"{header}ElementDataFile = values of a.raw\n")
    (folder / "volumes" / "values of a.raw").write_bytes(image.tobytes())
    (folder / "dicom").mkdir()
    for name in samples.DICOM[:2]:
        shutil.copy(samples.dicom_file(name), folder / "dicom")
    write_series(folder / "series", voxels(), SeriesInstanceUID="1.2.8")
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "empty.png").write_bytes(b"")
    (folder / ".hidden.png").write_bytes(b"hidden")
    return folder


def frames_of(artifact: Artifact) -> list[dict[str, Any]]:
    return artifact.table("scan.parquet").to_dicts()


def indexed(run: Path, where: str | Path, **options: Any) -> Artifact:
    return index_step(Store(run), place(where), IndexOptions(workers=1, **options))


@pytest.mark.parametrize("size", [1, 64])
def test_a_corpus_in_memory_is_the_corpus_on_disk(
    tmp_path: Path, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(remote, "BLOCK", size)  # also where a file is fetched without its neighbours
    folder = mixed(tmp_path / "scans")
    url = to_memory(memory, folder)
    axes = ("axial", "coronal")
    local = indexed(tmp_path / "local", folder, axes=axes)
    (tmp_path / "far").mkdir()
    Store(tmp_path / "far")
    shutil.copytree(tmp_path / "local" / ".locks", tmp_path / "far" / ".locks", dirs_exist_ok=True)
    for key in (tmp_path / "local").glob(".*key*"):  # the same key, so that hashed identifiers agree
        shutil.copy(key, tmp_path / "far")
    far = indexed(tmp_path / "far", url, axes=axes)

    assert frames_of(far) == frames_of(local)
    assert len(frames_of(far)) > 30
    assert far.table("rejected.parquet").equals(local.table("rejected.parquet"))
    assert far.table("quality.parquet").equals(local.table("quality.parquet"))
    assert far.json("index.json")["root"] == url

    here, there = optidel.index(folder, axes=axes), optidel.index(url, axes=axes)
    assert there.root == Remote(url=url)
    rows = list(range(len(here)))
    near_images, far_images = dict(here.images(rows)), dict(there.images(rows))
    assert all(np.array_equal(near_images[row], far_images[row]) for row in rows)
    assert all(np.array_equal(here.image(row), there.image(row)) for row in rows)


def test_a_changed_object_is_read_again_and_others_are_not(tmp_path: Path, memory: MemoryFileSystem) -> None:
    fill(tmp_path / "scans", 4)
    url = to_memory(memory, tmp_path / "scans")
    first = indexed(tmp_path / "run", url)
    assert indexed(tmp_path / "run", url).path == first.path
    name = sorted(path.name for path in (tmp_path / "scans").iterdir())[0]
    content = memory.cat_file(f"/scans/{name}")
    fill(tmp_path / "others", 1, seed=9)
    other = next((tmp_path / "others").iterdir()).read_bytes()
    memory.pipe_file(f"/scans/{name}", other)
    second = indexed(tmp_path / "run", url)
    assert second.path != first.path
    assert second.json("index.json")["since"] == {"added": 0, "removed": 0, "changed": 1, "kept": 3}
    hashes = [artifact.table("frames.parquet")["sha256"].to_list() for artifact in (first, second)]
    assert hashes[0][0] != hashes[1][0]
    assert hashes[0][1:] == hashes[1][1:]
    memory.pipe_file(f"/scans/{name}", content)
    assert indexed(tmp_path / "run", url).table("frames.parquet")["sha256"].to_list() == hashes[0]


def test_a_change_that_keeps_the_size_is_seen(memory: MemoryFileSystem) -> None:
    memory.pipe_file("/scans/a.png", b"one")
    first = walk(place("memory://scans"))
    assert walk(place("memory://scans")).digest == first.digest
    memory.pipe_file("/scans/a.png", b"two")
    second = walk(place("memory://scans"))
    assert second.files[0].size == first.files[0].size
    assert second.digest != first.digest


def test_hostile_keys_are_quarantined_and_lead_nowhere(tmp_path: Path, memory: MemoryFileSystem) -> None:
    fill(tmp_path / "scans", 1)
    picture = next((tmp_path / "scans").iterdir()).read_bytes()
    hostile = ["../up.png", "a/../../up.png", "./here.png", "b//c.png", "x" * 300 + ".png", "nul\0.png"]
    entries = [Entry(name=name, size=len(picture), stamp=1) for name in hostile]
    entries += [Entry(name="marker", size=0, stamp=1), Entry(name="marker/in.png", size=9, stamp=1)]
    entries += [Entry(name="both", size=3, stamp=1), Entry(name="both/in.png", size=9, stamp=1)]
    entries += [Entry(name=".git/in.png", size=9, stamp=1), Entry(name="unknown.png", size=None, stamp=1)]

    class Hostile:
        def entries(self) -> Iterator[Entry]:
            return iter(entries)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote, "store_of", lambda _: Hostile())
        listing = walk(Remote(url="memory://hostile"))
    assert [file.source for file in listing.files] == ["both/in.png", "marker/in.png"]
    assert len(listing.refused) == len(hostile) + 2
    assert {item.reason.partition(":")[0] for item in listing.refused} == {
        "has a key that is no path",
        "is a file and a folder; rename one",
        "cannot be fetched",
    }


def test_a_million_keys_are_listed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Long:
        def entries(self) -> Iterator[Entry]:
            for number in range(1_000_000):
                yield Entry(name=f"{number:07d}.png", size=1, stamp=number)
                if number == 10:
                    raise ConnectionError("planted-secret")

    monkeypatch.setattr(remote, "store_of", lambda _: Long())
    with pytest.raises(InputError, match="no usable answer") as raised:
        walk(Remote(url="memory://long"))
    assert "planted-secret" not in str(raised.value)


def test_runs_and_exports_below_a_url_are_passed_over(
    tmp_path: Path, memory: MemoryFileSystem, capfd: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "scans", 3)
    indexed(tmp_path / "scans" / "run", tmp_path / "scans")
    fill(tmp_path / "scans" / "run", 2)
    url = to_memory(memory, tmp_path / "scans")
    assert [file.source for file in walk(place(url)).files] == [
        file.source for file in walk(tmp_path / "scans").files
    ]
    assert "run (run)" in capfd.readouterr().err
    with pytest.raises(InputError, match="is of OptiDEL"):
        walk(place(f"{url}/run"))


def test_one_file_at_a_url_is_a_corpus(tmp_path: Path, memory: MemoryFileSystem) -> None:
    fill(tmp_path / "scans", 2)
    to_memory(memory, tmp_path / "scans")
    name = sorted(path.name for path in (tmp_path / "scans").iterdir())[0]
    corpus = optidel.index(f"memory://scans/{name}")
    assert [frame.id for frame in corpus.frames] == [name]
    assert corpus.root == Remote(url="memory://scans")
    with pytest.raises(InputError, match="cannot be listed: it is not there"):
        optidel.index("memory://nothing/here")


def test_a_manifest_may_name_urls(
    tmp_path: Path, memory: MemoryFileSystem, capfd: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "scans", 3)
    url = to_memory(memory, tmp_path / "scans")
    names = sorted(path.name for path in (tmp_path / "scans").iterdir())
    table = tmp_path / "list.csv"
    elsewhere = f"https://user:{KEYS[1]}@host/x/far.png?X-Amz-Signature={KEYS[0]}"
    table.write_text(f"path,group\n{url}/{names[0]},a\n{names[2]},b\n{elsewhere},c\n")
    artifact = indexed(tmp_path / "run", url, manifest=str(table))
    assert artifact.table("frames.parquet")["group"].to_list() == ["a", "b"]
    assert [row["source"] for row in artifact.table("rejected.parquet").to_dicts()] == ["https://…/far.png"]
    assert not planted(tmp_path / "run", capfd.readouterr())


def planted(folder: Path, output: Any = "") -> list[str]:
    """Where a key is found, in any file of a folder or in the output."""
    places = [str(path) for path in folder.rglob("*") if path.is_file() and has_key(path.read_bytes())]
    return places + (["output"] if has_key(str(output).encode()) else [])


def has_key(content: bytes) -> bool:
    return any(key.encode() in content for key in KEYS)


@pytest.mark.parametrize(
    "url",
    [
        "s3://{0}:{1}@bucket/scans",
        "https://user:{1}@host/scans.zip",
        "https://{0}@host/scans.zip",
        "https://host/scans.zip?X-Amz-Credential={0}&X-Amz-Signature={1}",
        "memory://scans#{0}",
    ],
)
def test_a_url_with_a_secret_is_refused_and_not_quoted(tmp_path: Path, url: str) -> None:
    text = url.format(*KEYS)
    for where in ([text], ["scans", "--set", f'labelled="{text}"']):
        result = CliRunner().invoke(
            app,
            ["index", *where, "--out", str(tmp_path / "run")],
        )
        assert result.exit_code != 0
        assert not planted(tmp_path, result.output + repr(result.exception))
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="holds a password or a query"):
        optidel.index(text)


def test_results_are_written_to_this_machine_alone(tmp_path: Path) -> None:
    for out in ("s3://bucket/run", str(Path("s3://bucket/run"))):
        with pytest.raises(RecipeError, match="a folder of this machine"):
            make_recipe({"images": str(tmp_path), "out": out})
        with pytest.raises(OptidelError, match="a folder of this machine"):
            Store(out)


def test_a_file_that_goes_or_grows_is_quarantined_and_read_by_the_next_command(
    tmp_path: Path, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "scans", 4)
    url = to_memory(memory, tmp_path / "scans")
    names = sorted(path.name for path in (tmp_path / "scans").iterdir())
    read = remote._Files.read

    def failing(self: Any, name: str) -> tuple[Entry, Iterator[bytes]]:
        if name == names[0]:
            raise FileNotFoundError(KEYS[0])
        if name == names[1]:
            raise PermissionError(KEYS[1])
        entry, chunks = read(self, name)
        if name == names[2]:  # more bytes than it declares
            return Entry(name=name, size=3, stamp=1), chunks
        return entry, chunks

    with monkeypatch.context() as patch:
        patch.setattr(remote._Files, "read", failing)
        patch.setattr(remote, "PAUSES", (0.0,))
        first = indexed(tmp_path / "run", url)
    rejected = {row["source"]: row["reason"] for row in first.table("rejected.parquet").to_dicts()}
    assert rejected[names[0]] == "cannot be fetched: it is not there"
    assert rejected[names[1]] == "cannot be fetched: access is denied"
    assert rejected[names[2]].startswith("cannot be fetched: ")
    assert not planted(tmp_path / "run")
    assert len(indexed(tmp_path / "run", url).table("frames.parquet")) == 4


@pytest.mark.parametrize("kind", [ConnectionError, PermissionError])
def test_a_server_that_dies_or_a_key_that_expires_stops_the_command_and_the_next_one_goes_on(
    tmp_path: Path, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    fill(tmp_path / "scans", 6)
    url = to_memory(memory, tmp_path / "scans")
    isdir = MemoryFileSystem.isdir
    broken: list[str] = []

    def dead(*_: object) -> None:
        broken.append("now")
        raise kind(KEYS[0])

    def listed(self: MemoryFileSystem, path: str) -> bool:
        return bool(dead()) if broken else isdir(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(remote, "PAUSES", (0.0,))
        patch.setattr(remote._Files, "read", dead)
        patch.setattr(MemoryFileSystem, "isdir", listed)
        with pytest.raises(OptidelError, match=r"any more: .*; the same command goes on") as raised:
            indexed(tmp_path / "run", url)
        assert KEYS[0] not in str(raised.value)
    assert len(indexed(tmp_path / "run", url).table("frames.parquet")) == 6


def test_a_file_larger_than_the_disk_is_asked_for_in_vain(tmp_path: Path) -> None:
    entry = Entry(name="huge", size=1 << 60, stamp=1)
    with pytest.raises(OptidelError, match="set TMPDIR"):
        remote._write(entry, iter([b"x"]), tmp_path / "huge")


def test_nothing_that_was_fetched_stays(
    tmp_path: Path, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spool))
    monkeypatch.setattr(remote, "BLOCK", 4)
    fill(tmp_path / "scans", 11)
    corpus = optidel.index(to_memory(memory, tmp_path / "scans"))
    images = corpus.images(range(len(corpus)))
    next(images)
    images.close()  # type: ignore[attr-defined]
    assert len(list(corpus.images(range(len(corpus))))) == 11
    assert [path for path in spool.iterdir() if any(path.rglob("*.png"))] == []


def test_urls_are_read_as_they_are_meant(tmp_path: Path) -> None:
    assert place("s3://bucket/scans/") == Remote(url="s3://bucket/scans")
    assert place(f"file://{tmp_path}") == tmp_path
    assert place("scans") == Path("scans")
    assert place("MEMORY://a/b").parent == Remote(url="memory://a")
    assert place("s3://bucket").parent.name == "bucket"
    for bad in ("s3://", "s3://bucket//x", "s3://bucket/../x"):
        with pytest.raises(InputError, match="names no folder"):
            place(bad)
    with pytest.raises(OptidelError, match="nothing that is installed reads nosuch://"):
        walk(place("nosuch://x/y"))


def test_a_run_goes_through_with_everything_at_urls(
    tmp_path: Path, memory: MemoryFileSystem, nano: object
) -> None:
    fill(tmp_path / "scans", 16)
    to_memory(memory, tmp_path / "scans")
    values = {"methods": ["random"], "budget": 0.5}
    runs = {}
    for name, images in (("near", str(tmp_path / "scans")), ("far", "memory://scans")):
        recipe = make_recipe({"images": images, "out": str(tmp_path / name), **values})
        from optidel.pipeline.pipeline import Pipeline

        pipeline = Pipeline(recipe)
        runs[name] = pipeline.pixels.array("pixels.npy"), pipeline.select("random", 0).path.name
    assert np.array_equal(runs["near"][0], runs["far"][0])
    assert runs["near"][1] == runs["far"][1]  # an artifact's name stands for all that it was made from


def test_a_labelled_set_is_fetched_whole(tmp_path: Path, memory: MemoryFileSystem) -> None:
    folder = tmp_path / "set"
    fill(folder / "images", 4)
    url = to_memory(memory, folder, "set")
    local = remote.here(place(url))
    assert sorted(path.name for path in (local / "images").iterdir()) == sorted(
        path.name for path in (folder / "images").iterdir()
    )
    assert local.name == "set"
    assert remote.here(place(url)) == local


def test_what_readers_look_for_beside_a_file_is_fetched_too(tmp_path: Path) -> None:
    (tmp_path / "a.nhdr").write_text("NRRD0004\ndata file: ./values.raw.gz\n")
    (tmp_path / "b.img").write_bytes(b"\0" * 10)
    names = ["a.nhdr", "b.img", "b.hdr", "values.raw.gz", "other.raw", "c.png", "d.dcm", "IM0001"]
    assert beside(tmp_path, ["a.nhdr", "b.img"], lambda _: names) == {"values.raw.gz", "b.hdr", "b.img"}
    assert beside(tmp_path, ["c.png"], lambda _: pytest.fail("nothing is looked for")) == set()
    assert {"d.dcm", "IM0001"} <= beside(tmp_path, ["d.dcm"], lambda _: names)
    many = [f"{number}.dcm" for number in range(MAX_FETCHED + 1)]
    (tmp_path / "deep").mkdir()
    assert beside(tmp_path, ["deep/1.dcm"], lambda _: many) == set()
    assert (tmp_path / "deep" / ALONE).exists()


def test_a_folder_too_large_to_look_through_has_no_series_when_it_is_fetched(tmp_path: Path) -> None:
    write_series(tmp_path, voxels(), SeriesInstanceUID="1.2.8")
    first = min(tmp_path.iterdir())
    slice_ = Source(name=first.name, path=first)
    assert len(scale_files(slice_)) > 1
    (tmp_path / ALONE).touch()
    os.utime(tmp_path, ns=(1, 1))
    assert scale_files(slice_) == (first.name,)


def test_decoding_processes_are_told_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, key in zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), KEYS, strict=True):
        monkeypatch.setenv(name, key)
    process = _Process(1 << 30)
    try:
        environment = Path(f"/proc/{process.process.pid}/environ")
        if not environment.exists():
            pytest.skip("this system does not show the environment of a process")
        content = environment.read_bytes()
        assert b"OMP_NUM_THREADS=1" in content
        assert not has_key(content)
    finally:
        process.close()


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[str]:
    """A web server that lists a folder as pages of links."""
    pytest.importorskip("aiohttp", reason="reading http:// needs the extra cloud")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    (tmp_path / "web").mkdir()
    handler = partial(Quiet, directory=str(tmp_path / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_pages_of_links_are_a_corpus(tmp_path: Path, pages: str) -> None:
    folder = tmp_path / "web" / "scans"
    fill(folder / "a b", 3)
    fill(folder / "c", 2, seed=1)
    far, near = optidel.index(f"{pages}/scans"), optidel.index(folder)
    assert list(far.frames) == list(near.frames)
    assert np.array_equal(far.image(4), near.image(4))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, bytes], object]]:
    """A server of S3 with one bucket, its keys in the environment."""
    if not HAS_SERVER:
        pytest.skip("needs moto[server] and obstore")
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS[1])
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="bucket")
    remote.store_of.cache_clear()
    yield lambda key, content: client.put_object(Bucket="bucket", Key=key, Body=content)
    remote.store_of.cache_clear()
    client.close()
    server.stop()


moto_warnings = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@moto_warnings
def test_a_bucket_is_the_corpus_on_disk_and_keys_are_written_nowhere(
    tmp_path: Path, bucket: Callable[[str, bytes], object], capfd: pytest.CaptureFixture[str]
) -> None:
    folder = mixed(tmp_path / "scans")
    upload(folder, lambda key, content: bucket(f"scans/{key}", content))
    bucket("scans/pictures/", b"")
    bucket("scans-of-others/x.png", b"beside")
    near, far = optidel.index(folder), optidel.index("s3://bucket/scans")
    assert [frame.id for frame in far.frames] == [frame.id for frame in near.frames]
    assert [frame.sha256 for frame in far.frames] == [frame.sha256 for frame in near.frames]
    assert far.rejected == near.rejected
    assert np.array_equal(far.image(0), near.image(0))

    out = tmp_path / "run"
    for command in (["index"], ["select", "--methods", "random", "--budget", "0.5"], ["audit"]):
        result = CliRunner().invoke(app, [*command, "s3://bucket/scans", "--out", str(out)])
        assert result.exit_code == 0, result.output + repr(result.exception)
        assert not planted(tmp_path, result.output)
    result = CliRunner().invoke(app, ["export", str(out), "--out", str(tmp_path / "kept")])
    assert result.exit_code == 0, result.output + repr(result.exception)
    assert not planted(tmp_path, capfd.readouterr())
    assert "s3://bucket/scans" in json.dumps(
        [json.loads(path.read_text()) for path in out.glob("index-*/index.json")]
    )


@moto_warnings
def test_a_bucket_that_is_not_there_or_whose_server_died_is_one_sentence(
    bucket: Callable[[str, bytes], object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="s3://nobody cannot be listed: it is not there") as raised:
        optidel.index("s3://nobody")
    fill(tmp_path / "scans", 2)
    upload(tmp_path / "scans", lambda key, content: bucket(f"scans/{key}", content))
    bucket("scans/a//b.png", b"x")
    with pytest.raises(InputError, match="a key with an empty part"):
        optidel.index("s3://bucket/scans")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    remote.store_of.cache_clear()
    with pytest.raises(InputError, match="the server gave no usable answer") as silent:
        optidel.index("s3://bucket/scans")
    assert not has_key((str(raised.value) + str(silent.value)).encode())


@moto_warnings
def test_an_object_in_many_chunks_is_of_one_version(
    bucket: Callable[[str, bytes], object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(remote, "CHUNK", 1000)
    content = np.random.default_rng(0).bytes(4321)
    bucket("folder/some", content)
    where = place("s3://bucket/folder")
    remote.fetch(where, "some", tmp_path / "some")
    assert (tmp_path / "some").read_bytes() == content
    entry, chunks = remote.store_of(where).read("some")
    assert entry.size == 4321
    next(chunks)
    bucket("folder/some", content[::-1])
    with pytest.raises(InputError, match="it changed while it was read"), remote._own_words():
        list(chunks)
    before = [item.stamp for item in remote.entries(where)]
    assert before != [entry.stamp]


def test_the_core_is_imported_without_fsspec() -> None:
    import subprocess
    import sys

    code = "import sys; sys.modules['fsspec'] = sys.modules['obstore'] = None; import optidel.cli, optidel"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
