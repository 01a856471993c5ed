"""The command that shows a run: a folder that opens in a browser, or a server for a corpus too large."""

from pathlib import Path
from typing import Annotated

import typer

from optidel.cli.app import app
from optidel.cli.options import Json, Names, NameStyle, print_json


@app.command(epilog="Example: `optidel gallery run` writes run/gallery/index.html; open it in a browser")
def gallery(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Folder of the gallery; replaced.  [default: RUN/gallery]", show_default=False
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            help="Serve it to this machine at this port instead, as more than 20,000 frames need; 0 takes a "
            "free one.",
            show_default=False,
            min=0,
            max=65_535,
        ),
    ] = None,
    names: Names = NameStyle.plain,
    as_json: Json = False,
) -> None:
    """Look into a run: a map of the images, what each method keeps and why, and tags to take back."""
    if port is None:
        from optidel.gallery import write_gallery

        page = write_gallery(run_folder, out, names=names.value)
        if as_json:
            print_json({"gallery": str(page)})
        else:
            print(page)
        return

    from optidel.gallery.server import Server
    from optidel.progress import say

    server = Server(run_folder, port, names=names.value)
    if as_json:
        print_json({"gallery": server.address})
    else:
        print(server.address, flush=True)
    say("open it in a browser on this machine; Ctrl-C ends it")
    try:
        server.serve()
    except KeyboardInterrupt:
        say("gallery: ended")
