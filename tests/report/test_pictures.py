import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from optidel.corpus.names import Names
from optidel.errors import InputError
from optidel.report import composites_sheet, refused_sheet, selection_sheet
from optidel.report.gallery import (
    composites,
    difficulty_view,
    patches,
    segmentations,
    selections,
    spaced,
)
from optidel.report.pictures import Pictures, data_uri, outlines
from optidel.runs.collect import Run, read_run


@pytest.fixture(scope="module")
def opened(run: Path) -> Run:
    return read_run(run)


@pytest.fixture(scope="module")
def pictures(opened: Run) -> Pictures:
    return Pictures(opened)


def decoded(uri: str) -> Image.Image:
    assert uri.startswith("data:image/jpeg;base64,")
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_frames_are_the_originals_and_crops_are_exact(opened: Run, pictures: Pictures) -> None:
    record = pictures.record(3)
    with Image.open(opened.index.json("index.json")["root"] + "/" + record.source) as original:
        np.testing.assert_array_equal(np.asarray(pictures.frame(3)), np.asarray(original))
        box = (10, 20, 42, 52)
        np.testing.assert_array_equal(
            np.asarray(pictures.crop(record.id, box)), np.asarray(original.crop(box))
        )


def test_thumbnails_take_the_frame_s_shape_and_boxes_scale(make_run) -> None:
    run = make_run(until="patches", frames=12)
    opened = read_run(run)
    for file in (run.parent / "corpus").iterdir():
        file.write_bytes(b"no longer an image")
    pictures = Pictures(opened)
    shown = pictures.frame(0)
    record = pictures.record(0)
    assert shown.width / shown.height == pytest.approx(record.width / record.height, rel=0.01)
    crop = pictures.crop(record.id, (0, 0, record.width // 2, record.height))
    assert crop.width / shown.width == pytest.approx(0.5, abs=0.01)


def test_data_uri_shrinks_and_keeps_the_aspect() -> None:
    assert decoded(data_uri(Image.new("RGB", (1000, 500)), side=100)).size == (100, 50)
    assert decoded(data_uri(Image.new("RGB", (30, 20)))).size == (30, 20)


def test_outline_of_a_square_runs_along_its_edge() -> None:
    mask = np.zeros((16, 16), np.uint8)
    mask[4:9, 2:12] = 1
    mask[12:14, 1:3] = 3
    first, second = outlines(mask, "truth")
    assert (first.kind, second.kind) == ("truth class-1", "truth class-3")
    points = np.array(re.findall(r"[ML]([\d.-]+) ([\d.-]+)", first.path), dtype=float)
    assert points.min(axis=0).tolist() == [2, 4]
    assert points.max(axis=0).tolist() == [12, 9]
    assert outlines(np.zeros((8, 8), np.uint8), "truth") == ()


def test_mask_at_the_border_is_closed() -> None:
    (outline,) = outlines(np.ones((4, 4), np.uint8), "prediction")
    points = np.array(re.findall(r"[ML]([\d.-]+) ([\d.-]+)", outline.path), dtype=float)
    assert (points.min(), points.max()) == (0, 4)
    assert outline.path.count("Z") == 1


def test_choices_tell_why_and_who_stays(opened: Run, pictures: Pictures) -> None:
    found = {view.method: view for view in selections(opened, pictures)}
    assert set(found) == {"random", "meddel", "optidel"}
    assert found["meddel"].reasons == (("within radius of twin", 36),)
    assert found["random"].pairs == ()
    assert (found["optidel"].unit, found["optidel"].kept_count) == ("key patch", 16)
    similarities = [pair.similarity for pair in found["meddel"].pairs]
    assert similarities == sorted(similarities, reverse=True)
    table = found_table(opened, "meddel")
    twin = dict(table.select("id", "twin").iter_rows())
    assert all(twin[pair.dropped.caption] == pair.twin.caption for pair in found["meddel"].pairs)
    assert [tile.caption for tile in found["meddel"].kept] == table.filter("kept").sort("rank")[
        "id"
    ].to_list()[:8]


def found_table(opened: Run, method: str):
    select = next(cell.select for cell in opened.examples if cell.method == method)
    assert select is not None
    return select.table("selection.parquet")


def test_patches_are_marked_with_their_own_boxes(opened: Run, pictures: Pictures) -> None:
    assert opened.patches is not None
    table = opened.patches.table("patches.parquet")
    view = patches(opened, pictures)
    assert view is not None
    for tile in view.frames:
        rows = table.filter(frame=tile.caption)
        assert sorted(mark.box for mark in tile.marks) == sorted(map(tuple, rows["box"].to_list()))
        assert sum(mark.kind == "kept" for mark in tile.marks) == (rows["refused"] == "").sum()
        assert (tile.width, tile.height) == (90, 72)


def test_refusals_count_every_refused_patch(opened: Run, pictures: Pictures) -> None:
    assert opened.patches is not None
    view = patches(opened, pictures)
    assert view is not None
    counts = {refusal.reason: refusal.count for refusal in view.refusals}
    assert counts == {
        reason: count for reason, count in opened.patches.json("summary.json")["refused"].items() if count
    }


def test_composites_show_their_sources(opened: Run, pictures: Pictures) -> None:
    made = composites(opened, pictures)
    assert made[0].composite.caption == "composite-00000"
    assert all(len(each.sources) == 4 and len(source.marks) == 1 for each in made for source in each.sources)


def test_hardest_come_first(opened: Run, pictures: Pictures) -> None:
    found = difficulty_view(opened, pictures)
    assert found is not None
    assert len(found.values) == found_table(opened, "optidel").height
    assert len(found.kept) == 16
    hardest = [float(re.findall(r"error ([\d.]+)", tile.note)[0]) for tile in found.hardest]
    assert hardest == sorted(hardest, reverse=True)
    assert hardest[0] == pytest.approx(found.values.max(), rel=0.01)


def test_segmentations_are_the_first_test_images_with_their_own_iou(opened: Run) -> None:
    rows = segmentations(opened, Names())
    assert [row.truth.caption for row in rows] == [f"case{i}" for i in range(4, 10)]
    for row in rows:
        assert [tile.caption for tile in row.predictions] == list(opened.methods)
    cell = next(cell for cell in opened.examples if cell.method == "full")
    table = cell.evaluate["fine-tune"].table("images.parquet")
    assert rows[0].predictions[1].note == f"IoU {table.filter(id='case4')['iou'][0]:.3f}"


def test_spaced_covers_both_ends() -> None:
    assert spaced(100, 3) == [0, 50, 99]
    assert spaced(2, 8) == [0, 1]
    assert spaced(0, 8) == []


def test_sheets_are_pictures(run: Path) -> None:
    for write, rows in ((composites_sheet, 1), (refused_sheet, 4), (selection_sheet, 3)):
        with Image.open(write(run)) as sheet:
            assert sheet.format == "PNG"
            assert sheet.height > rows * 176
            pixels = np.asarray(sheet)
        assert pixels.std() > 20


def test_sheets_say_what_is_missing(make_run) -> None:
    run = make_run(until="index", frames=3)
    for write, words in (
        (composites_sheet, "no composites"),
        (refused_sheet, "no key patches"),
        (selection_sheet, "selected nothing"),
    ):
        with pytest.raises(InputError, match=words):
            write(run)
