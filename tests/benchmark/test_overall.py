"""The mean over tasks against plain arithmetic."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from optidel.benchmark.overall import overall
from optidel.benchmark.settings import Choice, Setting
from optidel.outcomes import MASKS, PRECISION

LEVEL = {("scratch", 0.0): 0.30, ("full", 1.0): 0.50, ("random", 0.1): 0.40, ("meddel", 0.1): 0.45}


def setting(task: str, levels: dict[Choice, float], seeds: int = 4, shift: float = 0.0) -> Setting:
    rng = np.random.default_rng(len(task))
    iou: dict[Choice, dict[int, np.ndarray]] = {}
    for choice, level in levels.items():
        iou[choice] = {seed: level + shift + rng.normal(0, 0.005, 60) for seed in range(seeds)}
    return Setting(
        task=task, protocol="ridge", objective="mae", compute="steps", outcomes=MASKS, scores=iou, second=iou
    )


def test_it_is_the_mean_of_the_tasks_paired_by_seed() -> None:
    one, two = setting("one", LEVEL), setting("twofold", LEVEL, shift=0.1)
    [mean] = overall([one, two])
    assert mean.tasks == ("one", "twofold")
    assert mean.left_out == ()
    row = next(row for row in mean.rows if row.method == "meddel")

    def of(choice: Choice) -> np.ndarray:
        return (one.matrix(choice).mean(axis=1) + two.matrix(choice).mean(axis=1)) / 2

    gains = of(("meddel", 0.1)) - of(("random", 0.1))
    distances = of(("full", 1.0)) - of(("random", 0.1))
    assert row.mean == pytest.approx(of(("meddel", 0.1)).mean())
    assert row.gain == pytest.approx(gains.mean())
    assert row.gain_interval is not None
    half = t.ppf(0.975, 3) * gains.std(ddof=1) / 2
    assert (row.gain_interval.high - row.gain_interval.low) / 2 == pytest.approx(half)
    assert row.closed == pytest.approx(gains.mean() / distances.mean())
    assert row.closed_interval is not None
    assert row.closed_interval.low < row.closed < row.closed_interval.high
    random = next(row for row in mean.rows if row.method == "random")
    assert random.gain is None
    assert mean.texts[-1][:3] == ("meddel", "10 %", "4")


def test_each_outcome_has_its_own_mean() -> None:
    usual = [setting("one", LEVEL), setting("twofold", LEVEL)]
    precise = [replace(one, outcomes=PRECISION) for one in usual]
    means = overall([*usual, *precise])
    assert {mean.label: mean.name for mean in means} == {
        "mIoU": "ridge, mae, equal steps",
        "average precision": "ridge, mae, equal steps, by average precision",
    }


def test_a_task_that_cannot_rank_stays_out_and_one_task_is_no_mean() -> None:
    flat = dict.fromkeys(LEVEL, 0.4)
    [mean] = overall([setting("one", LEVEL), setting("flat", flat), setting("twofold", LEVEL)])
    assert mean.left_out == ("flat",)
    assert "flat cannot rank methods and stays out" in mean.sentence
    assert overall([setting("one", LEVEL), setting("flat", flat)]) == []


def test_seeds_that_a_task_lacks_do_not_count_and_few_have_no_interval() -> None:
    two = setting("twofold", LEVEL)
    two.scores["meddel", 0.1] = {seed: two.scores["meddel", 0.1][seed] for seed in (1, 3)}
    [mean] = overall([setting("one", LEVEL), two])
    row = next(row for row in mean.rows if row.method == "meddel")
    assert row.seeds == 2
    assert row.gain is not None
    assert row.gain_interval is None
