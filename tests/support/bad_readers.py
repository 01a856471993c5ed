"""Readers that misbehave, for decoding processes started by the tests of the workers."""

import ctypes
import os
import signal
import time
from collections.abc import Collection, Iterator

import numpy as np

from optidel.readers import READERS, Decoded, DecodeOptions
from optidel.readers.source import Source


def hang(source: Source, options: DecodeOptions, wanted: Collection[str] | None) -> Iterator[Decoded]:
    while True:
        time.sleep(60)
        yield from ()


def burn(source: Source, options: DecodeOptions, wanted: Collection[str] | None) -> Iterator[Decoded]:
    while True:
        pass
    yield from ()


def crawl(source: Source, options: DecodeOptions, wanted: Collection[str] | None) -> Iterator[Decoded]:
    """As on a busy machine: three seconds pass, half a second of them is computed."""
    for _ in range(30):
        until = time.process_time() + 0.017
        while time.process_time() < until:
            pass
        time.sleep(0.083)
    values = np.full((16, 16, 1), 9, np.uint8)
    yield Decoded(locator="", values=values, low=0, high=255, rule="bit depth 8", modality=None)


def kill(source: Source, options: DecodeOptions, wanted: Collection[str] | None) -> Iterator[Decoded]:
    os.kill(os.getpid(), signal.SIGKILL)
    yield from ()


def crash(source: Source, options: DecodeOptions, wanted: Collection[str] | None) -> Iterator[Decoded]:
    ctypes.string_at(0)
    yield from ()


def leave(source: Source, options: DecodeOptions, wanted: Collection[str] | None) -> Iterator[Decoded]:
    os._exit(3)
    yield from ()


def eat(source: Source, options: DecodeOptions, wanted: Collection[str] | None) -> Iterator[Decoded]:
    held = []
    while True:
        held.append(np.zeros(1 << 24))
    yield from ()


def shout(source: Source, options: DecodeOptions, wanted: Collection[str] | None) -> Iterator[Decoded]:
    os.write(1, b"MARKER on standard output\n")
    os.write(2, b"MARKER on standard error\n")
    raise ValueError("MARKER in an error")
    yield from ()


def slow(source: Source, options: DecodeOptions, wanted: Collection[str] | None) -> Iterator[Decoded]:
    """Slow as a whole, never for long between two frames."""
    for number in range(8):
        time.sleep(0.25)
        values = np.full((16, 16, 1), number, np.uint8)
        yield Decoded(
            locator=f"frame:{number}", values=values, low=0, high=255, rule="bit depth 8", modality=None
        )


READERS.update(
    {
        ".hang": hang,
        ".burn": burn,
        ".crawl": crawl,
        ".kill": kill,
        ".crash": crash,
        ".leave": leave,
        ".eat": eat,
        ".shout": shout,
        ".slow": slow,
    }
)
