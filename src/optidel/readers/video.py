"""Video through FFmpeg: mp4, mov, avi, mkv, webm, wmv, mpg, ts, ogv. Frames are taken at a rate, or where the
scene changes, and keep their time.

Rule: bit depth of 8, to which FFmpeg converts. Rotation is applied; a grey video stays grey.
"""

import math
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np

from optidel.errors import InputError
from optidel.readers.decoded import Decoded, DecodeOptions, check_frames, check_size, ending
from optidel.readers.signature import kind_of
from optidel.readers.source import Source

try:
    import av
except ModuleNotFoundError as error:
    # An extra, for its wheels hold encoders under the GPL, which not everybody may pass on.
    raise InputError("is a video, and PyAV, which reads them, is missing: install optidel[video]") from error

DEMUXERS = {
    ".3gp": "mov",
    ".asf": "asf",
    ".avi": "avi",
    ".m2ts": "mpegts",
    ".m4v": "mov",
    ".mkv": "matroska",
    ".mov": "mov",
    ".mp4": "mov",
    ".mpeg": "mpeg",
    ".mpg": "mpeg",
    ".mts": "mpegts",
    ".ogv": "ogg",
    ".ts": "mpegts",
    ".vob": "mpeg",
    ".webm": "matroska",
    ".wmv": "asf",
}
"""The only demuxer a file may be opened with, by its first bytes, else by its ending: FFmpeg guesses among
hundreds otherwise, and some of them make it open other files.
"""

SCENE = 0.1
"""Mean absolute difference of two frames, as 32 x 32 grey pictures in [0, 1], from which they show different
scenes: neighbours of one scene differ by some 0.02.
"""

MISSING = (2.0, 0.05)
"""Seconds, and fraction of the length, by which what was found may fall short of what is declared: containers
round, and count a last frame that lasts.
"""

INSTANT = 1e-6
"""Seconds: times are fractions of a time base, and a multiple of ``every`` may be missed by rounding."""


def read_video(source: Source, options: DecodeOptions, locators: Collection[str] | None) -> Iterator[Decoded]:
    """Frames ``frame:i``, i counted from 0 in the order shown: the first at or after each multiple of
    ``every`` seconds.
    """
    strict = options.damaged == "refuse"
    choose = _chooser(options) if locators is None else _named(locators)
    last = _last(locators)
    try:
        with source.open() as stream, _opened(source, stream) as container:
            if not container.streams.video:
                raise InputError("holds no video")
            track = container.streams.video[0]
            check_size(track.codec_context.width, track.codec_context.height)
            check_frames(_declared(track, options))
            # The processes share the cores already; threads would also change the order of errors.
            track.codec_context.thread_count = 1
            clock = _Clock()
            for i, frame in enumerate(_frames(container, track, clock, strict)):
                if last is not None and i > last:
                    return
                if frame.is_corrupt and strict:
                    raise InputError(f"frame {i} is damaged")
                clock.reach(_seconds(frame, i))
                if choose(frame, i):
                    yield _decoded(frame, i)
            if strict:
                _check_end(container.duration, clock.seconds)
    except av.FFmpegError as error:
        raise InputError(f"cannot be decoded as video ({type(error).__name__})") from None


def _opened(source: Source, stream: Any) -> Any:
    kind = kind_of(source)
    demuxer = DEMUXERS[kind if kind in DEMUXERS else ending(source.name)]
    return av.open(stream, "r", format=demuxer, metadata_errors="ignore")


def _last(locators: Collection[str] | None) -> int | None:
    """The number of the last frame that is asked for; None for all."""
    if locators is None:
        return None
    return max((int(locator.rpartition(":")[2]) for locator in locators), default=-1)


def _named(locators: Collection[str]) -> Callable[[Any, int], bool]:
    return lambda frame, i: f"frame:{i}" in locators


class _Clock:
    """How far a file has been read, in seconds, whichever of its tracks goes furthest."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def reach(self, seconds: float) -> None:
        """Go on to a time; never back."""
        self.seconds = max(self.seconds, seconds)


def _frames(container: Any, track: Any, clock: _Clock, strict: bool) -> Iterator[Any]:
    """Frames of the video, in the order shown; the packets of every other track move the clock on."""
    # MPEG-TS counts from the start of the broadcast; the duration does not.
    start = (container.start_time or 0) / av.time_base
    for packet in container.demux():
        if packet.pts is not None and packet.time_base is not None:
            end = packet.pts + (packet.duration or 0)
            clock.reach(float(end * packet.time_base) - max(start, 0.0))
        if packet.stream.index == track.index:
            if packet.is_corrupt and strict:
                raise InputError(
                    f"is cut or damaged after {clock.seconds:.1f} s: a part of a frame is missing"
                )
            yield from packet.decode()


def _declared(track: Any, options: DecodeOptions) -> int:
    """Frames that would be taken from a track as long as it says; 1 where it does not say."""
    if track.duration is None or track.time_base is None:
        return 1
    if options.scenes:
        return max(1, int(track.frames))
    return max(1, math.ceil(float(track.duration * track.time_base) / options.every))


def _check_end(duration: int | None, seconds: float) -> None:
    """Some containers end without an error where a copy broke off; what they declare, in microseconds, tells.

    Sound that outlasts the picture is no cut, nor is a last frame that stays: both are in the packets.
    """
    declared = (duration or 0) / av.time_base
    if declared - seconds > MISSING[0] + MISSING[1] * declared:
        raise InputError(f"is cut: it declares {declared:.1f} s of video and holds {seconds:.1f} s")


def _chooser(options: DecodeOptions) -> Callable[[Any, int], bool]:
    """Whether the next frame is taken; holds the time and the picture of the last one that was."""
    following = 0
    count = 0
    last: np.ndarray[Any, Any] | None = None

    def choose(frame: Any, i: int) -> bool:
        nonlocal following, count, last
        # A stream may change its size at any frame.
        check_size(frame.width, frame.height)
        time = _seconds(frame, i) + INSTANT
        if time < following * options.every:
            return False
        # After a gap the next multiple counts, not the ones that were passed.
        following = math.floor(time / options.every) + 1
        if options.scenes:
            small = frame.reformat(width=32, height=32, format="gray").to_ndarray().astype(np.float32) / 255
            if last is not None and float(np.abs(small - last).mean()) < SCENE:
                return False
            last = small
        count += 1
        check_frames(count)
        return True

    return choose


def _seconds(frame: Any, i: int) -> float:
    return float(frame.time) if frame.time is not None else float(i)


def _decoded(frame: Any, i: int) -> Decoded:
    check_size(frame.width, frame.height)
    grey = frame.format.name.startswith("gray")
    values = frame.to_ndarray(format="gray" if grey else "rgb24")
    values = values[..., None] if grey else values
    # FFmpeg gives the angle as displayed, against the clock, as rot90 turns.
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
