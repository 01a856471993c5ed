from dataclasses import replace
from pathlib import Path

import pytest

from optidel.report.costs import break_even, step_costs
from optidel.report.text import percent, signed
from optidel.report.verdict import verdict
from optidel.runs.collect import MethodScore, Run, read_run
from optidel.words import counted, plural


@pytest.fixture(scope="module")
def opened(run: Path) -> Run:
    return read_run(run)


def with_scores(run: Run, method: str, **changes: float | None) -> Run:
    changes = {"seeds": 3, **changes}  # as many as an interval needs
    scores = [replace(score, **changes) if score.method == method else score for score in run.scores]
    return replace(run, scores=tuple(scores))


def gate(run: Run, low: float, mean: float, high: float) -> Run:
    return with_scores(
        run, "full", difference_scratch=mean, difference_scratch_low=low, difference_scratch_high=high
    )


@pytest.mark.parametrize(
    ("interval", "expected", "words"),
    [
        (
            (0.01, 0.02, 0.03),
            "passed",
            "beats training from scratch by +0.020 (95 % interval +0.010 to +0.030)",
        ),
        ((-0.01, 0.02, 0.03), "not passed", "cannot be told from training from scratch"),
        ((-0.03, -0.02, -0.01), "not passed", "is worse than training from scratch by −0.020"),
    ],
)
def test_gate_needs_an_interval_above_zero(
    opened: Run, interval: tuple[float, float, float], expected: str, words: str
) -> None:
    found = verdict(gate(opened, *interval))
    assert found.gate == expected
    assert all(words in sentence for sentence in found.sentences[:2])


def test_gate_of_one_protocol_only_is_passed_in_part(opened: Run) -> None:
    def spoil(score: MethodScore) -> MethodScore:
        worse = score.method == "full" and score.protocol == "probe"
        return replace(score, difference_scratch_low=-0.1) if worse else score

    run = gate(opened, 0.01, 0.02, 0.03)
    assert verdict(replace(run, scores=tuple(map(spoil, run.scores)))).gate == "passed in part"


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((0.01, 0.02, 0.03), "OptiDEL at 10 % beats a random choice by +0.020"),
        ((-0.01, 0.02, 0.03), "OptiDEL at 10 % cannot be told from a random choice, +0.020"),
        ((-0.03, -0.02, -0.01), "OptiDEL at 10 % is worse than a random choice by −0.020"),
        ((None, None, None), "no random choice of the same budget"),
    ],
)
def test_optidel_against_random_follows_the_interval(
    opened: Run, interval: tuple[float | None, ...], words: str
) -> None:
    low, mean, high = interval
    run = with_scores(opened, "optidel", difference=mean, difference_low=low, difference_high=high)
    assert all(words in sentence for sentence in verdict(run).sentences)


def test_one_seed_claims_nothing(opened: Run) -> None:
    """Also where a table of the first version holds intervals."""
    run = with_scores(opened, "optidel", seeds=1, difference=0.02, difference_low=0.01, difference_high=0.03)
    run = with_scores(
        run,
        "full",
        seeds=1,
        difference_scratch=0.1,
        difference_scratch_low=0.09,
        difference_scratch_high=0.11,
    )
    said = verdict(run)
    assert said.gate == "open"
    words = "OptiDEL at 10 % minus a random choice is +0.020 (one seed: no interval)"
    assert all(words in sentence for sentence in said.sentences[:2])
    assert "is +0.100 (one seed: no interval) mIoU" in said.sentences[0]


def test_missing_rows_leave_the_question_open(opened: Run) -> None:
    run = replace(opened, scores=tuple(score for score in opened.scores if score.method == "random"))
    assert verdict(run).gate == "open"
    assert "is open" in verdict(run).sentences[0]
    assert "OptiDEL was not run" in verdict(run).sentences[0]


def test_one_seed_is_said_aloud(opened: Run) -> None:
    run = replace(opened, scores=tuple(replace(score, seeds=1) for score in opened.scores))
    assert "one seed" in verdict(run).sentences[-1]
    assert "one seed" not in verdict(opened).sentences[-1]


def test_break_even_by_hand(opened: Run) -> None:
    rows = {row.method: row for row in break_even(opened)}
    saved = 80.5 * (1 - 4 / 40)
    assert set(rows) == {"random", "meddel", "optidel"}
    assert rows["random"].preparing == 0
    assert rows["random"].selecting == 0.5
    assert rows["meddel"].preparing == pytest.approx(61 + 9)
    assert rows["optidel"].preparing == pytest.approx(61 + 9 + 123.4)
    assert rows["optidel"].selecting == pytest.approx(0.5 + 1.5)
    assert all(row.saved == pytest.approx(saved) for row in rows.values())
    assert rows["optidel"].multiple == pytest.approx((61 + 9 + 123.4 + 2) / saved)
    assert rows["optidel"].net == pytest.approx(saved - 61 - 9 - 123.4 - 2)


def test_break_even_needs_full_training(opened: Run) -> None:
    assert (
        break_even(replace(opened, trials=tuple(trial for trial in opened.trials if trial.method != "full")))
        == ()
    )


def test_costs_are_in_the_order_of_the_steps_and_sum_to_one(opened: Run) -> None:
    costs = step_costs(opened)
    assert [cost.step for cost in costs][:5] == ["index", "pixels", "warmup", "embed", "patches"]
    assert sum(cost.share for cost in costs) == pytest.approx(1)
    assert next(cost.seconds for cost in costs if cost.step == "pretrain") == 4 * (80 + 81)


def test_numbers_as_people_write_them() -> None:
    assert signed(-0.0123) == "−0.012"
    assert signed(0.5) == "+0.500"
    assert percent(0.05) == "5 %"
    assert percent(0.125) == "12.5 %"
    assert plural("key patch") == "key patches"
    assert plural("frame") == "frames"
    assert counted(1, "near-copy") == "1 near-copy"
    assert counted(2048, "near-copy") == "2,048 near-copies"
    assert counted(1, "file", ("is", "are")) == "1 file is"
    assert counted(0, "file", ("is", "are")) == "0 files are"
