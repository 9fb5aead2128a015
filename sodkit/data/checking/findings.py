"""One thing wrong with a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sodkit.data.formats.source import Oddity
from sodkit.errors import DataError

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong: how bad, of what kind (a short fixed name), what, where, what to do."""

    severity: Severity
    kind: str
    what: str
    where: str
    hint: str | None = None

    @classmethod
    def of(cls, error: DataError, kind: str) -> Finding:
        """Return an error that reading would have raised, or a warning of its ``Oddity``."""
        severity: Severity = "warning" if isinstance(error, Oddity) else "error"
        return cls(severity, kind, error.what, error.where or "", error.hint)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "severity": self.severity,
            "kind": self.kind,
            "where": self.where,
            "what": self.what,
            "hint": self.hint,
        }
