"""DICOM: SimpleITK's pixels for files that pydicom's and GDCM's authors made; windows, look-up tables,
refusals.
"""

import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from samples import dicom_file, encoded, samples, tissue

from optidel.errors import InputError
from optidel.readers import Decoded, DecodeOptions, reader_for
from optidel.readers.decoded import Decoded as Frame
from optidel.readers.source import Source

DCMTK = [f"SC_rgb_dcmtk_+eb+c{kind}.dcm" for kind in ("r", "y+n1", "y+n2", "y+np", "y+s2", "y+s4")]


def read(data: Path | bytes, name: str = "a.dcm", wanted: set[str] | None = None) -> list[Decoded]:
    source = Source(name=name, data=data) if isinstance(data, bytes) else Source(name=name, path=data)
    reader = reader_for(source)
    assert reader
    return list(reader(source, DecodeOptions(), wanted))


def simple_itk(path: Path) -> np.ndarray:
    """GDCM's pixels (frames, h, w, c), rescaled."""
    SimpleITK.ProcessObject.GlobalWarningDisplayOff()
    values = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    return values if values.ndim == 4 else values[..., None]


GREYS = {
    "CT_small.dcm": "CT window 40/400, none stated",
    "MR_small.dcm": "window 600/1600",
    "MR_small_bigendian.dcm": "window 600/1600",
    "MR_small_implicit.dcm": "window 600/1600",
    "MR_small_RLE.dcm": "window 600/1600",
    "MR_small_jp2klossless.dcm": "window 600/1600",
    "MR_small_jpeg_ls_lossless.dcm": "window 600/1600",
    "image_dfl.dcm": "bit depth 8",
    "JPGExtended.dcm": "percentiles 0.5-99.5",
    "JPEG-LL.dcm": "percentiles 0.5-99.5",
    "JPEG2000.dcm": "percentiles 0.5-99.5",
    "JPEGLSNearLossless_08.dcm": "bit depth 8",
    "JPEGLSNearLossless_16.dcm": "bit depth 16",
    "JPGLosslessP14SV1_1s_1f_8b.dcm": "window 127/254",
    "693_J2KI.dcm": "window 40/100",
    "693_UNCI.dcm": "window 40/100",
    "MR2_J2KI.dcm": "window 1000/2000",
    "RG3_J2KR.dcm": "window 550/1024, inverted",
    "RG3_UNCR.dcm": "window 550/1024, inverted",
    "RG1_J2KI.dcm": "window 15000/30000, inverted",
    "examples_overlay.dcm": "window 450/790",
    "MR-SIEMENS-DICOM-WithOverlays.dcm": "window 450/790",
}
"""Transfer syntax, byte order, sign and unused bits all differ; the rule that each is read by."""


@pytest.mark.parametrize("name", GREYS)
def test_grey_as_simple_itk_reads_it(name: str) -> None:
    path = dicom_file(name)
    (frame,) = read(path)
    data = pydicom.dcmread(path, stop_before_pixels=True)
    slope, offset = float(data.get("RescaleSlope", 1)), float(data.get("RescaleIntercept", 0))
    expected = simple_itk(path)[0]
    if data.PhotometricInterpretation == "MONOCHROME1":  # which GDCM inverts itself, within the bits stored
        expected = 2**data.BitsStored - 1 - expected.astype(int)
        assert frame.low > frame.high
    lossy = 1 if name == "JPGExtended.dcm" else 0
    np.testing.assert_allclose(frame.values * slope + offset, expected, atol=1e-3 + lossy)
    assert frame.rule == GREYS[name]
    assert frame.modality == data.get("Modality")


