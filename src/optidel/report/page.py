"""The page of a run: every section put together and rendered to RUN/report.html."""

import json
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from markupsafe import Markup

from optidel.charts import SCRIPT, STYLE, colour_of
from optidel.corpus.names import Names, names_of
from optidel.recipe import Recipe
from optidel.report import gallery, text, vinformation
from optidel.report.costs import BreakEven, StepCost, break_even, step_costs
from optidel.report.entropy import EntropySection, entropy_section
from optidel.report.figures import cost_chart, loss_chart
from optidel.report.head import Fact, Head, head_of
from optidel.report.leaks import LeakSection, leak_section
from optidel.report.pictures import Pictures
from optidel.report.results import Chart, ProtocolResults, results_of
from optidel.report.templates import environment
from optidel.runs.collect import Run, read_run
from optidel.store import Artifact, replacing
from optidel.words import plural

# What decides the numbers or the pixels of a run.
PACKAGES = (
    "optidel",
    "torch",
    "transformers",
    "numpy",
    "polars",
    "pillow",
    "scikit-image",
    "onnxruntime",
)


# Where `optidel gallery RUN` writes its page.
GALLERY = "gallery/index.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPage:
    """What the template shows; a section that the run has nothing for is None or empty.

    ``map_page``: from the page to the gallery beside it; empty where none was written.
    """

    run: Run
    map_page: str
    head: Head
    entropy: EntropySection | None
    results: tuple[ProtocolResults, ...]
    loss: Chart | None
    selections: tuple[gallery.SelectionView, ...]
    patches: gallery.PatchesView | None
    composites: tuple[gallery.CompositeView, ...]
    difficulty: gallery.DifficultyView | None
    segmentations: tuple[gallery.SegmentationView, ...]
    vinformation: vinformation.InformationSection | None
    leaks: LeakSection | None
    costs: tuple[StepCost, ...]
    cost_chart: Chart
    break_even: tuple[BreakEven, ...]
    recipe: str
    versions: tuple[Fact, ...]

    @property
    def drawn_classes(self) -> list[int]:
        """The classes that an outline of the predictions has, rising: each has a colour."""
        tiles = [tile for row in self.segmentations for tile in row.predictions]
        kinds = {outline.kind for tile in tiles for outline in tile.outlines}
        predicted = [kind for kind in kinds if kind.startswith("prediction ")]
        return sorted(int(kind.rpartition("-")[2]) for kind in predicted)


def write_report(run: Path, result: Artifact | None = None, *, names: str = "plain") -> Path:
    """Write RUN/report.html, which opens without a network.

    Args:
        run: a run folder. Of an unfinished run the page shows what there is.
        result: which result of the folder to show; by default the newest.
        names: ``hashed`` shows keyed hashes in place of the names of files and folders.

    Returns:
        The page's path.

    Raises:
        InputError: the folder holds no run, or nothing in it is finished yet.
        StoreError: the page cannot be written.
    """
    opened = read_run(Path(run), result)
    target = opened.root / "report.html"
    # Rendered whole before anything is written: an error leaves the page that is there.
    html = render(report_page(opened, names_of(names, opened.root)))
    with replacing(target) as scratch:
        scratch.write_text(html, encoding="utf-8")
    return target


def report_page(run: Run, names: Names) -> ReportPage:
    """Everything that the page of a run shows."""
    pictures = Pictures(run, names)
    loss = loss_chart(run)
    costs = step_costs(run)
    return ReportPage(
        run=run,
        map_page=GALLERY if (run.root / GALLERY).is_file() else "",
        head=head_of(run, names),
        entropy=entropy_section(run),
        results=results_of(run),
        loss=Chart(name="losses", title="Loss of pre-training", svg=loss) if loss else None,
        selections=gallery.selections(run, pictures),
        patches=gallery.patches(run, pictures),
        composites=gallery.composites(run, pictures),
        difficulty=gallery.difficulty_view(run, pictures),
        segmentations=gallery.segmentations(run, names),
        vinformation=vinformation.section(run),
        leaks=leak_section(run, names),
        costs=costs,
        cost_chart=Chart(name="cost", title="Seconds of each step", svg=cost_chart(costs)),
        break_even=break_even(run),
        recipe=_recipe_text(run, names),
        versions=_versions(),
    )


def render(page: ReportPage) -> str:
    """The page as HTML."""
    templates = environment()
    templates.filters.update(
        signed=text.signed,
        percent=text.percent,
        duration=text.duration,
        plural=plural,
        times=text.times,
    )
    template = templates.get_template("template.html.j2")
    return template.render(
        page=page,
        colours=colour_of(page.run.methods),
        chart_style=Markup(STYLE),
        chart_script=Markup(SCRIPT),
    )


def _recipe_text(run: Run, names: Names) -> str:
    """The recipe to copy, without where its folders lie on this machine."""
    if run.recipe is None:
        return ""
    values = _without_paths(run.recipe.model_dump(mode="json", exclude={"work"}, exclude_none=True), names)
    # These three are folders also where they are written as a relative path.
    for key in ("images", "labelled", "out"):
        if values.get(key):
            values[key] = names.folder(values[key])
    return _toml_text(values)


def _without_paths(value: Any, names: Names) -> Any:
    """The value with only the last part of every absolute path in it."""
    if isinstance(value, dict):
        return {key: _without_paths(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_paths(inner, names) for inner in value]
    if isinstance(value, str) and (value.startswith("~") or Path(value).is_absolute()):
        return names.folder(value)
    return value


def to_toml(recipe: Recipe) -> str:
    """The recipe as TOML that ``optidel run --config`` reads back; options left unset are left out."""
    values = recipe.model_dump(mode="json", exclude_none=True)
    return _toml_text(values)


def _toml_text(values: dict[str, Any]) -> str:
    sections = {name: value for name, value in values.items() if isinstance(value, dict)}
    lines = [f"{name} = {_toml(value)}" for name, value in values.items() if name not in sections]
    for name, options in sections.items():
        lines += ["", f"[{name}]"]
        lines += [f"{option} = {_toml(value)}" for option, value in options.items()]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        entries = [f"{name} = {_toml(inner)}" for name, inner in value.items()]
        text = ", ".join(entries)
        return f"{{ {text} }}"
    return json.dumps(value, ensure_ascii=False)


def _versions() -> tuple[Fact, ...]:
    facts = [Fact(name="Python", value=platform.python_version())]
    for package in PACKAGES:
        try:
            facts.append(Fact(name=package, value=version(package)))
        except PackageNotFoundError:  # an extra that is not installed
            continue
    return tuple(facts)
