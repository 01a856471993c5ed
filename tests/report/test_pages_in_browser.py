"""Report, audit, leak check and bench page in a real browser, at two widths, light and dark."""

import shutil
from collections.abc import Iterator

import pytest
from browser import CONTRAST, OVERLAPS, Browser, Page, chromium, outside, running
from fake_bench import EFFECTS, fake_bench
from pictures import fill

from optidel.benchmark.report import write_bench_report
from optidel.pipeline.audit import audit
from optidel.pipeline.leaks import check_leaks
from optidel.recipe import make_recipe
from optidel.report import write_report

BINARY = chromium()
pytestmark = pytest.mark.skipif(
    BINARY is None, reason="no Chromium; `apt-get install chromium` brings the browser that these tests drive"
)

HOSTILE = "<img src=x onerror=alert(1)>"
PAGES = ("report", "audit", "leaks", "bench")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert BINARY is not None
    with running(BINARY) as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(make_run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The address of each page; every one shows a hostile name."""
    root = tmp_path_factory.mktemp("pages")
    images = root / HOSTILE
    fill(images, 24, 0)
    first = sorted(images.iterdir())[0]
    shutil.copy(first, images / f"{HOSTILE}.png")
    tests = root / "tests"
    fill(tests, 4, 1)
    shutil.copy(first, tests / f"{HOSTILE}.png")

    audited = audit(make_recipe({"images": str(images), "out": str(root / "audit")}), sample=4)
    _, leaks = check_leaks(images, [tests], rate=0.001, near=24, out=root / "leaks")
    assert leaks is not None
    fake_bench(root / "bench", EFFECTS, h={"random": 0.01, "optidel": 0.005}, labelled=HOSTILE)
    return {
        "report": write_report(make_run(name=HOSTILE, seeds=(0, 1, 2))).as_uri(),
        "audit": audited.page.as_uri(),
        "leaks": leaks.as_uri(),
        "bench": write_bench_report(root / "bench").as_uri(),
    }


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page; what it wrote as an error or asked for outside is a failure of the test."""
    opened = browser.page()
    yield opened
    assert opened.errors == []
    assert outside(opened, "file://") == []


@pytest.mark.parametrize("name", PAGES)
def test_hostile_names_are_text(page: Page, pages: dict[str, str], name: str) -> None:
    page.open(pages[name])
    assert page.ask("document.querySelectorAll('img[src=x], [onerror]').length") == 0
    assert HOSTILE in page.ask("document.documentElement.textContent")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 800])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_cut_off_and_text_can_be_read(
    page: Page, pages: dict[str, str], name: str, width: int, dark: bool
) -> None:
    page.open(pages[name], size=(width, 900), dark=dark)
    assert page.ask("document.documentElement.scrollWidth") <= width
    assert page.ask(CONTRAST) == []
    assert page.ask(OVERLAPS) == []


@pytest.mark.parametrize("name", PAGES)
def test_the_keyboard_reaches_every_link_and_what_is_folded(
    page: Page, pages: dict[str, str], name: str
) -> None:
    page.open(pages[name])
    # What scrolls sideways must take the focus too, or a keyboard sees only its left part.
    wanted = page.ask(
        "[...document.querySelectorAll('a[href], summary, button, select, input')]"
        ".filter((node) => node.offsetParent).length"
    )
    reached = set()
    for _ in range(wanted + 40):
        page.key("Tab")
        node = page.ask(
            "(() => { const node = document.activeElement; if (node === document.body) return null;"
            " node.dataset.reached ??= String(document.querySelectorAll('[data-reached]').length);"
            " return [node.dataset.reached, getComputedStyle(node).outlineStyle, node.tagName]; })()"
        )
        if node is None:
            break
        reached.add(node[0])
        assert node[1] != "none", f"{node[2]} shows no focus"
    assert len(reached) >= wanted
