"""Every set is recognised from its official folders; what is missing or wrong is said."""

from pathlib import Path

import pytest
from fakes import CUIDS, FAKES, picture, region, save, write

from optidel.datasets import DATASETS, check, recognise
from optidel.errors import InputError


def fake(tmp_path: Path, name: str) -> Path:
    folder, names = FAKES[name]
    return write(tmp_path / folder, names)


def kinds(folder: Path, name: str | None = None) -> set[str]:
    return {problem.kind for problem in check(folder, name).problems}


def test_there_are_three_sets_to_train_on_and_eleven_to_test_on() -> None:
    roles = [dataset.role for dataset in DATASETS.values()]
    assert (roles.count("pre-training"), roles.count("downstream")) == (3, 11)
    published = dict(zip(DATASETS, (dataset.images for dataset in DATASETS.values()), strict=True))
    assert published["gastrovision"] == 8000
    assert published["hyperkvasir"] == 110_079
    assert (DATASETS["hyperkvasir"].videos, DATASETS["kvasir-capsule"].videos) == (374, 117)
    assert [published[name] for name in ("cvc-clinicdb", "cvc-300", "cvc-colondb", "ead2019", "edd2020")] == [
        612,
        60,
        380,
        2991,
        380,
    ]
    assert [published[name] for name in ("etis", "imageclefmed", "kvasir-instrument", "kvasir-seg")] == [
        196,
        66_662,
        590,
        1000,
    ]
    assert (published["kvasir-sessile"], published["polypgen"]) == (196, 3762)


@pytest.mark.parametrize("dataset", list(DATASETS.values()), ids=list(DATASETS))
def test_every_entry_says_what_a_user_needs(dataset) -> None:
    assert dataset.task
    assert dataset.url.startswith("http")
    assert dataset.licence
    assert dataset.layouts
    assert dataset.sources
    assert dataset.traps
    assert set(dataset.unverified) <= {"images", "centres", "licence", "layouts", "unit"}
    assert set(dataset.contained_in) | set(dataset.may_share) <= set(DATASETS)
    assert sorted(dataset.channels or dataset.classes) == sorted(dataset.classes)


@pytest.mark.parametrize("name", FAKES)
def test_each_official_layout_is_recognised_from_its_files(name: str, tmp_path: Path) -> None:
    folder = fake(tmp_path, name)
    assert recognise(folder).dataset.name == name
    result = check(folder)
    assert result.root == folder
    assert {problem.kind for problem in result.problems} <= {"count", "numbers", "pair"}, (
        "only the published numbers are not met"
    )
    assert "pair" not in {problem.kind for problem in result.problems} or name == "cvc-colondb"


@pytest.mark.parametrize("name", ["kvasir-seg", "etis", "polypgen"])
def test_a_set_is_found_below_the_folder_it_was_unpacked_into(name: str, tmp_path: Path) -> None:
    folder, names = FAKES[name]
    write(tmp_path / "downloads" / folder / folder, names)
    found = recognise(tmp_path / "downloads")
    assert (found.dataset.name, found.root) == (name, tmp_path / "downloads" / folder / folder)


def test_a_whole_set_has_no_problem_and_one_lost_mask_is_named(tmp_path: Path) -> None:
    write(tmp_path / "x", [f"{kind}/{i}.png" for i in range(1, 61) for kind in ("images", "masks")])
    result = check(tmp_path / "x")
    assert (result.dataset.name, result.whole) == ("cvc-300", True), (
        "60 numbered pairs, whatever the folder is called"
    )
    assert (result.parts[0].found, result.parts[0].pairs) == (60, 60)
    (tmp_path / "x" / "masks" / "7.png").unlink()
    (problem,) = check(tmp_path / "x").problems
    assert (problem.kind, problem.message) == ("pair", "1 image without a mask: images/7.png")


def test_the_sequences_of_clinicdb_are_the_published_ones(tmp_path: Path) -> None:
    sequences = DATASETS["cvc-clinicdb"].ranges
    assert len(sequences) == 29
    assert [first for first, _ in sequences] == [
        1,
        *(last + 1 for _, last in sequences[:-1]),
    ]
    assert sequences[-1][1] == 612
    folder = write(tmp_path / "CVC-ClinicDB", [f"PNG/{kind}/1.png" for kind in ("Original", "Ground Truth")])
    for kind in ("Original", "Ground Truth"):
        content = (folder / "PNG" / kind / "1.png").read_bytes()
        for i in range(2, 613):
            (folder / "PNG" / kind / f"{i}.png").write_bytes(content)
    result = check(tmp_path)
    assert result.whole
    assert result.units == 29
    for kind in ("Original", "Ground Truth"):
        (tmp_path / "CVC-ClinicDB" / "PNG" / kind / "203.png").unlink()
    problems = {problem.kind: problem.message for problem in check(tmp_path).problems}
    assert problems["numbers"] == "1 sequences have gaps: sequence 10 lacks 203"
    assert "611 images, 612 are published" in problems["count"]


