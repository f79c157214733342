"""`python -m analyze.classify`."""

import sys

from analyze.classify.command import main

if __name__ == "__main__":
    sys.exit(main())
