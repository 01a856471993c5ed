"""NIfTI volumes: SimpleITK's voxels, the scanner's directions."""

import gzip
import logging
import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from samples import samples

from optidel.errors import InputError
from optidel.readers import Decoded, DecodeOptions, reader_for
from optidel.readers.decode import read_frame
from optidel.readers.source import Source

DATA = Path(nib.__file__).parent / "tests" / "data"
ALL = DecodeOptions(axes=("sagittal", "coronal", "axial"))


def read(
    name: str, data: bytes | Path, options: DecodeOptions = ALL, wanted: set[str] | None = None
) -> dict[str, Decoded]:
    source = Source(name=name, data=data.read_bytes() if isinstance(data, Path) else data)
    reader = reader_for(source)
    assert reader
    return {frame.locator: frame for frame in reader(source, options, wanted)}


def simple_itk(path: Path) -> np.ndarray:
    """Voxels (x, y, z) in RAS+ order, scaled, of the first volume."""
    image = SimpleITK.ReadImage(str(path))
    if image.GetDimension() == 4:
        image = image[..., 0]
    return SimpleITK.GetArrayFromImage(SimpleITK.DICOMOrient(image, "RAS")).transpose(2, 1, 0)


@pytest.mark.parametrize(
    "name", ["anatomical.nii", "functional.nii", "example4d.nii.gz", "resampled_anat_moved.nii"]
)
def test_nibabels_test_files_as_simple_itk_reads_them(name: str) -> None:
    frames = read(name, DATA / name)
    voxels = np.nan_to_num(simple_itk(DATA / name).astype(np.float64))
    inside = voxels[voxels != 0]
    low, high = np.percentile(inside, [0.5, 99.5])
    low = min(low, 0.0) if voxels.min() >= 0 else low
    expected = ((voxels - low) / (high - low)).clip(0, 1)
    planes = {
        "sagittal": expected,
        "coronal": np.moveaxis(expected, 1, 0),
        "axial": np.moveaxis(expected, 2, 0),
    }
    assert frames
    for locator, frame in frames.items():
        axis, _, position = locator.partition(":")
        plane = planes[axis][int(position)].T[::-1]  # the second axis up
        np.testing.assert_allclose(frame.pixels[..., 0], plane, atol=2e-5, err_msg=locator)
    four = name in ("functional.nii", "example4d.nii.gz")
    assert all(
        frame.rule.startswith("percentiles 0.5-99.5") and ("first of" in frame.rule) == four
        for frame in frames.values()
    )


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (-1, -1, 1), (1, 1, -1)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_slices_follow_the_anatomy_however_stored(flips: tuple[int, ...], order: tuple[int, ...]) -> None:
    canonical = np.random.default_rng(0).integers(1, 1000, (10, 12, 14)).astype(np.int16)
    image = nib.Nifti1Image(canonical, np.eye(4))
    stored = image.as_reoriented([[axis, flip] for axis, flip in zip(order, flips, strict=True)])
    frames = read("v.nii", stored.to_bytes())
    assert len(frames) == 10 + 12 + 14
    np.testing.assert_array_equal(frames["axial:3"].values[..., 0], canonical[:, :, 3].T[::-1])  # anterior up
    np.testing.assert_array_equal(frames["coronal:5"].values[..., 0], canonical[:, 5].T[::-1])  # superior up
    np.testing.assert_array_equal(frames["sagittal:7"].values[..., 0], canonical[7].T[::-1])


@pytest.mark.parametrize(("slope", "offset"), [(2.0, 0.0), (0.5, -1024.0), (-3.0, 10.0)])
def test_scaling(slope: float, offset: float, tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(-500, 900, (10, 12, 14)).astype(np.int16)
    data = bytearray(nib.Nifti1Image(voxels, np.eye(4)).to_bytes())
    struct.pack_into("<ff", data, 112, slope, offset)
    (tmp_path / "v.nii").write_bytes(data)
    scaled = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "v.nii"))).transpose(2, 1, 0)
    low, high = np.percentile(scaled[scaled != 0], [0.5, 99.5])
    frame = read("v.nii", bytes(data), DecodeOptions())["axial:3"]
    np.testing.assert_array_equal(frame.values[..., 0], voxels[:, :, 3].T[::-1])
    np.testing.assert_allclose(
        frame.pixels[..., 0], ((scaled[:, :, 3].T[::-1] - low) / (high - low)).clip(0, 1), atol=1e-4
    )


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int8, np.uint16, np.int32, np.float32, np.float64, ">i2", ">f4"]
)
def test_types_and_byte_orders(dtype: str | type) -> None:
    voxels = np.random.default_rng(0).integers(1, 100, (9, 10, 11)).astype(dtype)
    for kind in (nib.Nifti1Image, nib.Nifti2Image):
        image = kind(
            voxels,
            np.eye(4),
            header=kind.header_class(endianness=">" if np.dtype(dtype).byteorder == ">" else "<"),
        )
        image.set_data_dtype(dtype)
        frame = read("v.nii", image.to_bytes())["axial:4"]
        np.testing.assert_array_equal(frame.values[..., 0], voxels[:, :, 4].T[::-1])


