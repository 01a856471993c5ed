"""A gallery too large for a folder: the same page from this machine to itself.

Each small picture is made when it is asked for.
"""

from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

from PIL import Image as PillowImage

from optidel.corpus.names import Names, names_of
from optidel.errors import InputError
from optidel.gallery.data import GalleryData, gallery_data
from optidel.gallery.page import PAGE, SCRIPTS, write_page
from optidel.gallery.sprites import QUALITY, thumbnail
from optidel.report.pictures import Pictures
from optidel.runs.collect import Run, read_run

# Only this machine: a hospital's images are served to nobody else.
HOST = "127.0.0.1"

# Names under which this machine may be asked for; another would be a foreign page that resolves to it.
HOSTS = ("127.0.0.1", "localhost")

# Small pictures in memory: some 4 kB each.
REMEMBERED = 4096

TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".webp": "image/webp"}


class Server:
    """The gallery of a run on the loopback address.

    Args:
        run: a run folder that has an embedding.
        port: 0 takes a free one.
        names: as in :func:`optidel.gallery.write_gallery`.

    Raises:
        InputError: nothing is embedded yet, or the port is taken.
    """

    def __init__(self, run: Path | str, port: int = 0, *, names: str = "plain") -> None:
        """Read the run and open the port; nothing is served yet."""
        opened = read_run(Path(run))
        data = gallery_data(opened, names_of(names, opened.root))
        picture = _pictures(opened, data)
        self._files = _files(data, opened)
        try:
            self._server = ThreadingHTTPServer((HOST, port), _handler(self._files, picture))
        except OSError as error:
            raise InputError(
                f"port {port} cannot be opened ({error.strerror}); pass another --port, or 0 for any"
            ) from error

    @property
    def address(self) -> str:
        """Where to look."""
        return f"http://{HOST}:{self._server.server_port}/"

    def serve(self) -> None:
        """Serve until :meth:`close` or an interrupt."""
        self._server.serve_forever()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


def _files(data: GalleryData, run: Run) -> dict[str, bytes]:
    """The page and its scripts, by the path under which they are asked for."""
    with TemporaryDirectory() as folder:
        write_page(Path(folder), data, run, live=True)
        names = (PAGE, "data.js", *SCRIPTS)
        files = {f"/{name}": (Path(folder) / name).read_bytes() for name in names}
    files["/"] = files[f"/{PAGE}"]
    return files


def _pictures(run: Run, data: GalleryData) -> Callable[[int], bytes | None]:
    """Number to small picture as WebP: frames first, then composites; None for another number."""
    pictures = Pictures(run, Names())
    composites = data.composites
    # Readers of archives and volumes keep a place in their file, so frames are decoded one at a time.
    lock = Lock()

    @lru_cache(maxsize=REMEMBERED)
    def picture(number: int) -> bytes | None:
        if number < len(data.ids):
            with lock:
                return _webp(pictures.frame(number))
        if number >= len(data.ids) + len(composites):
            return None
        choice, position = composites[number - len(data.ids)]
        assert choice.folder is not None
        path = choice.folder.file(f"images/{choice.composites[position].id}.png")
        with PillowImage.open(path) as opened:
            return _webp(opened.convert("RGB"))

    return picture


def _webp(picture: PillowImage.Image) -> bytes:
    buffer = BytesIO()
    thumbnail(picture).save(buffer, "WEBP", quality=QUALITY, method=2)
    return buffer.getvalue()


def _handler(files: dict[str, bytes], picture: Callable[[int], bytes | None]) -> type[BaseHTTPRequestHandler]:
    """Answers to GET for the page and the pictures, and to nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host = (self.headers.get("Host") or "").rpartition(":")[0]
            path = self.path.partition("?")[0]
            if host not in HOSTS:
                self.send_error(HTTPStatus.FORBIDDEN, "only this machine")
                return
            content = files.get(path) or self._picture(path)
            if content is None:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", TYPES[Path(path).suffix or ".html"])
            self.send_header("Content-Length", str(len(content)))
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(content)

        def _picture(self, path: str) -> bytes | None:
            number = path.removeprefix("/picture/").removesuffix(".webp")
            is_number = path.startswith("/picture/") and number.isascii() and number.isdigit()
            return picture(int(number)) if is_number else None

        def log_message(self, *values: object) -> None:
            """Nothing: names of images are no business of a log."""

    return Handler
