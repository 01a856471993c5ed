"""From the stored values of a grey DICOM frame to intensities: rescale, look-up tables, windows, padding."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi

from optidel.errors import InputError
from optidel.readers.decoded import CT_WINDOW, depth_rule
from optidel.readers.scale import Limits, Spread

RELATIVE = ("MR", "PT", "NM")
"""Modalities whose values have no scale of their own."""

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
"""Beginning of the UIDs of CT, enhanced CT and legacy converted CT, whose values are HU (PS3.3 C.8.2.1)."""

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
"""Beginning of the UIDs of secondary capture: screens, whose values are grey levels."""

UNSPECIFIED = ("", "US", "HU")
"""Rescale types of a CT that are taken for HU; US means unspecified, and many scanners write it."""

Values = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Greys:
    """How the grey frames of one dataset become intensities.

    ``window``: level and width in HU that replace what a CT states. ``shared``: measures percentiles of the
    rescaled values of all frames, which then have one scale.
    """

    data: Dataset
    modality: str
    window: tuple[float, float] | None
    shared: Callable[[], Limits]

    def frame(self, values: Values, number_of: int) -> tuple[Values, float, float, str]:
        """The rule of one frame; linear steps stay numbers (``low`` and ``high`` in stored units), so values
        are copied for tables only.

        Args:
            values: (h, w), as stored.
            number_of: the number of the frame, from 0.

        Returns:
            Values (h, w), what becomes 0, what becomes 1, and the rule's name.
        """
        data = self.data
        values, slope, offset = _rescaled(data, values, number_of)
        in_hu = self.modality == "CT" and _in_hounsfield(data, number_of)
        # The recipe's window wins: it is there because those of the files differ.
        if self.window and in_hu:
            low, high = _ends(*self.window)
            name = f"window {self.window[0]:g}/{self.window[1]:g}, by the recipe"
            return values, (low - offset) / slope, (high - offset) / slope, name
        if data.get("VOILUTSequence"):
            looked_up = apply_voi(np.round(values * slope + offset).astype(np.int32), data)
            return looked_up, 0.0, _table_maximum(data, looked_up), "VOI LUT"

        voi = _macro(data, number_of, "FrameVOILUTSequence")
        centre, width = number(voi.get("WindowCenter")), number(voi.get("WindowWidth"))
        if centre is not None and width is not None and width > 0:
            function = str(voi.get("VOILUTFunction", "LINEAR"))
            return _windowed(values, slope, offset, centre, width, function)
        if in_hu:
            low, high = _ends(*CT_WINDOW)
            name = f"CT window {CT_WINDOW[0]:g}/{CT_WINDOW[1]:g}, none stated"
            return values, (low - offset) / slope, (high - offset) / slope, name
        return self._without_window(values, slope, offset)

    def _without_window(
        self, values: Values, slope: float, offset: float
    ) -> tuple[Values, float, float, str]:
        data = self.data
        is_unsigned = values.dtype.kind == "u" and values.dtype.itemsize <= 2
        if not is_unsigned or (self.modality in RELATIVE and not _is_screen(data)):
            low, high, rule = self.shared()
            return values, (low - offset) / slope, (high - offset) / slope, rule
        tables = data.get("ModalityLUTSequence")
        stored = int(data.get("BitsStored") or values.dtype.itemsize * 8)
        low, high, rule = depth_rule(values, _table_bits(tables, values) if tables else stored)
        return (values, low, high, rule) if slope > 0 else (values, high, low, rule)


def add_frame(spread: Spread, data: Dataset, values: Values, number_of: int) -> None:
    """Take one frame into the rule that all frames of a dataset share; padding has no part in it.

    Args:
        spread: of the frames before.
        data: the dataset.
        values: (h, w), as stored.
        number_of: the number of the frame, from 0.
    """
    mask = padding(data, values)
    values, slope, offset = _rescaled(data, values, number_of)
    spread.add(values if mask is None else values[~mask], slope, offset)


def padding(data: Dataset, values: Values) -> Values | None:
    """Where a frame holds no picture: bool (h, w), or None where the dataset states no padding.

    Source: PS3.3 C.7.5.1.1.2. The range lies between the padding value and the range limit, both included.
    """
    kind = {"d": "DoubleFloat", "f": "Float"}.get(values.dtype.char, "")
    value = number(data.get(f"{kind}PixelPaddingValue"))
    if value is None:
        return None
    limit = number(data.get(f"{kind}PixelPaddingRangeLimit"))
    low, high = sorted(_represented(end, values.dtype) for end in (value, value if limit is None else limit))
    return np.asarray((values >= low) & (values <= high))


def _represented(value: float, kind: np.dtype[Any]) -> float:
    """A padding value of the other sign's representation, as some writers state it: 63536 for -2000."""
    if kind.kind not in "iu":
        return value
    # The bits are the same, read with and without a sign.
    limits, span = np.iinfo(kind), 1 << (8 * kind.itemsize)
    if value > limits.max:
        return value - span
    return value + span if value < limits.min else value


