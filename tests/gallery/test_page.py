"""The folder of a gallery, its data against the artifacts, and the server for this machine alone."""

import base64
import http.client
import json
import shutil
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from optidel.errors import InputError
from optidel.gallery import page as page_module
from optidel.gallery import write_gallery
from optidel.gallery.server import Server
from optidel.gallery.sprites import SIDE, thumbnail, write_sheets
from optidel.runs.collect import read_run


def data_of(page: Path) -> dict[str, Any]:
    text = (page.parent / "data.js").read_text()
    values: dict[str, Any] = json.loads(text.removeprefix("window.GALLERY=").rstrip().removesuffix(";"))
    return values


def column(text: str, kind: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(base64.b64decode(text), kind)


def test_every_choice_is_told_frame_by_frame(chosen: Path, tmp_path: Path) -> None:
    data = data_of(write_gallery(chosen, tmp_path / "gallery"))
    run = read_run(chosen)
    ids = run.frames["id"].to_list()
    assert data["labels"] == ids
    assert {choice["name"].split()[0] for choice in data["choices"]} == {"random", "optidel", "optidel-paper"}
    trials = {trial.method: trial for trial in run.trials}
    for choice in data["choices"]:
        method = choice["name"].split()[0]
        select = trials[method].select
        assert select is not None
        table = select.table("selection.parquet")
        rank = column(choice["rank"], "<i4")
        kept = table.filter("kept")
        if choice["unit"] == "frame":
            assert {ids[row] for row in np.flatnonzero(rank >= 0)} == set(kept["id"])
            for row in table.iter_rows(named=True):
                at = ids.index(row["id"])
                assert choice["reasons"][column(choice["reason"], "<i2")[at]] == row["reason"]
                twin = column(choice["twin"], "<i4")[at]
                assert (ids[twin] if twin >= 0 else None) == row["twin"]
        else:
            assert {ids[row] for row in np.flatnonzero(rank >= 0)} == {
                name.rpartition("@")[0] for name in kept["id"]
            }
            assert [len(composite["rows"]) for composite in choice["composites"]] == [4, 4, 4]
            assert all(
                0 <= edge <= 1 for made in choice["composites"] for box in made["boxes"] for edge in box
            )


def test_a_folder_is_a_source_and_its_share_is_told(chosen: Path, tmp_path: Path) -> None:
    data = data_of(write_gallery(chosen, tmp_path / "gallery"))
    folder = next(variable for variable in data["categories"] if variable["name"] == "folder")
    assert folder["values"] == ["north", "south"]
    assert folder["source"]
    assert folder["map"] is not None
    assert {variable["name"] for variable in data["numbers"]} >= {"difficulty", "brightness"}


def test_hashed_names_leave_no_name(chosen: Path, tmp_path: Path) -> None:
    page = write_gallery(chosen, tmp_path / "gallery", names="hashed")
    text = (page.parent / "data.js").read_text() + page.read_text()
    assert "north" not in text
    assert "onerror=alert" not in text
    assert str(chosen) not in text


def test_names_end_no_script(chosen: Path, tmp_path: Path) -> None:
    text = (write_gallery(chosen, tmp_path / "gallery").parent / "data.js").read_text()
    assert "</" not in text


def test_the_page_asks_for_nothing_outside(chosen: Path, tmp_path: Path) -> None:
    html = write_gallery(chosen, tmp_path / "gallery").read_text()
    assert "http://" not in html
    assert "https://" not in html
    assert "default-src 'none'" in html


def test_a_gallery_replaces_a_gallery_and_nothing_else(chosen: Path, tmp_path: Path) -> None:
    write_gallery(chosen, tmp_path / "gallery")
    before = sorted(path.name for path in (tmp_path / "gallery").rglob("*"))
    write_gallery(chosen, tmp_path / "gallery")
    assert sorted(path.name for path in (tmp_path / "gallery").rglob("*")) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(InputError, match="no gallery"):
        write_gallery(chosen, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"


def test_too_many_frames_and_no_embedding_have_a_remedy(
    chosen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "MOST_STATIC", 5)
    with pytest.raises(InputError, match="--port"):
        write_gallery(chosen)
    monkeypatch.undo()
    bare = tmp_path / "bare"
    shutil.copytree(chosen, bare)
    for folder in bare.glob("embed-*"):
        shutil.rmtree(folder)
    with pytest.raises(InputError, match="no embedding yet"):
        write_gallery(bare)


def test_sheets_hold_every_picture_in_its_place(tmp_path: Path) -> None:
    colours = [(number % 7 * 30, number // 7 * 5, 200) for number in range(300)]
    pictures = [Image.new("RGB", (40, 20), colour) for colour in colours]
    assert write_sheets(tmp_path, iter(pictures)) == 2
    for number in (0, 17, 255, 256, 299):
        with Image.open(tmp_path / f"{number // 256}.webp") as sheet:
            down, across = divmod(number % 256, 16)
            centre = sheet.convert("RGB").getpixel((across * SIDE + SIDE // 2, down * SIDE + SIDE // 2))
        assert centre == pytest.approx(colours[number], abs=12)
    with Image.open(tmp_path / "1.webp") as last:
        assert last.size == (16 * SIDE, 3 * SIDE)
    assert thumbnail(pictures[0]).size == (SIDE, SIDE)


@pytest.fixture
def server(chosen: Path) -> Iterator[Server]:
    opened = Server(chosen)
    thread = threading.Thread(target=opened.serve, daemon=True)
    thread.start()
    yield opened
    opened.close()
    thread.join()


def ask(server: Server, path: str, host: str | None = None) -> tuple[int, bytes]:
    address = server.address.removeprefix("http://").rstrip("/")
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request("GET", path, headers={"Host": host or address})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def test_the_server_shows_every_picture_and_nothing_else(server: Server, chosen: Path) -> None:
    assert ask(server, "/")[0] == 200
    assert b'"live":true' in ask(server, "/data.js")[1]
    status, body = ask(server, "/picture/0.webp")
    assert status == 200
    with Image.open(BytesIO(body)) as picture:
        assert picture.size == (SIDE, SIDE)
    frames = read_run(chosen).frames.height
    assert ask(server, f"/picture/{frames}.webp")[0] == 200  # the first composite
    for path in ("/picture/9999.webp", "/picture/-1.webp", "/picture/x.webp", "/../run.json", "/etc/passwd"):
        assert ask(server, path)[0] == 404


def test_another_machine_and_a_foreign_name_get_nothing(server: Server) -> None:
    assert server.address.startswith("http://127.0.0.1:")
    assert ask(server, "/", host="evil.example:80")[0] == 403


def test_a_taken_port_is_told(server: Server, chosen: Path) -> None:
    port = int(server.address.rstrip("/").rpartition(":")[2])
    with pytest.raises(InputError, match=f"port {port}"):
        Server(chosen, port)


def test_the_same_run_has_the_same_gallery(chosen: Path, tmp_path: Path) -> None:
    pages = [write_gallery(chosen, tmp_path / name) for name in ("one", "two")]
    files = [sorted(path for path in page.parent.rglob("*") if path.is_file()) for page in pages]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]
