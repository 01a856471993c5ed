"""Commands that look at a corpus and train nothing."""

from pathlib import Path
from typing import Annotated

import typer

from optidel.cli.app import app
from optidel.cli.options import (
    Config,
    Images,
    Json,
    Names,
    NameStyle,
    Out,
    Settings,
    TagsFile,
    print_json,
    recipe_of,
    say_next,
    without_none,
)
from optidel.errors import RecipeError
from optidel.words import counted


@app.command(epilog="Example: `optidel index scans/ --pattern '(?P<patient>P[0-9]+)/' --out run --json`")
def index(
    images: Images = None,
    out: Out = None,
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
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """List the frames of a folder; quarantine what cannot be read, with the reason."""
    from optidel.corpus.frames import Corpus
    from optidel.corpus.walk import printable
    from optidel.pipeline.pipeline import Pipeline

    recipe = recipe_of(images, out, config=config, settings=settings)
    # These two are keys of the section [corpus]; as options they win over the recipe's, like all others.
    options = without_none({"pattern": pattern, "manifest": manifest and str(manifest)})
    section = recipe.corpus.model_copy(update=options)
    recipe = recipe.model_copy(update={"corpus": section})
    artifact = Pipeline(recipe).whole
    corpus = Corpus.load(artifact)
    worthless = [frame for frame in corpus.frames if frame.flaw]

    if as_json:
        rejected = [{"source": file.source, "reason": file.reason} for file in corpus.rejected]
        print_json(
            {
                "path": str(artifact.path),
                "frames": len(corpus),
                "flawed": len(worthless),
                "rejected": rejected,
                "since": artifact.json("index.json")["since"],
            }
        )
        return

    groups = {frame.group for frame in corpus.frames if frame.group}
    in_groups = ""
    if groups:
        in_groups = f" in {counted(len(groups), 'group')}"
    print(
        f"{counted(len(corpus), 'frame')}{in_groups}, {len(worthless)} of them worthless; "
        f"{counted(len(corpus.rejected), 'file')} quarantined"
    )
    for file in corpus.rejected:
        # A file's name may hold control characters, which a terminal would obey.
        print(f"  {printable(file.source)}: {file.reason}")
    print(artifact.path)
    say_next("index", recipe.out)


@app.command(epilog="Example: `optidel export run --method optidel --format webdataset --out shards/`")
def export(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    format: Annotated[
        str,
        typer.Option(
            "--format",
            help="folder, symlinks, webdataset, parquet, hf-datasets, csv, coco, lightly-studio, fiftyone, "
            "embedding-atlas, monai or weights; of the pre-trained encoder: encoder, timm or onnx.",
        ),
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
    tags: TagsFile = None,
    names: Names = NameStyle.plain,
    as_json: Json = False,
) -> None:
    """Write the chosen training set for another trainer, pixels as PNG without metadata and a manifest that
    says why; or the encoder that was trained on it, with a model card.
    """
    from optidel.export import ENCODERS, export_encoder
    from optidel.export import export as write_export

    if format in ENCODERS:
        if tags is not None:
            raise RecipeError(
                f"the format {format} is of the encoder, which tags do not change; leave out --tags, or "
                "pre-train with them"
            )
        written = export_encoder(run_folder, format, method=method, budget=budget, seed=seed, out=out)
    else:
        written = write_export(
            run_folder, format, method=method, budget=budget, seed=seed, out=out, names=names.value, tags=tags
        )
    if as_json:
        print_json(
            {
                "path": str(written.path),
                "format": written.format,
                "images": written.images,
                "select": written.select,
                "method": written.method,
                "budget": written.budget,
                "seed": written.seed,
            }
        )
        return

    subject = f"{written.images} images of {written.method}"
    if format in ENCODERS:
        subject = f"the encoder trained on {subject}"
    print(f"{subject} at a budget of {written.budget:g}, seed {written.seed}, as {written.format}")
    print(written.path)


@app.command(epilog="Example: `optidel leaks corpus/ labelled/images --json`")
def leaks(
    train: Annotated[
        str, typer.Argument(metavar="TRAIN", help="Folder of the pre-training corpus.", show_default=False)
    ],
    test: Annotated[
        list[str], typer.Argument(metavar="TEST...", help="Folders of test images.", show_default=False)
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
    names: Names = NameStyle.plain,
    as_json: Json = False,
) -> None:
    """Find test images, or changed copies of them, in a pre-training corpus."""
    from optidel.pipeline.leaks import check_leaks
    from optidel.report.leak_page import TITLES, in_words

    result, page = check_leaks(train, test, rate=rate, near=near, out=out, names=names.value)
    if as_json:
        path = str(page) if page else None
        print_json(result.to_json() | {"page": path})
        return

    verdict, trust = in_words(result)
    print(verdict)
    for kind, title in TITLES.items():
        pairs = result.of(kind)
        print(f"{title}: {counted(len(pairs), 'pair')}")
        for pair in pairs:
            print(f"  {pair.folder}/{pair.test} = {pair.train}")
    print(trust)
    if page:
        print(page)


@app.command(epilog="Example: `optidel audit scans/ --out run`")
def audit(
    images: Images = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Run folder.  [default: runs/audit-NAME]", show_default=False)
    ] = None,
    config: Config = None,
    settings: Settings = None,
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
    names: Names = NameStyle.plain,
    as_json: Json = False,
) -> None:
    """Count what is blank, blurred, burned in or there twice, and write a page with the worst; nothing is
    deleted.
    """
    from optidel.pipeline.audit import audit as audit_corpus
    from optidel.remote import place

    # A recipe may name the run folder; without one, a first look at a corpus should need no option.
    if out is None and config is None and images is not None:
        folder = place(images)
        name = folder.resolve().name if isinstance(folder, Path) else folder.name
        out = Path("runs") / f"audit-{name}"
    # An option left out takes the default of the audit's own table, so no default stands here.
    options = {
        "blank": blank,
        "dark": dark,
        "saturated": saturated,
        "blurred": blurred,
        "entropy": entropy,
        "border": border,
        "text": text,
        "near": near,
    }
    thresholds = without_none(options)
    recipe = recipe_of(images, out, config=config, settings=settings)
    result = audit_corpus(recipe, thresholds, sample=sample, names=names.value)
    if as_json:
        print_json(result.to_json())
        return

    share = result.redundant / result.frames
    print(
        f"{counted(result.frames, 'frame')}; {result.redundant} are copies or near-copies of an earlier one "
        f"({share:.1%})"
    )
    for mark, count in result.counts.items():
        # Of all marks only text is counted on a sample, that of --sample.
        sampled = f" of {result.sampled} looked at" if mark == "text" else ""
        print(f"  {mark:<16}{count}{sampled}")
    print(result.page)
    say_next("audit", recipe.out)
