"""One thing wrong with a data set."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from sodkit.data.formats.source import EmptySubset, Oddity
from sodkit.errors import DataError

_NAMED = 5
"""So many further places of one fault are named in its message."""

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong.

    Attributes:
        severity: how bad.
        kind: a short fixed name.
        what: the fault; with its number, if there are ``others``.
        where: the place, or the first one.
        hint: what to do.
        others: the other places of the same fault.
    """

    severity: Severity
    kind: str
    what: str
    where: str
    hint: str | None = None
    others: tuple[str, ...] = ()

    @classmethod
    def of(cls, error: DataError, kind: str) -> Finding:
        """Return an error that reading would have raised, or a warning of its ``Oddity``."""
        is_odd = isinstance(error, Oddity) and not isinstance(error, EmptySubset)
        severity: Severity = "warning" if is_odd else "error"
        return cls(severity, kind, error.what, error.where or "", error.hint)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "severity": self.severity,
            "kind": self.kind,
            "where": self.where,
            "what": self.what,
            "hint": self.hint,
            "others": list(self.others),
        }


def one_a_cause(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings that differ only in their places and numbers as one, at the first place."""
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for item in findings:
        cause = re.sub(r"\d[\d.e+-]*|, found .*", "#", item.what, flags=re.DOTALL)
        groups.setdefault((item.severity, item.kind, cause, item.hint or ""), []).append(item)
    return [_joined(group) for group in groups.values()]


def _joined(group: list[Finding]) -> Finding:
    first, *others = group
    if not others:
        return first
    sign = ": " if ": " in first.where else "/"
    head = first.where.rpartition(sign)[0] + sign
    places = [item.where.removeprefix(head) for item in others]
    more = f"{', '.join(places[:_NAMED])}{', ...' if len(places) > _NAMED else ''}"
    what = f"{first.what} (and {len(others)} more like it: {more})"
    return replace(first, what=what, others=tuple(item.where for item in others))
