"""Charts, read back as XML: marks lie where the values are, texts are escaped, nothing is fetched."""

import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from optidel.charts import (
    SCRIPT,
    Bin,
    Point,
    Series,
    Share,
    Whisker,
    colour_of,
    histogram,
    lines,
    page,
    shares,
    standalone,
    whiskers,
)
from optidel.charts.colours import COLOURS, OTHERS
from optidel.charts.scales import axis_of, log_ticks, round_ticks

PAPERS = ("#fcfcfb", "#14161a")


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg.replace(' xmlns="http://www.w3.org/2000/svg"', ""))


def dots(chart: ElementTree.Element) -> np.ndarray:
    """(n, 2) places of the markers that stand for values."""
    marks = [
        mark for mark in chart.iter("path") if mark.get("class") == "dot" and mark.find("title") is not None
    ]
    return np.array(
        [[float(value) for value in re.findall(r"-?[\d.]+", mark.get("transform"))] for mark in marks]
    )


@pytest.mark.parametrize("log", [False, True])
def test_points_lie_on_their_axes(log: bool) -> None:
    x, y = np.array([1.0, 10.0, 100.0, 30.0]), np.array([0.2, 0.9, 0.4, 0.6])
    points = [Point(x=a, y=b) for a, b in zip(x, y, strict=True)]
    chart = parsed(lines([Series(name="a", colour="#000", points=points)], "x", "y", log=log))
    places = dots(chart)
    expected = np.log10(x) if log else x
    slope, start = np.polyfit(expected, places[:, 0], 1)
    np.testing.assert_allclose(slope * expected + start, places[:, 0], atol=0.06)
    slope, start = np.polyfit(y, places[:, 1], 1)
    assert slope < 0  # y grows upwards, px downwards
    np.testing.assert_allclose(slope * y + start, places[:, 1], atol=0.06)


def test_ranks_grow_downwards_and_intervals_are_inside() -> None:
    points = [Point(x=0, y=1, low=-4, high=6), Point(x=1, y=2)]
    series = [Series(name="a", colour="#000", points=points)]
    chart = parsed(lines(series, "seed", "rank", downwards=True))
    places = dots(chart)
    assert places[0, 1] < places[1, 1]
    height = float(chart.get("height"))
    ends = [
        float(line.get(name))
        for line in chart.find("g[@class='marks']").iter("line")
        for name in ("y1", "y2")
    ]
    assert 0 < min(ends) < max(ends) < height


def test_what_is_zoomed_can_be_read_back_from_the_axes() -> None:
    points = [Point(x=10, y=0.1), Point(x=1000, y=0.5)]
    chart = parsed(lines([Series(name="a", colour="#000", points=points)], "x", "y", log=True, zoom=True))
    for axis, column, values in (("data-x", 0, (10, 1000)), ("data-y", 1, (0.1, 0.5))):
        start, end, low, high, log = map(float, chart.get(axis).split())
        scaled = low + (dots(chart)[:, column] - start) / (end - start) * (high - low)
        np.testing.assert_allclose(10**scaled if log else scaled, values, rtol=0.01)


def test_every_text_is_escaped_and_no_chart_fetches_anything() -> None:
    evil = "<script>alert(1)</script>&\"'"
    series = [Series(name=evil, colour="#000", points=[Point(x=1, y=1, title=evil)], labels=[evil])]
    charts = [
        lines([*series, *series], evil, evil, ticks=[(1, evil)]),
        whiskers([Whisker(name=evil, colour="#000", mean=1)], evil),
        histogram([Bin(name=evil, colour="#000", counts=[1, 2])], [0, 1, 2], evil, evil),
        shares([Share(name=evil, value=1, label=evil)], "#000", evil),
    ]
    for chart in charts:
        assert any(evil in (element.text or "") for element in parsed(chart).iter())
        assert "<script" not in chart
    whole = page(evil, evil, [(evil, chart) for chart in charts])
    assert whole.count("<script") == 1
    assert not re.search(r'(src|href)="(?!data:|#)', whole)
    assert "http" not in whole.replace("http://www.w3.org/2000/svg", "")
    assert "fetch" not in SCRIPT


