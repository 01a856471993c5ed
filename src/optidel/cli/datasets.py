"""The sets that OptiDEL knows, and whether a folder holds one whole."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from optidel.cli.app import app
from optidel.cli.options import Json

if TYPE_CHECKING:
    from optidel.copies.datasets import SharedImage
    from optidel.datasets import Check, Dataset

RegistryFile = Annotated[
    Path | None,
    typer.Option("--registry", help="TOML file that describes sets of your own.", show_default=False),
]

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
        if registry or name or as_json:
            raise typer.BadParameter("give the options of check after the word check")
        return
    from optidel.datasets import dataset_named

    known = _registry(registry)
    chosen = [dataset_named(name, known)] if name else list(known.values())
    if as_json:
        print(json.dumps([{**asdict(dataset), "split": dataset.split} for dataset in chosen]))
    elif name:
        _describe(chosen[0])
    else:
        _tabulate(chosen)


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

    known = _registry(registry)
    result = check_set(folder, name, known)
    shared = {
        str(other): shared_images(*images_of(folder, name, known), *images_of(other, None, known))
        for other in against or []
    }
    if as_json:
        print(json.dumps(_as_dict(result, shared)))
    else:
        _print_check(result, shared)
    if not result.whole or any(shared.values()):
        raise typer.Exit(2)


app.add_typer(datasets, name="datasets")


def _registry(path: Path | None) -> Any:
    from optidel.datasets import DATASETS, load_registry

    return load_registry(path) if path else DATASETS


def _as_dict(result: "Check", shared: dict[str, list["SharedImage"]]) -> dict[str, Any]:
    return {
        "name": result.dataset.name,
        "root": str(result.root),
        "layout": result.layout,
        "whole": result.whole,
        "split": result.dataset.split,
        "units": result.units,
        "parts": [asdict(part) for part in result.parts],
        "problems": [asdict(problem) for problem in result.problems],
        "notes": list(result.notes),
        "shared": {other: [asdict(image) for image in images] for other, images in shared.items()},
    }


def _print_check(result: "Check", shared: dict[str, list["SharedImage"]]) -> None:
    print(f"{result.dataset.title}: {result.layout}")
    for part in result.parts:
        published = f" of {' or '.join(f'{number:,}' for number in part.published)}" if part.published else ""
        pairs = f", {part.pairs:,} with a mask" if part.pairs else ""
        print(f"  {part.name}: {part.found:,}{published} {part.kind}{pairs}")
    print(f"  split: {result.dataset.split}{f', {result.units} units' if result.units else ''}")
    for problem in result.problems:
        print(f"  {problem.kind}: {problem.message}")
    for note in result.notes:
        print(f"  note: {note}")
    for other, images in shared.items():
        how = {
            kind: [image for image in images if image.how == kind] for kind in ("pixels", "similar", "name")
        }
        print(
            f"  shared with {other}: {len(images)} images"
            + "".join(f", {len(found)} by {kind}" for kind, found in how.items() if found)
        )
        for image in images[:5]:
            print(f"    {image.first} = {image.second} ({image.how})")
    verdict = (
        "whole"
        if result.whole
        else f"not whole, see {' and '.join(dict.fromkeys(problem.kind for problem in result.problems))} above"
    )
    print(verdict + (", and shares images, see above" if any(shared.values()) else ""))


def _describe(dataset: "Dataset") -> None:
    lines = {
        "for": dataset.role,
        "what": dataset.task,
        "size": _size(dataset),
        "centres": f"{dataset.centres or '?'}{_doubt(dataset, 'centres')}",
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
        if text:
            print(f"  {label:<9}  {text}")
    for layout in dataset.layouts:
        print(f"  folders    {layout.title}{_doubt(dataset, 'layouts')}:")
        for part in layout.parts:
            for path in (part.images, *part.masks, *part.boxes):
                print(f"             {path}")
    for trap in dataset.traps:
        print(f"  trap       {trap}")


def _tabulate(chosen: list["Dataset"]) -> None:
    """Two lines a set, which fit 100 columns."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("set", no_wrap=True)
    table.add_column("images", justify="right", no_wrap=True)
    table.add_column("what; split; centres; licence")
    for dataset in chosen:
        facts = {"unit": dataset.split, "centres": _centres(dataset), "licence": dataset.licence}
        told = "; ".join(f"{text}{_star(dataset, field)}" for field, text in facts.items() if text)
        size = f"{dataset.images:,}{_star(dataset, 'images')}" + (
            f"\n+ {dataset.videos:,} videos" if dataset.videos else ""
        )
        table.add_row(dataset.name, size, f"{dataset.role}: {dataset.task}\n[dim]{told}[/dim]")
    console = Console(highlight=False)
    (console if console.is_terminal else Console(width=100, highlight=False)).print(table)
    if any(dataset.unverified for dataset in chosen):
        print("* not verified: no source that was read confirms it")
    print("folders, sources and traps of one set: optidel datasets --name SET")


def _centres(dataset: "Dataset") -> str:
    return f"{dataset.centres or '?'} {'centre' if dataset.centres == 1 else 'centres'}"


def _star(dataset: "Dataset", field: str) -> str:
    return "*" if field in dataset.unverified else ""


def _size(dataset: "Dataset") -> str:
    videos = f" + {dataset.videos:,} videos" if dataset.videos else ""
    return f"{dataset.images:,}{videos}{_doubt(dataset, 'images')}"


def _doubt(dataset: "Dataset", field: str) -> str:
    return " (not verified)" if field in dataset.unverified else ""