def test_colour_volume() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (9, 10, 11, 3), dtype=np.uint8)
    voxels = colours.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    frame = read("v.nii", nib.Nifti1Image(voxels, np.eye(4)).to_bytes())["axial:4"]
    assert frame.rule == "bit depth 8"
    np.testing.assert_array_equal(frame.values, colours[:, :, 4].transpose(1, 0, 2)[::-1])


def test_thin_stacks_give_only_the_planes_that_show_something() -> None:
    frames = read("v.nii", nib.Nifti1Image(np.ones((20, 30, 3), np.int16), np.eye(4)).to_bytes())
    assert list(frames) == ["axial:0", "axial:1", "axial:2"]
    with pytest.raises(InputError, match="narrower than 8 px"):
        read(
            "v.nii",
            nib.Nifti1Image(np.ones((20, 30, 3), np.int16), np.eye(4)).to_bytes(),
            DecodeOptions(axes=("coronal",)),
        )


def test_nibabels_nifti2_file() -> None:
    """SimpleITK does not read NIfTI-2; the raw voxels are big-endian or little-endian integers behind the
    header.
    """
    data = gzip.decompress((DATA / "example_nifti2.nii.gz").read_bytes())
    header = nib.Nifti2Header(data[:540])
    (offset,) = struct.unpack_from(f"{header.endianness}q", data, 168)
    count = int(np.prod(header.get_data_shape()[:3]))
    raw = np.frombuffer(data, header.get_data_dtype(), count, offset)
    frames = read("a.nii.gz", DATA / "example_nifti2.nii.gz", DecodeOptions())
    values = np.stack([frame.values for frame in frames.values()])
    np.testing.assert_array_equal(np.sort(values, axis=None), np.sort(raw))


def test_empty_volume_is_black() -> None:
    frames = read("v.nii", nib.Nifti1Image(np.zeros((9, 9, 9), np.uint8), np.eye(4)).to_bytes())
    assert all(frame.pixels.max() == 0 for frame in frames.values())


def test_one_slice_again(tmp_path: Path) -> None:
    (tmp_path / "v.nii.gz").write_bytes(samples()[".nii.gz"][0])
    frames = read("v.nii.gz", tmp_path / "v.nii.gz")
    np.testing.assert_array_equal(read_frame(tmp_path / "v.nii.gz", "axial:3"), frames["axial:3"].pixels)
    assert list(read("v.nii.gz", tmp_path / "v.nii.gz", DecodeOptions(), {"coronal:2", "axial:1"})) == [
        "coronal:2",
        "axial:1",
    ]
    with pytest.raises(InputError, match="no longer holds axial:99"):
        read_frame(tmp_path / "v.nii.gz", "axial:99")


def volume(shape: tuple[int, ...], fill: float = 1, dtype: type = np.float32) -> bytes:
    return nib.Nifti1Image(np.full(shape, fill, dtype), np.eye(4)).to_bytes()


def declares(*shape: int) -> bytes:
    data = bytearray(volume((9, 9, 9)))
    struct.pack_into("<8h", data, 40, len(shape), *shape, *[1] * (7 - len(shape)))
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (volume((9, 9, 9), np.nan), "not finite"),
        (volume((9, 9, 9, 1, 3)), r"shape \(9, 9, 9, 1, 3\)"),
        (volume((9, 9, 9), 1, np.complex64), "complex"),
        (declares(30_000, 30_000, 30_000), "GiB of values, more than the limit"),
        (declares(30_000, 30_000, 1), "more than the limit"),
        (declares(90, 90, 90), "is cut"),
        (volume((9, 9, 9))[:2000], "is cut"),
        (volume((9, 9, 9))[:200], "header that cannot be read"),
        (declares(-9, 9, 9), "shape"),
        (b"no header here" * 99, "does not begin with the header"),
    ],
)
def test_refused_with_the_reason(data: bytes, part: str) -> None:
    for name, stored in (("v.nii", data), ("v.nii.gz", gzip.compress(data))):
        with pytest.raises(InputError, match=part):
            read(name, stored)


