"""Damage of the same size in a finished run is never used in silence and never ends in a traceback."""

import json
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fake_bench import fake_bench
from typer.testing import CliRunner

from optidel.benchmark.plan import key_of, trials
from optidel.benchmark.tables import open_bench, read_record, write_record
from optidel.cli import app
from optidel.corpus.groups import KEY_FILE, group_key
from optidel.errors import InputError, StoreError
from optidel.store import COST, MANIFEST, Artifact, Store, Workspace, check

DAMAGES = 300


def write_first(work: Workspace) -> None:
    rng = np.random.default_rng(0)
    rows = work.open_array("pixels.npy", (20, 8, 8, 3), "u1")
    rows[:] = rng.integers(0, 256, rows.shape)
    work.write_array("vectors.npy", rng.standard_normal((20, 4)))
    work.write_table("frames.parquet", pl.DataFrame({"id": [f"{row}.png" for row in range(20)]}))
    work.write_json("summary.json", {"count": 20, "share": 0.5})
    with work.writing("encoder") as folder:
        (folder / "deeper").mkdir(parents=True)
        (folder / "config.json").write_text('{"hidden": 16}')
        (folder / "deeper" / "model.safetensors").write_bytes(rng.bytes(300))


def build(root: Path) -> list[Artifact]:
    """Two steps, the second made from the first."""
    store = Store(root)
    first = store.build("first", write_first, version=1, config={"size": 8})

    def write_second(work: Workspace) -> None:
        work.write_json("sum.json", float(first.array("vectors.npy").sum()))

    return [first, store.build("second", write_second, version=1, config={}, inputs={"first": first})]


def read_all(root: Path) -> tuple[object, ...]:
    """Everything that a later step could read of the run."""
    first, second = build(root)
    encoder = first.file("encoder")
    return (
        first.array("pixels.npy").tobytes(),
        first.array("vectors.npy").tobytes(),
        first.table("frames.parquet")["id"].to_list(),
        first.json("summary.json"),
        (encoder / "config.json").read_bytes(),
        (encoder / "deeper" / "model.safetensors").read_bytes(),
        second.json("sum.json"),
        second.inputs,
        first.json(MANIFEST)["config"],
    )


def damage(path: Path, rng: np.random.Generator) -> None:
    """Change 1 to 16 neighbouring bytes, as a failing disk does: by chance, to zeros, or one bit."""
    content = bytearray(path.read_bytes())
    before = bytes(content)
    while bytes(content) == before:
        start = int(rng.integers(len(content)))
        stop = min(len(content), start + int(rng.integers(1, 17)))
        match int(rng.integers(3)):
            case 0:
                content[start:stop] = rng.bytes(stop - start)
            case 1:
                content[start:stop] = bytes(stop - start)
            case _:
                content[start] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)


def of_first_version(root: Path) -> None:
    """Take the hashes out, as runs of the first version had none."""
    for manifest in root.glob(f"*/{MANIFEST}"):
        content = json.loads(manifest.read_text())
        del content["hashes"], content["check"]
        manifest.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
        note = json.loads(manifest.with_name(COST).read_text())
        manifest.with_name(COST).write_text(json.dumps({"seconds": note["seconds"]}) + "\n")


def test_no_damage_of_the_same_size_is_used_and_none_ends_in_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, rng = tmp_path / "run", np.random.default_rng(0)
    sound = read_all(root)
    assert check(root) == []
    files = sorted(path for path in root.glob("*-*/**/*") if path.is_file())
    for number in range(DAMAGES):
        path = files[number % len(files)]
        folder = root / path.relative_to(root).parts[0]
        before = path.read_bytes()
        damage(path, rng)
        assert [item.folder for item in check(root)] == [folder], path
        if path.name == COST:
            artifact = next(item for item in build(root) if item.path == folder)
            assert artifact.seconds == 0
            assert f"{COST} is damaged" in capsys.readouterr().err
        else:
            with pytest.raises(StoreError, match=f"delete the folder {folder.name} and run the same command"):
                read_all(root)
        path.write_bytes(before)
    assert read_all(root) == sound


def test_the_same_command_makes_a_deleted_folder_again(tmp_path: Path) -> None:
    sound = read_all(tmp_path)
    first = Store(tmp_path).artifacts("first")[0]
    damage(first.path / "vectors.npy", np.random.default_rng(0))
    with pytest.raises(StoreError, match=r"vectors.npy is not what was written: its hash differs"):
        read_all(tmp_path)
    shutil.rmtree(first.path)
    assert read_all(tmp_path) == sound


