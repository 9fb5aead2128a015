"""Pages made from the code are up to date, and every link of the docs leads somewhere."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sodkit.cli.main import make_app
from sodkit.data.records import REGION, Annotations, Category, Detections, ImageRecord
from sodkit.evaluation.evaluate import IgnoreRegions
from sodkit.evaluation.outcomes import match_classes, outcomes
from sodkit.evaluation.protocol import SODA_D
from sodkit.geometry.rotated import canonical

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
WRITTEN = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])


def tool(name: str) -> Any:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(ROOT / "tools"))


def test_made_pages_are_up_to_date() -> None:
    pages = tool("pages").pages()
    there = {f"commands/{path.name}" for path in (DOCS / "commands").glob("*.md")}
    there |= {f"images/{path.name}" for path in (DOCS / "images").glob("*.svg")}
    assert there | {"recipe-keys.md"} == set(pages), "run: make pages"
    for name, text in pages.items():
        assert (DOCS / name).read_text("utf-8") == text, f"{name} is out of date: make pages"


@pytest.mark.parametrize("degrees", [0, 30, 89.5, 90, 120, 150, -30])
def test_pictured_angles_describe_one_rectangle(degrees: float) -> None:
    pictures = tool("pictures")
    found = []
    for way in pictures.DESCRIPTIONS:
        w, h, angle = pictures.described(way, degrees, (96.0, 40.0))
        low = {"le90": -90, "le135": -45, "oc": 0}[way]
        assert low <= angle <= low + (90 if way == "oc" else 180)
        found.append(canonical(np.array([[5.0, 5, w, h, np.radians(angle)]]))[0])
    np.testing.assert_allclose(found, [found[0]] * 3, atol=1e-12)
    turn = np.degrees(found[0][4]) - degrees
    assert turn % 180 == pytest.approx(0, abs=1e-9) or turn % 180 == pytest.approx(180)


@pytest.mark.parametrize(("ignore_regions", "column"), [("drop", 0), ("absorb", 1)])
def test_pictured_verdicts_are_the_evaluators(ignore_regions: IgnoreRegions, column: int) -> None:
    """Four detections: on an object, on an ignored one, on nothing, in a region."""
    boxes = np.array([[10.0 + 60 * k, 10, 20, 20] for k in range(4)])
    annotations = Annotations(
        (ImageRecord(1, "a.jpg", 300, 60),), (Category(1, "car"),), np.arange(3) + 1,
        np.zeros(3, np.int64), np.array([0, 0, REGION]),
        np.vstack([boxes[:2], [[180.0, 0, 60, 60]]]), np.array([400.0, 400, 3600]),
        np.array([False, True, True]),
    )  # fmt: skip
    zeros = np.zeros(4, np.int64)
    found = Detections(zeros + 1, zeros, np.full(4, 0.9), boxes)
    matching = match_classes(annotations, found, SODA_D, ignore_regions=ignore_regions)
    result = outcomes(annotations, found, matching, SODA_D)
    right, wrong = set(result.detection[result.right]), set(result.detection[result.wrong])
    verdicts = ["right" if k in right else "wrong" if k in wrong else "neither" for k in range(4)]
    assert verdicts == [one[column] for one in tool("pictures").VERDICTS.values()]


def test_a_page_has_every_option_of_its_command() -> None:
    """Against typer's own reading of the functions."""
    from typer.main import get_command

    for name, command in vars(get_command(make_app()))["commands"].items():
        text = (DOCS / "commands" / f"{name}.md").read_text("utf-8")
        shown = set(re.findall(r"`(--[\w-]+)`", text))
        real = {flag for part in command.params for flag in (*part.opts, *part.secondary_opts)}
        assert shown == {flag for flag in real if flag.startswith("--") and flag != "--help"}


def slug(title: str) -> str:
    """Return the anchor of a heading, as GitHub and Zensical make it."""
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip())


def headings(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    return {slug(title) for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


def links(page: Path) -> list[str]:
    """Return the targets of a page's links and pictures, but for addresses elsewhere."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"`[^`]*`", "", text)
    found = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text)
    return [target for target in found if not target.startswith(("http://", "https://"))]


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.is_file(), f"{target}: no such file"
        if page != ROOT / "README.md":
            assert DOCS in path.parents, f"{target}: the site has only what is in docs"
        if anchor:
            assert anchor in headings(path), f"{target}: no such heading"
            assert "--" not in anchor, f"{target}: its anchor differs between GitHub and the site"


def test_every_page_is_in_the_site() -> None:
    """And the site names no other."""
    import tomllib

    project = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]
    named = set(re.findall(r"[\w/-]+\.md", str(project["nav"])))
    assert named == {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    assert sum(len(links(page)) for page in WRITTEN) > 40
