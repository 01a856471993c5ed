"""Commands that look at a corpus and train nothing."""

import json
from pathlib import Path
from typing import Annotated

import typer

from optidel.cli.app import app
from optidel.cli.options import Config, Images, Json, Out, recipe_of


@app.command(epilog="Example: `optidel index scans/ --out run --json`")
def index(images: Images, out: Out, config: Config = None, as_json: Json = False) -> None:
    """List the frames of a folder; quarantine what cannot be read, with the reason."""
    from optidel.corpus.index import Corpus
    from optidel.pipeline import Pipeline

    artifact = Pipeline(recipe_of(images, out, None, None, None, None, None, config)).index
    corpus = Corpus.load(artifact)
    rejected = [{"source": item.source, "reason": item.reason} for item in corpus.rejected]
    flaws = [frame for frame in corpus.frames if frame.flaw]
    if as_json:
        print(json.dumps({"path": str(artifact.path), "frames": len(corpus), "flawed": len(flaws), "rejected": rejected}))
        return
    print(f"{len(corpus)} frames, {len(flaws)} of them blank or dark; {len(rejected)} files quarantined")
    for item in rejected:
        print(f"  {item['source']}: {item['reason']}")
    print(artifact.path)


@app.command(epilog="Example: `optidel export run --method optidel --format webdataset --out shards/`")
def export(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    format: Annotated[str, typer.Option("--format", help="folder, symlinks, webdataset, parquet, hf-datasets or csv.")] = "folder",
    method: Annotated[str | None, typer.Option("--method", help="Whose choice; needed where there are several.")] = None,
    budget: Annotated[float | None, typer.Option("--budget", help="Which of its budgets; needed where there are several.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Which of its seeds.  [default: the lowest]", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option("--out", help="New or empty folder.  [default: RUN/exports/…]", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Write the chosen training set for another trainer: pixels as PNG without metadata, and a manifest that says why."""
    from optidel.pipeline.export import export as write

    made = write(run_folder, format, method=method, budget=budget, seed=seed, out=out)
    if as_json:
        told = {"path": str(made.path), "format": made.format, "images": made.images, "select": made.select}
        print(json.dumps(told | {"method": made.method, "budget": made.budget, "seed": made.seed}))
        return
    print(f"{made.images} images of {made.method} at a budget of {made.budget:g}, seed {made.seed}, as {made.format}")
    print(made.path)
