"""Leaks: planted copies are found in the right list, and nothing else is."""

import io
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pictures import picture
from PIL import Image
from typer.testing import CliRunner

from optidel.cli import app, main
from optidel.copies.concepts import ALIKE, FEW
from optidel.copies.leaks import find_leaks
from optidel.copies.prints import describe_corpus, describe_images
from optidel.corpus.index import index, index_step
from optidel.corpus.options import IndexOptions
from optidel.errors import RecipeError
from optidel.pipeline.leaks import check_leaks
from optidel.pipeline.steps.prints import load_prints, prints_step
from optidel.report.leak_page import in_words
from optidel.store import Store

CBC = Path(__file__).parents[3] / "shared" / "data" / "cbc"


def textured(rng: np.random.Generator) -> np.ndarray:
    """A picture with a layout of its own: a dozen blobs."""
    image = picture(rng, 120, 160)[0].astype(float)
    y, x = np.mgrid[:120, :160]
    for _ in range(12):
        top, left, size = rng.uniform(0, 120), rng.uniform(0, 160), rng.uniform(6, 20)
        image += np.exp(-((y - top) ** 2 + (x - left) ** 2) / size**2)[..., None] * rng.uniform(-90, 90, 3)
    return image.clip(0, 255).astype(np.uint8)


