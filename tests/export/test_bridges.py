"""Exports for other tools, each read back by the tool where it is installed, else by what its format says.

LightlyStudio, FiftyOne, Embedding Atlas, WebDataset and pycocotools are in no extra of this project, for some
bring another torch. They are tested where they are installed beside it, or in the interpreter that
``OPTIDEL_TEST_LIGHTLY_STUDIO``, ``OPTIDEL_TEST_FIFTYONE``, ``OPTIDEL_TEST_EMBEDDING_ATLAS`` or
``OPTIDEL_TEST_WEBDATASET`` names.
"""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from nano import recipe
from pictures import NANO, fill
from PIL import Image

from optidel.errors import InputError
from optidel.export import FORMATS, export
from optidel.export.formats import LEADING, READS
from optidel.export.selection import ExportedSelection, find_selection
from optidel.features.composites import cell_boxes
from optidel.models.presets import PRESETS
from optidel.pipeline.pipeline import Pipeline
from optidel.recipe import make_recipe
from optidel.records import Composite, from_table
from optidel.store import Store


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run that chose a quarter of 24 labelled frames at random and by MedDEL, and composed three images."""
    root = tmp_path_factory.mktemp("bridges")
    fill(root / "images" / "polyp", 12)
    fill(root / "images" / "normal", 12, seed=1)
    corpus = {"pattern": "(?P<label>polyp|normal)/"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", NANO)
        values = recipe(root / "images", root / "images", root / "run", corpus=corpus, budget=0.25)
        Pipeline(make_recipe(values | {"methods": ["random", "meddel"]})).until("select")
        Pipeline(make_recipe(values | {"methods": ["optidel-paper"], "budget": 0.125})).until("compose")
        yield root / "run"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that chose at random, and so embedded nothing and cut no key patch."""
    root = tmp_path_factory.mktemp("bare")
    fill(root / "images", 8)
    values = recipe(root / "images", root / "images", root / "run", methods=["random"], budget=0.5)
    Pipeline(make_recipe(values)).until("select")
    return root / "run"


def interpreter(package: str) -> str:
    """A Python that has the package; the test is skipped where there is none."""
    other = os.environ.get(f"OPTIDEL_TEST_{package.upper()}")
    if other:
        return other
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed; OPTIDEL_TEST_{package.upper()} may name a Python with it")
    return sys.executable


def read_with(package: str, code: str, home: Path, *arguments: object) -> Any:
    """What a script prints as JSON on its last line, run where the package is installed."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "FIFTYONE_DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [interpreter(package), "-c", code, *map(str, arguments)],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def chosen(run: Path, method: str) -> ExportedSelection:
    return find_selection(Store(run), method, None, None)


def expected_boxes(run: Path, method: str, rows: list[dict[str, str]]) -> list[list[list[int]]]:
    """The boxes [x, y, w, h] of each row of the manifest, from the run's own tables."""
    selection = chosen(run, method)
    if selection.compose:
        composites = from_table(Composite, selection.compose.table("composites.parquet"))
        by_id = {composite.id: cell_boxes(composite) for composite in composites}
    else:
        assert selection.patches is not None
        by_id = {}
        for row in selection.patches.table("patches.parquet").iter_rows(named=True):
            if not row["refused"]:
                by_id.setdefault(row["frame"], []).append(tuple(row["box"]))
    return [[[x0, y0, x1 - x0, y1 - y0] for x0, y0, x1, y1 in by_id.get(row["id"], [])] for row in rows]


@pytest.mark.parametrize("format", ["coco", "lightly-studio"])
@pytest.mark.parametrize("method", ["random", "meddel", "optidel-paper"])
def test_coco_holds_the_images_and_the_key_patches(
    format: str, method: str, run: Path, tmp_path: Path
) -> None:
    made = export(run, format, method=method, out=tmp_path / "out")
    rows = manifest(made.path)
    content = json.loads((made.path / "annotations.json").read_text())
    assert set(content) == {"info", "licenses", "images", "annotations", "categories"}
    assert [image["id"] for image in content["images"]] == list(range(1, made.images + 1))
    for image, row in zip(content["images"], rows, strict=True):
        assert image["rank"] == int(row["rank"])
        assert image["reason"] == row["reason"]
        with Image.open(made.path / "images" / image["file_name"]) as opened:
            assert opened.size == (image["width"], image["height"])
    found: dict[int, list[list[int]]] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        found[annotation["image_id"]].append(annotation["bbox"])
        assert annotation["iscrowd"] == 0
        assert annotation["area"] == annotation["bbox"][2] * annotation["bbox"][3] > 0
        assert ("score" in annotation) == (method != "optidel-paper")
    assert list(found.values()) == expected_boxes(run, method, rows)
    assert content["annotations"]
    assert len({annotation["id"] for annotation in content["annotations"]}) == len(content["annotations"])
    assert [category["name"] for category in content["categories"]] == ["key patch"]


