"""Numbers as people read them."""

import math

from optidel.evaluation.claims import Difference


def signed(value: float) -> str:
    """Three decimals, always with a sign; the minus is a true one.

    >>> signed(-0.0304)
    '−0.030'
    """
    text = f"{value:+.3f}"
    return text.replace("-", "−")


def percent(budget: float) -> str:
    """A budget as people say it.

    >>> percent(0.05)
    '5 %'
    """
    number = budget * 100
    return f"{number:.3g} %"


def written(difference: Difference) -> str:
    """``+0.034 (95 % interval +0.021 to +0.048)``, or ``+0.034 (one seed: no interval)``."""
    interval = difference.interval
    if interval is None:
        return f"{signed(difference.mean)} ({difference.lack})"
    level = f"{100 * interval.level:.0f} %"
    low, high = signed(interval.low), signed(interval.high)
    return f"{signed(interval.mean)} ({level} interval {low} to {high})"


def times(multiple: float) -> str:
    """How many times, in words where a number would mislead.

    >>> times(3.42), times(0.01), times(float("inf"))
    ('3.4 ×', 'at once', 'never')
    """
    if math.isinf(multiple):
        return "never"
    return f"{multiple:.1f} ×" if multiple >= 0.05 else "at once"


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(0.42), duration(245), duration(4320)
    ('0.42 s', '4 min 05 s', '1 h 12 min')
    """
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02d} min"
