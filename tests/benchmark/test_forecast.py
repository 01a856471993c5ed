from pathlib import Path

import pytest
import torch
from fake_bench import EFFECTS, fake_bench
from nano_bench import values
from torch.utils.flop_counter import FlopCounterMode

from optidel.benchmark import make_bench, run_bench
from optidel.benchmark.forecast import RATE, forecast, step_seconds
from optidel.models.encoders import build_encoder
from optidel.models.presets import PRESETS
from optidel.training.precision import device


def test_before_the_first_run_it_counts_and_says_where_the_times_are_from(
    make_corpus: object, labelled: Path, tmp_path: Path
) -> None:
    images = make_corpus(16)  # type: ignore[operator]
    bench = make_bench(
        values(
            images,
            labelled,
            methods=["full", "random", "meddel", "optidel-paper"],
            protocols=["fine-tune", "probe"],
        )
    )
    found = forecast(bench, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    counts = {item.what: item.total for item in found.items}
    assert counts["select (nested methods rank once)"] == 2 * (
        1 + 1 + 2 + 2
    )  # full and random rank once, the others for each budget
    assert counts["pretrain, mae, equal steps"] == 2 * (1 + 3 * 2)
    assert counts["evaluate, labelled, probe"] == 2 * (2 + 3 * 2)
    assert (counts["embed"], counts["warmup"], counts["patches"]) == (1, 1, 1)
    assert not any(item.measured for item in found.items)
    assert found.seconds > 0
    assert [name for name, _ in found.blocks] == [
        f"seed {seed}, {budget}" for seed in (0, 1) for budget in ("25 %", "12.5 %")
    ]
    assert [seconds for _, seconds in found.blocks] == sorted(seconds for _, seconds in found.blocks)
    assert found.blocks[-1][1] == pytest.approx(found.seconds)
    assert not any(done for _, done in found.cells)


def test_after_a_part_it_knows_what_is_done_and_what_it_cost(
    nano: object, make_corpus: object, labelled: Path, tmp_path: Path
) -> None:
    images = make_corpus(16)  # type: ignore[operator]
    run_bench(
        make_bench(values(images, labelled, methods=["full", "random"], budgets=[0.25], seeds=[0])),
        tmp_path / "out",
    )
    bench = make_bench(values(images, labelled, methods=["full", "random"], budgets=[0.25], seeds=[0, 1]))
    found = forecast(bench, tmp_path / "out")
    work = {item.what: item for item in found.items}
    assert [done for _, done in found.cells] == [True] * 3 + [False] * 3
    assert (work["pretrain, mae, equal steps"].done, work["pretrain, mae, equal steps"].measured) == (2, True)
    assert work["evaluate, labelled, probe"].measured
    assert work["index"].left == 0
    halves = [forecast(bench, tmp_path / "out", shard=(number, 2)) for number in range(2)]
    assert sum(len(half.cells) for half in halves) == 6


def test_key_patches_of_other_options_are_still_to_be_cut(
    nano: object, make_corpus: object, labelled: Path, tmp_path: Path
) -> None:
    images = make_corpus(16)  # type: ignore[operator]
    only = {"methods": ["optidel-paper"], "budgets": [0.25], "seeds": [0], "optidel": {"grid": 1}}
    run_bench(make_bench(values(images, labelled, **only)), tmp_path / "out")
    variants = {
        "unfiltered": {"method": "optidel-paper", "patches": {"filter": False}},
        "by-pvi": {"method": "optidel-paper", "optidel": {"scorer": "pvi"}},
    }
    other = values(images, labelled, **only | {"methods": ["optidel-paper", *variants]}, variants=variants)
    [patches] = [
        item for item in forecast(make_bench(other), tmp_path / "out").items if item.what == "patches"
    ]
    assert (patches.total, patches.done) == (2, 1)


@pytest.mark.parametrize("seeds", [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]])
def test_a_pilot_says_what_can_be_detected(tmp_path: Path, seeds: list[int]) -> None:
    fake_bench(tmp_path / "pilot", EFFECTS, seeds=[0, 1, 2])
    methods = ["full", "random", "meddel", "optidel"]
    bench = make_bench({"images": "IMAGES", "labelled": "DIR", "seeds": seeds, "methods": methods})
    [sentence] = forecast(bench, tmp_path / "out", pilot=tmp_path / "pilot").detectable
    assert (
        "On 40 test images a true difference is detected with 80 % power: "
        f"with {len(seeds)} seeds and 2 methods compared to" in sentence
    )
    written = {path.name for path in (tmp_path / "pilot").iterdir()}
    assert not {"results.parquet", "scores.parquet", "results.json"} & written  # who looks writes nothing
    assert "not known" in forecast(bench, tmp_path / "out").detectable[0]


@pytest.mark.parametrize("preset", ["base", "large", "huge"])
def test_the_rule_of_thumb_counts_what_torch_counts(preset: str) -> None:
    batch, size = 2, PRESETS[preset].size
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        build_encoder(PRESETS[preset], torch.Generator())(torch.empty(batch, 3, size, size))
    counted = 3 * counter.get_total_flops()  # backward twice as many
    ruled = step_seconds(preset, batch) * RATE[device().type]
    # The rule leaves out attention and the projection of the patches.
    assert ruled == pytest.approx(counted, rel=0.1)
