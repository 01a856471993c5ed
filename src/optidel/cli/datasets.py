"""The sets that OptiDEL knows, and whether a folder holds one whole."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from optidel.cli.app import app
from optidel.cli.options import Json, print_json
from optidel.words import counted

if TYPE_CHECKING:
    from optidel.copies.datasets import SharedImage
    from optidel.datasets import Check, Dataset

RegistryFile = Annotated[
    Path | None,
    typer.Option("--registry", help="TOML file that describes sets of your own.", show_default=False),
]

# Columns of the table of sets where standard output is no terminal: no line of it is broken then.
PIPED_WIDTH = 100

# Shared images that are named, a round number; ``--json`` has all.
SHOWN_PAIRS = 5

datasets = typer.Typer(rich_markup_mode="markdown", context_settings={"help_option_names": ["-h", "--help"]})


@datasets.callback(invoke_without_command=True, epilog="Example: `optidel datasets --name polypgen`")
def list_sets(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Option("--name", help="Tell everything of one set.", show_default=False)
    ] = None,
    registry: RegistryFile = None,
    as_json: Json = False,
) -> None:
    """List the sets of DataDEL and your own: size, licence, source, folders, split and traps."""
    if context.invoked_subcommand:
        # Typer accepts these before the word check too, and they would be dropped without a word.
        if registry or name or as_json:
            raise typer.BadParameter("give the options of check after the word check")
        return
    from optidel.datasets import dataset_named

    sets = _registry(registry)
    listing = [dataset_named(name, sets)] if name else list(sets.values())
    if as_json:
        # The split is a property, which asdict leaves out.
        rows = [asdict(dataset) | {"split": dataset.split} for dataset in listing]
        print_json(rows)
    elif name:
        _describe(listing[0])
    else:
        _tabulate(listing)


@datasets.command(epilog="Example: `optidel datasets check DIR --name kvasir-seg --json`")
def check(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder that the set was unpacked into.", show_default=False)
    ],
    name: Annotated[
        str | None,
        typer.Option("--name", help="The set, where it is not to be recognised.", show_default=False),
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            "--against", help="Another folder; report the images that both hold.", show_default=False
        ),
    ] = None,
    registry: RegistryFile = None,
    as_json: Json = False,
) -> None:
    """Compare a folder with the set it holds; exit code 2 where something is missing, wrong or shared."""
    from optidel.copies.datasets import images_of, shared_images
    from optidel.datasets import check as check_set

    sets = _registry(registry)
    result = check_set(folder, name, sets)
    shared = {}
    for other in against or []:
        ours = images_of(folder, name, sets)
        # ``--name`` is of the first folder; the other one is recognised.
        theirs = images_of(other, None, sets)
        shared[str(other)] = shared_images(*ours, *theirs)

    if as_json:
        print_json(_as_dict(result, shared))
    else:
        _print_check(result, shared)
    if not result.whole or any(shared.values()):
        raise typer.Exit(2)


app.add_typer(datasets, name="datasets")


def _registry(path: Path | None) -> Any:
    from optidel.datasets import DATASETS, load_registry

    return load_registry(path) if path else DATASETS


def _as_dict(result: "Check", shared: dict[str, list["SharedImage"]]) -> dict[str, Any]:
    shared_rows = {}
    for other, images in shared.items():
        shared_rows[other] = [asdict(image) for image in images]
    parts = [asdict(part) for part in result.parts]
    problems = [asdict(problem) for problem in result.problems]
    return {
        "name": result.dataset.name,
        "root": str(result.root),
        "layout": result.layout,
        "whole": result.whole,
        "split": result.dataset.split,
        "units": result.units,
        "parts": parts,
        "problems": problems,
        "notes": list(result.notes),
        "shared": shared_rows,
    }


def _print_check(result: "Check", shared: dict[str, list["SharedImage"]]) -> None:
    print(f"{result.dataset.title}: {result.layout}")
    for part in result.parts:
        numbers = " or ".join(f"{number:,}" for number in part.published)
        published = f" of {numbers}" if numbers else ""
        pairs = f", {part.pairs:,} with a mask" if part.pairs else ""
        print(f"  {part.name}: {part.found:,}{published} {part.kind}{pairs}")

    units = f", {result.units} units" if result.units else ""
    print(f"  split: {result.dataset.split}{units}")
    for problem in result.problems:
        print(f"  {problem.kind}: {problem.message}")
    for note in result.notes:
        print(f"  note: {note}")
    for other, images in shared.items():
        _print_shared(other, images)

    # Each kind once, in the order in which they are printed above.
    kinds = dict.fromkeys(problem.kind for problem in result.problems)
    verdict = "whole"
    if not result.whole:
        names = " and ".join(kinds)
        verdict = f"not whole, see {names} above"
    if any(shared.values()):
        verdict += ", and shares images, see above"
    print(verdict)


def _print_shared(other: str, images: list["SharedImage"]) -> None:
    """How many images two folders share, by how they were recognised, and the first few."""
    counts = Counter(image.how for image in images)
    sentence = f"  shared with {other}: {counted(len(images), 'image')}"
    # The surest first: equal pixels prove a copy, an equal name only hints at one.
    for kind in ("pixels", "similar", "name"):
        if counts[kind]:
            sentence += f", {counts[kind]} by {kind}"
    print(sentence)
    for image in images[:SHOWN_PAIRS]:
        print(f"    {image.first} = {image.second} ({image.how})")


def _describe(dataset: "Dataset") -> None:
    centres = dataset.centres or "?"
    lines = {
        "for": dataset.role,
        "what": dataset.task,
        "size": _size(dataset),
        "centres": f"{centres}{_doubt(dataset, 'centres')}",
        "licence": f"{dataset.licence}{_doubt(dataset, 'licence')}",
        "get it at": dataset.url,
        "paper": dataset.paper,
        "split": f"{dataset.split}{_doubt(dataset, 'unit')}",
        "classes": ", ".join(dataset.classes),
        "is inside": ", ".join(dataset.contained_in),
        "sources": "; ".join(dataset.sources),
    }
    print(f"{dataset.title} ({dataset.name})")
    for label, text in lines.items():
        # What a set has nothing of takes no line.
        if text:
            print(f"  {label:<9}  {text}")
    for layout in dataset.layouts:
        print(f"  folders    {layout.title}{_doubt(dataset, 'layouts')}:")
        for part in layout.parts:
            for path in (part.images, *part.masks, *part.boxes):
                print(f"             {path}")
    for trap in dataset.traps:
        print(f"  trap       {trap}")


def _tabulate(listing: list["Dataset"]) -> None:
    """Two lines a set, which fit 100 columns."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("set", no_wrap=True)
    table.add_column("images", justify="right", no_wrap=True)
    table.add_column("what; split; centres; licence")
    for dataset in listing:
        table.add_row(dataset.name, *_table_cells(dataset))

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=PIPED_WIDTH, highlight=False)
    console.print(table)
    if any(dataset.unverified for dataset in listing):
        print("* not verified: no source that was read confirms it")
    print("folders, sources and traps of one set: optidel datasets --name SET")


