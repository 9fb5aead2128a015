"""``python -m sodkit`` is the command ``sodkit``; Ctrl-C is quiet even while it loads."""

import sys


def main() -> None:
    """Load the command line and run it."""
    try:
        # Imported here: loading takes a quarter of a second, in which somebody may press Ctrl-C.
        from sodkit.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
