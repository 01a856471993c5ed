"""The loop of a decoding process: asks in, records out, one JSON line each, and a sign of life in shared
memory.

Started by :mod:`optidel.corpus.sandbox.workers` as a bare interpreter: it never imports the caller's program,
so a script needs no ``if __name__ == "__main__"``. It speaks JSON because what a decoder taken over by a
malformed file may send must not be able to run code.
"""

import json
import os
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from optidel.corpus.sandbox.scan import Ask, ScanOptions, scan
from optidel.readers import DecodeOptions

try:
    import resource
except ImportError:  # Windows: there the time limit and the sizes checked before decoding have to do
    resource = None  # type: ignore[assignment]

IDLE, UNPACKING, DECODING = 0.0, 1.0, 2.0
"""What a process is at; only at the latter two does its clock count."""

SLOTS = 5
TASK, PART, STATE, SINCE, SPENT = range(SLOTS)
"""Slots of the shared float64 (5,): number of the task and of its part, state, and, of the last sign of life,
the monotonic second and the seconds of CPU that the process had used until then.
"""

PATIENCE = 6
"""How many times its limit of CPU seconds a process may wait without computing, as for a slow disk: a minute
by default, a round number. A busy machine makes a process slow and never quite idle.
"""

GRACE = 20
"""Seconds of CPU behind its limit after which a hung process ends itself, should the one that watches it be
gone: more than that one needs to do so itself.
"""

ALONE = 60
"""How many times its limit of CPU seconds it may wait before it ends itself: long enough for any machine, and
short enough that no orphan stays for a day.
"""

LONGEST_WAIT = 0.25
MOST_LINES = 64
"""Records are sent when the first has waited for so many seconds, or when there are so many: a line costs
more to pass on than to make.
"""


def main() -> None:
    """Serve until the standard input ends."""
    out = os.fdopen(os.dup(1), "wb", buffering=1 << 16)
    shared: Any = os.fdopen(int(sys.argv[1]), "r+b") if sys.argv[1].isdigit() else sys.argv[1]
    alive = np.memmap(shared, np.float64, "r+", shape=(SLOTS,))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    _silence()
    out.write(b"{}\n")
    out.flush()
    for line in sys.stdin.buffer:
        _serve(json.loads(line), out, alive)


def _silence() -> None:
    """Libraries print what they dislike about a file, its text included; nothing of that may reach a terminal
    or a log.
    """
    warnings.simplefilter("ignore")
    void = os.open(os.devnull, os.O_WRONLY)
    os.dup2(void, 1)
    os.dup2(void, 2)
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash must not leave an image of memory behind


def _serve(order: dict[str, Any], out: BinaryIO, alive: Any) -> None:
    options = scan_options(order["options"])
    if resource is not None:
        ceiling = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (options.memory, ceiling))
    lines: list[bytes] = []
    first = time.monotonic()

    def send(record: dict[str, Any], end: bool = False) -> None:
        nonlocal first
        if not lines:
            first = time.monotonic()
        lines.append(json.dumps(record).encode() + b"\n")
        if end or len(lines) >= MOST_LINES or time.monotonic() - first > LONGEST_WAIT:
            _rest(alive)
            out.write(b"".join(lines))
            out.flush()
            lines.clear()

    def beat(part: int, decoding: bool) -> None:
        alive[PART] = part
        alive[SPENT] = time.process_time()
        alive[SINCE] = time.monotonic()
        alive[STATE] = DECODING if decoding else UNPACKING
        _end_after(options.seconds)

    for number, task in enumerate(order["tasks"]):
        skip = {int(part): why for part, why in task["skip"]}
        ask = Ask(source=task["source"], start=task["start"], skip=skip, stop=task["stop"])
        alive[TASK] = task["task"]
        for record in scan(Path(order["root"]), ask, options, beat):
            send(record | {"task": task["task"]})
        send({"task": task["task"], "done": True}, end=number == len(order["tasks"]) - 1)
    _rest(alive)


def _rest(alive: Any) -> None:
    alive[STATE] = IDLE
    _end_after(None)


def _end_after(seconds: float | None) -> None:
    """Let the system end this process behind its limits, for the one that watches it may be gone; None: not
    any more.
    """
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds + GRACE if seconds else 0)
        signal.setitimer(signal.ITIMER_REAL, ALONE * seconds + GRACE if seconds else 0)


def scan_options(values: dict[str, Any]) -> ScanOptions:
    """The inverse of ``workers.json_options``."""
    lists = {name: tuple(value) for name, value in values["decode"].items() if isinstance(value, list)}
    decode = DecodeOptions(**(values["decode"] | lists))
    return ScanOptions(
        decode=decode,
        seconds=values["seconds"],
        memory=values["memory"],
        key=bytes.fromhex(values["key"]),
        crop=values["crop"],
    )


if __name__ == "__main__":
    main()
