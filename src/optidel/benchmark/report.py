"""Tables (Markdown, LaTeX), figures (SVG) and one self-contained page of a bench."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from optidel.benchmark.across import Across, across_sets
from optidel.benchmark.bench import Bench, method_of
from optidel.benchmark.entropy import entropies, entropy_by_seed, entropy_sentences
from optidel.benchmark.figures import figures
from optidel.benchmark.gate import can_rank, gate_sentence, room_sentences
from optidel.benchmark.overall import HEADS as HEADS_OF_MEANS
from optidel.benchmark.overall import Overall, overall
from optidel.benchmark.plan import trials
from optidel.benchmark.power import detectable_sentence, entropy_detectable_sentence
from optidel.benchmark.settings import SETTING, Choice, Setting, precision_settings, settings
from optidel.benchmark.statistics import (
    BASE,
    REFERENCES,
    RIVALS,
    comparison_rows,
    concordance,
    method_rows,
    rank_rows,
)
from optidel.benchmark.tables import Tables, open_bench, write_atomically, write_tables
from optidel.charts import SCRIPT, STYLE, standalone
from optidel.corpus.names import Names
from optidel.errors import InputError
from optidel.evaluation.claims import MIN_IMAGES, lack_of_data
from optidel.evaluation.entropies import Entropy
from optidel.methods import held_out_caveat
from optidel.outcomes import MASKS, OUTCOMES, Outcomes
from optidel.report.templates import environment
from optidel.report.text import percent, signed, times
from optidel.report.verdict import FAMILY
from optidel.runs.baselines import FULL, RANDOM
from optidel.store import replacing

FOLDER = "report"
HEADS: tuple[str, ...] = (
    "method",
    "budget",
    "seeds",
    "images",
    "H",
    *(outcome.label for outcome in MASKS),
    "NormDEL",
    "vs random",
    "Holm p",
    "vs full",
    "vs rivals",
    "s select",
    "s train",
    "break-even",
)
ENTROPY_COLUMN = HEADS.index("H")  # left out where no frame was held out

TITLES = {
    "entropy": "Held-out H against budget",
    **{outcome.name: f"{outcome.label} against budget" for outcome in OUTCOMES},
    "normdel": "NormDEL against budget",
    "pareto-images": "Score against images",
    "pareto-seconds": "Score against time",
    **{f"difference-{name}": f"Paired differences to {words}" for name, words in REFERENCES.items()},
}

# What LaTeX reads as a command, or sets as another sign; $ first, for the others bring some.
TEX = {
    "$": r"\$",
    "%": r"\%",
    "&": r"\&",
    "_": r"\_",
    "#": r"\#",
    "−": "$-$",
    "–": "--",
    "+": "$+$",
    "<": "$<$",
}

SIGNIFICANT = 0.05  # Holm's p under which a difference is put into words
LEAST_P = 0.001  # smaller p-values are not told apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One setting, ready to be shown: sentences, a table of texts, and figures by name."""

    setting: Setting
    slug: str
    passed: bool
    sentences: tuple[str, ...]
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    pictures: Mapping[str, str]
    methods: pl.DataFrame
    compared: pl.DataFrame


