"""sodkit: small object detection in aerial and driving images.

``__init__.pyi`` lists the public names, for type checkers and for this module, which imports each
when it is first used: so ``import sodkit`` and ``sodkit --help`` do not load torch.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

_LINES = Path(__file__).with_suffix(".pyi").read_text("utf-8").splitlines()
_HOMES = {words[3]: words[1] for line in _LINES if (words := line.split())[:1] == ["from"]}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'sodkit' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