def test_charts_of_nothing_and_of_one_value_are_drawn() -> None:
    assert parsed(lines([], "x", "y")) is not None
    one = Series(name="a", colour="#000", points=[Point(x=3, y=3)])
    assert len(dots(parsed(lines([one], "x", "y", log=True)))) == 1
    assert parsed(whiskers([], "x")) is not None
    assert parsed(shares([], "#000", "s")) is not None
    assert parsed(histogram([Bin(name="a", colour="#000", counts=[0])], [0, 1], "x", "y")) is not None


def test_bars_are_as_long_as_their_values() -> None:
    chart = parsed(
        shares([Share(name="a", value=2, label="2"), Share(name="b", value=6, label="6")], "#000", "s")
    )
    first, second = (float(bar.get("width")) for bar in chart.iter("rect"))
    assert second == pytest.approx(3 * first, rel=0.01)
    chart = parsed(histogram([Bin(name="a", colour="#000", counts=[1, 4])], [0.0, 1.0, 2.0], "x", "y"))
    first, second = (float(bar.get("height")) for bar in chart.iter("rect"))
    assert second == pytest.approx(4 * first, rel=0.02)


def test_ticks_are_round_few_and_inside() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        low = float(rng.normal(scale=10.0 ** rng.integers(-4, 5)))
        high = low + float(10.0 ** rng.uniform(-4, 5))
        ticks = round_ticks(low, high)
        assert 2 <= len(ticks) <= 8
        assert low - 1e-9 <= ticks[0] < ticks[-1] <= high + 1e-9
        np.testing.assert_allclose(np.diff(ticks), np.diff(ticks)[0], rtol=1e-3)
    assert log_ticks(0, 2) == [1, 2, 5, 10, 20, 50, 100]
    assert log_ticks(0, 4) == [1, 10, 100, 1000, 10000]
    assert axis_of([5.0, 5.0], 0, 100)(5.0) == 50


def luminance(colour: str) -> float:
    channels = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("colour", [*COLOURS.values(), *OTHERS])
def test_every_colour_is_seen_on_light_and_dark_paper(colour: str) -> None:
    """WCAG 2.2, 1.4.11: graphical objects stand at 3 to 1 or more."""
    for paper in PAPERS:
        light, dark = sorted((luminance(colour), luminance(paper)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3


# Viénot, Brettel and Mollon 1999: linear RGB as people without long- or middle-wave cones see it.
DICHROMATS = {
    "protan": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
    "deutan": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
}


@pytest.mark.parametrize("kind", DICHROMATS)
def test_named_methods_differ_for_colour_blind_eyes(kind: str) -> None:
    seen = {}
    for name, colour in COLOURS.items():
        channels = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
        linear = np.array(DICHROMATS[kind]) @ channels**2.2
        seen[name] = linear.clip(0, 1) ** (1 / 2.2)
    for name, colour in seen.items():
        for other in set(seen) - {name}:
            assert np.abs(colour - seen[other]).max() > 0.1, f"{name} and {other}"


def test_methods_have_colours_of_their_own() -> None:
    names = ["random", "a", "optidel", "b", "c"]
    colours = colour_of(names)
    assert len(set(colours.values())) == len(names)
    assert colour_of(["optidel"])["optidel"] == colours["optidel"]


def test_a_file_of_its_own_has_ink_and_paper() -> None:
    chart = standalone(whiskers([Whisker(name="a", colour="#000", mean=1)], "x"))
    assert parsed(chart).get("style") == "color:#1f2328;background:#fff"


def test_an_interval_that_knows_nothing_is_not_drawn_and_stops_no_page() -> None:
    """One test image: its interval is from minus infinity to infinity."""
    infinite = Whisker(name="a", colour="#000", mean=0.3, low=-math.inf, high=math.inf)
    alone = Whisker(name="a", colour="#000", mean=0.3)
    assert whiskers([infinite], "mIoU") == whiskers([alone], "mIoU")
