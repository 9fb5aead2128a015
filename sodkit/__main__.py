"""``python -m sodkit`` is the command ``sodkit``; Ctrl-C is quiet even while it loads."""

import os
import sys


def main() -> None:
    """Load the command line and run it."""
    try:
        _open_closed_streams()
        # Imported here: loading takes a quarter of a second, in which somebody may press Ctrl-C.
        from sodkit.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)


def _open_closed_streams() -> None:
    """Open the null device in place of a standard stream that is closed (``2>&-``).

    Else the next file that is opened takes its number, and libraries print into that file.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8")  # noqa: SIM115


if __name__ == "__main__":
    main()
