"""Charts: where lines go, and that names cannot break them."""

import re
from xml.etree import ElementTree

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sodkit.viz.svg import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Series,
    line_chart,
    path_data,
    round_ticks,
    sparkline,
)


def chart(series, **options):
    return line_chart(series, x_label="recall", y_label="precision", label="a < b", **options)


def lines(text):
    root = ElementTree.fromstring(str(text))
    return [p for p in root.iter("path") if p.get("class", "").startswith("line")]


def points(path):
    return [tuple(map(float, p.split())) for p in re.findall(r"[ML]([-\d. ]+)", path.get("d"))]


def test_corners_of_the_axes():
    (line,) = lines(chart([Series("x", np.array([0.0, 1]), np.array([1.0, 0]), 3)]))
    assert line.get("class") == "line s3"
    assert points(line) == [(LEFT, TOP), (WIDTH - RIGHT, HEIGHT - BOTTOM)]


def test_another_range():
    series = [Series("x", np.array([0.5, 0.75, 1.0]), np.array([0.0, 0.5, 0]), 0)]
    (line,) = lines(chart(series, x_range=(0.5, 1.0), x_ticks=(0.5, 1.0)))
    assert points(line)[1] == ((LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2)


def texts(text, kind):
    root = ElementTree.fromstring(str(text))
    return [one for one in root.iter("text") if one.get("class") == kind]


def test_ticks_have_room_beside_the_name_of_the_axis_and_in_the_picture():
    """At some 7 units a character, as a browser shows them."""
    series = [Series("lr", np.array([0.0, 12000]), np.array([0.0, 0.0008]), 0)]
    text = chart(
        series, x_range=(0, 12000), x_ticks=(0, 12000), y_range=(0, 8e-4), y_ticks=(0, 2e-4, 8e-4)
    )
    for tick in texts(text, "tick end"):
        assert float(tick.get("x")) - 7 * len(tick.text) > 12 + 6  # the turned name
    for tick in texts(text, "tick mid"):
        assert float(tick.get("x")) + 3.5 * len(tick.text) <= WIDTH
    (line,) = lines(text)
    assert points(line)[-1] == (WIDTH - RIGHT, TOP)
    assert points(line)[0][0] == float(texts(text, "tick end")[0].get("x")) + 6


def test_the_first_series_is_on_top_and_colours_repeat():
    x = np.array([0.0, 1])
    drawn = lines(chart([Series(str(k), x, x, k) for k in (0, 9)]))
    assert [line.get("class") for line in drawn] == ["line s1", "line s0"]


def test_names_are_escaped():
    for x in (np.array([0.0]), np.array([0.0, 1.0])):
        text = chart([Series("<b>&", x, x, 0)])
        titles = list(ElementTree.fromstring(str(text)).iter("title"))
        assert [title.text for title in titles] == ["<b>&"]


def test_level_stretches_need_two_points():
    assert path_data([(0, 1), (1, 1), (2, 1), (3, 2)]) == "M0.0 1.0L2.0 1.0L3.0 2.0"
    assert path_data([]) == ""


def test_sparkline():
    area, line = ElementTree.fromstring(str(sparkline(np.array([1.0, 0.5, 0.0]), "x")))
    assert points(line) == [(0, 1), (30, 10), (60, 19)]
    assert area.get("d").endswith("Z")


def test_another_range_of_y():
    series = [Series("x", np.array([0.0, 1.0]), np.array([-2.0, 4.0]), 0)]
    (line,) = lines(chart(series, y_range=(-2.0, 4.0), y_ticks=(-2.0, 0.0, 4.0)))
    assert points(line) == [(LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, TOP)]


def test_a_single_point_is_seen():
    text = chart([Series("x", np.array([0.5]), np.array([0.5]), 2)])
    (dot,) = ElementTree.fromstring(str(text)).iter("circle")
    assert (float(dot.get("cx")), float(dot.get("cy"))) == (
        (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    )  # fmt: skip
    assert not lines(text)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_round_ticks_hold_the_numbers(low, size):
    (first, last), ticks = round_ticks(low, low + size)
    slack = 1e-6 * (last - first)
    assert first - slack <= low
    assert low + size <= last + slack
    assert (ticks[0], ticks[-1]) == (first, last)
    assert 3 <= len(ticks) <= 7
    steps = np.diff(ticks)
    assert np.allclose(steps, steps[0], rtol=1e-3)
    mantissa = steps[0] / 10 ** np.floor(np.log10(steps[0]) + 1e-9)
    assert min(abs(mantissa - m) for m in (1, 2, 5)) < 1e-2


def test_ticks_of_one_number():
    assert round_ticks(3.0, 3.0) == ((2.5, 3.5), (2.5, 3.0, 3.5))