@pytest.mark.parametrize(
    "name",
    [
        *DCMTK,
        "SC_rgb_jpeg_gdcm.dcm",
        "SC_rgb_jpeg_lossy_gdcm.dcm",
        "SC_rgb_rle.dcm",
        "SC_rgb_rle_2frame.dcm",
        "SC_rgb_gdcm_KY.dcm",
        "SC_rgb_jls_lossy_line.dcm",
        "SC_rgb_jls_lossy_sample.dcm",
        "SC_rgb_16bit.dcm",
        "SC_rgb_expb_16bit_2frame.dcm",
        "SC_ybr_full_uncompressed.dcm",
        "examples_rgb_color.dcm",
        "examples_jpeg2k.dcm",
        "US1_J2KI.dcm",
        "color-pl.dcm",
        "color-px.dcm",
        "ExplVR_BigEnd.dcm",
        "GDCMJ2K_TextGBR.dcm",
        "examples_palette.dcm",
        "OBXXXX1A.dcm",
        "OBXXXX1A_expb_2frame.dcm",
        "OBXXXX1A_rle.dcm",
        "OT-PAL-8-face.dcm",
        "gdcm-US-ALOKA-16.dcm",
    ],
)
def test_colour_as_simple_itk_reads_it(name: str) -> None:
    path = dicom_file(name)
    frames = read(path)
    expected = simple_itk(path)
    assert len(frames) == len(expected)
    for frame, other in zip(frames, expected, strict=True):
        shown = other / (65535 if other.dtype == np.uint16 else 255)
        difference = np.abs(frame.pixels - shown)
        assert difference.max() <= 1.01 / 255  # colour conversion rounds
        assert difference.mean() <= 0.01 / 255


@pytest.mark.parametrize(
    "name",
    ["examples_ybr_color.dcm", "emri_small.dcm", "emri_small_RLE.dcm", "emri_small_jpeg_2k_lossless.dcm"],
)
def test_multi_frame(name: str) -> None:
    path = dicom_file(name)
    frames = read(path)
    expected = simple_itk(path) if name != "emri_small_RLE.dcm" else simple_itk(dicom_file("emri_small.dcm"))
    expected = (
        expected[0].transpose(2, 0, 1)[..., None] if expected.shape[0] == 1 and len(frames) > 1 else expected
    )
    assert [frame.locator for frame in frames] == [f"frame:{i}" for i in range(len(expected))]
    assert len(frames) > 1
    for frame, other in zip(frames, expected, strict=True):
        difference = np.abs(frame.values.astype(int) - other)
        assert difference.max() <= (1 if name == "examples_ybr_color.dcm" else 0)
    (again,) = read(path, wanted={"frame:7"})
    np.testing.assert_array_equal(again.values, frames[7].values)
    assert again.seconds == frames[7].seconds


def test_cine_loop_keeps_its_time() -> None:
    frames = read(dicom_file("examples_ybr_color.dcm"))
    step = (
        float(pydicom.dcmread(dicom_file("examples_ybr_color.dcm"), stop_before_pixels=True).FrameTime) / 1000
    )
    np.testing.assert_allclose([frame.seconds for frame in frames], step * np.arange(30), atol=1e-3)


def test_enhanced_ct_takes_its_windows_from_the_functional_groups() -> None:
    frames = read(dicom_file("eCT_Supplemental.dcm"))
    data = pydicom.dcmread(dicom_file("eCT_Supplemental.dcm"))
    assert len(frames) == 2
    for frame, group in zip(frames, data.PerFrameFunctionalGroupsSequence, strict=True):
        macro = data.SharedFunctionalGroupsSequence[0]
        window = (group.get("FrameVOILUTSequence") or macro.FrameVOILUTSequence)[0]
        scale = (group.get("PixelValueTransformationSequence") or macro.PixelValueTransformationSequence)[0]
        assert frame.rule == f"window {float(window.WindowCenter):g}/{float(window.WindowWidth):g}"
        low = frame.low * float(scale.RescaleSlope) + float(scale.RescaleIntercept)
        assert low == pytest.approx(float(window.WindowCenter) - float(window.WindowWidth) / 2)


