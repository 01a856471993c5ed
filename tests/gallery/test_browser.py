"""The gallery in a real browser: lasso, twins, filters, tags, and no request outside."""

import base64
import csv
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CONTRAST, OVERLAPS, Browser, Page, chromium, outside, running
from nano import NANO_RECIPE
from pictures import NANO

from optidel.gallery import write_gallery
from optidel.gallery.server import Server
from optidel.models.presets import PRESETS
from optidel.pipeline.pipeline import Pipeline
from optidel.recipe import make_recipe
from optidel.runs.collect import read_run

BINARY = chromium()
pytestmark = pytest.mark.skipif(
    BINARY is None, reason="no Chromium; `apt-get install chromium` brings the browser that these tests drive"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert BINARY is not None
    with running(BINARY) as opened:
        yield opened


@pytest.fixture(scope="module")
def gallery(chosen: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_gallery(chosen, tmp_path_factory.mktemp("page") / "gallery").as_uri()


Look = Callable[..., Page]


@pytest.fixture
def look(browser: Browser) -> Iterator[Look]:
    """Open a page; at the end it must have written no error and asked for nothing outside its folder."""
    pages = []

    def open_page(address: str, **options: Any) -> Page:
        page = browser.page()
        page.open(address, **options)
        page.wait("window.gallery && document.querySelectorAll('#grid .tile').length")
        page.ask("localStorage.clear(), gallery.tags.clear()")
        pages.append((page, address))
        return page

    yield open_page
    for page, address in pages:
        assert page.errors == []
        assert outside(page, address) == []


def ring(page: Page, share: float) -> list[tuple[float, float]]:
    """A circle in the middle of the map; ``share`` of its half height is the radius."""
    left, top, width, height = page.ask(
        "(() => { const r = document.getElementById('map').getBoundingClientRect();"
        " return [r.left, r.top, r.width, r.height]; })()"
    )
    radius = share * height / 2
    angles = [2 * math.pi * step / 36 for step in range(37)]
    return [
        (left + width / 2 + radius * math.cos(angle), top + height / 2 + radius * math.sin(angle))
        for angle in angles
    ]


@pytest.mark.parametrize("flat", [False, True], ids=["webgl", "canvas"])
def test_a_lasso_shows_what_lies_in_it(look: Look, gallery: str, chosen: Path, flat: bool) -> None:
    frames = read_run(chosen).frames.height
    page = look(gallery + ("?flat" if flat else ""))
    assert page.ask("gallery.plot() === null") is flat
    assert f"{frames} images on the map" in page.ask("document.getElementById('selected').textContent")
    # Until the map is drawn, a lasso holds nothing.
    page.wait("!gallery.plot() || gallery.plot().get('points').length")
    page.drag(ring(page, 0.98))
    page.wait("document.getElementById('selected').textContent.includes('in the lasso')")
    inside = page.ask("gallery.shown()")
    assert 0 < len(inside) <= frames
    assert page.ask("document.querySelectorAll('#grid .tile').length") == len(inside)
    page.key("Escape")
    page.wait(f"gallery.shown().length === {frames}")


def test_an_image_tells_why_and_shows_its_twin(look: Look, gallery: str, chosen: Path) -> None:
    page = look(gallery)
    select = next(trial.select for trial in read_run(chosen).trials if trial.method == "optidel")
    assert select is not None
    table = select.table("selection.parquet")
    ids = read_run(chosen).frames["id"].to_list()
    dropped = next(row for row in table.iter_rows(named=True) if row["twin"])
    page.ask(f"gallery.go({ids.index(dropped['id'])})")
    text = page.ask("document.getElementById('detail').textContent")
    assert dropped["id"] in text
    assert dropped["reason"] in text
    assert f"cosine {dropped['similarity']:.3f}" in text
    page.ask("document.querySelector('#detail figure').click()")
    assert page.ask("document.querySelector('#detail h2').textContent") == dropped["twin"]
    kept = table.filter("kept").sort("rank")["id"][0]
    page.ask(f"gallery.go({ids.index(kept)})")
    assert "kept, rank 1" in page.ask("document.getElementById('detail').textContent")


def test_a_composite_stands_beside_its_sources_and_their_boxes(look: Look, gallery: str) -> None:
    page = look(gallery)
    row = page.ask("GALLERY.choices.find((choice) => choice.composites.length).composites[0].rows[0]")
    page.ask(f"gallery.go({row})")
    assert "composite" in page.ask("document.getElementById('detail').textContent")
    assert page.ask("document.querySelectorAll('#detail .box').length") >= 4


def test_names_filters_and_methods_narrow_what_is_shown(look: Look, gallery: str, chosen: Path) -> None:
    page = look(gallery)
    ids = read_run(chosen).frames["id"].to_list()
    page.key("/")
    page.ask("document.getElementById('query').value = 'south', document.getElementById('query').oninput()")
    assert len(page.ask("gallery.shown()")) == sum("south" in name for name in ids)
    page.key("Escape")
    page.ask("document.getElementById('show').value = 'kept', document.getElementById('show').onchange()")
    assert len(page.ask("gallery.shown()")) == 3
    page.ask("document.getElementById('show').value = 'all', document.getElementById('show').onchange()")
    page.ask(
        "(() => { const c = document.getElementById('compare');"
        " c.value = c.options[1].value; c.onchange(); })()"
    )
    assert "both" in page.ask("document.getElementById('legend').textContent") or "only" in page.ask(
        "document.getElementById('legend').textContent"
    )
    page.ask("document.querySelector('#legend button').click()")
    assert len(page.ask("gallery.shown()")) < len(ids)


def test_frames_that_show_nothing_come_last(look: Look, chosen: Path, tmp_path: Path) -> None:
    page_file = write_gallery(chosen, tmp_path / "gallery")
    data = page_file.parent / "data.js"
    values = json.loads(data.read_text().removeprefix("window.GALLERY=").rstrip().removesuffix(";"))
    choice = next(choice for choice in values["choices"] if choice["name"].startswith("optidel "))
    rank = np.frombuffer(base64.b64decode(choice["rank"]), "<i4")
    # The first two dropped frames become blank.
    blank = np.flatnonzero(rank < 0)[:2]
    codes = np.full(len(rank), -1, np.int16)
    codes[blank] = 0
    text = base64.b64encode(codes.tobytes()).decode()
    flaw = {"name": "flaw", "values": ["blank"], "codes": text, "source": False, "map": None}
    values["categories"] = [v for v in values["categories"] if v["name"] != "flaw"] + [flaw]
    data.write_text(f"window.GALLERY={json.dumps(values)};")

    page = look(page_file.as_uri())
    shown = page.ask("gallery.shown()")
    assert shown[-2:] == blank.tolist()
    assert [rank[row] for row in shown[:3]] == [0, 1, 2]
    assert "dropped (2 show nothing)" in page.ask("document.getElementById('selected').textContent")


def test_hostile_names_do_nothing(look: Look, gallery: str) -> None:
    page = look(gallery)
    assert page.ask("document.querySelectorAll('#grid img, #detail img').length") == 0
    row = page.ask("GALLERY.labels.findIndex((label) => label.includes('onerror'))")
    page.ask(f"gallery.go({row})")
    assert "<img src=x onerror=alert(1)>" in page.ask("document.querySelector('#detail h2').textContent")


def test_the_keyboard_walks_and_tags(look: Look, gallery: str) -> None:
    page = look(gallery)
    page.key("ArrowRight")
    first = page.ask("gallery.shown()[0]")
    page.key("d")
    page.key("k")
    tags = page.ask("[...gallery.tags]")
    assert tags[0] == [first, "drop"]
    assert tags[1][1] == "keep"
    assert "1 keep, 1 drop" in page.ask("document.getElementById('tagged').textContent")
    page.key("ArrowLeft")
    page.key("ArrowLeft")
    page.key("u")
    assert page.ask("[...gallery.tags].length") in (1, 2)


def test_tags_survive_a_visit_and_read_back(look: Look, gallery: str) -> None:
    page = look(gallery)
    page.ask("gallery.go(GALLERY.labels.findIndex((label) => label.includes('=cmd')))")
    page.key("d")
    text = page.ask("gallery.csv()")
    rows = list(csv.reader(text.splitlines()))
    assert rows[0] == ["id", "tag"]
    assert rows[1][1] == "drop"
    assert rows[1][0].endswith("=cmd,\"quoted\" and 'so'.png")
    page.open(gallery)  # a reload would end the next question half-way
    page.wait("window.gallery && gallery.tags.size === 1")
    page.ask("localStorage.clear()")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 800])
