"""WebP: damage is seen without a checksum, sound files are never lost."""

import io
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from mutants import CLEARLY, KEEP, KINDS, PICTURES, values
from PIL import Image
from samples import SKIMAGE, encoded

from optidel.readers.webp import SPARE, check_streams, check_whole, missing_bytes

STILL = [{"quality": quality, "method": 4} for quality in (10, 50, 80, 95, 100)]
STILL += [{"quality": 50, "method": method, "lossless": True} for method in (0, 4)]
"""How Pillow, that is libwebp, is asked to write."""


def pictures() -> list[Image.Image]:
    """Photographs, and what has next to no bits: one colour, and noise above or below one colour."""
    shown = []
    for path in (*PICTURES, *sorted(SKIMAGE.glob("*.png"))):
        with Image.open(path) as stored:
            picture = stored.convert("RGB")
        if min(picture.size) >= 200:
            picture.thumbnail((300, 300))
            shown.append(picture)
    half = np.zeros((300, 300, 3), np.uint8)
    half[:100] = np.random.default_rng(0).integers(0, 255, (100, 300, 3))
    shown += [Image.fromarray(half), Image.fromarray(half[::-1].copy())]
    return [*shown, Image.new("RGB", (300, 300)), Image.new("RGB", (300, 300), (255, 255, 255))]


def webp(picture: Image.Image, **options: object) -> bytes:
    return encoded(lambda out: picture.save(out, "WEBP", **options))


def photograph() -> Image.Image:
    with Image.open(PICTURES[0]) as stored:
        return stored.convert("RGB").resize((320, 320))


def half_zero(data: bytes) -> bytes:
    """As a download that broke off leaves it: the size is right, the second half was never written."""
    middle = len(data) // 2
    return data[:middle] + bytes(len(data) - middle)


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_sound_files_are_never_lost() -> None:
    shown = pictures()
    for picture in shown:
        for options in STILL:
            data = webp(picture, **options)
            check_whole(data)
            check_streams(data)
            np.testing.assert_array_equal(values("a.webp", data), decoded(data))
    transparent = shown[0].convert("RGBA")
    transparent.putalpha(100)
    check_streams(webp(transparent, quality=80))
    frames = [picture.resize((320, 320)) for picture in shown[1:4]]
    check_streams(webp(photograph(), quality=80, save_all=True, append_images=frames, duration=100))


@pytest.mark.parametrize("options", STILL[2:], ids=str)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.999])
def test_a_cut_file_says_so_and_is_kept_on_demand(options: dict[str, object], share: float) -> None:
    data = webp(photograph(), **options)
    cut = data[: int(len(data) * share)]
    told = values("a.webp", cut)
    assert isinstance(told, str)
    assert f"is cut: its header declares {len(data) - len(cut)} bytes more than there are" in told
    assert 'corpus.damaged = "keep" reads it' in told

    kept = values("a.webp", cut, KEEP)
    assert not isinstance(kept, str)
    whole = decoded(data)
    assert kept.shape == whole.shape
    # Rows lie in the file from top to bottom.
    np.testing.assert_array_equal(kept[: int(20 * share)], whole[: int(20 * share)])


@pytest.mark.parametrize("options", STILL, ids=str)
def test_libwebp_is_silent_about_half_a_picture_of_zeros_and_the_reader_is_not(
    options: dict[str, object],
) -> None:
    data = half_zero(webp(photograph(), **options))
    assert decoded(data).shape == (320, 320, 3)
    told = values("a.webp", data)
    assert isinstance(told, str)
    assert "its WebP stream goes on behind the last pixel; corpus.damaged" in told
    assert not isinstance(values("a.webp", data, KEEP), str)


