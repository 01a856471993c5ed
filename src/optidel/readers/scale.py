"""One scale for several frames: what becomes black and white, gathered frame by frame.

A page of a stack, a slice of a volume or a frame of a clip that is dimmer than its neighbours has to stay
dimmer.
"""

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from optidel.errors import InputError
from optidel.readers.decoded import PERCENTILE_RULE, PERCENTILES, depth_rule, finite, widened
from optidel.readers.source import Source

Limits = tuple[float, float, str]
"""What becomes 0, what becomes 1, and the rule's name."""

SAMPLE = 1 << 22
"""Values of more than 16 bits that are kept of all frames together (32 MB): a percentile of so many is
exact to a few hundredths of a per cent.
"""

REMEMBERED = 64
"""Files whose limits are kept for the next frame of theirs that is read; a round number."""


class Spread:
    """The values of several frames, for one rule of all of them.

    Whole numbers of up to 16 bits are counted, so that their percentiles are those of ``np.percentile``; of
    others every so-many-th is kept.
    """

    def __init__(self, total: int) -> None:
        """Args:
        total: values of all frames together; decides how many of them are kept.
        """
        self.stride = max(1, total // SAMPLE)
        self.least, self.most = np.inf, -np.inf
        self._counts: dict[tuple[float, float], Int64[np.ndarray, n]] = {}
        self._samples: list[Float64[np.ndarray, n]] = []
        self._kinds: set[np.dtype[np.generic]] = set()

    def add(self, values: Shaped[np.ndarray, "..."], slope: float = 1.0, offset: float = 0.0) -> None:
        """Take in one frame.

        Args:
            values: real numbers as stored; those that are not finite take no part.
            slope, offset: what makes them comparable with those of other frames.
        """
        self._kinds.add(values.dtype)
        if values.dtype.kind == "f":
            values = values[np.isfinite(values)]
        if values.size == 0:
            return
        ends = float(values.min()) * slope + offset, float(values.max()) * slope + offset
        self.least, self.most = min(self.least, *ends), max(self.most, *ends)
        # Counting is exact and holds half a megabyte a slope, however many frames there are.
        if values.dtype.kind in "biu" and values.dtype.itemsize <= 2:
            counts = np.bincount(values.ravel().astype(np.int64) + BIAS, minlength=2 * BIAS + 1)
            total = self._counts.setdefault((slope, offset), np.zeros(counts.size, np.int64))
            total += counts
        else:
            self._samples.append(values.ravel()[:: self.stride].astype(np.float64) * slope + offset)

    def is_decided(self) -> bool:
        """Whether no further frame can change the rule ``by_type``: 16 bits, and more than 12 of them in
        use.
        """
        return self._kinds == {np.dtype(np.uint16)} and self.most >= 4096

    def percentiles(self) -> Limits:
        """The rule of ``percentile_rule``, over all frames.

        Raises:
            InputError: no value is finite.
        """
        if self.least > self.most:
            raise InputError("holds only values that are not finite")
        values, counts = self._sorted()
        if values.size == 0:
            return 0.0, 1.0, PERCENTILE_RULE
        low, high = (_percentile(values, counts, q) for q in PERCENTILES)
        return *widened(low, high, self.least), PERCENTILE_RULE

    def by_type(self, bits: int | None = None) -> Limits:
        """The rule of ``range_rule``, over all frames.

        Args:
            bits: of unsigned whole numbers, where the file states fewer than their type has.

        Raises:
            InputError: no value is finite.
        """
        if all(kind.kind == "b" or (kind.kind == "u" and kind.itemsize <= 2) for kind in self._kinds):
            (kind,) = self._kinds
            return depth_rule(np.array([max(self.most, 0)]).astype(kind), bits)
        # A page of 12 bits lies in words of 16, one of 20 in words of 32.
        if bits is not None and all(kind.kind == "u" for kind in self._kinds):
            return 0.0, float(2**bits - 1), f"bit depth {bits} of {8 * max(k.itemsize for k in self._kinds)}"
        if all(kind.kind == "f" for kind in self._kinds) and self.least >= 0 and self.most <= 1:
            return 0.0, 1.0, "unit range"
        return self.percentiles()

    def _sorted(self) -> tuple[Float64[np.ndarray, "n"], Int64[np.ndarray, "n"]]:
        """All values but zero in rising order, and how often each occurs."""
        values = [np.zeros(0), *self._samples]
        counts = [np.ones(sample.size, np.int64) for sample in values]
        for (slope, offset), count in self._counts.items():
            (occurring,) = np.nonzero(count)
            values.append((occurring - BIAS) * slope + offset)
            counts.append(count[occurring])
        merged, number = np.concatenate(values), np.concatenate(counts)
        # Zero is background, as in the rule of a single frame.
        inside = merged != 0
        order = np.argsort(merged[inside], kind="stable")
        return merged[inside][order], number[inside][order]


BIAS = 1 << 16
"""Added to values of 16 bits, signed or not, so that they can be counted from 0."""


def _percentile(values: Float64[np.ndarray, "n"], counts: Int64[np.ndarray, "n"], percent: float) -> float:
    """``np.percentile`` (linear) of sorted values that occur several times each."""
    # The value of a rank is the first whose counts reach it.
    ends = np.cumsum(counts)
    position = (int(ends[-1]) - 1) * percent / 100
    before = int(position)
    lower, upper = (
        float(values[np.searchsorted(ends, min(rank, int(ends[-1]) - 1), side="right")])
        for rank in (before, before + 1)
    )
    return lower + (upper - lower) * (position - before)


_limits: OrderedDict[tuple[object, ...], Limits] = OrderedDict()


def remembered(source: Source, key: tuple[object, ...], measure: Callable[[], Limits]) -> Limits:
    """The limits of a file's frames: measured with the first of them, known for the others.

    Args:
        source: the file; members of archives are measured each time.
        key: whatever else the limits depend on.
        measure: passes over all frames.
    """
    # Members of archives are read in one pass and have no time of their own.
    if source.path is None:
        return measure()
    status = source.path.stat()
    state = (str(source.path), status.st_mtime_ns, status.st_size, *key)
    if state not in _limits:
        _limits[state] = measure()
        if len(_limits) > REMEMBERED:
            _limits.popitem(last=False)
    return _limits[state]


__all__ = ["Limits", "Spread", "finite", "remembered"]
