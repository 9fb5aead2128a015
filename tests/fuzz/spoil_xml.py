"""Changes of XML by its elements."""

from __future__ import annotations

import re
from random import Random
from xml.sax.saxutils import escape

from .values import NUMBERS, STRINGS

_TOKENS = re.compile(r"<[^>]*>|[^<]+")
_HEADS = (
    '<?xml version="1.0" encoding="utf-16"?>', '<?xml version="1.0" encoding="latin-1"?>',
    '<?xml version="1.0" encoding="nonsense"?>', '<?xml version="1.0" encoding="ascii"?>',
    '<?xml version="1.0" encoding="utf-7"?>', '<?xml version="1.0" encoding="rot13"?>',
    '<?xml version="1.0" encoding="idna"?>', '<?xml version="1.0" encoding="shift_jis"?>',
    '<?xml version="1.0" encoding="undefined"?>',
    '<?xml version="9.9"?>', "<!DOCTYPE a>", '<!DOCTYPE a [<!ENTITY b "c">]>', "<!-- x -->", "\n",
    "<a/>", "x", "<?pi x?>",
)  # fmt: skip
_TEXTS = (
    "&amp;", "&b;", "&#0;", "&#x110000;", "<![CDATA[1]]>", "<!-- x -->1", "<b>1</b>", "&", "]]>",
)  # fmt: skip


def elements(random: Random, data: bytes, other: bytes) -> bytes:
    """Return XML with changed tags, texts or head."""
    tokens = _TOKENS.findall(data.decode("utf-8", "replace"))
    for _ in range(random.choice((1, 1, 2, 5))):
        random.choice(_CHANGES)(random, tokens, random.randrange(len(tokens)))
    text = "".join(tokens)
    if random.random() < 0.08:
        text = random.choice(_HEADS) + text
    return text.encode(random.choice(("utf-16", "latin-1")) if random.random() < 0.01 else "utf-8",
                       "replace")  # fmt: skip


def _text(random: Random, tokens: list[str], at: int) -> None:
    """Give an element another text."""
    texts = [i for i, token in enumerate(tokens) if token.strip() and token[0] != "<"]
    new = random.choice((escape(random.choice(STRINGS)), str(random.choice(NUMBERS)), *_TEXTS))
    tokens[random.choice(texts)] = new


def _remove(random: Random, tokens: list[str], at: int) -> None:
    del tokens[at : at + random.choice((1, 1, 3, 10))]
    tokens.append("")


def _repeat(random: Random, tokens: list[str], at: int) -> None:
    span = tokens[at : at + random.choice((1, 3, 12))]
    tokens[at:at] = span * random.choice((1, 1, 30))


def _swap(random: Random, tokens: list[str], at: int) -> None:
    other = random.randrange(len(tokens))
    tokens[at], tokens[other] = tokens[other], tokens[at]


def _rename(random: Random, tokens: list[str], at: int) -> None:
    """Rename an element everywhere, or give a tag an attribute."""
    names = sorted(set(re.findall(r"</(\w+)>", "".join(tokens))))
    old, new = random.choice(names), random.choice((*names, "x", "é", "a:b", "object", "A" * 3000))
    if random.random() < 0.3:
        new = f'{old} a="{escape(random.choice(STRINGS))}"'
        tokens[:] = [token.replace(f"<{old}>", f"<{new}>") for token in tokens]
    else:
        both = ((f"<{old}>", f"<{new}>"), (f"</{old}>", f"</{new}>"))
        for before, after in both:
            tokens[:] = [token.replace(before, after) for token in tokens]


def _deepen(random: Random, tokens: list[str], at: int) -> None:
    depth = random.choice((1, 5, 48, 60, 5000))
    tokens[at:at] = ["<d>" * depth + "</d>" * depth]


_CHANGES = (_text, _text, _text, _remove, _repeat, _swap, _rename, _deepen)