def test_what_follows_the_voxels_is_not_kept() -> None:
    """64 MiB of zeros behind an honest header are passed over, block by block, on the way to the checksum."""
    out = BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed:
        packed.write(volume((9, 9, 9)))
        packed.write(bytes(1 << 26))
    assert len(read("v.nii.gz", out.getvalue())) == 27


def ct(shape: tuple[int, int, int] = (40, 40, 12)) -> np.ndarray:
    """A body of 60 HU with a lesion of 20 HU, a lung and a bone, in air."""
    x, y, _ = np.mgrid[0 : shape[0], 0 : shape[1], 0 : shape[2]]
    voxels = np.full(shape, -1000.0)
    voxels[(x - 20) ** 2 + (y - 20) ** 2 < 256] = 60
    voxels[(x - 14) ** 2 + (y - 20) ** 2 < 9] = 20
    voxels[(x - 28) ** 2 + (y - 20) ** 2 < 16] = -850
    voxels[(x - 20) ** 2 + (y - 30) ** 2 < 9] = 900
    return (voxels + np.random.default_rng(0).normal(0, 8, shape)).round()


@pytest.mark.parametrize(
    ("stored", "slope", "offset"),
    [(np.int16, 1.0, 0.0), (np.uint16, 1.0, -1100.0), (np.float32, 1.0, 0.0), (np.int16, 0.5, 0.0)],
)
def test_a_ct_is_recognised_and_gets_the_window_that_its_dicom_would_get(
    stored: type, slope: float, offset: float
) -> None:
    voxels = ct()
    image = nib.Nifti1Image(((voxels - offset) / slope).astype(stored), np.eye(4))
    data = bytearray(image.to_bytes())
    struct.pack_into("<2f", data, 112, slope, offset)
    frame = read("a.nii", bytes(data), DecodeOptions())["axial:5"]
    assert frame.rule == "CT window 40/400, values look like HU"
    expected = ((voxels[:, :, 5].T[::-1] + 160) / 400).clip(0, 1)
    np.testing.assert_allclose(frame.pixels[..., 0], expected, atol=2e-3)
    frame = read("a.nii", bytes(data), DecodeOptions(window=(-600.0, 1500.0)))["axial:5"]
    assert frame.rule == "window -600/1500, by the recipe"
    np.testing.assert_allclose(
        frame.pixels[..., 0], ((voxels[:, :, 5].T[::-1] + 1350) / 1500).clip(0, 1), atol=1e-3
    )


@pytest.mark.parametrize("kind", ["padding", "no air", "noise", "phase", "magnitude", "z-map"])
def test_what_is_and_what_is_no_ct(kind: str) -> None:
    rng, voxels = np.random.default_rng(0), ct()
    if kind == "padding":  # outside a round field of view
        voxels[:3] = -3024
    elif kind == "no air":
        voxels = voxels.clip(-200, 300)
    elif kind == "noise":
        voxels = rng.uniform(-1000, 1000, voxels.shape)
    elif kind == "phase":
        voxels = rng.uniform(-4096, 4095, voxels.shape).round()
    elif kind == "magnitude":
        voxels = np.abs(rng.normal(0, 800, voxels.shape))
    elif kind == "z-map":
        voxels = rng.normal(0, 3, voxels.shape)
    data = nib.Nifti1Image(voxels.astype(np.float32), np.eye(4)).to_bytes()
    rule = read("a.nii", data, DecodeOptions())["axial:5"].rule
    assert ("HU" in rule) == (kind == "padding")
    stated = read("a.nii", data, DecodeOptions(window=(40.0, 400.0)))["axial:5"].rule
    assert ("by the recipe" in stated) == (kind in ("padding", "no air", "noise", "phase"))


