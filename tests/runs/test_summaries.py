import json
from collections.abc import Callable
from pathlib import Path

import pytest

from optidel.errors import StoreError
from optidel.runs.summaries import (
    EmbedSummary,
    IndexSummary,
    LeaksSummary,
    SelectionChange,
    SelectSummary,
    Summary,
    read_summary,
    write_summary,
)
from optidel.store import Artifact, Store, Workspace

RANDOM_5 = SelectSummary(method="random", budget=0.05, seed=0, unit="frame", items=40, kept=2)


def artifact_of(root: Path, write: Callable[[Workspace], None]) -> Artifact:
    return Store(root).build("step", write, version=1, config={})


def written(root: Path, record: Summary) -> Artifact:
    return artifact_of(root, lambda work: write_summary(work, record))


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    change = SelectionChange(added=3, removed=1, changed=0, earlier="select-ab", kept_earlier=2, still_kept=1)
    record = SelectSummary(
        method="meddel", budget=0.05, seed=3, unit="frame", items=40, kept=2, index="0f", since=change
    )
    assert read_summary(written(tmp_path / "run", record), SelectSummary) == record


def test_what_is_not_said_is_left_out_and_what_is_unknown_is_null(tmp_path: Path) -> None:
    select = written(tmp_path / "a", RANDOM_5)
    assert select.json("summary.json").keys() == {"method", "budget", "seed", "unit", "items", "kept"}
    embed = written(tmp_path / "b", EmbedSummary(copied_from=None, warmup=None))
    assert embed.json("summary.json")["copied_from"] is None


def test_keys_of_other_versions_are_ignored_and_absent_ones_get_their_default(tmp_path: Path) -> None:
    values = {"copied_from": None, "warmup": "warmup-1", "colour": "of a later version"}
    artifact = artifact_of(tmp_path / "run", lambda work: work.write_json("summary.json", values))
    assert read_summary(artifact, EmbedSummary) == EmbedSummary(copied_from=None, warmup="warmup-1")


def test_the_index_has_a_file_of_its_own(tmp_path: Path) -> None:
    record = IndexSummary(root="/i", scan="{}", files=2, frames=2, rejected=0, groups="0f", since=None)
    artifact = written(tmp_path / "run", record)
    assert json.loads((artifact.path / "index.json").read_text())["root"] == "/i"
    assert read_summary(artifact, IndexSummary) == record


@pytest.mark.parametrize("values", [{}, {"test": "many"}])
def test_a_damaged_summary_is_one_sentence_with_the_remedy(tmp_path: Path, values: dict[str, object]) -> None:
    artifact = artifact_of(tmp_path / "run", lambda work: work.write_json("summary.json", values))
    with pytest.raises(StoreError, match=r"test: .*delete the folder step-"):
        read_summary(artifact, LeaksSummary)
