"""Video: OpenCV's frames, sampled by time or by scene, times kept.

No package ships a clip, so the clips are an ultrasound loop of pydicom's tests and pictures of scikit-image,
encoded here.
"""

import subprocess
import sys
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image
from samples import SKIMAGE, dicom_file, samples, tissue, video

from optidel.errors import InputError
from optidel.readers import Decoded, DecodeOptions, reader_for
from optidel.readers.dicom import read_dicom
from optidel.readers.source import Source

CODECS = {"mp4": "libx264", "mov": "mpeg4", "avi": "mjpeg", "mkv": "libx264", "webm": "libvpx"}
MUXERS = {"mkv": "matroska"}


@pytest.fixture(scope="module")
def ultrasound() -> list[np.ndarray]:
    path = dicom_file("examples_ybr_color.dcm")
    return [frame.values for frame in read_dicom(Source(name="a.dcm", path=path), DecodeOptions(), None)]


def read(name: str, data: bytes, wanted: set[str] | None = None, **options: float | bool) -> list[Decoded]:
    source = Source(name=name, data=data)
    reader = reader_for(source)
    assert reader
    return list(reader(source, DecodeOptions(**options), wanted))


def opencv(path: Path) -> list[np.ndarray]:
    capture, frames = cv2.VideoCapture(str(path)), []
    while (read_ := capture.read())[0]:
        frames.append(read_[1][..., ::-1])
    capture.release()
    return frames


@pytest.mark.parametrize("container", CODECS)
def test_frames_as_opencv_reads_them(container: str, ultrasound: list[np.ndarray], tmp_path: Path) -> None:
    pixels = "yuvj420p" if container == "avi" else "yuv420p"
    path = tmp_path / f"clip.{container}"
    path.write_bytes(
        video(MUXERS.get(container, container), CODECS[container], ultrasound[:10], rate=10, pixels=pixels)
    )
    frames = read(path.name, path.read_bytes(), every=0.1)
    others = opencv(path)
    assert len(frames) == len(others) == 10
    for i, (frame, other) in enumerate(zip(frames, others, strict=True)):
        assert frame.locator == f"frame:{i}"
        assert frame.seconds == pytest.approx(i / 10, abs=2e-3)
        assert frame.rule == "bit depth 8"
        difference = np.abs(frame.values.astype(int) - other)
        assert difference.mean() < 1  # two builds of FFmpeg convert colours with different rounding
        assert difference.max() <= 12


@pytest.mark.parametrize(
    ("every", "expected"),
    [(1.0, [0, 10, 20]), (0.5, [0, 5, 10, 15, 20, 25]), (0.25, [0, 3, 5, 8, 10]), (9.0, [0])],
)
def test_sampling_by_rate(every: float, expected: list[int], ultrasound: list[np.ndarray]) -> None:
    data = video("mp4", "libx264", ultrasound, rate=10)
    frames = read("a.mp4", data, every=every)
    locators = [f"frame:{i}" for i in expected]
    assert [frame.locator for frame in frames][: len(locators)] == locators
    assert all(later.seconds - earlier.seconds >= every - 0.1 for earlier, later in pairwise(frames))
    again = read("a.mp4", data, {"frame:5", "frame:20"}, every=every)
    assert [frame.locator for frame in again] == ["frame:5", "frame:20"]


def test_sampling_by_scene() -> None:
    scenes = [
        np.asarray(Image.open(SKIMAGE / name).convert("RGB").resize((96, 64)))
        for name in ("astronaut.png", "coffee.png", "moon.png")
    ]
    rng = np.random.default_rng(0)
    clip = [
        (scene + rng.normal(0, 3, scene.shape)).clip(0, 255).astype(np.uint8)
        for scene in scenes
        for _ in range(12)
    ]
    frames = read("a.mp4", video("mp4", "libx264", clip, rate=10), every=0.1, scenes=True)
    assert [frame.locator for frame in frames] == ["frame:0", "frame:12", "frame:24"]
    assert [frame.seconds for frame in frames] == [0.0, 1.2, 2.4]


