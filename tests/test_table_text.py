from __future__ import annotations

from html.parser import HTMLParser

from sodkit.table_text import MOST_ROWS, TextTable


class Reader(HTMLParser):
    """Collects tags and the texts between them, by the parser of Python."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_names_are_text_whatever_they_hold() -> None:
    names = ("<script>alert(1)</script>", "[red]", "小 & 'big'")
    table = TextTable("<i>title</i>", ("class", "AP"), [(name, None) for name in names])
    read = Reader(table.html())
    assert read.tags == {"table", "caption", "thead", "tbody", "tr", "th", "td"}
    cells = [cell for name in names for cell in (name, "-")]
    assert read.texts == ["<i>title</i>", "class", "AP", *cells]


def test_of_many_rows_the_last_is_shown_and_the_others_are_counted() -> None:
    read = Reader(TextTable("", ("class",), [(k,) for k in range(1000)]).html())
    assert read.texts[-2:] == ["999", f"{1000 - MOST_ROWS} rows are not shown"]
    assert len(read.texts) == MOST_ROWS + 2
