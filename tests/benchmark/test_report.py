import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fake_bench import EFFECTS, fake_bench
from scipy import stats

from optidel.benchmark.entropy import entropies
from optidel.benchmark.figures import pareto_front
from optidel.benchmark.gate import can_rank, gate, gate_sentence, room, room_sentences
from optidel.benchmark.power import detectable_sentence, entropy_detectable_sentence, entropy_spread
from optidel.benchmark.report import write_bench_report
from optidel.benchmark.settings import precision_settings, settings
from optidel.benchmark.statistics import comparison_rows, concordance, method_rows, rank_rows
from optidel.benchmark.tables import open_bench
from optidel.errors import InputError


def test_the_report_says_what_is_true_and_holds_everything(tmp_path: Path) -> None:
    fake_bench(tmp_path / "out", noise=0.001)
    page = write_bench_report(tmp_path / "out")
    text = page.read_text()
    assert "Gate passed" in text
    assert not re.search(r'(src|href)="(?!#|data:)', text)
    assert "http" not in text.replace("http://www.w3.org", "")
    tables = (page.parent / "tables.md").read_text()
    assert "At 5\u00a0%, different from random (Holm p &lt; 0.05" in text
    assert re.search(r"At 5 %, different from random .*: meddel \+0\.03.*k-center −0\.03", tables)
    assert "moderate" not in re.search(r"At 5 %, different from random .*", tables)[0]  # type: ignore[index]
    assert tables.count("\n| ") == 1 + 2 + 4 * 4
    assert "<h1>5 methods, 4 budgets, 3 seeds</h1>" in text
    assert "<0.001" in tables
    latex = (page.parent / "tables.tex").read_text()
    assert latex.count(r"\\") == 1 + 2 + 4 * 4
    assert latex.count("{") == latex.count("}")
    pictures = {path.name for path in (page.parent / "figures").iterdir()}
    names = (
        "miou",
        "normdel",
        "pareto-images",
        "pareto-seconds",
        "difference-random",
        "difference-full",
        "difference-rivals",
        "ranks-5",
    )
    assert {f"polyps-probe-mae-steps-{name}.svg" for name in names} <= pictures
    compared = pl.read_parquet(page.parent / "compared.parquet")
    assert {"task", "method", "reference", "p_holm", "joint_low"} <= set(compared.columns)


def test_average_precision_ranks_the_same_trials_once_more(tmp_path: Path) -> None:
    fake_bench(tmp_path / "out", noise=0.001, precise=True, h=dict.fromkeys(EFFECTS, 0.01))
    tables = open_bench(tmp_path / "out")
    [usual], [precise] = settings(tables), precision_settings(tables)
    assert usual.images == 40
    assert precise.images == 39  # one image has no foreground to be found
    choice = "meddel", 0.05
    assert precise.matrix(choice) == pytest.approx(0.4 + 2 * (usual.matrix(choice)[:, 1:] - 0.4), abs=1e-6)

    text = (write_bench_report(tmp_path / "out").parent / "tables.md").read_text()
    first, second = text.split("## polyps, probe, mae, equal steps, by average precision")
    assert "| method | budget | seeds | images | average precision | mIoU |" in second
    assert "Gate passed" in second
    assert "held-out H" in first
    assert "held-out H" not in second  # it is of the encoders, whatever they are ranked by
    compared = pl.read_parquet(tmp_path / "out" / "report" / "compared.parquet")
    of_meddel = compared.filter(
        (pl.col("method") == "meddel") & (pl.col("budget") == 0.05) & (pl.col("reference") == "random")
    )
    assert of_meddel["outcome"].to_list() == ["miou", "ap"]


def test_without_average_precision_nothing_is_ranked_by_it(tmp_path: Path) -> None:
    fake_bench(tmp_path / "out")
    assert precision_settings(open_bench(tmp_path / "out")) == []


def test_break_even_is_what_selecting_costs_over_what_training_on_less_saves(tmp_path: Path) -> None:
    fake_bench(tmp_path / "out", budgets=[0.05, 0.5])
    tables = open_bench(tmp_path / "out")
    [setting] = settings(tables)
    found = {
        (row["method"], row["budget"]): row["break_even"]
        for row in method_rows(tables, setting).iter_rows(named=True)
    }
    # 10 s of selecting each, 100 s of training on all.
    assert found["meddel", 0.05] == pytest.approx(10 / 95)
    assert found["meddel", 0.5] == pytest.approx(10 / 50)
    assert found["full", 1.0] is None
    assert found["scratch", 0.0] is None


