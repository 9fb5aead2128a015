"""``python -m sodkit`` is the command ``sodkit``."""

from sodkit.cli.main import main

if __name__ == "__main__":
    main()
