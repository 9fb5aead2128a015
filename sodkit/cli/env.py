"""``sodkit env``: prints what matters for a bug report."""

from __future__ import annotations

from sodkit.cli.options import Json


def env(as_json: Json = False) -> None:
    """Print versions, devices, compiled kernels, codecs and extras, for a bug report.

    Example: sodkit env --json
    """
    from sodkit.cli.common import print_json
    from sodkit.cli.tables import print_table
    from sodkit.engine.environment import environment

    found = environment()
    if as_json:
        print_json(found)
        return
    rows = [(part, name, _shown(value)) for part, section in found.items()
            for name, value in section.items()]  # fmt: skip
    print_table("environment", ("part", "what", ""), rows, texts=range(3))


def _shown(value: object) -> object:
    return ("no", "yes")[value] if isinstance(value, bool) else value