def write_bench_report(root: Path) -> Path:
    """Gather a bench and write ``report/``.

    It holds ``report.html``, ``tables.md``, ``tables.tex``, ``figures/*.svg``, and two Parquet tables.

    Args:
        root: run folder of ``optidel bench``; unfinished, or merged from shards, it shows what there is.

    Returns:
        The page's path.

    Raises:
        InputError: no bench, or no finished trial yet.
        StoreError: the report cannot be written.
    """
    root = Path(root)
    tables = open_bench(root)
    write_tables(tables, root)  # shards may have been copied together
    sections = [section_of(tables, setting) for setting in (*settings(tables), *precision_settings(tables))]
    if not sections:
        reason = f"; the first failure: {tables.failed[0].reason}" if tables.failed else ""
        raise InputError(
            f"{root} has no finished cell yet; run `optidel bench BENCH.toml --out {root}`{reason}"
        )

    folder = root / FOLDER
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for section in sections:
        for name, picture in section.pictures.items():
            write_atomically(folder / "figures" / f"{section.slug}-{name}.svg", standalone(picture))
    all_settings = [section.setting for section in sections]
    means, matrices = overall(all_settings), across_sets(tables.bench, all_settings)
    for matrix in matrices:
        target = folder / "figures" / f"{_slug('across', matrix.name)}.svg"
        write_atomically(target, standalone(matrix.figure))
    texts = [overall_markdown(mean) for mean in means]
    texts += [across_markdown(matrix) for matrix in matrices]
    texts += [markdown(section) for section in sections]
    write_atomically(folder / "tables.md", "\n".join(texts))
    write_atomically(folder / "tables.tex", "\n".join(latex(section) for section in sections))
    _write_table([(section.setting, section.methods) for section in sections], folder / "methods.parquet")
    _write_table([(section.setting, section.compared) for section in sections], folder / "compared.parquet")
    write_atomically(folder / "report.html", page(tables, sections, means, matrices))
    return folder / "report.html"


def _write_table(parts: Sequence[tuple[Setting, pl.DataFrame]], target: Path) -> None:
    """The tables of all settings below one another."""
    tables = []
    for setting, table in parts:
        names = [pl.lit(getattr(setting, name)).alias(name) for name in SETTING]
        names.append(pl.lit(setting.outcomes[0].name).alias("outcome"))
        tables.append(table.with_columns(*names))
    with replacing(target) as scratch:
        pl.concat(tables, how="diagonal").write_parquet(scratch)


def section_of(tables: Tables, setting: Setting) -> Section:
    """Everything about one setting."""
    table, compared = method_rows(tables, setting), comparison_rows(tables.bench, setting)
    # Another ranking of the same trials has the same H, which stands with the first.
    measured = {} if setting.ranked_by else entropies(tables, setting)
    names = {old.label: new.label for old, new in zip(MASKS, setting.outcomes, strict=True)}
    heads = tuple(names.get(head, head) for head in HEADS)
    rows = [_row(row, setting.outcomes, compared, measured) for row in table.iter_rows(named=True)]
    if not measured:
        heads = _without_entropy(heads)
        rows = [_without_entropy(row) for row in rows]

    return Section(
        setting=setting,
        slug=_slug(setting.task, setting.protocol, setting.objective, setting.compute + setting.ranked_by),
        passed=can_rank(setting),
        sentences=tuple(_sentences(tables, setting, compared, measured)),
        heads=heads,
        rows=tuple(rows),
        pictures=figures(setting, table, compared, measured),
        methods=table,
        compared=compared,
    )


def _slug(*words: str) -> str:
    """Words as a name of a file and of a place on the page."""
    return re.sub(r"[^\w.-]+", "-", "-".join(words))


def _without_entropy(row: tuple[str, ...]) -> tuple[str, ...]:
    return row[:ENTROPY_COLUMN] + row[ENTROPY_COLUMN + 1 :]


def _sentences(
    tables: Tables, setting: Setting, compared: pl.DataFrame, measured: Mapping[Choice, Entropy]
) -> list[str]:
    """What may be said of a setting: the gate first, then held-out H, scores, and what the plan can tell."""
    bench = tables.bench
    in_entropy = None
    if measured:
        in_entropy = entropy_detectable_sentence(bench, setting, entropy_by_seed(tables, setting))
    ours = [name for name in compared["method"].unique() if method_of(bench, name) in FAMILY]
    return [
        gate_sentence(setting),
        *room_sentences(setting),
        *entropy_sentences(measured),
        *_caveats(bench, measured),
        *_few_seeds(setting),
        *_findings(setting, compared),
        *_against(compared.filter(pl.col("method").is_in(ours)), RIVALS),
        *_against(compared, BASE),
        *_steadiness(setting),
        *([in_entropy] if in_entropy else []),
        detectable_sentence(bench, setting),
    ]


def _caveats(bench: Bench, measured: Mapping[Choice, Entropy]) -> list[str]:
    """Which methods were guided by the frames that H is of."""
    names = dict.fromkeys(method for method, _ in measured)
    caveat = held_out_caveat({name: method_of(bench, name) for name in names})
    return [caveat] if caveat else []


