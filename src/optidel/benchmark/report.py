"""Tables (Markdown, LaTeX), figures (SVG) and one self-contained page of a bench."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from optidel.benchmark.figures import figures
from optidel.benchmark.plan import Bench, cells, method_of
from optidel.benchmark.statistics import (
    BASE,
    REFERENCES,
    RIVALS,
    Setting,
    comparison_rows,
    concordance,
    detectable_sentence,
    gate,
    gate_sentence,
    method_rows,
    rank_rows,
    settings,
)
from optidel.benchmark.tables import Tables, open_bench, write_atomically, write_tables
from optidel.charts import SCRIPT, STYLE, standalone
from optidel.errors import InputError
from optidel.evaluation.claims import MIN_IMAGES, lack_of_data
from optidel.report.templates import environment
from optidel.report.text import percent, signed, times
from optidel.report.verdict import OURS
from optidel.runs.baselines import FULL, RANDOM, SCRATCH
from optidel.store import replacing

FOLDER = "report"
HEADS = (
    "method",
    "budget",
    "seeds",
    "images",
    "mIoU",
    "Dice",
    "NormDEL",
    "vs random",
    "Holm p",
    "vs full",
    "vs rivals",
    "s select",
    "s train",
    "break-even",
)
TITLES = {
    "miou": "mIoU against budget",
    "normdel": "NormDEL against budget",
    "pareto-images": "mIoU against images",
    "pareto-seconds": "mIoU against time",
    **{
        f"difference-{reference}": f"Paired differences to {words}" for reference, words in REFERENCES.items()
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One setting, ready to be shown: sentences, a table of texts, and figures by name."""

    setting: Setting
    slug: str
    passed: bool
    sentences: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    pictures: Mapping[str, str]
    methods: pl.DataFrame
    compared: pl.DataFrame


def write_bench_report(root: Path) -> Path:
    """Gather a bench and write ``report/``: ``report.html``, ``tables.md``, ``tables.tex``,
    ``figures/*.svg``, and two Parquet tables.

    Args:
        root: run folder of ``optidel bench``; unfinished, or merged from shards, it shows what there is.

    Returns:
        The page's path.

    Raises:
        InputError: no bench, or no finished cell yet.
        StoreError: the report cannot be written.
    """
    tables = open_bench(Path(root))
    write_tables(tables, Path(root))  # shards may have been copied together
    sections = [section_of(tables, setting) for setting in settings(tables)]
    if not sections:
        reason = f"; the first failure: {tables.failed[0].reason}" if tables.failed else ""
        raise InputError(
            f"{root} has no finished cell yet; run `optidel bench BENCH.toml --out {root}`{reason}"
        )
    folder = Path(root) / FOLDER
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for section in sections:
        for name, picture in section.pictures.items():
            write_atomically(folder / "figures" / f"{section.slug}-{name}.svg", standalone(picture))
    write_atomically(folder / "tables.md", "\n".join(markdown(section) for section in sections))
    write_atomically(folder / "tables.tex", "\n".join(latex(section) for section in sections))
    for name in ("methods", "compared"):
        rows = [getattr(section, name).with_columns(**_names(section.setting)) for section in sections]
        with replacing(folder / f"{name}.parquet") as scratch:
            pl.concat(rows).write_parquet(scratch)
    write_atomically(folder / "report.html", page(tables, sections))
    return folder / "report.html"


def section_of(tables: Tables, setting: Setting) -> Section:
    """Everything about one setting."""
    table, compared = method_rows(tables, setting), comparison_rows(tables.bench, setting)
    gain = gate(setting)
    interval = gain.interval if gain else None
    return Section(
        setting=setting,
        slug=re.sub(
            r"[^\w.-]+", "-", f"{setting.task}-{setting.protocol}-{setting.objective}-{setting.compute}"
        ),
        passed=interval is not None and interval.low > 0,
        sentences=(
            gate_sentence(setting),
            *_few_seeds(setting),
            *_findings(setting, compared),
            *_against(compared.filter(pl.col("method").is_in(_ours(tables.bench, compared))), RIVALS),
            *_against(compared, BASE),
            *_steadiness(setting),
            detectable_sentence(tables.bench, setting),
        ),
        rows=tuple(_row(row, compared) for row in table.iter_rows(named=True)),
        pictures=figures(setting, table, compared),
        methods=table,
        compared=compared,
    )


def _few_seeds(setting: Setting) -> list[str]:
    seeds = max(len(trials) for trials in setting.iou.values())
    lack = lack_of_data(seeds, MIN_IMAGES)
    if not lack:
        return []
    return [
        f"Differences between methods have {lack.partition(': ')[0]} so far, so no interval and no p-value: "
        "they do not know how another seed would move a method."
    ]


def _findings(setting: Setting, compared: pl.DataFrame) -> list[str]:
    """For each budget, who beats random by Holm's p; and whether anyone beats full."""
    said = []
    for budget in setting.budgets:
        for reference in (RANDOM, FULL):
            rows = compared.filter((pl.col("budget") == budget) & (pl.col("reference") == reference))
            if rows.is_empty():
                continue
            sure = rows.filter(pl.col("p_holm") < 0.05).sort("difference", descending=True)
            texts = [f"{row['method']} {signed(row['difference'])}" for row in sure.iter_rows(named=True)]
            what = ", ".join(texts) if texts else "no method"
            said.append(
                f"At {percent(budget)}, different from {reference} (Holm p < 0.05, of {len(rows)} compared): {what}."
            )
    return said


