"""One function of a range of rows, done shard by shard: in this process, in several, by Slurm or by Ray.

A shard is some thousand consecutive rows. Whoever does it writes one part, a Parquet file, under another name
and renames it: the part itself says that the shard is done. Only the numbers of a shard go out and a receipt
comes back, so nothing but the parts grows with the corpus, any shards may be done anywhere, and a machine, a
worker or this program may die at any time: the same command goes on with the parts that are missing. A batch
never crosses a shard, so every matrix product has the same operands whoever computes it.

A shard that kills its worker three times is halved, and halved again, until the row is known that does so.
"""

import importlib
import json
import os
import pickle
import re
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, ClassVar, Protocol

import numpy as np
import polars as pl

from optidel import errors
from optidel.errors import ExtraError, OptidelError, PendingError, RecipeError, WorkerError, nearest
from optidel.progress import bar, say
from optidel.store import PARTS, Workspace, digest

# Rows of a shard: as many as make a part of some ten MB, and minutes of work on a CPU. A multiple of every
# batch that a worker uses.
SHARD = 4096

# How often a shard may kill its worker before it is halved: once or twice may be the machine's doing.
DEATHS = 3

# Bytes of Ray's store of objects: numbers and receipts are all that passes through it. Ray wants 75 MB.
OBJECT_STORE = 256 << 20

# Threads of the numerical libraries, which several workers on one machine have to share.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")

# What a process of the executor ``local`` runs: a bare interpreter, so that a script needs no ``__main__``.
START = "from optidel.mapping import main; main()"

# How a share of the shards is written: the first of three is 0/3.
SHARE = re.compile(r"(\d+)/(\d+)")

# Where Slurm says which share a process has: number, count, and the first number. Arrays come first.
SLURM = (
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"),
    ("SLURM_PROCID", "SLURM_NTASKS", ""),
)

Tick = Callable[[int], None]
"""Called with a number of rows when they are done, for the bar."""

Make = Callable[[range, Tick], pl.DataFrame]
"""Does some rows: the table of their part, with any number of rows of its own."""


