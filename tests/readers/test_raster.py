"""JPEG, PNG, BMP, WebP and GIF: the pixels that another library reads, from files that other projects
made.
"""

import io
import itertools
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import sklearn.datasets
from PIL import Image
from samples import SKIMAGE, encoded, samples, tissue
from test_fuzz import mutate

from optidel.errors import InputError
from optidel.readers import MAX_FRAMES, Decoded, DecodeOptions, reader_for
from optidel.readers.decode import read_frame
from optidel.readers.source import Source

SKLEARN = Path(sklearn.datasets.__file__).parent / "images"


def read(path: Path) -> list[Decoded]:
    source = Source(name=path.name, path=path)
    reader = reader_for(source)
    assert reader
    return list(reader(source, DecodeOptions(), None))


def read_bytes(name: str, data: bytes) -> list[Decoded]:
    source = Source(name=name, data=data)
    reader = reader_for(source)
    assert reader
    return list(reader(source, DecodeOptions(), None))


def opencv(path: Path | bytes) -> np.ndarray:
    """What OpenCV reads, unchanged, in RGB order, without alpha, (h, w, 1 or 3)."""
    data = path if isinstance(path, bytes) else path.read_bytes()
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    values = values[..., None] if values.ndim == 2 else values[..., 2::-1]
    return values if values.shape[2] != 2 else values[..., :1]


@pytest.mark.parametrize(
    "name", ["astronaut.png", "camera.png", "chelsea.png", "coins.png", "retina.jpg", "hubble_deep_field.jpg"]
)
def test_packaged_pictures_as_opencv_reads_them(name: str) -> None:
    (frame,) = read(SKIMAGE / name)
    np.testing.assert_array_equal(frame.values, opencv(SKIMAGE / name))
    assert (frame.low, frame.high, frame.rule, frame.locator) == (0, 255, "bit depth 8", "")


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
def test_jpeg_as_opencv_reads_it(name: str) -> None:
    (frame,) = read(SKLEARN / name)
    difference = np.abs(frame.values.astype(int) - opencv(SKLEARN / name))
    assert difference.max() <= 3  # two builds of libjpeg-turbo may upsample colour differently
    assert difference.mean() < 0.1


def test_alpha_is_dropped_not_blended() -> None:
    (frame,) = read(SKIMAGE / "logo.png")  # colour with alpha
    np.testing.assert_array_equal(frame.values, opencv(SKIMAGE / "logo.png"))
    grey = encoded(lambda out: Image.fromarray(tissue()[..., :2], "LA").save(out, "PNG"))
    assert np.array_equal(read_bytes("a.png", grey)[0].values, tissue()[..., :1])


def test_sixteen_bit_colour_keeps_its_bits() -> None:
    """Pillow reads this file, of scikit-image's own tests, as 8 bits a channel."""
    path = SKIMAGE / "chessboard_RGB.png"
    (frame,) = read(path)
    assert frame.values.dtype == np.uint16
    np.testing.assert_array_equal(frame.values, opencv(path))
    values = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    (frame,) = read_bytes("a.png", cv2.imencode(".png", values[..., ::-1])[1].tobytes())
    np.testing.assert_array_equal(frame.values, values)
    np.testing.assert_allclose(frame.pixels, values / 65535, atol=1e-6)


@pytest.mark.parametrize(
    ("top", "rule"), [(65535, "bit depth 16"), (4096, "bit depth 16"), (4095, "bit depth 12 of 16")]
)
def test_sixteen_bit_grey_is_not_turned_white(top: int, rule: str) -> None:
    values = np.linspace(0, top, 600).reshape(20, 30).astype(np.uint16)
    (frame,) = read_bytes("a.png", cv2.imencode(".png", values)[1].tobytes())
    assert frame.rule == rule
    np.testing.assert_allclose(frame.pixels[..., 0], values / (4095 if top == 4095 else 65535), atol=1e-6)


def test_few_bits_and_palettes() -> None:
    for mode in ("1", "L", "P"):
        picture = Image.fromarray(tissue()).convert(mode)
        data = encoded(lambda out, picture=picture: picture.save(out, "PNG"))
        (frame,) = read_bytes("a.png", data)
        np.testing.assert_array_equal(frame.values, opencv(data))
    (frame,) = read(SKIMAGE / "horse.png")
    assert np.array_equal(frame.values, opencv(SKIMAGE / "horse.png"))
    four = cv2.imencode(".png", tissue()[..., 0], [cv2.IMWRITE_PNG_BILEVEL, 1])[1].tobytes()
    assert np.array_equal(read_bytes("a.png", four)[0].values, opencv(four))


