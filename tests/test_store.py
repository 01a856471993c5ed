import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from optidel import store as store_module
from optidel.errors import StoreError
from optidel.store import (
    COST,
    MANIFEST,
    Artifact,
    Store,
    Workspace,
    canonical,
    digest,
    make_folder,
    replacing,
    rows_digest,
)

SHARDS = 3

# A step in miniature, as real ones are: a memory-mapped array filled shard by shard, a folder, a table, a
# summary.
STEP = """
import os, shutil, signal, sys
from pathlib import Path
import numpy as np
import polars as pl
from optidel.store import Store

def make(workspace):
    rows = workspace.open_array("rows.npy", (6, 2), "f4")
    for shard in range(3):
        if not workspace.has(f"done-{shard}.json"):
            rows[2 * shard : 2 * shard + 2] = shard + 1
            rows.flush()
            workspace.write_json(f"done-{shard}.json", shard)
    if not workspace.has("encoder"):
        with workspace.writing("encoder") as folder:
            folder.mkdir()
            (folder / "config.json").write_text("{}")
            (folder / "weights.bin").write_bytes(b"w" * 100)
    if not workspace.has("table.parquet"):
        for start, stop in workspace.blocks(4, 2, "table"):
            workspace.write_table(f"parts/{start}.parquet", pl.DataFrame({"a": [start, stop]}))
        parts = [workspace.table(f"parts/{start}.parquet") for start in (0, 2)]
        workspace.write_table("table.parquet", pl.concat(parts))
    workspace.write_array("vectors.npy", np.arange(4.0))

def build(root):
    store = Store(root)
    first = store.build("first", make, version=1, config={"k": 2})
    return store.build("second", lambda w: w.write_json("out.json", int(first.array("rows.npy").sum())),
                       version=1, config={}, inputs={"first": first})
"""

# Killed by SIGKILL at the n-th operation on files, for n = 1, 3, 5, … until a build survives; after each kill
# a new process resumes.
KILLER = (
    STEP
    + """
def killed_at(root, limit):
    pid = os.fork()
    if pid == 0:
        seen = 0
        def hook(event, arguments):
            nonlocal seen
            events = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"}
            if event in events and str(root) in str(arguments[0]):
                seen += 1
                if seen == limit:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        failed = True
        try:
            build(root)
            failed = False
        finally:
            os._exit(failed)
    status = os.waitpid(pid, 0)[1]
    assert status in (0, signal.SIGKILL), f"file operation {limit} of {root}: status {status}"
    return status == signal.SIGKILL

def contents(root):
    files = [path for path in root.glob("[a-z]*/**/*") if path.is_file() and path.name != "cost.json"]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}

os.fsync = lambda _: None  # a kill, unlike a power cut, loses nothing that was written
base = Path(sys.argv[1])
killed_at(base / "whole", 0)  # in a process of its own: the threads that Polars starts do not survive a fork
want = contents(base / "whole")
assert len(want) == 11, sorted(want)
limit, kills = -1, 0
while True:
    limit += 2
    root = base / f"run-{limit}"
    if not killed_at(root, limit):
        break
    kills += 1
    assert not killed_at(root, 0)
    assert contents(root) == want, f"kill {limit} changed the result"
    assert not list(root.rglob("*.partial")), limit
    assert not list(root.glob("*/.tmp-*")), limit
    shutil.rmtree(root)
print(kills)
"""
)


def write_rows(workspace: Workspace) -> None:
    workspace.write_json("rows.json", [1, 2])


