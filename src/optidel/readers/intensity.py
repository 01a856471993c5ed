"""From the stored values of a grey DICOM frame to intensities: rescale, look-up tables, windows."""

import math
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi

from optidel.errors import InputError
from optidel.readers.decoded import depth_rule, percentile_rule

CT_WINDOW = (40.0, 400.0)
"""Centre and width in HU where a CT states no window: soft tissue, the window most viewers open with."""

RELATIVE = ("MR", "PT", "NM")
"""Modalities whose values have no scale of their own."""

Values = np.ndarray[Any, Any]


def grey(data: Dataset, values: Values, frame: int, modality: str) -> tuple[Values, float, float, str]:
    """The rule of one frame; linear steps stay numbers (``low`` and ``high`` in stored units), so values are
    copied for tables only.

    Args:
        data: the dataset, for its tables and windows.
        values: (h, w), as stored.
        frame: its number from 0.
        modality: DICOM's term.

    Returns:
        Values (h, w), what becomes 0, what becomes 1, and the rule's name.
    """
    if data.get("ModalityLUTSequence"):
        values, slope, offset = apply_modality_lut(values, data), 1.0, 0.0
    else:
        slope, offset = _rescale(data, frame)
    voi = _macro(data, frame, "FrameVOILUTSequence")
    if data.get("VOILUTSequence"):
        looked_up = apply_voi(np.round(values * slope + offset).astype(np.int32), data)
        return looked_up, 0.0, _table_maximum(data, looked_up), "VOI LUT"
    centre, width = number(voi.get("WindowCenter")), number(voi.get("WindowWidth"))
    function = str(voi.get("VOILUTFunction", "LINEAR"))
    stated = centre is not None and width is not None and width > 0
    if not stated and modality == "CT":
        (centre, width), function = CT_WINDOW, "LINEAR_EXACT"
    if centre is None or width is None or width <= 0:
        return _without_window(data, values, slope, offset, modality)
    name = f"window {centre:g}/{width:g}" if stated else f"CT window {centre:g}/{width:g}, none stated"
    if function == "SIGMOID":
        exponent = (
            -4
            * (values.astype(np.float32) * np.float32(slope) + np.float32(offset - centre))
            / np.float32(width)
        )
        return 1 / (1 + np.exp(exponent.clip(-80, 80))), 0.0, 1.0, f"sigmoid {name}"
    if function == "LINEAR_EXACT" or width < 1:
        low, high = centre - width / 2, centre + width / 2
    else:  # PS3.3 C.11.2.1.2.1; a width of 1 is a threshold
        low = centre - 0.5 - (width - 1) / 2
        high = low + max(width - 1, 1e-6)
    return values, (low - offset) / slope, (high - offset) / slope, name


def _without_window(
    data: Dataset, values: Values, slope: float, offset: float, modality: str
) -> tuple[Values, float, float, str]:
    if modality in RELATIVE or values.dtype.kind != "u" or values.dtype.itemsize > 2:
        low, high, rule = percentile_rule(
            values * np.float32(slope) + np.float32(offset) if (slope, offset) != (1.0, 0.0) else values
        )
        return values, (low - offset) / slope, (high - offset) / slope, rule
    tables = data.get("ModalityLUTSequence")
    bits = _table_bits(tables, values) if tables else int(data.get("BitsStored") or values.dtype.itemsize * 8)
    low, high, rule = depth_rule(values, bits)
    return (values, low, high, rule) if slope > 0 else (values, high, low, rule)


def _rescale(data: Dataset, frame: int) -> tuple[float, float]:
    """Slope and intercept: of the frame, of all frames, or of the image."""
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
    if isinstance(value, (list, tuple)) or (
        hasattr(value, "__getitem__") and not isinstance(value, (str, bytes))
    ):
        value = value[0] if len(value) else None
    try:
        result = float(value)
    except (TypeError, ValueError):
        return None
    return result if math.isfinite(result) else None
