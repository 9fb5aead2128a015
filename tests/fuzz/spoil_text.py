"""Changes of text by its lines and words."""

from __future__ import annotations

from random import Random

from .values import NUMBERS, STRINGS

_ENDS = ("\n", "\r\n", "\r", "\n\n", "\0\n", "\x0b", "\x85", "")


def lines(random: Random, data: bytes, other: bytes) -> bytes:
    """Return text with changed lines or words."""
    rows = data.decode("utf-8", "surrogateescape").split("\n")
    for _ in range(random.choice((1, 1, 2, 5))):
        at = random.randrange(len(rows)) if rows else 0
        kind = random.randrange(10)
        if not rows or kind == 0:
            rows.insert(at, random.choice(STRINGS))
        elif kind == 1:
            del rows[at]
        elif kind == 2:
            rows[at:at] = [rows[at][:100]] * random.choice((1, 2, 1000))
        else:
            rows[at] = _words(random, rows[at])
    end = random.choice(_ENDS) if random.random() < 0.1 else "\n"
    head = "\ufeff" if random.random() < 0.02 else ""
    text = head + end.join(rows)
    if random.random() < 0.01:
        return text.encode("utf-16", "surrogatepass")
    return text.encode("utf-8", "surrogateescape" if text.isascii() else "replace")


def _words(random: Random, row: str) -> str:
    own = "," if "," in row and " " not in row else " "
    gap = random.choice((own, own, own, own, "\t", "  ", ";", "\u00a0"))
    words = row.split(own)
    at = random.randrange(len(words))
    kind = random.randrange(7)
    if kind == 0:
        del words[at]
    elif kind == 1:
        words[at:at] = [words[at][:50]] * random.choice((1, 2, 7, 3000))
    elif kind == 2:
        words[at] = random.choice(STRINGS)
    elif kind == 3:
        words.reverse()
    elif kind == 4:
        words[at] = words[at][:2000] * random.choice((2, 40))
    else:
        words[at] = str(random.choice(NUMBERS))
    return gap.join(words)
