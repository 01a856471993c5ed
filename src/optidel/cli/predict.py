"""Masks of new images by what a run trained."""

from pathlib import Path
from typing import Annotated

import typer

from optidel.cli.app import app
from optidel.cli.options import Json, print_json
from optidel.words import counted


@app.command(epilog="Example: `optidel predict run NEW-IMAGES --out masks`")
def predict(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run with evaluate.keep = true.")],
    images: Annotated[
        str, typer.Argument(metavar="IMAGES", help="Folder of images, searched through, or its URL.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the masks.", show_default=False)],
    method: Annotated[
        str | None, typer.Option("--method", help="Whose encoder.  [default: the last that was kept]")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the trial.  [default: the first]")] = None,
    protocol: Annotated[
        str | None,
        typer.Option("--protocol", help="fine-tune, probe or ridge.  [default: the first that was kept]"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Segment new images with a segmenter that a run kept: what was measured, looked at on your own images.

    Masks are PNG at each image's own size: 0 and 255 for one class, else a palette whose index is the class.
    """
    from optidel.pipeline.predict import predict_masks

    result = predict_masks(run_folder, images, out, method=method, seed=seed, protocol=protocol)
    if as_json:
        masks = [str(path) for path in result.masks]
        rejected = [{"source": item.source, "reason": item.reason} for item in result.rejected]
        print_json({"masks": masks, "rejected": rejected})
        return
    for item in result.rejected:
        print(f"not read: {item.source}: {item.reason}")
    print(f"{counted(len(result.masks), 'mask')} in {out}")
