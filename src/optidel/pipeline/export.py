"""A chosen training set as other trainers read it: a folder, links, WebDataset shards, Parquet, a Hugging
Face dataset, a list.

Pixels go out as PNG, 8 bits a channel, freshly encoded at the size of the originals: nothing of a file but
its pixels comes along. The one file of an export that names the originals is ``manifest.csv``.
"""

import json
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from filelock import FileLock
from jaxtyping import UInt8
from PIL import Image as Picture

from optidel.corpus.frames import Corpus
from optidel.corpus.sandbox.scan import fingerprint
from optidel.errors import InputError, RecipeError, StoreError, nearest
from optidel.progress import say
from optidel.readers import RASTER
from optidel.records import Composite, from_table
from optidel.runs.collect import open_store
from optidel.store import (
    COST,
    PARTS,
    Artifact,
    Store,
    Workspace,
    canonical,
    digest,
    disk_errors,
    make_folder,
    newest,
)

VERSION = 1
SHARD = 256
"""Images in one shard, and the most that are written again after a kill."""

COLUMNS = {
    "item": pl.Int64,
    "rank": pl.Int64,
    "reason": pl.String,
    "gain": pl.Float64,
    "id": pl.String,
    "source": pl.String,
    "locator": pl.String,
    "height": pl.Int64,
    "width": pl.Int64,
    "group": pl.String,
    "label": pl.String,
    "sha256": pl.String,
    "sources": pl.String,
    "boxes": pl.String,
}
LIST = "manifest.csv"
NOTE = "export.json"

