"""Where XML files of one image have their objects: Pascal VOC's layout and those like it.

A layout is data: the paths of elements, from the root or from an object. Shapes are tried in their
order, so an oriented box comes before the upright one beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from sodkit.data.formats.labels import Row
from sodkit.data.formats.source import number, quoted

_CORNERS = ("left_top", "right_top", "right_bottom", "left_bottom")


@dataclass(slots=True)
class Node:
    """An XML element: its name, line, text and children."""

    name: str
    line: int
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def find(self, *path: str) -> Node | None:
        """Return the first element at a path below; this one for no path."""
        node: Node | None = self
        for name in path:
            found = () if node is None else node.children
            node = next((child for child in found if child.name == name), None)
        return node

    def text_of(self, *path: str) -> str | None:
        """Return the text at a path, None if there is none but white space."""
        child = self.find(*path)
        return None if child is None or not child.text.strip() else child.text.strip()


@dataclass(frozen=True, slots=True)
class Layout:
    """Where an XML file has what is read.

    Attributes:
        title: the format's name, for messages.
        root: name of the root element.
        objects: path from the root to the element that holds the objects.
        item: name of an object's element.
        label: path from an object to its class.
        file_name: path from the root to the image's name.
        suffix: path from the root to the suffix of that name; None: the name has it.
        sides: paths from the root to the image's width and height.
        names: class names by label; empty: the label is the name.
    """

    title: str
    root: str
    objects: tuple[str, ...]
    item: str
    label: tuple[str, ...]
    file_name: tuple[str, ...]
    suffix: tuple[str, ...] | None
    sides: tuple[tuple[str, ...], tuple[str, ...]]
    names: tuple[tuple[str, str], ...] = ()


_HRSC = (
    ("01", "ship"), ("02", "aircraft carrier"), ("03", "warcraft"), ("04", "merchant ship"),
    ("05", "Nimitz"), ("06", "Enterprise"), ("07", "Arleigh Burke"), ("08", "WhidbeyIsland"),
    ("09", "Perry"), ("10", "Sanantonio"), ("11", "Ticonderoga"), ("12", "Kitty Hawk"),
    ("13", "Kuznetsov"), ("14", "Abukuma"), ("15", "Austen"), ("16", "Tarawa"),
    ("17", "Blue Ridge"), ("18", "Container"), ("19", "OXo|--)"), ("20", "Car carrier([]==[])"),
    ("22", "Hovercraft"), ("24", "yacht"), ("25", "CntShip(_|.--.--|_]="), ("26", "Cruise"),
    ("27", "submarine"), ("28", "lute"), ("29", "Medical"), ("30", "Car carrier(======|"),
    ("31", "Ford-class"), ("32", "Midway-class"), ("33", "Invincible-class"),
)  # fmt: skip

_SIZE = (("size", "width"), ("size", "height"))

_DIFFICULT = {"0": False, "1": True, "false": False, "true": True, "unspecified": False}

LAYOUTS = (
    Layout(
        "FAIR1M", "annotation", ("objects",), "object", ("possibleresult", "name"),
        ("source", "filename"), None, _SIZE,
    ),
    Layout("Pascal VOC", "annotation", (), "object", ("name",), ("filename",), None, _SIZE),
    Layout(
        "HRSC2016", "HRSC_Image", ("HRSC_Objects",), "HRSC_Object", ("Class_ID",),
        ("Img_FileName",), ("Img_FileFmt",), (("Img_SizeWidth",), ("Img_SizeHeight",)),
        tuple((f"1000000{number}", name) for number, name in _HRSC),
    ),
)  # fmt: skip
"""Layouts, the more special ones first; DIOR-R, MAR20 and roLabelImg have Pascal VOC's."""

CLASSES = (tuple(name for _, name in _HRSC),)
"""The classes of HRSC2016, in the order of its ids."""


