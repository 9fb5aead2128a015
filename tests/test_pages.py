"""Pages made from the code are up to date, and every link of the docs leads somewhere."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from sodkit.cli.main import make_app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
WRITTEN = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])


def made() -> dict[str, str]:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from pages import pages
    finally:
        sys.path.remove(str(ROOT / "tools"))
    return pages()


def test_made_pages_are_up_to_date() -> None:
    pages = made()
    there = {f"commands/{path.name}" for path in (DOCS / "commands").glob("*.md")}
    assert there | {"recipe-keys.md"} == set(pages), "run: make pages"
    for name, text in pages.items():
        assert (DOCS / name).read_text("utf-8") == text, f"{name} is out of date: make pages"


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
