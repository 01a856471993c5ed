"""Small pictures, many to a sheet: a page with thousands of files would open slowly, and a folder of them
copies slowly.
"""

from collections.abc import Iterable
from pathlib import Path

from PIL import Image as PillowImage

# Side of a picture on a sheet, px: sharp in the grid, and enough to tell what it shows at twice that width.
SIDE = 160
# Pictures along a side of a sheet: 256 a sheet, about a megabyte, decoded in a tenth of a second.
ACROSS = 16
A_SHEET = ACROSS * ACROSS

# Of WebP: at this size artefacts of compression show below 75.
QUALITY = 80

# Paper behind a picture that is not square.
GROUND = (24, 26, 30)


def thumbnail(picture: PillowImage.Image, side: int = SIDE) -> PillowImage.Image:
    """The picture as large as fits into a square of ``side`` px, in its own proportions, in the middle."""
    scale = side / max(picture.width, picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    small = picture.convert("RGB").resize(size, PillowImage.Resampling.LANCZOS)
    square = PillowImage.new("RGB", (side, side), GROUND)
    square.paste(small, ((side - size[0]) // 2, (side - size[1]) // 2))
    return square


def write_sheets(folder: Path, pictures: Iterable[PillowImage.Image]) -> int:
    """Write pictures as sheets ``0.webp``, ``1.webp``, …: picture i is in sheet i // 256, row by row.

    Args:
        folder: made here.
        pictures: in order; one sheet is in memory at a time.

    Returns:
        How many sheets were written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sheets, used = 0, 0
    sheet = _empty()
    for picture in pictures:
        down, across = divmod(used, ACROSS)
        sheet.paste(thumbnail(picture), (across * SIDE, down * SIDE))
        used += 1
        if used == A_SHEET:
            _save(sheet, folder / f"{sheets}.webp")
            sheets, used, sheet = sheets + 1, 0, _empty()
    if used:
        rows = -(-used // ACROSS)
        _save(sheet.crop((0, 0, sheet.width, rows * SIDE)), folder / f"{sheets}.webp")
        sheets += 1
    return sheets


def _empty() -> PillowImage.Image:
    return PillowImage.new("RGB", (ACROSS * SIDE, ACROSS * SIDE), GROUND)


def _save(sheet: PillowImage.Image, path: Path) -> None:
    # Method 2 of 6: twice as fast as the default, 3 % larger.
    sheet.save(path, "WEBP", quality=QUALITY, method=2)