def test_runs_of_the_first_version_are_read_and_their_damage_is_no_traceback(tmp_path: Path) -> None:
    root, rng = tmp_path / "run", np.random.default_rng(1)
    sound = read_all(root)
    of_first_version(root)
    assert read_all(root) == sound
    assert check(root) == []
    files = sorted(path for path in root.glob("*-*/**/*") if path.is_file())
    for number in range(DAMAGES):
        path = files[number % len(files)]
        before = path.read_bytes()
        damage(path, rng)
        with suppress(StoreError):  # a value of a table or array that changed cannot be told without a hash
            read_all(root)
        check(root)
        path.write_bytes(before)


@pytest.mark.parametrize("name", [COST, MANIFEST, "run.json", "sum.json", KEY_FILE])
def test_a_file_emptied_by_a_power_cut_is_made_again_or_named(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = read_all(tmp_path)
    group_key(tmp_path)
    second = Store(tmp_path).artifacts("second")[0]
    path = tmp_path / name if (tmp_path / name).exists() else second.path / name
    path.write_bytes(b"")
    if name == COST:
        assert second.seconds == 0
        assert read_all(tmp_path) == sound
    elif name == "run.json":
        assert read_all(tmp_path) == sound
        assert json.loads(path.read_text()) == {"optidel": "run", "format": 1}
    elif name == KEY_FILE:
        with pytest.raises(StoreError, match=r"\.group-key holds 0 bytes, not the 32 of a key; delete it"):
            group_key(tmp_path)
    else:
        with pytest.raises(StoreError, match=f"delete the folder {second.path.name}"):
            read_all(tmp_path)


def test_an_emptied_note_of_seconds_does_not_stop_an_unfinished_step(tmp_path: Path) -> None:
    (tmp_path / COST).write_bytes(b"")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "rows.done").write_bytes(b"")
    work = Workspace(tmp_path)
    assert list(work.blocks(4, 2, "rows")) == [(0, 2), (2, 4)]
    assert work.clock() < 60


def test_a_file_is_hashed_once_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = build(tmp_path)
    first.array("pixels.npy")
    monkeypatch.setattr("optidel.store._hash", lambda path: pytest.fail(f"{path} is hashed again"))
    first.array("pixels.npy")
    Store(tmp_path).artifacts("first")[0].array("pixels.npy")


def test_the_command_names_what_to_delete(tmp_path: Path) -> None:
    build(tmp_path / "run")
    runner = CliRunner()
    sound = runner.invoke(app, ["check", str(tmp_path / "run")])
    assert (sound.exit_code, sound.stdout) == (0, "every file is as it was written\n")
    [table] = (tmp_path / "run").glob("first-*/frames.parquet")
    damage(table, np.random.default_rng(0))
    damaged = runner.invoke(app, ["check", str(tmp_path / "run"), "--json"])
    assert damaged.exit_code == 1
    [item] = json.loads(damaged.stdout)
    assert item["folder"] == str(table.parent)
    assert f"delete the folder {table.parent.name}" in item["reason"]
    missing = runner.invoke(app, ["check", str(tmp_path)])
    assert isinstance(missing.exception, StoreError)


def test_check_of_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"holds no run of OptiDEL"):
        check(tmp_path)
    first, second = build(tmp_path / "run")
    (first.path / MANIFEST).unlink()
    shutil.rmtree(second.path / "sum.json", ignore_errors=True)
    (second.path / "sum.json").unlink()
    reasons = {item.folder: item.reason for item in check(tmp_path / "run")}
    assert "has no manifest.json" in reasons[first.path]
    assert "sum.json is missing" in reasons[second.path]


def test_a_damaged_record_of_a_bench_counts_as_none_and_its_plan_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = fake_bench(tmp_path / "out", seeds=[0], methods=["full", "random"])
    key = key_of(bench, next(iter(trials(bench))))
    record = read_record(tmp_path / "out", key)
    assert record is not None
    write_record(tmp_path / "out", key, record)
    assert read_record(tmp_path / "out", key) == record

    path, rng = tmp_path / "out" / "cells" / f"{key}.json", np.random.default_rng(0)
    sound = path.read_bytes()
    for _ in range(50):
        damage(path, rng)
        assert read_record(tmp_path / "out", key) in (None, record)  # a space may have become another
        path.write_bytes(sound)
    path.write_bytes(b"")
    assert read_record(tmp_path / "out", key) is None
    assert "is damaged" in capsys.readouterr().err
    (tmp_path / "out" / "bench.json").write_bytes(b"")
    with pytest.raises(InputError, match=r"bench.json is damaged .*run the same `optidel bench` again"):
        open_bench(tmp_path / "out")
