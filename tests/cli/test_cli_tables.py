"""Tables are readable in a terminal of any width, and whole without one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sodkit.cli import tables
from sodkit.cli.tables import column_blocks, print_table

METRICS = ("AP", "AP50", "AP75", "AP_eS", "AP_rS", "AP_gS", "AP_N", "AR@100", "AR@300",
           "AR@1000", "AR_eS", "AR_rS", "AR_gS", "AR_N")  # fmt: skip
ROW = ("traffic-camera", *(f"0.{k:03d}" for k in range(14)))


def test_a_dash_for_nothing_and_no_folding_without_a_terminal(capsys):
    print_table("title", ("name", "AP"), [("ship", None), ("x" * 300, 0.5)])
    out, err = capsys.readouterr()
    assert "-" in out
    assert "x" * 300 in out
    assert err == ""


def test_brackets_in_cells_are_no_markup(capsys):
    print_table("t", ("file", "hint"), [("[red]a.jpg", '"bbox": [x, y, width, height]')])
    out, _ = capsys.readouterr()
    assert "[red]a.jpg" in out
    assert "[x, y, width, height]" in out


def test_a_table_of_very_many_rows_is_cut(capsys):
    print_table("title", ("name", "objects"), [(f"row {i}", i) for i in range(2000)])
    out, err = capsys.readouterr()
    assert "row 0 " in out
    assert "row 1999" in out
    assert "row 1998" not in out
    assert len(out.splitlines()) < 510
    assert err == "1500 rows are not shown; --json has them all\n"


@pytest.fixture(params=[80, 100, 140])
def terminal(request, monkeypatch):
    monkeypatch.setattr(tables, "terminal_width", lambda: request.param)
    return request.param


def test_metrics_fit_every_terminal(capsys, terminal):
    print_table("soda-d", ("class", *METRICS), [ROW, ("all", *ROW[1:])])
    out, _ = capsys.readouterr()
    lines = out.splitlines()
    assert max(map(len, lines)) <= terminal
    heads = [line for line in lines if "class" in line]
    assert len(heads) == (1 if terminal == 140 else 2)
    words = " ".join(heads).split()
    assert [word for word in words if word in METRICS] == list(METRICS)
    for cell in ROW[1:]:
        assert out.count(cell) == 2  # none is folded


def test_texts_are_folded_in_a_terminal_and_flush_left(capsys, terminal):
    print_table("", ("px", "objects", ""), [("0 - 4", 3, "###"), ("4 - 8", 9, "#" * 200)],
                texts=(0, 2))  # fmt: skip
    lines = capsys.readouterr()[0].splitlines()
    assert max(map(len, lines)) <= terminal
    assert lines[0].strip()  # no empty title
    first = next(line for line in lines if "0 - 4" in line)
    assert first.rstrip("│| ").endswith("3 │ ###")


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(20, 200))
def test_blocks_hold_every_column_once_and_fit_if_they_can(widths, room):
    blocks = column_blocks(widths, room)
    assert all(block[0] == 0 for block in blocks)
    assert [k for block in blocks for k in block[1:]] == list(range(1, len(widths)))
    for block in blocks:
        need = sum(widths[k] + 3 for k in block) + 1
        assert need <= room or len(block) <= 2
