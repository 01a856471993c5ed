"""One bad file never takes another down: it hangs, dies or eats its process, and alone is quarantined."""

import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import optidel
from optidel.corpus.groups import group_key
from optidel.corpus.options import IndexOptions
from optidel.corpus.sandbox import workers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and memory limits are those of Unix")


@pytest.fixture
def bad_readers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Processes that also know the readers of ``bad_readers.py``."""
    workers.close_idle()
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "support"))
    monkeypatch.setattr(workers, "START", f"import bad_readers; {workers.START}")
    yield
    workers.close_idle()


BAD = {
    "hang": "made no frame within 1 s",
    "burn": "made no frame within 1 s",
    "kill": "killed its decoding process (signal 9)",
    "crash": "killed its decoding process (signal 11)",
    "leave": "killed its decoding process (exit code 3)",
    "eat": "needs more than 1 GiB of memory",
    "shout": "cannot be decoded (ValueError)",
}


@pytest.mark.usefixtures("bad_readers")
@pytest.mark.parametrize("count", [2])
def test_bad_files_fall_alone(
    make_corpus: Callable[..., Path], count: int, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = make_corpus(12)
    for number, name in enumerate(BAD):
        (folder / f"image-00{number}-bad.{name}").write_bytes(b"x")
    (folder / "z.slow").write_bytes(b"x")
    began = time.monotonic()
    corpus = optidel.index(folder, seconds=1.0, memory=1.0, workers=count)
    assert time.monotonic() - began < 30
    assert [frame.id for frame in corpus.frames] == [
        *(f"image-{i:03d}.png" for i in range(12)),
        *(f"z.slow#frame:{i}" for i in range(8)),
    ]
    assert {item.source.partition(".")[2]: item.reason for item in corpus.rejected} == BAD
    out, err = capfd.readouterr()
    assert "MARKER" not in out + err


@pytest.mark.usefixtures("bad_readers")
def test_a_bad_member_falls_alone(make_corpus: Callable[..., Path]) -> None:
    folder = make_corpus(4)
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        for number in range(4):
            archive.write(folder / f"image-{number:03d}.png", f"{number}.png")
            archive.writestr(f"{number}.{list(BAD)[number]}", b"x")
    corpus = optidel.index(folder / "all.zip", seconds=1.0)
    assert [frame.id for frame in corpus.frames] == [f"all.zip#{number}.png" for number in range(4)]
    assert {item.source: item.reason for item in corpus.rejected} == {
        f"all.zip#{n}.{kind}": BAD[kind] for n, kind in enumerate(list(BAD)[:4])
    }


@pytest.mark.usefixtures("bad_readers")
def test_a_file_that_is_slow_on_a_busy_machine_is_read(tmp_path: Path) -> None:
    """The limit is of seconds of computing, not of the clock on the wall."""
    (tmp_path / "a.crawl").write_bytes(b"x")
    began = time.monotonic()
    corpus = optidel.index(tmp_path, seconds=1.0)
    assert time.monotonic() - began > 2.5
    assert [frame.id for frame in corpus.frames] == ["a.crawl"]


def test_nothing_is_left_behind_by_a_program_that_is_killed(
    make_corpus: Callable[..., Path], tmp_path: Path
) -> None:
    """The memory that processes share has no name, so no kill at any moment leaves a file."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    code = (
        "import os, signal, subprocess, optidel, optidel.corpus.index\n"
        "from optidel.corpus.sandbox import workers\n"
        "real = subprocess.Popen\n"
        "def killed(*arguments, **options):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "workers.subprocess.Popen = killed\n"
        f"optidel.index({str(make_corpus(3))!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"TMPDIR": str(scratch)}, check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    assert list(scratch.iterdir()) == []


def test_the_number_of_processes_changes_nothing(make_corpus: Callable[..., Path]) -> None:
    folder = make_corpus(70)
    one, three = (optidel.index(folder, workers=count) for count in (1, 3))
    assert one == three
    assert [frame.id for frame in one.frames] == [f"image-{i:03d}.png" for i in range(70)]


def test_idle_processes_are_used_again_and_end(make_corpus: Callable[..., Path]) -> None:
    workers.close_idle()
    folder = make_corpus(3)
    optidel.index(folder)
    [process] = workers._idle
    began = time.monotonic()
    optidel.index(folder)
    assert time.monotonic() - began < 0.5
    assert workers._idle == [process]
    workers.close_idle()
    assert process.process.returncode is not None


def test_a_process_does_not_serve_under_another_limit(make_corpus: Callable[..., Path]) -> None:
    """What it still holds of earlier files could be more than the new limit allows, and good files would be
    refused.
    """
    folder = make_corpus(3)
    optidel.index(folder, memory=2.0)
    before = workers._idle[0]
    optidel.index(folder, memory=1.0)
    assert before.process.returncode is not None
    assert [process.memory for process in workers._idle] == [1 << 30]


def test_a_dead_idle_process_is_replaced(make_corpus: Callable[..., Path]) -> None:
    folder = make_corpus(3)
    optidel.index(folder)
    workers._idle[0].process.kill()
    workers._idle[0].process.wait()
    assert len(optidel.index(folder).frames) == 3


def test_scripts_need_no_guard(make_corpus: Callable[..., Path], tmp_path: Path) -> None:
    """A process that imported the caller's script again would start the script again."""
    script = tmp_path / "script.py"
    script.write_text(f"import optidel\nprint(len(optidel.index({str(make_corpus(3))!r}).frames))\n")
    done = subprocess.run(
        [sys.executable, "-W", "error", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("3\n", "")


def test_a_decoding_process_imports_no_torch() -> None:
    heavy = ("torch", "transformers", "nibabel", "pydicom", "pyarrow", "av")
    code = (
        "import sys, optidel.corpus.sandbox.process; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"


def test_idle_processes_follow_a_change_of_folder(
    make_corpus: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = IndexOptions().scan(group_key(None))
    hashes = []
    for seed, name in enumerate(("here/corpus", "there/corpus")):
        monkeypatch.chdir(make_corpus(8, name, seed).parent)
        [scanned] = workers.scan_files(Path("corpus"), ["image-000.png"], options)
        [scan] = scanned.frames
        hashes.append(scan.sha256)
    assert hashes[0] != hashes[1]
