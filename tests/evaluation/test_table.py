"""The columns that run and bench share, against the functions they are made of and a loop."""

import math

import numpy as np
import polars as pl
import pytest

from optidel.evaluation.claims import Difference
from optidel.evaluation.intervals import Interval, mean_interval
from optidel.evaluation.metrics import normdel
from optidel.evaluation.table import difference_columns, image_means, score_columns
from optidel.outcomes import CLASSES, MASKS


def test_images_are_means_over_the_classes_that_they_have() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for name in ("b", "a", "c"):
        for number in (1, 2, 3):
            absent = rng.random() < 0.4
            iou, dice = rng.random(2)
            rows.append((name, number, math.nan if absent else iou, math.nan if absent else dice))
    table = image_means(pl.DataFrame(rows, schema=["id", "class", "iou", "dice"], orient="row"))
    assert table["id"].to_list() == ["a", "b", "c"]
    for name, iou, dice in table.iter_rows():
        present = [row for row in rows if row[0] == name and not math.isnan(row[2])]
        expected = [
            sum(row[column] for row in present) / len(present) if present else None for column in (2, 3)
        ]
        assert [iou, dice] == pytest.approx(expected)


def test_average_precision_stands_beside_the_overlap_where_a_protocol_has_it() -> None:
    rows = [("a", 1, 0.5, 0.6, 0.7), ("a", 2, 0.1, 0.2, 0.9), ("b", 1, 0.0, 0.0, math.nan)]
    table = image_means(pl.DataFrame(rows, schema=["id", "class", "iou", "dice", "ap"], orient="row"))
    assert table.columns == ["id", "iou", "dice", "ap"]
    assert table["ap"].to_list() == [pytest.approx(0.8), None]


def test_scores_are_means_with_intervals_of_their_own() -> None:
    rng = np.random.default_rng(1)
    iou, dice = rng.random((3, 20)), rng.random((3, 20))
    columns = score_columns(MASKS, (iou, dice), 0.05)
    assert list(columns) == ["miou", "miou_low", "miou_high", "dice", "dice_low", "dice_high", "normdel"]
    for name, scores in (("miou", iou), ("dice", dice)):
        interval = mean_interval(scores, np.random.default_rng(0))
        assert (columns[name], columns[f"{name}_low"]) == (interval.mean, interval.low)
    assert columns["normdel"] == normdel(columns["miou"], 0.05)
    assert score_columns(MASKS, (iou, dice), None)["normdel"] is None


def test_what_is_scored_gives_its_names_and_only_masks_have_normdel() -> None:
    rng = np.random.default_rng(2)
    area, balanced = rng.random((3, 20)), rng.random((3, 20))
    columns = score_columns(CLASSES, (area, balanced), 0.05)
    assert columns["auroc"] == pytest.approx(area.mean())
    assert columns["balanced"] == pytest.approx(balanced.mean())
    assert columns["normdel"] is None
    table = image_means(pl.DataFrame({"id": ["b", "a"], "auroc": [0.1, 1.2], "balanced": [0.3, 0.4]}))
    assert table.rows() == [("a", 1.2, 0.4), ("b", 0.1, 0.3)]


def test_a_difference_without_data_is_a_number_alone() -> None:
    interval = Interval(mean=0.1, low=0.05, high=0.2, level=0.95)
    both = difference_columns("d", Difference(mean=0.1, interval=interval, lack=""))
    assert both == {"d": 0.1, "d_low": 0.05, "d_high": 0.2}
    alone = difference_columns("d", Difference(mean=0.1, interval=None, lack="one seed: no interval"))
    assert alone == {"d": 0.1, "d_low": None, "d_high": None}
    assert difference_columns("d", None) == {"d": None, "d_low": None, "d_high": None}