def made(values: np.ndarray, **attributes: object) -> bytes:
    """A DICOM file of u8, u16 or i16 (h, w) or (h, w, 3)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # some attributes are wrong on purpose
        return _made(values, attributes)


def _made(values: np.ndarray, attributes: dict[str, object]) -> bytes:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = uid.SecondaryCaptureImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3"
    data.Modality, data.PatientID, data.StudyInstanceUID, data.SeriesInstanceUID = (
        "OT",
        "someone",
        "1.2.4",
        "1.2.5",
    )
    data.Rows, data.Columns = values.shape[:2]
    data.SamplesPerPixel = 3 if values.ndim == 3 else 1
    data.PhotometricInterpretation = "RGB" if values.ndim == 3 else "MONOCHROME2"
    if values.ndim == 3:
        data.PlanarConfiguration = 0
    data.BitsAllocated = data.BitsStored = values.dtype.itemsize * 8
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(values.dtype.kind == "i")
    data.PixelData = values.tobytes()
    for name, value in attributes.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    return encoded(lambda out: data.save_as(out, enforce_file_format=True))


RAMP = np.arange(16 * 256, dtype=np.uint16).reshape(16, 256)


def shown(data: bytes) -> tuple[np.ndarray, Frame]:
    (frame,) = read(data)
    return frame.pixels[..., 0], frame


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [(1000, 700), (40.5, 1), (2048, 4096), (-10, 33.25)])
@pytest.mark.parametrize("slope", [1, -2, 0.25])
def test_windows_as_pydicom_applies_them(
    function: str | None, centre: float, width: float, slope: float
) -> None:
    extra = {} if function is None else {"VOILUTFunction": function}
    data = made(
        RAMP, WindowCenter=centre, WindowWidth=width, RescaleSlope=slope, RescaleIntercept=-100, **extra
    )
    pixels, frame = shown(data)
    with np.errstate(over="ignore"):
        expected = pydicom.pixels.apply_windowing(
            RAMP.astype(np.float64) * slope - 100, pydicom.dcmread(BytesIO(data))
        )
    low, high = -100, slope * 65535 - 100  # what pydicom makes black and white
    np.testing.assert_allclose(pixels, ((expected - low) / (high - low)), atol=2e-3)
    assert frame.rule == f"{'sigmoid ' if function == 'SIGMOID' else ''}window {centre:g}/{width:g}"


def test_monochrome1_is_inverted() -> None:
    plain, _ = shown(made(RAMP, BitsStored=12, HighBit=11))
    inverted, frame = shown(made(RAMP, BitsStored=12, HighBit=11, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_allclose(plain, RAMP / 4095, atol=1e-6)
    np.testing.assert_allclose(inverted, 1 - RAMP / 4095, atol=1e-6)
    assert frame.rule == "bit depth 12 of 16, inverted"


def test_values_without_a_window() -> None:
    signed = (RAMP.astype(np.int32) - 2000).astype(np.int16)
    pixels, frame = shown(made(signed))
    low, high = np.percentile(signed[signed != 0], [0.5, 99.5])
    np.testing.assert_allclose(pixels, ((signed - low) / (high - low)).clip(0, 1), atol=1e-5)
    assert frame.rule == "percentiles 0.5-99.5"
    pixels, frame = shown(made(RAMP, Modality="CT", RescaleSlope=1, RescaleIntercept=-1024))
    np.testing.assert_allclose(pixels, ((RAMP - 1024.0 + 160) / 400).clip(0, 1), atol=1e-5)
    assert frame.rule == "CT window 40/400, none stated"
    assert shown(made(RAMP, Modality="MR"))[1].rule == "percentiles 0.5-99.5"
    assert shown(made(RAMP, WindowCenter=5, WindowWidth=0))[1].rule == "bit depth 16"


def test_look_up_tables_as_pydicom_applies_them() -> None:
    for name, rule in (("vlut_04.dcm", "VOI LUT"), ("mlut_18.dcm", "bit depth 16")):
        pixels, frame = shown(dicom_file(name).read_bytes())
        data = pydicom.dcmread(dicom_file(name))
        expected = pydicom.pixels.apply_voi_lut(
            pydicom.pixels.apply_modality_lut(data.pixel_array, data), data
        )
        np.testing.assert_allclose(pixels, expected / 65535, atol=1e-6)
        assert frame.rule == rule


def test_groups_and_modality_are_all_that_is_told() -> None:
    (frame,) = read(made(RAMP, PatientID=" someone "))
    assert frame.groups == {"patient": "someone", "study": "1.2.4", "series": "1.2.5"}
    (frame,) = read(made(RAMP, PatientID="", Modality="SMITH"))
    assert "patient" not in frame.groups
    assert frame.modality is None


def test_no_message_and_no_warning_quotes_an_attribute(capfd: pytest.CaptureFixture[str]) -> None:
    secret = "SECRET^NAME"
    broken = made(
        RAMP,
        PhotometricInterpretation=secret[:16],
        PatientName=secret,
        StudyDate="SECRET",
        PatientAge="SECRET",
    )
    with pytest.raises(InputError) as caught:
        read(broken)
    assert "SECRET" not in str(caught.value)
    odd = made(RAMP, PatientName=secret).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.SECRET.1.2.\0")
    with pytest.raises(InputError) as caught:
        read(odd)
    assert "SECRET" not in str(caught.value)
    read(made(RAMP, PatientName=secret, RescaleSlope=1, RescaleIntercept=0).replace(b"1.2.4\0", b"SECRT\0"))
    out = capfd.readouterr()
    assert "SEC" not in out.out + out.err


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("liver_1frame.dcm", "a segmentation, no picture"),
        ("reportsi.dcm", "a structured report, no picture"),
        ("test-SR.dcm", "a structured report"),
        ("rtdose.dcm", "a radiation dose"),
        ("rtplan.dcm", "a treatment plan"),
        ("rtstruct.dcm", "a set of contours"),
        ("waveform_ecg.dcm", "a waveform"),
        ("DICOMDIR", "is a DICOMDIR, the table of contents"),
        ("priv_SQ.dcm", "no DICOM image"),
        ("MR_truncated.dcm", "is cut: it declares 8192 bytes of pixels and holds 8130"),
        ("JPEG2000-embedded-sequence-delimiter.dcm", "its compressed data declares"),
        ("emri_small_jpeg_2k_lossless_too_short.dcm", "no DICOM image"),
        ("SC_rgb_small_odd.dcm", "smaller than 8 px"),
        ("README.txt", "no DICOM image"),
    ],
)
def test_packaged_files_that_are_no_pictures(name: str, part: str) -> None:
    path = (
        get_testdata_file("README.txt", download=False)
        if name == "README.txt"
        else get_testdata_file(name, download=False)
    )
    with pytest.raises(InputError, match=part):
        read(Path(str(path)))


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: made(RAMP, Rows=60_000, Columns=60_000), "limit of 100 megapixels"),
        (lambda: made(RAMP, NumberOfFrames=9_000_000), "declares 9000000 frames"),
        (lambda: made(RAMP, NumberOfFrames=2), "is cut"),
        (lambda: made(RAMP, Modality="SEG"), "a segmentation"),
        (lambda: made(RAMP, Modality="PR"), "a presentation state"),
        (lambda: made(RAMP, EncapsulatedDocument=b"%PDF"), "an encapsulated document"),
        (lambda: made(RAMP, PixelData=None), "no pixels"),
        (lambda: made(RAMP, SamplesPerPixel=3), "does not go with"),
        (lambda: made(RAMP, RescaleSlope=0, RescaleIntercept=0), "slope of 0"),
        (lambda: larger_inside(), "declares 60000 x 60000 px of 3 samples, the dataset 100 x 100 px"),
    ],
    ids=["size", "frames", "cut", "seg", "pr", "pdf", "pixels", "samples", "slope", "codestream"],
)
def test_refused_with_the_reason(make: Callable[[], bytes], part: str) -> None:
    with pytest.raises(InputError, match=part):
        read(make())


def larger_inside() -> bytes:
    """A JPEG of 100 x 100 px whose own header declares 60000 x 60000."""
    data = dicom_file("SC_rgb_jpeg_dcmtk.dcm").read_bytes()
    at = data.index(b"\xff\xc0\x00\x11\x08") + 5
    return data[:at] + (60_000).to_bytes(2) * 2 + data[at + 4 :]


def test_extensionless_and_headerless() -> None:
    assert read(samples()[".dcm"][0], name="IM0001")[0].rule == "window 600/1600"
    bare = dicom_file("MR_small_implicit.dcm").read_bytes()
    at = 144 + int.from_bytes(bare[140:144], "little")
    (frame,) = read(bare[at:], name="a.dcm")  # no preamble, no meta header: as some archives write it
    np.testing.assert_array_equal(frame.values, read(bare)[0].values)


def test_colour_of_sixteen_bits() -> None:
    colour = tissue(16, 16).astype(np.uint16) * 257
    (frame,) = read(made(colour))
    np.testing.assert_array_equal(frame.image, tissue(16, 16))


SLOPE = np.linspace(50, 950, 40 * 48).reshape(40, 48)
"""Anatomy without structure: its spread is easily said."""


@pytest.mark.parametrize(
    ("padding", "extra"),
    [
        (-32768, {"PixelPaddingValue": -32768}),
        (-1999, {"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1500}),
        (-1999, {"PixelPaddingValue": -1500, "PixelPaddingRangeLimit": -2000}),
        (32767, {"PixelPaddingValue": 32767}),
        (32767, {"PixelPaddingValue": 32767, "PhotometricInterpretation": "MONOCHROME1"}),
    ],
)
def test_padding_takes_no_part_in_contrast_and_is_black(padding: int, extra: dict[str, object]) -> None:
    """PS3.3 C.7.5.1.1.2. The picture without padding says what the anatomy has to look like."""
    values = SLOPE.astype(np.int16)
    expected, _ = shown(made(values, Modality="MR", **{"PhotometricInterpretation": "MONOCHROME2"} | extra))
    padded = values.copy()
    padded[:10] = padding
    pixels, frame = shown(made(padded, Modality="MR", **extra))
    assert (pixels[:10] == 0).all()
    low, high = np.percentile(values[10:], [0.5, 99.5])
    rest = ((values[10:] - min(low, 0)) / (high - min(low, 0))).clip(0, 1)
    np.testing.assert_allclose(pixels[10:], 1 - rest if "inverted" in frame.rule else rest, atol=1e-4)
    assert expected.shape == pixels.shape


def test_padding_of_signed_values_stated_as_unsigned() -> None:
    padded = SLOPE.astype(np.int16)
    padded[:10] = -2000
    data = pydicom.dcmread(BytesIO(made(padded, Modality="MR")))
    data.add_new(0x00280120, "US", 63536)
    _, frame = shown(encoded(lambda out: data.save_as(out)))
    assert frame.high == pytest.approx(np.percentile(padded[10:], 99.5))
    assert frame.low == 0


def test_padding_under_a_window_is_black_too() -> None:
    padded = SLOPE.astype(np.uint16)
    padded[:10] = 4000
    pixels, _ = shown(made(padded, WindowCenter=500, WindowWidth=900, PixelPaddingValue=4000))
    plain, _ = shown(made(padded, WindowCenter=500, WindowWidth=900))
    assert (plain[:10] == 1).all()
    assert (pixels[:10] == 0).all()
    np.testing.assert_array_equal(pixels[10:], plain[10:])


@pytest.mark.parametrize("modality", ["CT", "MR", "PT", "OT"])
def test_a_screen_of_eight_bits_is_what_the_screen_showed(modality: str) -> None:
    screen = tissue()[..., 0]
    pixels, frame = shown(made(screen, Modality=modality))
    np.testing.assert_allclose(pixels, screen / 255, atol=1e-6)
    assert frame.rule == "bit depth 8"


def test_only_a_ct_in_hu_gets_a_ct_window() -> None:
    signed = (RAMP.astype(np.int32) - 2000).astype(np.int16)
    ct = {"Modality": "CT", "SOPClassUID": uid.CTImageStorage}
    assert "CT window" in shown(made(signed, **ct))[1].rule
    assert "CT window" in shown(made(signed, Modality="CT", RescaleSlope=1, RescaleIntercept=0))[1].rule
    other = shown(made(signed, **ct, RescaleSlope=1, RescaleIntercept=0, RescaleType="Z_EFF"))[1]
    assert other.rule == "percentiles 0.5-99.5"


def test_the_window_of_the_recipe_is_for_ct_alone() -> None:
    signed = (RAMP.astype(np.int32) - 2000).astype(np.int16)
    options = DecodeOptions(window=(-600.0, 1500.0))
    ct = made(signed, Modality="CT", RescaleSlope=1, RescaleIntercept=0, WindowCenter=40, WindowWidth=80)
    source = Source(name="a.dcm", data=ct)
    (frame,) = list(read_with(source, options))
    np.testing.assert_allclose(frame.pixels[..., 0], ((signed + 1350) / 1500).clip(0, 1), atol=1e-5)
    assert frame.rule == "window -600/1500, by the recipe"
    mr = Source(name="a.dcm", data=made(signed, Modality="MR"))
    assert [frame.rule for frame in read_with(mr, options)] == ["percentiles 0.5-99.5"]


def read_with(source: Source, options: DecodeOptions) -> list[Decoded]:
    reader = reader_for(source)
    assert reader
    return list(reader(source, options, None))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("stored", [10, 12, 14])
@pytest.mark.parametrize("shift", [0, 1, 2, "all"])
def test_bits_may_lie_anywhere_in_their_word(
    tmp_path: Path, signed: bool, stored: int, shift: int | str
) -> None:
    """With rubbish in the bits that are not used, as retired overlays put there; PS3.5 8.1.1. GDCM is the
    reference for the usual place; elsewhere it masks and does not shift.
    """
    shift = 16 - stored if isinstance(shift, str) else shift
    rng = np.random.default_rng(stored)
    samples_ = rng.integers(0, 1 << stored, (16, 20))
    values = samples_ - (samples_ >> (stored - 1) << stored) if signed else samples_
    junk = rng.integers(0, 1 << 16, samples_.shape)
    mask = ((1 << stored) - 1) << shift
    word = ((samples_ << shift) | (junk & ~mask)).astype(np.uint16)
    data = made(
        word, BitsStored=stored, HighBit=stored - 1 + shift, PixelRepresentation=int(signed), Modality="CR"
    )
    (frame,) = read(data)
    np.testing.assert_array_equal(frame.values[..., 0], values)
    if shift == 0:
        (tmp_path / "a.dcm").write_bytes(data)
        np.testing.assert_array_equal(simple_itk(tmp_path / "a.dcm")[0, ..., 0], values)


def test_frames_of_one_file_share_one_scale(tmp_path: Path) -> None:
    """A dim frame stays dim, whether all frames are read or one of them again, from a file or from memory."""
    frames = np.stack([(SLOPE * share).astype(np.uint16) for share in (1.0, 0.5, 0.1)])
    data = made(frames[0], Modality="MR", NumberOfFrames=3, PixelData=frames.tobytes())
    read_all = read(data)
    low, high = np.percentile(frames, [0.5, 99.5])
    for frame, values in zip(read_all, frames, strict=True):
        assert (frame.low, frame.high) == pytest.approx((min(low, 0), high))
        np.testing.assert_array_equal(frame.values[..., 0], values)
    (tmp_path / "a.dcm").write_bytes(data)
    for source in (data, tmp_path / "a.dcm"):
        (again,) = read(source, wanted={"frame:2"})
        np.testing.assert_array_equal(again.pixels, read_all[2].pixels)


def test_pixels_of_floats_that_are_not_finite_are_black() -> None:
    values = SLOPE.astype(np.float32)
    values[3, 4], values[5, 6] = np.nan, np.inf
    data = made(SLOPE.astype(np.uint16), PixelData=None, BitsAllocated=32, FloatPixelData=values.tobytes())
    (frame,) = read(data)
    assert frame.pixels[3, 4] == frame.pixels[5, 6] == 0
    np.testing.assert_array_equal(frame.values[6:, :, 0], values[6:])