def test_differences_are_paired_and_rivals_are_the_others(tmp_path: Path) -> None:
    bench = fake_bench(tmp_path / "out")
    [setting] = settings(open_bench(tmp_path / "out"))
    rows = comparison_rows(bench, setting).filter(pl.col("budget") == 0.05)
    found = {(row["method"], row["reference"]): row["difference"] for row in rows.iter_rows(named=True)}
    mean = {
        method: setting.matrix((method, 0.05)).mean()
        for method in EFFECTS
        if method not in ("scratch", "full")
    }
    assert found["meddel", "random"] == pytest.approx(mean["meddel"] - mean["random"], abs=1e-6)
    assert found["meddel", "rivals"] == pytest.approx(
        mean["meddel"] - (mean["k-center"] + mean["moderate"]) / 2, abs=1e-6
    )
    assert found["random", "full"] == pytest.approx(
        mean["random"] - setting.matrix(("full", 1.0)).mean(), abs=1e-6
    )
    assert ("random", "random") not in found
    assert (rows["p_holm"] >= rows["p"]).all()
    assert (rows["joint_low"] <= rows["difference_low"]).all()


def test_optidel_and_its_variants_are_set_against_the_mean_of_the_others(tmp_path: Path) -> None:
    variants = {"by-pvi": {"method": "optidel-paper", "optidel": {"scorer": "pvi"}}}
    effects = EFFECTS | {"optidel-paper": 0.05, "by-pvi": 0.02}
    bench = fake_bench(tmp_path / "out", effects, noise=0.001, variants=variants, budgets=[0.05])
    [setting] = settings(open_bench(tmp_path / "out"))
    write_bench_report(tmp_path / "out")
    [sentence] = re.findall(
        r"At 5 %, against the mean of the other selection methods: (.*)\.",
        (tmp_path / "out" / "report" / "tables.md").read_text(),
    )
    found = dict(re.findall(r"(\S+) ([+−]0\.\d+) \(", sentence))
    mean = {
        method: setting.matrix((method, 0.05)).mean()
        for method in effects
        if method not in ("scratch", "full")
    }
    others = np.mean([mean[method] for method in ("k-center", "moderate", "meddel")])
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        {name: mean[name] - others for name in ("optidel-paper", "by-pvi")}, abs=6e-4
    )
    rows = comparison_rows(bench, setting).filter(pl.col("reference") == "base")
    assert rows["method"].to_list() == ["by-pvi"]
    assert rows["difference"][0] == pytest.approx(mean["by-pvi"] - mean["optidel-paper"], abs=1e-6)
    assert (
        "At 5 %, against the method that it varies: by-pvi −0.0"
        in (tmp_path / "out" / "report" / "tables.md").read_text()
    )


def test_where_full_does_not_help_nothing_is_ranked(tmp_path: Path) -> None:
    bench = fake_bench(tmp_path / "out", EFFECTS | {"scratch": 0.0})
    [setting] = settings(open_bench(tmp_path / "out"))
    found = gate(setting)
    assert found is not None
    assert found.interval is not None
    assert found.interval.low <= 0
    assert "**This setting cannot rank methods**" in gate_sentence(setting)
    assert (
        "<strong>This setting cannot rank methods</strong>"
        in write_bench_report(tmp_path / "out").read_text()
    )
    told = (
        r"with 3 seeds and 3 methods compared to random \(at 5 %, 10 %, 25 %, 50 %\), "
        r"of \d+\.\d mIoU points \(pilot"
    )
    assert re.search(told, detectable_sentence(bench, setting))


def test_what_can_be_detected_is_that_of_the_cells_that_are_planned(tmp_path: Path) -> None:
    variants = {"by-pvi": {"method": "optidel-paper", "optidel": {"scorer": "pvi"}}}
    also = [{"methods": ["random", "k-center", "by-pvi"], "budgets": [0.05], "seeds": [0, 1]}]
    bench = fake_bench(
        tmp_path / "out",
        EFFECTS | {"by-pvi": 0.0},
        methods=[*EFFECTS][1:],
        variants=variants,
        also=also,
        budgets=[0.05, 0.1],
    )
    [setting] = settings(open_bench(tmp_path / "out"))
    sentence = detectable_sentence(bench, setting)
    found = re.findall(
        r"with (\d) seeds and (\d) methods compared to random \(at (\S+ %)\), of (\d+\.\d)", sentence
    )
    assert [plan[:3] for plan in found] == [("3", "4", "5 %"), ("3", "3", "10 %"), ("2", "4", "5 %")]
    assert (
        float(found[2][3]) > float(found[0][3]) > float(found[1][3])
    )  # fewer seeds and more methods see less


