"""Video through FFmpeg: mp4, mov, avi, mkv, webm. Frames are taken at a rate, or where the scene changes, and
keep their time.

Rule: bit depth of 8, to which FFmpeg converts. Rotation is applied; a grey video stays grey.
"""

import math
from collections.abc import Callable, Collection, Iterator
from typing import Any

import av
import numpy as np

from optidel.errors import InputError
from optidel.readers.decoded import Decoded, DecodeOptions, check_frames, check_size, ending
from optidel.readers.source import Source

DEMUXERS = {
    ".mp4": "mov",
    ".m4v": "mov",
    ".mov": "mov",
    ".avi": "avi",
    ".mkv": "matroska",
    ".webm": "matroska",
}
"""The only demuxer a file may be opened with: FFmpeg guesses from the contents otherwise, and some formats
make it open other files.
"""

SCENE = 0.1
"""Mean absolute difference of two frames, as 32 x 32 grey pictures in [0, 1], from which they show different
scenes.
"""


def read_video(source: Source, options: DecodeOptions, wanted: Collection[str] | None) -> Iterator[Decoded]:
    """Frames ``frame:i``, i counted from 0 in the order shown: the first at or after each multiple of
    ``every`` seconds.
    """
    last = max((int(item.rpartition(":")[2]) for item in wanted), default=-1) if wanted is not None else None
    choose = _chooser(options) if wanted is None else None
    try:
        with (
            source.open() as stream,
            av.open(stream, "r", format=DEMUXERS[ending(source.name)], metadata_errors="ignore") as container,
        ):
            if not container.streams.video:
                raise InputError("holds no video")
            track = container.streams.video[0]
            check_size(track.codec_context.width, track.codec_context.height)
            check_frames(_declared(track, options))
            track.codec_context.thread_count = 1
            seconds = 0.0
            for i, frame in enumerate(container.decode(track)):
                if last is not None and i > last:
                    return
                if frame.is_corrupt:
                    raise InputError(f"frame {i} is damaged")
                seconds = _seconds(frame, i)
                if choose(frame, i) if choose else f"frame:{i}" in (wanted or ()):
                    yield _decoded(frame, i)
            _check_end(container.duration, seconds)
    except av.FFmpegError as error:
        raise InputError(f"cannot be decoded as video ({type(error).__name__})") from None


def _declared(track: Any, options: DecodeOptions) -> int:
    """Frames that would be taken from a track as long as it says; 1 where it does not say."""
    if track.duration is None or track.time_base is None:
        return 1
    return (
        max(1, math.ceil(float(track.duration * track.time_base) / options.every))
        if not options.scenes
        else max(1, track.frames)
    )


def _check_end(duration: int | None, seconds: float) -> None:
    """Some containers end without an error where a copy broke off; what they declare, in microseconds, tells."""
    declared = (duration or 0) / 1e6
    if declared - seconds > 2 + 0.05 * declared:
        raise InputError(f"is cut: it declares {declared:.1f} s of video and holds {seconds:.1f} s")


def _chooser(options: DecodeOptions) -> Callable[[Any, int], bool]:
    """Whether the next frame is taken; holds the time and the picture of the last one that was."""
    following = 0
    kept: np.ndarray[Any, Any] | None = None
    taken = 0

    def choose(frame: Any, i: int) -> bool:
        nonlocal following, kept, taken
        check_size(frame.width, frame.height)
        time = _seconds(frame, i)
        if time + 1e-6 < following * options.every:
            return False
        following = math.floor((time + 1e-6) / options.every) + 1
        if options.scenes:
            small = frame.reformat(width=32, height=32, format="gray").to_ndarray().astype(np.float32) / 255
            if kept is not None and float(np.abs(small - kept).mean()) < SCENE:
                return False
            kept = small
        taken += 1
        check_frames(taken)
        return True

    return choose


def _seconds(frame: Any, i: int) -> float:
    return float(frame.time) if frame.time is not None else float(i)


def _decoded(frame: Any, i: int) -> Decoded:
    check_size(frame.width, frame.height)
    grey = frame.format.name.startswith("gray")
    values = frame.to_ndarray(format="gray" if grey else "rgb24")
    values = values[..., None] if grey else values
    if frame.rotation % 90 == 0 and frame.rotation % 360:
        values = np.ascontiguousarray(np.rot90(values, frame.rotation // 90))
    bits = max(component.bits for component in frame.format.components)
    return Decoded(
        locator=f"frame:{i}",
        values=values,
        low=0.0,
        high=255.0,
        rule="bit depth 8" if bits <= 8 else f"bit depth 8, from {bits}",
        modality=None,
        seconds=round(_seconds(frame, i), 3),
    )