def _table_cells(dataset: "Dataset") -> tuple[str, str]:
    """Size, and what is known of a set; a star marks what no source confirms."""
    facts = {"unit": dataset.split, "centres": _centres(dataset), "licence": dataset.licence}
    starred = []
    for field, text in facts.items():
        if text:
            star = _star(dataset, field)
            starred.append(f"{text}{star}")
    details = "; ".join(starred)

    size = f"{dataset.images:,}{_star(dataset, 'images')}"
    if dataset.videos:
        size += f"\n+ {dataset.videos:,} videos"
    return size, f"{dataset.role}: {dataset.task}\n[dim]{details}[/dim]"


def _centres(dataset: "Dataset") -> str:
    # 0 stands for not known.
    count = dataset.centres or "?"
    noun = "centre" if count == 1 else "centres"
    return f"{count} {noun}"


def _star(dataset: "Dataset", field: str) -> str:
    return "*" if field in dataset.unverified else ""


def _size(dataset: "Dataset") -> str:
    size = f"{dataset.images:,}"
    if dataset.videos:
        size += f" + {dataset.videos:,} videos"
    doubt = _doubt(dataset, "images")
    return f"{size}{doubt}"


def _doubt(dataset: "Dataset", field: str) -> str:
    return " (not verified)" if field in dataset.unverified else ""
