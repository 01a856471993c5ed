"""The tables of docs/results/selection-speed.md, written between its two markers."""

import math
from pathlib import Path
from typing import Any

START, END = "<!-- tables: written by benchmarks/selection.py -->", "<!-- end of tables -->"
Record = dict[str, Any]


def name(run: Record) -> str:
    """A run in words."""
    tool = "" if run["tool"] == "optidel" else f"{run['tool']}: "
    given = ", ".join(str(value) for key, value in run["params"].items() if key != "bandwidth")
    share = f" at {run['budget']:.0%}" if run["budget"] != 0.05 else ""
    return f"{tool}{run['method']}{f' ({given})' if given else ''}{share}".replace("%", " %")


def row(run: Record) -> str:
    """One line of a table."""
    load = max(time["load"] for time in run["all"])
    if "seconds" not in run:
        return f"| {name(run)} | {run['all'][0]['failed']} | | | {load:.1f} | | | | | |"
    cells = [
        name(run),
        f"{run['seconds']:.2f}",
        f"{run['cpu_seconds']:.1f}",
        f"{run['peak_mb']:,.0f}",
        f"{load:.1f}",
    ]
    if "objective" in run:
        cells += [
            f"{run['objective']:.4f}",
            f"{run['radius']:.3f}",
            f"{run['duplicates_kept']:,} of {run['duplicates']:,}",
        ]
        cells += [f"{run['groups_lost']:,} of {run['groups']:,}", f"{run['tail_recall']:.2f}"]
    return "| " + " | ".join([*cells, *[""] * (10 - len(cells))]) + " |"


def find(
    results: Record, n: int, tool: str, method: str, budget: float = 0.05, **params: object
) -> Record | None:
    """The run, if it was made and did not fail."""
    for run in results.get(str(n), {}).get("runs", []):
        same = (run["tool"], run["method"], run["budget"]) == (tool, method, budget)
        if (
            same
            and {key: value for key, value in run["params"].items() if key != "bandwidth"} == params
            and "seconds" in run
        ):
            return dict(run)
    return None


Line = tuple[str, str, str, bool | None]
"""A promise, what is asked, what was measured, and whether it is met; None where it is only reported."""
ABSENT = "not measured"


def verdict(measured: str, met: bool | None) -> str:
    """Met or missed; nothing where there is nothing to say."""
    if met is None or measured == ABSENT:
        return ""
    return "met" if met else "**missed**"


def percent(share: float, decimals: int = 2) -> str:
    """A share in per cent."""
    return f"{100 * share:.{decimals}f} %"


def ratio(promise: str, asked: float, above: Record | None, below: Record | None, *, at_least: bool) -> Line:
    """One time over another, wall clock; beside it the processor's."""
    text = f"{'≥' if at_least else '≤'} {asked:g}"
    if not above or not below:
        return promise, text, ABSENT, False
    wall, processor = above["seconds"] / below["seconds"], above["cpu_seconds"] / below["cpu_seconds"]
    return (
        promise,
        text,
        f"{wall:.2f} (processor time {processor:.2f})",
        wall >= asked if at_least else wall <= asked,
    )


def within(promise: str, run: Record | None, seconds: float | None, gigabytes: float | None) -> Line:
    """Time and memory under their limits, where there are some."""
    asked = ", ".join(
        f"{limit:g} {unit}" for limit, unit in ((seconds, "s"), (gigabytes, "GB")) if limit is not None
    )
    if not run:
        return promise, asked, ABSENT, False
    took, peak = run["seconds"], run["peak_mb"] / 1e3
    met = (seconds is None or took < seconds) and (gigabytes is None or peak < gigabytes)
    return promise, asked, f"{took:.2f} s, {peak:.2f} GB", met


def lost(
    promise: str, measure: str, best: Record | None, ours: Record | None, most: float, sign: int = 1
) -> Line:
    """Share of a measure lost against the best; ``sign`` −1 where less is better."""
    if not best or not ours:
        return promise, f"≤ {percent(most, 1)}", ABSENT, False
    share = sign * (best[measure] - ours[measure]) / abs(best[measure])
    return promise, f"≤ {percent(most, 1)}", percent(share, 3), share <= most


