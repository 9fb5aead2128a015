"""``python -m tests.fuzz``: fuzz all readers."""

import sys

from .command import main
from .table import READERS

if __name__ == "__main__":
    sys.exit(main(READERS, "python -m tests.fuzz", sys.argv[1:]))