def test_a_kill_at_any_file_operation_continues_to_the_same_bytes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLER, str(tmp_path)],
        env=os.environ | {"POLARS_MAX_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) >= 40  # moments tried: run marker, locks, shards, folder, manifest, rename


def test_killed_step_keeps_finished_shards_and_the_next_process_starts_at_the_first_missing(
    tmp_path: Path,
) -> None:
    code = STEP.replace(
        "rows.flush()",
        "rows.flush(); print(shard, flush=True); time.sleep(100 if shard == 2 and slow else 0)",
    )
    code = "import time\nslow = True\n" + code + "\nbuild(sys.argv[1])"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert [child.stdout.readline().strip() for _ in range(SHARDS)] == ["0", "1", "2"]
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    [partial] = (tmp_path / "run").glob("*.partial")
    assert sorted(path.name for path in partial.glob("done-*")) == ["done-0.json", "done-1.json"]
    again = subprocess.run(
        [sys.executable, "-c", code.replace("slow = True", "slow = False"), str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert again.stdout.split() == ["2"]  # shards 0 and 1 were not written again
    [first] = Store(tmp_path / "run").artifacts("first")
    assert first.array("rows.npy")[:, 0].tolist() == [1, 1, 2, 2, 3, 3]


def test_two_processes_at_once_build_once_and_agree(tmp_path: Path) -> None:
    code = (
        STEP
        + "\nprint(os.getpid() if not list(Path(sys.argv[1]).glob('first-*')) else 0, "
        + "build(sys.argv[1]).path.name)"
    )
    code = code.replace(
        "def make(workspace):",
        "def make(workspace):\n    print('made', flush=True); import time; time.sleep(0.5)",
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "run")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    outputs = [child.communicate(timeout=60) for child in children]
    assert [child.returncode for child in children] == [0, 0, 0], outputs
    assert sum(stdout.count("made") for stdout, _ in outputs) == 1
    assert len({stdout.split()[-1] for stdout, _ in outputs}) == 1
    assert any("another process is building first-" in stderr for _, stderr in outputs)


def test_two_builds_give_the_same_bytes_and_paths_never_matter(tmp_path: Path) -> None:
    code = STEP + "\nfor root in sys.argv[1:]: build(root)"
    roots = [tmp_path / "here", tmp_path / "there" / "deeper"]
    subprocess.run([sys.executable, "-c", code, *map(str, roots)], check=True)
    found = [
        {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in root.glob("[a-z]*/**/*")
            if path.is_file() and path.name != COST
        }
        for root in roots
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 11


def test_same_inputs_reuse_and_any_change_makes_a_new_folder_beside_the_old(tmp_path: Path) -> None:
    store = Store(tmp_path)
    calls = []

    def make(workspace: Workspace) -> None:
        calls.append(workspace.path.name)
        write_rows(workspace)

    first = store.build("embed", make, version=1, config={"a": 1, "b": [2]})
    assert store.build("embed", make, version=1, config={"b": [2], "a": 1}) == first
    assert Store(tmp_path).build("embed", make, version=1, config={"a": 1, "b": [2]}) == first
    assert len(calls) == 1
    others = [
        store.build("embed", make, version=2, config={"a": 1, "b": [2]}),
        store.build("embed", make, version=1, config={"a": 2, "b": [2]}),
        store.build("other", make, version=1, config={"a": 1, "b": [2]}),
        store.build("embed", make, version=1, config={"a": 1, "b": [2]}, inputs={"index": first}),
    ]
    assert len({artifact.path for artifact in [first, *others]}) == 5
    assert [artifact.path for artifact in store.artifacts("other")] == [others[2].path]
    assert len(store.artifacts()) == 5
    assert first.json("rows.json") == [1, 2]
    assert first.seconds >= 0


def test_later_steps_depend_on_declared_content_only(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def index(workspace: Workspace) -> None:
        workspace.content = digest(b"the same frames")
        write_rows(workspace)

    here = store.build("index", index, version=1, config={"root": "a"})
    there = store.build("index", index, version=1, config={"root": "b"})
    assert here.path != there.path
    assert here.content == there.content != here.fingerprint
    after = [
        store.build("embed", write_rows, version=1, config={}, inputs={"index": artifact})
        for artifact in (here, there)
    ]
    assert after[0] == after[1]


def test_a_failing_step_keeps_what_it_wrote_and_leaves_no_artifact(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fail(workspace: Workspace) -> None:
        write_rows(workspace)
        with workspace.writing("half.txt") as path:
            path.write_text("ha")
            raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        store.build("step", fail, version=1, config={})
    assert store.artifacts() == []

    def finish(workspace: Workspace) -> None:
        assert workspace.has("rows.json")
        assert not workspace.has("half.txt")

    artifact = store.build("step", finish, version=1, config={})
    assert {path.name for path in artifact.path.iterdir()} == {"rows.json", COST, MANIFEST}


def test_a_folder_left_half_written_by_a_kill_is_started_afresh(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    (tmp_path / ".tmp-encoder").mkdir()
    (tmp_path / ".tmp-encoder" / "stale.bin").write_text("old")
    with workspace.writing("encoder") as folder:
        folder.mkdir()
        (folder / "config.json").write_text("{}")
    assert [path.name for path in (tmp_path / "encoder").iterdir()] == ["config.json"]


def test_blocks_go_on_after_the_last_finished_one(tmp_path: Path) -> None:
    store, seen = Store(tmp_path), []

    def fill(workspace: Workspace, stop_at: int) -> None:
        rows = workspace.open_array("rows.npy", (7,), "i8")
        for start, stop in workspace.blocks(7, 3, "fill"):
            seen.append((start, stop))
            rows[start:stop] = np.arange(start, stop)
            if start == stop_at:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.build("step", lambda workspace: fill(workspace, 3), version=1, config={})
    artifact = store.build("step", lambda workspace: fill(workspace, -1), version=1, config={})
    assert seen == [(0, 3), (3, 6), (3, 6), (6, 7)]
    assert artifact.array("rows.npy").tolist() == list(range(7))
    assert list(artifact.json(MANIFEST)["files"]) == ["rows.npy"]


def test_parts_serve_resuming_only_and_a_kill_while_they_go_does_not_make_the_step_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, calls = Store(tmp_path), []

    def make(workspace: Workspace) -> None:
        calls.append(1)
        workspace.write_table("parts/0.parquet", pl.DataFrame({"a": [1]}))
        workspace.part("note").write_text("3")
        workspace.write_json(
            "out.json",
            int(workspace.table("parts/0.parquet")["a"].sum()) + int(workspace.part("note").read_text()),
        )

    def killed(path: Path) -> None:
        if path.name == store_module.PARTS:
            (path / "0.parquet").unlink()
            raise KeyboardInterrupt

    monkeypatch.setattr(store_module, "_remove", killed)
    with pytest.raises(KeyboardInterrupt):
        store.build("step", make, version=1, config={})
    monkeypatch.undo()
    artifact = store.build("step", make, version=1, config={})
    assert calls == [1]
    assert {path.name for path in artifact.path.iterdir()} == {"out.json", COST, MANIFEST}
    assert artifact.json("out.json") == 4
    assert list(artifact.json(MANIFEST)["files"]) == ["out.json"]


def test_seconds_add_up_over_attempts(tmp_path: Path) -> None:
    (tmp_path / COST).write_text('{"seconds": 100.0}')
    workspace = Workspace(tmp_path)
    assert 100.0 <= workspace.clock() < 101.0
    assert json.loads((tmp_path / COST).read_text())["seconds"] >= 100.0


def test_arrays_tables_and_json_come_back_as_they_went_in(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((5, 3)).astype(np.float32)
    table = pl.DataFrame({"id": ["a", "b"], "iou": [0.5, None]})

    def make(workspace: Workspace) -> None:
        workspace.write_array("vectors.npy", vectors)
        workspace.write_table("images/table.parquet", table)
        workspace.open_array("images/zeros.npy", (2, 3), "u1")
        workspace.write_json("summary.json", {"miou": 0.5})

    artifact = Store(tmp_path).build("step", make, version=1, config={})
    np.testing.assert_array_equal(artifact.array("vectors.npy"), vectors)
    assert not artifact.array("vectors.npy").flags.writeable
    assert artifact.table("images/table.parquet").equals(table)
    assert artifact.array("images/zeros.npy").tolist() == [[0, 0, 0], [0, 0, 0]]
    assert artifact.json("summary.json") == {"miou": 0.5}
    manifest = artifact.json(MANIFEST)
    assert list(manifest["files"]) == [
        "images/table.parquet",
        "images/zeros.npy",
        "summary.json",
        "vectors.npy",
    ]
    assert str(tmp_path) not in json.dumps(manifest)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_one_sentence_and_the_same_command_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    store = Store(tmp_path)

    def make(workspace: Workspace) -> None:
        if not workspace.has("first.npy"):
            workspace.write_array("first.npy", np.zeros(3))
            monkeypatch.setattr(np, "save", lambda *_, **__: (_ for _ in ()).throw(error))
        workspace.write_array("second.npy", np.ones(3))

    with pytest.raises(
        StoreError,
        match=r"no space left on the disk of .*free some and run the same command again, it continues",
    ):
        store.build("step", make, version=1, config={})
    [partial] = tmp_path.glob("*.partial")
    assert np.load(partial / "first.npy").tolist() == [0, 0, 0]
    monkeypatch.undo()
    assert store.build("step", make, version=1, config={}).array("second.npy").tolist() == [1, 1, 1]


def test_torch_on_a_full_disk_says_something_else_and_is_still_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(_: Workspace) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")

    store = Store(tmp_path)
    with pytest.raises(
        RuntimeError, match="unexpected pos"
    ):  # with room on the disk it is somebody's bug and stays visible
        store.build("step", save, version=1, config={})
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: os.terminal_size((0, 0)) and type("Usage", (), {"free": 0})
    )
    with pytest.raises(StoreError, match="no space left"):
        store.build("step", save, version=1, config={})


def test_space_for_a_mapped_array_is_reserved_so_that_a_full_disk_is_no_bus_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Workspace(tmp_path).open_array("mapped.npy", (1 << 18,), "u1")
    assert (tmp_path / "mapped.npy").stat().st_blocks * 512 >= 1 << 18

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StoreError, match="no space left"):
        Store(tmp_path / "run").build(
            "step", lambda w: w.open_array("a.npy", (8,), "f4") and None, version=1, config={}
        )


def test_forbidden_paths_of_the_run_are_explained_and_those_of_others_are_not(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def refuse(name: Path) -> None:
        def make(_: Workspace) -> None:
            raise PermissionError(errno.EACCES, "Permission denied", str(name))

        store.build("step", make, version=1, config={})

    with pytest.raises(
        StoreError, match=r"cannot write to .*x.json: Permission denied; pass a run folder you may write to"
    ):
        refuse(tmp_path / "x.json")
    with pytest.raises(PermissionError):
        refuse(Path("elsewhere.png"))


def test_run_folder_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is a file; pass a folder"):
        Store(tmp_path / "file")
    with pytest.raises(StoreError, match="Not a directory; pass a run folder"):
        Store(tmp_path / "file" / "run")


def test_a_folder_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(
        StoreError, match=r"not empty and holds no run of OptiDEL \(no run.json\); pass a new or empty folder"
    ):
        Store(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"optidel": "run", "format": 99}', "has format 99, this version writes 1; pass a new folder"),
        ("{", "is not readable"),
        ("[]", "is not readable"),
        ("\xff", "is not readable"),
    ],
)
def test_run_of_another_format_or_damaged_marker(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "run.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(StoreError, match=message):
        Store(tmp_path)


def test_another_process_that_starts_the_run_meanwhile_is_no_stranger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = Path.iterdir

    def slow(folder: Path) -> list[Path]:
        Store.__init__.__globals__["Path"].iterdir = listed
        Store(folder).build("step", write_rows, version=1, config={})
        return list(listed(folder))

    (tmp_path / "run").mkdir()
    monkeypatch.setattr(Path, "iterdir", slow)
    assert len(Store(tmp_path / "run").artifacts()) == 1


def damage_manifest(artifact: Artifact, text: str) -> None:
    (artifact.path / MANIFEST).write_text(text)


@pytest.mark.parametrize(
    "text", ["", "{", "{}", "[]", '{"step": "s", "fingerprint": "f", "content": "c", "files": 3}']
)
def test_damaged_manifest_names_the_folder_to_delete(tmp_path: Path, text: str) -> None:
    store = Store(tmp_path)
    artifact = store.build("step", write_rows, version=1, config={})
    damage_manifest(artifact, text)
    with pytest.raises(
        StoreError,
        match=(
            f"manifest.json is damaged .*; delete the folder {artifact.path.name} "
            "and run the same command again"
        ),
    ):
        store.build("step", write_rows, version=1, config={})
    with pytest.raises(StoreError, match="is damaged"):
        store.artifacts()
    shutil.rmtree(artifact.path)
    assert store.build("step", write_rows, version=1, config={}) == artifact


def test_missing_manifest_and_files_that_changed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    artifact = store.build("step", write_rows, version=1, config={})
    (artifact.path / "rows.json").write_text("longer than it was")
    with pytest.raises(StoreError, match=r"rows.json has 18 bytes, the manifest says"):
        store.build("step", write_rows, version=1, config={})
    (artifact.path / "rows.json").unlink()
    with pytest.raises(StoreError, match=r"rows.json is missing; delete the folder"):
        store.build("step", write_rows, version=1, config={})
    (artifact.path / MANIFEST).unlink()
    with pytest.raises(StoreError, match=r"has no manifest.json; delete the folder"):
        store.build("step", write_rows, version=1, config={})


def test_waiting_for_a_lock_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path)
    entered, leave = threading.Event(), threading.Event()

    def slow(workspace: Workspace) -> None:
        entered.set()
        leave.wait(10)
        write_rows(workspace)

    first = threading.Thread(target=store.build, args=("step", slow), kwargs={"version": 1, "config": {}})
    first.start()
    entered.wait(10)
    threading.Timer(0.2, leave.set).start()
    artifact = Store(tmp_path).build("step", slow, version=1, config={})
    first.join()
    assert artifact.json("rows.json") == [1, 2]
    assert f"another process is building {artifact.path.name}; waiting for it" in capsys.readouterr().err


def test_artifacts_keep_their_order_when_a_run_is_copied_without_its_times(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    made = [
        store.build("step", lambda work: work.write_json("a.json", 1), version=1, config={"number": number})
        for number in range(5)
    ]
    shutil.copytree(store.root, tmp_path / "copy", copy_function=shutil.copyfile)
    for number, artifact in enumerate(made):
        os.utime(tmp_path / "copy" / artifact.path.name / MANIFEST, (1_000_000 - number, 1_000_000 - number))
    copied = Store(tmp_path / "copy").artifacts()
    assert [artifact.path.name for artifact in copied] == [artifact.path.name for artifact in made]


def test_canonical_json_and_digest() -> None:
    assert canonical({"b": 1, "a": [1.5, None]}) == b'{"a":[1.5,null],"b":1}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"a": float("nan")})
    assert digest(b"ab", b"c") != digest(b"a", b"bc")
    assert len(digest(b"")) == 16
    assert store_module.FORMAT == 1


def test_a_file_where_a_folder_should_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("years of work")
    for path in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(StoreError, match=r"cannot be a folder.*a file stands in the way.*--out"):
            make_folder(path)
    assert make_folder(tmp_path / "new" / "deeper").is_dir()
    assert (tmp_path / "file").read_text() == "years of work"


@pytest.mark.parametrize("count", [0, 1, 4, 9])
def test_rows_have_the_digest_of_one_list(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "DIGESTED", 4)  # so that nine rows are three blocks
    texts = [None if row % 3 == 1 else f'é"{row}' for row in range(count)]
    table = pl.DataFrame({"text": pl.Series(texts, dtype=pl.String), "number": range(count)})
    assert rows_digest(table) == digest(canonical(table.rows()))
    assert rows_digest(table["text"]) == digest(canonical(texts))


def test_what_a_killed_process_left_beside_a_page_is_removed_by_the_next(tmp_path: Path) -> None:
    """Not what another process still writes, and not what is of another file."""
    page = tmp_path / "page.html"
    code = (
        "import os, sys, time, pathlib; from optidel.store import replacing\n"
        "with replacing(pathlib.Path(sys.argv[1])) as scratch:\n"
        "    scratch.write_text('half'); print(scratch, flush=True); time.sleep(600)"
    )

    def begun(name: str) -> tuple[subprocess.Popen[str], Path]:
        command = [sys.executable, "-c", code, str(tmp_path / name)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        with process.stdout as out:
            return process, Path(out.readline().strip())

    processes, left = zip(*map(begun, ("page.html", "other.html", "page.html")), strict=True)
    for process in processes[:2]:
        process.kill()
        process.wait()
    with replacing(page) as scratch:
        scratch.write_text("whole")
    assert [path.exists() for path in left] == [False, True, True]
    processes[2].kill()
    processes[2].wait()
    assert page.read_text() == "whole"