class Worker(Protocol):
    """What is done to rows: a frozen dataclass of JSON values, so that it can be sent and written down."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def open(self) -> Make:
        """Load what is needed, once in each process."""
        ...

    def stand_in(self, row: int) -> pl.DataFrame | None:
        """The table of a row that no worker survives; None where the step cannot do without it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Rows ``start`` to ``stop``, the end exclusive, and the name of their part."""

    start: int
    stop: int
    name: str

    @property
    def rows(self) -> range:
        """The numbers of the rows."""
        return range(self.start, self.stop)

    def half(self, start: int, stop: int) -> "Shard":
        """Some of the rows, as a shard of its own."""
        key = self.name.rpartition("-")[2]
        return Shard(start=start, stop=stop, name=f"{start:010d}-{stop:010d}-{key}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Who does the shards.

    Args:
        executor: ``local``, ``slurm``, ``ray`` (the cluster that ``RAY_ADDRESS`` names, else one of this
            machine, for as long as the step takes) or ``ray://HOST:PORT``.
        workers: processes, or actors of Ray; None does everything in this process, or, with Ray, on all
            cores.
        shard: rows of a shard.

    Raises:
        RecipeError: no such executor.
    """

    executor: str = "local"
    workers: int | None = None
    shard: int = SHARD

    def __post_init__(self) -> None:
        """Check the name."""
        if self.name not in EXECUTORS:
            raise RecipeError(
                f"unknown executor {self.executor!r}{nearest(self.executor, EXECUTORS)}; "
                f"there are {', '.join(EXECUTORS)} and ray://HOST:PORT"
            )

    @property
    def name(self) -> str:
        """The key in :data:`EXECUTORS`."""
        return self.executor.partition(":")[0]

    @property
    def is_shared(self) -> bool:
        """Whether other processes than this one do the shards."""
        return self.workers is not None or self.name != "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A worker, the folder of its parts, and the shards that the rows are cut into."""

    worker: Worker
    folder: Path
    shards: Sequence[Shard]
    label: str

    def missing(self) -> list[Shard]:
        """Shards without a part."""
        return [shard for shard in self.shards if not (self.folder / shard.name).exists()]

    def read(self, shard: Shard) -> pl.DataFrame:
        """The part of a shard."""
        return pl.read_parquet(self.folder / shard.name, memory_map=False)

    def table(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """All parts below each other, or some columns of them: equal rows give equal bytes, however they are
        cut.
        """
        parts = [self.read(shard) for shard in self.shards]
        return pl.concat([part.select(columns) if columns else part for part in parts]).rechunk()


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What comes back of a shard: seconds, or the class and the message of an error."""

    seconds: float = 0.0
    error: tuple[str, str] | None = None


def cut(count: int, size: int, identity: str) -> list[Shard]:
    """Cut ``count`` rows into shards.

    Args:
        count: rows.
        size: rows of a shard; the last one may have fewer.
        identity: stands for the worker's inputs, options and code: parts of other ones have other names.

    Example:
        >>> from optidel.mapping import cut
        >>> [(shard.start, shard.stop) for shard in cut(10, 4, "abc")]
        [(0, 4), (4, 8), (8, 10)]
    """
    shards = []
    for start in range(0, count, size):
        stop = min(start + size, count)
        key = digest(identity.encode(), f"{start}-{stop}".encode())
        shards.append(Shard(start=start, stop=stop, name=f"{start:010d}-{key}.parquet"))
    return shards


def share_of(shards: Sequence[Shard], share: tuple[int, int]) -> list[Shard]:
    """Every n-th shard from the i-th on.

    Args:
        shards: all.
        share: i and n, i from 0.

    Example:
        >>> from optidel.mapping import cut, share_of
        >>> [shard.start for shard in share_of(cut(20, 4, ""), (1, 3))]
        [4, 16]
    """
    number, count = share
    return list(shards[number::count])


def read_share(text: str) -> tuple[int, int]:
    """A share as it is typed.

    Raises:
        RecipeError: not of the form i/n, or i is not under n.

    Example:
        >>> from optidel.mapping import read_share
        >>> read_share("0/3")
        (0, 3)
    """
    match = SHARE.fullmatch(text)
    if match:
        number, count = int(match[1]), int(match[2])
        if number < count:
            return number, count
    raise RecipeError(f"a share is i/n with i from 0 to n - 1, got {text!r}; pass 0/3 for the first of three")


def slurm_share(environment: Mapping[str, str]) -> tuple[int, int] | None:
    """The share that Slurm gives this process, of an array or of ``srun``'s tasks; None outside of Slurm.

    Example:
        >>> from optidel.mapping import slurm_share
        >>> slurm_share({"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "4"})
        (2, 4)
    """
    for number, count, first in SLURM:
        if number in environment and count in environment:
            return int(environment[number]) - int(environment.get(first, 0)), int(environment[count])
    return None


def run(
    work: Workspace,
    worker: Worker,
    count: int,
    label: str,
    plan: Plan,
    identity: str = "",
    cost: int = 1,
) -> Job:
    """Have a worker do ``count`` rows, shard by shard; parts that are there are not made again.

    Args:
        work: the step's folder; parts lie in it until the step is finished.
        worker: what is done.
        count: rows.
        label: of the bar, and of the parts.
        plan: who does it.
        identity: what, beside the step's own fingerprint, the parts depend on.
        cost: of a row, in rows of an embedding: shards are smaller by that.

    Returns:
        The job, with a part for every shard.

    Raises:
        PendingError: with Slurm, shards that others have to do are missing.
        WorkerError: a row kills its worker, and the step cannot do without it; or parts do not arrive.
    """
    name = work.path.name.removesuffix(".partial")
    size = max(1, plan.shard // cost)
    job = _job(work.path / PARTS / label, worker, count, label, size, f"{name}{identity}")
    job.folder.mkdir(parents=True, exist_ok=True)
    _note(job, size, f"{name}{identity}", count)
    shards = job.missing()
    if plan.name == "slurm":
        share = slurm_share(os.environ)
        shards = share_of(job.shards, share) if share else []
    do(job, shards, plan, work.clock)

    missing = job.missing()
    if missing and plan.name != "slurm":
        raise WorkerError(
            f"{label}: {len(missing)} of {len(job.shards)} shards have no part although all were done (does "
            f"every node see {job.folder}?); run the same command again"
        )
    if missing:
        root = work.path.parent
        raise PendingError(
            f"{label}: {len(missing)} of {len(job.shards)} shards are to be done; run "
            f"`optidel work {root} --step {work.path.name.partition('-')[0]}` in an array of jobs "
            "(sbatch --array=0-9), then the same command again"
        )
    return job


def join_arrays(work: Workspace, job: Job, names: Sequence[str]) -> None:
    """Write columns of the parts below each other, each as an array ``NAME.npy`` of the step.

    Args:
        work: the step's folder.
        job: finished; its parts have one row for each of its rows, numbers or arrays of one shape.
        names: of the columns.
    """
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    count = job.shards[-1].stop if job.shards else 0
    for shard in job.shards:
        part = job.read(shard)
        for name in names:
            values = part[name].to_numpy()
            if name not in arrays:
                shape = (count, *values.shape[1:])
                arrays[name] = work.open_array(f"{name}.npy", shape, values.dtype)
            arrays[name][shard.start : shard.stop] = values


def do(job: Job, shards: Sequence[Shard], plan: Plan, clock: Callable[[], object] = time.monotonic) -> None:
    """Do some shards of a job, those that have no part yet.

    Args:
        job: what is done.
        shards: some of the job's.
        plan: who does it.
        clock: called after each shard.
    """
    missing = [shard for shard in shards if not (job.folder / shard.name).exists()]
    if not missing:
        return
    total = sum(len(shard.rows) for shard in job.shards)
    left = sum(len(shard.rows) for shard in missing)
    with bar(job.label, total, total - left) as advance, EXECUTORS[plan.name](job, plan, missing) as desks:
        hand_out(job, missing, desks, advance, clock)


def hand_out(
    job: Job,
    shards: Sequence[Shard],
    desks: Sequence["Desk"],
    tick: Tick,
    clock: Callable[[], object],
) -> None:
    """Give every desk shards until none is left; the first error ends all."""
    if len(desks) == 1:
        for shard in shards:
            _attend(job, shard, desks[0], tick)
            clock()
        return

    free = list(desks)
    waiting = list(reversed(shards))
    busy: dict[Future[None], Desk] = {}
    with ThreadPoolExecutor(len(desks)) as pool:
        try:
            while waiting or busy:
                while free and waiting:
                    desk = free.pop()
                    busy[pool.submit(_attend, job, waiting.pop(), desk, tick)] = desk
                finished, _ = wait(busy, return_when=FIRST_COMPLETED)
                for future in finished:
                    free.append(busy.pop(future))
                    future.result()
                    clock()
        except BaseException:
            for desk in desks:
                desk.stop()
            raise


def _attend(job: Job, shard: Shard, desk: "Desk", tick: Tick) -> None:
    """Have one shard done; where no worker survives it, find the row."""
    path = job.folder / shard.name
    if path.exists():  # another program on the same run was faster
        return
    receipt = desk.ask(shard, tick)
    if receipt is not None:
        if receipt.error:
            raise _error(*receipt.error)
        return

    middle = (shard.start + shard.stop) // 2
    if middle == shard.start:
        table = job.worker.stand_in(shard.start)
        if table is None:
            raise WorkerError(
                f"{job.label}: row {shard.start} killed its worker {DEATHS} times (out of memory?); "
                "give each worker more memory, or take the image out of the corpus"
            )
        say(f"{job.label}: row {shard.start} killed its worker {DEATHS} times and is left out")
        write_part(path, table)
        return

    halves = [shard.half(shard.start, middle), shard.half(middle, shard.stop)]
    for half in halves:
        _attend(job, half, desk, tick)
    write_part(path, pl.concat([job.read(half) for half in halves]))
    for half in halves:
        (job.folder / half.name).unlink(missing_ok=True)


def write_part(path: Path, table: pl.DataFrame) -> None:
    """Write a part under a name that nobody else uses, and rename it."""
    scratch = path.with_name(f".tmp-{socket.gethostname()}-{os.getpid()}-{path.name}")
    table.write_parquet(scratch, statistics=False)
    with scratch.open("rb") as handle:
        os.fsync(handle.fileno())
    scratch.replace(path)


def _make_part(make: Make, folder: Path, shard: Shard, tick: Tick) -> Receipt:
    """Do one shard where the worker is."""
    started = time.monotonic()
    try:
        table = make(shard.rows, tick)
        if folder.is_dir():  # else the step was finished by others
            write_part(folder / shard.name, table)
    except OptidelError as error:
        return Receipt(error=(type(error).__name__, str(error)))
    except Exception:
        return Receipt(error=("", traceback.format_exc()))
    return Receipt(seconds=time.monotonic() - started)


def _error(kind: str, message: str) -> Exception:
    """The error of a worker as an error of this process."""
    known = getattr(errors, kind, None)
    if isinstance(known, type) and issubclass(known, OptidelError):
        return known(message)
    return RuntimeError(f"a worker failed:\n{message}")


# Of a desk that was stopped while it was at work: nobody looks at it.
STOPPED = Receipt(error=(OptidelError.__name__, "stopped"))

# Desks: where a worker sits. -----------------------------------------------------------------------------


class Desk(Protocol):
    """Where shards are done, one at a time."""

    def ask(self, shard: Shard, tick: Tick) -> Receipt | None:
        """Do a shard; None where it killed its worker :data:`DEATHS` times."""
        ...

    def stop(self) -> None:
        """End the worker at once, also while another thread waits for it."""
        ...


class _Here:
    """This process."""

    def __init__(self, job: Job) -> None:
        self.folder = job.folder
        self.make = job.worker.open()

    def ask(self, shard: Shard, tick: Tick) -> Receipt:
        started = time.monotonic()
        # Not caught and told again: a bug keeps its traceback.
        write_part(self.folder / shard.name, self.make(shard.rows, tick))
        return Receipt(seconds=time.monotonic() - started)

    def stop(self) -> None:
        """Nothing to end."""


class _Process:
    """A process of its own, started when it is first asked, and again when it died."""

    def __init__(self, job: Job, environment: dict[str, str]) -> None:
        self.folder = job.folder
        self.order = pickle.dumps((job.worker, str(job.folder.absolute())))
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None
        self.closed = False

    def ask(self, shard: Shard, tick: Tick) -> Receipt | None:
        for _ in range(DEATHS):
            receipt = self._ask_once(shard, tick)
            if receipt is not None:
                return receipt
            if self.closed:
                return STOPPED
        return None

    def _ask_once(self, shard: Shard, tick: Tick) -> Receipt | None:
        """The receipt, or None where the process died over the shard."""
        process, receipt = self._running()
        if receipt is not None:
            return receipt
        assert process.stdin
        assert process.stdout
        ticked = 0
        with suppress(OSError):  # where it died, the end of its output tells
            process.stdin.write(json.dumps(asdict(shard)).encode() + b"\n")
            process.stdin.flush()
        for line in process.stdout:
            answer = json.loads(line)
            if "rows" in answer:
                ticked += answer["rows"]
                tick(answer["rows"])
                continue
            return Receipt(**answer)
        tick(-ticked)
        self._bury(process)
        return None

    def _bury(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):  # what it was sent and did not read
                if pipe:
                    pipe.close()
        self.process = None

    def _running(self) -> tuple[subprocess.Popen[bytes], Receipt | None]:
        """The process, ready for a shard; else why not.

        Raises:
            WorkerError: it died before it was asked for anything, so no shard is to blame.
        """
        if self.process is not None:
            return self.process, None
        start = f"import sys; sys.path[:] = {sys.path!r}; {START}"
        process = self.process = subprocess.Popen(
            [sys.executable, "-c", start],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | self.environment,
        )
        assert process.stdin
        assert process.stdout
        with suppress(OSError):
            process.stdin.write(len(self.order).to_bytes(8, "little") + self.order)
            process.stdin.flush()
        line = process.stdout.readline()
        if line:
            receipt = Receipt(**json.loads(line))
            return process, receipt if receipt.error else None
        self._bury(process)
        if self.closed:
            return process, STOPPED
        raise WorkerError(
            f"a worker could not start ({describe(process.returncode)}); what it printed is above, and "
            "fewer --workers need less memory"
        )

    def stop(self) -> None:
        self.closed = True
        process = self.process
        if process is not None:
            process.kill()

    def close(self) -> None:
        self.stop()
        if self.process is not None:
            self._bury(self.process)


def main() -> None:
    """A worker process: a worker comes in, then orders, one JSON line each; receipts go out."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is not a receipt
    size = int.from_bytes(sys.stdin.buffer.read(8), "little")
    # From the pipe of the process that started this one, never from a file.
    worker, folder = pickle.loads(sys.stdin.buffer.read(size))
    try:
        make: Make = worker.open()
    except OptidelError as error:
        _send(out, asdict(Receipt(error=(type(error).__name__, str(error)))))
        return
    _send(out, asdict(Receipt()))  # ready: if it dies from now on, it is over a shard
    for line in sys.stdin.buffer:
        shard = Shard(**json.loads(line))
        receipt = _make_part(make, Path(folder), shard, lambda rows: _send(out, {"rows": rows}))
        _send(out, asdict(receipt))


def _send(out: IO[bytes], answer: dict[str, Any]) -> None:
    try:
        out.write(json.dumps(answer).encode() + b"\n")
        out.flush()
    except BrokenPipeError:  # the driver is gone, and with it whoever would read this
        os._exit(1)


def describe(code: int) -> str:
    """How a process ended."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"


class _Seat:
    """A worker inside an actor of Ray."""

    def __init__(self, order: bytes, folder: str, paths: Sequence[str]) -> None:
        self.order = order
        self.folder = folder
        sys.path.extend(path for path in paths if path not in sys.path)
        self.make: Make | None = None

    def ready(self) -> Receipt:
        try:
            # Unpickled here, so that what is missing on this node is an error and not a death.
            self.make = self.make or pickle.loads(self.order).open()
        except OptidelError as error:
            return Receipt(error=(type(error).__name__, str(error)))
        except Exception:
            return Receipt(error=("", traceback.format_exc()))
        return Receipt()

    def do(self, shard: Shard) -> Receipt:
        receipt = self.ready()  # Ray may have started it anew
        if receipt.error or self.make is None:
            return receipt
        return _make_part(self.make, Path(self.folder), shard, lambda rows: None)


class _Actor:
    """An actor of Ray, which Ray itself starts again."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self.ray = ray
        self.actor = actor
        self.closed = False

    def ask(self, shard: Shard, tick: Tick) -> Receipt | None:
        try:
            receipt: Receipt = self.ray.get(self.actor.do.remote(shard))
        except self.ray.exceptions.RayActorError:
            return STOPPED if self.closed else self._blame()
        tick(len(shard.rows))
        return receipt

    def _blame(self) -> Receipt | None:
        """None where the shard is to blame: Ray has started the actor anew, and without work it lives."""
        try:
            receipt: Receipt = self.ray.get(self.actor.ready.remote())
        except self.ray.exceptions.RayError as error:
            return Receipt(
                error=(
                    WorkerError.__name__,
                    f"an actor of Ray cannot be started again ({type(error).__name__}); see that the cluster "
                    "runs and has memory, and run the same command again",
                )
            )
        return receipt if receipt.error else None

    def stop(self) -> None:
        self.closed = True
        with suppress(Exception):  # the cluster may be gone
            self.ray.kill(self.actor)


# Executors: who provides the desks. ----------------------------------------------------------------------

Executor = Callable[[Job, Plan, Sequence[Shard]], AbstractContextManager[Sequence[Desk]]]


@contextmanager
def _local(job: Job, plan: Plan, shards: Sequence[Shard]) -> Iterator[Sequence[Desk]]:
    """This process, or some of its own."""
    if plan.workers is None:
        yield [_Here(job)]
        return
    count = min(plan.workers, len(shards))
    desks = [_Process(job, environment) for environment in environments(count)]
    try:
        yield desks
    finally:
        for desk in desks:
            desk.close()


def environments(count: int) -> list[dict[str, str]]:
    """What ``count`` processes on one machine share: cores evenly, and the CUDA devices in turn."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = str(max(1, cores // count))
    # A limit that a person set stays.
    shared = {name: os.environ.get(name, threads) for name in THREADS}
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    folder = Path("/proc/driver/nvidia/gpus")
    found = len(list(folder.iterdir())) if folder.is_dir() else 0
    devices = listed.split(",") if listed is not None else [str(number) for number in range(found)]
    if not devices:
        return [shared] * count
    return [shared | {"CUDA_VISIBLE_DEVICES": devices[number % len(devices)]} for number in range(count)]


@contextmanager
def _ray(job: Job, plan: Plan, shards: Sequence[Shard]) -> Iterator[Sequence[Desk]]:
    """Actors of a Ray cluster; one is started here where none is running."""
    ray, is_ours = _connect(plan)
    actors = []
    try:
        resources = ray.cluster_resources()
        devices, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        count = min(plan.workers or devices or cores, len(shards))
        # More actors than cores are wanted by who asks for them: an actor that cannot be placed waits for
        # ever, so no more is asked of the cluster than it has.
        options = {
            "num_cpus": min(1.0, cores / count),
            "num_gpus": min(1.0, devices / count),
            "max_restarts": -1,
            "max_task_retries": DEATHS - 1,
        }
        seat = ray.remote(**options)(_Seat)
        order, folder = pickle.dumps(job.worker), str(job.folder.absolute())
        actors = [_Actor(ray, seat.remote(order, folder, sys.path)) for _ in range(count)]
        yield actors
    finally:
        for actor in actors:
            actor.stop()
        if is_ours:
            ray.shutdown()


def _connect(plan: Plan) -> tuple[Any, bool]:
    """Ray, connected to the cluster that was asked for; and whether this call connected it.

    Raises:
        ExtraError: Ray is not installed.
        WorkerError: there is no such cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere unasked
    try:
        ray = importlib.import_module("ray")
    except ModuleNotFoundError as error:
        raise ExtraError("this needs ray, which is not installed; pip install 'optidel[ray]'") from error
    if ray.is_initialized():
        return ray, False

    # A cluster is joined only where a person names one: another person's may run on the same machine.
    address = plan.executor if plan.executor.startswith("ray://") else os.environ.get("RAY_ADDRESS")
    if address:
        try:
            ray.init(address, log_to_driver=False)
        except Exception as error:  # Ray raises ConnectionError, or what its client's network library does
            raise WorkerError(
                f"no Ray cluster answers at {address} ({type(error).__name__}); start one with "
                "`ray start --head`, or pass --executor ray without RAY_ADDRESS"
            ) from error
        return ray, True
    ray.init(
        "local",
        num_cpus=plan.workers,
        object_store_memory=OBJECT_STORE,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        _node_ip_address="127.0.0.1",
    )
    return ray, True


# Literal, so that what there is can be read here. Slurm starts the processes itself: each does its share.
EXECUTORS: dict[str, Executor] = {"local": _local, "slurm": _local, "ray": _ray}


# Jobs on disk: what ``optidel work`` reads. ---------------------------------------------------------------

NOTE = "job.json"


def _job(folder: Path, worker: Worker, count: int, label: str, size: int, identity: str) -> Job:
    return Job(worker=worker, folder=folder, shards=cut(count, size, identity), label=label)


def _note(job: Job, size: int, identity: str, count: int) -> None:
    """Write down what is to be done: plain values, never code."""
    note = {
        "worker": type(job.worker).__name__,
        "values": asdict(job.worker),
        "count": count,
        "shard": size,
        "label": job.label,
        "identity": identity,
    }
    scratch = job.folder / f".tmp-{os.getpid()}-{NOTE}"
    scratch.write_text(json.dumps(note, indent=1, sort_keys=True) + "\n")
    scratch.replace(job.folder / NOTE)


def open_jobs(root: Path, step: str, workers: Mapping[str, type[Any]]) -> list[Job]:
    """The jobs of a step that a command has begun in a run, newest first.

    Args:
        root: the run folder.
        step: name of the step.
        workers: class of each worker that may be named.

    Raises:
        WorkerError: a job cannot be read.
    """
    notes = list(root.glob(f"{step}-*.partial/{PARTS}/*/{NOTE}"))
    notes.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    jobs = []
    for path in notes:
        try:
            note = json.loads(path.read_bytes())
            worker = workers[note["worker"]](**note["values"])
            job = _job(path.parent, worker, note["count"], note["label"], note["shard"], note["identity"])
        except (ValueError, KeyError, TypeError) as error:
            raise WorkerError(
                f"{path} cannot be used ({type(error).__name__}: {error}); run the command that made it again"
            ) from error
        jobs.append(job)
    return jobs