def test_what_of_h_can_be_detected_follows_from_the_seeds_alone(tmp_path: Path) -> None:
    bench = fake_bench(tmp_path / "out", h={"random": 0.1, "optidel": 0.05})
    [setting] = settings(open_bench(tmp_path / "out"))
    measured = {
        ("full", 1.0): {0: 1.0, 1: 1.0},
        ("random", 0.05): {0: 1.2, 1: 1.3, 2: 1.4},
        ("optidel", 0.05): {0: 1.1, 1: 1.25, 2: 1.3, 3: 9.0},  # random has no fourth seed
    }
    spread = entropy_spread(measured)
    assert spread is not None
    assert spread.seed == pytest.approx(np.var([-0.1, -0.05, -0.1], ddof=1))

    # A t test of three differences at 1 - .05 / 3, for three methods are compared: by simulation.
    sentence = entropy_detectable_sentence(bench, setting, measured)
    assert sentence is not None
    found = re.search(r"3 seeds and 3 methods compared to random \(at .*\), of (\d\.\d+) nats", sentence)
    assert found
    rng = np.random.default_rng(0)
    drawn = float(found[1]) + rng.normal(0, spread.seed**0.5, (20_000, 3))
    p = stats.ttest_1samp(drawn, 0, axis=1).pvalue
    assert np.mean((p < 0.05 / 3) & (drawn.mean(axis=1) > 0)) == pytest.approx(0.8, abs=0.01)

    assert entropy_detectable_sentence(bench, setting, {("random", 0.05): {0: 1.2, 1: 1.3}}) is None
    assert "In held-out H a true difference is detected" in write_bench_report(tmp_path / "out").read_text()


def test_cells_tested_on_other_images_are_not_compared(tmp_path: Path) -> None:
    fake_bench(tmp_path / "out")
    path = next((tmp_path / "out").glob("evaluate-*7/images.parquet"))
    table = pl.read_parquet(path)
    table.with_columns(id=pl.lit("other-") + pl.col("id")).write_parquet(path)
    with pytest.raises(InputError, match="was tested on other images than the cells before it"):
        write_bench_report(tmp_path / "out")


def test_one_seed_says_how_little_it_knows(tmp_path: Path) -> None:
    bench = fake_bench(tmp_path / "out", seeds=[0])
    [setting] = settings(open_bench(tmp_path / "out"))
    assert "No pilot yet" in detectable_sentence(bench, setting)
    page = write_bench_report(tmp_path / "out").read_text()
    assert "Differences between methods have one seed so far, so no interval and no p-value" in page
    assert "(one seed: no interval)" in page
    compared = comparison_rows(bench, setting)
    assert compared["difference"].is_not_null().all()
    assert compared.select("difference_low", "joint_high", "p", "p_holm").null_count().row(0) == (
        (len(compared),) * 4
    )


def test_missing_seeds_are_left_out_of_pairs(tmp_path: Path) -> None:
    bench = fake_bench(tmp_path / "out")
    for path in (tmp_path / "out" / "cells").glob("seed2-meddel-0.05-*"):
        path.unlink()
    [setting] = settings(open_bench(tmp_path / "out"))
    rows = comparison_rows(bench, setting).filter(
        (pl.col("budget") == 0.05) & (pl.col("reference") == "random")
    )
    assert dict(rows.select("method", "seeds").iter_rows()) == {"k-center": 3, "moderate": 3, "meddel": 2}
    rivals = comparison_rows(bench, setting).filter(
        (pl.col("budget") == 0.05) & (pl.col("reference") == "rivals")
    )
    assert (
        dict(rivals.select("method", "seeds").iter_rows())["k-center"] == 2
    )  # the seeds that all rivals have
    own, others = (
        np.mean([setting.scores[m, 0.05][s].mean() for m in some for s in (0, 1)])
        for some in (["k-center"], ["moderate", "meddel"])
    )
    assert rivals.filter(pl.col("method") == "k-center")["difference"][0] == pytest.approx(
        own - others, abs=1e-6
    )
    assert rank_rows(setting, 0.05)["seed"].unique().sort().to_list() == [0, 1]


