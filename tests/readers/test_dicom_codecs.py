"""Compressed DICOM: every transfer syntax, colour transform and sign, against GDCM or against the values that
were encoded.
"""

from collections.abc import Callable
from io import BytesIO

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from samples import dicom_file, tissue
from test_dicom import made, read, simple_itk

from optidel.errors import InputError
from optidel.readers.dicom_codecs import COMPRESSED, PLUGIN

PACKAGED = {
    "SC_rgb_jpeg_app14_dcmd.dcm": uid.JPEGBaseline8Bit,  # RGB, and Adobe's marker says so
    "SC_jpeg_no_color_transform.dcm": uid.JPEGBaseline8Bit,  # RGB, and no marker says so
    "SC_jpeg_no_color_transform_2.dcm": uid.JPEGBaseline8Bit,  # the same, said by the names of the components
    "SC_rgb_jpeg.dcm": uid.JPEGBaseline8Bit,  # the dataset says RGB, the JFIF marker YBR
    "SC_rgb_jpeg_dcmtk.dcm": uid.JPEGBaseline8Bit,  # YBR_FULL
    "SC_rgb_dcmtk_+eb+cy+s2.dcm": uid.JPEGBaseline8Bit,  # YBR_FULL_422
    "JPEG-lossy.dcm": uid.JPEGExtended12Bit,
    "bad_sequence.dcm": uid.JPEGLosslessSV1,
    "emri_small_jpeg_ls_lossless.dcm": uid.JPEGLSLossless,
    "JPEGLSNearLossless_16.dcm": uid.JPEGLSNearLossless,
    "J2K_pixelrep_mismatch.dcm": uid.JPEG2000Lossless,  # signed by the dataset, unsigned by the code stream
    "693_J2KR.dcm": uid.JPEG2000Lossless,  # signed
    "US1_J2KR.dcm": uid.JPEG2000Lossless,  # YBR_RCT
    "US1_J2KI.dcm": uid.JPEG2000,  # YBR_ICT
    "RG1_J2KR.dcm": uid.JPEG2000Lossless,  # MONOCHROME1
    "RG3_J2KI.dcm": uid.JPEG2000,  # MONOCHROME1
}
"""Files that other projects made, beside those of ``test_dicom``; each says what is odd about it."""


@pytest.mark.filterwarnings("ignore:Expected explicit VR")
@pytest.mark.parametrize("name", PACKAGED)
def test_values_are_those_of_gdcm(name: str) -> None:
    path = dicom_file(name)
    data = pydicom.dcmread(path)
    assert data.file_meta.TransferSyntaxUID == PACKAGED[name]
    values = np.stack([frame.values for frame in read(path)])
    if values.shape[3] == 1:
        values = values * float(data.get("RescaleSlope", 1)) + float(data.get("RescaleIntercept", 0))
    expected = simple_itk(path).reshape(values.shape).astype(int)
    if data.PhotometricInterpretation == "MONOCHROME1":  # which GDCM inverts itself
        expected = 2**data.BitsStored - 1 - expected
    level = 0 if PACKAGED[name] in LOSSLESS else 1
    np.testing.assert_allclose(values, expected, atol=level)


GREY = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32) * 5 % 4096
COLOUR = tissue()
SIGNED = GREY.astype(np.int16) - 2000

LOSSLESS = {
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
    uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL,
}


def lossless_jpeg(values: np.ndarray, predictor: int = 1) -> bytes:
    return bytes(
        imagecodecs.jpeg8_encode(
            values, lossless=True, predictor=predictor, bitspersample=12 if values.itemsize == 2 else 8
        )
    )


def jpeg2000(values: np.ndarray, **options: object) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(values, codecformat="j2k", reversible=True, level=0, **options))


