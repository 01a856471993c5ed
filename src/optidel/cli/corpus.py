"""Commands that look at a corpus and train nothing."""

import json
from pathlib import Path
from typing import Annotated

import typer

from optidel.cli.app import app
from optidel.cli.options import Config, Images, Json, Out, recipe_of


@app.command(epilog="Example: `optidel index scans/ --pattern '(?P<patient>P[0-9]+)/' --out run --json`")
def index(
    images: Images,
    out: Out,
    pattern: Annotated[
        str | None,
        typer.Option(
            "--pattern",
            help="Regular expression over the path: (?P<patient>…), study, series, video, centre.",
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", help="CSV or Parquet that lists the files: path, group, label, …"),
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """List the frames of a folder; quarantine what cannot be read, with the reason."""
    from optidel.corpus.frames import Corpus
    from optidel.corpus.walk import printable
    from optidel.pipeline.run import Pipeline

    recipe = recipe_of(images, out, None, None, None, None, None, config)
    given = {"pattern": pattern, "manifest": manifest and str(manifest)}
    section = recipe.corpus.model_copy(
        update={name: value for name, value in given.items() if value is not None}
    )
    artifact = Pipeline(recipe.model_copy(update={"corpus": section})).index
    corpus = Corpus.load(artifact)
    rejected = [{"source": item.source, "reason": item.reason} for item in corpus.rejected]
    flaws = [frame for frame in corpus.frames if frame.flaw]
    if as_json:
        since = artifact.json("index.json")["since"]
        told = {
            "path": str(artifact.path),
            "frames": len(corpus),
            "flawed": len(flaws),
            "rejected": rejected,
            "since": since,
        }
        print(json.dumps(told))
        return
    grouped = len({frame.group for frame in corpus.frames if frame.group})
    groups = f" in {grouped} groups" if grouped else ""
    print(f"{len(corpus)} frames{groups}, {len(flaws)} of them worthless; {len(rejected)} files quarantined")
    for item in rejected:
        print(f"  {printable(item['source'])}: {item['reason']}")
    print(artifact.path)


@app.command(epilog="Example: `optidel export run --method optidel --format webdataset --out shards/`")
def export(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    format: Annotated[
        str, typer.Option("--format", help="folder, symlinks, webdataset, parquet, hf-datasets or csv.")
    ] = "folder",
    method: Annotated[
        str | None, typer.Option("--method", help="Whose choice; needed where there are several.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option("--budget", help="Which of its budgets; needed where there are several.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Which of its seeds.  [default: the lowest]", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="New or empty folder.  [default: RUN/exports/…]", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the chosen training set for another trainer: pixels as PNG without metadata, and a manifest that
    says why.
    """
    from optidel.pipeline.export import export as write

    made = write(run_folder, format, method=method, budget=budget, seed=seed, out=out)
    if as_json:
        told = {"path": str(made.path), "format": made.format, "images": made.images, "select": made.select}
        print(json.dumps(told | {"method": made.method, "budget": made.budget, "seed": made.seed}))
        return
    print(
        f"{made.images} images of {made.method} at a budget of {made.budget:g}, seed {made.seed}, as {made.format}"
    )
    print(made.path)


@app.command(epilog="Example: `optidel leaks corpus/ labelled/images --json`")
def leaks(
    train: Annotated[
        Path, typer.Argument(metavar="TRAIN", help="Folder of the pre-training corpus.", show_default=False)
    ],
    test: Annotated[
        list[Path], typer.Argument(metavar="TEST...", help="Folders of test images.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for a page with the pairs side by side.", show_default=False),
    ] = None,
    rate: Annotated[
        float, typer.Option("--rate", help="False positives of the embedding per test image.")
    ] = 0.001,
    near: Annotated[
        int, typer.Option("--near", help="Bits of 256 by which perceptual hashes may differ.")
    ] = 24,
    as_json: Json = False,
) -> None:
    """Find test images, or changed copies of them, in a pre-training corpus."""
    from optidel.pipeline.leak_page import check_leaks, in_words

    found, page = check_leaks(train, test, rate=rate, near=near, out=out)
    if as_json:
        print(json.dumps(found.to_json() | {"page": str(page) if page else None}))
        return
    kinds = {
        "equal pixels": found.exact,
        "equal to the eye": found.perceptual,
        "changed copies": found.embedding,
    }
    matched, trust = in_words(found)
    print(matched)
    for kind, matches in kinds.items():
        print(f"{kind}: {len(matches)} pairs")
        for match in matches:
            print(f"  {match.folder}/{match.test} = {match.train}")
    print(trust)
    if page:
        print(page)


@app.command(epilog="Example: `optidel audit scans/ --out run`")
def audit(
    images: Images,
    out: Annotated[
        Path | None, typer.Option("--out", help="Run folder.  [default: runs/audit-NAME]", show_default=False)
    ] = None,
    config: Config = None,
    blank: Annotated[
        float | None,
        typer.Option("--blank", help="Deviation of grey, of 255 levels, below which a frame is blank."),
    ] = None,
    dark: Annotated[
        float | None, typer.Option("--dark", help="Fraction of black above which a frame is dark.")
    ] = None,
    saturated: Annotated[
        float | None, typer.Option("--saturated", help="Fraction of white above which a frame is saturated.")
    ] = None,
    blurred: Annotated[
        float | None, typer.Option("--blurred", help="Sharpness below which a frame is blurred.")
    ] = None,
    entropy: Annotated[
        float | None, typer.Option("--entropy", help="Bits of the histogram below which it is low.")
    ] = None,
    border: Annotated[
        float | None, typer.Option("--border", help="Fraction of border above which a frame is marked.")
    ] = None,
    text: Annotated[
        float | None,
        typer.Option("--text", help="Fraction under burned-in text above which a frame is marked."),
    ] = None,
    near: Annotated[int | None, typer.Option("--near", help="Bits of 256 between near-duplicates.")] = None,
    sample: Annotated[
        int, typer.Option("--sample", help="Frames on which burned-in text is looked for; 0 for all.")
    ] = 200,
    as_json: Json = False,
) -> None:
    """Count what is blank, blurred, burned in or there twice, and write a page with the worst; nothing is
    deleted.
    """
    from optidel.pipeline.audit import audit as look

    out = out or Path("runs") / f"audit-{images.resolve().name}"
    given = {
        "blank": blank,
        "dark": dark,
        "saturated": saturated,
        "blurred": blurred,
        "entropy": entropy,
        "border": border,
        "text": text,
        "near": near,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    found = look(recipe_of(images, out, None, None, None, None, None, config), chosen, sample=sample)
    if as_json:
        print(json.dumps(found.to_json()))
        return
    print(
        f"{found.frames} frames; {found.redundant} are copies or near-copies of an earlier one ({found.redundant / found.frames:.1%})"
    )
    for name, count in found.counts.items():
        print(f"  {name:<16}{count}" + (f" of {found.sampled} looked at" if name == "text" else ""))
    print(found.page)
