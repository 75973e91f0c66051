"""`python -m components`: list, show, run, check, new."""

import sys

from components.cli import main

if __name__ == "__main__":
    sys.exit(main())
