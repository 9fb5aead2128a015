"""HTML pages from templates: one file each, under a policy that lets in nothing from elsewhere.

The content security policy allows the one style sheet by its hash and pictures inside the page; no
address, and no script but the viewer's own, by its hash. So a class or file name that somebody made
to be HTML does nothing even where escaping failed. The policy forbids style attributes; ``Styles``
makes classes of them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
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


def content_policy(sheet: str, script: str | None = None) -> str:
    """Return the content security policy of a page: this style sheet, this script, nothing else.

    Args:
        sheet: the text of the page's style element.
        script: that of the one script that may run; None: none may.
    """
    allowed = "" if script is None else f"script-src {_hash(script)}; "
    return (
        f"default-src 'none'; style-src {_hash(sheet)}; {allowed}img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def page_parts(template: str, sheet: str, scripts: Sequence[str], **values: Any) -> Iterator[str]:
    """Return the text of a page with a script, part by part, so that it need not fit into memory.

    Args:
        template: name of the template of the whole page.
        sheet: name of its style sheet.
        scripts: names of the files of its one script, in order.
        values: what it shows besides.
    """
    style, *codes = ((_FOLDER / name).read_text("utf-8") for name in (sheet, *scripts))
    code = "\n".join(codes)
    policy = Markup(content_policy(style, code))
    page = _environment(Styles()).get_template(template)
    return page.generate(values, style=Markup(style), script=Markup(code), policy=policy)


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