def test_wrong_sizes_broken_files_orphans_and_boxes_are_told_apart(tmp_path: Path) -> None:
    seg = fake(tmp_path, "kvasir-seg")
    save(seg / "masks" / f"{CUIDS[0]}.jpg", region()[:6])
    (seg / "masks" / f"{CUIDS[1]}.jpg").write_bytes(b"")
    (seg / "images" / f"{CUIDS[2]}.jpg").unlink()
    problems = {problem.kind: problem.message for problem in check(seg).problems}
    assert "(16 x 6 px, its image 16 x 12 px)" in problems["size"]
    assert f"{CUIDS[1]}.jpg is no image" in problems["unreadable"]
    assert problems["pair"] == f"1 mask without an image: masks/{CUIDS[2]}.jpg"
    edd = fake(tmp_path, "edd2020")
    assert kinds(edd) == {"count"}
    (edd / "bbox" / "EDD2020_ACB0001.txt").write_text("10 20 30 40 BE\n1 2 3 4 ulcer\n")
    (edd / "bbox" / "EDD2020_INR0002.txt").unlink()
    problems = {problem.kind: problem.message for problem in check(edd).problems}
    assert "EDD2020_ACB0001.txt, line 2: '1 2 3 4 ulcer' is no box" in problems["boxes"]
    assert "1 image without a box file" in problems["pair"]
    ead = fake(tmp_path, "ead2019")
    (ead / "trainingData_detection" / "00003.txt").write_text("5 0.111 0.165 0.066 0.056\n")
    assert "boxes" not in kinds(ead)
    (ead / "trainingData_detection" / "00003.txt").write_text("7 0.1 0.1 0.05 0.05\n")
    assert "boxes" in kinds(ead)


def test_the_official_split_is_checked(tmp_path: Path) -> None:
    folder = fake(tmp_path, "kvasir-instrument")
    (folder / "train.txt").write_text("\n".join(CUIDS[:3]))
    (folder / "test.txt").write_text(f"{CUIDS[3]}\n{CUIDS[0]}\ngone\n")
    messages = [problem.message for problem in check(folder).problems if problem.kind == "split"]
    assert messages == [
        "test.txt lists 1 image that is not there: gone",
        f"1 image stands on both sides of the official split: {CUIDS[0]}",
    ]
    (folder / "test.txt").unlink()
    assert "test.txt, the list of the official test side, is missing" in [
        problem.message for problem in check(folder).problems
    ]


def test_a_missing_part_is_named_with_its_published_number(tmp_path: Path) -> None:
    folder, names = FAKES["hyperkvasir"]
    write(tmp_path / folder, [name for name in names if not name.startswith("unlabeled")])
    missing = [problem.message for problem in check(tmp_path / folder).problems if problem.kind == "missing"]
    assert missing == [
        "unlabelled stills (unlabeled-images/images/{id}.{ending}): nothing there, 99,417 are published"
    ]


def test_what_fits_no_set_or_two_is_refused_with_the_remedy(tmp_path: Path) -> None:
    for i in range(3):
        save(tmp_path / "mine" / "images" / f"case{i}.png", picture(i))
    with pytest.raises(InputError, match=r"does not look like any known set.*--name"):
        recognise(tmp_path / "mine")
    with pytest.raises(InputError, match="does not look like the set etis"):
        recognise(tmp_path / "mine", "etis")
    with pytest.raises(InputError, match="did you mean 'polypgen'"):
        recognise(tmp_path / "mine", "polypgenn")
    with pytest.raises(InputError, match="no folder at"):
        recognise(tmp_path / "gone")


def test_a_named_set_is_checked_even_where_the_folder_says_nothing(tmp_path: Path) -> None:
    write(tmp_path / "download", [f"{kind}/{stem}.jpg" for stem in CUIDS[:3] for kind in ("images", "masks")])
    with pytest.raises(InputError, match="any known set"):
        check(tmp_path / "download")
    (problem,) = check(tmp_path / "download", "kvasir-sessile").problems
    assert problem.message == "stills (images/{id}.{ending}): 3 images, 196 are published"
