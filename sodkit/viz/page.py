"""HTML pages from templates: one file each, under a policy that lets in nothing from elsewhere.

The content security policy allows the one style sheet by its hash and pictures inside the page: no
script, no address. So a class or file name that somebody made to be HTML does nothing even where
escaping failed. The policy forbids style attributes; ``Styles`` makes classes of them.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_FOLDER = Path(__file__).parent / "templates"


class Styles:
    """Collects the declarations of single elements; each gets a class of its own."""

    def __init__(self) -> None:
        self._classes: dict[str, str] = {}

    def __call__(self, declaration: str) -> str:
        """Return the class of a declaration, such as ``width:3%``."""
        return self._classes.setdefault(declaration, f"y{len(self._classes)}")

    def css(self) -> str:
        """Return the rules of all classes."""
        return "".join(f".{name} {{ {rule}; }}\n" for rule, name in self._classes.items())


def render_page(template: str, **values: Any) -> str:
    """Return a page whose content is a template.

    Args:
        template: name of the template of the content.
        values: what it shows; ``title``, ``version``, ``main`` and ``protocol`` also the page.
    """
    styles = Styles()
    environment = _environment(styles)
    content = Markup(environment.get_template(template).render(values))
    sheet = (_FOLDER / "style.css").read_text("utf-8") + styles.css()
    page = environment.get_template("page.html.j2")
    return page.render(
        values, content=content, style=Markup(sheet), policy=Markup(content_policy(sheet))
    )


def content_policy(sheet: str) -> str:
    """Return the content security policy of a page with this style sheet, and nothing from afar."""
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _environment(styles: Styles) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    environment.filters["signed"] = signed
    environment.filters["thousands"] = lambda count: f"{count:,}".replace(",", "\u2009")
    environment.globals["styled"] = styles
    return environment


def percent(value: float | None) -> str:
    """Return a fraction in percent with one decimal; a dash if it is undefined."""
    return "–" if value is None else f"{100 * value:.1f}"  # noqa: RUF001 - a dash, as in tables


def signed(value: float | None) -> str:
    """Return a difference in percent with its sign; a dash if it is undefined."""
    if value is None:
        return "–"  # noqa: RUF001
    text = f"{100 * value:+.1f}"
    return "0.0" if text in {"+0.0", "-0.0"} else text.replace("-", "−")  # noqa: RUF001