def test_nothing_is_cut_off_and_text_can_be_read(look: Look, gallery: str, width: int, dark: bool) -> None:
    page = look(gallery, size=(width, 900), dark=dark)
    assert page.ask("document.documentElement.scrollWidth") <= width
    page.ask("gallery.go(gallery.shown()[0])")
    assert page.ask(CONTRAST) == []
    assert page.ask(OVERLAPS) == []


def test_a_worker_may_index_a_million_points(look: Look, gallery: str) -> None:
    """From a million points on, the map's library does so, and draws nothing where the page forbids it."""
    page = look(gallery)
    worker = "new Worker(URL.createObjectURL(new Blob(['postMessage(7)'])))"
    answer = (
        f"new Promise((done, fail) => {{ const made = {worker};"
        " made.onerror = fail; made.onmessage = (message) => done(message.data); })"
    )
    assert page.ask(answer) == 7


def test_the_map_stays_beside_the_images_and_colours_anew(look: Look, gallery: str) -> None:
    page = look(gallery)
    page.wait("gallery.plot().get('points').length")
    page.ask("(document.body.style.minHeight = '4000px', scrollTo(0, 600), 0)")
    assert page.ask("scrollY") == 600
    page.ask("(document.querySelector('.right').style.minHeight = '3000px', 0)")
    assert page.ask("document.querySelector('.left').getBoundingClientRect().top") >= 0
    index = "gallery.plot().get('spatialIndex')"
    page.ask(f"(window.first = {index}, 0)")
    page.ask(
        "(() => { const colour = document.getElementById('colour');"
        " colour.selectedIndex += 1; colour.onchange(); })()"
    )
    page.wait(f"{index} === window.first")
    page.ask("gallery.go(gallery.shown()[1])")
    assert page.ask("gallery.plot().get('selectedPoints')") == [page.ask("gallery.shown()[1]")]