def layout_of(root: Node) -> Layout | None:
    """Return the layout of a file, None if it is none of ``LAYOUTS``."""
    for layout in LAYOUTS:
        if root.name == layout.root and root.find(*layout.objects) is not None:
            return layout
    return None


def items(root: Node, layout: Layout) -> Iterator[Node]:
    """Yield the elements of the objects."""
    holder = root.find(*layout.objects)
    children = () if holder is None else holder.children
    return (child for child in children if child.name == layout.item)


def row_of(item: Node, layout: Layout) -> Row:
    """Read an object.

    Raises:
        ValueError: if something is missing or no number, saying what.
    """
    label = item.text_of(*layout.label)
    if label is None:
        raise ValueError(f"the object has no {'/'.join(layout.label)}")
    name = dict(layout.names).get(label, label)
    difficult = item.text_of("difficult") or "0"
    if difficult.casefold() not in _DIFFICULT:
        raise ValueError(f"difficult is 0 or 1, not {quoted(difficult)}")
    hard = _DIFFICULT[difficult.casefold()]
    for path, read in _SHAPES:
        node = item.find(*path)
        if node is not None:
            row = read(node, item.line, name, hard)
            if row is not None:
                return row
    known = "robndbox, points, mbox_cx, bndbox"
    there = ", ".join(child.name for child in item.children)
    raise ValueError(f"the object has no bndbox (shapes known: {known}; it has: {there})")


def _turned(keys: tuple[str, ...]) -> Callable[[Node, int, str, bool], Row | None]:
    """Return a reader of cx, cy, w, h and an angle in radians, clockwise."""

    def read(node: Node, line: int, name: str, hard: bool) -> Row | None:
        if not any(node.find(key) for key in keys):
            return None
        cx, cy, w, h, angle = _values(node, keys)
        return Row(line, name, difficult=hard, obb=(cx, cy, w, h, angle))

    return read


def _corners(node: Node, line: int, name: str, hard: bool) -> Row | None:
    """Read corners by name, as DIOR-R and MAR20 have them."""
    keys = [f"{axis}_{corner}" for corner in _CORNERS for axis in "xy"]
    if not any(node.find(key) for key in keys):
        return None
    return Row(line, name, tuple(_values(node, keys)), difficult=hard)


def _points(node: Node, line: int, name: str, hard: bool) -> Row:
    """Read corners ``x,y``, as FAIR1M has them: it repeats the first one at the end."""
    texts = [child.text for child in node.children if child.name == "point"]
    try:
        corners = [tuple(number(part) for part in text.split(",")) for text in texts]
    except ValueError:
        raise ValueError("a point is two finite numbers x,y") from None
    if any(len(corner) != 2 for corner in corners):
        raise ValueError("a point is two finite numbers x,y")
    if len(corners) > 1 and corners[0] == corners[-1]:
        corners.pop()
    return Row(line, name, tuple(v for corner in corners for v in corner), difficult=hard)


def _upright(node: Node, line: int, name: str, hard: bool) -> Row:
    left, top, right, bottom = _values(node, ("xmin", "ymin", "xmax", "ymax"))
    return Row(line, name, xywh=(left, top, right - left, bottom - top), difficult=hard)


_SHAPES: tuple[tuple[tuple[str, ...], Callable[[Node, int, str, bool], Row | None]], ...] = (
    (("robndbox",), _corners),
    (("robndbox",), _turned(("cx", "cy", "w", "h", "angle"))),
    (("points",), _points),
    ((), _turned(("mbox_cx", "mbox_cy", "mbox_w", "mbox_h", "mbox_ang"))),
    (("bndbox",), _upright),
)
"""Element of a shape below an object, and what reads it; it returns None if it is another shape."""


def _values(node: Node, keys: Sequence[str]) -> list[float]:
    values = []
    for key in keys:
        text = node.text_of(key)
        if text is None:
            raise ValueError(f"{key} is missing")
        try:
            values.append(number(text))
        except ValueError:
            raise ValueError(f"{key} is not a finite number: {quoted(text)}") from None
    return values
