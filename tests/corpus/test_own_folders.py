"""What this project wrote is never taken for images, wherever it lies; masks of a labelled set stay out."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

import optidel
from optidel.corpus.index import index_step
from optidel.corpus.masks import masks_among
from optidel.corpus.options import IndexOptions
from optidel.corpus.walk import walk
from optidel.errors import InputError
from optidel.store import MANIFEST, PARTS, Store, Workspace


def write_picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(np.full((16, 16), 100, np.uint8)).save(path)


def make_run(root: Path) -> Path:
    """A run with pictures and arrays of its own, and an export."""

    def make(work: Workspace) -> None:
        work.write_array("pixels.npy", np.zeros((4, 16, 16, 3), np.uint8))
        with work.writing("images") as folder:
            write_picture(folder / "composite.png")

    Store(root).build("compose", make, version=1, config={})
    write_picture(root / "exports" / "random" / "images" / "0.png")
    (root / "exports" / "random" / "export.json").write_text('{"optidel": "export"}')
    return root


def test_a_run_inside_the_images_is_passed_over_and_changes_nothing(
    make_corpus: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_corpus(3)
    store = Store(folder / "sub" / "RUN")
    first = index_step(store, folder, IndexOptions())
    make_run(folder / "other")
    shutil.copytree(folder / "other" / "exports" / "random", folder / "copied-export")
    shutil.copytree(next((folder / "other").glob("compose-*")), folder / "copied-artifact")
    (folder / "moved" / "embed.partial").mkdir(parents=True)
    (folder / "moved" / "embed.partial" / "cost.json").write_text("")
    write_picture(folder / "moved" / "embed.partial" / PARTS / "0.png")
    second = index_step(store, folder, IndexOptions())
    assert second == first
    assert second.table("frames.parquet")["id"].to_list() == [f"image-{i:03d}.png" for i in range(3)]
    assert second.table("rejected.parquet").is_empty()
    told = capsys.readouterr().err
    for name in ("sub/RUN/ (run)", "other/ (run)", "copied-export/ (export)", "copied-artifact/ (artifact)"):
        assert name in told


@pytest.mark.parametrize("marker", ["", "{", '{"optidel": "run", "format": 99}'])
def test_a_run_with_a_damaged_marker_is_still_one(tmp_path: Path, marker: str) -> None:
    write_picture(tmp_path / "a.png")
    make_run(tmp_path / "RUN")
    (tmp_path / "RUN" / "run.json").write_text(marker)
    assert [file.source for file in walk(tmp_path).files] == ["a.png"]


def test_a_run_as_the_corpus_is_refused_and_an_export_is_read(tmp_path: Path) -> None:
    run = make_run(tmp_path / "RUN")
    with pytest.raises(InputError, match="is a run of OptiDEL; pass the folder that holds the images"):
        optidel.index(run)
    [artifact] = run.glob("compose-*")
    with pytest.raises(InputError, match="is an artifact of OptiDEL"):
        optidel.index(artifact)
    frames = optidel.index(run / "exports" / "random").frames
    assert [frame.id for frame in frames] == ["images/0.png"]


def test_files_of_others_with_the_same_name_hide_nothing(tmp_path: Path) -> None:
    for number, text in enumerate(['{"run": 1}', "[]", '{"step": 1}', "not json", '{"optidel": "else"}']):
        folder = tmp_path / str(number)
        write_picture(folder / "a.png")
        for name in ("run.json", "export.json", MANIFEST):
            (folder / name).write_text(text)
    sources = {file.source for file in walk(tmp_path).files}
    assert {f"{number}/a.png" for number in range(5)} <= sources


MASKS = {
    "beside images": (["images/1.jpg", "images/2.jpg"], ["masks/1.png", "masks/2.png"]),
    "deeper, with folders inside": (
        ["set/images/train/1.jpg", "set/images/test/2.jpg"],
        ["set/masks/train/1.png", "set/masks/test/2.png"],
    ),
    "Medical Segmentation Decathlon": (["imagesTr/a_003.nii.gz"], ["labelsTr/a_003.nii.gz"]),
    "nnU-Net": (["imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz"], ["labelsTr/a.nii.gz"]),
    "DSB 2018, one file a nucleus": (["x1/images/x1.png"], ["x1/masks/3f.png", "x1/masks/77.png"]),
    "Carvana": (["train/1.jpg", "train/2.jpg"], ["train_masks/1_mask.gif", "train_masks/2_mask.gif"]),
    "BUSI": (["benign/benign (1).png"], ["benign/benign (1)_mask.png", "benign/benign (1)_mask_1.png"]),
    "ISIC": (["Input/ISIC_1.jpg"], ["GroundTruth/ISIC_1_segmentation.png"]),
    "in the folder of the images": (["set/1.png", "set/2.png"], ["set/masks/1.png", "set/masks/2.png"]),
    "BraTS": (["B_001/B_001_t1.nii.gz", "B_001/B_001_flair.nii.gz"], ["B_001/B_001_seg.nii.gz"]),
    "labels called as the images": (["img/a.png", "img/b.png"], ["label/a.png", "label/b.png"]),
}

NO_MASKS = {
    "one case, one segmentation alone": ["B_001/B_001_seg.nii.gz", "B_002/B_002_t1.nii.gz"],
    "pictures of masks in a folder of other pictures": ["set/a.png", "set/b.png", "set/masks/red.png"],
    "masks alone": ["masks/1.png", "masks/2.png"],
    "labels that are other pictures": ["images/1.png", "labels/front.png", "labels/back.png"],
    "a suffix of nothing": ["a/scan_mask.png", "a/other.png"],
    "classes": ["train/benign/1.png", "train/malignant/1.png", "test/benign/1.png"],
    "a word with mask in it": ["images/1.png", "unmasked/1.png", "masked/1.png"],
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_of_a_labelled_set_are_known(name: str) -> None:
    images, masks = MASKS[name]
    assert masks_among([*images, *masks]).keys() == set(masks)


@pytest.mark.parametrize("name", NO_MASKS)
def test_nothing_else_is_taken_for_a_mask(name: str) -> None:
    assert masks_among(NO_MASKS[name]) == {}


def test_masks_stay_out_aloud_unless_they_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        write_picture(tmp_path / "set" / "images" / f"{number}.png")
        write_picture(tmp_path / "set" / "masks" / f"{number}.png")
    corpus = optidel.index(tmp_path / "set")
    assert [frame.source for frame in corpus.frames] == [f"images/{number}.png" for number in range(3)]
    assert {item.source for item in corpus.rejected} == {f"masks/{number}.png" for number in range(3)}
    assert "masks/ lies beside images/" in corpus.rejected[0].reason
    assert "3 files look like a mask, left out of the corpus" in capsys.readouterr().err
    assert len(optidel.index(tmp_path / "set" / "masks").frames) == 3
    (tmp_path / "list.csv").write_text("path\nimages/0.png\nmasks/0.png\n")
    assert len(optidel.index(tmp_path / "set", manifest=str(tmp_path / "list.csv")).frames) == 2


def test_masks_in_an_archive_stay_out_and_are_named_once(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png")
    folder = tmp_path / "corpus"
    folder.mkdir()
    with zipfile.ZipFile(folder / "set.zip", "w") as archive:
        for name in ("images/1.png", "images/2.png", "masks/1.png", "masks/2.png"):
            archive.write(tmp_path / "a.png", name)
    corpus = optidel.index(folder)
    assert [frame.id for frame in corpus.frames] == ["set.zip#images/1.png", "set.zip#images/2.png"]
    assert [item.source for item in corpus.rejected] == ["set.zip#masks/1.png", "set.zip#masks/2.png"]

    store = Store(tmp_path / "run")
    for number in range(2):
        write_picture(folder / f"new-{number}.png")
        indexed = index_step(store, folder, IndexOptions())
        assert indexed.table("rejected.parquet")["source"].to_list() == [
            "set.zip#masks/1.png",
            "set.zip#masks/2.png",
        ]
        assert len(indexed.table("frames.parquet")) == len(indexed.table("quality.parquet")) == 3 + number