CARD = """---
dataset_info:
  features:
  - name: image
    dtype: image
  - name: key
    dtype: string
  - name: rank
    dtype: int64
  - name: reason
    dtype: string
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*.parquet
---

A training set chosen by OptiDEL.
"""
"""What makes ``datasets.load_dataset`` decode the column of pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A finished selection, the index it chose from and, where the method makes images, those."""

    method: str
    budget: float
    seed: int
    unit: str
    select: Artifact
    index: Artifact
    compose: Artifact | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A written export: its folder and format, how many images, and which choice of the run they are."""

    path: Path
    format: str
    images: int
    method: str
    budget: float
    seed: int
    select: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What a format's writer gets: where to write, the manifest's rows so far, and the images of some of
    them.
    """

    work: Workspace
    rows: pl.DataFrame
    choice: Choice
    corpus: Corpus

    def images(self, start: int, stop: int) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Rows of the manifest and their PNG, in order."""
        rows = self.rows[start:stop].rows(named=True)
        if self.choice.compose:
            folder = self.choice.compose.file("images")
            yield from ((row, (folder / f"{row['id']}.png").read_bytes()) for row in rows)
        else:
            by_item = {row["item"]: row for row in rows}
            for item, decoded in self.corpus.decoded(list(by_item)):
                frame = self.corpus.frames[item]
                if fingerprint(decoded) != frame.sha256:
                    raise InputError(
                        f"{frame.id} does not hold the pixels that were indexed; index and select again"
                    )
                yield by_item[item], png(decoded.image)


def png(image: UInt8[np.ndarray, "h w c"]) -> bytes:
    """A PNG of u8 (h, w, 1 or 3): pixels and nothing else."""
    buffer = BytesIO()
    Picture.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(buffer, format="PNG")
    return buffer.getvalue()


def export(
    run: str | Path,
    format: str,
    *,
    method: str | None = None,
    budget: float | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
) -> Export:
    """Write the training set that a run chose, for another trainer; killed, the same call continues, and what
    is there is reused.

    Args:
        run: run folder in which the method has selected (and, where it makes images, composed).
        format: a name in ``FORMATS``.
        method: whose choice; may be left out where the run holds one method's.
        budget: which of its budgets; may be left out where there is one.
        seed: which of its seeds; by default the lowest.
        out: folder to write, new or empty; by default one in the run folder.

    Raises:
        InputError: no run, no such choice, files that are gone, or frames that this format cannot hold.
        RecipeError: unknown format or method, or several methods or budgets to choose from.
        StoreError: ``out`` holds something else, or cannot be written.
    """
    if format not in FORMATS:
        raise RecipeError(
            f"unknown format {format!r}{nearest(format, FORMATS)}; there are {', '.join(FORMATS)}"
        )
    store = open_store(Path(run))
    choice = find_choice(store, method, budget, seed)
    name = f"{choice.method}-{choice.budget:g}-seed{choice.seed}-{format}"
    target = Path(out) if out else store.root / "exports" / name
    described = {"optidel": "export", "version": VERSION, "format": format, "index": choice.index.content}
    described |= {
        "select": choice.select.path.name,
        "compose": choice.compose.path.name if choice.compose else None,
    }
    mark = digest(canonical(described))
    lock = FileLock(store.root / ".locks" / f"export-{digest(str(target.resolve()).encode())}.lock")
    with lock, disk_errors(target.parent):
        make_folder(target.parent)
        count = _finished(target, mark)
        if count is None:
            count = _write(target, mark, format, choice, described)
    return Export(
        path=target,
        format=format,
        images=count,
        method=choice.method,
        budget=choice.budget,
        seed=choice.seed,
        select=choice.select.path.name,
    )


def find_choice(store: Store, method: str | None, budget: float | None, seed: int | None) -> Choice:
    """The newest finished selection that fits.

    Raises:
        InputError: there is none, or its composites are not made yet.
        RecipeError: several methods or budgets fit.
    """
    artifacts = store.artifacts()
    found = [(artifact, artifact.json("summary.json")) for artifact in artifacts if artifact.step == "select"]
    if not found:
        raise InputError(
            f"the run {store.root} has selected nothing yet; run `optidel select IMAGES --out {store.root}` first"
        )
    method = _only("method", method, [summary["method"] for _, summary in found])
    found = [item for item in found if item[1]["method"] == method]
    budget = _only("budget", budget, [summary["budget"] for _, summary in found])
    found = [item for item in found if item[1]["budget"] == budget]
    seed = min(summary["seed"] for _, summary in found) if seed is None else seed
    seed = _only("seed", seed, [summary["seed"] for _, summary in found])
    found = [item for item in found if item[1]["seed"] == seed]
    select, summary = found[-1]
    if len(found) > 1:
        say(
            f"{len(found)} selections of this method, budget and seed are in the run; the newest, {select.path.name}, is taken"
        )
    index = newest(artifacts, summary["index"])
    if index is None:
        raise InputError(
            f"the index that {select.path.name} chose from is not in {store.root}; run the same `optidel select` again"
        )
    composed = [
        item for item in artifacts if item.step == "compose" and item.inputs.get("select") == select.content
    ]
    composed = [item for item in composed if item.inputs["index"] == index.content]
    if summary["unit"] == "key patch" and not composed:
        raise InputError(
            f"{select.path.name} is not composed into images yet; run `optidel compose` with the same options first"
        )
    compose = composed[-1] if summary["unit"] == "key patch" else None
    return Choice(
        method=method,
        budget=budget,
        seed=seed,
        unit=summary["unit"],
        select=select,
        index=index,
        compose=compose,
    )


def _only(name: str, asked: Any, there: list[Any]) -> Any:
    """What was asked for, or the only one there is."""
    listed = list(dict.fromkeys(there))
    text = ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in listed)
    if asked is None and len(listed) > 1:
        raise RecipeError(
            f"the run holds the choices of {len(listed)} {name}s: {text}; pass --{name} with one of them"
        )
    if asked is not None and asked not in listed:
        raise InputError(f"the run holds no choice of the {name} {asked}; there is {text}")
    return listed[0] if asked is None else asked


def manifest(choice: Choice, corpus: Corpus) -> pl.DataFrame:
    """A row an image, in the order of the corpus (one pass over its files) or of the composites, keyed by
    rank: 000001 is the best.

    Columns: item, key, rank, reason, gain, id, source, locator, height, width, group, label, sha256, sources,
    boxes; the last two, JSON, say for a composite which frames and boxes (x0, y0, x1, y1 px, ends exclusive)
    it is made of.
    """
    kept = choice.select.table("selection.parquet").filter("kept").sort("rank")
    nothing = dict.fromkeys(("gain", "source", "locator", "group", "label", "sha256", "sources", "boxes"))
    rows: list[dict[str, Any]] = []
    if choice.compose:
        reasons = dict(kept.select("id", "reason").iter_rows())
        for rank, made in enumerate(from_table(Composite, choice.compose.table("composites.parquet"))):
            parts = [
                f"{frame}@{','.join(map(str, box))}"
                for frame, box in zip(made.sources, made.boxes, strict=True)
            ]
            reason = "; ".join(dict.fromkeys(reasons[part] for part in parts if part in reasons))
            origin = {
                "sources": json.dumps(made.sources, ensure_ascii=False),
                "boxes": json.dumps(made.boxes),
            }
            rows.append(
                nothing
                | origin
                | {"item": rank, "rank": rank, "reason": reason, "id": made.id}
                | _size(made.side, made.side)
            )
    else:
        for item, rank, reason, gain in (
            kept.sort("item").select("item", "rank", "reason", "gain").iter_rows()
        ):
            frame = corpus.frames[item]
            known = {
                name: getattr(frame, name) for name in ("id", "source", "locator", "group", "label", "sha256")
            }
            rows.append(
                nothing
                | known
                | {"item": item, "rank": rank, "reason": reason, "gain": gain}
                | _size(frame.height, frame.width)
            )
    table = pl.DataFrame(rows, schema=COLUMNS)
    width = max(6, len(str(len(rows))))
    return table.with_columns(key=pl.Series([f"{rank + 1:0{width}d}" for rank in table["rank"]]))


def _size(height: int, width: int) -> dict[str, int]:
    return {"height": height, "width": width}


def _finished(target: Path, mark: str) -> int | None:
    """How many images a finished export of the same choice holds; None where ``target`` is new or empty.

    Raises:
        StoreError: it holds something else, or what was written there was changed.
    """
    if not target.exists():
        return None
    if target.is_dir() and not any(target.iterdir()):
        target.rmdir()
        return None
    try:
        note = json.loads((target / NOTE).read_text())
        same = note["mark"] == mark
    except (OSError, ValueError, KeyError, TypeError):
        raise StoreError(
            f"{target} is not empty and holds no export of OptiDEL; pass --out with a new or empty folder"
        ) from None
    if not same:
        held = f"{note.get('images')} images of {note.get('method')} as {note.get('format')}, {note.get('select')}"
        raise StoreError(
            f"{target} holds another export ({held}); pass --out with a new or empty folder, or delete it"
        )
    if note["files"] != _listing(target):
        raise StoreError(
            f"{target} was changed after it was exported; delete it and run the same command again"
        )
    return int(note["images"])


def _write(target: Path, mark: str, format: str, choice: Choice, described: Mapping[str, Any]) -> int:
    """Fill a hidden folder beside ``target``, resuming, then rename it."""
    partial = target.with_name(f".{target.name}-{mark}.partial")
    partial.mkdir(exist_ok=True)
    work, corpus = Workspace(partial), Corpus.load(choice.index)
    table = manifest(choice, corpus)
    job = _Job(work=work, rows=table, choice=choice, corpus=corpus)
    paths = FORMATS[format](job)
    columns = ["key", "path", *(name for name in table.columns if name not in ("item", "key"))]
    with work.writing(LIST) as scratch:
        table.with_columns(path=pl.Series(paths), rank=pl.col("rank") + 1).select(columns).sort(
            "rank"
        ).write_csv(scratch)
    for leftover in (PARTS, COST):
        path = partial / leftover
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    note = {
        **described,
        "method": choice.method,
        "budget": choice.budget,
        "seed": choice.seed,
        "unit": choice.unit,
    }
    note |= {"images": len(table), "mark": mark, "files": _listing(partial)}
    (partial / NOTE).write_text(json.dumps(note, indent=1, sort_keys=True) + "\n")
    partial.rename(target)
    return len(table)


def _listing(folder: Path) -> str:
    """Hash of the names and sizes of everything in an export but the note that holds it."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_symlink() or path.is_file()]
    return digest(
        canonical(
            [
                [path.relative_to(folder).as_posix(), path.lstat().st_size]
                for path in found
                if path.name != NOTE
            ]
        )
    )


