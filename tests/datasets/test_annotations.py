"""Class masks and split units, by each set's own annotation."""

from pathlib import Path

import numpy as np
import pytest
from fakes import FAKES, HEIGHT, WIDTH, region, save, write

from optidel.datasets import open_labelled
from optidel.datasets.annotations import foreground
from optidel.errors import InputError
from optidel.evaluation.tasks import load_task

SHAPE = (HEIGHT, WIDTH)


def labelled(tmp_path: Path, name: str):
    folder, names = FAKES[name]
    return open_labelled(write(tmp_path / folder, names), name)


@pytest.mark.parametrize(
    "name",
    [
        "cvc-clinicdb",
        "cvc-300",
        "cvc-colondb",
        "etis",
        "kvasir-seg",
        "kvasir-sessile",
        "kvasir-instrument",
        "polypgen",
        "hyperkvasir",
    ],
)
def test_binary_masks_are_background_and_one_class(name: str, tmp_path: Path) -> None:
    found = labelled(tmp_path, name)
    masked = [image for image in found.images if image.masks]
    assert masked
    for image in masked:
        mask = found.mask(image, SHAPE)
        assert mask.dtype == np.int32
        np.testing.assert_array_equal(mask, (region() > 0).astype(np.int32))
        assert (found.root / image.image).is_file()


def test_masks_are_cut_at_half_of_what_their_depth_holds() -> None:
    assert foreground(np.array([[0, 3, 127, 128, 251]])).tolist() == [[False, False, False, True, True]]
    assert foreground(np.array([[0, 1]])).tolist() == [[False, True]]
    assert foreground(np.array([[0, 20_000, 40_000]])).tolist() == [[False, False, True]]
    assert not foreground(np.zeros((2, 2), np.int32)).any(), "an empty mask is background"
    assert not foreground(np.array([[0, 4]])).any(), "JPEG noise in an empty mask is no polyp"


def test_polypgen_has_centres_sequences_and_frames_without_polyps(tmp_path: Path) -> None:
    found = labelled(tmp_path, "polypgen")
    units = {image.id.rsplit("/", 1)[1]: image.unit for image in found.images}
    assert units == {
        "326OLCV1_100H0006": "centre:C1",
        "C3_EndoCV2021_00489_": "centre:C3",
        "EndoCV2021_C6_0100001": "centre:C6",
        "EndoCV2021_seq2_1": "sequence:seq2",
        "12_endocv2021_C2_7": "centre:C2",
        "1_endocv2021_C4_3": "centre:C4",
    }
    assert not any("imagesAll" in image.id for image in found.images), "that folder repeats every image"
    (negative,) = [image for image in found.images if not image.masks]
    assert negative.id.startswith("sequenceData/negativeOnly/")
    assert not found.mask(negative, SHAPE).any()


def test_clinicdb_frames_of_one_sequence_are_one_unit(tmp_path: Path) -> None:
    units = {image.image: image.unit for image in labelled(tmp_path, "cvc-clinicdb").images}
    assert units == {
        "Original/1.tif": "sequence:1",
        "Original/25.tif": "sequence:1",
        "Original/26.tif": "sequence:2",
        "Original/612.tif": "sequence:29",
    }


def test_kvasir_instrument_keeps_its_official_split(tmp_path: Path) -> None:
    folder, names = FAKES["kvasir-instrument"]
    root = write(tmp_path / folder, names)
    stems = sorted(path.stem for path in (root / "images").iterdir())
    (root / "train.txt").write_text("\n".join(stems[:3]) + "\n")
    (root / "test.txt").write_text(f"{stems[3]}.jpg\n")
    assert [image.side for image in open_labelled(root).images] == ["train"] * 3 + ["test"]


