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
    cells = [name(run), f"{run['seconds']:.2f}", f"{run['cpu_seconds']:.1f}", f"{run['peak_mb']:,.0f}", f"{load:.1f}"]
    if "objective" in run:
        cells += [f"{run['objective']:.4f}", f"{run['radius']:.3f}", f"{run['duplicates_kept']:,} of {run['duplicates']:,}"]
        cells += [f"{run['groups_lost']:,} of {run['groups']:,}", f"{run['tail_recall']:.2f}"]
    return "| " + " | ".join([*cells, *[""] * (10 - len(cells))]) + " |"


def find(results: Record, n: int, tool: str, method: str, **params: object) -> Record | None:
    """The run at 5 %, if it was made and did not fail."""
    for run in results.get(str(n), {}).get("runs", []):
        same = (run["tool"], run["method"], run["budget"]) == (tool, method, 0.05)
        if same and {key: value for key, value in run["params"].items() if key != "bandwidth"} == params and "seconds" in run:
            return dict(run)
    return None


def claims(results: Record) -> list[str]:
    """The ratios that the project promises, each with what was measured, in wall-clock and in processor seconds."""
    lines = ["| promise | asked | measured |", "|---|---:|---:|"]

    def ratio(promise: str, asked: str, above: Record | None, below: Record | None) -> None:
        if above and below:
            wall, processor = above["seconds"] / below["seconds"], above["cpu_seconds"] / below["cpu_seconds"]
            lines.append(f"| {promise} | {asked} | {wall:.2f} (processor time {processor:.2f}) |")

    def value(promise: str, asked: str, text: str) -> None:
        lines.append(f"| {promise} | {asked} | {text} |")

    ours = find(results, 10_000, "optidel", "facility-location")
    for method, asked in (("facility-location", "≥ 10"), ("facility-location, its own cosine", "≥ 10")):
        rival = find(results, 10_000, "apricot", method)
        label = "its own cosine" if "own" in method else "same similarities"
        ratio(f"facility location, 10,000: apricot ({label}) to ours", asked, rival, ours)
    submodlib = find(results, 10_000, "submodlib", "facility-location")
    ratio("facility location, 10,000: submodlib to ours", "≥ 40", submodlib, ours)
    if ours and submodlib:
        lost = 1 - ours["objective"] / submodlib["objective"]
        value("… objective lost against submodlib", "≤ 0.1 %", f"{lost:.4%}".replace("%", " %"))
    for n, seconds, gigabytes in ((100_000, 60, 2), (1_000_000, 900, 4)):
        run = find(results, n, "optidel", "facility-location")
        if run:
            value(f"facility location, {n:,}", f"{seconds} s, {gigabytes} GB", f"{run['seconds']:.0f} s, {run['peak_mb'] / 1e3:.2f} GB")
    for method, measure, sign, asked in (
        ("facility-location", "objective", 1, "≤ 1 %"),
        ("k-center", "radius", -1, "≤ 5 %"),
        ("log-det", "log_volume", 1, "≤ 1 %"),
    ):
        exact, parts = (find(results, 20_000, "optidel", method, strategy=strategy) for strategy in ("exact", "partitioned"))
        if exact and parts:
            lost = sign * (exact[measure] - parts[measure]) / abs(exact[measure])
            value(f"{method}, 20,000: {measure.replace('_', ' ')} lost in parts", asked, f"{lost:.2%}".replace("%", " %"))
    meddel = find(results, 100_000, "optidel", "meddel")
    ratio("MedDEL, 100,000: to faiss k-means (train and assign)", "≤ 1.3", meddel, find(results, 100_000, "faiss", "k-means"))
    ratio("MedDEL, 100,000: to our k-means (train and assign)", "≤ 1.3", meddel, find(results, 100_000, "optidel", "k-means"))
    small, large = (find(results, n, "optidel", "meddel") for n in (10_000, 1_000_000))
    if small and large:
        wall, processor = (math.log(large[unit] / small[unit], 100) for unit in ("seconds", "cpu_seconds"))
        value("MedDEL, 10,000 to 1,000,000: time grows as n to the power of", "≤ 1.15", f"{wall:.2f} (processor time {processor:.2f})")
    for method, seconds in (
        ("meddel", None),
        *((light, 300) for light in ("k-center", "density", "ssp", "moderate", "ccs", "hierarchical-kmeans")),
    ):
        run = find(results, 1_000_000, "optidel", method)
        if run:
            asked = f"{seconds} s, 4 GB" if seconds else "4 GB"
            value(f"{method}, 1,000,000", asked, f"{run['seconds']:.0f} s, {run['peak_mb'] / 1e3:.2f} GB")
    tree = find(results, 10_000, "optidel", "hierarchical-kmeans")
    plain = find(results, 10_000, "optidel", "kmeans-medoids")
    if tree and plain:
        value("hierarchical-kmeans, 10,000", "5 s", f"{tree['seconds']:.2f} s")
        value("… tail concepts found, against k-means-medoids", "reported", f"{tree['tail_recall']:.2f} against {plain['tail_recall']:.2f}")
    return lines


def write_table(results: Record, page: Path) -> None:
    """Replace what lies between the markers of ``page``."""
    lines = [*claims(results), ""]
    for n in sorted(results, key=int):
        head = results[n]
        lines += [f"**{int(n):,} rows** ({head['when']}, {head['machine']})", ""]
        lines += ["| method | s | CPU s | peak MB | load | objective | radius | copies kept | groups lost | tail recall |"]
        lines += ["|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|", *(row(run) for run in head["runs"]), ""]
    before, rest = page.read_text().split(START)
    _, after = rest.split(END)
    page.write_text(f"{before}{START}\n\n" + "\n".join(lines) + f"\n{END}{after}")