def _few_seeds(setting: Setting) -> list[str]:
    seeds = max(len(scores) for scores in setting.scores.values())
    lack = lack_of_data(seeds, MIN_IMAGES)
    if not lack:
        return []
    return [
        f"Differences between methods have {lack.partition(': ')[0]} so far, so no interval and no p-value: "
        "they do not know how another seed would move a method."
    ]


def _findings(setting: Setting, compared: pl.DataFrame) -> list[str]:
    """For each budget, who beats random by Holm's p; and whether anyone beats full."""
    sentences = []
    for budget in setting.budgets:
        for reference in (RANDOM, FULL):
            rows = compared.filter((pl.col("budget") == budget) & (pl.col("reference") == reference))
            if rows.is_empty():
                continue
            different = rows.filter(pl.col("p_holm") < SIGNIFICANT).sort("difference", descending=True)
            texts = [
                f"{row['method']} {signed(row['difference'])}" for row in different.iter_rows(named=True)
            ]
            sentences.append(
                f"At {percent(budget)}, different from {reference} (Holm p < {SIGNIFICANT:g}, "
                f"of {len(rows)} compared): {', '.join(texts) or 'no method'}."
            )
    return sentences


def _against(compared: pl.DataFrame, reference: str) -> list[str]:
    """For each budget, every method against one reference."""
    rows = compared.filter(pl.col("reference") == reference)
    words = REFERENCES[reference]
    sentences = []
    for budget in rows["budget"].unique(maintain_order=True):
        texts = []
        for row in rows.filter(pl.col("budget") == budget).iter_rows(named=True):
            texts.append(f"{row['method']} {_signed_range(row)}")
        listed = ", ".join(texts)
        sentences.append(f"At {percent(budget)}, against {words}: {listed}.")
    return sentences


def _steadiness(setting: Setting) -> list[str]:
    """How far the seeds agree about the order of the methods."""
    texts = []
    for budget in setting.budgets:
        agreement = concordance(rank_rows(setting, budget))
        if agreement is not None:
            texts.append(f"{agreement:.2f} at {percent(budget)}")
    if not texts:
        return []
    return [f"Agreement of the seeds about the ranks (Kendall's W, 1 full, 0 none): {', '.join(texts)}."]


def _row(
    row: Mapping[str, Any], outcomes: Outcomes, compared: pl.DataFrame, measured: Mapping[Choice, Entropy]
) -> tuple[str, ...]:
    """A row of the table, as texts."""
    choice = row["method"], row["budget"]
    comparisons = {
        comparison["reference"]: comparison
        for comparison in compared.filter(
            (pl.col("method") == choice[0]) & (pl.col("budget") == choice[1])
        ).iter_rows(named=True)
    }
    trained = bool(row["n_images"])
    entropy = measured.get(choice)
    return (
        row["method"],
        percent(row["budget"]) if trained else "–",
        str(row["seeds"]),
        str(row["n_images"]) if trained else "–",
        "–" if entropy is None else _entropy_text(entropy),
        *(_range(row, outcome.name) for outcome in outcomes),
        "–" if row["normdel"] is None else f"{row['normdel']:.3f}",
        _signed_range(comparisons.get(RANDOM)),
        _p_text(comparisons.get(RANDOM)),
        _signed_range(comparisons.get(FULL)),
        _signed_range(comparisons.get(RIVALS)),
        f"{row['seconds_select']:.0f}",
        f"{row['seconds_train']:.0f}",
        "–" if row["break_even"] is None else times(row["break_even"]),
    )


def _entropy_text(entropy: Entropy) -> str:
    mean, interval = f"{entropy.mean:.4f}", entropy.interval
    if interval is None:
        return mean
    low, high = interval.low, interval.high
    return f"{mean} ({low:.4f}–{high:.4f})"


def _range(row: Mapping[str, Any], name: str) -> str:
    mean = row[name]
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{mean:.3f} ({low:.3f}–{high:.3f})"