def _ours(bench: Bench, compared: pl.DataFrame) -> list[str]:
    """OptiDEL and its variants."""
    return [name for name in compared["method"].unique() if method_of(bench, name) == OURS]


def _against(compared: pl.DataFrame, reference: str) -> list[str]:
    """For each budget, every method against one reference."""
    said = []
    for (budget,), part in compared.filter(pl.col("reference") == reference).group_by(
        "budget", maintain_order=True
    ):
        texts = [f"{row['method']} {_signed_range(row)}" for row in part.iter_rows(named=True)]
        said.append(f"At {percent(budget)}, against {REFERENCES[reference]}: {', '.join(texts)}.")
    return said


def _steadiness(setting: Setting) -> list[str]:
    found = [(budget, concordance(rank_rows(setting, budget))) for budget in setting.budgets]
    texts = [f"{value:.2f} at {percent(budget)}" for budget, value in found if value is not None]
    return (
        [f"Agreement of the seeds about the ranks (Kendall's W, 1 full, 0 none): {', '.join(texts)}."]
        if texts
        else []
    )


def _row(row: Mapping[str, object], compared: pl.DataFrame) -> tuple[str, ...]:
    def ends(name: str) -> str:
        return f"{row[name]:.3f} ({row[f'{name}_low']:.3f}–{row[f'{name}_high']:.3f})"

    def against(reference: str) -> tuple[str, str]:
        own = compared.filter(
            (pl.col("method") == row["method"])
            & (pl.col("budget") == row["budget"])
            & (pl.col("reference") == reference)
        )
        if own.is_empty():
            return "–", "–"
        one = own.row(0, named=True)
        p = one["p_holm"]
        if p is None:
            return _signed_range(one), "–"
        return _signed_range(one), f"{p:.3f}" if p >= 0.001 else "<0.001"

    chance, p = against(RANDOM)
    normdel = "–" if row["normdel"] is None else f"{row['normdel']:.3f}"
    cost = [f"{row[name]:.0f}" for name in ("seconds_select", "seconds_train")]
    cost.append("–" if row["break_even"] is None else times(float(str(row["break_even"]))))
    trained = bool(row["n_images"])
    budget = percent(float(str(row["budget"]))) if trained else "–"
    head = (str(row["method"]), budget, str(row["seeds"]), str(row["n_images"]) if trained else "–")
    return *head, ends("miou"), ends("dice"), normdel, chance, p, against(FULL)[0], against(RIVALS)[0], *cost


def _signed_range(row: Mapping[str, Any]) -> str:
    low, high = row["difference_low"], row["difference_high"]
    if low is None or high is None:
        return f"{signed(row['difference'])} ({lack_of_data(row['seeds'], MIN_IMAGES) or 'no interval'})"
    return f"{signed(row['difference'])} ({signed(low)} to {signed(high)})"


def markdown(section: Section) -> str:
    """A heading, the sentences and the table."""
    lines = [f"## {section.setting.name}", "", *(f"- {sentence}" for sentence in section.sentences), ""]
    lines += ["| " + " | ".join(HEADS) + " |", "|---|" + "---:|" * (len(HEADS) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in section.rows]
    return "\n".join(lines) + "\n"


def latex(section: Section) -> str:
    """The table, as wide as the text, for a paper that loads booktabs and graphicx; the caption says which
    setting and whether the gate is passed."""
    gate_text = "full beats scratch" if section.passed else "full does not beat scratch: no ranking"
    lines = [
        r"\begin{table}",
        rf"\caption{{{_tex(section.setting.name)} ({gate_text}); 95\,\% intervals over seeds and test images}}",
        r"\resizebox{\textwidth}{!}{%",
        r"\begin{tabular}{l" + "r" * (len(HEADS) - 1) + "}",
        r"\toprule",
        " & ".join(_tex(head) for head in HEADS) + r" \\",
        r"\midrule",
        *(" & ".join(_tex(text) for text in row) + r" \\" for row in section.rows),
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _tex(text: str) -> str:
    escaped = re.sub(r"([%&_#$])", r"\\\1", text)
    return escaped.replace("−", "$-$").replace("–", "--").replace("+", "$+$").replace("<", "$<$")


def page(tables: Tables, sections: Sequence[Section]) -> str:
    """The page as HTML; it fetches nothing and needs no script."""
    template = environment(Path(__file__).parent).get_template("page.html.j2")
    return template.render(
        sections=sections,
        heads=HEADS,
        tables=tables,
        titles=TITLES,
        done=tables.results.height,
        title=_title(tables.bench),
        embed=Markup,
        chart_style=Markup(STYLE),
        chart_script=Markup(SCRIPT),
        bold=lambda text: Markup(re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(Markup.escape(text)))),
        unbroken=lambda text: text.replace(" %", "\u00a0%"),
    )


def _title(bench: Bench) -> str:
    """What is compared, over all grids: ``12 methods, 4 budgets, 5 seeds``."""
    planned = [cell for cell in cells(bench) if cell.method != SCRATCH]
    counts: dict[str, set[object]] = {
        "method": {cell.method for cell in planned},
        "budget": {cell.budget for cell in planned if cell.method != FULL},
        "seed": {cell.seed for cell in planned},
    }
    return ", ".join(f"{len(found)} {name}{'' if len(found) == 1 else 's'}" for name, found in counts.items())


def _names(setting: Setting) -> dict[str, pl.Expr]:
    return {name: pl.lit(getattr(setting, name)) for name in ("task", "protocol", "objective", "compute")}