def test_concordance_is_one_for_equal_orders_and_small_for_chance() -> None:
    rng = np.random.default_rng(0)

    def table(orders: list[np.ndarray]) -> pl.DataFrame:
        rows = [
            {"method": str(m), "seed": s, "rank": float(rank)}
            for s, order in enumerate(orders)
            for m, rank in enumerate(order)
        ]
        return pl.DataFrame(rows)

    assert concordance(table([np.arange(1, 6)] * 4)) == pytest.approx(1)
    values = [concordance(table([rng.permutation(8) + 1 for _ in range(10)])) for _ in range(50)]
    assert np.mean(values) == pytest.approx(0.1, abs=0.03)  # 1/seeds is what chance gives
    assert concordance(table([np.arange(1, 6)])) is None


def test_pareto_front_equals_its_definition() -> None:
    rng = np.random.default_rng(1)
    points = [(float(x), float(y)) for x, y in rng.integers(0, 12, size=(40, 2))]
    better = [[q for q in points if q != p and q[0] <= p[0] and q[1] >= p[1]] for p in points]
    assert pareto_front(points) == sorted(
        {p for p, dominating in zip(points, better, strict=True) if not dominating}
    )


def test_folders_without_a_bench_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no bench"):
        write_bench_report(tmp_path)
    fake_bench(tmp_path / "out")
    for path in (tmp_path / "out" / "cells").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="no finished cell"):
        write_bench_report(tmp_path / "out")


def test_the_gate_asks_what_selection_can_win_at_each_budget(tmp_path: Path) -> None:
    """Full is as good as random from 25 % on, and better below."""
    effects = EFFECTS | {"random": 0.0, "scratch": -0.3}
    fake_bench(tmp_path / "out", effects, noise=0.002, budgets=[0.05, 0.9])
    [setting] = settings(open_bench(tmp_path / "out"))
    gain = room(setting, 0.05)
    assert gain is not None
    assert gain.mean == pytest.approx(
        setting.matrix(("full", 1.0)).mean() - setting.matrix(("random", 0.05)).mean()
    )
    few, many = room_sentences(setting)
    assert few.startswith("At 5 %, selection has +0.0")
    assert "**this setting cannot rank k-center, moderate, meddel at 90 %**" in many
    assert can_rank(setting)
    fake_bench(tmp_path / "hopeless", effects | {"full": -0.1}, noise=0.002)
    [setting] = settings(open_bench(tmp_path / "hopeless"))
    assert not can_rank(setting)
    assert (
        "the gate is not passed: no ranking"
        in (write_bench_report(tmp_path / "hopeless").parent / "tables.tex").read_text()
    )


def test_held_out_entropy_comes_first_and_says_what_is_closed(tmp_path: Path) -> None:
    h = {"random": 0.010, "k-center": 0.020, "moderate": 0.005, "meddel": 0.001}
    fake_bench(tmp_path / "out", h=h, budgets=[0.05, 0.1])
    tables = open_bench(tmp_path / "out")
    [setting] = settings(tables)
    measured = entropies(tables, setting)
    closed = {method: entropy.closed for (method, budget), entropy in measured.items() if budget == 0.05}
    assert closed.pop("random") is None
    assert closed == {
        "k-center": pytest.approx(-1.0),
        "moderate": pytest.approx(0.5),
        "meddel": pytest.approx(0.9),
    }
    assert measured["full", 1.0].mean == pytest.approx(0.3005)
    interval = measured["meddel", 0.05].interval
    assert interval is not None
    assert interval.low < 0.3015 < interval.high
    page = write_bench_report(tmp_path / "out")
    assert "Held-out H against budget" in page.read_text()
    text = (page.parent / "tables.md").read_text()
    assert text.index("held-out H, nats per value") < text.index("different from random")
    assert re.search(
        r"At 5 %, held-out H.*full 0\.3005.*meddel 0\.3015 \(.*\), closes 90 % \(90 to 90\)", text
    )
    assert re.search(r"random 0\.3105 \(.*?\), above full by 0\.0100 \(0\.0100 to 0\.0100\)", text)
    assert "| H | mIoU |" in text


def test_without_held_out_frames_there_is_no_column_for_them(tmp_path: Path) -> None:
    fake_bench(tmp_path / "out", budgets=[0.05])
    text = (write_bench_report(tmp_path / "out").parent / "tables.md").read_text()
    assert "| H |" not in text
    assert "held-out" not in text


def test_the_page_names_folders_without_where_they_lie(tmp_path: Path) -> None:
    fake_bench(tmp_path / "out", images="/home/jane/scans", labelled="/data/secret/polyps", budgets=[0.05])
    text = write_bench_report(tmp_path / "out").read_text()
    assert "scans" in text
    assert not [word for word in ("/home", "jane", "secret", str(tmp_path)) if word in text]