def _signed_range(comparison: Mapping[str, Any] | None) -> str:
    if comparison is None:
        return "–"
    difference = signed(comparison["difference"])
    low, high = comparison["difference_low"], comparison["difference_high"]
    if low is None or high is None:
        lack = lack_of_data(comparison["seeds"], MIN_IMAGES)
        return f"{difference} ({lack or 'no interval'})"
    return f"{difference} ({signed(low)} to {signed(high)})"


def _p_text(comparison: Mapping[str, Any] | None) -> str:
    if comparison is None or comparison["p_holm"] is None:
        return "–"
    p = comparison["p_holm"]
    if p < LEAST_P:
        return f"<{LEAST_P:g}"
    return f"{p:.3f}"


def markdown(section: Section) -> str:
    """A heading, the sentences and the table."""
    lines = [f"## {section.setting.name}", ""]
    lines += [f"- {sentence}" for sentence in section.sentences]
    return "\n".join([*lines, "", *_table_lines(section.heads, section.rows)]) + "\n"


def overall_markdown(mean: Overall) -> str:
    """A heading, the sentence and the table of a mean over tasks."""
    lines = [f"## Mean over tasks: {mean.name}", "", f"- {mean.sentence}", ""]
    return "\n".join([*lines, *_table_lines(HEADS_OF_MEANS, mean.texts)]) + "\n"


def across_markdown(matrix: Across) -> str:
    """A heading, the sentence and the table of all pairs of labelled sets."""
    lines = [f"## Across labelled sets: {matrix.name}", "", f"- {matrix.sentence}", ""]
    return "\n".join([*lines, *_table_lines(matrix.heads, matrix.texts)]) + "\n"


def _table_lines(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def latex(section: Section) -> str:
    """The table, as wide as the text, for a paper that loads booktabs and graphicx.

    The caption says which setting, and whether it can rank methods.
    """
    gate_text = "the gate is passed" if section.passed else "the gate is not passed: no ranking"
    caption = f"{_tex(section.setting.name)} ({gate_text}); 95\\,\\% intervals over seeds and test images"
    lines = [
        r"\begin{table}",
        rf"\caption{{{caption}}}",
        r"\resizebox{\textwidth}{!}{%",
        r"\begin{tabular}{l" + "r" * (len(section.heads) - 1) + "}",
        r"\toprule",
        _tex_row(section.heads),
        r"\midrule",
        *(_tex_row(row) for row in section.rows),
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _tex_row(texts: Sequence[str]) -> str:
    columns = " & ".join(map(_tex, texts))
    return rf"{columns} \\"


def _tex(text: str) -> str:
    for character, command in TEX.items():
        text = text.replace(character, command)
    return text


def page(
    tables: Tables,
    sections: Sequence[Section],
    means: Sequence[Overall] = (),
    matrices: Sequence[Across] = (),
) -> str:
    """The page as HTML; it fetches nothing, and its figures are complete without a script."""
    template = environment(Path(__file__).parent).get_template("page.html.j2")
    return template.render(
        sections=sections,
        means=means,
        mean_heads=HEADS_OF_MEANS,
        matrices=matrices,
        tables=tables,
        titles=TITLES,
        finished=tables.results.height,
        title=_title(tables.bench),
        embed=Markup,
        # Where a folder lies is nobody's business on a page that is mailed.
        folder=Names().folder,
        chart_style=Markup(STYLE),
        chart_script=Markup(SCRIPT),
        bold=_bold,
        unbroken=_unbroken,
    )


def _bold(text: str) -> Markup:
    """``**words**`` in bold; everything else escaped."""
    escaped = Markup.escape(_unbroken(text))
    marked = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(escaped))
    return Markup(marked)


def _unbroken(text: str) -> str:
    """No line ends between a number and its per cent sign."""
    return text.replace(" %", "\u00a0%")


def _title(bench: Bench) -> str:
    """What is compared, over all grids: ``12 methods, 4 budgets, 5 seeds``."""
    trained = [trial for trial in trials(bench) if not trial.untrained]
    counts = {
        "method": len({trial.method for trial in trained}),
        "budget": len({trial.budget for trial in trained if trial.method != FULL}),
        "seed": len({trial.seed for trial in trained}),
    }
    return ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for name, count in counts.items())
