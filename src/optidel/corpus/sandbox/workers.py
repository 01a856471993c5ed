"""Decoding in processes of its own: a file that hangs, eats the memory or kills its process is quarantined,
and the others go on.
"""

import atexit
import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from optidel.archives.archive import key
from optidel.corpus.companions import beside
from optidel.corpus.sandbox.process import DECODING, IDLE, PART, PATIENCE, SINCE, SLOTS, SPENT, STATE, TASK
from optidel.corpus.sandbox.scan import ScanOptions
from optidel.errors import OptidelError
from optidel.records import Frame, Quality, Rejected
from optidel.remote import FETCH, Root, blocks

BATCH = 16
"""Files handed to a process at a time: enough that passing them on costs nothing beside reading them."""

BATCH_BYTES = 1 << 14
"""Bytes of an order; two of them fit into any pipe, so that sending never waits."""

AHEAD = 8 * BATCH
"""Files a process may be ahead of the one whose turn it is; bounds what is held in memory."""

LINGER = 10.0
"""Seconds for which idle processes are kept for the next index; a round number."""

WATCH = 0.2
"""Seconds between two looks at the processes: a fraction of any sensible limit."""

STOPPED = 1.0
"""Seconds between two looks after which the whole machine, or this program, stood still meanwhile."""

STEP = 0.01
"""Seconds of CPU that count as a sign of life: what the system counts in."""

LATE = "made no frame within"
DIED = "killed its decoding process"
TRANSIENT = (LATE, DIED, "needs more than", "cannot be opened", FETCH)
"""Reasons that may not hold next time: such files are read again even if they did not change."""

START = "from optidel.corpus.sandbox.process import main; main()"
SETTINGS = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"), "1"
)
SECRET = re.compile("KEY|SECRET|TOKEN|PASSW|CREDENTIAL", re.IGNORECASE)
"""Names of variables that hold keys; decoding needs none."""

SETTINGS |= {"RUST_BACKTRACE": "0"}
"""Environment of a decoding process: one thread each, and no seconds spent on describing a crash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """What became of one file: its frames, what was measured of each, and what of it is quarantined."""

    source: str
    frames: list[Frame]
    quality: list[Quality]
    rejected: list[Rejected]


@dataclass(slots=True, kw_only=True)
class _Task:
    """A file under way: the records so far, and what its next process has to know."""

    number: int
    source: str
    records: list[dict[str, Any]] = field(default_factory=list)
    skip: dict[int, str] = field(default_factory=dict)
    stop: tuple[int, str] | None = None
    deaths: int = 0
    done: bool = False

    def order(self) -> dict[str, Any]:
        start = self.records[-1]["part"] + 1 if self.records else 0
        return {
            "task": self.number,
            "source": self.source,
            "start": start,
            "skip": list(self.skip.items()),
            "stop": self.stop,
        }


class _Process:
    """A decoding process, the bytes it may hold, and what it was asked for."""

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self.hung: float | None = None
        self._looked = time.monotonic()
        self._idle_for = 0.0
        self._computed = 0.0
        start = f"import sys; sys.path[:] = {sys.path!r}; {START}"
        with _shared_file() as (shared, argument, handles):
            shared.write(bytes(SLOTS * np.float64().nbytes))
            shared.flush()
            self.alive = np.memmap(shared, np.float64, "r+", shape=(SLOTS,))
            self.process = subprocess.Popen(
                [sys.executable, "-c", start, argument],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=_without_keys(os.environ) | SETTINGS,
                pass_fds=handles,
            )
            self._wait_for_start()
        self.asked: deque[list[_Task]] = deque()
        self.inbox: queue.Queue[tuple[_Process, bytes]] | None = None

    def _wait_for_start(self) -> None:
        assert self.process.stdout
        if not self.process.stdout.readline():
            self.close()
            raise OptidelError("a decoding process could not start; what it printed is above")

    def listen(self, inbox: "queue.Queue[tuple[_Process, bytes]]") -> None:
        """Pass on every line, and an empty one at the end, from a thread: pipes cannot be waited for together
        on every system.
        """
        first = self.inbox is None
        self.inbox = inbox
        if first:
            threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            assert self.inbox
            self.inbox.put((self, line))
        assert self.inbox
        self.inbox.put((self, b""))

    def ask(self, tasks: list[_Task], root: Path, options: dict[str, Any]) -> None:
        self.asked.append(tasks)
        order = json.dumps({"root": str(root), "options": options, "tasks": [task.order() for task in tasks]})
        assert self.process.stdin
        with suppress(OSError):  # where it died, the reading thread tells
            self.process.stdin.write(order.encode() + b"\n")
            self.process.stdin.flush()

    def end_if_late(self, seconds: float) -> None:
        """Kill it if it has computed at one thing for longer than allowed, or has long done nothing at all.

        The wall clock does not count: on a busy machine a good file takes its time.
        """
        now = time.monotonic()
        elapsed = min(now - self._looked, STOPPED)
        self._looked = now
        since, before = float(self.alive[SINCE]), float(self.alive[SPENT])
        if self.alive[STATE] == IDLE or self.process.poll() is not None:
            self._idle_for = 0.0
            return
        spent = cpu_seconds(self.process.pid)
        if spent is None:  # a system that does not tell: the wall clock has to do, with patience
            spent = before
            is_late = now - since > PATIENCE * seconds
        else:
            moves = spent - self._computed > STEP
            self._computed = spent if moves else self._computed
            self._idle_for = 0.0 if moves else self._idle_for + elapsed
            is_late = spent - before > seconds or self._idle_for > PATIENCE * seconds
        if is_late:
            self.hung = since
            self.process.kill()  # the reading thread reports the end

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                if pipe:
                    pipe.close()
        del self.alive


def _without_keys(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what gives access: a decoder that a file took over must not find it here."""
    return {name: value for name, value in environment.items() if not SECRET.search(name)}