def _folder(job: _Job) -> list[str]:
    for start, stop in job.work.blocks(len(job.rows), SHARD, "export"):
        for row, content in job.images(start, stop):
            with job.work.writing(f"images/{row['key']}.png") as path:
                path.write_bytes(content)
    return [f"images/{key}.png" for key in job.rows["key"]]


def _symlinks(job: _Job) -> list[str]:
    originals = _originals(job)
    rows = zip(job.rows["id"], job.rows["locator"], originals, strict=True)
    wrong = [name for name, locator, path in rows if locator or path.suffix.lower() not in RASTER]
    if wrong:
        raise InputError(
            f"{len(wrong)} of {len(originals)} chosen images are no picture file of their own and cannot be linked, such as {wrong[0]}; "
            "pass --format folder"
        )
    if not job.choice.compose:
        say(
            "export: the links lead to your own files, with whatever is written in them beside pixels; --format folder writes pixels alone"
        )
    names = [
        f"images/{key}{path.suffix.lower()}" for key, path in zip(job.rows["key"], originals, strict=True)
    ]
    (job.work.path / "images").mkdir(exist_ok=True)
    for name, original in zip(names, originals, strict=True):
        link = job.work.path / name
        link.unlink(missing_ok=True)
        link.symlink_to(original)
    return names