def test_the_server_shows_the_same(look: Look, chosen: Path) -> None:
    import threading

    server = Server(chosen)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        page = look(server.address)
        page.ask("gallery.go(0)")
        assert page.ask("getComputedStyle(document.querySelector('.picture')).backgroundImage").endswith(
            '.webp")'
        )
    finally:
        server.close()
        thread.join()


def test_lasso_tag_save_and_run_again_with_the_tags(
    look: Look, gallery: str, chosen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = look(gallery)
    page.wait("gallery.plot().get('points').length")
    page.drag(ring(page, 0.6))
    page.wait("document.getElementById('selected').textContent.includes('in the lasso')")
    rows = page.ask("gallery.shown()")
    page.ask("document.querySelector('.bar [data-tag=\"drop\"]').click()")
    page.ask(f"gallery.go({rows[0]})")
    page.key("k")
    (tmp_path / "tags.csv").write_text(page.ask("gallery.csv()"))

    monkeypatch.setitem(PRESETS, "tiny", NANO)
    values = {
        "images": str(chosen.parent / "images"),
        "out": str(tmp_path / "again"),
        "methods": ["random"],
        "corpus": {"tags": str(tmp_path / "tags.csv")},
        **NANO_RECIPE,
    }
    select = Pipeline(make_recipe(values)).select("random", 0)
    table = select.table("selection.parquet")
    ids = read_run(chosen).frames["id"].to_list()
    assert table.filter("kept").sort("rank")["id"][0] == ids[rows[0]]
    assert set(table["id"]) == set(ids) - {ids[row] for row in rows[1:]}