@contextmanager
def _shared_file() -> Iterator[tuple[IO[bytes], str, tuple[int, ...]]]:
    """A file for memory that two processes share: the file, how the other is told of it, and the handles it
    inherits. It has no name where the system can do so, so that nothing stays behind whatever happens.
    """
    if os.name == "posix":
        with tempfile.TemporaryFile(prefix="optidel-") as shared:
            yield shared, str(shared.fileno()), (shared.fileno(),)
        return
    handle, name = tempfile.mkstemp(prefix="optidel-")
    with os.fdopen(handle, "r+b") as shared:
        yield shared, name, ()
    with suppress(OSError):  # Windows lets go of it only when the other process has ended
        Path(name).unlink()


def cpu_seconds(pid: int) -> float | None:
    """Seconds of CPU that a process has used, in user and system mode; None where the system tells not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # Fields 14 and 15 of proc(5); the second, a name in brackets, may hold spaces.
    user, system = text.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


_idle: list[_Process] = []
_guard = threading.Lock()
_timer: list[threading.Timer] = []


def _take(memory: int) -> _Process:
    """An idle process, or a new one: one that served under another limit may hold more than is allowed."""
    with _guard:
        while _idle:
            process = _idle.pop()
            if process.process.poll() is None and process.memory == memory:
                return process
            process.close()  # dead, or of another limit
    return _Process(memory)


def _release(processes: Sequence[_Process]) -> None:
    """Keep idle processes for a while: the next small corpus should not wait for new ones."""
    with _guard:
        for timer in _timer:
            timer.cancel()
        _timer.clear()
        _idle.extend(processes)
        timer = threading.Timer(LINGER, close_idle)
        timer.daemon = True  # a program that ends does not wait for it
        timer.start()
        _timer.append(timer)


@atexit.register
def close_idle() -> None:
    """End the processes that wait for work."""
    with _guard:
        while _idle:
            _idle.pop().close()


def cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))  # fewer than there are, in a container or under Slurm
    return os.cpu_count() or 1


def json_options(options: ScanOptions) -> dict[str, Any]:
    """Scan options as JSON values."""
    return {
        "decode": asdict(options.decode),
        "seconds": options.seconds,
        "memory": options.memory,
        "key": options.key.hex(),
        "crop": options.crop,
    }


def scan_files(
    root: Root, sources: Sequence[str], options: ScanOptions, workers: int | None = None
) -> Iterator[Scanned]:
    """Scan files in processes of their own, and yield what became of each, in the order given.

    The result does not depend on the number of processes, nor on which of them died.

    Args:
        root: folder of the corpus, or its URL.
        sources: POSIX paths below it.
        options: how to decode, and the limits.
        workers: decoding processes; by default one a core, fewer for few files.
    """
    for block in blocks(root, sources, beside):
        local = [name for name in block.names if name not in block.failed]
        scanned = _scan_local(block.root, local, options, workers)
        try:
            for name in block.names:
                yield _unfetched(name, block.failed[name]) if name in block.failed else next(scanned)
        finally:
            scanned.close()


def _unfetched(name: str, why: str) -> Scanned:
    return Scanned(source=name, frames=[], quality=[], rejected=[Rejected(source=name, reason=why)])


def _scan_local(
    root: Path, sources: Sequence[str], options: ScanOptions, workers: int | None
) -> Generator[Scanned, None, None]:
    """Files of this disk."""
    # A process takes as long to start as four pictures to be read.
    count = min(workers or cores(), -(-len(sources) // 4))
    # An idle process of an earlier call still stands in the folder where it was started.
    crew = _Crew(root.absolute(), sources, options, count)
    try:
        yield from crew.run()
    finally:
        crew.dismiss()


class _Crew:
    """The processes at work on one list of files."""

    def __init__(self, root: Path, sources: Sequence[str], options: ScanOptions, count: int) -> None:
        self.root = root
        self.sources = sources
        self.options = options
        self.count = count
        self.json_options = json_options(options)
        self.inbox: queue.Queue[tuple[_Process, bytes]] = queue.Queue()
        self.processes: list[_Process] = []
        self.again: deque[_Task] = deque()
        self.open: dict[int, _Task] = {}
        self.begun = 0
        self.turn = 0
        self.watched = time.monotonic()

    def run(self) -> Iterator[Scanned]:
        while self.turn < len(self.sources):
            self._hand_out()
            self._hear()
            while self.turn in self.open and self.open[self.turn].done:
                task = self.open.pop(self.turn)
                self.turn += 1
                self._hand_out()  # the processes go on while the caller writes
                yield _assemble(task)

    def dismiss(self) -> None:
        """Keep the processes that have nothing to do, end the others."""
        free = [process for process in self.processes if not process.asked and process.process.poll() is None]
        for process in self.processes:
            if process not in free:
                process.close()
        self.processes = []
        if free:
            _release(free)

    def _hand_out(self) -> None:
        """Give every process work, starting new ones while there is enough of it."""
        left = len(self.sources) - self.begun + len(self.again)
        while len(self.processes) < min(self.count, left):
            process = _take(self.options.memory)
            process.listen(self.inbox)
            self.processes.append(process)
        for process in sorted(self.processes, key=lambda process: len(process.asked)):
            # Two orders each: the second waits in the pipe, so that no process waits for the next.
            while len(process.asked) < 2 and (tasks := self._next()):
                process.ask(tasks, self.root, self.json_options)

    def _next(self) -> list[_Task]:
        """The next order: one file that lost its process, or a batch of new ones."""
        if self.again:
            return [self.again.popleft()]
        left = len(self.sources) - self.begun
        room = self.turn + AHEAD * self.count - self.begun
        # Towards the end in smaller batches, so that all processes end together.
        most = min(BATCH, room, max(1, left // (4 * self.count)))
        tasks: list[_Task] = []
        size = 0
        while len(tasks) < most and self.begun < len(self.sources):
            source = self.sources[self.begun]
            size += 100 + 6 * len(source)  # a letter is at most six in JSON
            if tasks and size > BATCH_BYTES:
                break
            tasks.append(_Task(number=self.begun, source=source))
            self.open[self.begun] = tasks[-1]
            self.begun += 1
        return tasks

    def _hear(self) -> None:
        """Take in what has come, and look now and then for a process that is late."""
        pause = min(WATCH, self.options.seconds / 4)
        if time.monotonic() - self.watched > pause:
            self.watched = time.monotonic()
            for process in self.processes:
                process.end_if_late(self.options.seconds)
        try:
            process, line = self.inbox.get(timeout=pause)
        except queue.Empty:
            for process in list(self.processes):
                if process.process.poll() is not None and self.inbox.empty():
                    self._bury(process)  # it died before anybody listened
            return
        if process not in self.processes:
            return  # a last word of one that was buried: its files are asked for again
        if not line.endswith(b"\n"):
            self._bury(process)
            return
        record = json.loads(line)
        task = process.asked[0][0]
        assert task.number == record["task"], "a process answers in the order it was asked"
        if record.pop("done", False):
            task.done = True
            process.asked[0].pop(0)
            if not process.asked[0]:
                process.asked.popleft()
        else:
            task.records.append(record)

    def _bury(self, process: _Process) -> None:
        """A process is gone: blame the part it was at, and give what it was asked for to the others."""
        number, part = int(process.alive[TASK]), int(process.alive[PART])
        state = float(process.alive[STATE])
        # Else it had come further when it was ended, and is asked again.
        is_late = process.hung == process.alive[SINCE]
        tasks = [task for batch in process.asked for task in batch]
        code = process.process.wait()
        self.processes.remove(process)
        process.close()
        # One that was idle when it died had sent what it was asked for: nothing of that is to blame.
        blamed = next((task for task in tasks if task.number == number and state != IDLE), None)
        if blamed and (is_late or process.hung is None):
            blamed.deaths += 1
            if is_late or blamed.deaths > 1:  # once may be the machine's doing, or another process's
                why = f"{LATE} {self.options.seconds:g} s" if is_late else f"{DIED} ({_signal(code)})"
                if state == DECODING:
                    blamed.skip[part] = why
                else:
                    blamed.stop = (part, why)
                blamed.deaths = 0
        # First, so that the turn of the others comes soon.
        self.again.extendleft(reversed(tasks))


def _signal(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _assemble(task: _Task) -> Scanned:
    """Records of the parts to frames; labels beside images of an archive are joined to them by name."""
    spoiled = next((record for record in task.records if record.get("spoiled")), None)
    if spoiled:
        # The checksum of the whole failed: nothing says which of its members changed.
        whole = Rejected(source=task.source, reason=spoiled["reason"])
        return Scanned(source=task.source, frames=[], quality=[], rejected=[whole])

    labels = {}
    for record in task.records:
        if record.get("label") is not None:
            labels[key(record["member"])] = record["label"]

    frames: list[Frame] = []
    quality: list[Quality] = []
    rejected: list[Rejected] = []
    for record in task.records:
        member = record["member"]
        if "reason" in record:
            source = f"{task.source}#{member}" if member else task.source
            rejected.append(Rejected(source=source, reason=record["reason"]))
        quality.extend(Quality(**values) for values in record.get("quality", []))
        for values in record.get("frames", []):
            if member and values.get("label") is None:
                values["label"] = labels.get(key(member))
            frames.append(_frame(task.source, member, values))
    return Scanned(source=task.source, frames=frames, quality=quality, rejected=rejected)


def _frame(source: str, member: str, values: dict[str, Any]) -> Frame:
    """A frame from what a decoding process says of it; its group is found later."""
    locator = "#".join(part for part in (member, values["locator"]) if part)
    name = f"{source}#{locator}" if locator else source
    return Frame(**(values | {"id": name, "source": source, "locator": locator, "group": None}))
