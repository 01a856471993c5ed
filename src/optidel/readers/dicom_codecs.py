"""Compressed DICOM frames through ``imagecodecs``, as a decoder that pydicom asks by name.

pydicom finds the frames, and afterwards sees to sign, unused bits and colour space. Here one frame's code
stream becomes the samples that it holds, in the colour space that it holds them in; only JPEG 2000 undoes its
own colour transform, which is part of that format.
"""

from typing import Any

import numpy as np
from jaxtyping import Integer
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import DecodeRunner, get_decoder

from optidel.errors import InputError
from optidel.readers.codecs import load_codecs
from optidel.readers.codestream import check_end, jpeg2000_codestream
from optidel.readers.jpeg import check_jpeg, check_range, jpeg_header

PLUGIN = "optidel"
"""The decoder's name; asked for by name, so that a file gives the same pixels whatever else is installed."""

JPEG = {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1}
JPEG_LS = {uid.JPEGLSLossless, uid.JPEGLSNearLossless}
JPEG_2000 = {uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K}
COMPRESSED = JPEG | JPEG_LS | JPEG_2000
LOSSY = {
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLSNearLossless,
    uid.JPEG2000,
    uid.HTJ2K,
}
"""Syntaxes whose values may overshoot the bits stored by a little, and hold no overlay."""

DECODER_DEPENDENCIES = dict.fromkeys(COMPRESSED, ("imagecodecs",))
"""What pydicom wants to know of every plugin."""


def check_warnings(data: Dataset, count: int) -> None:
    """Refuse a dataset about whose frames libjpeg warns, of 8 to 16 bits, with or without loss.

    Args:
        data: a dataset of ``count`` frames.
        count: of frames.

    Raises:
        InputError: it warns about a frame.
    """
    if data.file_meta.TransferSyntaxUID not in JPEG:
        return
    for i, frame in enumerate(generate_frames(data.PixelData, number_of_frames=count)):
        try:
            check_jpeg(frame)
            check_end(frame)
            _check_range(frame)
        except InputError as error:
            raise InputError(f"frame {i} of {count} {error}") from None


def _check_range(frame: bytes) -> None:
    header = jpeg_header(frame)
    # Values of 8 and of 16 bits fill their type.
    if header is None or not header.is_lossless or header.bits in (8, 16):
        return
    codecs: Any = load_codecs()
    check_range(codecs.jpeg_decode(frame), header)


def is_available(syntax: str) -> bool:
    """Which transfer syntaxes are decoded here; pydicom asks every plugin."""
    return syntax in COMPRESSED


def decode_frame(frame: bytes, runner: DecodeRunner) -> bytearray:
    """One frame for pydicom.

    Args:
        frame: its code stream, of the size that the dataset declares (``check_codestreams``).
        runner: pydicom's record of what the dataset declares; told how the bytes returned are arranged.

    Returns:
        Samples by pixel, little-endian, each as wide as the dataset's bits allocated.

    Raises:
        ValueError: of another size, or of more bits than are allocated.
    """
    values = _decoded(frame, runner)
    samples = runner.samples_per_pixel
    if values.shape != (runner.rows, runner.columns, samples)[: 3 if samples > 1 else 2]:
        raise ValueError("the code stream is not of the size that the dataset declares")
    # pydicom takes the bytes as values of this width.
    width = runner.bits_allocated // 8
    if values.dtype.itemsize > width:
        raise ValueError("the code stream has more bits than the dataset allocates")
    if samples > 1:
        runner.set_option("planar_configuration", 0)
        if runner.transfer_syntax in JPEG_2000 and runner.photometric_interpretation in (
            "YBR_ICT",
            "YBR_RCT",
        ):
            runner.set_option("photometric_interpretation", "RGB")
    return bytearray(np.ascontiguousarray(values, dtype=f"<{values.dtype.kind}{width}"))


def _decoded(frame: bytes, runner: DecodeRunner) -> Integer[np.ndarray, "h w *samples"]:
    codecs: Any = load_codecs()
    values: Integer[np.ndarray, "h w *samples"]
    if runner.transfer_syntax in JPEG_2000:
        values = codecs.jpeg2k_decode(jpeg2000_codestream(frame), numthreads=1)
    elif runner.transfer_syntax in JPEG_LS:
        values = codecs.jpegls_decode(frame)
    else:
        # The same space in and out is no conversion: pydicom knows from the dataset whether one is due.
        space = "YCBCR" if runner.samples_per_pixel == 3 else None
        values = codecs.jpeg_decode(frame, colorspace=space, outcolorspace=space)
    return values


for _syntax in COMPRESSED:
    if PLUGIN not in get_decoder(_syntax).available_plugins:
        get_decoder(_syntax).add_plugin(PLUGIN, (__name__, decode_frame.__name__))