def _in_hounsfield(data: Dataset, frame: int) -> bool:
    """Whether the values of a CT are HU, rescaled: a screen of 8 bits without a rescale is not."""
    macro = _macro(data, frame, "PixelValueTransformationSequence")
    if str(macro.get("RescaleType", "")) not in UNSPECIFIED:
        return False
    # A screen of a CT has neither rescale nor table; its values are grey levels.
    has_scale = number(macro.get("RescaleSlope")) is not None or bool(data.get("ModalityLUTSequence"))
    if has_scale:
        return True
    is_ct = str(data.get("SOPClassUID", "")).startswith(CT_STORAGE)
    return is_ct and int(data.get("BitsStored") or 16) > 8


def _is_screen(data: Dataset) -> bool:
    """A secondary capture of 8 bits without a rescale: what a screen showed."""
    is_capture = str(data.get("SOPClassUID", "")).startswith(SECONDARY_CAPTURE)
    is_rescaled = number(data.get("RescaleSlope")) is not None
    return is_capture and int(data.get("BitsStored") or 16) <= 8 and not is_rescaled


def _ends(centre: float, width: float) -> tuple[float, float]:
    return centre - width / 2, centre + width / 2


def _windowed(
    values: Values, slope: float, offset: float, centre: float, width: float, function: str
) -> tuple[Values, float, float, str]:
    name = f"window {centre:g}/{width:g}"
    if function == "SIGMOID":
        scaled = values.astype(np.float32) * np.float32(slope) + np.float32(offset - centre)
        exponent = -4 * scaled / np.float32(width)
        # Beyond e^80 the quotient is 0 or 1 in float32 anyway, and nothing overflows.
        return 1 / (1 + np.exp(exponent.clip(-80, 80))), 0.0, 1.0, f"sigmoid {name}"
    if function == "LINEAR_EXACT" or width < 1:
        low, high = _ends(centre, width)
    else:  # PS3.3 C.11.2.1.2.1; a width of 1 is a threshold
        low = centre - 0.5 - (width - 1) / 2
        high = low + max(width - 1, 1e-6)
    return values, (low - offset) / slope, (high - offset) / slope, name


def _rescaled(data: Dataset, values: Values, frame: int) -> tuple[Values, float, float]:
    """Values through the modality LUT, or as stored with slope and intercept: of the frame, of all frames, or
    of the image.
    """
    if data.get("ModalityLUTSequence"):
        return apply_modality_lut(values, data), 1.0, 0.0
    return values, *scaling(data, frame)


def scaling(data: Dataset, frame: int) -> tuple[float, float]:
    """Slope and intercept of a frame.

    Raises:
        InputError: the slope is 0.
    """
    macro = _macro(data, frame, "PixelValueTransformationSequence")
    slope, offset = number(macro.get("RescaleSlope")), number(macro.get("RescaleIntercept"))
    if slope == 0:
        raise InputError("has a rescale slope of 0")
    return 1.0 if slope is None else slope, 0.0 if offset is None else offset


def _macro(data: Dataset, frame: int, name: str) -> Dataset:
    """The item of a functional group of enhanced objects: the frame's own, else the shared one; else the
    image itself.
    """
    per_frame = data.get("PerFrameFunctionalGroupsSequence") or []
    shared = data.get("SharedFunctionalGroupsSequence") or []
    for group in (*per_frame[frame : frame + 1], *shared[:1]):
        if items := group.get(name):
            return items[0]  # type: ignore[no-any-return]
    return data


def _table_bits(tables: Any, values: Values) -> int:
    descriptor = tables[0].get("LUTDescriptor")
    bits = int(descriptor[2]) if descriptor is not None and len(descriptor) == 3 else 0
    return bits if 8 <= bits <= 16 else values.dtype.itemsize * 8


def _table_maximum(data: Dataset, values: Values) -> float:
    """What is white in the output of a VOI LUT: by its bits, but some tables state 16 and use 8."""
    return float(2 ** _table_bits(data.VOILUTSequence, values) - 1)


def number(value: Any) -> float | None:
    """The first number of an attribute; None where there is none that is finite."""
    is_text = isinstance(value, str | bytes)
    if not is_text and (isinstance(value, list | tuple) or hasattr(value, "__getitem__")):
        value = value[0] if len(value) else None
    try:
        result = float(value)
    except (TypeError, ValueError):
        return None
    return result if math.isfinite(result) else None