@pytest.mark.parametrize("ending", ["bmp", "png", "webp"])
def test_lossless_files_of_opencv(ending: str) -> None:
    options = [cv2.IMWRITE_WEBP_QUALITY, 101] if ending == "webp" else []
    data = cv2.imencode(f".{ending}", tissue()[..., ::-1], options)[1].tobytes()
    np.testing.assert_array_equal(read_bytes(f"a.{ending}", data)[0].values, tissue())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_rotation_tag_is_applied_as_opencv_does(orientation: int, ending: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    format_ = {"jpg": "JPEG", "png": "PNG"}[ending]
    data = encoded(lambda out: Image.fromarray(tissue()).save(out, format_, exif=exif))
    (frame,) = read_bytes(f"a.{ending}", data)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert frame.values.shape == expected.shape
    assert np.abs(frame.values.astype(int) - expected).max() <= 3


def test_cmyk_jpeg_becomes_colour() -> None:
    data = encoded(lambda out: Image.fromarray(tissue()).convert("CMYK").save(out, "JPEG", quality=95))
    (frame,) = read_bytes("a.jpg", data)
    assert np.abs(frame.values.astype(int) - tissue()).mean() < 6


def test_animated_gif_frame_by_frame() -> None:
    path = SKIMAGE / "no_time_for_that_tiny.gif"
    frames = read(path)
    _, others = cv2.imreadmulti(str(path), flags=cv2.IMREAD_COLOR)
    assert len(frames) == len(others) == 24
    assert [frame.locator for frame in frames] == [f"frame:{i}" for i in range(24)]
    for frame, other in zip(frames, others, strict=True):
        np.testing.assert_array_equal(frame.values, other[..., ::-1])
    seconds = [frame.seconds for frame in frames]
    assert seconds[0] == 0
    assert all(later > earlier for earlier, later in itertools.pairwise(seconds))


def test_too_many_frames_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_FRAMES >= 100_000  # a day of capsule endoscopy
    monkeypatch.setattr("optidel.readers.decoded.MAX_FRAMES", 20)
    with pytest.raises(InputError, match="declares 24 frames, more than the limit of 20"):
        read(SKIMAGE / "no_time_for_that_tiny.gif")


def png_that_declares(width: int, height: int, bits: int = 8, colour: int = 0) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def gif_that_declares(width: int, height: int) -> bytes:
    data = encoded(lambda out: Image.fromarray(tissue()).save(out, "GIF"))
    return data[:6] + struct.pack("<HH", width, height) + data[10:]


@pytest.mark.parametrize(
    ("name", "data", "part"),
    [
        ("a.png", png_that_declares(30_000, 30_000), "limit of 100 megapixels"),
        ("a.png", png_that_declares(12_000, 9_000), "12000 x 9000"),
        ("a.png", png_that_declares(12_000, 9_000, bits=16, colour=2), "12000 x 9000"),
        ("a.png", png_that_declares(4, 400), "smaller than 8 px"),
        ("a.gif", gif_that_declares(60_000, 60_000), "limit of 100 megapixels"),
        (
            "a.bmp",
            b"BM"
            + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 40_000, 40_000, 1, 24, 0, 0, 0, 0, 0, 0),
            "100 megapixels",
        ),
        ("a.jpg", b"not an image at all", "is no image, though its ending is '.jpg'"),
        ("a.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "is no image"),
    ],
)
def test_refused_before_decoding(name: str, data: bytes, part: str) -> None:
    with pytest.raises(InputError, match=part):
        read_bytes(name, data)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "gif"])
def test_cut_files_are_no_frames(ending: str) -> None:
    data = (
        SKIMAGE / {"jpg": "retina.jpg", "gif": "no_time_for_that_tiny.gif"}.get(ending, "coins.png")
    ).read_bytes()
    if ending == "webp":
        data = encoded(lambda out: Image.open(io.BytesIO(data)).save(out, "WEBP"))
    with pytest.raises((InputError, OSError, SyntaxError)):
        read_bytes(f"a.{ending}", data[: len(data) * 2 // 3])


@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_the_quick_way_gives_pillows_values(ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On whole files, on ones with tags and odd modes, and on mutants: the same values, or the same
    refusal.
    """
    rng = np.random.default_rng(0)
    picture, tags = Image.fromarray(tissue(32, 24)), Image.Exif()
    tags[0x0112] = 6
    kind = {".jpg": "JPEG", ".png": "PNG"}[ending]
    files = list(samples()[ending])
    files += [
        encoded(lambda out: picture.save(out, kind, exif=tags)),
        encoded(lambda out: picture.convert("L").save(out, kind)),
    ]
    files += [files[0] + b"\xff\xda after the end", files[0][:-2]]
    files += [mutate(data, rng) for data in files for _ in range(40)]
    quick = [outcome(ending, data) for data in files]
    monkeypatch.setattr("optidel.readers.raster._quick", lambda image, data, strict: None)
    for data, values in zip(files, quick, strict=True):
        expected = outcome(ending, data)
        assert isinstance(values, str) == isinstance(expected, str)
        if not isinstance(values, str):
            np.testing.assert_array_equal(values, expected)


def outcome(ending: str, data: bytes) -> np.ndarray | str:
    try:
        return read_bytes(f"a{ending}", data)[0].values
    except Exception as error:  # as the index does with whatever a decoder raises
        return type(error).__name__


def test_a_cut_tag_of_a_camera_is_no_warning_on_the_terminal(tmp_path: Path) -> None:
    # One entry is there, the orientation, and three are promised.
    exif = b"Exif\0\0II*\0\x08\0\0\0\x03\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0"
    path = tmp_path / "camera.jpg"
    Image.fromarray(tissue()).save(path, exif=exif)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_frame(path, "").shape[:2] == tissue().shape[1::-1]