def test_ead_masks_are_five_pages_with_the_small_artefact_on_top(tmp_path: Path) -> None:
    found = labelled(tmp_path, "ead2019")
    (image,) = found.images
    assert image.unit == "video:1772_A_M62"
    pages = np.zeros((5, HEIGHT, WIDTH), np.uint8)
    pages[0, 0:8] = 255  # instrument
    pages[1, 2:4] = 255  # specularity, on the instrument
    pages[2, 6:10] = 255  # artefact, half on the instrument
    save(found.root / image.masks[0], pages)
    layers = found.layers(image, SHAPE)
    assert layers.shape == (5, HEIGHT, WIDTH)
    assert found.dataset.classes == ("instrument", "artefact", "saturation", "bubbles", "specularity")
    for name, page in zip(("instrument", "specularity", "artefact"), pages, strict=False):
        np.testing.assert_array_equal(layers[found.dataset.classes.index(name)], page > 0)
    expected = np.repeat([1, 1, 5, 5, 1, 1, 2, 2, 2, 2, 0, 0], WIDTH).reshape(SHAPE)
    np.testing.assert_array_equal(found.mask(image, SHAPE), expected)
    save(found.root / image.masks[0], region())
    with pytest.raises(InputError, match=r"has 1 pages, EAD2019.* has 5 classes"):
        found.mask(image, SHAPE)


def test_edd_has_one_file_a_class_with_the_graver_on_top(tmp_path: Path) -> None:
    found = labelled(tmp_path, "edd2020")
    first, second = found.images
    assert (first.unit, second.unit) == ("series:ACB", "series:INR")
    save(found.root / "masks" / "EDD2020_ACB0001_BE.tif", region(0))
    save(found.root / "masks" / "EDD2020_ACB0001_suspicious.tif", region(3))
    np.testing.assert_array_equal(
        found.layers(first, SHAPE).any(axis=(1, 2)), [True, False, True, False, False]
    )
    expected = np.where(region(3) > 0, 3, np.where(region(0) > 0, 1, 0))
    np.testing.assert_array_equal(found.mask(first, SHAPE), expected)
    assert set(np.unique(found.mask(second, SHAPE))) == {0, 2}


@pytest.mark.parametrize("name", ["imageclefmed", "gastrovision", "kvasir-capsule"])
def test_what_has_no_masks_says_what_it_is_instead(name: str, tmp_path: Path) -> None:
    folder, names = FAKES[name]
    with pytest.raises(InputError, match=r"has no masks, so it is no segmentation task: .* pre-train"):
        open_labelled(write(tmp_path / folder, names), name)


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    found = labelled(tmp_path, "kvasir-seg")
    with pytest.raises(InputError, match="is 16 x 12 px, the image 20 x 10 px"):
        found.mask(found.images[0], (10, 20))


def test_images_without_a_mask_are_rejected_with_the_reason(tmp_path: Path) -> None:
    found = labelled(tmp_path, "kvasir-seg")
    lost = found.images[0]
    (found.root / lost.masks[0]).unlink()
    again = open_labelled(found.root)
    assert len(again.images) == len(found.images) - 1
    assert [(item.source, item.reason) for item in again.rejected] == [(lost.image, "has no mask")]


def test_a_split_by_the_manifest_keeps_sequences_whole(tmp_path: Path) -> None:
    root = write(
        tmp_path / "CVC-ClinicDB",
        [f"{kind}/{i}.png" for i in range(1, 127, 3) for kind in ("images", "masks")],
    )
    found = open_labelled(root, "cvc-clinicdb")
    found.manifest().write_csv(tmp_path / "groups.csv")
    unit = {image.id: image.unit for image in found.images}
    assert len(set(unit.values())) == 6
    for seed in range(5):
        task = load_task(root, 16, train=20, test=10, seed=seed, group=str(tmp_path / "groups.csv"))
        sides = {side: {unit[name] for name in task.ids[task.rows(side)]} for side in ("train", "test")}
        assert sides["train"]
        assert sides["test"]
        assert not sides["train"] & sides["test"], "no sequence stands on both sides"