def _originals(job: _Job) -> list[Path]:
    """The file on disk behind each row."""
    if job.choice.compose:
        folder = job.choice.compose.file("images").resolve()
        return [folder / f"{name}.png" for name in job.rows["id"]]
    found = [job.corpus.root / source for source in job.rows["source"]]
    gone = [path for path in found if not path.is_file()]
    if gone:
        raise InputError(
            f"{len(gone)} of {len(found)} chosen files are gone, the first {gone[0]}; index the corpus again"
        )
    return found


def _webdataset(job: _Job) -> list[str]:
    names = [f"shard-{number // SHARD:06d}.tar" for number in range(len(job.rows))]
    for start, stop in job.work.blocks(len(job.rows), SHARD, "export"):
        with job.work.writing(names[start]) as path, tarfile.open(path, "w") as shard:
            for row, content in job.images(start, stop):
                told = {"rank": row["rank"] + 1, "reason": row["reason"]}
                for ending, data in (("png", content), ("json", json.dumps(told).encode())):
                    member = tarfile.TarInfo(f"{row['key']}.{ending}")
                    member.size = len(data)
                    shard.addfile(member, BytesIO(data))
    return names


def _parquet(job: _Job) -> list[str]:
    return _tables(job, [f"images-{number // SHARD:05d}.parquet" for number in range(len(job.rows))])


def _hf_datasets(job: _Job) -> list[str]:
    shards = -(-len(job.rows) // SHARD)
    with job.work.writing("README.md") as path:
        path.write_text(CARD)
    return _tables(
        job, [f"data/train-{number // SHARD:05d}-of-{shards:05d}.parquet" for number in range(len(job.rows))]
    )


def _tables(job: _Job, names: list[str]) -> list[str]:
    image = pl.Struct({"bytes": pl.Binary, "path": pl.String})
    schema: dict[str, Any] = {"image": image, "key": pl.String, "rank": pl.Int64, "reason": pl.String}
    for start, stop in job.work.blocks(len(job.rows), SHARD, "export"):
        rows = [
            {
                "image": {"bytes": content, "path": f"{row['key']}.png"},
                "key": row["key"],
                "rank": row["rank"] + 1,
                "reason": row["reason"],
            }
            for row, content in job.images(start, stop)
        ]
        job.work.write_table(names[start], pl.DataFrame(rows, schema=schema))
    return names


def _csv(job: _Job) -> list[str]:
    places = zip(_originals(job), job.rows["locator"], strict=True)
    return [f"{path}#{locator}" if locator else str(path) for path, locator in places]


FORMATS: dict[str, Callable[[_Job], list[str]]] = {
    "folder": _folder,
    "symlinks": _symlinks,
    "webdataset": _webdataset,
    "parquet": _parquet,
    "hf-datasets": _hf_datasets,
    "csv": _csv,
}
"""Each writes into the workspace and returns, for every row of the manifest, the path where its image now is.
"""
