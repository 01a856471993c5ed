"""The folder of a gallery: one page, its data and its small pictures; it opens from a disk and from nowhere
else.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image as PillowImage

from optidel.corpus.names import Names, names_of
from optidel.errors import InputError
from optidel.gallery.data import GalleryData, base64_of, gallery_data, to_json
from optidel.gallery.sprites import write_sheets
from optidel.progress import track
from optidel.report.pictures import Pictures
from optidel.report.templates import environment
from optidel.runs.collect import Run, read_run
from optidel.store import digest, disk_errors

FOLDER = "gallery"
PAGE = "index.html"
SCRIPTS = ("scatterplot.js",)
HERE = Path(__file__).parent

# Frames whose small pictures lie beside the page: some 80 MB. With more, a server makes each when it is
# asked for.
MOST_STATIC = 20_000


def write_gallery(run: Path | str, out: Path | str | None = None, *, names: str = "plain") -> Path:
    """Write the gallery of a run as one folder that opens without a server and without a network.

    Args:
        run: a run folder that has an embedding.
        out: the folder; by default RUN/gallery. What an earlier gallery left there is replaced.
        names: ``hashed`` shows keyed hashes in place of the names of files and folders; tags saved from such
            a page are found again by whoever has the run folder.

    Returns:
        The page's path.

    Raises:
        InputError: nothing is embedded yet, more than 20,000 frames, or ``out`` holds something else.
        StoreError: the folder cannot be written.
    """
    opened = read_run(Path(run))
    count = opened.frames.height
    if count > MOST_STATIC:
        raise InputError(
            f"{count} frames are more than the {MOST_STATIC} whose pictures fit into a folder; "
            f"look at them with `optidel gallery {run} --port 8765`"
        )
    target = Path(out) if out is not None else opened.root / FOLDER
    _refuse_other(target)
    data = gallery_data(opened, names_of(names, opened.root))

    scratch = target.with_name(f".{target.name}.partial")
    with disk_errors(scratch):
        shutil.rmtree(scratch, ignore_errors=True)
        total = count + len(data.composites)
        write_sheets(scratch / "sheets", track(pictures_of(opened, data), "gallery", total))
        write_page(scratch, data, opened, live=False)
        shutil.rmtree(target, ignore_errors=True)
        scratch.rename(target)
    return target / PAGE


def write_page(folder: Path, data: GalleryData, run: Run, *, live: bool) -> None:
    """The page, its data and its scripts; not the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    values = to_json(data, key=digest(str(run.root.resolve()).encode(), data.title.encode()), live=live)
    values["sizes"] = [list(size) for size in run.frames.select("width", "height").iter_rows()]
    values["errors"] = _errors(run)
    # In a script of its own, since a page on a disk may not fetch; "</" cannot end it early.
    text = json.dumps(values, separators=(",", ":")).replace("</", "<\\/")
    (folder / "data.js").write_text(f"window.GALLERY={text};\n", encoding="utf-8")
    for name in SCRIPTS:
        shutil.copyfile(HERE / "vendor" / name, folder / name)
    template = environment(HERE).get_template("gallery.html.j2")
    html = template.render(
        title=data.title,
        style=Markup((HERE / "gallery.css").read_text()),
        script=Markup((HERE / "gallery.js").read_text()),
    )
    (folder / PAGE).write_text(html, encoding="utf-8")


def pictures_of(run: Run, data: GalleryData) -> Iterator[PillowImage.Image]:
    """Every frame, then every composite, each once."""
    pictures = Pictures(run, Names())
    for row in range(run.frames.height):
        yield pictures.frame(row)
    for choice, number in data.composites:
        assert choice.folder is not None
        path = choice.folder.file(f"images/{choice.composites[number].id}.png")
        with PillowImage.open(path) as opened:
            yield opened.convert("RGB")


def _errors(run: Run) -> dict[str, Any] | None:
    """Where the encoder errs, a byte a patch: 255 is the largest error of the frame's own map."""
    if run.embed is None or run.frames.height > MOST_STATIC:
        return None
    maps = np.asarray(run.embed.array("error_map.npy"), dtype=np.float32)
    largest = np.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-12)
    levels = np.round(255 * np.clip(maps / largest, 0, 1)).astype(np.uint8)
    return {"side": levels.shape[1], "values": base64_of(levels)}


def _refuse_other(target: Path) -> None:
    """A gallery replaces a gallery, and nothing else."""
    if target.exists() and any(target.iterdir()) and not (target / "data.js").is_file():
        raise InputError(f"{target} holds something that is no gallery; pass another --out, or empty it")