ENCODED: dict[str, tuple[uid.UID, np.ndarray, Callable[[np.ndarray], bytes]]] = {
    **{
        f"process 14, predictor {n}": (uid.JPEGLossless, GREY, lambda values, n=n: lossless_jpeg(values, n))
        for n in (1, 4, 7)
    },
    "process 14, colour": (uid.JPEGLossless, COLOUR, lossless_jpeg),
    "process 14 SV1": (uid.JPEGLosslessSV1, GREY, lossless_jpeg),
    "process 14 of liblj92": (
        uid.JPEGLossless,
        GREY,
        lambda values: bytes(imagecodecs.ljpeg_encode(values, bitspersample=12)),
    ),
    "JPEG-LS": (uid.JPEGLSLossless, GREY, lambda values: bytes(imagecodecs.jpegls_encode(values))),
    "JPEG-LS, colour": (uid.JPEGLSLossless, COLOUR, lambda values: bytes(imagecodecs.jpegls_encode(values))),
    "JPEG-LS, signed": (
        uid.JPEGLSLossless,
        SIGNED,
        lambda values: bytes(imagecodecs.jpegls_encode(values.view(np.uint16))),
    ),
    "JPEG 2000": (uid.JPEG2000Lossless, GREY, jpeg2000),
    "JPEG 2000, signed": (uid.JPEG2000Lossless, SIGNED, jpeg2000),
    "JPEG 2000, signed only by the dataset": (
        uid.JPEG2000Lossless,
        SIGNED,
        lambda values: jpeg2000(values.view(np.uint16)),
    ),
    "JPEG 2000, colour": (uid.JPEG2000Lossless, COLOUR, lambda values: jpeg2000(values, mct=True)),
    "HTJ2K of OpenJPH": (
        uid.HTJ2KLossless,
        GREY,
        lambda values: bytes(imagecodecs.htj2k_encode(values, reversible=True)),
    ),
    "HTJ2K RPCL": (
        uid.HTJ2KLosslessRPCL,
        GREY,
        lambda values: bytes(imagecodecs.htj2k_encode(values, reversible=True)),
    ),
    "HTJ2K, named for loss": (
        uid.HTJ2K,
        SIGNED,
        lambda values: bytes(imagecodecs.htj2k_encode(values, reversible=True)),
    ),
}
"""Where no packaged file exists: values encoded here without loss, where it can be by another library than
the one that decodes.
"""


def compressed(values: np.ndarray, syntax: uid.UID, frame: bytes, **attributes: object) -> bytes:
    data = pydicom.dcmread(BytesIO(made(values, **attributes)))
    data.file_meta.TransferSyntaxUID = syntax
    data.PixelData = encapsulate([frame])
    data["PixelData"].is_undefined_length = True
    out = BytesIO()
    data.save_as(out)
    return out.getvalue()


@pytest.mark.parametrize("name", ENCODED)
def test_values_are_those_encoded(name: str) -> None:
    syntax, values, encode = ENCODED[name]
    (frame,) = read(compressed(values, syntax, encode(values)))
    np.testing.assert_array_equal(frame.values.squeeze(), values)
    assert frame.values.dtype == values.dtype


def test_monochrome1_is_inverted_after_decoding() -> None:
    plain, inverted = (
        read(
            compressed(
                GREY,
                uid.JPEG2000Lossless,
                jpeg2000(GREY),
                BitsStored=12,
                HighBit=11,
                PhotometricInterpretation=kind,
            )
        )[0].pixels
        for kind in ("MONOCHROME2", "MONOCHROME1")
    )
    np.testing.assert_allclose(plain[..., 0], GREY / 4095, atol=1e-6)
    np.testing.assert_allclose(inverted, 1 - plain, atol=1e-6)


def test_one_decoder_reads_every_syntax_and_each_is_tested() -> None:
    for syntax in COMPRESSED:
        assert PLUGIN in get_decoder(syntax).available_plugins
    assert {*PACKAGED.values(), *(syntax for syntax, _, _ in ENCODED.values())} == COMPRESSED


@pytest.mark.parametrize(
    ("values", "frame", "part"),
    [
        (GREY.astype(np.uint8), lossless_jpeg(GREY), "cannot be decoded"),  # more bits than allocated
        (GREY, lossless_jpeg(GREY[:16]), "declares 32 x 16 px of 1 samples, the dataset 32 x 24 px"),
        (COLOUR, lossless_jpeg(GREY), "of 1 samples, the dataset"),
        (GREY, lossless_jpeg(GREY)[:-40], "its decoder warns 'Premature end"),
        (GREY, b"\xff\xd8\xff\xd9", "has no header"),
    ],
    ids=["bits", "size", "samples", "cut", "empty"],
)
def test_code_streams_that_contradict_the_dataset(values: np.ndarray, frame: bytes, part: str) -> None:
    with pytest.raises(InputError, match=part):
        read(compressed(values, uid.JPEGLossless, frame))