def test_cells_of_a_composite_show_its_key_patches(run: Path, tmp_path: Path) -> None:
    """Each cell is the patch of the original, resized: the box of COCO lies where the pixels are."""
    made = export(run, "coco", method="optidel-paper", out=tmp_path / "out")
    selection = chosen(run, "optidel-paper")
    assert selection.compose is not None
    folder = Path(selection.index.json("index.json")["root"])
    composites = from_table(Composite, selection.compose.table("composites.parquet"))
    for composite, row in zip(composites, manifest(made.path), strict=True):
        with Image.open(made.path / row["path"]) as opened:
            whole = opened.convert("RGB")
        for source, box, cell in zip(composite.sources, composite.boxes, cell_boxes(composite), strict=True):
            size = (cell[2] - cell[0], cell[3] - cell[1])
            with Image.open(folder / source) as frame:
                patch = frame.convert("RGB").crop(box).resize(size, Image.Resampling.LANCZOS)
            np.testing.assert_array_equal(np.asarray(whole.crop(cell)), np.asarray(patch))


def test_coco_without_key_patches_has_no_annotation_and_is_made_anew_with_them(
    bare: Path, tmp_path: Path
) -> None:
    first = export(bare, "coco", out=tmp_path / "first")
    assert json.loads((first.path / "annotations.json").read_text())["annotations"] == []
    folder = bare.parent / "images"
    values = recipe(folder, folder, bare, methods=["random"], budget=0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", NANO)
        Pipeline(make_recipe(values)).until("patches")
    second = export(bare, "coco", out=tmp_path / "second")
    assert json.loads((second.path / "annotations.json").read_text())["annotations"]


def test_pycocotools_reads_coco(run: Path, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    made = export(run, "coco", method="meddel", out=tmp_path / "out")
    read = coco.COCO(str(made.path / "annotations.json"))
    assert sorted(read.getImgIds()) == list(range(1, made.images + 1))
    [category] = read.getCatIds(catNms=["key patch"])
    boxes = expected_boxes(run, "meddel", manifest(made.path))
    for number, wanted in enumerate(boxes, start=1):
        found = read.loadAnns(read.getAnnIds(imgIds=[number], catIds=[category]))
        assert [annotation["bbox"] for annotation in found] == wanted


LIGHTLY_STUDIO = """
import json, runpy, sys
module = runpy.run_path(sys.argv[1], run_name="export")
module["load"](embed=False)  # the second call finds what the first one made
found = []
for sample in module["load"](embed=False):
    boxes = [[b.x, b.y, b.width, b.height] for b in sample.annotations]
    metadata = sample.metadata
    about = [sample.width, sample.height, metadata["rank"], metadata["reason"]]
    found.append([sample.file_name, *about, boxes])
print()
print(json.dumps(sorted(found)))
"""


def test_lightly_studio_reads_its_export(run: Path, tmp_path: Path) -> None:
    made = export(run, "lightly-studio", method="meddel", out=tmp_path / "out")
    found = read_with("lightly_studio", LIGHTLY_STUDIO, tmp_path, made.path / "open.py")
    rows = manifest(made.path)
    boxes = expected_boxes(run, "meddel", rows)
    wanted = []
    for row, of_image in zip(rows, boxes, strict=True):
        about = [int(row["width"]), int(row["height"]), int(row["rank"]), row["reason"]]
        wanted.append([Path(row["path"]).name, *about, of_image])
    assert [[*row[:-1], sorted(row[-1])] for row in found] == [[*row[:-1], sorted(row[-1])] for row in wanted]


WEBDATASET = """
import json, sys
import webdataset
found = []
for sample in webdataset.WebDataset(sys.argv[1:], shardshuffle=False).decode("pil"):
    found.append([sample["__key__"], *sample["png"].size, sample["json"]["rank"], sample["json"]["reason"]])
print()
print(json.dumps(found))
"""


def test_webdataset_reads_its_export(run: Path, tmp_path: Path) -> None:
    made = export(run, "webdataset", method="meddel", out=tmp_path / "out")
    found = read_with("webdataset", WEBDATASET, tmp_path, *sorted(made.path.glob("*.tar")))
    wanted = [
        [row["key"], int(row["width"]), int(row["height"]), int(row["rank"]), row["reason"]]
        for row in manifest(made.path)
    ]
    assert sorted(found) == wanted


FIFTYONE = """
import json, sys
from fiftyone.utils.data.importers import FiftyOneImageClassificationDatasetImporter as Importer
found = []
with Importer(dataset_dir=sys.argv[1]) as samples:
    for path, _, label in samples:
        found.append([path, label.label, label.rank, label.reason])
print()
print(json.dumps(found))
"""


def test_fiftyone_labels_say_what_is_known(run: Path, tmp_path: Path) -> None:
    made = export(run, "fiftyone", method="random", out=tmp_path / "out")
    content = json.loads((made.path / "labels.json").read_text())
    assert content["classes"] is None
    rows = manifest(made.path)
    assert {row["label"] for row in rows} == {"polyp", "normal"}
    for row in rows:
        entry = content["labels"][row["key"]]
        assert (made.path / "data" / f"{row['key']}.png").is_file()
        assert entry["label"] == row["label"]
        assert entry["attributes"] == {"rank": int(row["rank"]), "reason": row["reason"]}
    assert len(content["labels"]) == len(rows)


def test_fiftyone_reads_its_export(run: Path, tmp_path: Path) -> None:
    made = export(run, "fiftyone", method="random", out=tmp_path / "out")
    found = read_with("fiftyone", FIFTYONE, tmp_path, made.path)
    wanted = [
        [str(made.path / row["path"]), row["label"], int(row["rank"]), row["reason"]]
        for row in manifest(made.path)
    ]
    assert found == wanted


FIFTYONE_COCO = """
import json, sys
from fiftyone.utils.coco import COCODetectionDatasetImporter as Importer
found = []
with Importer(dataset_dir=sys.argv[1], data_path="images", labels_path="annotations.json") as samples:
    for path, size, labels in samples:
        detections = labels["detections"].detections if labels else []
        assert all(detection.label == "key patch" for detection in detections)
        found.append([path, size.width, size.height, [detection.bounding_box for detection in detections]])
print()
print(json.dumps(found))
"""


def test_fiftyone_reads_coco(run: Path, tmp_path: Path) -> None:
    made = export(run, "coco", method="meddel", out=tmp_path / "out")
    found = read_with("fiftyone", FIFTYONE_COCO, tmp_path, made.path)
    rows = manifest(made.path)
    boxes = expected_boxes(run, "meddel", rows)
    for (path, width, height, shown), row, wanted in zip(found, rows, boxes, strict=True):
        assert path == str(made.path / row["path"])
        assert (width, height) == (int(row["width"]), int(row["height"]))
        pixels = np.array(shown).reshape(-1, 4) * [width, height, width, height]
        np.testing.assert_allclose(pixels, np.array(wanted).reshape(-1, 4), atol=1e-9)


# MONAI says of each of its readers of DICOM that the decoder of a GPU is not there.
@pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")
def test_monai_reads_its_export(run: Path, tmp_path: Path) -> None:
    data = pytest.importorskip("monai.data", reason="monai is not installed")
    transforms = pytest.importorskip("monai.transforms")
    made = export(run, "monai", method="random", out=tmp_path / "out")
    items = data.load_decathlon_datalist(made.path / "datalist.json")
    assert [item["rank"] for item in items] == list(range(1, made.images + 1))
    load = transforms.LoadImage(image_only=True, reverse_indexing=False)
    for item, row in zip(items, manifest(made.path), strict=True):
        assert item["class"] == row["label"]
        with Image.open(made.path / row["path"]) as opened:
            np.testing.assert_array_equal(load(item["image"]).numpy(), np.asarray(opened))


@pytest.mark.parametrize("method", ["random", "meddel", "optidel-paper"])
def test_the_atlas_places_each_image_on_the_map(method: str, run: Path, tmp_path: Path) -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    made = export(run, "embedding-atlas", method=method, out=tmp_path / "out")
    table = pl.read_parquet(made.path / "*.parquet").sort("rank")
    rows = manifest(made.path)
    selection = chosen(run, method)
    assert selection.embed is not None
    vectors = np.asarray(selection.embed.array("vectors.npy"), dtype=np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    components = decomposition.PCA(2).fit_transform(vectors)
    ids = selection.index.table("frames.parquet")["id"].to_list()
    places = dict(zip(ids, components, strict=True))
    wanted = []
    for row in rows:
        sources = json.loads(row["sources"]) if row["sources"] else [row["id"]]
        wanted.append(np.mean([places[source] for source in sources], axis=0))
    for axis, name in enumerate("xy"):
        correlation = np.corrcoef(table[name], np.array(wanted)[:, axis])[0, 1]
        assert abs(correlation) == pytest.approx(1, abs=1e-3)
        assert table[name].abs().max() <= 1
    assert table["key"].to_list() == [row["key"] for row in rows]
    assert table["reason"].to_list() == [row["reason"] for row in rows]
    assert set(table["label"]) <= {"polyp", "normal", None}
    for image, row in zip(table["image"], rows, strict=True):
        with Image.open(io.BytesIO(image["bytes"])) as opened:
            assert opened.size == (int(row["width"]), int(row["height"]))


ATLAS = """
import json, sys
from embedding_atlas.cli import load_datasets
from embedding_atlas.data_source import to_parquet_bytes
frame = load_datasets(sys.argv[1:])
to_parquet_bytes(frame)
print()
print(json.dumps([[round(x, 4), round(y, 4), key, len(image["bytes"])]
    for x, y, key, image in zip(frame["x"], frame["y"], frame["key"], frame["image"])]))
"""


def test_embedding_atlas_reads_its_export(run: Path, tmp_path: Path) -> None:
    made = export(run, "embedding-atlas", method="meddel", out=tmp_path / "out")
    files = sorted(made.path.glob("*.parquet"))
    found = read_with("embedding_atlas", ATLAS, tmp_path, *files)
    table = pl.read_parquet(files)
    wanted = [
        [round(x, 4), round(y, 4), key, len(image["bytes"])]
        for x, y, key, image in table.select("x", "y", "key", "image").iter_rows()
    ]
    assert found == wanted


def test_weights_are_the_frames_that_each_stands_for(run: Path, tmp_path: Path) -> None:
    made = export(run, "weights", method="meddel", out=tmp_path / "out")
    table = pl.read_csv(made.path / "weights.csv")
    assert table.columns == ["path", "weight"]
    rows = manifest(made.path)
    assert table["path"].to_list() == [row["path"] for row in rows]
    assert all(Path(path).is_file() for path in table["path"])

    selection = chosen(run, "meddel")
    assert selection.compared is not None
    assert selection.compared.step == "whiten"
    vectors = np.asarray(selection.compared.array("vectors.npy"), dtype=np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = selection.index.table("frames.parquet")["id"].to_list()
    kept = [ids.index(row["id"]) for row in rows]
    counts = np.zeros(len(kept))
    for vector in vectors:
        counts[int(np.argmax(vectors[kept] @ vector))] += 1
    counts /= counts.mean()
    assert counts.max() <= 4  # nothing to clip here
    np.testing.assert_allclose(table["weight"].to_numpy(), counts, atol=1e-9)
    assert table["weight"].mean() == pytest.approx(1)


def test_torch_samples_by_the_weights(run: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    made = export(run, "weights", method="meddel", out=tmp_path / "out")
    weights = pl.read_csv(made.path / "weights.csv")["weight"].to_list()
    generator = torch.Generator().manual_seed(0)
    sampler = torch.utils.data.WeightedRandomSampler(weights, 20_000, generator=generator)
    drawn = np.bincount(list(sampler), minlength=len(weights)) / 20_000
    np.testing.assert_allclose(drawn, np.array(weights) / sum(weights), atol=0.02)


def test_composites_weigh_the_same(run: Path, tmp_path: Path) -> None:
    made = export(run, "weights", method="optidel-paper", out=tmp_path / "out")
    assert pl.read_csv(made.path / "weights.csv")["weight"].to_list() == [1.0] * made.images


@pytest.mark.parametrize("format", ["embedding-atlas", "weights"])
def test_what_needs_an_embedding_says_so(format: str, tmp_path: Path) -> None:
    fill(tmp_path / "images", 8)
    values = recipe(
        tmp_path / "images", tmp_path / "images", tmp_path / "run", methods=["random"], budget=0.5
    )
    Pipeline(make_recipe(values)).until("select")
    with pytest.raises(InputError, match=r"has no embedding of these images.*run `optidel embed"):
        export(tmp_path / "run", format)


def test_every_format_is_named_by_the_help_and_the_docs() -> None:
    root = Path(__file__).parents[2]
    text = (root / "docs" / "export.md").read_text()
    code = (root / "src" / "optidel" / "cli" / "corpus.py").read_text().replace('" \n', "")
    for format in FORMATS:
        assert f"| `{format}` |" in text
        assert format in code
    assert set(READS) <= set(FORMATS)
    assert set(LEADING) <= set(FORMATS)