def test_planes_however_they_lie() -> None:
    plane = np.random.default_rng(0).integers(1, 900, (12, 10)).astype(np.int16)
    (frame,) = read("a.nii", nib.Nifti1Image(plane, np.eye(4)).to_bytes(), DecodeOptions()).values()
    assert frame.locator == "axial:0"
    np.testing.assert_array_equal(frame.values[..., 0], plane.T[::-1])
    sagittal = nib.Nifti1Image(plane[None], np.eye(4)).to_bytes()
    (frame,) = read("a.nii", sagittal, DecodeOptions()).values()
    assert frame.locator == "sagittal:0"
    np.testing.assert_array_equal(frame.values[..., 0], plane.T[::-1])


def test_values_that_are_not_finite_cost_a_voxel_and_not_the_file() -> None:
    voxels = np.random.default_rng(0).uniform(100, 900, (10, 11, 12)).astype(np.float32)
    voxels[3, 4, 5], voxels[4, 4, 5], voxels[5, 4, 5] = np.nan, np.inf, -np.inf
    frame = read("a.nii", nib.Nifti1Image(voxels, np.eye(4)).to_bytes(), DecodeOptions())["axial:5"]
    assert frame.rule == "percentiles 0.5-99.5, not finite is black"
    assert (frame.pixels[6, 3:6] == 0).all()
    sound = voxels[np.isfinite(voxels)]
    assert frame.high == pytest.approx(np.percentile(sound, 99.5), rel=1e-5)
    others = np.isfinite(voxels[:, :, 5].T[::-1])
    np.testing.assert_array_equal(frame.values[..., 0][others], voxels[:, :, 5].T[::-1][others])


@pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.diag([1.0, 1, 0, 1]), np.full((4, 4), np.nan)])
def test_an_affine_without_an_inverse_orients_nothing_and_is_said(affine: np.ndarray) -> None:
    voxels = np.random.default_rng(0).integers(1, 900, (10, 11, 12)).astype(np.int16)
    image = nib.Nifti1Image(voxels, np.eye(4))
    data = bytearray(image.to_bytes())
    struct.pack_into("<12f", data, 280, *affine[:3].ravel())
    struct.pack_into("<2h", data, 252, 0, 2)  # no quaternion, and rows of an affine
    frame = read("a.nii", bytes(data), DecodeOptions())["axial:5"]
    np.testing.assert_array_equal(frame.values[..., 0], voxels[:, :, 5].T[::-1])
    assert frame.rule == "percentiles 0.5-99.5, orientation unknown"


def with_field(offset: int, content: bytes) -> bytes:
    """A sound volume with other bytes in its header."""
    voxels = np.arange(9 * 10 * 11, dtype=np.int16).reshape(9, 10, 11)
    data = bytearray(nib.Nifti1Image(voxels, np.eye(4)).to_bytes())
    data[offset : offset + len(content)] = content
    return bytes(data)


@pytest.fixture
def printed() -> Iterator[list[str]]:
    """What nibabel would print."""
    texts: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: texts.append(record.getMessage())  # type: ignore[method-assign]
    nib.imageglobals.logger.addHandler(handler)
    yield texts
    nib.imageglobals.logger.removeHandler(handler)


def test_negative_voxel_sizes_are_in_the_rule_and_not_on_the_terminal(printed: list[str]) -> None:
    sound = read("v.nii", with_field(0, b""))["axial:5"]
    odd = read("v.nii", with_field(80, struct.pack("<ff", -1, -1)))["axial:5"]
    np.testing.assert_array_equal(odd.values, sound.values)
    assert odd.rule == f"{sound.rule}, negative voxel sizes taken as positive"
    assert printed == []


def test_a_header_that_was_mended_counts_as_a_warning_of_the_decoder(printed: list[str]) -> None:
    data = with_field(254, struct.pack("<h", 99))
    with pytest.raises(InputError, match=r"its decoder warns 'sform_code 99 not valid.*corpus.damaged"):
        read("v.nii", data)
    kept = read("v.nii", data, DecodeOptions(damaged="keep"))
    assert len(kept) == 11
    assert printed == []


def test_an_offset_that_another_program_dislikes_is_no_damage(printed: list[str]) -> None:
    voxels = np.arange(9 * 10 * 11, dtype=np.int16).reshape(9, 10, 11)
    data = bytearray(nib.Nifti1Image(voxels, np.eye(4)).to_bytes())
    data[108:112] = struct.pack("<f", 360)
    data[352:352] = bytes(8)
    np.testing.assert_array_equal(
        read("v.nii", bytes(data))["axial:5"].values, read("v.nii", with_field(0, b""))["axial:5"].values
    )
    assert printed == []
