"""NumPy arrays: what is an image, what is a stack, and what is never loaded."""

import io
import zipfile

import numpy as np
import pytest
from samples import SKIMAGE, encoded, tissue

from optidel.errors import InputError
from optidel.readers import Decoded, DecodeOptions, reader_for
from optidel.readers.source import Source

COLOUR = tissue(20, 30)


def read(name: str, data: bytes, wanted: set[str] | None = None) -> list[Decoded]:
    source = Source(name=name, data=data)
    reader = reader_for(source)
    assert reader
    return list(reader(source, DecodeOptions(), wanted))


def npy(array: np.ndarray) -> bytes:
    return encoded(lambda out: np.save(out, array))


@pytest.mark.parametrize(
    ("array", "shapes"),
    [
        (COLOUR[..., 0], [(20, 30, 1)]),
        (COLOUR, [(20, 30, 3)]),
        (COLOUR[..., :1], [(20, 30, 1)]),
        (np.dstack([COLOUR, COLOUR[..., :1]]), [(20, 30, 3)]),
        (np.stack([COLOUR[..., 0]] * 5), [(20, 30, 1)] * 5),
        (np.stack([COLOUR] * 2), [(20, 30, 3)] * 2),
        (np.asfortranarray(COLOUR[..., 0]), [(20, 30, 1)]),
        (COLOUR[..., 0].astype(">u2"), [(20, 30, 1)]),
    ],
    ids=["grey", "colour", "one-channel", "alpha", "stack", "colour-stack", "fortran", "big-endian"],
)
def test_shapes(array: np.ndarray, shapes: list[tuple[int, int, int]]) -> None:
    frames = read("a.npy", npy(array))
    assert [frame.values.shape for frame in frames] == shapes
    assert [frame.locator for frame in frames] == (
        [""] if len(shapes) == 1 else [f"frame:{i}" for i in range(len(shapes))]
    )
    first = array[0] if len(shapes) > 1 else array
    np.testing.assert_array_equal(
        frames[0].values.squeeze(), first[..., :3].squeeze() if first.ndim == 3 else first
    )


def test_packaged_faces() -> None:
    """scikit-image's subset of Labeled Faces in the Wild: a stack of 200 floats in [0, 1]."""
    data = (SKIMAGE / "lfw_subset.npy").read_bytes()
    frames = read("lfw_subset.npy", data)
    assert len(frames) == 200
    assert {frame.rule for frame in frames} == {"unit range"}
    raw = np.frombuffer(data[-200 * 25 * 25 * 8 :], "<f8").reshape(200, 25, 25)
    np.testing.assert_allclose(frames[17].pixels[..., 0], raw[17], atol=1e-6)


def test_infinities_of_packaged_disparities_are_black_and_the_rest_is_read() -> None:
    data = (SKIMAGE / "motorcycle_disp.npz").read_bytes()
    (frame,) = read("a.npz", data)
    (stored,) = np.load(io.BytesIO(data)).values()
    sound = np.isfinite(stored)
    assert 0 < sound.mean() < 1
    low, high = np.percentile(stored[sound & (stored != 0)], [0.5, 99.5])
    assert (frame.pixels[..., 0][~sound] == 0).all()
    low = min(low, 0) if stored[sound].min() >= 0 else low
    expected = ((stored[sound] - low) / (high - low)).clip(0, 1)
    np.testing.assert_allclose(frame.pixels[..., 0][sound], expected, atol=1e-5)


def test_rule_of_a_stack_is_that_of_the_whole_stack() -> None:
    stack = np.random.default_rng(0).normal(100, 30, (4, 16, 16)).astype(np.float32)
    frames = read("a.npy", npy(stack))
    low, high = np.percentile(stack, [0.5, 99.5])
    low = min(low, 0) if stack.min() >= 0 else low
    for frame, values in zip(frames, stack, strict=True):
        np.testing.assert_allclose(
            frame.pixels[..., 0], ((values - low) / (high - low)).clip(0, 1), atol=1e-5
        )


def test_archive_of_images_and_labels() -> None:
    """As MedMNIST is laid out: tables of labels are no images."""
    images = np.stack([COLOUR, COLOUR[::-1]])
    table = np.zeros((20, 14), np.int64)
    data = encoded(
        lambda out: np.savez_compressed(
            out, train_images=images, train_labels=table, test_images=images[:1], n=np.int64(3)
        )
    )
    frames = read("a.npz", data)
    assert [frame.locator for frame in frames] == [
        "train_images/frame:0",
        "train_images/frame:1",
        "test_images/frame:0",
    ]
    (again,) = read("a.npz", data, {"train_images/frame:1"})
    np.testing.assert_array_equal(again.values, COLOUR[::-1])
    single = encoded(lambda out: np.savez(out, a=COLOUR[..., 0], b=COLOUR[..., 1]))
    assert [frame.locator for frame in read("a.npz", single)] == ["a", "b"]


def header(shape: str, kind: str = "<u2") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", header("(16, 16)") + bytes(512))
    data = bytearray(out.getvalue())
    at = data.index(b"PK\x01\x02") + 24  # the size after unpacking, in the table of contents
    data[at : at + 4] = (3 << 30).to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("name", "data", "part"),
    [
        ("a.npy", npy(np.array([{"a": 1}] * 100, dtype=object)), "pickled objects, which are never loaded"),
        (
            "a.npy",
            encoded(lambda out: np.save(out, np.array([[None] * 9] * 9, dtype=object))),
            "pickled objects",
        ),
        (
            "a.npz",
            encoded(lambda out: np.savez(out, a=np.array([[None] * 9] * 9, dtype=object))),
            "pickled objects",
        ),
        ("a.npy", header("(100000, 100000)"), "limit of 4 GiB"),
        ("a.npy", header("(99999999999999, 99999999999999, 9999999999999)"), "limit of 4 GiB"),
        ("a.npy", header("(30000, 30000)", "|u1"), "100 megapixels|is cut"),
        ("a.npy", header("(300, 300)") + b"abc", "is cut"),
        ("a.npy", header("(-5, 300)") + b"abc", "neither an image|is cut"),
        ("a.npy", b"not an array", "does not begin"),
        ("a.npy", npy(np.zeros(100)), r"shape \(100,\), which is neither an image nor a stack"),
        ("a.npy", npy(np.zeros((3, 20))), "neither an image"),
        ("a.npy", npy(np.zeros((20, 20), np.complex64)), "complex64 values"),
        ("a.npy", npy(np.full((20, 20), np.inf)), "not finite"),
        ("a.npz", encoded(lambda out: np.savez(out, a=np.arange(9))), "no images among its 1 arrays"),
        ("a.npz", bomb(), "unpacks from"),
    ],
)
def test_refused_with_the_reason(name: str, data: bytes, part: str) -> None:
    with pytest.raises(InputError, match=part):
        read(name, data)