def test_lossless_codec_gives_back_the_pixels() -> None:
    clip = [np.roll(tissue(32, 48), shift, axis=1) for shift in range(5)]
    frames = read("a.mkv", video("matroska", "ffv1", clip, pixels="bgr0"), every=0.1)
    for frame, picture in zip(frames, clip, strict=True):
        np.testing.assert_array_equal(frame.values, picture)


def test_grey_video_stays_grey() -> None:
    (frame,) = read("a.mkv", video("matroska", "ffv1", [tissue(32, 48)], pixels="gray"))
    assert frame.values.shape == (32, 48, 1)


def test_ten_bits_are_said_to_be_read_as_eight() -> None:
    (frame,) = read("a.mkv", video("matroska", "ffv1", [tissue(32, 48)], pixels="yuv420p10le"))
    assert frame.rule == "bit depth 8, from 10"


def test_limits(monkeypatch: pytest.MonkeyPatch, ultrasound: list[np.ndarray]) -> None:
    data = video("mp4", "libx264", ultrasound, rate=10)
    monkeypatch.setattr("optidel.readers.decoded.MAX_FRAMES", 20)
    with pytest.raises(InputError, match="30 frames, more than the limit of 20"):
        read("a.mp4", data, every=0.1)
    monkeypatch.setattr("optidel.readers.decoded.MAX_PIXELS", 1000)
    with pytest.raises(InputError, match="320 x 240 px, more than the limit"):
        read("a.mp4", data)


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv", "a.webm", "a.mov"])
def test_other_contents_are_never_followed(name: str, tmp_path: Path) -> None:
    """FFmpeg would take these for lists of other files to open."""
    (tmp_path / "b.mp4").write_bytes(samples()[".mp4"][0])
    for text in (
        f"ffconcat version 1.0\nfile {tmp_path}/b.mp4\n",
        f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/b.mp4\n",
        "not a video",
    ):
        try:
            frames = read(name, text.encode())
        except InputError as error:
            assert "cannot be decoded as video" in str(error) or "holds no video" in str(error)  # noqa: PT017
        else:
            assert not frames


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    with pytest.raises(InputError, match="holds no video"):
        read("a.mkv", (tmp_path / "a.mkv").read_bytes())


@pytest.mark.parametrize("container", CODECS)
def test_cut_video_is_refused(container: str, ultrasound: list[np.ndarray]) -> None:
    pixels = "yuvj420p" if container == "avi" else "yuv420p"
    data = video(MUXERS.get(container, container), CODECS[container], ultrasound[:12], rate=1, pixels=pixels)
    with pytest.raises(InputError, match=r"cannot be decoded as video|is cut|is damaged"):
        read(f"a.{container}", data[: len(data) // 2])


def test_without_pyav_a_video_is_quarantined_with_what_to_install(tmp_path: Path) -> None:
    """The decoding process finds a package ``av`` that is not there; a picture beside the video is read."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "clip.mp4").write_bytes(samples()[".mp4"][0])
    (tmp_path / "images" / "one.png").write_bytes(samples()[".png"][0])
    code = (
        "import sys, optidel\n"
        "from optidel.corpus.sandbox import workers\n"
        "workers.START = \"import sys; sys.modules['av'] = None; \" + workers.START\n"
        "corpus = optidel.index(sys.argv[1])\n"
        "print(len(corpus.frames), corpus.rejected[0].reason)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "images")],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    reason = "is a video, and PyAV, which reads them, is missing: install optidel[video]"
    assert done.stdout == f"1 {reason}\n"


def with_sound(seconds: float, sound: float) -> bytes:
    """Two frames a second, and silence that may go on longer."""
    out = BytesIO()
    with av.open(out, "w", format="mp4") as container:
        track = container.add_stream("libx264", rate=2)
        track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        voice = container.add_stream("aac", rate=16_000)
        for i in range(int(2 * seconds)):
            picture = np.full((48, 64, 3), 10 * i, np.uint8)
            container.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(track.encode())
        for i in range(int(sound * 16_000 / 1024)):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16_000, 1024 * i
            container.mux(voice.encode(frame))
        container.mux(voice.encode())
    return out.getvalue()


def test_sound_that_outlasts_the_picture_is_no_cut() -> None:
    for sound in (1, 5, 40):
        assert len(read("a.mp4", with_sound(5, sound))) == 5