def test_a_stream_that_ends_too_early_is_kept_on_demand() -> None:
    """A chunk that lost bytes from its middle, with its sizes put right."""
    data = webp(photograph(), quality=80)
    body = data[20:]
    body = body[: len(body) // 2] + body[len(body) // 2 + 1000 :]
    head = b"RIFF" + (12 + len(body)).to_bytes(4, "little") + b"WEBPVP8 " + len(body).to_bytes(4, "little")
    short = head + body
    assert missing_bytes(short) == 0
    told = values("a.webp", short)
    assert isinstance(told, str)
    assert "ends before the last pixel" in told or "goes on behind the last pixel" in told
    assert not isinstance(values("a.webp", short, KEEP), str)


def test_a_damaged_frame_of_an_animation_is_seen() -> None:
    shown = [picture.resize((320, 320)) for picture in pictures()[:3]]
    data = webp(shown[0], quality=80, save_all=True, append_images=shown[1:], duration=100)
    start = data.index(b"ANMF", data.index(b"ANMF") + 4)
    size = int.from_bytes(data[start + 4 : start + 8], "little")
    middle = start + size // 2
    hurt = data[:middle] + bytes(400) + data[middle + 400 :]
    told = values("a.webp", hurt)
    assert isinstance(told, str)
    assert "is damaged" in told or "frame" in told


def test_headers_that_lie_cost_nothing() -> None:
    data = webp(photograph(), quality=80)
    huge = data[:4] + (0xFFFF_FFF0).to_bytes(4, "little") + data[8:]
    for options in (None, KEEP):
        told = values("a.webp", huge, options)
        assert isinstance(told, str)
        assert "bytes more than there are" in told


def accepted_and_wrong(seed: int, count: int, accepts: Callable[[bytes], bool]) -> Counter[str]:
    """What becomes of mutants, by kind of coding: refused, alike or clearly wrong."""
    rng = np.random.default_rng(seed)
    files = [("lossy", webp(p, **options)) for p in pictures()[:-4] for options in STILL[1:4]]
    files += [("lossless", webp(p, **options)) for p in pictures()[:-4] for options in STILL[5:]]
    counts: Counter[str] = Counter()
    for number in range(count):
        coding, data = files[int(rng.integers(len(files)))]
        mutant = bytearray(data)
        KINDS[number % len(KINDS)](mutant, rng)
        try:
            shown = decoded(bytes(mutant))
        except Exception:  # as libwebp alone refuses it
            counts[f"{coding} refused"] += 1
            continue
        sound = decoded(data)
        if not accepts(bytes(mutant)):
            counts[f"{coding} refused"] += 1
        elif shown.shape != sound.shape:
            counts[f"{coding} of another size"] += 1
        else:
            is_wrong = np.abs(shown.astype(int) - sound).mean() > CLEARLY
            counts[f"{coding} wrong" if is_wrong else f"{coding} alike"] += 1
    return counts


def test_of_mutants_few_are_accepted_and_clearly_wrong() -> None:
    """libwebp alone accepts two fifths of them with a picture that is clearly another."""
    alone = accepted_and_wrong(0, 400, lambda data: True)
    ours = accepted_and_wrong(0, 400, lambda data: not isinstance(values("a.webp", data), str))
    print(dict(alone), dict(ours))
    assert alone["lossy wrong"] + alone["lossless wrong"] > 100
    assert ours["lossy wrong"] <= 8  # 2 % of the 400
    assert ours["lossy wrong"] + ours["lossless wrong"] <= 20


def test_bytes_that_no_decoder_needs_are_fewer_than_are_spared() -> None:
    """The slow way: the fewest bytes that a sound stream can lack and no longer decodes."""
    most = 0
    for options in STILL:
        data = webp(photograph(), **options)
        for lack in range(1, SPARE + 1):
            body = data[20:][: int.from_bytes(data[16:20], "little") - lack]
            body += bytes(len(body) % 2)
            size = int.from_bytes(data[16:20], "little") - lack
            copy = data[:4] + (12 + len(body)).to_bytes(4, "little") + data[8:16]
            try:
                decoded(copy + size.to_bytes(4, "little") + body)
            except OSError:
                break
            most = max(most, lack)
    assert most < SPARE // 2
