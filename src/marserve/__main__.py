"""``python -m marserve``."""

import sys

from marserve.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
