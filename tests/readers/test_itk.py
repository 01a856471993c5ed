"""NRRD and MetaImage: SimpleITK wrote the files, and its own reader gives the values and the anatomy."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from optidel.errors import InputError
from optidel.readers import Decoded, DecodeOptions, reader_for
from optidel.readers.source import Source

ALL = DecodeOptions(axes=("sagittal", "coronal", "axial"))
VOLUME = np.random.default_rng(0).integers(0, 900, (9, 10, 11)).astype(np.int16)
"""Slices, rows, columns, as SimpleITK arranges them."""


def read(path: Path, options: DecodeOptions = ALL) -> dict[str, Decoded]:
    source = Source(name=path.name, path=path)
    reader = reader_for(source)
    assert reader
    return {frame.locator: frame for frame in reader(source, options, None)}


def write(path: Path, values: np.ndarray, compress: bool = False, **options: object) -> Path:
    image = SimpleITK.GetImageFromArray(values, **options)
    SimpleITK.WriteImage(image, str(path), compress)
    return path


@pytest.mark.parametrize("ending", ["nrrd", "nhdr", "mha", "mhd"])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_values_are_those_of_simple_itk(tmp_path: Path, ending: str, compress: bool, kind: type) -> None:
    path = write(tmp_path / f"a.{ending}", (VOLUME / 4).astype(kind), compress)
    expected = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    frames = read(path, DecodeOptions())
    assert list(frames) == [f"axial:{i}" for i in range(9)]
    # ITK's axes point to the left and to posterior; slices are shown as those of NIfTI, the left on the left.
    for i in range(9):
        np.testing.assert_array_equal(frames[f"axial:{i}"].values[..., 0], expected[i][:, ::-1])
    low, high = np.percentile(expected[expected != 0], [0.5, 99.5])
    assert frames["axial:0"].high == pytest.approx(high)
    assert frames["axial:0"].low == 0
    assert low > 0


DIRECTIONS = [
    np.eye(3),
    np.diag([-1.0, -1.0, 1.0]),
    np.array([[0, 0, 1.0], [1, 0, 0], [0, -1, 0]]),
    np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]),
]


@pytest.mark.parametrize("ending", ["nrrd", "mha"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_slices_follow_the_anatomy_as_simple_itk_orients_it(
    tmp_path: Path, ending: str, direction: np.ndarray
) -> None:
    image = SimpleITK.GetImageFromArray(VOLUME)
    image.SetDirection(direction.ravel().tolist())
    path = tmp_path / f"a.{ending}"
    SimpleITK.WriteImage(image, str(path))
    oriented = SimpleITK.GetArrayFromImage(SimpleITK.DICOMOrient(image, "LPS"))
    frames = read(path)
    assert len(frames) == sum(oriented.shape)
    axial = np.stack([frames[f"axial:{i}"].values[..., 0] for i in range(oriented.shape[0])])
    np.testing.assert_array_equal(axial[:, :, ::-1], oriented)
    coronal = np.stack([frames[f"coronal:{i}"].values[..., 0] for i in range(oriented.shape[1])])
    np.testing.assert_array_equal(coronal[::-1, ::-1, ::-1].transpose(1, 0, 2), oriented)


@pytest.mark.parametrize("ending", ["nrrd", "mha"])
def test_planes_and_colour(tmp_path: Path, ending: str) -> None:
    grey = write(tmp_path / f"grey.{ending}", VOLUME[0])
    np.testing.assert_array_equal(read(grey)[""].values[..., 0], VOLUME[0])
    colour = np.random.default_rng(0).integers(0, 255, (12, 14, 3), dtype=np.uint8)
    path = write(tmp_path / f"colour.{ending}", colour, isVector=True)
    np.testing.assert_array_equal(read(path)[""].values, colour)
    assert read(path)[""].rule == "bit depth 8"
    volume = np.random.default_rng(0).integers(0, 255, (9, 12, 14, 3), dtype=np.uint8)
    path = write(tmp_path / f"volume.{ending}", volume, isVector=True)
    np.testing.assert_array_equal(read(path, DecodeOptions())["axial:4"].values, volume[4][:, ::-1])


@pytest.mark.parametrize("ending", ["nrrd", "mha"])
def test_cut_and_damaged_files_are_refused(tmp_path: Path, ending: str) -> None:
    for compress in (False, True):
        data = write(tmp_path / f"a.{ending}", VOLUME, compress).read_bytes()
        (tmp_path / f"b.{ending}").write_bytes(data[: len(data) * 2 // 3])
        with pytest.raises(InputError, match=r"is cut|is damaged"):
            read(tmp_path / f"b.{ending}")


@pytest.mark.parametrize("name", ["../secret.raw", "/etc/passwd", "link.raw", "gone.raw", "a/b.raw"])
@pytest.mark.parametrize("ending", ["nhdr", "mhd"])
def test_a_header_names_no_file_but_one_beside_it(tmp_path: Path, name: str, ending: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret.raw").write_bytes(VOLUME.tobytes())
    (folder / "link.raw").symlink_to(tmp_path / "secret.raw")
    path = write(folder / f"a.{ending}", VOLUME)
    inside = {"nhdr": b"data file: a.raw", "mhd": b"ElementDataFile = a.raw"}[ending]
    assert inside in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(inside, inside.replace(b"a.raw", name.encode())))
    with pytest.raises(InputError, match="not beside it in the same folder"):
        read(path)


def test_a_second_file_is_not_looked_for_in_an_archive(tmp_path: Path) -> None:
    source = Source(name="a.mhd", data=write(tmp_path / "a.mhd", VOLUME).read_bytes())
    reader = reader_for(source)
    assert reader
    with pytest.raises(InputError, match="inside an archive; unpack it"):
        list(reader(source, ALL, None))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (b"ObjectType = Image\nNDims = 2\nDimSize = 10 10\nElementType = MET_UCHAR\n", "does not say where"),
        (b"NDims = 2\nDimSize = 10 x\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n", "as DimSize"),
        (b"NDims = 2\nDimSize = 10 10\nElementType = MET_STRING\nElementDataFile = LOCAL\n", "ElementType"),
        (b"NDims = 2\nDimSize = 99999 99999\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n", "GiB of"),
        (b"NDims = 2\nDimSize = 10 10\nElementType = MET_UCHAR\nElementDataFile = LIST\n", "several files"),
        (b"NRRD0004\ntype: uchar\ndimension: 2\nsizes: 10 10\nencoding: ascii\n\n1 2", "as text"),
        (b"NRRD0004\ntype: block\ndimension: 2\nsizes: 10 10\nencoding: raw\n\n", "a type that images"),
        (b"NRRD0004\ntype: uchar\ndimension: 2\nsizes: 0 10\nencoding: raw\n\n", "sizes"),
    ],
)
def test_refused_with_the_reason(text: bytes, part: str) -> None:
    source = Source(name="a.nrrd" if text.startswith(b"NRRD") else "a.mha", data=text)
    reader = reader_for(source)
    assert reader
    with pytest.raises(InputError, match=part):
        list(reader(source, ALL, None))