def claims(results: Record) -> list[Line]:
    """What the project promises, each with what was measured and whether it is met."""

    def ours(n: int, method: str, **params: object) -> Record | None:
        return find(results, n, "optidel", method, **params)

    small = ours(10_000, "facility-location")
    apricot, squared = (
        find(results, 10_000, "apricot", f"facility-location{own}") for own in ("", ", its own cosine")
    )
    submodlib = find(results, 10_000, "submodlib", "facility-location")
    lines = [
        ratio(
            "facility location, 10,000: apricot (on our similarities) to ours",
            10,
            apricot,
            small,
            at_least=True,
        ),
        ratio(
            "facility location, 10,000: apricot (its own cosine) to ours", 10, squared, small, at_least=True
        ),
        ratio("facility location, 10,000: submodlib to ours", 40, submodlib, small, at_least=True),
        lost("… objective lost against apricot", "objective", apricot, small, 0.001),
        lost("… objective lost against submodlib", "objective", submodlib, small, 0.001),
        within("facility location, 100,000", ours(100_000, "facility-location"), 60, 2),
        within("facility location, 1,000,000", ours(1_000_000, "facility-location"), 900, 4),
    ]
    for method, measure, sign, most in (
        ("facility-location", "objective", 1, 0.01),
        ("k-center", "radius", -1, 0.05),
        ("log-det", "log_volume", 1, 0.01),
    ):
        exact, parts = (ours(20_000, method, strategy=strategy) for strategy in ("exact", "partitioned"))
        lines.append(
            lost(
                f"{method}, 20,000: {measure.replace('_', ' ')} lost in parts",
                measure,
                exact,
                parts,
                most,
                sign,
            )
        )
    return [*lines, *meddel_claims(results), *light_claims(results)]


def meddel_claims(results: Record) -> list[Line]:
    """MedDEL, which without a radius is SemDeDup: time, growth, memory, and what becomes of planted groups
    where copies alone go.
    """
    small, middle, large = (find(results, n, "optidel", "meddel") for n in (10_000, 100_000, 1_000_000))
    lines = [
        ratio(
            "MedDEL, 100,000: to our k-means (train and assign)",
            1.3,
            middle,
            find(results, 100_000, "optidel", "k-means"),
            at_least=False,
        ),
        ratio(
            "MedDEL, 100,000: to faiss k-means (train and assign)",
            1.3,
            middle,
            find(results, 100_000, "faiss", "k-means"),
            at_least=False,
        ),
        within("MedDEL, 1,000,000", large, None, 4),
    ]
    if small and large:
        wall, processor = (math.log(large[unit] / small[unit], 100) for unit in ("seconds", "cpu_seconds"))
        measured, met = f"{wall:.2f} (processor time {processor:.2f})", wall <= 1.15
    else:
        measured, met = ABSENT, False
    lines.append(("MedDEL, 10,000 to 1,000,000: time grows as n to the power of", "≤ 1.15", measured, met))
    for n in (10_000, 100_000, 1_000_000):
        run = find(results, n, "optidel", "meddel", budget=0.7)
        text = (
            f"{run['groups_lost']:,} of {run['groups']:,}; copies kept {run['duplicates_kept']:,}"
            if run
            else ABSENT
        )
        lines.append(
            (
                f"MedDEL, {n:,}, at the share of distinct rows: planted groups lost",
                "0",
                text,
                bool(run) and run["groups_lost"] == 0,
            )
        )
    return lines


def light_claims(results: Record) -> list[Line]:
    """What has to be cheap at a million rows, and the tree at 10,000."""
    names = ("k-center", "density", "ssp", "moderate", "ccs", "hierarchical-kmeans")
    lines = [
        within(f"{name}, 1,000,000", find(results, 1_000_000, "optidel", name), 300, 4) for name in names
    ]
    tree, plain = (
        find(results, 10_000, "optidel", method) for method in ("hierarchical-kmeans", "kmeans-medoids")
    )
    found = f"{tree['tail_recall']:.2f} against {plain['tail_recall']:.2f}" if tree and plain else ABSENT
    return [
        *lines,
        within("hierarchical-kmeans, 10,000", tree, 5, None),
        ("… tail concepts found, against k-means-medoids", "reported", found, None),
    ]


def write_table(results: Record, page: Path) -> None:
    """Replace what lies between the markers of ``page``."""
    lines = ["| promise | asked | measured | |", "|---|---:|---:|---|"]
    lines += [
        f"| {promise} | {asked} | {measured} | {verdict(measured, met)} |"
        for promise, asked, measured, met in claims(results)
    ]
    lines.append("")
    for n in sorted(results, key=int):
        head = results[n]
        lines += [f"**{int(n):,} rows** ({head['when']}, {head['machine']})", ""]
        lines += [
            "| method | s | CPU s | peak MB | load | objective | radius "
            "| copies kept | groups lost | tail recall |"
        ]
        lines += [
            "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
            *(row(run) for run in head["runs"]),
            "",
        ]
    before, rest = page.read_text().split(START)
    _, after = rest.split(END)
    page.write_text(f"{before}{START}\n\n" + "\n".join(lines) + f"\n{END}{after}")
