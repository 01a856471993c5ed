"""From values to places on a chart: axes, linear or logarithmic, and the round numbers along them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Share of the range that stays empty at either end: a marker on the edge would be cut.
MARGIN = 0.06

# Round numbers along an axis, at most: more would touch one another at the width of a phone.
TICKS = 7

# Decades from which only powers of ten are labelled.
DECADES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """An axis from ``low`` to ``high``, drawn from ``start`` to ``end`` px; powers of ten where ``log``."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value, px."""
        if self.log:
            value = math.log10(value)
        span = self.high - self.low
        share = (value - self.low) / span
        length = self.end - self.start
        return self.start + share * length

    def ticks(self) -> list[float]:
        """Round values inside, rising."""
        if self.log:
            return log_ticks(self.low, self.high)
        return round_ticks(self.low, self.high)

    def labels(self) -> list[tuple[float, str]]:
        """The round values inside, and how each is written."""
        values = self.ticks()
        written = [number_text(value) for value in values] if self.log else evenly_written(values)
        return list(zip(values, written, strict=True))


def axis_of(values: Sequence[float], start: float, end: float, *, log: bool = False) -> Axis:
    """The axis that holds all values, with a margin at either end.

    >>> axis_of([0.0, 1.0], 0, 112)(1.0)
    106.0
    """
    if log:
        values = [math.log10(value) for value in values]
    low = min(values, default=0.0)
    high = max(values, default=1.0)
    margin = MARGIN * (high - low)
    if not margin:
        # Equal values get some room on either side.
        margin = abs(high) * 0.1 or 1.0
    low -= margin
    high += margin
    return Axis(low=low, high=high, start=start, end=end, log=log)


def round_ticks(low: float, high: float) -> list[float]:
    """Some five multiples of 1, 2 or 5 times a power of ten.

    >>> round_ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    span = high - low
    digits = math.floor(math.log10(span / 4))
    power = 10.0**digits
    step = power * 10
    for factor in (5, 2, 1):
        finer = power * factor
        if span <= TICKS * finer:
            step = finer
    first = math.ceil(low / step)
    last = math.floor(high / step)
    # Rounding takes away what 3 · 0.1 has more than 0.3.
    return [round(step * number, 10) for number in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten from 10^low to 10^high; over three decades the powers alone."""
    factors = (1, 2, 5) if high - low < DECADES else (1,)
    ticks = []
    for power in range(math.floor(low), math.ceil(high) + 1):
        for factor in factors:
            value = factor * 10.0**power
            if low <= math.log10(value) <= high:
                ticks.append(value)
    return ticks


def number_text(value: float, decimals: int | None = None) -> str:
    """A value beside an axis: ``1,000``, ``0.25``, ``−3``; with some decimals, or those that it has.

    >>> number_text(12000.0), number_text(0.25), number_text(-3, decimals=1)
    ('12,000', '0.25', '−3.0')
    """
    text = f"{value:,.10g}" if decimals is None else f"{value:,.{decimals}f}"
    return text.replace("-", "−")


def evenly_written(values: Sequence[float]) -> list[str]:
    """Evenly spaced values with equally many decimals, so that they read as one scale.

    >>> evenly_written([0.3, 0.35, 0.4])
    ['0.30', '0.35', '0.40']
    """
    decimals = max((len(f"{value:.10f}".rstrip("0").partition(".")[2]) for value in values), default=0)
    return [number_text(value, decimals) for value in values]
