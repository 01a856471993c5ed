"""Tags in a run: dropped frames leave, kept ones are chosen, and the rest is what the method makes of it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from nano import NANO_RECIPE

from optidel.errors import BudgetError
from optidel.export import export
from optidel.models.presets import Preset
from optidel.pipeline.pipeline import Pipeline
from optidel.recipe import make_recipe


def pipeline(images: Path, out: Path, tags: Path | None, methods: list[str]) -> Pipeline:
    values = {"images": str(images), "out": str(out), "methods": methods, **NANO_RECIPE}
    if tags is not None:
        values["corpus"] = {"tags": str(tags)}
    return Pipeline(make_recipe(values))


def saved(tmp_path: Path, **tag_of: str) -> Path:
    path = tmp_path / "tags.csv"
    path.write_text("id,tag\n" + "".join(f"{name},{tag}\n" for name, tag in tag_of.items()))
    return path


def test_dropped_frames_leave_and_kept_ones_come_first(
    nano: Preset, make_corpus: Callable[..., Path], tmp_path: Path
) -> None:
    corpus = make_corpus(24)
    plain = pipeline(corpus, tmp_path / "plain", None, ["optidel"]).select("optidel", 0)
    table = plain.table("selection.parquet")
    lost = table.filter("kept").sort("rank")["id"][0]
    wanted = table.filter(~table["kept"])["id"][:2].to_list()
    tags = saved(tmp_path, **{lost: "drop", wanted[0]: "keep", wanted[1]: "keep"})

    tagged = pipeline(corpus, tmp_path / "tagged", tags, ["optidel", "random"])
    for method in ("optidel", "random"):
        chosen = tagged.select(method, 0).table("selection.parquet")
        kept = chosen.filter("kept").sort("rank")
        assert lost not in chosen["id"].to_list()
        assert kept["id"][:2].to_list() == sorted(wanted)
        assert kept["reason"][:2].to_list() == ["kept: tagged keep"] * 2
        assert kept["rank"].to_list() == [0, 1, 2]
        assert chosen["id"].n_unique() == 23
    rejected = tagged.listed.table("rejected.parquet")
    assert rejected.filter(rejected["source"] == lost)["reason"].to_list() == ["is tagged drop"]
    assert sorted(path.name for path in corpus.iterdir()) == sorted(table["id"])  # nothing there changed


def test_everything_stays_everything_and_too_many_are_told(
    nano: Preset, make_corpus: Callable[..., Path], tmp_path: Path
) -> None:
    corpus = make_corpus(24)
    names = sorted(path.name for path in corpus.iterdir())
    tags = saved(tmp_path, **dict.fromkeys(names[:3], "keep"))
    tagged = pipeline(corpus, tmp_path / "run", tags, ["random", "full"])
    full = tagged.select("full", 0)
    assert full.content == pipeline(corpus, tmp_path / "plain", None, ["full"]).select("full", 0).content
    kept = tagged.select("random", 0).table("selection.parquet").filter("kept")
    assert sorted(kept["id"]) == names[:3]  # the whole budget
    more = saved(tmp_path, **dict.fromkeys(names[:4], "keep"))
    with pytest.raises(BudgetError, match=r"4 frames are tagged keep, and budget 0\.125 is 3"):
        pipeline(corpus, tmp_path / "run", more, ["random"]).select("random", 0)


def test_an_export_takes_the_same_file(
    nano: Preset, make_corpus: Callable[..., Path], tmp_path: Path
) -> None:
    corpus = make_corpus(24)
    select = pipeline(corpus, tmp_path / "run", None, ["random"]).select("random", 0)
    table = select.table("selection.parquet")
    kept = table.filter("kept").sort("rank")["id"].to_list()
    extra = table.filter(~table["kept"])["id"][5]
    tags = saved(tmp_path, **{kept[0]: "drop", extra: "keep", kept[1]: "look again"})
    written = export(tmp_path / "run", "csv", tags=tags)
    lines = (written.path / "manifest.csv").read_text().splitlines()[1:]
    assert written.images == 3
    assert [line.split(",")[0] for line in lines] == ["000001", "000002", "000003"]
    assert all(name in "\n".join(lines) for name in (kept[1], kept[2], extra))
    assert "tagged keep" in lines[-1]
    assert kept[0] not in "\n".join(lines)
    # Another file of tags is another export.
    assert export(tmp_path / "run", "csv").path != written.path