def jpeg(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(buffer).convert("RGB"))


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A corpus of 160 pictures, one of them black; a test set of 30 others, and copies of five kinds, and a
    black one.
    """
    root, rng = tmp_path_factory.mktemp("leaks"), np.random.default_rng(0)
    train, test = root / "train", root / "test"
    train.mkdir()
    test.mkdir()
    images = [textured(rng) for _ in range(159)] + [np.zeros((120, 160, 3), np.uint8)]
    copies = {
        "equal": images[3],
        "black": images[-1],
        "encoded": jpeg(images[5]),
        "smaller": np.asarray(Image.fromarray(images[7]).resize((80, 60), Image.Resampling.LANCZOS)),
        "mirrored": images[9][:, ::-1],
        "turned": images[11][::-1, ::-1],
        "cut": images[13][3:-3, 4:-4],
    }
    for number, image in enumerate(images):
        Image.fromarray(image).save(train / f"{number:03d}.png")
    for number in range(30):
        Image.fromarray(textured(rng)).save(test / f"other-{number:02d}.png")
    for name, image in copies.items():
        Image.fromarray(np.ascontiguousarray(image)).save(test / f"{name}.png")
    return train, test


def test_each_copy_is_in_its_list_and_nothing_else_is(sides: tuple[Path, Path]) -> None:
    found = find_leaks(*(index(side) for side in sides))
    assert [(match.test, match.train) for match in found.exact] == [("equal.png", "003.png")]
    assert sorted((match.test, match.train) for match in found.perceptual) == [
        ("encoded.png", "005.png"),
        ("smaller.png", "007.png"),
    ]
    changed = {("mirrored.png", "009.png"), ("turned.png", "011.png"), ("cut.png", "013.png")}
    assert {(match.test, match.train) for match in found.embedding} == changed
    assert found.threshold is not None
    assert 0 < found.threshold < 1
    assert (found.train, found.test) == (160, 37)


def test_prints_on_disk_are_those_in_memory_and_pixels_may_come_alone(
    sides: tuple[Path, Path], tmp_path: Path
) -> None:
    store = Store(tmp_path / "run")
    indexed = index_step(store, sides[0], IndexOptions())
    stored, held = load_prints(prints_step(store, indexed), indexed), describe_corpus(index(sides[0]))
    assert list(stored.ids) == list(held.ids)
    assert list(stored.pixels) == list(held.pixels)
    np.testing.assert_array_equal(stored.descriptors, held.descriptors)
    alone = describe_images([("x", index(sides[1]).image(1))], "test")
    assert find_leaks(stored, alone).test == 1


def test_frames_of_one_group_do_not_raise_the_threshold() -> None:
    """Every second frame is the next one of a video: without groups neighbours would pass for images that are
    no copies.
    """
    rng = np.random.default_rng(1)
    still = [textured(rng) for _ in range(60)]
    frames = [image for one in still for image in (one, (one * 0.9).astype(np.uint8)[2:, 2:])]
    prints = describe_images([(str(number), image) for number, image in enumerate(frames)], "videos")
    grouped = type(prints)(
        **{name: getattr(prints, name) for name in prints.__dataclass_fields__}
        | {"groups": [f"video:{n // 2}" for n in range(120)]}
    )
    asked = describe_images([("new", textured(rng))], "test")
    assert 0 < find_leaks(grouped, asked, rate=0.1).threshold < 1
    alone = find_leaks(
        prints, asked, rate=0.1
    )  # a neighbour is as alike as a copy: no threshold can tell them apart, and it is said
    assert alone.threshold is None
    assert alone.reason == f"120 of 120 frames: {ALIKE}"
    assert ALIKE in in_words(alone)[1]


def test_a_corpus_too_small_to_calibrate_says_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    prints = describe_images([(str(number), textured(rng)) for number in range(8)], "few")
    found = find_leaks(prints, prints)
    assert (len(found.exact), found.threshold, found.embedding) == (8, None, ())


def test_command_prints_one_object_and_writes_the_page(sides: tuple[Path, Path], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["leaks", *map(str, sides), "--json", "--out", str(tmp_path / "page")])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["exact"] == [{"test": "equal.png", "train": "003.png", "folder": str(sides[1])}]
    assert {"distance"} < set(told["perceptual"][0])
    assert {"similarity"} < set(told["embedding"][0])
    page = Path(told["page"]).read_text()
    assert "mirrored.png" in page
    assert 'src="http' not in page
    assert str(sides[0].parent) not in page


def test_a_page_for_mailing_hides_names(sides: tuple[Path, Path], tmp_path: Path) -> None:
    arguments = ["leaks", *map(str, sides), "--out", str(tmp_path / "page"), "--names", "hashed"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    page = (tmp_path / "page" / "leaks.html").read_text()
    assert not [name for name in ("mirrored.png", "003.png", "equal.png") if name in page]
    assert "changed copies" in page


def test_two_test_folders_of_one_name_are_told_apart(sides: tuple[Path, Path], tmp_path: Path) -> None:
    for part, source in (("a", "003.png"), ("b", "005.png")):
        (tmp_path / part / "images").mkdir(parents=True)
        shutil.copy(sides[0] / source, tmp_path / part / "images" / "first.png")
    tests = [tmp_path / part / "images" for part in ("a", "b")]
    found, page = check_leaks(sides[0], tests, rate=0.001, near=24, out=tmp_path / "page")
    assert [(match.folder, match.test, match.train) for match in found.exact] == [
        (str(tests[0]), "first.png", "003.png"),
        (str(tests[1]), "first.png", "005.png"),
    ]
    assert len(found.leaked) == 2
    assert page is not None
    assert "a/images, b/images in train" in page.read_text()


def test_a_corpus_of_one_group_says_that_changed_copies_were_not_looked_for() -> None:
    rng = np.random.default_rng(3)
    images = [textured(rng) for _ in range(80)]
    prints = replace(
        describe_images([(str(number), image) for number, image in enumerate(images)], "slices"),
        groups=["volume:1"] * 80,
    )
    found = find_leaks(
        prints, describe_images([("mirrored", np.ascontiguousarray(images[5][:, ::-1]))], "test")
    )
    assert (found.threshold, found.embedding) == (None, ())
    assert found.reason == f"80 of 80 frames: {FEW}"
    assert found.to_json()["reason"] == found.reason
    assert FEW in in_words(found)[1]


@pytest.mark.parametrize(
    ("train", "test", "told"),
    [
        ("nowhere", "there", "no folder or file at"),
        ("there", "nowhere", "no folder or file at"),
        ("empty", "there", "is empty"),
    ],
)
def test_command_refuses_missing_and_empty_folders(
    train: str,
    test: str,
    told: str,
    sides: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    folders = {"nowhere": tmp_path / "nowhere", "empty": tmp_path / "empty", "there": sides[1]}
    monkeypatch.setattr(sys, "argv", ["optidel", "leaks", str(folders[train]), str(folders[test])])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert told in " ".join(capsys.readouterr().err.split())


def test_bad_options_are_refused(sides: tuple[Path, Path]) -> None:
    with pytest.raises(RecipeError, match="rate must be in"):
        check_leaks(sides[0], [sides[1]], rate=0, near=32, out=None)


@pytest.mark.data
@pytest.mark.skipif(not CBC.is_dir(), reason="the shared development images are not on this machine")
def test_the_sixty_planted_copies_of_cbc_are_found_and_no_others() -> None:
    train, *tests = (index(CBC / part) for part in ("Training", "Validation", "Testing"))
    prints = describe_corpus(train)
    planted, clean = (find_leaks(prints, test) for test in tests)
    assert len(planted.exact) == len({match.test for match in planted.exact}) == 60
    assert all(match.test == match.train for match in planted.exact)
    assert not planted.perceptual + planted.embedding + clean.exact + clean.perceptual + clean.embedding
