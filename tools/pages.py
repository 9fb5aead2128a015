"""Write the pages of docs/ that follow from the code: ``python tools/pages.py``, or ``make pages``.

A page for each command (``docs/commands/``), the page of recipe keys (``docs/recipe-keys.md``) and
the pictures of the conventions (``docs/images/*.svg``). A test compares them with the code.
"""

from __future__ import annotations

from pathlib import Path

from command_pages import command_pages
from key_page import key_page
from pictures import pictures

DOCS = Path(__file__).parents[1] / "docs"


def pages() -> dict[str, str]:
    """Return the text of every page and picture that is made, by its path below ``docs``."""
    return command_pages() | {"recipe-keys.md": key_page()} | pictures()


def main() -> None:
    """Write all of them; a page of a command that is gone goes, too."""
    made = pages()
    (DOCS / "commands").mkdir(exist_ok=True)
    for old in (DOCS / "commands").glob("*.md"):
        if f"commands/{old.name}" not in made:
            old.unlink()
    for name, text in made.items():
        (DOCS / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
